"""Softmax attention.

    o_i = sigmoid(gate_i) * sum_j exp(x_ij - lse_i) v_j,   x_ij = softcap tanh(scale q_i . k_j / softcap) + bias_ij

Tiling. No path has all t s logits at once. A tile is some queries against some keys; over the keys a row keeps its
maximum, its sum and its weighted sum of v, and nothing of the logits. Backward computes the weights again from lse.
Tiles that a band hides are not visited. cpu takes tiles of 512 x 1024 logits one after the other, in strips along a
diagonal, and short sequences all heads at once (xla_cpu.py, cpu_grid.py); TPU a step of the grid a tile, sums in VMEM
(tpu.py); GPUs have cuDNN's where it takes the options (cudnn.py), else blocks of rows in lax (xla.py), and kernels for
Hopper that are named alone until they have run on one (gpu.py, and gpu_backward.py in two passes without atomics). The
gate is fused into the tile that ends a row.

What bounds it: the two products, 2 t s (d + d_v) operations a head forward and 2.5 times that backward, half where
causal; on accelerators at d = 64 the t s exponentials as much.

Measured on two CPU cores (benchmarks/kernels/results) at t = 1024: forward 2.6 to 4.0 times as fast as plain jnp and
3.3 to 4.8 times `jax.nn.dot_product_attention`, with gradients 1.7 to 2.7 and 3.5 to 5.1 times; PyTorch's fused
attention is as fast (0.92 to 0.97, 1.01 to 1.1). 67 % of the speed of one large product without a mask, 45 % with a
causal one; at all of it, and softmax for nothing, the former would be 1.4 times as fast as PyTorch. At t = 128 with 4
heads of 32 it is 1.0 and 1.2 times as fast as plain jnp; up to t = 256 PyTorch is up to twice as fast, because XLA's
batches of small products run at half the speed of a large one.

Tried, and no help on cpu: sums of a row by a column of ones in v, exp2 for exp, k transposed beforehand, strips of 128
rows backward (10 % faster at t = 1024, slower at 512, and twice the code to compile), tiles of 1024 rows backward.

Nothing of it has run on a GPU or TPU.
"""

import functools
import math

import jax
import jax.numpy as jnp

from .._core import check_floating, check_shape
from .op import forward
from .options import PARTS, Options

__all__ = ["attention"]


