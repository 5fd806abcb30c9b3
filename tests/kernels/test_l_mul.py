"""l_mul and l_mul_matmul against integers and float64: every bit of narrow formats, guards, derivatives, transforms."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import explain, l_mul, l_mul_matmul
from jaxzoo_kernels._core import relative_rms
from jaxzoo_kernels.l_mul import _l_mul_matmul, reference
from jaxzoo_kernels.l_mul.shapes import TINY

RNG = np.random.default_rng(0)
SEMANTICS = ["bits", "literal"]
EXACT = {"bits": reference.bits, "literal": lambda x, y: reference.literal(x, y, x.dtype)}
FORMULA = {"bits": reference.log_form, "literal": reference.literal_form}
INF, NAN = np.inf, np.nan


@pytest.fixture(autouse=True)
def _seeded():
    """The same numbers in every test, whichever run before it."""
    global RNG
    RNG = np.random.default_rng(0)


def draw(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


def any_bits(count, dtype):
    """Numbers of every exponent, infinity and NaN among them."""
    unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
    return RNG.integers(0, np.iinfo(unsigned).max, count, unsigned, endpoint=True).view(dtype)


def assert_same_bits(x, y, semantics):
    """l_mul equals the reference to the bit, and IEEE's product of flushed operands where one is not finite."""
    x, y = np.broadcast_arrays(x, y)
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    unsigned = f"u{x.dtype.itemsize}"
    got = np.asarray(l_mul(x, y, semantics=semantics))
    assert got.dtype == x.dtype
    tiny = float(ml_dtypes.finfo(x.dtype).smallest_normal)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        wide_x, wide_y = (z.astype(np.float64) for z in (x, y))
    finite = np.isfinite(wide_x) & np.isfinite(wide_y)
    want = EXACT[semantics](np.where(finite, x, 0).astype(x.dtype), np.where(finite, y, 0).astype(x.dtype))
    is_nan = np.isnan(want.astype(np.float64))
    np.testing.assert_array_equal(np.isnan(got[finite].astype(np.float64)), is_nan[finite])
    exact = finite & ~is_nan
    np.testing.assert_array_equal(got.view(unsigned)[exact], want.view(unsigned)[exact])
    with np.errstate(all="ignore"):
        flushed_x, flushed_y = (np.where(np.abs(z) < tiny, 0 * z, z) for z in (wide_x, wide_y))
        product = flushed_x * flushed_y
    np.testing.assert_array_equal(got.astype(np.float64)[~finite], product[~finite])


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_every_pair_of_eight_bits(dtype, semantics):
    every = np.arange(256, dtype=np.uint8).view(dtype)
    assert_same_bits(every[:, None], every, semantics)


@pytest.mark.parametrize("y", [1.0, -1.71875, 3e38, -1.2e-38, 1e-40, -0.0, INF, NAN])
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_every_bfloat16_times_a_fixed_one(y, semantics):
    every = np.arange(65536, dtype=np.uint16).view(ml_dtypes.bfloat16)
    assert_same_bits(every, np.asarray(y, ml_dtypes.bfloat16), semantics)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_random_bits_of_wider_formats(dtype, semantics):
    assert_same_bits(any_bits(100_000, dtype), any_bits(100_000, dtype), semantics)


def test_random_bits_of_float64():
    with jax.enable_x64(True):
        x, y = any_bits(10_000, np.float64), any_bits(10_000, np.float64)
        assert_same_bits(x, y, "bits")
        near = draw(1000, dtype=np.float64), draw(1000, dtype=np.float64)
        got = l_mul(*near, semantics="literal")
        np.testing.assert_allclose(got, reference.literal_form(*near, 52), rtol=3e-16)


