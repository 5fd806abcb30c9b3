"""The verdict rule by hand-worked cases, and the harness under A/A runs, swapped arms and injected faults."""

import dataclasses
import math

import numpy as np
import pytest

from jaxzoo.experiment.claims import OracleChecked, check_oracles, judge, judge_all, swap_arms
from jaxzoo.experiment.declare import Claim, ContractError, Oracle
from jaxzoo.experiment.statistics import pseudo_values
from jaxzoo.experiment.verdict import Verdict


def claim(**changes) -> Claim:
    """A claim on results["x"], at least 1 where nothing is 0, but for the changes."""
    about = {"id": "C1", "says": "more", "source": "Table 1", "paper_value": "2", "measure": lambda r: r["x"]}
    bound = {} if {"at_most", "between", "full_scale_only"} & set(changes) else {"at_least": 1.0}
    return Claim(**about | bound | {"no_effect": 0.0} | changes)


def three(mean: float, d: float) -> np.ndarray:
    """Three seeds of standard deviation d: their interval is mean -+ 4.302653 d / sqrt(3) = mean -+ 2.484138 d."""
    return np.array([mean - d, mean, mean + d])


EFFECTS = [
    (1.5, 0.2, "reproduced"),  # [1.003, 1.997]
    (1.5, 0.202, "partial"),  # [0.998, 2.002]
    (0.5, 0.2, "partial"),  # [0.003, 0.997]
    (0.5, 0.2013, "inconclusive"),  # [-0.0001, 1.0001]
    (0.0, 1.0, "inconclusive"),  # [-2.5, 2.5]
    (0.4, 0.2415, "not reproduced"),  # [-0.1999, 0.9999]
    (0.4, 0.2416, "inconclusive"),  # [-0.2002, 1.0002]
    (-1.5, 0.2, "contradicted"),  # [-1.997, -1.003]
    (-1.5, 0.202, "not reproduced"),  # [-2.002, -0.998]
    (1.0, 0.0, "reproduced"),  # lo = m
    (0.9999, 0.0, "partial"),
    (0.0001, 0.0, "partial"),
    (0.0, 0.0, "not reproduced"),  # lo = 0
    (-0.9999, 0.0, "not reproduced"),
    (-1.0, 0.0, "contradicted"),  # hi = -m
]
SCALES = {
    "at_least": (lambda t: t, {"at_least": 1.0}),
    "at_most": (lambda t: -t, {"at_most": -1.0}),
    "from 10": (lambda t: 10 + t, {"at_least": 11.0, "no_effect": 10.0}),
    "ratio": (np.exp2, {"at_least": 2.0, "no_effect": 1.0, "log": True}),
    "inverse ratio": (lambda t: np.exp2(-t), {"at_most": 0.5, "no_effect": 1.0, "log": True}),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("mean", "d", "verdict"), EFFECTS)
def test_rule_with_no_effect(scale, mean, d, verdict):
    to_scale, bound = SCALES[scale]
    assert judge(claim(**bound), {"x": to_scale(three(mean, d))}).verdict == verdict


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("mean", "d", "verdict"),
    [
        (1.5, 0.2, "reproduced"),
        (1.5, 0.202, "inconclusive"),
        (0.5, 0.2, "not reproduced"),
        (0.5, 0.2013, "inconclusive"),
        (-5.0, 0.1, "not reproduced"),
        (1.0, 0.0, "reproduced"),
        (0.9999, 0.0, "not reproduced"),
    ],
)
def test_rule_of_a_threshold(sign, mean, d, verdict):
    bound = {"at_least": 1.0} if sign > 0 else {"at_most": -1.0}
    assert judge(claim(no_effect=None, **bound), {"x": sign * three(mean, d)}).verdict == verdict


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    ("mean", "d", "verdict"),
    [
        (1.5, 0.2, "reproduced"),
        (1.5, 0.202, "inconclusive"),
        (0.5, 0.2, "not reproduced"),
        (0.5, 0.202, "inconclusive"),
        (2.5, 0.2, "not reproduced"),
        (2.5, 0.202, "inconclusive"),
        (1.5, 9.0, "inconclusive"),
        (1.0, 0.0, "reproduced"),
        (2.0, 0.0, "reproduced"),
        (0.9999, 0.0, "not reproduced"),
        (2.0001, 0.0, "not reproduced"),
    ],
)
def test_rule_of_a_range(log, mean, d, verdict):
    x, between = (np.exp2(three(mean, d)), (2.0, 4.0)) if log else (three(mean, d), (1.0, 2.0))
    assert judge(claim(between=between, no_effect=None, log=log), {"x": x}).verdict == verdict


