"""Command-line options from dataclasses, by tyro; a paper's settings as its file declares them. Never imports jax."""

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from jaxzoo.cli.errors import UsageError
from jaxzoo.experiment.declare import ContractError
from jaxzoo.experiment.discover import Head, find
from jaxzoo.experiment.settings import Setting

Options = TypeVar("Options")


def option(metavar: str, about: str) -> Any:
    """How an option that may be left out is shown: without its default, which says nothing."""
    return tyro.conf.arg(metavar=metavar, help=about, help_behavior_hint="")


Experiments = Annotated[Path | None, option("DIR", "a folder of experiment files of your own, instead of jaxzoo's")]
Runs = Annotated[Path, tyro.conf.arg(metavar="DIR", help="where runs are, for papers without a committed record")]


def parse(options: type[Options], words: Sequence[str], verb: str) -> Options:
    """Parses the words after a verb; help and errors of the form end the process with 0 and 2."""
    return tyro.cli(
        options,
        args=words,
        prog=f"jaxzoo {verb}",
        description=inspect.cleandoc(options.__doc__).replace("\n\n", "\n"),
        use_underscores=True,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def config_options(config: Any, settings: dict[str, Setting]) -> type:
    """A class like the paper's Config for `parse`: the defaults are those of `config`."""
    fields = [
        (name, Annotated[object, _words(setting), _help(setting)], dataclasses.field(default=getattr(config, name)))
        for name, setting in settings.items()
    ]
    return dataclasses.make_dataclass("Settings", fields, frozen=True)


def _help(setting: Setting) -> Any:
    bounds = f"; {setting.range}" if setting.range and not setting.choices else ""
    return tyro.conf.arg(help=f"{setting.doc}{bounds}")


def _words(setting: Setting) -> tyro.constructors.PrimitiveConstructorSpec:
    """How a setting is read from words and written as words."""
    options = "|".join(_word(x) for x in setting.choices) or {bool: "true|false", str: "WORD"}.get(
        setting.kind, setting.kind.__name__.upper()
    )
    single = setting.length is None
    count = 1 if single else "*" if setting.length == "any" else setting.length

    def from_words(words: list[str]) -> Any:
        try:
            return setting.parse(words)
        except ContractError as error:
            # tyro says which option it is.
            raise ValueError(str(error).partition(": ")[2]) from None

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=count,
        metavar=options if single else f"[{options} ...]" if count == "*" else " ".join([options] * count),
        instance_from_str=from_words,
        is_instance=lambda value: True,
        str_from_instance=lambda value: [_word(x) for x in ((value,) if single else value)],
    )


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def paper(slug: str, folder: Path | None) -> Head:
    """The head of the paper that the command line names.

    Raises:
      UsageError: there is none of that name, or its file breaks the contract.
    """
    try:
        return find(slug, folder)
    except ContractError as error:
        raise UsageError(str(error)) from None
