"""Finds experiments: the files `<field>/<slug>.py` of a checkout, of the installed package or of any folder."""

import dataclasses
import importlib.util
import itertools
import os
import sys
from pathlib import Path
from types import ModuleType

from jaxzoo.experiment.contract import shown
from jaxzoo.experiment.declare import ContractError
from jaxzoo.experiment.head import Head, read_head
from jaxzoo.experiment.settings import did_you_mean


def experiments_folder() -> Path:
    """The folder of the experiments that come with jaxzoo."""
    return _shipped("experiments")


def results_folder(experiments: str | os.PathLike | None = None) -> Path:
    """The folder of the committed records, `<field>/<slug>.json`: beside that of the experiments.

    Args:
      experiments: as in `list_files`.
    """
    return _shipped("results") if experiments is None else Path(experiments).expanduser().absolute().parent / "results"


def _shipped(name: str) -> Path:
    """A folder that a wheel carries inside the package and that lies beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_data"
    return (inside if inside.is_dir() else package.parent) / name


def list_files(folder: str | os.PathLike | None = None) -> list[Path]:
    """The experiment files of a folder, by field and name; names that begin with "_" or "." are passed over.

    Args:
      folder: holds `<slug>.py`, or folders of fields that do; by default the experiments that come with jaxzoo.

    Raises:
      ContractError: there is no such folder.
    """
    root = experiments_folder() if folder is None else Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise ContractError(f"experiments: {shown(root)} is not a folder")
    files = [*root.glob("*.py"), *root.glob("*/*.py")]
    return sorted(f for f in files if not any(part[0] in "_." for part in f.relative_to(root).parts))


@dataclasses.dataclass(frozen=True)
class Found:
    """All experiments of a folder.

    Attributes:
      heads: of the files that keep the contract, by field and slug.
      errors: one for every file that does not.
    """

    heads: list[Head]
    errors: list[ContractError]


def read_all(folder: str | os.PathLike | None = None) -> Found:
    """Reads the heads of all experiments of a folder; a broken file is an error in the list and hides no other."""
    found = Found([], [])
    named = _by_name(list_files(folder))
    for path in itertools.chain(*named.values()):
        try:
            _check_single(named[path.stem])
            found.heads.append(read_head(path))
        except ContractError as error:
            found.errors.append(error)
    return found


def find(slug: str, folder: str | os.PathLike | None = None) -> Head:
    """Reads the head of one experiment.

    Args:
      slug: the paper's name.
      folder: as in `list_files`.

    Raises:
      ContractError: none has that name (the nearest is suggested), two have, or the file breaks the contract.
    """
    named = _by_name(list_files(folder))
    if slug not in named:
        near = did_you_mean(slug, named)
        raise ContractError(f"no paper named {slug!r}{near}{'' if near else '; jaxzoo list shows all'}")
    _check_single(named[slug])
    return read_head(named[slug][0])


def _by_name(files: list[Path]) -> dict[str, list[Path]]:
    named = {}
    for path in files:
        named.setdefault(path.stem, []).append(path)
    return named


def _check_single(paths: list[Path]) -> None:
    """A slug names one paper only."""
    if len(paths) > 1:
        files = " and ".join(map(shown, paths))
        raise ContractError(f"the slug {paths[0].stem!r} is used twice: {files}; rename one")


def load(path: str | os.PathLike) -> ModuleType:
    """Imports an experiment file for real, by path and not as part of a package.

    Args:
      path: of the file.

    Returns:
      The module.

    Raises:
      ContractError: a function that the contract names can't be called.
      Exception: whatever the file itself raises; an ImportError names the extra that is missing.
    """
    path = Path(path).absolute()
    name = f"jaxzoo_experiment_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses looks its class's module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    functions = {"run": module.run, "plot": module.plot}
    functions |= {f"CLAIMS[{c.id}].measure": c.measure for c in module.CLAIMS if not c.full_scale_only}
    functions |= {f"CLAIMS[{c.id}].control": c.control for c in module.CLAIMS if c.control is not None}
    functions |= {f"ORACLES[{n}].holds": o.holds for n, o in enumerate(getattr(module, "ORACLES", ()))}
    for name, function in functions.items():
        if not callable(function):
            raise ContractError(f"{shown(path)}: {name}: expected a function, got {function!r}")
    return module
