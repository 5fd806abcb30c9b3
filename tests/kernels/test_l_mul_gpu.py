"""The Mosaic GPU kernel of l_mul_matmul: interpreted against the lax form, lowered, compiled, taken where named."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import explain, l_mul_matmul
from jaxzoo_kernels._core import compat, deviceless
from jaxzoo_kernels.l_mul import gpu, gpu_terms
from jaxzoo_kernels.l_mul.reference import log_form
from jaxzoo_kernels.l_mul.xla import matmul

RNG = np.random.default_rng(0)
OPTIONS = {"semantics": "bits", "rounding": "nearest", "gradient": "straight_through"}
DTYPES = ["float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"]
TILE = (gpu.TERMS, gpu.ROWS, gpu.COLUMNS)


def draw(*shape, dtype="float32"):
    return jnp.asarray(RNG.normal(size=shape), dtype)


def interpreted(x, y, mantissa_bits):
    assert gpu.bits_matmul.refuse(x, y, **OPTIONS) is None
    with compat.gpu_interpreter() or pytest.skip("this JAX has no public GPU interpreter"):
        return np.asarray(gpu.run(x, y, mantissa_bits=mantissa_bits, **OPTIONS)[0], np.float32)


def by_lax(x, y, mantissa_bits):
    return np.asarray(matmul(x, y, mantissa_bits=mantissa_bits, **OPTIONS)[0], np.float32)


def modes_of(x, y, bits=23):
    """[g, blocks of m, blocks of n, blocks of k] of whole tiles."""
    x = jnp.swapaxes(x, 1, 2).astype(jnp.float32)
    _, magnitudes = gpu_terms.prepared(x, y.astype(jnp.float32), bits, "nearest")
    return np.asarray(gpu_terms.modes(*magnitudes, gpu_terms.constant_of(bits), TILE))[..., :-1]


def with_mode(monkeypatch, mode):
    known = gpu_terms.modes
    monkeypatch.setattr(gpu_terms, "modes", lambda *args: known(*args).at[..., :-1].set(mode))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shapes", "dtype", "bits"),
    [(((1, 70, 100), (2, 100, 130)), "float32", 23), (((2, 5, 40), (1, 40, 9)), "bfloat16", 7)]
    + [(((1, 3, 33), (1, 33, 4)), dtype, 2) for dtype in DTYPES[2:]],
)
@pytest.mark.parametrize("groups", [1, gpu.GROUPS])
def test_interpreted(shapes, dtype, bits, groups, monkeypatch):
    monkeypatch.setattr(gpu, "SMS", 1000 if groups == 1 else 0)
    x, y = (draw(*shape, dtype=dtype) for shape in shapes)
    assert gpu.blocks(x, y)["groups"] == groups
    # The kernel adds in the order that the lax form has on cpu.
    np.testing.assert_array_equal(interpreted(x, y, bits), by_lax(x, y, bits))


@pytest.mark.slow
def test_every_product_is_guarded_as_in_the_lax_form():
    raw = RNG.integers(0, 2**32, (2, 200), np.uint32, endpoint=False).view(np.float32)
    raw[0, :6], raw[1, :6] = [0.0, -0.0, 1e-40, 1e30, np.inf, 3.0], [3e38, 1.0, 1e30, -1e30, 0.0, np.nan]
    x, y = jnp.asarray(raw[0, :64])[None, :, None], jnp.asarray(raw[1, :128])[None, None]
    np.testing.assert_array_equal(interpreted(x, y, 23), by_lax(x, y, 23))


@pytest.mark.slow
@pytest.mark.parametrize("low", [-38, -18])
def test_sums_that_over_and_underflow(low):
    x, y = (draw(*s) * 10.0 ** jnp.asarray(RNG.uniform(low, 19, s), "float32") for s in ((1, 8, 64), (1, 64, 16)))
    x, y = x.at[0, 5, 5].set(3e38), y.at[0, 5].set(3e38)  # infinite products in one row
    got = interpreted(x, y, 23)
    assert 0 < np.isinf(got).mean() < 1
    np.testing.assert_array_equal(got, by_lax(x, y, 23))


@pytest.mark.slow
@pytest.mark.parametrize("mode", range(4))
def test_the_four_ways_agree_bit_for_bit_where_all_are_valid(mode, monkeypatch):
    x, y = draw(1, *TILE[1::-1]), draw(1, TILE[0], TILE[2])
    assert np.all(modes_of(x, y) == gpu_terms.PLAIN)
    with_mode(monkeypatch, mode)
    np.testing.assert_array_equal(interpreted(x, y, 23), by_lax(x, y, 23))


@pytest.mark.slow
@pytest.mark.parametrize("mode", [gpu_terms.ZEROS, gpu_terms.GUARDED, gpu_terms.SPECIAL])
def test_zeros_of_either_operand_and_of_both(mode, monkeypatch):
    x, y = jnp.maximum(draw(1, *TILE[1::-1]), 0), draw(1, TILE[0], TILE[2])
    y = jnp.where(draw(*y.shape) > 0.5, -0.0, y).at[..., 3].set(0)
    x = x.at[:, 2].set(0)
    y = y.at[0, 0, :2].set(jnp.asarray([0.96875, -0.96875]))  # whose bits are the constant's
    assert np.all(modes_of(x, y) == gpu_terms.ZEROS)
    with_mode(monkeypatch, mode)
    got = interpreted(x, y, 23)
    np.testing.assert_array_equal(got, by_lax(x, y, 23))
    assert not got[:, 2].any()
    assert not got[..., 3].any()


def test_a_tile_is_unguarded_exactly_where_its_extreme_products_are_in_range():
    """2^127 (1 + 15/16), times 1 and with the offset of 1/16, is the least that overflows."""
    x, y = jnp.ones((1, TILE[1], TILE[0])), jnp.ones((1, TILE[0], TILE[2]))
    top, bottom = np.float32(2.0**127 * (2 - 2**-4)), np.float32(2.0**-126)
    cases = [
        (1.0, gpu_terms.PLAIN),
        (np.nextafter(top, np.float32(0)), gpu_terms.PLAIN),
        (top, gpu_terms.GUARDED),
        (bottom, gpu_terms.PLAIN),
        (0.0, gpu_terms.ZEROS),
        (np.float32(1e-40), gpu_terms.ZEROS),
        (-np.inf, gpu_terms.SPECIAL),
        (np.nan, gpu_terms.SPECIAL),
    ]
    for value, mode in cases:
        value = jnp.asarray(value, "float32")
        assert modes_of(x.at[0, 5, 7].set(value), y).item() == mode, (value, mode)
        assert modes_of(x, y.at[0, 7, 5].set(value)).item() == mode, (value, mode)
    half = jnp.full_like(y, 0.5)
    assert modes_of(x.at[0, 5, 7].set(bottom), half).item() == gpu_terms.GUARDED
    assert modes_of(jnp.zeros_like(x), y.at[0, 0, 0].set(jnp.inf)).item() == gpu_terms.SPECIAL
    assert modes_of(jnp.zeros_like(x), jnp.zeros_like(y)).item() == gpu_terms.ZEROS


@pytest.mark.slow
def test_accuracy_of_a_long_sum():
    x, y = jnp.abs(draw(1, 1, 500)), jnp.abs(draw(1, 500, 1))
    exact = log_form(x[0, 0], y[0, :, 0], 23).sum()
    assert abs(interpreted(x, y, 23).item() / exact - 1) < 2e-6


def public(dtype="float32", m=300, n=200, sharding=None, k=100, lead=(), **options):
    """The public op on abstract arguments, as (function, arguments)."""
    make = lambda *shape: jax.ShapeDtypeStruct((*lead, *shape), dtype, sharding=sharding)  # noqa: E731
    options = {"implementation": "pallas_gpu", **options}
    return (lambda x, y: l_mul_matmul(x, y, **options)), (make(m, k), make(k, n))


def lowered(function, args):
    with compat.abstract_gpu():
        return jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize(("dtype", "size"), [*((dtype, 40) for dtype in DTYPES), ("bfloat16", 2000)])
def test_every_dtype_lowers_for_cuda(dtype, size):
    assert "mosaic_gpu" in lowered(*public(dtype, size, size))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"semantics": "literal"}, "two ordinary products"),
        ({"m": 0}, "an empty product"),
        ({"lead": (65536,), "m": 2, "n": 2, "k": 2}, "at most 65535 examples, got 65536"),
    ],
)
def test_what_it_cannot_take_it_refuses(given, reason):
    with pytest.raises(NotImplementedError, match=reason):
        lowered(*public(**given))


def test_float64_is_refused_and_float32_is_not_where_there_is_float64():
    with jax.enable_x64(True):
        with pytest.raises(NotImplementedError, match="bits of float32, not float64"):
            lowered(*public("float64"))
        assert "mosaic_gpu" in lowered(*public("float32"))


def test_it_is_taken_where_it_is_named_alone():
    function, args = public(implementation=None)
    (op,) = explain(function, *args)
    assert op.choices["cuda"] == "xla"
    assert op.blocks["pallas_gpu"] == {"m": 64, "n": 128, "k": 32, "stages": 2, "groups": 1}
    assert "mosaic_gpu" not in lowered(function, args)
    function, args = public(m=8192, n=8192)
    (op,) = explain(function, *args)
    assert (op.choices["cuda"], op.blocks["pallas_gpu"]["groups"]) == ("pallas_gpu", 3)


def test_the_gradient_is_that_of_the_op():
    function, args = public()
    text = lowered(jax.grad(lambda x, y: jnp.sum(function(x, y) ** 2), (0, 1)), args)
    assert len(re.findall(r"custom_call @mosaic_gpu", text)) == 1


def test_a_batch_exports_as_one_kernel():
    function, (x, y) = public()
    with compat.abstract_gpu():
        exported = jax.export.export(
            jax.jit(jax.vmap(function, (0, None))), platforms=("cuda",), disabled_checks=compat.exportable_kernels()
        )(jax.ShapeDtypeStruct((3, *x.shape), x.dtype), y)
    assert len(re.findall(r"custom_call @mosaic_gpu", exported.mlir_module())) == 1
    assert [out.shape for out in exported.out_avals] == [(3, 300, 200)]


@pytest.mark.parametrize("check_vma", [True, False])
def test_lowers_in_a_shard_map(check_vma):
    mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
    function, args = public(m=400)
    sharded = jax.shard_map(function, mesh=mesh, in_specs=(P("d"), P()), out_specs=P("d"), check_vma=check_vma)
    assert "mosaic_gpu" in jax.jit(sharded).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [100, 2048])
def test_compiles_for_hopper_without_spills(size, dtype, capfd, monkeypatch):
    pytest.importorskip("jax_cuda13_plugin")
    monkeypatch.setenv("MOSAIC_GPU_DUMP_PTXAS", "1")
    function, args = public(dtype, size, size, sharding=deviceless.hopper())
    groups = gpu.blocks(*(jax.ShapeDtypeStruct((1, *a.shape), a.dtype) for a in args))["groups"]
    jax.jit(function).lower(*args).compile()
    report = "".join(capfd.readouterr())
    print(*re.findall(r"Used \d+ registers|\d+ bytes spill stores", report))
    assert "sm_90a" in report
    assert set(re.findall(r"(\d+) bytes spill stores", report)) == {"0"}
    # As many blocks of threads fit into an SM as the kernel counts on: three warpgroups, in one or, with fewer, in two.
    (registers,) = map(int, re.findall(r"Used (\d+) registers", report))
    assert 128 * -(-registers // 8) * 8 * (groups if groups > 1 else 2) <= 65536
