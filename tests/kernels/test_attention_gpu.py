"""The Mosaic GPU kernel of attention: interpreted, lowered, compiled where possible, and never taken by itself."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jaxzoo_kernels import attention, explain
from jaxzoo_kernels._core import compat, deviceless, relative_rms
from jaxzoo_kernels.attention import gpu, gpu_tile, xla
from jaxzoo_kernels.attention.options import Options

PLAIN = Options(parts=(), left=None, right=None, offset=0, scale=0.125, softcap=None)
# (t, s, d, d_v, options): more than one block of rows, or more tiles of keys than are in flight.
INTERPRETED = {
    "all keys, ragged": (150, 200, 64, 64, PLAIN),
    "causal, gate": (130, 500, 64, 128, PLAIN._replace(right=0, offset=370, parts=("gate",))),
    "window, softcap, gate and sink": (
        *(70, 500, 128, 64),
        PLAIN._replace(left=350, right=20, offset=100, softcap=2.0, parts=("gate", "sink")),
    ),
    "rows that see nothing": (150, 130, 128, 128, PLAIN._replace(left=5, right=0, offset=-10, scale=-0.3)),
}
FEATURES = {
    "plain": {},
    "causal": {"causal": True},
    "window": {"window": (30, 5), "offset": 7, "scale": -0.5},
    "gate and sink": {"with_gate": True, "with_sink": True},
    "everything": {"with_gate": True, "with_sink": True, "causal": True, "window": 70, "softcap": 5.0, "t": 200},
}


def operands(t, s, h, d, d_v, dtype, parts):
    rng = np.random.default_rng(0)
    draw = lambda *shape, dtype=dtype: jnp.asarray(rng.normal(size=shape), dtype)  # noqa: E731
    made = {"gate": lambda: draw(1, t, h, d_v), "sink": lambda: draw(1, h, dtype="float32")}
    return [draw(1, t, h, d), draw(1, s, 1, d), draw(1, s, 1, d_v), *(made[name]() for name in parts)]


def public(dtype="bfloat16", d=64, d_v=None, t=256, implementation="pallas_gpu", sharding=None, **given):
    """(o, lse) of the public op on abstract arguments, as (function, arguments)."""
    make = lambda *shape, dtype=dtype: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)  # noqa: E731
    args = {"q": make(2, t, 4, d), "k": make(2, 300, 2, d), "v": make(2, 300, 2, d_v or d)}
    if given.pop("with_gate", False):
        args["gate"] = make(2, t, 4, d_v or d, dtype=given.pop("gate_dtype", dtype))
    if given.pop("with_sink", False):
        args["sink"] = make(4, dtype="float32")

    def run(*arrays):
        named = dict(zip(args, arrays, strict=True))
        return attention(**named, **given, return_lse=True, implementation=implementation)

    return run, list(args.values())


def lowered(function, args):
    with compat.abstract_gpu():
        return jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.slow
@pytest.mark.parametrize(("t", "s", "d", "d_v", "options"), INTERPRETED.values(), ids=INTERPRETED)
def test_interpreted(t, s, d, d_v, options, monkeypatch):
    of_references = gpu_tile.products

    def products(*pairs):
        """The interpreter multiplies what lies in shared memory alone."""
        if not isinstance(pairs[0][0], jax.Array):
            return of_references(*pairs)
        return [lax.dot(x, y[...], preferred_element_type=jnp.float32) for x, y in pairs]

    monkeypatch.setattr(gpu_tile, "products", products)
    args = operands(t, s, 2, d, d_v, "bfloat16", options.parts)
    assert gpu.forward.refuse(*args, options=options) is None
    with compat.gpu_interpreter() or pytest.skip("this JAX has no public GPU interpreter"):
        o, lse = (np.asarray(x, np.float64) for x in gpu.forward.run(*args, options=options))
    wanted, wanted_lse = xla.forward(*(x.astype("float32") for x in args), options=options)
    assert relative_rms(o, np.asarray(wanted, np.float64)) < 5e-3
    np.testing.assert_allclose(lse, wanted_lse, rtol=1e-5, atol=1e-5)  # places of -inf agree, or it fails
    assert np.all(np.moveaxis(o, 2, 1)[np.isneginf(lse)] == 0)


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
@pytest.mark.parametrize("d", gpu.WIDTHS)
@pytest.mark.parametrize("dtype", gpu.DTYPES)
def test_every_dtype_lowers_for_cuda(dtype, d, features):
    assert "mosaic_gpu" in lowered(*public(dtype, d, **features))


@pytest.mark.parametrize(("d", "d_v"), [(64, 128), (128, 64)])
def test_values_of_another_width_lower(d, d_v):
    assert "mosaic_gpu" in lowered(*public(d=d, d_v=d_v, with_gate=True))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"dtype": "float32"}, "multiply bfloat16 or float16 exactly, not float32"),
        ({"d": 96}, "d and d_v of 64 or 128"),
        ({"d_v": 32}, "d and d_v of 64 or 128"),
        ({"with_gate": True, "gate_dtype": "float32"}, "so q's dtype bfloat16, not float32"),
        ({"bias": np.zeros((1, 300), "float32")}, "knows no bias"),
        ({"segment_ids": (np.zeros(256, int), np.zeros(300, int))}, "knows no q_segments, kv_segments"),
        ({"t": 0}, "an empty operand"),
    ],
)
def test_what_it_cannot_take_it_refuses(given, reason):
    with pytest.raises(NotImplementedError, match=reason):
        lowered(*public(**given))


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
def test_it_is_taken_where_it_is_named_alone(features):
    function, args = public(implementation=None, **features)
    (op,) = explain(function, *args)
    plain = set(features) <= {"causal"}
    assert op.choices == {"cpu": "xla", "cuda": "cudnn" if plain else "xla", "tpu": "pallas_tpu"}
    assert op.blocks["pallas_gpu"] == {"rows": 128, "columns": 128, "stages": 2}
    assert "mosaic_gpu" not in lowered(function, args)
    function, args = public(**features)
    assert explain(function, *args)[0].choices["cuda"] == "pallas_gpu"


@pytest.mark.parametrize("d_v", [64, 128])
def test_the_gradient_is_that_of_the_op(d_v):
    function, args = public(d_v=d_v, causal=True)
    text = lowered(jax.grad(lambda *args: jnp.sum(function(*args)[0].astype(jnp.float32) ** 2), (0, 1, 2)), args)
    assert len(re.findall(r"custom_call @mosaic_gpu", text)) == 3  # forward, cotangent of q, those of k and v


def test_exports():
    function, args = public(causal=True)
    with compat.abstract_gpu():
        exported = jax.export.export(
            jax.jit(function), platforms=("cuda",), disabled_checks=compat.exportable_kernels()
        )(*args)
    assert "mosaic_gpu" in exported.mlir_module()
    assert [x.shape for x in exported.out_avals] == [(2, 256, 4, 64), (2, 256, 4)]


@pytest.mark.parametrize("dtype", gpu.DTYPES)
@pytest.mark.parametrize("d", gpu.WIDTHS)
@pytest.mark.parametrize("features", ["plain", "everything"])
def test_compiles_for_hopper_without_spills(features, d, dtype, capfd, monkeypatch):
    pytest.importorskip("jax_cuda13_plugin")
    monkeypatch.setenv("MOSAIC_GPU_DUMP_PTXAS", "1")
    function, args = public(dtype, d, sharding=deviceless.hopper(), **FEATURES[features])
    jax.jit(function).lower(*args).compile()
    report = "".join(capfd.readouterr())
    print(*re.findall(r"Used \d+ registers|\d+ bytes spill stores", report))
    assert "sm_90a" in report
    assert set(re.findall(r"(\d+) bytes spill stores", report)) == {"0"}
    assert "serialized" not in report  # what ptxas says where products wait for registers
