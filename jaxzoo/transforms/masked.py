"""A model with part of its parameters held at zero."""

import jax

from jaxzoo.transforms.trees import check_like


def masked(apply, mask):
    """The model with parameters params * mask; no gradient reaches what the mask removes.

    Args:
      apply: `apply(params, x, ...) -> y`.
      mask: pytree of the structure and shapes of params, of booleans or of factors.

    Returns:
      `apply(params, x, ...) -> y`. Parameters keep their dtypes.

    Raises:
      ValueError: at the call, where mask differs from params in structure or shapes.
    """

    def masked_apply(params, *inputs, **options):
        check_like("mask", mask, params)
        return apply(jax.tree.map(lambda p, m: p * m.astype(p.dtype), params, mask), *inputs, **options)

    return masked_apply