def attention(
    q,
    k,
    v,
    *,
    bias=None,
    mask=None,
    causal: bool = False,
    window: int | tuple[int | None, int | None] | None = None,
    offset=0,
    segment_ids=None,
    scale: float | None = None,
    softcap: float | None = None,
    gate=None,
    sink=None,
    return_lse: bool = False,
    normalize: bool = True,
    implementation: str | None = None,
):
    """Softmax attention, in memory linear in t and s, with derivatives of any order.

        x_ij = softcap tanh(scale q_i . k_j / softcap) + bias_ij   for keys that query i sees, -inf for others,
        o_i = sigmoid(gate_i) * sum_j exp(x_ij) v_j / (exp(sink) + sum_j exp(x_ij)),   per head.

    Query head i uses key head i * h_kv // h. Query i stands at position i + offset among the keys 0 .. s - 1, and sees
    those that causal, window, mask and segment_ids all let it see. With the default offset of 0 a causal mask starts in
    the top left corner: query i sees keys 0 .. i even where t != s. `offset=s - t` puts it into the bottom right one:
    the queries are the last t of s tokens, as in decoding. A query that sees nothing gives 0 and an lse of -inf, and
    no gradient. Logits and sums are float32 (float64 for float64); o is cast back to q's dtype.

    Args:
        q: [..., t, h, d] queries. float16, bfloat16, float32 or float64; k and v have the same dtype.
        k: [..., s, h_kv, d] keys; h is a multiple of h_kv.
        v: [..., s, h_kv, d_v] values.
        bias: broadcastable to [..., h, t, s], added to the logits; any floating dtype.
        mask: booleans broadcastable to [..., h, t, s], False where a query must not see a key.
        causal: a query sees no key after its position.
        window: w: a query sees keys less than w away from its position, w - 1 on either side and itself. A pair (left,
            right): as many before and after it, None for all.
        offset: position of the first query among the keys: an int, or for decoding an integer array [...] that may be
            traced, in which case no block is skipped.
        segment_ids: [..., t] integers where t = s, or a pair ([..., t], [..., s]): a query sees keys of its own
            segment.
        scale: factor of the products, d^-0.5 if None.
        softcap: bound of the logits before the bias.
        gate: [..., t, h, d_v], or with axes of size 1: logits of a gate on the output.
        sink: [..., h], or with axes of size 1: the logit of a key without value that every query sees.
        return_lse: give lse as well.
        normalize: False leaves out the division: o_i = sigmoid(gate_i) * sum_j exp(x_ij) v_j, in float32. It overflows
            for logits above 88; partial results are merged more safely by their lse.
        implementation: None takes the best for each platform the program is compiled for; "xla", "cudnn", "pallas_gpu",
            "pallas_tpu" take that one or raise. "pallas_gpu" (Hopper, forward and first derivatives) is never taken by
            itself, and has to be named until it has run on a GPU.

    Returns:
        o: [..., t, h, d_v], q's dtype. With return_lse, a pair of it and lse: [..., t, h], float32 (float64 for
        float64): log(exp(sink) + sum_j exp(x_ij)).

    Raises:
        ValueError: shapes or options that don't fit. TypeError: a dtype that can't be. NotImplementedError: a named
            implementation that can't run, and why.

    Source: Vaswani et al., "Attention Is All You Need", eq. 1; tiling: Dao et al., "FlashAttention", alg. 1 and 4.
    """
    q, k, v = (jnp.asarray(x) for x in (q, k, v))
    given = {"bias": bias, "mask": mask, "gate": gate, "sink": sink}
    given = {name: None if x is None else jnp.asarray(x) for name, x in given.items()}
    _check(q, k, v, **given)
    given["q_segments"], given["kv_segments"] = _segments(segment_ids, q, k)
    left, right = _band(causal, window)
    if not isinstance(offset, int) and (left is not None or right is not None):
        given["mask"] = _and(given["mask"], _band_mask(jnp.asarray(offset), left, right, q, k))
        left = right = None
    options = Options(
        parts=tuple(name for name in PARTS if given[name] is not None),
        left=left,
        right=right,
        offset=offset if isinstance(offset, int) else 0,
        scale=q.shape[-1] ** -0.5 if scale is None else float(scale),
        softcap=None if softcap is None else float(softcap),
        lse=return_lse or not normalize,
    )
    parts = [given[name] for name in options.parts]
    o, lse = _attention(q, k, v, parts, options=options, normalize=normalize, implementation=implementation)
    return (o, lse) if return_lse else o


@functools.partial(jax.jit, static_argnames=("options", "normalize", "implementation"))
def _attention(q, k, v, parts, *, options: Options, normalize, implementation):
    lead = q.shape[:-3]
    b = math.prod(lead)
    core = {"gate": (*q.shape[-3:-1], v.shape[-1]), "sink": q.shape[-2:-1]}
    operands = [x.reshape(b, *x.shape[len(lead) :]) for x in (q, k, v)]
    for name, x in zip(options.parts, parts, strict=True):
        rank = {"bias": 3, "mask": 3, "gate": 3}.get(name, 1)
        x = x.reshape((1,) * (rank + len(lead) - x.ndim) + x.shape)
        if name in core:
            x = jnp.broadcast_to(x, (*x.shape[: len(lead)], *core[name]))
        shared = name != "gate" and all(n == 1 for n in x.shape[: len(lead)])
        front = (1,) if shared else (b,)
        x = x if shared else jnp.broadcast_to(x, (*lead, *x.shape[len(lead) :]))
        operands.append(x.reshape(*front, *x.shape[len(lead) :]))
    o, lse = forward(*operands, options=options, implementation=implementation)
    lse = jnp.swapaxes(lse, 1, 2)  # [b, t, h]
    if not normalize:
        o = o.astype(lse.dtype) * jnp.exp(lse)[..., None]
    return o.reshape(*lead, *o.shape[1:]), lse.reshape(*lead, *lse.shape[1:])


