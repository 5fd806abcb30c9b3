"""The code that an experiment's results depend on, as hashes, so that a record can be told to be out of date.

That code is the experiment's file and all it imports, directly or not, from jaxzoo and jaxzoo_kernels, found in the
source without importing anything. The experiment machinery (`jaxzoo.experiment`) is not among it, nor are modules that
only strings name, as kernels for other platforms are. Docstrings, comments and layout don't count.
"""

import ast
import functools
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("jaxzoo", "jaxzoo_kernels")
MACHINERY = "jaxzoo.experiment"


def code(path: str | os.PathLike) -> dict[str, Any]:
    """Hashes of an experiment's code.

    Args:
      path: of the experiment's file.

    Returns:
      {"hash": of all of it, "files": name -> {"sha256": of the file's bytes, "code": of what counts in it}}. Of a
      package's `__init__.py` that only passes names on, what counts is where the names in use come from, and "names"
      lists them.
    """
    path = Path(path).absolute()
    files = {}
    for file, names in closure(path).items():
        name = f"experiments/{path.parent.name}/{path.name}" if file == path else _name(file)
        files[name] = {"sha256": _sha256(file), "code": _meaning(file, names)}
        if names is not None:
            files[name]["names"] = list(names)
    files = dict(sorted(files.items()))
    whole = json.dumps([[name, entry["code"]] for name, entry in files.items()])
    return {"hash": hashlib.sha256(whole.encode()).hexdigest(), "files": files}


def stale(record: Mapping[str, Any], path: str | os.PathLike) -> str | None:
    """Why a record no longer belongs to the code, or None if it does.

    Costs a read of each file, and a parse of those whose bytes differ; files are read once for many records.

    Args:
      record: holds "code" as `code` returned it.
      path: of the experiment's file.

    Returns:
      "jaxzoo/ops/norms.py has changed since this run", or None.
    """
    path = Path(path).absolute()
    changed = [n for n, entry in record["code"]["files"].items() if not _same(entry, _locate(n, path))]
    if not changed:
        return None
    more = f" and {len(changed) - 3} more have" if len(changed) > 3 else " have" if len(changed) > 1 else " has"
    return f"{', '.join(changed[:3])}{more} changed since this run"


def closure(path: Path) -> dict[Path, tuple[str, ...] | None]:
    """The files that an experiment's file depends on, itself included.

    Returns:
      file -> None where all of it counts; or, for an `__init__.py` that passes names on, the names in use.
    """
    whole: set[Path] = set()
    passed: dict[Path, set[str]] = {}
    waiting: list[tuple[Path, str, str | None]] = [(path, "", None)]
    while waiting:
        file, module, name = waiting.pop()
        if name is None:
            if file not in whole:
                whole.add(file)
                waiting += _found(_imports(_tree(file), module, file.name == "__init__.py"))
        elif name not in passed.setdefault(file, set()):
            passed[file].add(name)
            waiting += _found([_exports(_tree(file), module)[name]])
    return dict.fromkeys(whole) | {f: tuple(sorted(n)) for f, n in passed.items() if f not in whole}


def _found(imports: Iterator | list) -> Iterator[tuple[Path, str, str | None]]:
    """The files that a list of (module, name or None) leads to, as `closure` waits for them."""
    for module, name in imports:
        if module.split(".")[0] not in PACKAGES or f"{module}.".startswith(f"{MACHINERY}."):
            continue
        file = _file(module)
        submodule = None if name is None else _file(f"{module}.{name}")
        if file is None:
            continue
        if name is None or file.name != "__init__.py":
            yield file, module, None
        elif name in _exports(_tree(file), module):
            yield file, module, name
        elif submodule is not None and name not in _definitions(_tree(file)):
            yield from _found([(f"{module}.{name}", None)])
        else:
            yield file, module, None


