"""Numbers as tuples of arrays: (x,) is one real or complex array, (re, im) a complex number in two real ones."""

import jax
import jax.numpy as jnp
from jax import lax

from .._core import Kernel


def split(operands):
    """(a, b, s), each a tuple of parts."""
    parts = len(operands) // 3
    return tuple(tuple(operands[i * parts : (i + 1) * parts]) for i in range(3))


def times(x, y, conjugate=False):
    """x * y of tuples of parts; of two real parts, x is conjugated first if asked."""
    if len(x) == 1:
        return (x[0] * y[0],)
    (xr, xi), (yr, yi) = x, y
    xi = -xi if conjugate else xi
    return (xr * yr - xi * yi, xr * yi + xi * yr)


def planar(kernel: Kernel) -> Kernel:
    """The kernel of real parts, taking complex arrays as well: a pass over memory each to part and to join them."""

    def is_complex(operands):
        return any(jnp.issubdtype(x.dtype, jnp.complexfloating) for x in operands)

    def run(*operands, **params):
        if not is_complex(operands):
            return kernel.run(*operands, **params)
        parts = [part for x in operands for part in (jnp.real(x), jnp.imag(x))]
        h_re, h_im, last_re, last_im = kernel.run(*parts, **params)
        return [lax.complex(h_re, h_im), lax.complex(last_re, last_im)]

    def of_shapes(function):
        def of(*avals, **params):
            if is_complex(avals):
                reals = [jnp.zeros((), x.dtype).real.dtype for x in avals]
                avals = [jax.ShapeDtypeStruct(x.shape, d) for x, d in zip(avals, reals, strict=True) for _ in range(2)]
            return function(*avals, **params)

        return of

    return kernel._replace(run=run, refuse=of_shapes(kernel.refuse), blocks=of_shapes(kernel.blocks))