def _check(q, k, v, bias, mask, gate, sink):
    for name, x in (("q", q), ("k", k), ("v", v), ("bias", bias), ("gate", gate), ("sink", sink)):
        if x is not None:
            check_floating(name, x)
    for name, x in (("k", k), ("v", v)):
        if x.dtype != q.dtype:
            raise TypeError(f"{name}: expected q's dtype {q.dtype}, got {x.dtype}; cast one of them")
    if mask is not None and mask.dtype != jnp.bool_:
        raise TypeError(f"mask: expected booleans, got {mask.dtype}; for additive masks use bias")
    check_shape("q", q, "[..., t, h, d]", q.ndim >= 3)
    *lead, t, h, d = q.shape
    fits = k.ndim == q.ndim and k.shape[:-3] == tuple(lead) and k.shape[-1] == d and h % k.shape[-2] == 0
    check_shape("k", k, f"[{_written(lead)}s, a divisor of {h}, {d}]", fits)
    check_shape("v", v, f"[{_written(k.shape[:-1])}d_v]", v.ndim == k.ndim and v.shape[:-1] == k.shape[:-1])
    square = (*lead, h, t, k.shape[-3])
    for name, x, full in (
        ("bias", bias, square),
        ("mask", mask, square),
        ("gate", gate, (*lead, t, h, v.shape[-1])),
        ("sink", sink, (*lead, h)),
    ):
        if x is not None:
            check_shape(name, x, f"a shape broadcastable to {full}", _broadcasts(x.shape, full))


def _written(shape):
    return "".join(f"{n}, " for n in shape)


def _broadcasts(shape, full):
    return len(shape) <= len(full) and all(n in (1, m) for n, m in zip(shape[::-1], full[::-1], strict=False))


def _segments(segment_ids, q, k):
    """Ids of the queries' segments and of the keys', or (None, None)."""
    if segment_ids is None:
        return None, None
    pair = segment_ids if isinstance(segment_ids, tuple) else (segment_ids, segment_ids)
    of_q, of_kv = (jnp.asarray(x) for x in pair)
    for x, like in ((of_q, q), (of_kv, k)):
        full = like.shape[:-2]
        fits = _broadcasts(x.shape, full) and x.ndim > 0 and x.shape[-1] == full[-1]
        check_shape("segment_ids", x, f"a shape broadcastable to {full} but for its last axis", fits)
        if not jnp.issubdtype(x.dtype, jnp.integer):
            raise TypeError(f"segment_ids: expected integers, got {x.dtype}")
    return of_q, of_kv


def _band(causal, window):
    """(left, right): how many keys before and after its position a query sees, None for all."""
    if window is None:
        left, right = None, None
    elif isinstance(window, int):
        if window < 1:
            raise ValueError(f"window: expected at least 1, got {window}")
        left = right = window - 1
    else:
        left, right = window
        if any(side is not None and side < 0 for side in (left, right)):
            raise ValueError(f"window: expected (left, right) of 0 or more or None, got {window}")
    return left, (0 if right is None else min(right, 0)) if causal else right


def _band_mask(offset, left, right, q, k):
    """[..., 1, t, s] booleans: the band around the queries' positions, for an offset that is an array [...]."""
    if not jnp.issubdtype(offset.dtype, jnp.integer):
        raise TypeError(f"offset: expected an integer, got {offset.dtype}")
    check_shape("offset", offset, f"a shape broadcastable to {q.shape[:-3]}", _broadcasts(offset.shape, q.shape[:-3]))
    offset = offset[..., None, None, None]
    rows, columns = jnp.arange(q.shape[-3])[:, None], jnp.arange(k.shape[-3])[None]
    ahead = (columns - rows).reshape((1,) * (offset.ndim - 2) + (len(rows), columns.shape[1])) - offset
    inside = jnp.ones(ahead.shape, bool)
    inside = inside if left is None else inside & (ahead >= -left)
    return inside if right is None else inside & (ahead <= right)


def _and(mask, other):
    """mask & other, of any ranks."""
    if mask is None:
        return other
    rank = max(mask.ndim, other.ndim)
    mask, other = (x.reshape((1,) * (rank - x.ndim) + x.shape) for x in (mask, other))
    return mask & other
