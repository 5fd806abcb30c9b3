"""`python -m jaxzoo` is `jaxzoo`."""

import sys

from jaxzoo.cli import main

sys.exit(main())
