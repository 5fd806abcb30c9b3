"""The rule that turns an interval and a claim's bound into a verdict.

With x_i the measured value of seed i, T the identity or the logarithm, and [lo, hi] the two-sided 95 % Student-t
interval of the mean of T(x), its sign turned for `at_most` so that more is better:

- with `no_effect`, lo and hi are counted from there, and m > 0 is the bound counted from there. In this order:
  lo >= m reproduced; lo > 0 partial; hi <= -m contradicted; hi < m not reproduced; else inconclusive;
- without it: lo >= bound reproduced; hi < bound not reproduced; else inconclusive;
- `between`: the interval inside, reproduced; outside, not reproduced; else inconclusive (two one-sided tests).
"""

import dataclasses
import math

import numpy as np

from jaxzoo.experiment.declare import Claim
from jaxzoo.experiment.statistics import a_a_rate, minimum_detectable, p_value, t_interval
from jaxzoo.experiment.verdict import Verdict


@dataclasses.dataclass(frozen=True)
class Rule:
    """A claim's bound on the scale t = sign T(x), on which more is better.

    Attributes:
      sign: -1.0 for `at_most`, else 1.0.
      log: whether T is the logarithm.
      low: the bound; the lower one of `between`.
      high: the upper one of `between`, else infinite.
      zero: where there is no effect, or None.
    """

    sign: float
    log: bool
    low: float
    high: float = math.inf
    zero: float | None = None

    @property
    def margin(self) -> float | None:
        """Distance from no effect to the bound, or half the width of `between`; None of a plain threshold."""
        if self.zero is not None:
            return self.low - self.zero
        return (self.high - self.low) / 2 if math.isfinite(self.high) else None

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """x -> t."""
        return self.sign * (np.log(x) if self.log else x)

    def back(self, t: float) -> float:
        """t -> x."""
        with np.errstate(over="ignore"):  # an interval of logarithms may reach beyond the largest float
            return float(np.exp(self.sign * t) if self.log else self.sign * t) + 0.0  # no -0

    def verdict(self, x: np.ndarray) -> Verdict:
        """The verdict on the values x [s] of two seeds or more, all finite, positive if `log`."""
        mean, half = t_interval(self.scaled(x))
        lo, hi = mean - half, mean + half
        if self.zero is None:
            if lo >= self.low and hi <= self.high:
                return Verdict.REPRODUCED
            return Verdict.NOT_REPRODUCED if hi < self.low or lo > self.high else Verdict.INCONCLUSIVE
        if lo >= self.low:
            return Verdict.REPRODUCED
        if lo > self.zero:
            return Verdict.PARTIAL
        if hi - self.zero <= -self.margin:
            return Verdict.CONTRADICTED
        return Verdict.NOT_REPRODUCED if hi < self.low else Verdict.INCONCLUSIVE

    def estimate(self, x: np.ndarray) -> dict:
        """Mean and interval in the unit of x: {"measured", "interval"}."""
        mean, half = t_interval(self.scaled(x))
        ends = sorted((self.back(mean - half), self.back(mean + half)))
        return {"measured": self.back(mean), "interval": tuple(ends)}

    def tests(self, x: np.ndarray) -> dict:
        """{"p", "mde", "a_a"} as `Judged` has them."""
        t = self.scaled(x)
        p = p_value(t, self.low)
        if math.isfinite(self.high):
            p = max(p, p_value(-t, -self.high))
        a_a = None if self.zero is None else a_a_rate(t - self.zero, self.margin)
        return {"p": p, "mde": float(minimum_detectable(t.std(ddof=1), t.size)), "a_a": a_a}


def rule_of(claim: Claim) -> Rule:
    """The rule of a claim that `check_claims` has passed and that is not `full_scale_only`."""
    sign = -1.0 if claim.at_most is not None else 1.0

    def scaled(value):
        return None if value is None else sign * (math.log(value) if claim.log else float(value))

    if claim.between is not None:
        low, high = map(scaled, claim.between)
        return Rule(sign, claim.log, low, high)
    bound = claim.at_least if claim.at_least is not None else claim.at_most
    return Rule(sign, claim.log, scaled(bound), zero=scaled(claim.no_effect))
