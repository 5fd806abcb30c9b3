"""Reads what an experiment file declares, without running it and without jax; a broken file is one clear error.

The head is `PAPER`, `Config`, `PRESETS`, `CLAIMS` and `ORACLES`, and the module-level constants they are written with.
Only that is executed; the functions of claims and oracles are left out.
"""

import ast
import dataclasses
import os
from pathlib import Path
from typing import Any

from jaxzoo.experiment import contract
from jaxzoo.experiment.contract import Source
from jaxzoo.experiment.declare import Claim, ContractError, Oracle, Paper
from jaxzoo.experiment.settings import Setting, settings_of

NAMES = ("PAPER", "Config", "PRESETS", "CLAIMS", "ORACLES")
MODULES = ("dataclasses", "math", "typing", "jaxzoo.experiment", "jaxzoo.experiment.declare")
FUNCTIONS = ("measure", "control", "holds")
"""The arguments of Claim and Oracle that need the run's results, so that a head has no use for them."""


@dataclasses.dataclass(frozen=True)
class Head:
    """What an experiment file declares.

    Attributes:
      slug: the paper's name: the file's.
      field: the folder's name.
      path: of the file.
      docstring: of the file.
      paper: PAPER.
      config_class: Config.
      presets: PRESETS: "smoke", "default" and "paper", every setting checked.
      claims: CLAIMS; `measure` and `control` are stand-ins that can't be called.
      oracles: ORACLES; `holds` likewise.
    """

    slug: str
    field: str
    path: Path
    docstring: str
    paper: Paper
    config_class: type
    presets: dict[str, Any]
    claims: tuple[Claim, ...]
    oracles: tuple[Oracle, ...]

    @property
    def settings(self) -> dict[str, Setting]:
        """The settings of Config by name."""
        return settings_of(self.config_class)


def read_head(path: str | os.PathLike) -> Head:
    """Reads the head of one experiment file.

    Args:
      path: of the file; its name is the slug, its folder's name the field.

    Returns:
      The `Head`.

    Raises:
      ContractError: the file can't be read or breaks the contract; names file, line and what is missing or wrong.
    """
    path = Path(path).absolute()
    source = _parse(path)
    contract.check_parts(source)
    values = _evaluate(source)
    contract.check_values(source, values)
    return Head(
        slug=path.stem,
        field=path.parent.name,
        path=path,
        docstring=ast.get_docstring(source.tree),
        paper=values["PAPER"],
        config_class=values["Config"],
        presets=values["PRESETS"],
        claims=values["CLAIMS"],
        oracles=values.get("ORACLES", ()),
    )


def _parse(path: Path) -> Source:
    try:
        return Source(path, ast.parse(path.read_bytes(), filename=str(path)))
    except OSError as error:
        raise ContractError(f"{contract.shown(path)}: can't be read: {error.strerror}") from None
    except SyntaxError as error:
        raise ContractError(f"{contract.shown(path)}:{error.lineno or 1}: not valid Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ContractError(f"{contract.shown(path)}: not valid Python: {error}") from None


def _evaluate(source: Source) -> dict[str, Any]:
    """Executes the head and returns its names."""

    def stand_in(*_: Any) -> None:
        raise TypeError("a claim's function can only be called on the loaded module")

    namespace = {"__name__": f"jaxzoo head of {source.path.stem}", "_stand_in": stand_in}
    module = ast.Module(_head(source.tree), type_ignores=[])
    try:
        exec(compile(module, str(source.path), "exec", dont_inherit=True), namespace)
    except NameError as error:
        raise source.breach(
            _line_of(error, source.path),
            f"{error}: {', '.join(NAMES)} are read without running the file, so they may use literals, "
            f"constants of the file, {', '.join(MODULES[:3])} and the names of jaxzoo.experiment",
        ) from None
    except Exception as error:
        # Whatever a file does wrong when it is read has to become an error that names the file.
        raise source.breach(_line_of(error, source.path), f"{type(error).__name__}: {error}") from None
    return {name: namespace[name] for name in NAMES if name in namespace}


def _line_of(error: BaseException, path: Path) -> int:
    """The last line of the file that the error passed through."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _head(tree: ast.Module) -> list[ast.stmt]:
    """The statements that the head's names need, in the order of the file."""
    definitions = [(statement, _defined(statement)) for statement in tree.body]
    chosen, needed, waiting = set(), set(), set(NAMES)
    while waiting:
        needed |= waiting
        found = {s for s, names in definitions if names & waiting} - chosen
        chosen |= found
        waiting = {n.id for s in found for n in ast.walk(_without_functions(s)) if isinstance(n, ast.Name)} - needed
    imports = [kept for s in tree.body if (kept := _allowed_import(s, needed)) is not None]
    return imports + [s for s in tree.body if s in chosen]


def _allowed_import(statement: ast.stmt, needed: set[str]) -> ast.stmt | None:
    """What the head needs of an import statement, from modules that never import jax."""
    if isinstance(statement, ast.Import):
        kept = [alias for alias in statement.names if alias.name in MODULES]
        return ast.copy_location(ast.Import(kept), statement) if kept else None
    if isinstance(statement, ast.ImportFrom) and statement.module in MODULES and not statement.level:
        kept = [alias for alias in statement.names if (alias.asname or alias.name) in needed]
        return ast.copy_location(ast.ImportFrom(statement.module, kept, 0), statement) if kept else None
    return None


def _defined(statement: ast.stmt) -> set[str]:
    """The names that a constant or a class statement defines."""
    if isinstance(statement, ast.ClassDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}


def _without_functions(statement: ast.stmt) -> ast.stmt:
    """The statement with stand-ins for the functions of claims, and without annotations of a class's methods."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg in FUNCTIONS and not isinstance(keyword.value, ast.Constant):
                    keyword.value = ast.copy_location(ast.Name("_stand_in", ast.Load()), keyword.value)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                argument.annotation = None
    return statement