@pytest.mark.parametrize(
    ("x", "y", "bits", "literal"),
    [(1, 1, 1.0625, 1.0625), (2, 3, 6.25, 6.25), (1.5, 1.5, 2.125, 2.0625), (-1.5, 1.5, -2.125, -2.0625)],
)
def test_values_by_hand(x, y, bits, literal):
    assert l_mul(float(x), float(y)) == bits
    assert l_mul(float(x), float(y), semantics="literal") == literal


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize(
    ("x", "y", "want"),
    [
        (0.0, 0.5, 0.0),
        (-0.0, 3.0, -0.0),
        (1e-40, 3.0, 0.0),
        (1e-20, -1e-25, -0.0),
        (1e30, -1e30, -INF),
        (INF, 2.0, INF),
        (INF, -0.0, NAN),
        (NAN, 0.0, NAN),
    ],
)
def test_guards(semantics, x, y, want):
    got = np.asarray(l_mul(np.float32(x), np.float32(y), semantics=semantics))
    np.testing.assert_array_equal(got, np.float32(want))
    assert np.isnan(want) or np.signbit(got) == np.signbit(want)


def test_saturation_spares_infinite_operands():
    x = np.float32([1e30, -1e30, INF])
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(l_mul(x, np.float32(1e30), saturate=True), [largest, -largest, INF])
    assert l_mul(jnp.float8_e4m3fn(448), jnp.float8_e4m3fn(2), saturate=True) == 448


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_symmetries(semantics):
    x, y = draw(10_000), draw(10_000)
    want = np.asarray(l_mul(x, y, semantics=semantics))
    np.testing.assert_array_equal(l_mul(y, x, semantics=semantics), want)
    np.testing.assert_array_equal(l_mul(-x, y, semantics=semantics), -want)
    np.testing.assert_array_equal(l_mul(8 * x, y / 32, semantics=semantics), want / 4)


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_products_never_fall_as_an_operand_grows(semantics):
    x = np.sort(np.abs(draw(10_000)))
    assert np.all(np.diff(np.asarray(l_mul(x, np.float32(1.75), semantics=semantics))) >= 0)


def test_the_two_forms_agree_below_the_carry():
    x, y = RNG.uniform(1, 1.46, (2, 1000)).astype(np.float32)
    np.testing.assert_array_equal(l_mul(x, y), l_mul(x, y, semantics="literal"))
    x, y = RNG.uniform(1.5, 1.7, (2, 1000))
    x, y = np.float32(x), np.float32(y)
    s = (x - 1.0) + (y - 1.0) + 0.0625
    np.testing.assert_allclose(l_mul(x, y) / l_mul(x, y, semantics="literal"), 2 * s / (1 + s), rtol=1e-6)


@pytest.mark.parametrize(("semantics", "mean", "rms"), [("bits", 0.0041, 0.031), ("literal", -0.064, 0.096)])
def test_error_of_uniform_mantissas(semantics, mean, rms):
    x, y = RNG.uniform(1, 2, (2, 200_000)).astype(np.float32)
    error = np.asarray(l_mul(x, y, semantics=semantics), np.float64) / (np.float64(x) * y) - 1
    assert abs(error.mean() - mean) < 5e-4
    assert abs(np.sqrt((error**2).mean()) - rms) < 1e-3
    assert error.max() < 0.064


@pytest.mark.parametrize(("bits", "one"), [(1, 1.5), (2, 1.25), (3, 1.125), (4, 1.125), (5, 1.0625), (23, 1.0625)])
def test_the_offset_follows_the_mantissa(bits, one):
    assert l_mul(1.0, 1.0, mantissa_bits=bits) == one


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize(("rounding", "bits"), [("nearest", 1), ("nearest", 3), ("truncate", 4), ("truncate", 7)])
def test_operands_are_rounded_first(semantics, rounding, bits):
    x, y = draw(2000), draw(2000)
    x[:4] = [1 + 2.0 ** -(bits + 1), 1 + 3 * 2.0 ** -(bits + 1), 1.9999, -0.0]  # two ties and a carry
    got = l_mul(x, y, semantics=semantics, mantissa_bits=bits, rounding=rounding)
    want = FORMULA[semantics](*(reference.rounded(z, bits, rounding) for z in (x, y)), bits)
    np.testing.assert_array_equal(got, want.astype(np.float32))


