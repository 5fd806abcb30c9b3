"""The primitive behind `linear_recurrence`: two forms, each the transpose of the other.

    before:  s_t = a_t s_{t-1} + b_t,  h_t = s_t            (multiply, then add)
    after:   h_t = s_{t-1} + b_t,      s_t = a_t h_t        (add, then multiply)

Both map (b, initial s) linearly to (h, final s). Running time backwards (and conjugating a of two real parts, as the
transpose of a real map asks), each is the transpose of the other, so a backward pass reads `a` in place: no copy of it
shifted by one step.

Operands are real or complex, or complex numbers as two real operands each, (re, im). All have a leading axis n of
independent sequences: a [n or 1, t or 1, c], b [n, t, c], initial s [n, c]; outputs h [n, t, c] in b's dtype, final s
[n, c] in s's.
"""

import jax.numpy as jnp

from .._core import Op
from .parts import split, times
from .xla import associative, rows


def _shapes(*operands, **_):
    _, b, s = split(operands)
    return [*b, *s]


def _operations(*operands, **_):
    _, b, _ = split(operands)
    is_complex = len(b) == 2 or jnp.issubdtype(b[0].dtype, jnp.complexfloating)
    return (8 if is_complex else 2) * b[0].size


def _tangents(tangents, primals):
    """None if all parts are symbolic zeros, else arrays."""
    if all(t is None for t in tangents):
        return None
    return tuple(jnp.zeros_like(p) if t is None else t for t, p in zip(tangents, primals, strict=True))


def _shifted(h, first, reverse):
    """h moved one step on in the direction of time, with `first` [n, c] (or zeros) entering."""
    first = jnp.zeros_like(h[:, :1]) if first is None else first[:, None].astype(h.dtype)
    return jnp.concatenate([h[:, 1:], first] if reverse else [first, h[:, :-1]], 1)


def _jvp(primals, tangents, *, reverse, after, conjugate, implementation):
    params = {"reverse": reverse, "after": after, "conjugate": conjugate, "implementation": implementation}
    (a, b, s), parts = split(primals), len(primals) // 3
    da, db, ds = (_tangents(t, p) for t, p in zip(split(tangents), (a, b, s), strict=True))
    op = OPS[parts]
    outputs = op(*primals, **params)
    h = tuple(outputs[:parts])
    if da is None and db is None and ds is None:
        return outputs, [None] * len(outputs)
    forcing = tuple(jnp.zeros_like(x) for x in b) if db is None else db
    ending = None
    if da is not None and b[0].shape[1]:
        if after:
            pushed = times(da, h, conjugate)
            moved = (_shifted(p, None, reverse) for p in pushed)
            forcing = tuple(f + p.astype(f.dtype) for f, p in zip(forcing, moved, strict=True))
            ending = tuple(p[:, 0 if reverse else -1] for p in pushed)
        else:
            before = tuple(_shifted(x, first, reverse) for x, first in zip(h, s, strict=True))
            forcing = tuple(f + p.astype(f.dtype) for f, p in zip(forcing, times(da, before, conjugate), strict=True))
    ds = tuple(jnp.zeros_like(x) for x in s) if ds is None else ds
    out_tangents = op(*a, *forcing, *ds, **params)
    if ending is not None:
        last = [x + e.astype(x.dtype) for x, e in zip(out_tangents[parts:], ending, strict=True)]
        out_tangents = [*out_tangents[:parts], *last]
    return outputs, out_tangents


def _transpose(cotangents, operands, *, reverse, after, conjugate, implementation):
    (a, b, s), parts = split(operands), len(operands) // 3
    outputs = OPS[parts](
        *a,
        *cotangents,
        reverse=not reverse,
        after=not after,
        conjugate=parts == 2 and not conjugate,
        implementation=implementation,
    )
    answers = [ct if x is None else None for ct, x in zip(outputs, (*b, *s), strict=True)]
    return [None] * parts + answers


def _make(name: str, parts: int) -> Op:
    return Op(
        name,
        xla=associative,
        xla_cpu=rows,
        shapes=_shapes,
        operations=_operations,
        kernels={
            "pallas_gpu": "jaxzoo_kernels.linear_recurrence.gpu:recurrence",
            "pallas_tpu": "jaxzoo_kernels.linear_recurrence.tpu:recurrence",
        },
        jvp=_jvp,
        transpose=_transpose,
        shared=tuple(range(parts)),
    )


OPS = {1: _make("linear_recurrence", 1), 2: _make("complex_linear_recurrence", 2)}
