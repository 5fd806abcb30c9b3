"""Checks values that came from JSON against a description of what they should be."""

from types import NoneType
from typing import Any


def check(value: Any, spec: Any, at: str = "") -> None:
    """Holds a value against its description.

    Args:
      value: of JSON's types.
      spec: a type; a frozenset of legal values; {name: spec} with exactly those names; [spec] for a list; or
        a tuple of alternatives. A bool is not an int.
      at: the value's place, for the error.

    Raises:
      ValueError: "claims[0].n: expected int, got 'many'", for the first thing that is wrong.
    """
    if isinstance(spec, tuple):
        # A dict or a list is held against the alternative of its own kind, so that the error says what is wrong in it.
        inner = [s for s in spec if isinstance(s, dict | list) and isinstance(value, type(s))]
        spec = inner[0] if inner else spec
    if isinstance(spec, dict) and isinstance(value, dict):
        _check_names(value, spec, at)
        for name, inner in spec.items():
            check(value[name], inner, f"{at}.{name}".lstrip("."))
    elif isinstance(spec, list) and isinstance(value, list):
        for i, item in enumerate(value):
            check(item, spec[0], f"{at}[{i}]")
    elif not _is(value, spec):
        raise ValueError(f"{at}: expected {_describe(spec)}, got {value!r}".lstrip(": "))


def _check_names(value: dict, spec: dict, at: str) -> None:
    where = f"{at}: " if at else ""
    missing = [name for name in spec if name not in value]
    unknown = [name for name in value if name not in spec]
    if missing:
        raise ValueError(f"{where}missing {', '.join(missing)}")
    if unknown:
        raise ValueError(f"{where}unknown {', '.join(map(repr, unknown))}")


def _is(value: Any, spec: Any) -> bool:
    if isinstance(spec, tuple):
        return any(_is(value, s) for s in spec)
    if isinstance(spec, frozenset):
        return isinstance(value, str | int) and value in spec
    return isinstance(spec, type) and isinstance(value, spec) and (spec is bool or not isinstance(value, bool))


def _describe(spec: Any) -> str:
    if isinstance(spec, tuple):
        return " or ".join(map(_describe, spec))
    if isinstance(spec, dict):
        return f"a dict of {', '.join(spec)}"
    if isinstance(spec, list):
        return f"a list of {_describe(spec[0])}"
    if isinstance(spec, frozenset):
        return f"one of {', '.join(sorted(repr(str(s)) for s in spec))}"
    return "null" if spec is NoneType else spec.__name__
