"""quantized_matmul against float64: every pair of dtypes, scales of every shape, derivatives, transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import explain, quantized_matmul
from jaxzoo_kernels._core import deviceless, relative_rms
from jaxzoo_kernels.quantized_matmul import _quantized_matmul, reference
from jaxzoo_kernels.quantized_matmul.shapes import TINY

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _seeded():
    """The same numbers in every test, whichever run before it."""
    global RNG
    RNG = np.random.default_rng(0)


def draw(*shape, dtype="float32"):
    dtype = jnp.dtype(dtype)
    if dtype.name.startswith("int"):
        info = jnp.iinfo(dtype)
        return RNG.integers(info.min, info.max, shape, endpoint=True).astype(dtype)
    return RNG.normal(size=shape).astype(dtype)


def scale(*shape):
    return RNG.uniform(0.01, 0.1, shape).astype(np.float32)


def case(name):
    """x, w, w_scale and keywords of a named shape."""
    m, k, n, x, w, groups = TINY[name]
    quantised = x.startswith(("int", "float8"))
    options = {"x_scale": scale(m, groups)} if quantised else {}
    return draw(m, k, dtype=x), draw(k, n, dtype=w), scale(groups, n), options


@pytest.mark.parametrize("name", TINY)
def test_values(name):
    x, w, w_scale, options = case(name)
    want = reference.quantized_matmul(x, w, w_scale, **options)
    got = quantized_matmul(x, w, w_scale, **options)
    sixteen = x.dtype.name in ("bfloat16", "float16")
    assert got.dtype == (x.dtype if sixteen else jnp.float32)
    assert relative_rms(np.float64(got), want) < (5e-3 if sixteen else 2e-6)


@pytest.mark.parametrize("k", [1, 3000])
def test_long_sums_of_integers_are_exact(k):
    x, w = np.full((2, k), -128, np.int8), np.full((k, 3), -128, np.int8)
    w[:, 1], w[-1, 2] = draw(k, dtype="int8"), 127
    want = x.astype(np.int64) @ w.astype(np.int64)
    np.testing.assert_array_equal(quantized_matmul(x, w, np.float32(1)), want.astype(np.float32))


@pytest.mark.parametrize(
    ("x_scale", "w_scale"),
    [((), ()), ((), (7,)), ((5,), (1, 7)), ((5, 1), (4, 7)), ((5, 4), (7,)), ((5, 4), (4, 7)), ((5,), (24, 7))],
)
def test_scales_of_every_shape(x_scale, w_scale):
    x, w, w_scale, x_scale = draw(5, 24, dtype="int8"), draw(24, 7, dtype="int8"), scale(*w_scale), scale(*x_scale)
    got = quantized_matmul(x, w, w_scale, x_scale=x_scale)
    assert relative_rms(got, reference.quantized_matmul(x, w, w_scale, x_scale)) < 2e-6


def test_the_scales_decide_the_dtype_of_quantised_operands():
    x, w = draw(5, 24, dtype="int8"), draw(24, 7, dtype="int8")
    low = jnp.bfloat16(0.5)
    assert quantized_matmul(x, w, low).dtype == jnp.bfloat16
    assert quantized_matmul(x, w, low, x_scale=jnp.float32(1)).dtype == jnp.float32
    with jax.enable_x64(True):
        x, w_scale = draw(5, 24, dtype="float64"), scale(3, 7).astype(np.float64)
        assert relative_rms(quantized_matmul(x, w, w_scale), reference.quantized_matmul(x, w, w_scale)) < 1e-15


@pytest.mark.parametrize("shapes", [((2, 3, 8), (8, 5)), ((3, 8), (2, 8, 5)), ((2, 1, 3, 8), (6, 8, 5))])
@pytest.mark.parametrize("groups", [1, 2])
def test_leading_axes_broadcast(shapes, groups):
    x, w = draw(*shapes[0], dtype="int8"), draw(*shapes[1], dtype="int4")
    x_scale, w_scale = scale(*x.shape[:-1], groups), scale(*w.shape[:-2], groups, 5)
    wide_x = x * np.repeat(np.float64(x_scale), 8 // groups, -1)
    want = wide_x @ (w.astype(np.float64) * np.repeat(np.float64(w_scale), 8 // groups, -2))
    got = quantized_matmul(x, w, w_scale, x_scale=x_scale)
    assert got.shape == want.shape
    assert relative_rms(got, want) < 2e-6


@pytest.mark.parametrize("rows", [63, 64, 100])
def test_many_rows_in_groups(rows):
    x, w, w_scale, x_scale = draw(rows, 24), draw(24, 7, dtype="int4"), scale(3, 7), scale(rows, 3)
    got = quantized_matmul(x, w, w_scale, x_scale=x_scale)
    assert relative_rms(got, reference.quantized_matmul(x, w, w_scale, x_scale)) < 2e-6


def test_empty_sums_are_zero():
    got = quantized_matmul(draw(3, 0), draw(0, 2, dtype="int8"), scale(2))
    np.testing.assert_array_equal(got, np.zeros((3, 2)))


def dense(x, w, w_scale, x_scale):
    """The dequantised product in plain jnp, for groups of 8 rows."""
    return (x * jnp.repeat(x_scale, 8, 1)) @ (jnp.asarray(w).astype(jnp.float32) * jnp.repeat(w_scale, 8, 0))


def test_derivatives_of_two_orders_into_activations_and_scales():
    args, w = (draw(5, 24), scale(3, 7), scale(5, 3)), draw(24, 7, dtype="int4")

    def second(multiply):
        loss = lambda x, w_scale, x_scale: jnp.sum(jnp.sin(multiply(x, w, w_scale, x_scale)))  # noqa: E731
        return jax.jit(lambda *args: jax.jvp(jax.grad(loss, (0, 1, 2)), args, args))(*args)

    got, want = second(lambda x, w, s, t: quantized_matmul(x, w, s, x_scale=t)), second(dense)
    for p, q in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert relative_rms(p, np.float64(q)) < 1e-5


def test_integer_operands_leave_gradients_for_the_scales():
    x, w, w_scale, x_scale = draw(5, 24, dtype="int8"), draw(24, 7, dtype="int8"), scale(3, 7), scale(5, 3)
    got = jax.grad(lambda s, t: jnp.sum(quantized_matmul(x, w, s, x_scale=t) ** 2), (0, 1))(w_scale, x_scale)
    want = jax.grad(lambda s, t: jnp.sum(dense(x.astype(np.float32), w, s, t) ** 2), (0, 1))(w_scale, x_scale)
    for p, q in zip(got, want, strict=True):
        assert relative_rms(p, np.float64(q)) < 1e-5


def test_eight_bit_floats_have_gradients():
    x, w = draw(5, 24), jnp.asarray(draw(24, 7, dtype="float8_e5m2"))
    gradient = jax.grad(lambda w: jnp.sum(quantized_matmul(x, w, jnp.ones(7))))(w)
    assert gradient.dtype == w.dtype
    assert relative_rms(np.float64(gradient), np.tile(np.float64(x).sum(0)[:, None], 7)) < 0.1


def test_the_transpose_in_the_activations():
    x, ct, w, w_scale = draw(5, 24), draw(5, 7), draw(24, 7, dtype="int4"), scale(3, 7)
    run = lambda x: quantized_matmul(x, w, w_scale)  # noqa: E731
    (back,) = jax.vjp(run, x)[1](ct)
    np.testing.assert_allclose(jnp.vdot(back, x), jnp.vdot(ct, run(x)), rtol=1e-4)


@pytest.mark.parametrize("axes", [(0, None, None), (None, 0, 0), (2, 0, None)])
def test_vmap_of_the_gradient_and_remat(axes):
    shapes, dtypes = ((5, 24), (24, 7), (3, 7)), ("float32", "int4", "float32")
    args = [
        draw(*(shape if a is None else np.insert(shape, a, 2)), dtype=dtype)
        for shape, a, dtype in zip(shapes, axes, dtypes, strict=True)
    ]
    loss = lambda x, w, s: jnp.sum(quantized_matmul(x, w, s) ** 2)  # noqa: E731
    gradient = jax.grad(loss, (0, 2))
    rows = [
        gradient(*(z if a is None else np.moveaxis(z, a, 0)[i] for z, a in zip(args, axes, strict=True)))
        for i in range(2)
    ]
    for of in (gradient, jax.grad(jax.checkpoint(loss), (0, 2))):
        for got, want in zip(jax.vmap(of, axes)(*args), zip(*rows, strict=True), strict=True):
            assert relative_rms(got, np.float64(want)) < 1e-5


@pytest.mark.parametrize("check_vma", [True, False])
def test_gradient_in_a_shard_map_over_columns(check_vma):
    mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
    x, w, w_scale = draw(5, 24), draw(24, 8, dtype="int8"), scale(3, 8)
    gradient = jax.grad(lambda s, w, x: jnp.sum(quantized_matmul(x, w, s) ** 2))
    columns = P(None, "d")
    sharded = jax.shard_map(
        gradient, mesh=mesh, in_specs=(columns, columns, P()), out_specs=columns, check_vma=check_vma
    )
    np.testing.assert_allclose(jax.jit(sharded)(w_scale, w, x), gradient(w_scale, w, x), rtol=1e-4)


def test_weights_are_not_dequantised_where_products_are_exact():
    x, w = jax.ShapeDtypeStruct((4, 64), jnp.int8), jax.ShapeDtypeStruct((64, 8), jnp.int8)
    text = jax.jit(lambda x, w: quantized_matmul(x, w, jnp.ones(8))).trace(x, w).lower(lowering_platforms=("cuda",))
    assert "(tensor<4x64xi8>, tensor<64x8xi8>) -> tensor<4x8xi32>" in text.as_text()


@pytest.mark.parametrize("name", ["int8_groups", "int4_weights_bfloat16", "e4m3", "e5m2_by_e4m3"])
def test_one_export_holds_three_platforms(name):
    x, w, w_scale, options = case(name)
    run = jax.jit(lambda x, w: quantized_matmul(x, w, w_scale, **options))
    exported = jax.export.export(run, platforms=("cpu", "tpu", "cuda"))(x, w)
    np.testing.assert_allclose(np.float32(exported.call(x, w)), np.float32(run(x, w)), rtol=1e-6)


@pytest.mark.parametrize(("wheel", "device"), [("libtpu", deviceless.tpu), ("jax_cuda13_plugin", deviceless.hopper)])
@pytest.mark.parametrize("name", ["int8_groups", "int4_weights_bfloat16", "e4m3", "e5m2_by_e4m3"])
def test_compiles_for_accelerators(name, wheel, device):
    pytest.importorskip(wheel)
    m, k, n, x, w, groups = TINY[name]
    shapes = ((m, k), x), ((k, n), w), ((groups, n), "float32"), ((m, groups), "float32")
    sharding = device()
    args = [jax.ShapeDtypeStruct(shape, dtype, sharding=sharding) for shape, dtype in shapes]
    jax.jit(lambda x, w, s, t: quantized_matmul(x, w, s, x_scale=t)).lower(*args).compile()


def test_explain_and_one_trace():
    x, w, w_scale = draw(5, 24), draw(24, 7, dtype="int8"), scale(7)
    (op,) = explain(quantized_matmul, x, w, w_scale)
    assert (op.op, op.operations) == ("quantized_matmul", 2 * 5 * 24 * 7)
    quantized_matmul(x, w, w_scale)
    before = _quantized_matmul._cache_size()
    quantized_matmul(x + 1, w, w_scale)
    assert _quantized_matmul._cache_size() == before


@pytest.mark.parametrize(
    ("x", "w", "options", "error", "message"),
    [
        ("float32", "float32", {}, TypeError, "w: expected dtype int4, int8, float8_e4m3fn, float8_e5m2, got float32"),
        ("float32", "uint8", {}, TypeError, "w: expected dtype int4"),
        ("int32", "int8", {}, TypeError, "x: expected dtype .* to go with w's int8, got int32"),
        ("float8_e4m3fn", "int8", {}, TypeError, "x: expected dtype .* got float8_e4m3fn"),
        ("int8", "int8", {"w_scale": np.int32(1)}, TypeError, "w_scale: expected dtype"),
        ("int8", "int8", {"w_scale": np.ones(5)}, ValueError, r"w_scale: expected \(\), \(7,\) or \(groups, 7\), got"),
        ("int8", "int8", {"w_scale": np.ones((5, 7))}, ValueError, "a number of groups that divides k = 24, got 5"),
        ("int8", "int8", {"x_scale": np.ones(4)}, ValueError, r"x_scale: expected \(\), \(5,\) or \(5, groups\), got"),
        (
            "int8",
            "int8",
            {"w_scale": np.ones((3, 7)), "x_scale": np.ones((5, 2))},
            ValueError,
            "1 or 3 groups .* got 2",
        ),
        ("int8", "int8", {"implementation": "cudnn"}, ValueError, "implementation: expected None, 'xla'"),
    ],
)
def test_errors_name_the_argument(x, w, options, error, message):
    options = {"w_scale": np.ones(7), **options}
    with pytest.raises(error, match=message):
        quantized_matmul(jnp.ones((5, 24), x), jnp.ones((24, 7), w), **options)


def test_two_int4_weights_lie_in_a_byte():
    shapes = [((16, 64), jnp.float32), ((64, 32), jnp.int4), ((32,), jnp.float32)]
    (op,) = explain(quantized_matmul, *(jax.ShapeDtypeStruct(*shape) for shape in shapes))
    of_scales = 4 * (16 + 32)  # one for every row and one for every column
    assert op.bytes == 4 * 16 * 64 + 64 * 32 // 2 + of_scales + 4 * 16 * 32
