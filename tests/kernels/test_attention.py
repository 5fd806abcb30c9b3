"""attention against the reference in float64: values, lse and gradients; every option, length and dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxzoo_kernels import attention
from jaxzoo_kernels._core import relative_rms
from jaxzoo_kernels.attention import cpu_grid, xla, xla_cpu
from jaxzoo_kernels.attention.options import Options
from jaxzoo_kernels.attention.reference import attention as reference

LEARNED = ("bias", "gate", "sink")


def normal(seed, *shape, dtype=jnp.float32, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape), dtype)


def booleans(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).random(shape) > 0.4)


def operands(lead=(2,), t=19, s=13, h=4, h_kv=2, d=5, d_v=3, dtype=jnp.float32, scale=1.0):
    shapes = (*lead, t, h, d), (*lead, s, h_kv, d), (*lead, s, h_kv, d_v)
    return [normal(seed, *shape, dtype=dtype, scale=scale) for seed, shape in enumerate(shapes)]


def outputs_and_gradients(function, arrays, learned, options):
    """(o, lse, gradients of a loss of both by q, k, v and everything in `learned`)."""

    def loss(q, k, v, learned):
        o, lse = function(q, k, v, return_lse=True, **learned, **options)
        visible = jnp.where(jnp.isfinite(lse), lse, 0)
        return jnp.vdot(o.astype(lse.dtype), normal(8, *o.shape)) + jnp.vdot(visible, normal(9, *lse.shape)), (o, lse)

    cts, (o, lse) = jax.jit(jax.grad(loss, (0, 1, 2, 3), has_aux=True))(*arrays, learned)
    return [o, lse, *jax.tree.leaves(cts)]


def compare(arrays, bound=2e-6, **options):
    learned = {name: options.pop(name) for name in LEARNED if name in options}
    got = outputs_and_gradients(attention, arrays, learned, options)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: x.astype(jnp.float64), (arrays, learned))
        want = outputs_and_gradients(reference, *wide, options)
    for position, (x, y) in enumerate(zip(got, want, strict=True)):
        x, y = np.float64(x), np.asarray(y)
        np.testing.assert_array_equal(np.isneginf(x), np.isneginf(y))
        error = relative_rms(np.where(np.isneginf(x), 0, x), np.where(np.isneginf(y), 0, y))
        assert error < bound, f"output {position}: {error}"


SEGMENTS = jnp.arange(19) // 5, jnp.arange(13) // 3
FEATURES = {
    "plain": {},
    "causal": {"causal": True},
    "causal, bottom right": {"causal": True, "offset": -6},
    "window": {"window": 3},
    "causal window": {"causal": True, "window": 3},
    "one-sided window": {"window": (2, None)},
    "later keys alone hidden by a window": {"window": (None, 3)},
    "scale": {"scale": 0.3},
    "softcap": {"softcap": 1.5, "causal": True},
    "bias": {"bias": normal(3, 2, 4, 19, 13)},
    "bias of all examples": {"bias": normal(3, 4, 19, 13)},
    "bias of all heads": {"bias": normal(3, 1, 19, 13)},
    "bias of keys": {"bias": normal(3, 2, 1, 1, 13)},
    "bias of queries": {"bias": normal(3, 4, 19, 1), "sink": normal(4, 4)},
    "mask": {"mask": booleans(3, 2, 1, 19, 13)},
    "padded keys": {"mask": jnp.arange(13) < 9},
    "heads that see nothing": {"mask": jnp.asarray([True, False, True, False])[:, None, None]},
    "segments": {"segment_ids": SEGMENTS},
    "gate": {"gate": normal(3, 2, 19, 4, 3)},
    "gate of a head": {"gate": normal(3, 4, 1)},
    "sink": {"sink": normal(3, 2, 4)},
    "sink in rows that see nothing": {"sink": normal(3, 4), "mask": booleans(4, 1, 19, 1)},
    "all": {
        "bias": normal(3, 4, 19, 13),
        "mask": booleans(4, 19, 13),
        "segment_ids": SEGMENTS,
        "causal": True,
        "window": 9,
        "offset": -2,
        "softcap": 2.0,
        "gate": normal(5, 19, 4, 3),
        "sink": normal(6, 4),
    },
}


@pytest.mark.parametrize("options", FEATURES.values(), ids=FEATURES)
def test_options_match_the_reference(options):
    compare(operands(), **options)


@pytest.mark.parametrize(
    ("t", "s"), [(1, 1), (7, 7), (63, 63), (100, 100), (97, 31), (1, 200), (200, 2), (0, 5), (5, 0)]
)
def test_lengths(t, s):
    compare(operands((), t, s, 2, 1), causal=t == s)


@pytest.mark.parametrize("t", [cpu_grid.ROWS - 1, cpu_grid.ROWS + 1])
@pytest.mark.parametrize("causal", [False, True])
def test_lengths_around_a_block(t, causal):
    compare(operands((), t, 2 * t + 1, 1, 1), causal=causal, offset=t + 1)


@pytest.mark.parametrize(("lead", "h", "h_kv"), [((), 1, 1), ((1,), 6, 2), ((2, 3), 4, 4), ((2, 1), 4, 1)])
def test_heads_and_leading_axes(lead, h, h_kv):
    compare(operands(lead, 9, 9, h, h_kv), causal=True)


@pytest.mark.parametrize("d", [1, 128])
def test_features(d):
    compare(operands((), 11, 11, 2, 2, d, d + 1))


@pytest.mark.parametrize(("dtype", "bound"), [(jnp.bfloat16, 5e-3), (jnp.float16, 1e-3)])
@pytest.mark.parametrize("t", [24, 90])
def test_sixteen_bits(dtype, bound, t):
    compare(operands((2,), t, t, 4, 2, 16, 16, dtype), bound, causal=True, gate=normal(5, t, 4, 16, dtype=dtype))


def test_float64_keeps_its_precision():
    with jax.enable_x64(True):
        arrays = operands(dtype=jnp.float64)
        got = outputs_and_gradients(attention, arrays, {}, {"causal": True})
        want = outputs_and_gradients(reference, arrays, {}, {"causal": True})
        for x, y in zip(got, want, strict=True):
            assert x.dtype == jnp.float64
            assert relative_rms(x, y) < 1e-14


@pytest.mark.parametrize("t", [20, 70])
def test_logits_of_ten_thousand(t):
    q, k, v = operands((), t, t, 2, 2, 4, 4)
    q, k = jnp.round(50 * q), jnp.round(50 * k)  # integers, so that float32 has the logits exactly
    assert jnp.abs(jnp.einsum("thd,shd->hts", q, k)).max() > 1e4
    compare([q, k, v], scale=1.0)


@pytest.mark.parametrize("t", [10, 80])
def test_a_query_that_sees_nothing_gives_zero_and_no_gradient(t):
    arrays = operands((), t, t, 2, 2)
    mask = (jnp.arange(t) != 3)[:, None] & jnp.ones((1, t), bool)
    o, lse, ct_q, ct_k, ct_v = outputs_and_gradients(attention, arrays, {}, {"mask": mask})
    assert jnp.all(o[3] == 0)
    assert jnp.all(lse[3] == -jnp.inf)
    assert jnp.all(ct_q[3] == 0)
    assert all(jnp.isfinite(x).all() for x in (ct_q, ct_k, ct_v))


@pytest.mark.parametrize("causal", [False, True])
def test_packed_sequences_equal_separate_ones(causal):
    lengths = (5, 1, 70, 0, 24)
    q, k, v = operands((), 100, 100)
    ids = jnp.repeat(jnp.arange(5), np.asarray(lengths), total_repeat_length=100)
    packed = attention(q, k, v, segment_ids=ids, causal=causal)
    start = 0
    for n in lengths:
        part = slice(start, start + n)
        alone = attention(q[part], k[part], v[part], causal=causal)
        np.testing.assert_allclose(packed[part], alone, rtol=1e-5, atol=1e-6)
        start += n


@pytest.mark.parametrize("window", [None, 4])
def test_decoding_in_pieces_equals_one_pass(window):
    q, k, v = operands((), 12, 12)
    whole = attention(q, k, v, causal=True, window=window)
    options = {"causal": True, "window": window}
    first = attention(q[:7], k[:7], v[:7], **options)
    rest = attention(q[7:], k, v, offset=7, **options)
    np.testing.assert_allclose(jnp.concatenate([first, rest]), whole, rtol=1e-5, atol=1e-6)


def test_a_traced_offset_decodes_from_a_cache():
    q, k, v = operands((2,), 3, 20)
    step = jax.jit(lambda offset: attention(q, k, v, causal=True, window=6, offset=offset))
    for offset in ([4, 9], [0, 17]):
        want = [attention(q[i], k[i], v[i], causal=True, window=6, offset=int(offset[i])) for i in range(2)]
        np.testing.assert_allclose(step(jnp.asarray(offset)), jnp.stack(want), rtol=1e-5, atol=1e-6)


def test_partial_results_merge_by_their_lse():
    q, k, v = operands()
    parts = [attention(q, k[:, i], v[:, i], return_lse=True) for i in (slice(0, 5), slice(5, 13))]
    lse = jnp.logaddexp(parts[0][1], parts[1][1])
    merged = sum(o * jnp.exp(part - lse)[..., None] for o, part in parts)
    np.testing.assert_allclose(merged, attention(q, k, v), rtol=1e-5, atol=1e-6)


def test_without_normalisation_it_is_the_sum():
    q, k, v = operands((), 6, 7, 2, 2)
    gate = normal(3, 6, 2, 3)
    x = jnp.exp(jnp.einsum("thd,shd->hts", q, k) * 5**-0.5)
    want = jnp.einsum("hts,shd->thd", x, v) * jax.nn.sigmoid(gate)
    np.testing.assert_allclose(attention(q, k, v, gate=gate, normalize=False), want, rtol=1e-5, atol=1e-6)


BLOCKED = {
    "plain": ((), None, None, None),
    "causal": ((), None, 0, None),
    "causal, gate and sink": (("gate", "sink"), None, 0, None),
    "window": ((), 3, 2, None),
    "wide window": (("bias",), 13, 1, None),
    "keys before": ((), 6, None, None),
    "causal with a bias and a mask": (("bias", "mask", "q_segments", "kv_segments"), None, 0, 2.0),
    "all": (("bias", "mask", "q_segments", "kv_segments", "gate", "sink"), None, 9, 2.0),
}


@pytest.mark.parametrize(("parts", "left", "right", "softcap"), BLOCKED.values(), ids=BLOCKED)
@pytest.mark.parametrize(("t", "s"), [(19, 13), (8, 16), (5, 23), (17, 17), (37, 37), (19, 41)])
def test_many_tiles_equal_all_heads_at_once(monkeypatch, parts, left, right, softcap, t, s):
    for name, size in {"ROWS": 8, "COLUMNS": 16}.items():
        monkeypatch.setattr(cpu_grid, name, size)
    for name, size in {"ROWS": 8, "STRIP": 4, "STRIP_BACKWARD": 8, "AT_ONCE": 0}.items():
        monkeypatch.setattr(xla_cpu, name, size)
    q, k, v = operands((2,), t, s)
    of_parts = {
        "bias": normal(3, 1, 4, t, s),
        "mask": booleans(4, 2, 1, t, s),
        "q_segments": jnp.arange(t)[None] // 7,
        "kv_segments": jnp.arange(s)[None] // 6,
        "gate": normal(5, 2, t, 4, 3),
        "sink": normal(6, 1, 4),
    }
    options = Options(parts, left, right, s - t, 0.4, softcap)
    arrays = [q, k, v, *(of_parts[name] for name in parts)]
    got, want = (jax.jit(lambda m=m: m.forward(*arrays, options=options))() for m in (xla_cpu, xla))
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)

    of_logits = arrays[: len(options.of_logits.names())]
    arrays = [*of_logits, want[1], normal(7, *want[0].shape), normal(8, *want[1].shape)]
    params = {"options": options.of_logits, "with_bias": "bias" in parts}
    got, want = (jax.jit(lambda m=m: m.backward(*arrays, **params))() for m in (xla_cpu, xla))
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_bias", [False, True])
def test_some_examples_at_a_time_equal_all(monkeypatch, with_bias):
    b, t, s = 5, 9, 7
    monkeypatch.setattr(xla_cpu, "AT_ONCE", 2 * 4 * t * s + 3)
    options = Options(("bias", "q_segments", "kv_segments"), None, 2, 0, 0.4, None)
    segments = jnp.arange(t)[None] // 4, jnp.tile(jnp.arange(s) // 3, (b, 1))
    arrays = [*operands((b,), t, s), normal(3, 1, 4, t, s), *segments]
    got, want = (jax.jit(lambda m=m: m.forward(*arrays, options=options))() for m in (xla_cpu, xla))
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    arrays += [want[1], normal(7, *want[0].shape), normal(8, *want[1].shape)]
    params = {"options": options, "with_bias": with_bias}
    got, want = (jax.jit(lambda m=m: m.backward(*arrays, **params))() for m in (xla_cpu, xla))
    assert len(got) == 3 + with_bias
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("b", "t", "s"), [(0, 8, 8), (0, 300, 300), (2, 300, 0)])
def test_nothing_to_attend_to(b, t, s):
    q, k = jnp.ones((b, t, 2, 4)), jnp.ones((b, s, 2, 4))
    o, pull = jax.vjp(lambda q, k: attention(q, k, k, causal=True), q, k)
    assert o.shape == q.shape
    for x in (o, *pull(o)):
        assert not x.any()


def test_rows_of_a_block_that_is_moved_back_see_all_their_keys():
    # 1025 queries are three blocks of 342, the last one moved back by a row, whose first key is in the block before.
    compare(operands((), 1025, 1025, 1, 1, 4, 4), window=(342, None))


ERRORS = {
    "k": (lambda q, k, v: attention(q, k[..., :3], v), ValueError, r"k: expected \[2, s, a divisor of 4, 5\]"),
    "heads": (lambda q, k, v: attention(q[:, :, :3], k, v), ValueError, "k: expected .* a divisor of 3"),
    "v": (lambda q, k, v: attention(q, k, v[:, :5]), ValueError, r"v: expected \[2, 13, 2, d_v\]"),
    "rank": (lambda q, k, v: attention(q[0, 0], k, v), ValueError, r"q: expected \[..., t, h, d\]"),
    "bias": (lambda q, k, v: attention(q, k, v, bias=jnp.ones((3, 19, 13))), ValueError, "bias: expected a shape"),
    "mask": (lambda q, k, v: attention(q, k, v, mask=jnp.ones((19, 13))), TypeError, "mask: expected booleans"),
    "dtype": (lambda q, k, v: attention(q, k.astype(jnp.bfloat16), v), TypeError, "k: expected q's dtype float32"),
    "integers": (
        lambda q, k, v: attention(*(x.astype(int) for x in (q, k, v))),
        TypeError,
        "q: expected dtype float16",
    ),
    "segments": (lambda q, k, v: attention(q, k, v, segment_ids=jnp.arange(19)), ValueError, "segment_ids: expected"),
    "window": (lambda q, k, v: attention(q, k, v, window=0), ValueError, "window: expected at least 1, got 0"),
    "gate": (lambda q, k, v: attention(q, k, v, gate=jnp.ones((19, 2, 3))), ValueError, "gate: expected a shape"),
    "offset": (
        lambda q, k, v: attention(q, k, v, causal=True, offset=jnp.ones(2)),
        TypeError,
        "offset: expected an integer",
    ),
    "implementation": (
        lambda q, k, v: attention(q, k, v, implementation="torch"),
        ValueError,
        "implementation: expected None, 'xla'",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call(*operands())