def test_rounding_never_makes_infinity():
    largest = np.finfo(np.float32).max
    kept, quarter = np.float32(1.875 * 2.0**127), np.float32(0.25)
    assert l_mul(largest, quarter, mantissa_bits=3) == l_mul(kept, quarter, mantissa_bits=3) < np.inf


def test_operands_broadcast_and_promote():
    x = jnp.ones((3, 1), jnp.bfloat16)
    assert l_mul(x, jnp.ones(4, jnp.float32)).shape == (3, 4)
    assert l_mul(x, jnp.ones(4, jnp.float32)).dtype == jnp.float32
    assert l_mul(x, 2.0).dtype == jnp.bfloat16


def test_straight_through_has_the_derivatives_of_the_product():
    x, y = draw(5), draw(5)

    def second(multiply):
        gradient = jax.grad(lambda x, y: jnp.sum(jnp.sin(x) * multiply(x, y)), (0, 1))
        return jax.jvp(gradient, (x, y), (y, x))

    want = second(lambda x, y: x * y + jax.lax.stop_gradient(l_mul(x, y) - x * y))
    for p, q in zip(jax.tree.leaves(second(l_mul)), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-5, atol=1e-6)


def test_piecewise_gradient_is_the_slope_of_the_literal_form():
    with jax.enable_x64(True):
        x, y = RNG.uniform(1.1, 1.9, (2, 50)) * np.float64([[4], [-0.25]])
        literal = lambda x, y: l_mul(x, y, semantics="literal", gradient="piecewise")  # noqa: E731
        got = jax.grad(lambda x, y: jnp.sum(literal(x, y)), (0, 1))(x, y)
        h = 2.0**-10
        np.testing.assert_allclose(got[0], (literal(x + h, y) - literal(x, y)) / h, rtol=1e-9)
        np.testing.assert_allclose(got[1], (literal(x, y + h / 8) - literal(x, y)) / (h / 8), rtol=1e-9)
        np.testing.assert_array_equal(jax.grad(jax.grad(literal))(x[0], y[0]), 0.0)


@pytest.mark.parametrize("axes", [(0, None), (None, 1), (1, 0)])
def test_vmap(axes):
    x, y = draw(4, 4), draw(4, 4)
    x, y = x if axes[0] is not None else x[0], y if axes[1] is not None else y[0]
    got = jax.vmap(l_mul, axes)(x, y)
    want = l_mul(x.T if axes[0] == 1 else x, y.T if axes[1] == 1 else y)
    np.testing.assert_array_equal(got, want)


def narrow(*shape, dtype):
    """Numbers of few exponents and few mantissa bits: every sum of their products is exact in float32."""
    return (RNG.choice([-1, 1], shape) * RNG.integers(4, 16, shape) / 8 * RNG.integers(0, 2, shape)).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(dtype, "odd") for dtype in ("float8_e4m3fn", "float8_e5m2", "bfloat16", "float16")]
    + [("float32", name) for name in TINY],
)
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_matmul_is_exactly_the_sum_of_products(dtype, name, semantics):
    g, m, k, n = TINY[name]
    x, y = narrow(g, m, k, dtype=dtype), narrow(g, k, n, dtype=dtype)
    got = l_mul_matmul(x, y, semantics=semantics)
    bits = ml_dtypes.finfo(dtype).nmant
    want = FORMULA[semantics](x.astype(np.float64)[..., None], y.astype(np.float64)[:, None], bits).sum(-2)
    assert got.dtype == ("float32" if dtype.startswith("float8") else dtype)
    np.testing.assert_array_equal(np.float64(got), np.float64(want.astype(got.dtype)))


