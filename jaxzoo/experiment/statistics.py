"""Statistics of a few seeds: Student-t intervals, one-sided p values, detectable effects, Holm, the jackknife.

Student's t holds its level at 3 to 10 seeds, where a percentile bootstrap does not.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

LEVEL = 0.975
"""One-sided confidence of either end of an interval: 95 % for the two-sided interval."""
POWER = 0.8
"""Probability with which an effect of the minimum detectable size is found."""
ENUMERATED = 10
"""Up to this many seeds every relabelling of the arms is tried; above it, 1000 random ones."""


class TooFewSeeds(ValueError):
    """A statistic over seeds that needs more seeds than the run has."""


def t_interval(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Student-t interval of the mean: mean -+ t_{.975, n-1} sd / sqrt(n).

    Args:
      x: [..., n] one value per seed, n at least 2, float64.

    Returns:
      `(mean, half)` [...]: the interval is [mean - half, mean + half]. Equal values give exactly their value and 0.
    """
    n = x.shape[-1]
    # Relative to the first value, so that rounding of a sum can't move the mean of equal values off a bound.
    deviation = x - x[..., :1]
    mean = x[..., 0] + deviation.mean(-1)
    return mean, stdtrit(n - 1, LEVEL) * deviation.std(-1, ddof=1) / math.sqrt(n)


def p_value(x: np.ndarray, bound: float) -> float:
    """One-sided p value of "the mean is below `bound`": small where it is above. Of values without spread, 0 or 1.

    Args:
      x: [n] one value per seed, n at least 2, float64.
      bound: in the unit of x.
    """
    mean, half = t_interval(x)
    if half == 0:
        return 0.0 if mean >= bound else 1.0
    degrees = x.shape[-1] - 1
    return float(stdtr(degrees, -(mean - bound) / half * stdtrit(degrees, LEVEL)))


def minimum_detectable(sd: float, n: Any) -> Any:
    """The effect that n seeds find with probability 0.8: (t_{.975, n-1} + t_{.8, n-1}) sd / sqrt(n)."""
    return (stdtrit(n - 1, LEVEL) + stdtrit(n - 1, POWER)) * sd / np.sqrt(n)


def seeds_needed(sd: float, effect: float) -> int | None:
    """The smallest number of seeds whose minimum detectable effect is at most `effect`; None if above 1000."""
    n = np.arange(2, 1001)
    enough = n[minimum_detectable(sd, n) <= effect]
    return int(enough[0]) if enough.size else None


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted for all being tested together: max over j <= i of min(1, (k - j) p_(j)), j counted from 0.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979).
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate([min(1.0, (len(p) - j) * p[i]) for j, i in enumerate(order)])
    return adjusted.tolist()


def a_a_rate(effects: np.ndarray, margin: float) -> float:
    """How often two equal arms would have passed: the false "reproduced" of an A/A experiment.

    Were the arms the same, each seed's effect would be up or down alike. So the arms are relabelled seed by seed, in
    all other ways than the observed one, and the rule is applied to each.

    Args:
      effects: [n] effect per seed in the claimed direction, 0 where there is none.
      margin: what the lower end of the interval has to reach, above 0.

    Returns:
      The share of relabellings that pass, 0 to 1. A working rule keeps it at 0.025 or below over many claims.
    """
    n = effects.shape[0]
    if n <= ENUMERATED:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))[1:]  # [2^n - 1, n]
    else:
        signs = np.random.default_rng(0).choice((1.0, -1.0), (1000, n))
    mean, half = t_interval(signs * effects)
    return float(np.mean(mean - half >= margin))


def pseudo_values(statistic: Callable[..., Any], *arrays: Any, log: bool = False) -> np.ndarray:
    """One value per seed of a statistic over seeds, by the jackknife: n T(all) - (n - 1) T(all but seed i).

    Their mean is the jackknife's bias-corrected T and their spread its standard error, so that a ratio of standard
    deviations or a correlation over runs is judged by the same t interval as a mean. For a mean they are the values
    themselves.

    This holds for smooth statistics. The 95 % interval covers, of normal values at 5 / 10 / 20 seeds: the logarithm of
    a ratio of standard deviations .95 / .95 / .96 (.93 / .91 / .91 of t_3 values), a standard deviation
    .90 / .92 / .93, a correlation of 0.6 .84 / .88 / .92. A median, a quantile or an extreme is not smooth: .71 to .76
    at any of them, so don't use it for those.

    Args:
      statistic: `statistic(*arrays) -> scalar`; must be defined for one seed less.
      *arrays: [s, ...] with a common seed axis.
      log: make them of the statistic's logarithm and return exponentials; for a `Claim` with `log=True`.

    Returns:
      [s], float64.

    Raises:
      TooFewSeeds: fewer than 3 seeds; the claim is then judged inconclusive.
      ValueError: the arrays have no common seed axis.
    """
    arrays = tuple(np.asarray(array) for array in arrays)
    sizes = {array.shape[0] if array.ndim else None for array in arrays}
    if len(sizes) != 1 or None in sizes:
        raise ValueError(f"pseudo_values: expected arrays [s, ...] of one s, got {[a.shape for a in arrays]}")
    n = sizes.pop()
    if n < 3:
        raise TooFewSeeds(f"a statistic over seeds needs 3 seeds or more, this run has {n}")

    def value(*arrays):
        scalar = np.float64(statistic(*arrays))
        return np.log(scalar) if log else scalar

    left_out = np.array([value(*(np.delete(array, i, axis=0) for array in arrays)) for i in range(n)])
    values = n * value(*arrays) - (n - 1) * left_out
    return np.exp(values) if log else values
