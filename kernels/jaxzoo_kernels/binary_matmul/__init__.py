"""Products of signs, 32 to a word: sign(x) @ sign(w) = k - 2 popcount(bits_x xor bits_w).

What bounds it: one exclusive or, one population count and one addition per 32 products, and 1/32 of float32's bytes.
On cpu these run as outer sums over the words, a few words per pass over the accumulator: 1.3 ms against 8.5 ms of a
float32 product of the unpacked signs (1024 x 1024 x 1024 on two loaded cores). On cuda and tpu there is no
binary matrix unit that XLA reaches, and the int8 one is faster than population counts on the vector units (by their
nominal rates): the signs are unpacked to int8 there. That form has been run on cpu, compiled for TPU v5e and sm_90a,
and not run there. The Pallas kernel for TPU (tpu.py) unpacks in VMEM, for 1/8 of the bytes at most; that for Hopper
GPUs (gpu.py) unpacks w in registers, on the way into tensor cores. Both are taken where they are named until they have
run on one.
"""

import functools

import jax
import jax.numpy as jnp

from .._core import check_shape
from .._core.products import check_matmul, fold
from .op import binary_matmul_op
from .xla import WORD, pack

__all__ = ["binary_matmul", "pack_bits"]


def pack_bits(x, *, axis: int = -1):
    """Packs signs into words: bit i of word j is 1 where x at 32 j + i along `axis` is negative.

    Args:
        x: [..., k, ...] real numbers, floating or signed integers. 0, -0 and NaN count as positive.
        axis: the axis to pack: the last for the left operand of `binary_matmul`, -2 for the right one.

    Returns:
        [..., ceil(k / 32), ...] uint32, the bits past k being 0.

    Raises:
        ValueError: an axis that x has not. TypeError: a dtype without negative numbers.
    """
    x = jnp.asarray(x)
    if not (jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.signedinteger)):
        raise TypeError(f"x: expected a floating or signed integer dtype, got {x.dtype}")
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis: expected one of x's {x.ndim} axes, got {axis}")
    return _pack(x, axis=axis % x.ndim)


def binary_matmul(x, w, k: int, *, implementation: str | None = None):
    """The product of two matrices of signs that `pack_bits` packed.

        out_ij = sum_k sign(x_ik) sign(w_kj) = k - 2 popcount(x_i xor w_j)

    Args:
        x: [..., m, ceil(k / 32)] uint32, from `pack_bits(x)`.
        w: [..., ceil(k / 32), n] uint32, from `pack_bits(w, axis=-2)`; leading axes broadcast as in `jnp.matmul`.
        k: how many signs each row of x and column of w has; bits past it are ignored.
        implementation: None or "xla"; or "pallas_gpu" or "pallas_tpu", which have not run on a GPU or TPU yet.

    Returns:
        [..., m, n] int32, exact. It has no derivative: to train, multiply straight-through signs as real numbers.

    Raises:
        ValueError: shapes that don't fit. TypeError: a dtype that is not uint32. NotImplementedError: a named
            implementation that can't run, and why.

    Source: Rastegari et al., "XNOR-Net" (arXiv 1603.05279), Sec. 3.2, without its scaling factors.
    """
    x, w = jnp.asarray(x), jnp.asarray(w)
    for name, z in (("x", x), ("w", w)):
        if z.dtype != jnp.uint32:
            raise TypeError(f"{name}: expected dtype uint32 from pack_bits, got {z.dtype}")
    check_matmul(("x", "w"), x, w)
    words = -(-k // WORD)
    check_shape("x", x, f"[..., m, {words}] for k = {k}", x.shape[-1] == words)
    return _binary_matmul(x, w, k=int(k), implementation=implementation)


@functools.partial(jax.jit, static_argnames="axis")
def _pack(x, *, axis):
    return pack(x, axis)


@functools.partial(jax.jit, static_argnames=("k", "implementation"))
def _binary_matmul(x, w, **options):
    x, w, shape = fold(x, w)
    (out,) = binary_matmul_op(x, w, **options)
    return out.reshape(shape)