@pytest.mark.parametrize("k", [0, 1, 8, 63])
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_matmul_of_real_numbers(k, semantics):
    x, y = draw(6, k), draw(k, 5)
    want = FORMULA[semantics](x[..., None], y, 23).sum(1)
    assert relative_rms(l_mul_matmul(x, y, semantics=semantics), want) < 2e-6


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 5e-3), ("float16", 1e-3)])
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_matmul_of_sixteen_bits(dtype, bound, semantics):
    x, y = (draw(*shape).astype(dtype) for shape in ((16, 40), (40, 8)))
    bits = ml_dtypes.finfo(dtype).nmant
    want = FORMULA[semantics](x.astype(np.float64)[..., None], y.astype(np.float64), bits).sum(1)
    assert relative_rms(np.float64(l_mul_matmul(x, y, semantics=semantics)), want) < bound


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_matmul_rounds_its_operands(semantics):
    x, y = draw(6, 20), draw(20, 5)
    got = l_mul_matmul(x, y, semantics=semantics, mantissa_bits=3, rounding="truncate")
    x, y = (reference.rounded(z, 3, "truncate") for z in (x, y))
    assert relative_rms(got, FORMULA[semantics](x[..., None], y, 3).sum(1)) < 2e-6


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize(
    ("x", "y", "want"),
    [
        ([0.0, 1.0], [3e38, 1.0], 1.0625),
        ([1e-40, 1.0], [1e30, 1.0], 1.0625),
        ([1e30, 1.0], [1e30, 1.0], INF),
        ([INF, 1.0], [-2.0, 1.0], -INF),
        ([INF, INF], [-2.0, 1.0], NAN),
        ([INF, 1.0], [0.0, 1.0], NAN),
        ([NAN, 1.0], [0.0, 1.0], NAN),
    ],
)
def test_matmul_guards(semantics, x, y, want):
    x, y = np.float32([x]), np.float32(y)[:, None]
    np.testing.assert_array_equal(l_mul_matmul(x, y, semantics=semantics), [[np.float32(want)]])
    np.testing.assert_array_equal(l_mul_matmul(y.T, x.T, semantics=semantics), [[np.float32(want)]])


def test_matmul_bits_vanish_where_single_products_do():
    x, y = any_bits(3000, np.float32), any_bits(3000, np.float32)
    x, y = x[np.isfinite(x) & np.isfinite(y)], y[np.isfinite(x) & np.isfinite(y)]
    np.testing.assert_array_equal(l_mul_matmul(x[:, None, None], y[:, None, None])[:, 0, 0], l_mul(x, y))


def test_matmul_bits_never_holds_every_product():
    x = jax.ShapeDtypeStruct((128, 128), jnp.float32)
    memory = jax.jit(l_mul_matmul).lower(x, x).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 4 * 128**3 / 4


