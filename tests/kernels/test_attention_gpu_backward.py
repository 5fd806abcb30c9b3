"""The Mosaic GPU backward kernels of attention: interpreted, lowered, compiled where possible, taken if named alone."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import attention, explain
from jaxzoo_kernels._core import compat, deviceless, relative_rms
from jaxzoo_kernels.attention import gpu_backward, gpu_tile, xla
from jaxzoo_kernels.attention.options import Options

PLAIN = Options(parts=(), left=None, right=None, offset=0, scale=0.125, softcap=None)
# (t, s, d, d_v, heads, options): more than one block of threads, or more tiles than are in flight.
INTERPRETED = {
    "all keys, ragged": (150, 200, 64, 64, 2, PLAIN),
    "causal, more tiles than in flight": (330, 130, 128, 128, 1, PLAIN._replace(right=0, offset=-100)),
    "window, softcap": (70, 500, 128, 64, 1, PLAIN._replace(left=350, right=20, offset=100, softcap=2.0)),
    "rows and keys that see nothing": (150, 270, 64, 128, 2, PLAIN._replace(left=5, right=0, offset=-10, scale=-0.3)),
}
FEATURES = {
    "plain": {},
    "causal": {"causal": True},
    "everything": {"with_gate": True, "with_sink": True, "causal": True, "window": 70, "softcap": 5.0},
}


def operands(t, s, d, d_v, heads, options, dtype="bfloat16"):
    """q, k, v, lse, ct_y, ct_r, grouped heads sharing one key head."""
    rng = np.random.default_rng(0)
    draw = lambda *shape, dtype=dtype: jnp.asarray(rng.normal(size=shape), dtype)  # noqa: E731
    qkv = draw(1, t, heads, d), draw(1, s, 1, d), draw(1, s, 1, d_v)
    o, lse = xla.forward(*(x.astype("float32") for x in qkv), options=options)
    ct_y = draw(1, t, heads, d_v).astype("float32")
    ct_r = -jnp.swapaxes(jnp.sum(o * ct_y, -1), 1, 2) + draw(1, heads, t, dtype="float32")
    return [*qkv, lse, ct_y, jnp.where(jnp.isneginf(lse), 0, ct_r)]


def gradient(dtype="bfloat16", d=64, d_v=None, t=200, implementation="pallas_gpu", sharding=None, **given):
    """The gradient of a public call on abstract arguments, as (function, arguments)."""
    make = lambda *shape, dtype=dtype: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)  # noqa: E731
    args = {"q": make(2, t, 4, d), "k": make(2, 300, 2, d), "v": make(2, 300, 2, d_v or d)}
    if given.pop("with_gate", False):
        args["gate"] = make(2, t, 4, d_v or d)
    if given.pop("with_sink", False):
        args["sink"] = make(4, dtype="float32")

    def loss(*arrays):
        named = dict(zip(args, arrays, strict=True))
        o, lse = attention(**named, **given, return_lse=True, implementation=implementation)
        return jnp.sum(o.astype(jnp.float32) ** 2) + jnp.sum(jnp.where(jnp.isneginf(lse), 0, lse))

    return jax.grad(loss, tuple(range(len(args)))), list(args.values())


def lowered(function, args):
    with compat.abstract_gpu():
        return jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


def calls(text):
    return len(re.findall(r"custom_call @mosaic_gpu", text))


@pytest.fixture
def interpreter(monkeypatch):
    """Products of operands in registers, and into registers that hold something, which the interpreter doesn't know."""
    of_references = gpu_tile.products

    def added(*terms):
        x_y = lambda x, y: lax.dot(x[...], y[...], preferred_element_type=jnp.float32)  # noqa: E731
        return [total + (x_y(x, y) if isinstance(x, jax.Array) else of_references((x, y))[0]) for total, x, y in terms]

    monkeypatch.setattr(gpu_tile, "added", added)
    with compat.gpu_interpreter() or pytest.skip("this JAX has no public GPU interpreter"):
        yield


@pytest.mark.slow
@pytest.mark.parametrize(("t", "s", "d", "d_v", "heads", "options"), INTERPRETED.values(), ids=INTERPRETED)
def test_interpreted(t, s, d, d_v, heads, options, interpreter):
    args = operands(t, s, d, d_v, heads, options)
    assert gpu_backward.backward.refuse(*args, options=options, with_bias=False) is None
    got = gpu_backward.backward.run(*args, options=options, with_bias=False)
    wanted = xla.backward(*(x.astype("float32") for x in args), options=options, with_bias=False)
    for x, ct, exact in zip(args, got, wanted, strict=False):
        assert (ct.shape, ct.dtype) == (x.shape, x.dtype)
        assert relative_rms(np.asarray(ct, np.float64), np.asarray(exact, np.float64)) < 5e-3
    unseen = np.isneginf(args[3])
    assert np.all(np.moveaxis(np.asarray(got[0], np.float32), 2, 1)[unseen] == 0)


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
@pytest.mark.parametrize("d", gpu_tile.WIDTHS)
@pytest.mark.parametrize("dtype", gpu_tile.DTYPES)
def test_a_gradient_is_three_kernels(dtype, d, features):
    assert calls(lowered(*gradient(dtype, d, **features))) == 3  # forward, cotangent of q, those of k and v