def test_everything_that_is_reported_of_a_difference():
    judged = judge_all([claim(at_most=-1.0)], {"x": -three(1.5, 0.202)})[0]
    half = 4.302653 * 0.202 / math.sqrt(3)
    assert (judged.n, judged.bound, judged.margin, judged.log) == (3, {"at_most": -1.0}, 1.0, False)
    assert judged.measured == pytest.approx(-1.5)
    assert judged.interval == pytest.approx((-1.5 - half, -1.5 + half), rel=1e-6)
    assert judged.values == pytest.approx((-1.298, -1.5, -1.702))
    assert judged.mde == pytest.approx((4.302653 + 1.060660) * 0.202 / math.sqrt(3), rel=1e-6)
    assert judged.p == judged.p_holm == pytest.approx(0.0251, abs=1e-4)
    assert judged.a_a == 0.0


def test_a_ratio_is_reported_in_its_own_unit():
    x = np.array([2.0, 4.0, 8.0])
    judged = judge(claim(at_least=1.5, no_effect=1.0, log=True), {"x": x})
    factor = math.exp(4.302653 * math.log(2) / math.sqrt(3))
    assert judged.measured == pytest.approx(4.0)
    assert judged.interval == pytest.approx((4 / factor, 4 * factor), rel=1e-6)
    assert judged.margin == pytest.approx(math.log(1.5))


@pytest.mark.parametrize("scale", SCALES)
def test_a_a_rate_counts_from_no_effect(scale):
    """Of 1023 relabellings only the one that turns the first, tiny effect comes out reproduced."""
    to_scale, bound = SCALES[scale]
    assert judge(claim(**bound), {"x": to_scale(np.array([1e-3] + [2.0] * 9))}).a_a == 1 / 1023


def test_margin_of_a_range_and_of_a_threshold():
    x = {"x": three(1.5, 0.1)}
    assert judge(claim(between=(1.0, 3.0), no_effect=None), x).margin == 1.0
    threshold = judge(claim(no_effect=None), x)
    assert (threshold.margin, threshold.a_a) == (None, None)


@pytest.mark.parametrize("values", [three(1.5, 0.2), three(1.5, 0.202), three(2.5, 0.2)])
def test_p_of_a_range_agrees_with_its_verdict(values):
    judged = judge(claim(between=(1.0, 2.0), no_effect=None), {"x": values})
    assert (judged.p <= 0.025) == (judged.verdict == "reproduced")


def test_p_is_adjusted_over_the_claims_that_were_tested():
    claims = [
        claim(id="C1"),
        claim(id="C2", measure=lambda r: r["y"]),
        Claim(id="C3", says="big", source="Table 2", paper_value="3", full_scale_only="needs a cluster"),
        claim(id="C4", measure=lambda r: r["x"] * math.nan),
    ]
    first, second, full, void = judge_all(claims, {"x": three(1.5, 0.19), "y": three(0.9, 0.2)})
    assert first.p_holm == pytest.approx(2 * first.p)
    assert second.p_holm == pytest.approx(second.p)
    assert first.verdict == "reproduced"
    assert first.reason.startswith("by itself; among the 2 claims")
    assert (full.verdict, full.reason, full.p_holm) == ("full scale only", "needs a cluster", None)
    assert (void.verdict, void.p_holm, void.measured) == ("void", None, None)


def test_one_seed_is_inconclusive_and_keeps_its_value():
    judged = judge(claim(), {"x": np.array([5.0])})
    assert (judged.verdict, judged.values, judged.interval) == ("inconclusive", (5.0,), None)
    assert judged.reason == "one seed has no spread: run with more seeds"


def test_two_seeds_are_enough_for_an_interval_and_one_is_not_for_a_control():
    controlled = claim(control=lambda r: r["c"])
    two = judge(controlled, {"x": np.array([1.5, 1.5]), "c": np.array([0.0, 0.0])})
    assert (two.verdict, two.interval, two.control["verdict"]) == ("reproduced", (1.5, 1.5), "not reproduced")
    one = judge(controlled, {"x": np.array([1.5]), "c": np.array([1.5])})
    assert (one.verdict, one.control["verdict"], one.control["interval"]) == ("inconclusive", "inconclusive", None)


def test_a_control_without_a_logarithm_makes_it_void():
    ratio = claim(at_least=2.0, no_effect=1.0, log=True, control=lambda r: r["c"])
    judged = judge(ratio, {"x": np.array([3.0, 3.0]), "c": np.array([1.0, 0.0])})
    assert (judged.verdict, judged.reason) == ("void", "the control has no logarithm in seeds 1")
    assert judged.control["measured"] is None


