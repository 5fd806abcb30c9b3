"""What an experiment file declares: its paper, its settings, its claims and its oracles.

Nothing here imports jax, so that the command line can read every experiment in milliseconds.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
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


BOUNDS = ("at_least", "at_most", "between")


def check_claims(claims: Sequence[Claim], oracles: Sequence[Oracle] = ()) -> None:
    """Checks what an experiment claims, as far as it can be known before a run.

    Raises:
      ContractError: "C2: at_least: expected more than no_effect = 0.0, got -0.1", for the first thing that is wrong.
    """
    if not claims:
        raise ContractError("CLAIMS: expected at least one Claim, got none")
    for kind, name, items in ((Claim, "CLAIMS", claims), (Oracle, "ORACLES", oracles)):
        for item in items:
            if not isinstance(item, kind):
                raise ContractError(f"{name}: expected only {kind.__name__}(...), got {item!r}")
    for claim in claims:
        _check_texts(claim)
        if claim.full_scale_only:
            _check_unmeasured(claim)
        else:
            _check_measured(claim)
    ids = [claim.id for claim in claims]
    for twice in (i for n, i in enumerate(ids) if i in ids[:n]):
        raise ContractError(f"{twice}: two claims have this id; each needs its own")
    for oracle in oracles:
        if not _is_text(oracle.says) or not callable(oracle.holds):
            raise ContractError(f"ORACLES: expected Oracle(says=a sentence, holds=a function), got {oracle!r}")


def _check_texts(claim: Claim) -> None:
    for field in ("id", "says", "source", "paper_value"):
        if not _is_text(getattr(claim, field)):
            raise ContractError(f"{claim.id or 'a claim'}: {field}: expected text, got {getattr(claim, field)!r}")
    if claim.full_scale_only != "" and not _is_text(claim.full_scale_only):
        raise ContractError(f"{claim.id}: full_scale_only: expected the reason, got {claim.full_scale_only!r}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _check_unmeasured(claim: Claim) -> None:
    given = [f for f in ("measure", *BOUNDS, "no_effect", "control") if getattr(claim, f) is not None]
    if given or claim.log:
        raise ContractError(f"{claim.id}: full_scale_only leaves out {', '.join(given or ['log'])}")


def _check_measured(claim: Claim) -> None:
    if not callable(claim.measure):
        raise ContractError(f"{claim.id}: measure: expected a function of the results, got {claim.measure!r}")
    if claim.control is not None and not callable(claim.control):
        raise ContractError(f"{claim.id}: control: expected a function of the results, got {claim.control!r}")
    given = [bound for bound in BOUNDS if getattr(claim, bound) is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise ContractError(f"{claim.id}: expected one of {', '.join(BOUNDS)} or full_scale_only, got {got}")
    (kind,) = given
    bound = getattr(claim, kind)
    if kind == "between" and not (isinstance(bound, tuple) and len(bound) == 2):
        raise ContractError(f"{claim.id}: between: expected (low, high), got {bound!r}")
    numbers = {"no_effect": () if claim.no_effect is None else (claim.no_effect,)}
    numbers[kind] = bound if kind == "between" else (bound,)
    for field, value in ((field, value) for field, values in numbers.items() for value in values):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ContractError(f"{claim.id}: {field}: expected a finite number, got {value!r}")
        if claim.log and value <= 0:
            raise ContractError(f"{claim.id}: {field}: expected more than 0 because log=True, got {value!r}")
    _check_sides(claim)


def _check_sides(claim: Claim) -> None:
    none = claim.no_effect
    if claim.between is not None and none is not None:
        raise ContractError(f"{claim.id}: no_effect goes with at_least or at_most, not with between")
    if claim.between is not None and claim.between[0] >= claim.between[1]:
        raise ContractError(f"{claim.id}: between: expected (low, high) with low < high, got {claim.between}")
    if none is not None and claim.at_least is not None and claim.at_least <= none:
        raise ContractError(f"{claim.id}: at_least: expected more than no_effect = {none}, got {claim.at_least}")
    if none is not None and claim.at_most is not None and claim.at_most >= none:
        raise ContractError(f"{claim.id}: at_most: expected less than no_effect = {none}, got {claim.at_most}")
