"""The Mosaic GPU kernel of products of signs: interpreted, lowered, compiled where possible, never taken by itself."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental.pallas import mosaic_gpu as plgpu
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import binary_matmul, explain
from jaxzoo_kernels._core import compat, deviceless
from jaxzoo_kernels.binary_matmul import gpu
from jaxzoo_kernels.binary_matmul.xla import popcount

# (examples, m, k, n, SMs): one SM, so that no blocks share k and tiles of w are in turn where others were.
INTERPRETED = {
    "examples, two tiles of w's columns": (2, 9, 40, 300, 132),
    "four tiles of k in two places": (1, 3, 3100, 40, 1),
    "blocks share k, two tiles of x": (1, 130, 1030, 33, 132),
}


def accumulated(products, shape):
    """The interpreter multiplies what lies in shared memory alone."""
    sums = [jnp.zeros(shape, jnp.float32)] * gpu.PARTS
    for lefts, right, done in products:
        new = [lax.dot(left.astype("float32"), right[...].astype("float32")) for left in lefts]
        sums = [total + x for total, x in zip(sums, new, strict=True)]
        plgpu.barrier_arrive(done)
    return sums


def signs(words):
    """What is inlined, by the order that it says it makes of the words."""
    words = jnp.swapaxes(words.reshape(64, 4, 4, 2), 2, 3)  # [n, t // 2, t % 2, q]
    return lax.bitcast_convert_type(words, gpu.SIGN).reshape(64, 128)


def public(m=40, k=300, n=50, implementation="pallas_gpu", sharding=None, lead=()):
    """The public op on abstract arguments, as (function, arguments)."""
    shapes = (*lead, m, -(-k // 32)), (-(-k // 32), n)
    args = [jax.ShapeDtypeStruct(shape, "uint32", sharding=sharding) for shape in shapes]
    return lambda x, w: binary_matmul(x, w, k, implementation=implementation), args


def lowered(function, args):
    with compat.abstract_gpu():
        return jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.slow
@pytest.mark.parametrize(("g", "m", "k", "n", "sms"), INTERPRETED.values(), ids=INTERPRETED)
def test_interpreted(g, m, k, n, sms, monkeypatch):
    monkeypatch.setattr(gpu, "_accumulated", accumulated)
    monkeypatch.setattr(gpu, "_signs", signs)
    monkeypatch.setattr(gpu, "SMS", sms)
    rng, words = np.random.default_rng(k), -(-k // 32)
    x, w = (jnp.asarray(rng.integers(0, 2**32, shape, np.uint32)) for shape in ((1, m, words), (g, words, n)))
    with compat.gpu_interpreter() or pytest.skip("this JAX has no public GPU interpreter"):
        (got,) = gpu.run(x, w, k=k)
        got = np.asarray(got)
    np.testing.assert_array_equal(got, popcount(x, w, k=k)[0])


def test_every_bit_becomes_a_sign():
    words = jnp.asarray(np.random.default_rng(0).integers(-(2**31), 2**31, 50), jnp.int32)
    for bit in range(8):
        ones = lax.bitcast_convert_type(gpu._ones(words, bit), gpu.SIGN)  # [50, byte]
        places = 8 * np.arange(4, dtype=np.uint32)[None] + np.uint32(bit)
        wanted = 1 - 2 * (np.asarray(words).astype(np.uint32)[:, None] >> places & 1).astype(np.float64)
        np.testing.assert_array_equal(np.asarray(ones, np.float64), wanted)


@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (49, 1000, 33), (300, 5000, 700)])
def test_every_shape_lowers_for_cuda(m, k, n):
    assert "mosaic_gpu" in lowered(*public(m, k, n))


@pytest.mark.parametrize(
    ("given", "reason"),
    [({"m": 0}, "an empty product"), ({"k": 2**24}, "sums of 16777216 signs are not exact in float32")],
)
def test_what_it_cannot_take_it_refuses(given, reason):
    with pytest.raises(NotImplementedError, match=reason):
        lowered(*public(**given))


def test_more_examples_than_a_grid_has_are_refused():
    function, args = public(m=1, k=32, n=1, lead=(65536,))
    args[1] = jax.ShapeDtypeStruct((65536, *args[1].shape), "uint32")
    with pytest.raises(NotImplementedError, match="at most 65535 examples, got 65536"):
        lowered(function, args)


def test_it_is_taken_where_it_is_named_alone():
    function, args = public(implementation=None)
    (op,) = explain(function, *args)
    assert op.choices["cuda"] == "xla"
    assert op.blocks["pallas_gpu"] == {"m": 40, "n": 256, "words": 32, "splits": 1}
    assert "mosaic_gpu" not in lowered(function, args)
    function, args = public()
    assert explain(function, *args)[0].choices["cuda"] == "pallas_gpu"
    with pytest.raises(NotImplementedError, match="runs on cuda alone"):
        jax.jit(function)(*(jnp.zeros(z.shape, z.dtype) for z in args))


@pytest.mark.parametrize(
    ("m", "wanted"), [(8192, {"m": 48, "splits": 1}), (130, {"m": 48, "splits": 1}), (1, {"m": 8, "splits": 4})]
)
def test_few_tiles_share_k(m, wanted):
    function, args = public(m, 8192, 8192)
    assert explain(function, *args)[0].blocks["pallas_gpu"] == wanted | {"n": 256, "words": 32}


def test_vmap_gives_the_kernel_examples():
    function, (x, w) = public()
    w = jax.ShapeDtypeStruct((3, *w.shape), w.dtype)
    text = lowered(jax.vmap(function, (None, 0)), [x, w])
    assert len(re.findall(r"custom_call @mosaic_gpu", text)) == 1
    assert re.search(r"custom_call @mosaic_gpu.*tensor<1x3x40x256xi32>", text)  # splits, examples, m, n


def test_exports():
    function, args = public()
    with compat.abstract_gpu():
        exported = jax.export.export(
            jax.jit(function), platforms=("cuda",), disabled_checks=compat.exportable_kernels()
        )(*args)
    assert "mosaic_gpu" in exported.mlir_module()
    assert [(x.shape, x.dtype) for x in exported.out_avals] == [((40, 50), jnp.int32)]


def test_lowers_inside_a_shard_map():
    function, args = public()  # the mesh is that of `abstract_gpu`, one device along "x"
    sharded = jax.shard_map(function, in_specs=(P("x"), P()), out_specs=P("x"))
    assert "mosaic_gpu" in lowered(sharded, args)


@pytest.mark.parametrize(("m", "k"), [(8192, 8192), (16, 8192), (8192, 500)])
def test_compiles_for_hopper_without_spills(m, k, capfd, monkeypatch):
    pytest.importorskip("jax_cuda13_plugin")
    monkeypatch.setenv("MOSAIC_GPU_DUMP_PTXAS", "1")
    function, args = public(m, k, 8192, sharding=deviceless.hopper())
    jax.jit(function).lower(*args).compile()
    report = "".join(capfd.readouterr())
    spills = re.findall(r"\d+ bytes spill stores", report)
    print(*re.findall(r"Used \d+ registers", report), *spills)
    assert "sm_90a" in report
    assert set(spills) == {"0 bytes spill stores"}
    assert "serialized" not in report  # what ptxas says where products wait for registers