def test_too_few_seeds_for_a_statistic_over_seeds():
    judged = judge(claim(measure=lambda r: pseudo_values(np.std, r["x"])), {"x": np.ones(2)})
    assert (judged.verdict, judged.values) == ("inconclusive", ())
    assert "needs 3 seeds or more, this run has 2" in judged.reason


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_value_that_is_not_finite_makes_it_void(bad, seeds):
    judged = judge(claim(), {"x": np.array([5.0, 5.0, bad][-seeds:])})
    assert judged.verdict == "void"
    assert judged.reason == f"the measured value is not finite in seeds {seeds - 1}"


def test_a_logarithm_of_zero_makes_it_void():
    judged = judge(claim(no_effect=0.5, log=True), {"x": np.array([0.0, 2.0, -1.0])})
    assert (judged.verdict, judged.reason) == ("void", "the measured value has no logarithm in seeds 0, 2")


def test_a_control_that_shows_the_effect_makes_it_void():
    controlled = claim(control=lambda r: r["c"])
    shows = judge(controlled, {"x": three(1.5, 0.2), "c": three(1.5, 0.1)})
    assert (shows.verdict, shows.control["verdict"]) == ("void", "reproduced")
    assert shows.reason == "the control, in which the effect should vanish, shows it too"
    quiet = judge(controlled, {"x": three(1.5, 0.2), "c": three(0.0, 0.2)})
    assert (quiet.verdict, quiet.control["verdict"]) == ("reproduced", "not reproduced")
    assert quiet.control["measured"] == pytest.approx(0.0)
    assert quiet.control["interval"] == pytest.approx((-0.4968, 0.4968), abs=1e-4)


def test_a_control_that_is_not_finite_makes_it_void():
    judged = judge(claim(control=lambda r: r["c"]), {"x": three(1.5, 0.2), "c": np.array([0.0, math.nan, 0.0])})
    assert (judged.verdict, judged.reason) == ("void", "the control is not finite in seeds 1")
    assert judged.measured == pytest.approx(1.5)


def test_a_failed_oracle_or_arm_makes_every_claim_void_but_what_was_never_measured():
    full = Claim(id="C2", says="big", source="Table 2", paper_value="3", full_scale_only="needs a cluster")
    failed = OracleChecked(says="forms agree", holds=False, seeds=(1,))
    arm = {"stage": "recall/full", "seed": 2, "step": 31, "scalar": "loss"}
    first, second = judge_all([claim(), full], {"x": three(1.5, 0.2)}, oracles=[failed], failures=[arm])
    assert first.verdict == "void"
    assert first.reason == (
        "an oracle failed: forms agree (seeds 1); recall/full is not finite from step 31 on, seed 2"
    )
    assert first.interval == pytest.approx((1.003, 1.997), abs=1e-3)
    assert second.verdict == "full scale only"


def test_an_oracle_that_holds_changes_nothing():
    fine = OracleChecked(says="forms agree", holds=True)
    assert judge_all([claim()], {"x": three(1.5, 0.2)}, oracles=[fine])[0].verdict == "reproduced"


def test_inconclusive_by_design_says_how_many_seeds():
    wide = judge(claim(), {"x": three(0.5, 1.0)})
    assert wide.mde > wide.margin
    assert wide.reason == "inconclusive by design: add seeds; about 10 would show an effect of the margin's size"
    unlucky = judge(claim(), {"x": three(0.9, 0.3)[[0, 1, 1, 2, 0, 1, 1, 2]]})
    assert unlucky.mde < unlucky.margin
    assert "by design" not in unlucky.reason


def test_what_stood_against_a_better_verdict_is_said():
    reasons = {v: judge(claim(), {"x": three(m, d)}).reason for m, d, v in EFFECTS}
    assert reasons["reproduced"] == ""
    assert all(reasons[v] for v in reasons if v != "reproduced")


def test_oracles_are_asked_per_run_or_per_seed():
    oracles = [
        Oracle(says="a", holds=lambda r: bool(r["x"].sum() > 0)),
        Oracle(says="b", holds=lambda r: r["x"] > 1),
        Oracle(says="c", holds=lambda r: r["x"][:, None] > np.array([-1.0, 2.0])),
    ]
    a, b, c = check_oracles(oracles, {"x": np.array([1.0, 2.0, 3.0])})
    assert (a.holds, b.holds, b.seeds, c.holds, c.seeds) == (True, False, (0,), False, (0, 1))


