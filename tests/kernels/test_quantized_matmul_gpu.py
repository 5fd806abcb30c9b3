"""The Mosaic GPU kernel of quantised products: interpreted, lowered, compiled where possible, never taken by itself."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import explain, quantized_matmul
from jaxzoo_kernels._core import compat, deviceless, relative_rms
from jaxzoo_kernels.quantized_matmul import gpu, gpu_plan, xla

PAIRS = [
    ("bfloat16", "int4"),
    ("float16", "int4"),
    ("bfloat16", "int8"),
    ("float16", "int8"),
    ("float8_e4m3fn", "float8_e4m3fn"),
    ("float8_e5m2", "float8_e5m2"),
]
# (examples of x, w and w_scale), (m, k, n), (groups of x and w); k has more tiles than are in flight where it can.
INTERPRETED = {
    "int4, k and n ragged": ("bfloat16", "int4", (1, 1, 1), (5, 440, 36), (1, 1)),
    "int4, k shared among blocks": ("bfloat16", "int4", (1, 1, 1), (3, 1024, 64), (1, 8)),
    "int4, two tiles of x and of w": ("float16", "int4", (1, 1, 1), (52, 128, 520), (2, 2)),
    "int8, examples, groups of 32": ("float16", "int8", (1, 2, 1), (9, 224, 300), (1, 7)),
    "int8, rows that are no 16 bytes": ("bfloat16", "int8", (2, 1, 2), (2, 387, 33), (1, 1)),
    "e4m3": ("float8_e4m3fn", "float8_e4m3fn", (1, 1, 1), (9, 600, 300), (1, 1)),
    "e5m2, groups of x": ("float8_e5m2", "float8_e5m2", (2, 2, 1), (3, 320, 40), (5, 1)),
}


def draw(*shape, dtype):
    rng = np.random.default_rng(sum(shape))
    info = jnp.iinfo(dtype) if dtype.startswith("int") else None
    values = rng.normal(size=shape) if info is None else rng.integers(info.min, info.max, shape, endpoint=True)
    return jnp.asarray(values, dtype)


def scale(*shape):
    return jnp.asarray(np.random.default_rng(7).uniform(0.01, 0.1, shape), jnp.float32)


def products(lefts, right, count):
    """The interpreter multiplies what lies in shared memory alone."""
    lefts = [x if isinstance(x, jax.Array) else x[...] for x in lefts]
    assert len(lefts) == count
    return [lax.dot(x.astype("float32"), right[...].astype("float32")) for x in lefts]


def public(
    x="bfloat16", w="int4", m=40, k=256, n=96, groups=(1, 4), implementation="pallas_gpu", sharding=None, lead=()
):
    """The public op on abstract arguments, as (function, arguments)."""
    shapes = [((*lead, m, k), x), ((k, n), w), ((groups[1], n), "float32"), ((*lead, m, groups[0]), "float32")]

    def run(x, w, w_scale, x_scale):
        return quantized_matmul(x, w, w_scale, x_scale=x_scale, implementation=implementation)

    return run, [jax.ShapeDtypeStruct(*s, sharding=sharding) for s in shapes]


def lowered(function, args):
    with compat.abstract_gpu():
        return jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.slow
@pytest.mark.parametrize(("x", "w", "leads", "shape", "groups"), INTERPRETED.values(), ids=INTERPRETED)
def test_interpreted(x, w, leads, shape, groups, monkeypatch):
    monkeypatch.setattr(gpu, "_products", products)
    (m, k, n), out_dtype = shape, jnp.dtype(x if x in gpu_plan.FLOATS else "float32")
    args = [draw(leads[0], m, k, dtype=x), draw(leads[1], k, n, dtype=w)]
    args += [scale(leads[0], m, groups[0]), scale(leads[2], groups[1], n)]
    assert gpu.scaled.refuse(*args, out_dtype=out_dtype) is None
    with compat.gpu_interpreter() or pytest.skip("this JAX has no public GPU interpreter"):
        (got,) = gpu.run(*args, out_dtype=out_dtype)
        got = np.asarray(got, np.float64)
    (wanted,) = xla.scaled(args[0].astype("float32"), args[1].astype("float32"), *args[2:], jnp.float32)
    wanted = np.broadcast_to(np.asarray(wanted, np.float64), got.shape)
    assert relative_rms(got, wanted) < {"bfloat16": 3e-3, "float16": 4e-4, "float32": 5e-7}[out_dtype.name]


@pytest.mark.parametrize("dtype", gpu_plan.FLOATS)
@pytest.mark.parametrize("bits", [4, 8])
def test_every_integer_widens_exactly(bits, dtype):
    planes = 16 // bits
    integers = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))
    rows = jnp.asarray(np.stack([np.roll(integers, 3 * plane) for plane in range(planes)], 1), f"int{bits}")
    words = lax.bitcast_convert_type(rows, jnp.int16)
    for plane in range(planes):
        wide = np.asarray(gpu._widened(words, plane, bits, jnp.dtype(dtype)), np.float64)
        np.testing.assert_array_equal(wide, np.asarray(rows[:, plane], np.int32) * gpu_plan.unit_of(plane, bits))


@pytest.mark.parametrize("groups", [(1, 1), (1, 4), (4, 1), (8, 8)])
@pytest.mark.parametrize(("x", "w"), PAIRS)
def test_every_dtype_lowers_for_cuda(x, w, groups):
    assert "mosaic_gpu" in lowered(*public(x, w, groups=groups))


@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (49, 67, 33), (100, 1000, 5003)])
@pytest.mark.parametrize(("x", "w"), PAIRS)
def test_ragged_shapes_lower(x, w, m, k, n):
    assert "mosaic_gpu" in lowered(*public(x, w, m, k, n, groups=(1, 1)))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"x": "float32"}, "multiply bfloat16 or float16 exactly, not float32"),
        ({"x": "int8", "w": "int8"}, "no product of integers for Hopper's tensor cores"),
        ({"w": "float8_e4m3fn"}, "by their own dtype alone, not float8_e4m3fn by bfloat16"),
        ({"x": "float8_e5m2", "w": "float8_e4m3fn"}, "not float8_e4m3fn by float8_e5m2"),
        ({"k": 64, "groups": (1, 4)}, "groups of 16 terms, which are not a multiple of 32"),
        ({"m": 0}, "an empty product"),
        ({"lead": (65536,), "m": 1, "vmapped": True}, "at most 65535 examples, got 65536"),
    ],
)
def test_what_it_cannot_take_it_refuses(given, reason):
    vmapped = given.pop("vmapped", False)
    function, args = public(**given)
    if vmapped:  # a w of its own for each
        args[1] = jax.ShapeDtypeStruct((65536, *args[1].shape), args[1].dtype)
        function = jax.vmap(function, (0, 0, None, 0))
    with pytest.raises(NotImplementedError, match=reason):
        lowered(function, args)


def test_it_is_taken_where_it_is_named_alone():
    function, args = public(implementation=None)
    (op,) = explain(function, *args)
    assert op.choices["cuda"] == "xla"
    assert op.blocks["pallas_gpu"] == {"m": 40, "n": 512, "k": 64, "stages": 6, "splits": 1}
    assert "mosaic_gpu" not in lowered(function, args)
    function, args = public()
    assert explain(function, *args)[0].choices["cuda"] == "pallas_gpu"
    with pytest.raises(NotImplementedError, match="runs on cuda alone"):
        jax.jit(function)(*(jnp.zeros(z.shape, z.dtype) for z in args))


@pytest.mark.parametrize(
    ("m", "n", "wanted"),
    [
        (8192, 8192, {"m": 48, "n": 512, "splits": 1}),
        (16, 8192, {"m": 16, "n": 512, "splits": 8}),
        (49, 8192, {"m": 32, "n": 512, "splits": 4}),
        (1, 64, {"m": 8, "n": 512, "splits": 32}),
    ],
)
def test_few_tiles_share_k(m, n, wanted):
    function, args = public(m=m, k=8192, n=n, groups=(1, 64))
    assert explain(function, *args)[0].blocks["pallas_gpu"] == wanted | {"k": 64, "stages": 6}


def test_vmap_gives_the_kernel_examples():
    function, args = public(lead=(3,))
    text = lowered(jax.vmap(function, (0, None, None, 0)), args)
    assert len(re.findall(r"custom_call @mosaic_gpu", text)) == 1
    assert re.search(r"custom_call @mosaic_gpu.*tensor<1x3x4x40x128xbf16>", text)  # splits, examples, planes, m, n / 4


def test_the_gradient_is_that_of_the_op():
    function, args = public()
    text = lowered(jax.grad(lambda *args: jnp.sum(function(*args).astype(jnp.float32) ** 2), (0, 2, 3)), args)
    assert len(re.findall(r"custom_call @mosaic_gpu", text)) == 1


def test_exports():
    function, args = public()
    with compat.abstract_gpu():
        exported = jax.export.export(
            jax.jit(function), platforms=("cuda",), disabled_checks=compat.exportable_kernels()
        )(*args)
    assert "mosaic_gpu" in exported.mlir_module()
    assert [(x.shape, x.dtype) for x in exported.out_avals] == [((40, 96), jnp.bfloat16)]


def test_lowers_inside_a_shard_map():
    function, args = public()  # the mesh is that of `abstract_gpu`, one device along "x"
    sharded = jax.shard_map(function, in_specs=(P("x"), P(), P(), P("x")), out_specs=P("x"))
    assert "mosaic_gpu" in lowered(sharded, args)


@pytest.mark.parametrize(
    ("groups", "m"), [((1, 1), 8192), ((1, 64), 16), ((1, 64), 8192), ((64, 64), 8192), ((1, 256), 8192)]
)
@pytest.mark.parametrize(("x", "w"), PAIRS)
def test_compiles_for_hopper_without_spills(x, w, groups, m, capfd, monkeypatch):
    pytest.importorskip("jax_cuda13_plugin")
    monkeypatch.setenv("MOSAIC_GPU_DUMP_PTXAS", "1")
    function, args = public(x, w, m, 8192, 8192, groups, sharding=deviceless.hopper())
    compiled = jax.jit(function).lower(*args).compile().as_text()
    report = "".join(capfd.readouterr())
    spills = re.findall(r"\d+ bytes spill stores", report)
    print(*re.findall(r"Used \d+ registers", report), *spills)
    assert "sm_90a" in report
    assert set(spills) == {"0 bytes spill stores"}
    assert "serialized" not in report  # what ptxas says where products wait for registers
    if w.startswith("int"):  # words of w are w itself, not a copy
        (name,) = re.findall(r"(%\S+) = s16\[1,8192,\d+\]\S* bitcast\(%w", compiled)
        assert re.search(rf"custom-call\([^)]*{re.escape(name)}\b", compiled)
