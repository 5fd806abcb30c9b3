"""The settings of an experiment: types, legal ranges, text and JSON in and out. Nothing here imports jax."""

import dataclasses
import difflib
import functools
import math
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from jaxzoo.experiment.declare import ContractError

NOUNS = {bool: "true or false", int: "an integer", float: "a number", str: "a word"}
PLURALS = {bool: "true/false values", int: "integers", float: "numbers", str: "words"}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of a `Config`, as `setting(...)` declares it.

    Attributes:
      name: of the field.
      kind: bool, int, float or str: of the value, or of every element.
      length: None for a single value, "any" or a number for a tuple.
      default, doc, low, high, choices: as in `setting`.
    """

    name: str
    kind: type
    length: int | str | None
    default: Any
    doc: str
    low: float | None
    high: float | None
    choices: tuple

    @property
    def legal(self) -> str:
        """What a value may be: "an integer >= 1", "2 numbers from 0 to 1", "one of 'full', 'none'"."""
        if self.length is None:
            noun = NOUNS[self.kind]
        else:
            noun = f"{'' if self.length == 'any' else f'{self.length} '}{PLURALS[self.kind]}"
        if self.choices:
            options = ", ".join(map(repr, self.choices))
            return f"one of {options}" if self.length is None else f"{noun} among {options}"
        return f"{noun} {self.range}".strip()

    @property
    def range(self) -> str:
        """The legal range: ">= 1", "<= 0", "from 0 to 1", or nothing."""
        if self.low is not None and self.high is not None:
            return f"from {self.low} to {self.high}"
        return f">= {self.low}" if self.low is not None else f"<= {self.high}" if self.high is not None else ""

    def check(self, value: Any) -> Any:
        """The value, an int made a float where the setting is one.

        Raises:
          ContractError: naming the setting, what is legal and what came.
        """
        if self.length is None:
            elements = (value,)
        elif isinstance(value, tuple) and self.length in ("any", len(value)):
            elements = value
        else:
            raise self._refuse(value)
        if self.kind is float:
            elements = tuple(float(x) if type(x) is int else x for x in elements)
        if not all(self._is_legal(x) for x in elements):
            raise self._refuse(value)
        return elements[0] if self.length is None else elements

    def parse(self, words: Iterable[str]) -> Any:
        """The value that the words of a command line spell.

        Raises:
          ContractError: naming the setting, what is legal and what came.
        """
        words = list(words)
        try:
            elements = tuple(_parse(self.kind, word) for word in words)
        except ValueError:
            raise self._refuse(" ".join(words)) from None
        return self.check(elements[0] if self.length is None and len(elements) == 1 else elements)

    def _is_legal(self, x: Any) -> bool:
        if type(x) is not self.kind or (self.kind is float and not math.isfinite(x)):
            return False
        if self.choices:
            return x in self.choices
        return (self.low is None or x >= self.low) and (self.high is None or x <= self.high)

    def _refuse(self, value: Any) -> ContractError:
        near = did_you_mean(value, self.choices) if isinstance(value, str) else ""
        return ContractError(f"config.{self.name}: expected {self.legal}, got {value!r}{near}")


def _parse(kind: type, word: str) -> Any:
    if kind is bool:
        if word.lower() not in ("true", "false"):
            raise ValueError(word)
        return word.lower() == "true"
    return kind(word)


@functools.cache
def settings_of(config_class: type) -> dict[str, Setting]:
    """The settings of a `Config` class by name, in the order of the file.

    Raises:
      ContractError: the class is not a frozen dataclass, or a field is not declared as the contract asks.
    """
    if not dataclasses.is_dataclass(config_class) or not config_class.__dataclass_params__.frozen:
        raise ContractError("Config: expected a class under @dataclasses.dataclass(frozen=True)")
    hints = typing.get_type_hints(config_class)
    return {f.name: _setting(f, hints[f.name]) for f in dataclasses.fields(config_class)}


def _setting(field: dataclasses.Field, hint: Any) -> Setting:
    where = f"Config.{field.name}"
    if not {"doc", "low", "high", "choices"} <= set(field.metadata) or field.default is dataclasses.MISSING:
        raise ContractError(f'{where}: declare it as {field.name}: type = setting(default, "what it means")')
    if not str(field.metadata["doc"]).strip():
        raise ContractError(f"{where}: setting(...) has no doc: say in one line what it means")
    kind, length = _kind(hint)
    if kind not in NOUNS:
        raise ContractError(f"{where}: expected a bool, int, float, str or a tuple of those, got the type {hint}")
    declared = Setting(field.name, kind, length, field.default, **field.metadata)
    if declared.low is not None and declared.high is not None and declared.low > declared.high:
        raise ContractError(f"{where}: low={declared.low} is above high={declared.high}")
    if any(type(choice) is not kind for choice in declared.choices):
        raise ContractError(f"{where}: choices={declared.choices} are not all of the type {kind.__name__}")
    try:
        declared.check(field.default)
    except ContractError as error:
        raise ContractError(f"{where}: its default is not legal: {str(error).partition(': ')[2]}") from None
    return declared


def _kind(hint: Any) -> tuple[Any, int | str | None]:
    """The element type and the length of an annotation."""
    if typing.get_origin(hint) is not tuple:
        return hint, None
    kinds = typing.get_args(hint)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return kinds[0], "any"
    return (kinds[0] if len(set(kinds)) == 1 else hint), len(kinds)


def check(config: Any) -> Any:
    """The config, every setting checked for type, range and choices, and ints made floats where the setting is one.

    Raises:
      ContractError: "config.steps: expected an integer >= 1, got 0".
    """
    values = {name: setting.check(getattr(config, name)) for name, setting in settings_of(type(config)).items()}
    return build(type(config), values)


def to_json(config: Any) -> dict[str, Any]:
    """The config as JSON can hold it: tuples become lists."""
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def from_json(config_class: type, values: Mapping[str, Any]) -> Any:
    """The config that `to_json` wrote.

    Raises:
      ContractError: a setting is unknown, missing or not legal.
    """
    settings = settings_of(config_class)
    for name in values:
        if name not in settings:
            raise ContractError(f"config.{name}: no such setting{did_you_mean(name, settings)}")
    for name in settings:
        if name not in values:
            raise ContractError(f"config.{name}: missing; expected {settings[name].legal}")
    tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return build(config_class, {name: settings[name].check(value) for name, value in tuples.items()})


def build(config_class: type, values: Mapping[str, Any]) -> Any:
    """The config of these values, which are legal one by one.

    Raises:
      ContractError: the class refuses them together, as its `__post_init__` may: "config: heads must divide width".
    """
    try:
        return config_class(**values)
    except ValueError as error:
        raise ContractError(f"config: {error}") from None


def did_you_mean(word: str, options: Iterable[Any]) -> str:
    """The nearest spelling among the options, to be put behind an error: "; did you mean steps?"."""
    near = difflib.get_close_matches(word, [str(option) for option in options], n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""