@pytest.mark.parametrize("holds", [lambda r: 1.0, lambda r: r["x"]])
def test_an_oracle_that_returns_numbers_is_an_error(holds):
    with pytest.raises(ContractError, match="expected a bool or booleans per seed, got float64"):
        check_oracles([Oracle(says="a", holds=holds)], {"x": np.ones(3)})


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda r: r["y"], "C1: measure: KeyError: 'y'; the results are x"),
        (lambda r: r["x"].mean(), r"C1: measure: expected one real number per seed, \[3\], got float64 \(\)"),
        (lambda r: r["x"][:2], r"\[3\], got float64 \(2,\)"),
        (lambda r: r["x"] * 1j, r"got complex128 \(3,\)"),
    ],
)
def test_a_measure_that_breaks_the_contract(measure, message):
    with pytest.raises(ContractError, match=message):
        judge(claim(measure=measure), {"x": np.ones(3)})


@pytest.mark.parametrize("results", [{}, {"x": np.ones(3), "y": np.ones(2)}, {"x": 1.0}])
def test_results_without_a_common_seed_axis(results):
    with pytest.raises(ContractError, match="results: expected arrays with one common leading seed axis"):
        judge(claim(), results)


def experiment(rng: np.random.Generator, n: int, effect: float) -> dict[str, np.ndarray]:
    """Two arms that share what a seed does to both, as paired arms do."""
    shared = rng.normal(0.0, 3.0, n)
    return {"a": shared + effect + rng.normal(0.0, 0.1, n), "b": shared + rng.normal(0.0, 0.1, n)}


def paired(margin: float) -> Claim:
    return claim(at_least=margin, measure=lambda r: r["a"] - r["b"])


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_a(n):
    """With equal arms and next to no margin, 2.5 % of experiments come out reproduced; with a margin hardly any."""
    rng, trials = np.random.default_rng(n), 1500
    results = [experiment(rng, n, 0.0) for _ in range(trials)]
    barely = np.mean([judge(paired(1e-9), r).verdict == "reproduced" for r in results])
    assert abs(barely - 0.025) < 4 * math.sqrt(0.025 * 0.975 / trials)
    assert np.mean([judge(paired(0.1), r).verdict == "reproduced" for r in results[:300]]) < 0.01


def test_swapped_arms_are_contradicted_every_time():
    rng, verdicts = np.random.default_rng(0), []
    for _ in range(200):
        r = experiment(rng, 5, 1.0)
        assert judge(paired(0.5), r).verdict == "reproduced"
        verdicts.append(judge(paired(0.5), {"a": r["b"], "b": r["a"]}).verdict)
    assert set(verdicts) == {Verdict.CONTRADICTED}


@pytest.mark.parametrize("scale", SCALES)
def test_swap_arms_of_a_claim(scale):
    to_scale, bound = SCALES[scale]
    turned = swap_arms(claim(control=lambda r: r["c"], **bound))
    judged = judge(turned, {"x": to_scale(three(1.5, 0.2)), "c": to_scale(three(0.3, 0.1))})
    assert judged.verdict == "contradicted"
    assert judged.values == pytest.approx(tuple(to_scale(-three(1.5, 0.2))))
    assert judged.control["measured"] == pytest.approx(float(to_scale(np.array(-0.3))))


def test_swap_arms_needs_a_mirror():
    with pytest.raises(ValueError, match="C1: swap_arms: expected a claim with no_effect"):
        swap_arms(claim(no_effect=None))


FAULTS = {
    "wrong sign": lambda r: r | {"a": 2 * r["b"] - r["a"]},
    "nothing learnt": lambda r: r | {"a": r["b"] + (r["a"] - r["b"]) * 0.01},
    "the same arm twice": lambda r: r | {"a": r["b"]},
    "seeds off by one": lambda r: r | {"a": np.roll(r["a"], 1)},
    "one seed not finite": lambda r: r | {"a": np.where(np.arange(5) == 3, math.nan, r["a"])},
    "one seed diverged": lambda r: r | {"b": np.where(np.arange(5) == 3, 1e6, r["b"])},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_injected_fault_changes_the_verdict(fault):
    rng = np.random.default_rng(1)
    results = [experiment(rng, 5, 1.0) for _ in range(200)]
    assert all(judge(paired(0.5), r).verdict == "reproduced" for r in results)
    changed = np.mean([judge(paired(0.5), FAULTS[fault](r)).verdict != "reproduced" for r in results])
    assert changed >= 0.95


def test_judged_is_in_order_and_about_the_claims():
    claims = [claim(id="C2"), claim(id="C1", says="less")]
    judged = judge_all(claims, {"x": three(1.5, 0.2)})
    about = ("id", "says", "source", "paper_value")
    assert [[getattr(j, f) for f in about] for j in judged] == [[getattr(c, f) for f in about] for c in claims]


def test_claims_are_checked_before_they_are_judged():
    with pytest.raises(ContractError, match="C1: at_least: expected more than no_effect"):
        judge_all([dataclasses.replace(claim(), at_least=-1.0)], {"x": np.ones(3)})
