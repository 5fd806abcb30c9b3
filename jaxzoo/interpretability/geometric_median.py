"""The geometric median: the point of least summed distance, which a few far-off points can't carry away."""

import jax
import jax.numpy as jnp


def geometric_median(x, *, steps=100):
    """argmin_m sum_i |x_i - m|, by Weiszfeld's iteration from the mean, a fixed number of times.

        m <- sum_i x_i / |x_i - m|  /  sum_i 1 / |x_i - m|

    Where m stands on one of the points, that point has no such weight; it holds m back instead by as much as it counts
    (Vardi and Zhang), so that the iteration leaves a point that is not the median.

    Args:
      x: [n, d] points.
      steps: of the iteration; 100 in the code of "Transcoders Find Interpretable LLM Feature Circuits".

    Returns:
      [d].

    Raises:
      ValueError: x is not [n, d] with n >= 1.

    Sources: Weiszfeld, "Sur le point pour lequel la somme des distances de n points donnés est minimum" (Tohoku
    Mathematical Journal 43, 1937); Vardi, Zhang, "The multivariate L1-median and associated data depth" (PNAS 97,
    2000).
    """
    if x.ndim != 2 or not len(x):
        raise ValueError(f"x: expected [n, d] with n >= 1, got {x.shape}")

    def step(m, _):
        away = x - m[None]
        distance = jnp.sqrt(jnp.square(away).sum(-1))
        here = distance == 0
        weight = jnp.where(here, 0, 1 / jnp.where(here, 1, distance))
        pull = weight @ away  # [d], the sum of unit vectors to the other points
        hold = here.sum() / jnp.maximum(jnp.sqrt(jnp.square(pull).sum()), 1e-30)
        move = pull / jnp.maximum(weight.sum(), 1e-30)
        return m + jnp.maximum(1 - hold, 0) * move, None

    return jax.lax.scan(step, x.mean(0), length=steps)[0]