@pytest.mark.parametrize("shapes", [((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (6, 4, 5))])
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_matmul_broadcasts_leading_axes(shapes, semantics):
    x, y = (draw(*shape) for shape in shapes)
    want = FORMULA[semantics](x[..., None], y[..., None, :, :], 23).sum(-2)
    got = l_mul_matmul(x, y, semantics=semantics)
    assert got.shape == want.shape
    assert relative_rms(got, want) < 2e-6


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_matmul_straight_through_gradient_is_that_of_matmul(semantics):
    x, y, ct = draw(3, 4), draw(4, 5), draw(3, 5)
    out, pull = jax.vjp(lambda x, y: l_mul_matmul(x, y, semantics=semantics), x, y)
    dx, dy = pull(ct)
    np.testing.assert_allclose(dx, ct @ y.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dy, x.T @ ct, rtol=1e-5, atol=1e-6)
    assert not np.allclose(out, x @ y, rtol=1e-3)


def test_matmul_piecewise_gradient_is_that_of_the_products():
    x, y = draw(3, 4), draw(4, 5)
    literal = {"semantics": "literal", "gradient": "piecewise"}
    got = jax.grad(lambda x, y: jnp.sum(l_mul_matmul(x, y, **literal) ** 2), (0, 1))(x, y)
    want = jax.grad(
        lambda x, y: jnp.sum(jnp.sum(l_mul(x[..., None], y, **literal), 1) ** 2),
        (0, 1),
    )(x, y)
    for p, q in zip(got, want, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-5, atol=1e-5)


def test_matmul_of_eight_bits_has_gradients_in_eight_bits():
    x, y = narrow(3, 4, dtype="float8_e4m3fn"), narrow(4, 5, dtype="float8_e4m3fn")
    dx = jax.grad(lambda x: jnp.sum(l_mul_matmul(x, y)))(jnp.asarray(x))
    rounded = y.astype(np.float32).sum(1).astype(y.dtype)
    np.testing.assert_array_equal(np.float64(dx), np.tile(rounded.astype(np.float64), (3, 1)))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (2, 0)])
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_matmul_vmap_of_gradient_and_remat(axes, semantics):
    x, y = draw(3, 4, 2), draw(2, 4, 5)
    x = x if axes[0] == 2 else np.moveaxis(x, 2, 0) if axes[0] == 0 else x[:, :, 0]
    y = y if axes[1] == 0 else y[0]
    gradient = jax.grad(lambda x, y: jnp.sum(l_mul_matmul(x, y, semantics=semantics) ** 2), (0, 1))
    rows = [
        gradient(x if a is None else np.moveaxis(x, a, 0)[i], y if b is None else y[i])
        for i, (a, b) in enumerate([axes] * 2)
    ]
    saved = jax.grad(jax.checkpoint(lambda x, y: jnp.sum(l_mul_matmul(x, y, semantics=semantics) ** 2)), (0, 1))
    for batched in (jax.vmap(gradient, axes)(x, y), jax.vmap(saved, axes)(x, y)):
        for got, want in zip(batched, zip(*rows, strict=True), strict=True):
            np.testing.assert_allclose(got, np.stack(want), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_matmul_in_a_shard_map(check_vma, semantics):
    mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
    x, y = draw(8, 9), draw(9, 3)
    run = lambda x, y: l_mul_matmul(x, y, semantics=semantics)  # noqa: E731
    sharded = jax.shard_map(run, mesh=mesh, in_specs=(P("d"), P()), out_specs=P("d"), check_vma=check_vma)
    np.testing.assert_allclose(jax.jit(sharded)(x, y), run(x, y), rtol=1e-6, atol=1e-6)


def test_explain_and_one_trace():
    x = draw(3, 4)
    (op,) = explain(l_mul_matmul, x, x.T)
    assert (op.op, op.operations, op.choices) == (
        "l_mul_matmul",
        72,
        {"cpu": "xla", "cuda": "xla", "tpu": "pallas_tpu"},
    )
    assert [op.op for op in explain(l_mul, x, x)] == ["l_mul"]
    l_mul_matmul(x, x.T)
    before = _l_mul_matmul._cache_size()
    l_mul_matmul(x + 1, x.T)
    assert _l_mul_matmul._cache_size() == before


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_one_export_runs_on_three_platforms(semantics):
    x = draw(3, 4)
    run = jax.jit(lambda x: l_mul_matmul(x, x.T, semantics=semantics) + l_mul(x, x, semantics=semantics)[:, :3])
    exported = jax.export.export(run, platforms=("cpu", "tpu", "cuda"))(x)
    np.testing.assert_allclose(exported.call(x), run(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: l_mul(1, 2), TypeError, "expected dtype float16"),
        (lambda: l_mul(1.0, 2.0, semantics="exact"), ValueError, "semantics: expected 'bits' or 'literal'"),
        (lambda: l_mul(1.0, 2.0, mantissa_bits=24), ValueError, "mantissa_bits: expected 1 to 23 for float32, got 24"),
        (lambda: l_mul(1.0, 2.0, gradient="piecewise"), ValueError, "gradient: expected 'straight_through', got"),
        (lambda: l_mul(1.0, 2.0, rounding="up"), ValueError, "rounding: expected"),
        (lambda: l_mul(1.0, 2.0, implementation="pallas_gpu"), ValueError, "implementation: expected None, 'xla'"),
        (lambda: l_mul_matmul(jnp.ones(3), jnp.ones((3, 2))), ValueError, r"x: expected \[..., m, k\], got \(3,\)"),
        (lambda: l_mul_matmul(jnp.ones((2, 3)), jnp.ones((4, 2))), ValueError, r"y: expected \[..., 3, n\], got"),
        (lambda: l_mul_matmul(jnp.ones((2, 2, 3)), jnp.ones((3, 3, 2))), ValueError, "y: expected leading axes"),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
