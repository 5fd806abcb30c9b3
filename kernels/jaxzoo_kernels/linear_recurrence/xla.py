"""The recurrence in pure lax: rows in order on cpu, an associative scan elsewhere."""

import jax.numpy as jnp
from jax import lax

from .parts import split, times


def step(a, b, s, after, conjugate):
    """One step of either form: (h, next s), each a tuple of parts."""
    if after:
        h = tuple(x + y for x, y in zip(s, b, strict=True))
        return h, times(a, h, conjugate)
    h = tuple(x + y for x, y in zip(times(a, s, conjugate), b, strict=True))
    return h, h


def rows(*operands, reverse: bool, after: bool, conjugate: bool):
    """Time step by time step, each a contiguous row of c numbers written in place; nothing else touches memory.

    One loop over examples around one over time, both on the whole buffer: slicing an example out would copy it.
    """
    a, b, s = split(operands)
    (n, t, c), dtype = b[0].shape, s[0].dtype
    n_a, t_a = a[0].shape[:2]
    if t == 0:
        return [*b, *s]
    a, b_rows = (tuple(x.reshape(-1, c) for x in parts) for parts in (a, b))

    def row(parts, index):
        return tuple(lax.dynamic_index_in_dim(x, index, 0, keepdims=False).astype(dtype) for x in parts)

    def write(parts, values, index):
        return tuple(
            lax.dynamic_update_index_in_dim(x, v.astype(x.dtype), index, 0) for x, v in zip(parts, values, strict=True)
        )

    def example(i, carry):
        h, last = carry

        def body(step_index, carry):
            state, h = carry
            time = t - 1 - step_index if reverse else step_index
            a_now = row(a, (i if n_a > 1 else 0) * t_a + (time if t_a > 1 else 0))
            now, state = step(a_now, row(b_rows, i * t + time), state, after, conjugate)
            return state, write(h, now, i * t + time)

        state, h = lax.fori_loop(0, t, body, (row(s, i), h))
        return h, write(last, state, i)

    empty = tuple(lax.empty((n * t, c), x.dtype) for x in b)
    h, last = lax.fori_loop(0, n, example, (empty, s))
    return [x.reshape(n, t, c) for x in h] + list(last)


def associative(*operands, reverse: bool, after: bool, conjugate: bool):
    """Log-depth composition of the maps s -> a s + b, for accelerators whose kernel can't take these operands."""
    a, b, s = split(operands)
    dtype, (n, t, c) = s[0].dtype, b[0].shape
    a, wide = (tuple(x.astype(dtype) for x in parts) for parts in (a, b))
    if conjugate:
        a = (a[0], -a[1])
    if t == 0:
        return [*b, *s]
    full = tuple(jnp.broadcast_to(x, (n, t, c)) for x in a)
    # The state before step t has seen the steps up to t - 1: scan those, with the initial state as their first term.
    forcing = times(full, wide) if after else wide

    def compose(first, second):
        (a1, b1), (a2, b2) = first, second
        return times(a2, a1), tuple(x + y for x, y in zip(times(a2, b1), b2, strict=True))

    decay, reached = lax.associative_scan(compose, (full, forcing), axis=1, reverse=reverse)
    start = tuple(x[:, None] for x in s)
    states = tuple(x + y for x, y in zip(times(decay, start), reached, strict=True))
    last = [x[:, 0 if reverse else -1] for x in states]
    if after:
        order = (lambda x, x0: [x[:, 1:], x0]) if reverse else (lambda x, x0: [x0, x[:, :-1]])
        previous = (jnp.concatenate(order(x, x0), 1) for x, x0 in zip(states, start, strict=True))
        states = tuple(x + y for x, y in zip(previous, wide, strict=True))
    return [x.astype(y.dtype) for x, y in zip(states, b, strict=True)] + last