def test_values_of_another_width_and_examples_of_vmap_lower():
    assert calls(lowered(*gradient(d=64, d_v=128))) == 3
    function, args = gradient(d=128, d_v=64)
    stacked = [jax.ShapeDtypeStruct((3, *x.shape), x.dtype) for x in args]
    assert calls(lowered(jax.vmap(function), stacked)) == 3


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"dtype": "float32"}, "multiply bfloat16 or float16 exactly, not float32"),
        ({"d": 96}, "d and d_v of 64 or 128"),
        ({"t": 0}, "an empty operand"),
        ({"parts": ("bias",)}, "knows no bias"),
        ({"parts": ("q_segments", "kv_segments")}, "knows no q_segments, kv_segments"),
    ],
)
def test_what_it_cannot_take_it_refuses(changed, reason):
    given = {"dtype": "bfloat16", "d": 64, "t": 20, "parts": ()} | changed
    make = lambda *shape, dtype="float32": jax.ShapeDtypeStruct(shape, dtype)  # noqa: E731
    t, d, parts = given["t"], given["d"], given["parts"]
    qkv = [make(1, n, 2, width, dtype=given["dtype"]) for n, width in ((t, d), (30, d), (30, 64))]
    args = [*qkv, *(make(1, 2, t, 30) for _ in parts), make(1, 2, t), make(1, t, 2, 64), make(1, 2, t)]
    options = PLAIN._replace(parts=parts)
    assert re.search(reason, gpu_backward.backward.refuse(*args, options=options, with_bias="bias" in parts))


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
def test_it_is_taken_where_it_is_named_alone(features):
    function, args = gradient(implementation=None, **features)
    ops = {op.op: op for op in explain(function, *args)}
    assert ops["attention_backward"].choices["cuda"] == "xla"
    assert ops["attention_backward"].blocks["pallas_gpu"] == {
        "rows": 128,
        "columns": 128,
        "stages": 4,
        "rows_of_keys": 128,
        "columns_of_keys": 128,
        "stages_of_keys": 4,
    }
    assert calls(lowered(function, args)) == 0
    function, args = gradient(**features)
    assert {op.op: op.choices["cuda"] for op in explain(function, *args)} == {
        "attention": "pallas_gpu",
        "attention_backward": "pallas_gpu",
    }


def test_exports():
    function, args = gradient(causal=True)
    with compat.abstract_gpu():
        exported = jax.export.export(
            jax.jit(function), platforms=("cuda",), disabled_checks=compat.exportable_kernels()
        )(*args)
    assert calls(exported.mlir_module()) == 3
    assert [x.shape for x in exported.out_avals] == [x.shape for x in args]


def test_shard_map_over_examples():
    function, args = gradient(causal=True)
    device = jax.sharding.AbstractDevice(device_kind="NVIDIA H200", num_cores=132, platform="gpu")
    mesh = jax.sharding.AbstractMesh((2,), ("data",), axis_types=(AxisType.Auto,), abstract_device=device)
    with jax.sharding.use_abstract_mesh(mesh):
        sharded = jax.shard_map(function, in_specs=P("data"), out_specs=P("data"))
        text = jax.jit(sharded).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
    assert calls(text) == 3


@pytest.mark.parametrize(("d", "d_v"), [(64, 64), (64, 128), (128, 64), (128, 128)])
@pytest.mark.parametrize("features", FEATURES)
def test_compiles_for_hopper_without_spills(features, d, d_v, capfd, monkeypatch):
    """A band at d = d_v = 128 needs up to 4 registers more than the 240 there are, in a tile of some 2000 cycles."""
    pytest.importorskip("jax_cuda13_plugin")
    monkeypatch.setenv("MOSAIC_GPU_DUMP_PTXAS", "1")
    function, args = gradient(d=d, d_v=d_v, sharding=deviceless.hopper(), **FEATURES[features])
    jax.jit(function).lower(*args).compile()
    report = "".join(capfd.readouterr())
    spilled = [int(n) for n in re.findall(r"(\d+) bytes spill stores", report)]
    print(*re.findall(r"Used \d+ registers", report), spilled)
    assert report.count("sm_90a") >= 3
    assert max(spilled) <= (16 if d == d_v == 128 and features != "plain" else 0)
    assert "serialized" not in report  # what ptxas says where products wait for registers