def _imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[str, str | None]]:
    """What a file imports, anywhere in it, as (module, name), or (module, None) where all of the module counts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            source = _absolute(node, module if is_package else module.rpartition(".")[0])
            for alias in node.names:
                yield from _used(tree, source, alias)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                names = _attributes(tree, alias.asname) if alias.asname else None
                yield from [(alias.name, name) for name in names] if names is not None else [(alias.name, None)]


def _used(tree: ast.Module, source: str, alias: ast.alias) -> list[tuple[str, str | None]]:
    """What one name of `from source import name` stands for; of a package, the attributes that the file uses."""
    if alias.name == "*":
        return [(source, None)]
    inner = f"{source}.{alias.name}"
    file = _file(inner) if source.split(".")[0] in PACKAGES else None
    if file is not None and file.name == "__init__.py":
        names = _attributes(tree, alias.asname or alias.name)
        if names is not None and alias.name not in _exports(_tree(_file(source)), source):
            return [(inner, name) for name in names]
    return [(source, alias.name)]


def _attributes(tree: ast.Module, name: str) -> list[str] | None:
    """The attributes by which a file uses a name, or None if it uses the name in any other way."""
    used = {n.value: n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)}
    loads = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == name]
    return sorted({used[n] for n in loads}) if all(n in used for n in loads) else None


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """The module of a from-import, dots resolved."""
    if not node.level:
        return node.module
    base = package.rsplit(".", node.level - 1)[0]
    return f"{base}.{node.module}" if node.module else base


def _exports(tree: ast.Module, package: str) -> dict[str, tuple[str, str]]:
    """name -> (module, name there) for all that an `__init__.py` passes on from other modules.

    It either imports a name at its top level or has it in a table {name: submodule} that its `__getattr__` reads.
    """
    imports = [(_absolute(s, package), s.names) for s in tree.body if isinstance(s, ast.ImportFrom)]
    exports = {a.asname or a.name: (module, a.name) for module, names in imports if module != package for a in names}
    tables = [s.value for s in tree.body if isinstance(s, ast.Assign) and isinstance(s.value, ast.Dict)]
    for key, value in ((k, v) for table in tables for k, v in zip(table.keys, table.values, strict=True)):
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant) and _file(f"{package}.{value.value}"):
            exports[key.value] = (f"{package}.{value.value}", key.value)
    return exports


def _definitions(tree: ast.Module) -> set[str]:
    """The names that a file defines at its top level."""
    targets = {n.id for s in tree.body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return targets | {s.name for s in tree.body if isinstance(s, ast.FunctionDef | ast.ClassDef)}


@functools.cache
def _root(package: str) -> Path | None:
    """The folder of a top-level package, found without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec is not None else None


def _file(module: str) -> Path | None:
    """The file of a module, or None if there is none."""
    package, *rest = module.split(".")
    root = _root(package)
    if root is None:
        return None
    base = root.joinpath(*rest)
    return next((f for f in (base / "__init__.py", base.with_name(f"{base.name}.py")) if f.is_file()), None)


def _name(file: Path) -> str:
    """The name of a package's file in the record: the same on every machine."""
    package = next(p for p in PACKAGES if _root(p) is not None and file.is_relative_to(_root(p)))
    return f"{package}/{file.relative_to(_root(package)).as_posix()}"


def _locate(name: str, experiment: Path) -> Path | None:
    """The file that a name in a record stands for."""
    package, _, rest = name.partition("/")
    if package not in PACKAGES:
        return experiment
    return None if _root(package) is None else _root(package) / rest


def _same(entry: Mapping[str, Any], file: Path | None) -> bool:
    """Whether a file is what it was: first by its bytes, then by what counts in it."""
    try:
        if file is None or entry["sha256"] == _sha256(file):
            return file is not None
        return entry["code"] == _meaning(file, entry.get("names"))
    except (OSError, SyntaxError):
        return False


def _sha256(file: Path) -> str:
    stat = file.stat()
    return _read(file, stat.st_mtime_ns, stat.st_size)[1]


def _tree(file: Path) -> ast.Module:
    stat = file.stat()
    return _parsed(file, stat.st_mtime_ns, stat.st_size)


@functools.cache
def _read(file: Path, mtime: int, size: int) -> tuple[bytes, str]:
    content = file.read_bytes()
    return content, hashlib.sha256(content).hexdigest()


@functools.cache
def _parsed(file: Path, mtime: int, size: int) -> ast.Module:
    return ast.parse(_read(file, mtime, size)[0], filename=str(file))


def _meaning(file: Path, names: tuple[str, ...] | list[str] | None) -> str:
    """A hash of what counts in a file: of its syntax, or of where the given names come from."""
    tree = _tree(file)
    if names is None:
        text = _text(tree)
    else:
        exports = _exports(tree, _name(file).removesuffix("/__init__.py").replace("/", "."))
        text = repr([(name, exports.get(name)) for name in names])
    return hashlib.sha256(text.encode()).hexdigest()


def _text(node: Any) -> str:
    """A syntax tree as text, without positions, strings that stand alone, and empty fields.

    Unlike `ast.dump` it gives the same for every version of Python that reads the code alike.
    """
    if isinstance(node, list):
        return f"[{' '.join(_text(x) for x in node if not _is_prose(x))}]"
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if value is not None and value != [])
        return f"({type(node).__name__} {' '.join(f'{name}={_text(value)}' for name, value in fields)})"
    return repr(node)


def _is_prose(node: Any) -> bool:
    """Whether a statement is a string alone, as docstrings are."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
