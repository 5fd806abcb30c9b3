"""The kernels of attention: the Pallas ones interpreted, all of them lowered, and compiled where possible."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxzoo_kernels import attention, explain
from jaxzoo_kernels._core import compat, deviceless, relative_rms
from jaxzoo_kernels.attention import cudnn, tpu, xla
from jaxzoo_kernels.attention.options import Options

T, S, H, H_KV, D = 40, 150, 4, 2, 16
BANDS = {"all": (None, None, 0), "causal": (None, 0, 110), "window": (9, 4, 60), "beyond": (3, 0, -20)}
PARTS = {
    "none": (),
    "mask and segments": ("mask", "q_segments", "kv_segments"),
    "bias, gate and sink": ("bias", "gate", "sink"),
}


def options(band="all", parts=(), softcap=None):
    left, right, offset = BANDS[band]
    return Options(parts=parts, left=left, right=right, offset=offset, scale=0.3, softcap=softcap)


def operands(parts=(), t=T, s=S, dtype="float32"):
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)  # noqa: E731
    made = {
        "bias": lambda: draw(2, 1, t, s),
        "mask": lambda: jnp.asarray(rng.random((1, H, t, s)) > 0.4),
        "q_segments": lambda: jnp.asarray(np.sort(rng.integers(0, 4, (2, t)), 1), jnp.int32),
        "kv_segments": lambda: jnp.asarray(np.sort(rng.integers(0, 4, (2, s)), 1), jnp.int32),
        "gate": lambda: draw(2, t, H, D),
        "sink": lambda: draw(1, H),
    }
    return [draw(2, t, H, D), draw(2, s, H_KV, D), draw(2, s, H_KV, D), *(made[name]() for name in parts)]


def agree(got, want, bound=2e-6):
    for x, y in zip(got, want, strict=True):
        x, y = np.float64(x), np.asarray(y, np.float64)
        np.testing.assert_array_equal(np.isneginf(x), np.isneginf(y))
        assert relative_rms(np.where(np.isneginf(x), 0, x), np.where(np.isneginf(y), 0, y)) < bound


@pytest.fixture
def small_tiles(monkeypatch):
    """Several tiles in each direction at a size that the interpreter bears."""
    monkeypatch.setattr(tpu, "ROWS", 32)
    monkeypatch.setattr(tpu, "COLUMNS", 128)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_tpu_forward_interpreted(parts, band):
    args, given = operands(parts), options(band, parts, softcap=2.0)
    agree(tpu.forward.run(*args, options=given, interpret=True), xla.forward(*args, options=given))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("parts", [(), ("bias", "mask", "q_segments", "kv_segments")], ids=["plain", "all parts"])
def test_tpu_backward_interpreted(parts, band):
    args, given = operands(parts), options(band, parts, softcap=2.0)
    _, lse = xla.forward(*args, options=given)
    cts = jnp.cos(jnp.arange(args[0].size, dtype="float32")).reshape(args[0].shape), jnp.sin(lse) * jnp.isfinite(lse)
    params = {"options": given, "with_bias": bool(parts)}
    got = tpu.backward.run(*args, lse, *cts, interpret=True, **params)
    agree(got, xla.backward(*args, lse, *cts, **params))


def public(dtype="bfloat16", implementation=None, t=256, d=64, sharding=None, **options):
    """Value and gradient of the public op on abstract arguments, as (function, arguments)."""
    make = lambda heads: jax.ShapeDtypeStruct((2, t, heads, d), dtype, sharding=sharding)  # noqa: E731

    def loss(q, k, v):
        o = attention(q, k, v, implementation=implementation, **options)
        return jnp.sum(o.astype(jnp.float32) ** 2)

    return jax.grad(loss, (0, 1, 2)), [make(4), make(2), make(2)]


@pytest.mark.parametrize("dtype", tpu.DTYPES)
@pytest.mark.parametrize("window", [None, (20, 0)])
def test_every_dtype_lowers_for_tpu(dtype, window):
    function, args = public(dtype, "pallas_tpu", window=window, softcap=5.0)
    text = jax.jit(function).trace(*args).lower(lowering_platforms=("tpu",)).as_text()
    assert len(re.findall("custom_call @tpu_custom_call", text)) == 3  # forward, cotangent of q, those of k and v


@pytest.mark.parametrize("dtype", cudnn.DTYPES)
@pytest.mark.parametrize("band", [{}, {"causal": True}, {"causal": True, "window": (30, None)}])
def test_every_dtype_lowers_for_cudnn(dtype, band):
    function, args = public(dtype, "cudnn", **band)
    text = jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
    assert "__cudnn$fmhaSoftmax(" in text
    assert "__cudnn$fmhaSoftmaxBackward(" in text
    assert ("CAUSAL" in text) == bool(band)
    assert ("sliding_window_length\\22: 31" in text) == ("window" in band)


def test_cudnn_gets_the_sum_of_each_row_of_o_by_its_cotangent():
    """run_backward has no o: what it gives in its place must have o's product with the cotangent, and stay finite."""
    rng = np.random.default_rng(0)
    ct = jnp.asarray(rng.normal(size=(2, 8, 4, 16)) * 10.0 ** rng.integers(-18, 18, (2, 8, 4, 1)), jnp.float32)
    ct = ct.at[0, 3].set(0)
    o = jnp.asarray(rng.normal(size=ct.shape), jnp.float32)
    row = jnp.sum(o * ct, -1)
    seen = {}

    def call(name, results, config, *operands):
        seen["ct"], seen["o"] = operands[-2:]
        return [jnp.zeros(shape, dtype) for shape, dtype in results]

    original, cudnn._call = cudnn._call, call
    try:
        q = jnp.zeros((2, 8, 4, 16), jnp.float32)
        cudnn.DTYPES["float32"] = "BF16"
        cudnn.run_backward(q, q, q, row, ct, -jnp.swapaxes(row, 1, 2), with_bias=False, options=options())
    finally:
        cudnn._call = original
        del cudnn.DTYPES["float32"]
    np.testing.assert_allclose(jnp.sum(seen["o"] * seen["ct"], -1), row, rtol=1e-4)
    assert jnp.all(seen["o"][0, 3] == 0)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"dtype": "float32"}, "computes in bfloat16 and float16"),
        ({"d": 160}, "multiple of 8 up to 128"),
        ({"softcap": 3.0}, "without softcap"),
        ({"causal": True, "offset": 5}, "starts top left"),
    ],
)
def test_what_cudnn_cannot_take_goes_to_xla(given, reason):
    function, args = public(**given)
    ops = {op.op: op for op in explain(function, *args)}
    assert ops["attention"].choices["cuda"] == "xla"
    assert reason in ops["attention"].refusals["cudnn"]
    function, args = public(**given, implementation="cudnn")
    with pytest.raises(NotImplementedError, match=reason):
        jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",))


