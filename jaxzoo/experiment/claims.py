"""Judges the claims of a paper on the results of a run.

`jaxzoo.experiment.rule` has the rule for a good run. Before it: a failed oracle, an arm or a value that is not finite,
or a control that is itself "reproduced" make the claim void; a single seed leaves it inconclusive.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxzoo.experiment.declare import BOUNDS, Claim, ContractError, Oracle, Results, check_claims
from jaxzoo.experiment.rule import Rule, rule_of
from jaxzoo.experiment.statistics import LEVEL, TooFewSeeds, holm, seeds_needed
from jaxzoo.experiment.verdict import Verdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """What came out of one claim. A field is None where it does not exist, or where too few values are finite.

    Attributes:
      id, says, source, paper_value, no_effect, log: as the claim has them.
      verdict: by the rule.
      reason: what stood against a better verdict; empty for a plain "reproduced".
      bound: the one that was given, {"at_least": 0.9}.
      measured: mean over seeds, in the unit of `measure`; the geometric mean if `log`.
      interval: 95 %, in the same unit.
      values: [s] as measured.
      margin: distance from `no_effect` to the bound, or half the width of `between`; of logarithms if `log`.
      n: number of seeds.
      p: one-sided, of the effect being short of the bound; for `between` the larger of both sides.
      p_holm: p adjusted for all claims of the run being tested together.
      mde: minimum detectable effect at power 0.8, in the unit of `margin`.
      a_a: false "reproduced" if the arms were relabelled at random (`statistics.a_a_rate`); where there is `no_effect`.
      control: {"verdict", "measured", "interval"} of the control.
    """

    id: str
    says: str
    source: str
    paper_value: str
    verdict: Verdict
    reason: str = ""
    bound: dict[str, Any] = dataclasses.field(default_factory=dict)
    no_effect: float | None = None
    log: bool = False
    measured: float | None = None
    interval: tuple[float, float] | None = None
    values: tuple[float, ...] = ()
    margin: float | None = None
    n: int = 0
    p: float | None = None
    p_holm: float | None = None
    mde: float | None = None
    a_a: float | None = None
    control: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class OracleChecked:
    """What came out of one oracle; `seeds` are those that failed, where the oracle speaks of seeds."""

    says: str
    holds: bool
    seeds: tuple[int, ...] = ()


def judge_all(
    claims: Sequence[Claim],
    results: Results,
    *,
    oracles: Sequence[OracleChecked] = (),
    failures: Iterable[Mapping[str, Any]] = (),
) -> list[Judged]:
    """Judges all claims of one paper.

    Args:
      claims: as the experiment declares them.
      results: what `run` returned, name -> [s, ...].
      oracles: what `check_oracles` returned. One that failed makes every claim void.
      failures: arms that left the finite numbers, {"stage", "seed", "step", ...}. One makes every claim void: what was
        measured of it afterwards, an accuracy say, may look finite.

    Raises:
      ContractError: a claim or its `measure` breaks the contract.
    """
    check_claims(claims)
    void = [
        f"an oracle failed: {o.says}" + (f" (seeds {listed(o.seeds)})" if o.seeds else "")
        for o in oracles
        if not o.holds
    ]
    void += ["{stage} is not finite from step {step} on, seed {seed}".format(**failure) for failure in failures]
    judged = [judge(claim, results, void=void) for claim in claims]
    tested = [j for j in judged if j.p is not None]
    adjusted = dict(zip((j.id for j in tested), holm([j.p for j in tested]), strict=True))
    return [_with_holm(j, adjusted[j.id], len(tested)) if j.id in adjusted else j for j in judged]


def _with_holm(judged: Judged, p_holm: float, tests: int) -> Judged:
    reason = judged.reason
    if judged.verdict is Verdict.REPRODUCED and p_holm > 1 - LEVEL:
        reason = f"by itself; among the {tests} claims tested here its p value is {p_holm:.2g} (Holm)"
    return dataclasses.replace(judged, p_holm=p_holm, reason=reason)


def judge(claim: Claim, results: Results, *, void: Sequence[str] = ()) -> Judged:
    """Judges one claim.

    Args:
      claim: checked by `check_claims`.
      results: name -> [s, ...].
      void: reasons why nothing of this run counts.

    Raises:
      ContractError: `measure` or `control` raises, or does not return one real number per seed.
    """
    about = {field: getattr(claim, field) for field in ("id", "says", "source", "paper_value")}
    if claim.full_scale_only:
        return Judged(**about, verdict=Verdict.FULL_SCALE_ONLY, reason=claim.full_scale_only)
    rule = rule_of(claim)
    about |= {
        "bound": {kind: getattr(claim, kind) for kind in BOUNDS if getattr(claim, kind) is not None},
        "no_effect": claim.no_effect,
        "log": claim.log,
        "margin": rule.margin,
        "n": seed_count(results),
    }
    try:
        x = _measure(claim, "measure", results)
        control = None if claim.control is None else _measure(claim, "control", results)
    except TooFewSeeds as error:
        reason = "; ".join(void) or str(error)
        return Judged(**about, verdict=Verdict.VOID if void else Verdict.INCONCLUSIVE, reason=reason)
    about["values"] = tuple(x.tolist())
    wrong = _wrong(rule, "the measured value", x)
    enough = x.size >= 2
    if enough and not wrong:
        about |= rule.estimate(x) | rule.tests(x)
    if control is not None:
        found = _judge_control(rule, control)
        about["control"] = found
        wrong += _wrong(rule, "the control", control)
        if found["verdict"] is Verdict.REPRODUCED:
            wrong.append("the control, in which the effect should vanish, shows it too")
    if void or wrong:
        return Judged(**about, verdict=Verdict.VOID, reason="; ".join([*void, *wrong]))
    if not enough:
        return Judged(**about, verdict=Verdict.INCONCLUSIVE, reason="one seed has no spread: run with more seeds")
    verdict = rule.verdict(x)
    return Judged(**about, verdict=verdict, reason=_reason(rule, verdict, x, about["mde"]))


def check_oracles(oracles: Sequence[Oracle], results: Results) -> list[OracleChecked]:
    """Asks every oracle whether it holds in these results.

    Raises:
      ContractError: `holds` raises, or does not return booleans.
    """
    return [_check_oracle(oracle, results) for oracle in oracles]


def _check_oracle(oracle: Oracle, results: Results) -> OracleChecked:
    where = f"oracle {oracle.says!r}: holds"
    holds = np.asarray(_call(where, oracle.holds, results))
    if holds.dtype != bool:
        raise ContractError(f"{where}: expected a bool or booleans per seed, got {holds.dtype} {holds.shape}")
    per_seed = holds.ndim > 0 and holds.shape[0] == seed_count(results)
    failed = np.flatnonzero(~holds.reshape(holds.shape[0], -1).all(1)) if per_seed else ()
    return OracleChecked(says=oracle.says, holds=bool(holds.all()), seeds=tuple(int(s) for s in failed))


def swap_arms(claim: Claim) -> Claim:
    """The claim as it would be if the compared arms had each other's names: its effect has the opposite sign.

    A reproduced claim must come out contradicted. The measured value is mirrored at `no_effect`: 2 no_effect - x, or
    no_effect^2 / x with `log`, which is what exchanging the arms of a difference or a ratio does.

    Raises:
      ValueError: the claim has no `no_effect`, so nothing says where to mirror it.
    """
    if claim.no_effect is None:
        raise ValueError(f"{claim.id}: swap_arms: expected a claim with no_effect")
    none = claim.no_effect

    def mirrored(measure):
        def swapped(results):
            x = np.asarray(measure(results), np.float64)
            return none**2 / x if claim.log else 2 * none - x

        return swapped

    control = None if claim.control is None else mirrored(claim.control)
    return dataclasses.replace(claim, measure=mirrored(claim.measure), control=control)


def seed_count(results: Results) -> int:
    """The number of seeds: the common leading axis of all results.

    Raises:
      ContractError: there are no results, or one has another leading axis.
    """
    shapes = {name: np.shape(value) for name, value in results.items()}
    sizes = {shape[:1] for shape in shapes.values()}
    if len(sizes) != 1 or sizes == {()}:
        listing = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
        raise ContractError(f"results: expected arrays with one common leading seed axis, got {listing}")
    return sizes.pop()[0]


def listed(seeds: Iterable[int]) -> str:
    """Seeds for a message: "0, 3"."""
    return ", ".join(map(str, seeds))


def _call(where: str, function: Any, results: Results) -> Any:
    """Calls a function of the experiment; what it raises is told with its place and the names there are."""
    try:
        with np.errstate(all="ignore"):
            return function(results)
    except TooFewSeeds:
        raise
    except Exception as error:
        names = ", ".join(results)
        raise ContractError(f"{where}: {type(error).__name__}: {error}; the results are {names}") from error


def _measure(claim: Claim, field: str, results: Results) -> np.ndarray:
    """The values [s] of `measure` or `control`, float64."""
    where, n = f"{claim.id}: {field}", seed_count(results)
    x = np.asarray(_call(where, getattr(claim, field), results))
    if x.shape != (n,) or np.iscomplexobj(x) or x.dtype == object:
        raise ContractError(f"{where}: expected one real number per seed, [{n}], got {x.dtype} {x.shape}")
    return x.astype(np.float64)


def _wrong(rule: Rule, what: str, x: np.ndarray) -> list[str]:
    """Why no interval can be made of the values x [s]: nothing or one reason."""
    bad = np.flatnonzero(~np.isfinite(x))
    if bad.size:
        return [f"{what} is not finite in seeds {listed(bad)}"]
    bad = np.flatnonzero(x <= 0)
    return [f"{what} has no logarithm in seeds {listed(bad)}"] if rule.log and bad.size else []


def _judge_control(rule: Rule, x: np.ndarray) -> dict[str, Any]:
    """The control under the claim's own rule."""
    if x.size < 2 or _wrong(rule, "", x):
        return {"verdict": Verdict.INCONCLUSIVE, "measured": None, "interval": None}
    return {"verdict": rule.verdict(x), **rule.estimate(x)}


def _reason(rule: Rule, verdict: Verdict, x: np.ndarray, mde: float) -> str:
    """What stood against a better verdict."""
    if verdict is Verdict.REPRODUCED:
        return ""
    if verdict is Verdict.INCONCLUSIVE and rule.margin is not None and mde > rule.margin:
        needed = seeds_needed(rule.scaled(x).std(ddof=1), rule.margin)
        many = "more than 1000" if needed is None else f"about {needed}"
        return f"inconclusive by design: add seeds; {many} would show an effect of the margin's size"
    return verdict.meaning
