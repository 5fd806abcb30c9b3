"""The package: it loads fast, and offers what it says."""

import subprocess
import sys

import jaxzoo.data


def test_import_loads_numpy_alone():
    code = (
        "import sys, numpy; before = set(sys.modules); import jaxzoo.data;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["jaxzoo"]


def test_every_name_is_there():
    for name in jaxzoo.data.__all__:
        assert getattr(jaxzoo.data, name) is not None, name
    assert not hasattr(jaxzoo.data, "no_such_name")
