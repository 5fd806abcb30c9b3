"""A function replaced by its tangent in the parameters."""

import jax

from jaxzoo.transforms.trees import check_like


def linearize(apply, params0):
    """The first-order Taylor expansion of a model in its parameters.

    apply_lin(params, x) = f(params0, x) + J(params0, x) (params - params0)

    Args:
      apply: `apply(params, x, ...) -> y`, of any pytree y.
      params0: the point of expansion, a pytree of floating arrays.

    Returns:
      `apply(params, x, ...) -> y`, linear in params up to a constant; one forward-mode pass, no Jacobian is stored.

    Raises:
      ValueError: at the call, where params differs from params0 in structure or shapes.

    Source: Lee et al., "Wide Neural Networks of Any Depth Evolve as Linear Models" (arXiv 1902.06720), eq. 5.
    """

    def linearized(params, *inputs, **options):
        check_like("params", params, params0)
        offset = jax.tree.map(lambda p, p0: p - p0, params, params0)
        y0, slope = jax.jvp(lambda p: apply(p, *inputs, **options), (params0,), (offset,))
        return jax.tree.map(lambda a, b: a + b, y0, slope)

    return linearized
