"""Settings: declared types and ranges, the command line's words, JSON."""

import dataclasses
import json

import pytest

from jaxzoo.experiment import ContractError, setting
from jaxzoo.experiment import settings as s


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(5, "number of seeds", low=1)
    steps: int = setting(800, "updates", low=1, high=1000)
    rate: float = setting(4e-3, "learning rate", low=0.0, high=1.0)
    gain: float = setting(1.0, "gain", high=2.0)
    tied: bool = setting(True, "ties the embeddings")
    gate: str = setting("full", "kind of gate", choices=("full", "scalar", "none"))
    widths: tuple[int, ...] = setting((64, 64), "widths", low=1)
    span: tuple[float, float] = setting((0.0, 1.0), "span", low=0.0)


SETTINGS = s.settings_of(Config)


@pytest.mark.parametrize(
    ("name", "words", "value"),
    [
        ("steps", ["1_000"], 1000),
        ("steps", ["1"], 1),
        ("rate", ["1"], 1.0),
        ("rate", ["1e-3"], 1e-3),
        ("tied", ["False"], False),
        ("tied", ["true"], True),
        ("gate", ["none"], "none"),
        ("widths", ["3"], (3,)),
        ("widths", ["3", "4", "5"], (3, 4, 5)),
        ("widths", [], ()),
        ("span", ["0", "2"], (0.0, 2.0)),
    ],
)
def test_words_become_a_typed_value(name, words, value):
    parsed = SETTINGS[name].parse(words)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("seeds", ["0"], "config.seeds: expected an integer >= 1, got 0"),
        ("steps", ["0"], "config.steps: expected an integer from 1 to 1000, got 0"),
        ("steps", ["1001"], "config.steps: expected an integer from 1 to 1000, got 1001"),
        ("steps", ["8.5"], "config.steps: expected an integer from 1 to 1000, got '8.5'"),
        ("steps", ["many"], "config.steps: expected an integer from 1 to 1000, got 'many'"),
        ("rate", ["nan"], "config.rate: expected a number from 0.0 to 1.0, got nan"),
        ("gain", ["-inf"], "config.gain: expected a number <= 2.0, got -inf"),
        ("tied", ["1"], "config.tied: expected true or false, got '1'"),
        ("gate", ["ful"], "config.gate: expected one of 'full', 'scalar', 'none', got 'ful'; did you mean full?"),
        ("widths", ["3", "0"], "config.widths: expected integers >= 1, got (3, 0)"),
        ("widths", ["3", "x"], "config.widths: expected integers >= 1, got '3 x'"),
        ("span", ["0"], "config.span: expected 2 numbers >= 0.0, got (0.0,)"),
    ],
)
def test_refusal_names_the_setting_and_what_is_legal(name, words, message):
    with pytest.raises(ContractError) as error:
        SETTINGS[name].parse(words)
    assert str(error.value) == message


def test_check_makes_an_int_a_float_where_the_setting_is_one():
    config = s.check(Config(rate=1, span=(0, 1)))
    assert type(config.rate) is float
    assert [type(x) for x in config.span] == [float, float]
    assert s.check(Config()) == Config()


@pytest.mark.parametrize("wrong", [{"steps": 3.0}, {"steps": True}, {"tied": 1}, {"widths": [3, 4]}, {"rate": "1"}])
def test_check_refuses_another_type(wrong):
    with pytest.raises(ContractError, match=f"config.{next(iter(wrong))}: expected"):
        s.check(Config(**wrong))


def test_json_round_trip_keeps_every_setting_and_type():
    config = Config(steps=7, rate=0.1, tied=False, gate="scalar", widths=(), span=(0.25, 3.0))
    text = json.dumps(s.to_json(config), allow_nan=False)
    assert s.from_json(Config, json.loads(text)) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stesp": 3}, "config.stesp: no such setting; did you mean steps?"),
        ({"seeds": None}, "config.seeds: expected an integer >= 1, got None"),
        ({"widths": [1, "2"]}, r"config.widths: expected integers >= 1, got \(1, '2'\)"),
    ],
)
def test_json_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ContractError, match=message):
        s.from_json(Config, s.to_json(Config()) | change)


def test_json_that_lacks_a_setting_is_refused():
    values = s.to_json(Config())
    del values["gate"]
    with pytest.raises(ContractError, match=r"config\.gate: missing; expected one of 'full', 'scalar', 'none'"):
        s.from_json(Config, values)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, 3, "Config.x: declare it as x: type = setting"),
        (int, setting(3, " "), "Config.x: setting.* has no doc"),
        (int, setting(3.0, "doc"), "Config.x: its default is not legal: expected an integer, got 3.0"),
        (int, setting(0, "doc", low=1), "Config.x: its default is not legal: expected an integer >= 1, got 0"),
        (int, setting(3, "doc", low=5, high=2), "Config.x: low=5 is above high=2"),
        (str, setting("a", "doc", choices=("a", 2)), "Config.x: choices=.* are not all of the type str"),
        (dict, setting(None, "doc"), "Config.x: expected a bool, int, float, str"),
        (tuple[int, str], setting((1, "a"), "doc"), "Config.x: expected a bool, int, float, str"),
        (tuple[int, int], setting((1,), "doc"), "its default is not legal: expected 2 integers"),
    ],
)
def test_declarations_that_break_the_contract(annotation, value, message):
    declared = dataclasses.make_dataclass("Config", [("x", annotation, value)], frozen=True)
    with pytest.raises(ContractError, match=message):
        s.settings_of(declared)


def test_config_has_to_be_frozen():
    with pytest.raises(ContractError, match=r"expected a class under @dataclasses.dataclass\(frozen=True\)"):
        s.settings_of(dataclasses.make_dataclass("Config", [("x", int, setting(1, "doc"))]))


def test_the_nearest_spelling_is_suggested_or_nothing():
    assert s.did_you_mean("gated_linear_atention", ["attention", "gated_linear_attention"]).endswith(
        "did you mean gated_linear_attention?"
    )
    assert s.did_you_mean("zebra", ["steps", "seeds"]) == ""
