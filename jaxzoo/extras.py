"""Optional dependencies: imported where they are used; if one is missing, the error names the extra that brings it."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType


def _missing(module: str, extra: str) -> ImportError:
    return ImportError(f'{module} is not installed: this needs pip install "jaxzoo[{extra}]"')


def require(module: str, extra: str) -> ModuleType:
    """Imports an optional module.

    Args:
      module: its dotted name, "skimage.data".
      extra: the extra of jaxzoo that brings it, "data".

    Returns:
      The module.

    Raises:
      ImportError: it is not installed; the message names the extra. A module that is installed but fails to import
        something of its own raises its own error.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise _missing(module, extra) from None


def folder(package: str, extra: str) -> Path:
    """The folder of an optional top-level package, without importing it.

    Args:
      package: its top-level name, "skimage".
      extra: the extra of jaxzoo that brings it, "data".

    Returns:
      The folder that holds its `__init__.py`.

    Raises:
      ImportError: it is not installed; the message names the extra.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(package, extra)
    return Path(spec.submodule_search_locations[0])