def test_a_gradient_through_lse_is_not_left_to_cudnn():
    args = [jax.ShapeDtypeStruct((2, 64, 4, 64), "bfloat16")] * 3

    def loss(q, k, v):
        o, lse = attention(q, k, v, return_lse=True)
        return jnp.sum(o.astype(jnp.float32)) + jnp.sum(lse)

    ops = {op.op: op for op in explain(jax.grad(loss), *args)}
    assert ops["attention"].choices["cuda"] == "cudnn"
    assert ops["attention_backward"].choices["cuda"] == "xla"


def test_one_export_holds_three_platforms_and_runs_here():
    function, args = public("bfloat16", t=64, causal=True)
    platforms, checks = ("cpu", "tpu", "cuda"), compat.exportable_kernels()
    exported = jax.export.export(jax.jit(function), platforms=platforms, disabled_checks=checks)(*args)
    assert "tpu_custom_call" in exported.mlir_module()
    given = [jnp.asarray(np.random.default_rng(i).normal(size=a.shape), a.dtype) for i, a in enumerate(args)]
    agree(exported.call(*given), function(*given), 1e-2)


@pytest.mark.parametrize("topology", deviceless.TPU_GENERATIONS)
@pytest.mark.parametrize("dtype", tpu.DTYPES)
def test_compiles_for_tpu(topology, dtype):
    pytest.importorskip("libtpu")
    function, args = public(dtype, "pallas_tpu", t=1024, d=128, causal=True, sharding=deviceless.tpu(topology))
    assert "tpu_custom_call" in jax.jit(function).lower(*args).compile().as_text()
