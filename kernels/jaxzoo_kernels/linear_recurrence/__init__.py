"""Linear recurrence h_t = a_t h_{t-1} + b_t, elementwise, along an axis of time.

What bounds it: memory. Two operations per element, against 12 bytes in float32 (a and b read, h written); 8 with a
decay that is constant in time. Every path but the default on a GPU reads its operands once and keeps the state on chip.

Tiling. Time in order, channels side by side: cpu runs rows of channels in a compiled loop that writes in place; TPU
puts channels across lanes and streams blocks of time through VMEM; the GPU kernel gives a thread to each of 128
channels and streams blocks of time through shared memory by TMA. The backward pass is the same recurrence run
backwards with a in place (op.py), so it is as fast, and a product of two arrays for the gradient of a.

Limits. On a GPU the default is an associative scan by XLA, many passes over memory. The kernel (Hopper and later) has
been interpreted and compiled, not run; until it has, implementation="pallas_gpu" alone takes it. It fills n * c / 128
multiprocessors; fewer chains than that leave the rest idle, as time is not split. The TPU kernel is the default there;
it has been interpreted and compiled for TPU v4 to v7x, not run. A time axis that is last (or has fewer than 8 channels
after it) is moved to the front, a pass over memory each way.

Measured on two CPU cores (benchmarks/kernels/results): forward it moves its bytes 1.4 to 1.9 times as fast as a copy of
a large array does, which leaves 2.6 to 4.8 times lax.associative_scan and 3.1 to 45 times a PyTorch loop (26 to 1000
with gradients). 15 times associative_scan would be 7 times the speed of that copy.

Tried, and no help on cpu: several time steps per loop iteration (blocks of 4 to 16 rows: 1.5 to 4 times slower), one
loop per example cut out of the batch (a copy in and out: half as fast), complex numbers in separate parts where they
come interleaved (8 times slower), lax.associative_scan (log-depth passes), a transposition that makes longer rows
(rows of 8 channels are fast enough).
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from .._core import check_floating, check_shape
from .op import OPS

__all__ = ["linear_recurrence"]

NARROW = 8  # fewer channels than this after the time axis: move time to the front, so that a step is a longer row


def linear_recurrence(a, b, *, h0=None, reverse: bool = False, axis: int = 0, implementation: str | None = None):
    """Runs h_t = a_t h_{t-1} + b_t over an axis of time, from an initial state to a final one.

        h_t = a_t h_{t-1} + b_t,   t = 1 .. T   (t = T .. 1 with `reverse`), elementwise.

    Args:
        a: [..., t, ...] decay, broadcastable to b; of size 1 along `axis` it is constant in time and is read once.
            Real or complex, complex also as a pair (re, im) of real arrays.
        b: [..., t, ...] input, real or complex likewise: float16, bfloat16, float32, float64, complex64, complex128.
        h0: [..., ...] initial state, b's shape without `axis`; zero if None. A pair where b is a pair.
        reverse: run from the last time step to the first.
        axis: the axis of time in b. Leading, or followed by channels, it is fastest: no transposition is needed.
        implementation: None takes the best for each platform the program is compiled for, "pallas_tpu" on TPU and "xla"
            elsewhere; "xla", "pallas_gpu" (Hopper or later), "pallas_tpu" take that one or raise.

    Returns:
        h: b's shape, b's precision, complex (a pair if b is one) where a, b or h0 is complex.
        last: h0's shape, the state after the last step: h_T, or h_1 with `reverse`. Carried in float32 where b is of
            16 bits, so that a run cut in two gives what one run gives.

    Raises:
        ValueError: shapes that don't fit. TypeError: a dtype that is not floating or complex. NotImplementedError: a
            named implementation that can't run, and why.
    """
    for name, x in (("a", a), ("b", b), ("h0", h0)):
        _check_dtype(name, x)
    paired = isinstance(b, tuple)
    a, b, h0 = (None if x is None else _parts(x, paired) for x in (a, b, h0))
    axis = _check(a[0], b[0], None if h0 is None else h0[0], axis)
    h, last = _linear_recurrence(a, b, h0, reverse=bool(reverse), axis=axis, implementation=implementation)
    return (h, last) if paired else (h[0], last[0])


def _check_dtype(name, x):
    if x is None:
        return
    if not isinstance(x, tuple):
        check_floating(name, jnp.asarray(x), also=("complex64", "complex128"))
    elif len(x) != 2 or jnp.shape(x[0]) != jnp.shape(x[1]):
        raise ValueError(f"{name}: expected a pair (re, im) of one shape, got {[jnp.shape(part) for part in x]}")
    else:
        for part in x:
            check_floating(name, jnp.asarray(part))


def _parts(x, paired):
    """x as one array, or as (re, im) where the input is a pair; a real x is (x,) in either case."""
    if isinstance(x, tuple):
        x = tuple(jnp.asarray(part) for part in x)
        return x if paired else (lax.complex(*x),)
    x = jnp.asarray(x)
    return (x.real, x.imag) if paired and jnp.issubdtype(x.dtype, jnp.complexfloating) else (x,)


def _check(a, b, h0, axis):
    """The axis counted from the front, once the shapes are known to fit."""
    if not -b.ndim <= axis < b.ndim:
        raise ValueError(f"axis: expected one of b's {b.ndim} axes, got {axis}")
    axis %= b.ndim
    fits = a.ndim <= b.ndim and all(m in (1, n) for m, n in zip(a.shape[::-1], b.shape[::-1], strict=False))
    check_shape("a", a, f"a shape broadcastable to b's {b.shape}", fits)
    if h0 is not None:
        expected = b.shape[:axis] + b.shape[axis + 1 :]
        check_shape("h0", h0, f"{expected}, b's shape without axis {axis}", h0.shape == expected)
    return axis


@functools.partial(jax.jit, static_argnames=("reverse", "axis", "implementation"))
def _linear_recurrence(a, b, h0, *, reverse, axis, implementation):
    """Lays the operands out as [n, t, c] and calls the primitive; parts in, parts out."""
    shape, parts = b[0].shape, len(b)
    if any(x is not None and jnp.issubdtype(x[0].dtype, jnp.complexfloating) for x in (a, h0)):
        b = (b[0].astype(jnp.promote_types(b[0].dtype, jnp.complex64)),)
    state_dtype = jnp.promote_types(b[0].dtype, jnp.float32)
    a = tuple(x.reshape((1,) * (len(shape) - x.ndim) + x.shape) for x in a)
    front, back = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    if back < NARROW and front > 1:
        a, b = (tuple(jnp.moveaxis(x, axis, 0) for x in group) for group in (a, b))
        moved = _linear_recurrence(a, b, h0, reverse=reverse, axis=0, implementation=implementation)
        return tuple(jnp.moveaxis(x, 0, axis) for x in moved[0]), moved[1]

    n_a = 1 if math.prod(a[0].shape[:axis]) == 1 else front
    lead = shape[:axis] if n_a > 1 else (1,) * axis
    t_a, trail = a[0].shape[axis], shape[axis + 1 :]
    a = tuple(jnp.broadcast_to(x, (*lead, t_a, *trail)).reshape(n_a, t_a, back) for x in a)
    b = tuple(x.reshape(front, shape[axis], back) for x in b)
    s = tuple(jnp.zeros((front, back), state_dtype) for _ in range(parts))
    if h0 is not None:
        s = tuple(x.reshape(front, back).astype(state_dtype) for x in h0)
        s = s if len(s) == parts else (*s, jnp.zeros_like(s[0]))
    run = functools.partial(_run, reverse=reverse, implementation=implementation)
    if len(a) < parts:
        # A real decay acts on the two parts separately.
        (h_re, last_re), (h_im, last_im) = (run(a, (b[i],), (s[i],)) for i in range(2))
        h, last = h_re + h_im, last_re + last_im
    else:
        h, last = run(a, b, s)
    return tuple(x.reshape(shape) for x in h), tuple(x.reshape(shape[:axis] + trail) for x in last)


def _run(a, b, s, *, reverse, implementation):
    outputs = OPS[len(b)](*a, *b, *s, reverse=reverse, after=False, conjugate=False, implementation=implementation)
    return tuple(outputs[: len(b)]), tuple(outputs[len(b) :])
