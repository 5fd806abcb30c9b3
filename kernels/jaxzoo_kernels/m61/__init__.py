"""The field of p = 2^61 - 1 in 32-bit integers: products, and folding of multilinear tables.

A number is two words, [low 32 bits, high 29 bits], so that neither 64-bit mode nor a 64-bit multiplier is needed;
TPUs have none. Inside it is five limbs of 13 bits (the last of 9): a product of limbs has 26 bits, and the sums of them
that make a column stay below 2^32 even after the wrap 2^65 = 2^4, so that all 25 are plain 32-bit multiplications and
nothing is split. Three rounds of carries bring the columns back.

What bounds it: about 25 multiplications and 60 additions and shifts an element against 24 bytes: arithmetic, not
memory, on the vector units of a TPU (counting instructions). Where there is a 64-bit multiplier, four products of 31
bits do (`jaxzoo.robustness.m61`), which on cpu is 100 times as fast (2^20 products: 0.7 ms against 91 ms, two loaded
cores); this form is for what must run without 64-bit mode.

In the lax form the rounds of carries are a loop: XLA would else fuse the whole chain of them into every limb that is
read twice, and computed a fold of 9000 numbers for seven seconds on cpu; its optimisation barriers are no help there.

The kernel for TPU has been interpreted and lowered, and compiled where the compiler is; it has never run on a TPU.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from .._core import check_shape
from .op import m61_mul_op, mle_fold_op

__all__ = ["from_words", "m61_mul", "mle_fold", "to_words"]


def to_words(values) -> np.ndarray:
    """Numbers below p as words.

    Args:
        values: [...] uint64 below p, NumPy.

    Returns:
        [2, ...] uint32: the low 32 bits and the high 29.
    """
    values = np.asarray(values, np.uint64)
    return np.stack([values & np.uint64(2**32 - 1), values >> np.uint64(32)]).astype(np.uint32)


def from_words(words) -> np.ndarray:
    """The inverse of `to_words`, in NumPy."""
    low, high = np.asarray(words).astype(np.uint64)
    return low | high << np.uint64(32)


def m61_mul(a, b, *, implementation: str | None = None):
    """a b modulo 2^61 - 1, elementwise.

    Args:
        a, b: [2, ...] uint32 words of numbers below p (`to_words`), alike in shape.
        implementation: None takes the best for each platform the program is compiled for; "xla" or "pallas_tpu" take
            that one or raise.

    Returns:
        [2, ...] uint32 words of a number below p. It has no derivative.

    Raises:
        ValueError: shapes that don't fit. TypeError: a dtype that is not uint32. NotImplementedError: a named
            implementation that can't run, and why.
    """
    a, b = _checked("a", a), _checked("b", b)
    check_shape("b", b, f"a's shape {tuple(a.shape)}", a.shape == b.shape)
    return _m61_mul(a, b, implementation=implementation)


def mle_fold(table, u, *, implementation: str | None = None):
    """Binds the first variable of a multilinear table: t[x] = t[2 x] + u (t[2 x + 1] - t[2 x]) modulo 2^61 - 1.

    Args:
        table: [2, 2 n] uint32 words of numbers below p.
        u: [2] uint32 words of one.
        implementation: as in `m61_mul`.

    Returns:
        [2, n] uint32 words. It has no derivative.

    Raises:
        ValueError: shapes that don't fit. TypeError: a dtype that is not uint32. NotImplementedError: a named
            implementation that can't run, and why.
    """
    table, u = _checked("table", table), _checked("u", u)
    check_shape("table", table, "[2, 2 n]", table.ndim == 2 and table.shape[1] % 2 == 0)
    check_shape("u", u, "[2]", u.ndim == 1)
    return _mle_fold(table, u, implementation=implementation)


def _checked(name, x):
    x = jnp.asarray(x)
    if x.dtype != jnp.uint32:
        raise TypeError(f"{name}: expected dtype uint32 from to_words, got {x.dtype}")
    check_shape(name, x, "[2, ...]", x.ndim > 0 and x.shape[0] == 2)
    return x


@functools.partial(jax.jit, static_argnames="implementation")
def _m61_mul(a, b, implementation):
    flat = [x.reshape(1, 2, -1) for x in (a, b)]
    (out,) = m61_mul_op(*flat, implementation=implementation)
    return out.reshape(a.shape)


@functools.partial(jax.jit, static_argnames="implementation")
def _mle_fold(table, u, implementation):
    low, high = table[None, :, 0::2], table[None, :, 1::2]
    (out,) = mle_fold_op(low, high, u[None, :, None], implementation=implementation)
    return out[0]
