"""What an experiment file declares: its paper, its settings, its claims and its oracles.

Nothing here imports jax, so that the command line can read every experiment in milliseconds.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

Results = Mapping[str, Any]
"""What `run(config, runner)` returns: name -> array whose leading axis is the seed."""


class ContractError(ValueError):
    """An experiment, a config or a claim that does not keep the contract; the message says where and how to mend it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paper:
    """The paper behind an experiment. Its slug and its field are the file's name and folder.

    Attributes:
      title: the paper's title.
      authors: as they are cited, "Jacot, Gabriel, Hongler" or "Yang et al.".
      year: of the first public version.
      arxiv: its identifier, "1806.07572"; empty when there is none.
      code: the official repository, "owner/name (licence)"; empty when there is none.
    """

    title: str
    authors: str
    year: int
    arxiv: str = ""
    code: str = ""


def setting(default: Any, doc: str, *, low: float | None = None, high: float | None = None, choices: tuple = ()) -> Any:
    """Declares one field of an experiment's `Config`: its default, what it means, and its legal range.

    Args:
      default: a bool, int, float, str, or a tuple of those.
      doc: one line; says the unit or the paper's section.
      low: smallest legal value, inclusive; for a tuple, of every element.
      high: largest legal value, inclusive; likewise.
      choices: the legal values, where they are few.
    """
    return dataclasses.field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement of the paper, and how this experiment checks it. Fixed before the run.

    `measure` gives one value per seed; the Student-t interval of those values is held against exactly one of
    `at_least`, `at_most` and `between` (jaxzoo.experiment.claims has the rule).

    Attributes:
      id: "C1", or "C1a" and "C1b" where one statement needs two measurements; unique in the file.
      says: the statement in our words.
      source: where the paper says it: "Table 4, row GLA-340M".
      paper_value: the paper's own figure, with its unit.
      measure: `measure(results) -> [s]`, one value per seed; a statistic over seeds goes through `pseudo_values`.
      at_least, at_most, between: the bound, in the unit of `measure`.
      no_effect: the value of `measure` if the paper's idea did nothing: 0 for a difference, 1 for a ratio. With it the
        verdict can also be "partial" or "contradicted"; without it the bound is a plain threshold.
      log: compare logarithms; for ratios, errors and times. Needs positive values.
      control: `measure` again, on the arm in which the effect should vanish. If it shows the effect, the claim is void.
      full_scale_only: the reason why no run of this size can check it; then `measure` and the bounds are left out.
    """

    id: str
    says: str
    source: str
    paper_value: str
    measure: Callable[[Results], Any] | None = None
    at_least: float | None = None
    at_most: float | None = None
    between: tuple[float, float] | None = None
    no_effect: float | None = None
    log: bool = False
    control: Callable[[Results], Any] | None = None
    full_scale_only: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Oracle:
    """An independent check that must hold in the run itself; if it fails, no claim of the run counts.

    Attributes:
      says: what must hold: "the chunked form equals a float64 recurrence within 1e-4".
      holds: `holds(results) -> bool` or booleans per seed, all of which must be true.
    """

    says: str
    holds: Callable[[Results], Any]
