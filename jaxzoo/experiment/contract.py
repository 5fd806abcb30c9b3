"""What an experiment file has to declare, checked on its source and on the values of its head. Never imports jax."""

import ast
import dataclasses
import functools
import itertools
import os
import re
from pathlib import Path
from typing import Any

from jaxzoo.experiment import settings
from jaxzoo.experiment.declare import ContractError, Paper, check_claims

PARTS = ("PAPER", "Config", "PRESETS", "run", "CLAIMS", "plot")
SIGNATURES = {"run": ("config", "runner"), "plot": ("results", "figure")}
PRESETS = ("smoke", "default", "paper")
ARXIV = re.compile(r"\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7}")


def shown(path: Path) -> str:
    """The path as a message names it: relative where it lies below the present folder."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


@dataclasses.dataclass(frozen=True)
class Source:
    """An experiment file and its syntax tree."""

    path: Path
    tree: ast.Module

    def breach(self, line: int, text: str) -> ContractError:
        """An error that names the file and the line."""
        return ContractError(f"{shown(self.path)}:{line}: {text}")

    @functools.cached_property
    def top(self) -> dict[str, ast.stmt]:
        """Name -> the last statement at the top of the file that defines it."""
        defined = {}
        for statement in self.tree.body:
            for target in getattr(statement, "targets", [getattr(statement, "target", None)]):
                if isinstance(target, ast.Name):
                    defined[target.id] = statement
            if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                defined[statement.name] = statement
        return defined

    def line(self, name: str, element: int | str | None = None) -> int:
        """The line of a definition, or of its element: of a tuple by number, of a dict by key, of a class by field."""
        statement = self.top[name]
        value = getattr(statement, "value", None)
        inner = None
        if isinstance(element, int) and isinstance(value, ast.Tuple):
            # What a *expression holds can't be counted in the source.
            counted = list(itertools.takewhile(lambda item: not isinstance(item, ast.Starred), value.elts))
            inner = counted[element] if element < len(counted) else None
        elif isinstance(value, ast.Dict):
            inner = next((k for k in value.keys if isinstance(k, ast.Constant) and k.value == element), None)
        elif isinstance(statement, ast.ClassDef):
            fields = (s for s in statement.body if isinstance(s, ast.AnnAssign))
            inner = next((s for s in fields if getattr(s.target, "id", None) == element), None)
        return (inner or statement).lineno


def check_parts(source: Source) -> None:
    """Checks the file's name, its docstring, that every part is there, and the signatures of run and plot.

    Raises:
      ContractError: naming the file, the line and what is missing or wrong.
    """
    if not source.path.stem.isidentifier():
        raise source.breach(
            1, f"the file's name is the paper's slug: expected a Python identifier, got {source.path.stem!r}"
        )
    missing = [name for name in PARTS if name not in source.top]
    if missing:
        raise source.breach(1, f"missing {', '.join(missing)}; an experiment defines {', '.join(PARTS)}")
    if not (ast.get_docstring(source.tree) or "").strip():
        raise source.breach(1, "missing docstring: it says what the paper claims and what came out")
    for name, expected in SIGNATURES.items():
        function = source.top[name]
        if not isinstance(function, ast.FunctionDef):
            raise source.breach(function.lineno, f"{name}: expected def {name}({', '.join(expected)})")
        arguments = function.args
        names = tuple(a.arg for a in (*arguments.posonlyargs, *arguments.args))
        if names != expected or arguments.vararg or arguments.kwonlyargs or arguments.kwarg:
            raise source.breach(
                function.lineno, f"{name}: expected def {name}({', '.join(expected)}), got ({ast.unparse(arguments)})"
            )
    if not isinstance(source.top["Config"], ast.ClassDef):
        raise source.breach(source.line("Config"), "Config: expected a class")


def check_values(source: Source, values: dict[str, Any]) -> None:
    """Checks what the head evaluated to; the settings of the presets come back checked and converted in `values`.

    Raises:
      ContractError: naming the file, the line and what is wrong.
    """
    _check_paper(source, values["PAPER"])
    _check_config(source, values["Config"])
    values["PRESETS"] = _checked_presets(source, values["Config"], values["PRESETS"])
    for name in ("CLAIMS", "ORACLES"):
        if not isinstance(values.get(name, ()), tuple):
            raise source.breach(source.line(name), f"{name}: expected a tuple, got {type(values[name]).__name__}")
    _check_claims(source, values["CLAIMS"], values.get("ORACLES", ()))


def _check_paper(source: Source, paper: Any) -> None:
    line = source.line("PAPER")
    if not isinstance(paper, Paper):
        raise source.breach(line, f"PAPER: expected Paper(...), got {type(paper).__name__}")
    for name in ("title", "authors"):
        text = getattr(paper, name)
        if not isinstance(text, str) or not text.strip():
            raise source.breach(line, f"PAPER: {name}: expected text, got {text!r}")
    if type(paper.year) is not int or not 1900 <= paper.year <= 2100:
        raise source.breach(line, f"PAPER: year: expected a year such as 2024, got {paper.year!r}")
    if paper.arxiv and not (isinstance(paper.arxiv, str) and ARXIV.fullmatch(paper.arxiv)):
        raise source.breach(line, f'PAPER: arxiv: expected an identifier such as "1806.07572", got {paper.arxiv!r}')


def _check_claims(source: Source, claims: tuple, oracles: tuple) -> None:
    """Checks claims and oracles, one more at a time, for the line of the first that is wrong."""
    spans = [("CLAIMS", n, claims[: n + 1], ()) for n in range(max(1, len(claims)))]
    spans += [("ORACLES", n, claims, oracles[: n + 1]) for n in range(len(oracles))]
    for name, n, some_claims, some_oracles in spans:
        try:
            check_claims(some_claims, some_oracles)
        except ContractError as error:
            raise source.breach(source.line(name, n), str(error)) from None


def _check_config(source: Source, config_class: type) -> None:
    try:
        declared = settings.settings_of(config_class)
    except ContractError as error:
        field = re.match(r"Config\.(\w+)", str(error))
        raise source.breach(source.line("Config", field and field[1]), str(error)) from None
    except (NameError, TypeError) as error:
        # An annotation that can't be resolved, or an argument of setting(...) of the wrong type.
        raise source.breach(source.line("Config"), f"Config: can't be read: {error}") from None
    seeds = declared.get("seeds")
    if seeds is None or seeds.kind is not int or seeds.length is not None or (seeds.low or 0) < 1:
        raise source.breach(
            source.line("Config", "seeds"), 'Config: needs seeds: int = setting(5, "number of seeds", low=1)'
        )


def _checked_presets(source: Source, config_class: type, presets: Any) -> dict[str, Any]:
    if not isinstance(presets, dict) or set(presets) != set(PRESETS):
        got = f"a dict of {sorted(map(str, presets))}" if isinstance(presets, dict) else type(presets).__name__
        raise source.breach(source.line("PRESETS"), f"PRESETS: expected a dict of {', '.join(PRESETS)}, got {got}")
    checked = {}
    for name in PRESETS:
        line = source.line("PRESETS", name)
        if not isinstance(presets[name], config_class):
            raise source.breach(line, f'PRESETS["{name}"]: expected Config(...), got {presets[name]!r}')
        try:
            checked[name] = settings.check(presets[name])
        except ContractError as error:
            raise source.breach(line, f'PRESETS["{name}"]: {error}') from None
    if checked["default"] != settings.check(config_class()):
        raise source.breach(source.line("PRESETS", "default"), 'PRESETS["default"]: expected Config(), the defaults')
    return checked
