"""Statistics of a few seeds against peers, closed forms and simulation."""

import math

import numpy as np
import pytest
import scipy.stats

from jaxzoo.experiment.statistics import (
    TooFewSeeds,
    a_a_rate,
    holm,
    minimum_detectable,
    p_value,
    pseudo_values,
    seeds_needed,
    t_interval,
)


def spread(rate: float, trials: int) -> float:
    """Four standard errors of a simulated rate."""
    return 4 * math.sqrt(rate * (1 - rate) / trials)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_interval_is_scipys(n):
    x = np.random.default_rng(n).normal(3.0, 2.0, n)
    mean, half = t_interval(x)
    expected = scipy.stats.t.interval(0.95, n - 1, x.mean(), scipy.stats.sem(x))
    np.testing.assert_allclose((mean - half, mean + half), expected, rtol=1e-12)


@pytest.mark.parametrize("value", [0.1, 1e8 + 0.1, -1 / 3])
def test_interval_of_equal_values_is_exactly_their_value(value):
    assert t_interval(np.full(10, value)) == (value, 0.0)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_interval_covers_as_often_as_it_says(n):
    mean, half = t_interval(np.random.default_rng(0).normal(1.0, 3.0, (20_000, n)))
    assert abs(np.mean(abs(mean - 1.0) <= half) - 0.95) < spread(0.95, 20_000)


@pytest.mark.parametrize("bound", [-1.0, 0.3, 2.0])
def test_p_value_is_scipys(bound):
    x = np.random.default_rng(1).normal(0.5, 1.0, 7)
    assert p_value(x, bound) == pytest.approx(scipy.stats.ttest_1samp(x, bound, alternative="greater").pvalue, rel=1e-9)


def test_p_value_without_spread_is_certain():
    assert [p_value(np.full(3, 0.1), bound) for bound in (0.05, 0.1, 0.2)] == [0.0, 0.0, 1.0]


def test_minimum_detectable_effect_by_hand():
    assert minimum_detectable(2.0, 5) == pytest.approx((2.776445 + 0.940965) * 2.0 / math.sqrt(5), rel=1e-6)


@pytest.mark.parametrize("n", [5, 10])
def test_minimum_detectable_effect_is_found_four_times_in_five(n):
    x = np.random.default_rng(2).normal(minimum_detectable(1.0, n), 1.0, (20_000, n))
    mean, half = t_interval(x)
    assert 0.78 < np.mean(mean - half > 0) < 0.85


def test_seeds_needed_is_the_first_number_that_suffices():
    n = seeds_needed(1.0, 0.9)
    assert minimum_detectable(1.0, n) <= 0.9 < minimum_detectable(1.0, n - 1)
    assert seeds_needed(0.0, 0.9) == 2
    assert seeds_needed(1.0, 0.001) is None


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_a_rate_by_hand():
    assert a_a_rate(np.array([1.0, 1.0]), 0.5) == 0.0
    # Of 1023 relabellings only the one that turns the small value, the last one's, still has its lower
    # end, 0.67, above the margin.
    assert a_a_rate(np.array([1.0] * 9 + [1e-3]), 0.5) == 1 / 1023


@pytest.mark.parametrize("n", [5, 12])
def test_a_a_rate_of_noise_is_at_most_the_level(n):
    rng = np.random.default_rng(3)
    rates = [a_a_rate(rng.normal(0.0, 1.0, n), 1e-9) for _ in range(400)]
    assert 0.015 < np.mean(rates) < 0.03


def test_pseudo_values_of_a_mean_are_the_values():
    x = np.random.default_rng(4).normal(size=6)
    np.testing.assert_allclose(pseudo_values(np.mean, x), x, rtol=1e-12)


def test_pseudo_values_take_the_bias_out_of_a_variance():
    x = np.random.default_rng(5).normal(size=6)
    assert pseudo_values(np.var, x).mean() == pytest.approx(np.var(x, ddof=1), rel=1e-12)


def test_pseudo_values_of_two_arrays_leave_out_the_same_seed():
    a, b = np.random.default_rng(6).normal(size=(2, 8, 3))
    values = pseudo_values(lambda a, b: (a * b).mean(), a, b)
    np.testing.assert_allclose(values, (a * b).mean(1), rtol=1e-10)


def test_pseudo_values_of_a_logarithm_are_positive_and_cover():
    rng, hits = np.random.default_rng(7), 0
    for _ in range(800):
        values = pseudo_values(lambda a, b: a.std() / b.std(), *rng.normal(size=(2, 10)) * [[1.0], [4.0]], log=True)
        mean, half = t_interval(np.log(values))
        hits += abs(mean - math.log(0.25)) <= half
    assert abs(hits / 800 - 0.95) < spread(0.95, 800)


def test_pseudo_values_need_three_seeds_of_every_array():
    np.testing.assert_allclose(pseudo_values(np.mean, np.arange(3.0)), [0.0, 1.0, 2.0], atol=1e-12)
    with pytest.raises(TooFewSeeds, match="this run has 2"):
        pseudo_values(np.mean, np.zeros(2))
    with pytest.raises(ValueError, match=r"\[\(5,\), \(4, 2\)\]"):
        pseudo_values(np.mean, np.zeros(5), np.zeros((4, 2)))
