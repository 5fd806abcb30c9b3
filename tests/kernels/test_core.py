"""The op primitive on a toy op, y = x * w: derivatives, batching, the choice of an implementation, sharding, export."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import explain
from jaxzoo_kernels._core import Kernel, Op, compat, relative_rms


def run_on_tpu(x, w):
    def body(x_ref, w_ref, y_ref):
        y_ref[...] = x_ref[...] * w_ref[...]

    return [pl.pallas_call(body, out_shape=compat.output(x))(x, jnp.broadcast_to(w, x.shape))]


def refuse(x, w):
    return "x: channels must be a multiple of 128" if x.shape[-1] % 128 else None


product_tpu = Kernel(run_on_tpu, refuse, lambda x, w: {"rows": x.shape[0]})


def product_jvp(primals, tangents, *, implementation):
    (x, w), (dx, dw) = primals, tangents
    terms = [product(dx, w, implementation=implementation)[0]] if dx is not None else []
    terms += [x * dw] if dw is not None else []
    return product(x, w, implementation=implementation), [sum(terms)]


def product_transpose(cotangents, operands, *, implementation):
    (ct,), (x, w) = cotangents, operands
    assert x is None
    assert w is not None
    return [None if ct is None else product(ct, w, implementation=implementation)[0], None]


product = Op(
    "toy_product",
    xla=lambda x, w: [x * w],
    shapes=lambda x, w: [x],
    operations=lambda x, w: x.size,
    kernels={"pallas_tpu": f"{__name__}:product_tpu", "pallas_gpu": "jaxzoo_kernels.no_such_module:nothing"},
    jvp=product_jvp,
    transpose=product_transpose,
    shared=(1,),
)
X = jnp.arange(8 * 128.0).reshape(8, 128) / 100
W = jnp.full((1, 128), 2.0)


def multiply(x, w, implementation=None):
    return product(x, w, implementation=implementation)[0]


def lowered(platform, function, *args):
    return jax.jit(function).trace(*args).lower(lowering_platforms=(platform,)).as_text()


def test_derivatives_of_three_orders_match_plain_jax():
    cube, plain = (lambda w: (multiply(X, w) ** 3).sum()), (lambda w: ((X * w) ** 3).sum())
    for order in (1, 2, 3):
        cube, plain = (jax.grad(lambda w, f=f: f(w).sum()) for f in (cube, plain))
        np.testing.assert_allclose(cube(W), plain(W), rtol=1e-5, err_msg=f"order {order}")


def test_linear_transpose_and_forward_mode():
    (back,) = jax.linear_transpose(lambda x: multiply(x, W), X)(X)
    np.testing.assert_allclose(back, X * W)
    _, tangent = jax.jvp(multiply, (X, W), (X, W))
    np.testing.assert_allclose(tangent, 2 * X * W)


@pytest.mark.parametrize(("x_axis", "w_axis"), [(0, None), (2, 0), (None, 1)])
def test_vmap_merges_any_axis(x_axis, w_axis):
    x = X if x_axis is None else jnp.stack([X, -X, 3 * X], x_axis)
    w = W if w_axis is None else jnp.stack([W, -W, 3 * W], w_axis)
    got = jax.vmap(multiply, (x_axis, w_axis))(x, w)
    np.testing.assert_allclose(got, jax.vmap(lambda x, w: x * w, (x_axis, w_axis))(x, w))


def test_a_shared_operand_is_not_repeated_by_vmap():
    jaxpr = jax.make_jaxpr(jax.vmap(multiply, (0, None)))(jnp.stack([X, X]), W)
    (eqn,) = (eqn for eqn in jaxpr.eqns if eqn.primitive is product.primitive)
    assert [v.aval.shape for v in eqn.invars] == [(16, 128), (1, 128)]


def test_each_platform_gets_its_own_lowering():
    assert "tpu_custom_call" in lowered("tpu", multiply, X, W)
    assert "custom_call" not in lowered("cpu", multiply, X, W)
    assert "custom_call" not in lowered("tpu", multiply, X[:, :100], W[:, :100])


def test_one_export_serves_three_platforms():
    exported = jax.export.export(jax.jit(multiply), platforms=("cpu", "tpu", "cuda"))(X, W)
    assert "tpu_custom_call" in exported.mlir_module()
    np.testing.assert_allclose(exported.call(X, W), X * W)


def test_a_named_implementation_that_cannot_run_says_why():
    with pytest.raises(NotImplementedError, match="runs on tpu alone and the program is being compiled for cpu"):
        multiply(X, W, "pallas_tpu")
    with pytest.raises(NotImplementedError, match="multiple of 128"):
        lowered("tpu", lambda x, w: multiply(x, w, "pallas_tpu"), X[:, :100], W[:, :100])
    with pytest.raises(NotImplementedError, match="no_such_module can't be imported"):
        lowered("cuda", lambda x, w: multiply(x, w, "pallas_gpu"), X, W)
    with pytest.raises(ValueError, match="expected None, 'xla', 'pallas_tpu', 'pallas_gpu', got 'fast'"):
        multiply(X, W, "fast")


def test_a_name_without_a_kernel_stands_for_the_lax_form():
    op = Op(
        "toy_stand_in", xla=lambda x: [x], shapes=lambda x: [x], operations=lambda x: 0, kernels={"pallas_tpu": None}
    )
    np.testing.assert_array_equal(op(X, implementation="pallas_tpu")[0], X)
    (told,) = explain(lambda x: op(x)[0], X)
    assert (told.choices["tpu"], told.refusals, told.blocks) == ("xla", {}, {})


def test_explain_names_the_choice_the_floor_and_the_blocks():
    first, *rest = explain(jax.grad(lambda x: (multiply(x, W) ** 2).sum()), X)
    assert first.op == "toy_product"
    assert first.choices == {"cpu": "xla", "cuda": "xla", "tpu": "pallas_tpu"}
    assert (first.operations, first.bytes) == (8 * 128, 4 * (2 * 8 * 128 + 128))
    assert first.blocks == {"pallas_tpu": {"rows": 8}}
    assert "no_such_module" in first.refusals["pallas_gpu"]
    assert [e.op for e in rest] == ["toy_product"]


@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map(check_vma):
    mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Auto,))
    sharded = jax.shard_map(multiply, mesh=mesh, in_specs=(P("x"), P()), out_specs=P("x"), check_vma=check_vma)
    np.testing.assert_allclose(jax.jit(sharded)(X, W), X * W)
    assert "tpu_custom_call" in lowered("tpu", sharded, X, W)


def test_shard_map_sums_the_gradient_of_what_is_replicated():
    mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Auto,))
    gradient = jax.grad(lambda w, x: multiply(x, w).sum())
    sharded = jax.shard_map(gradient, mesh=mesh, in_specs=(P(), P("x")), out_specs=P())
    np.testing.assert_allclose(jax.jit(sharded)(W, X), X.sum(0, keepdims=True), rtol=1e-6)


def test_explicit_mesh_axes_are_gathered_and_differentiable():
    mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Explicit,))
    x = jax.device_put(X, NamedSharding(mesh, P("x")))
    w = jax.device_put(W, NamedSharding(mesh, P()))
    gradient = jax.jit(jax.grad(lambda x, w: multiply(x, w).sum()))(x, w)
    np.testing.assert_allclose(gradient, jnp.broadcast_to(W, X.shape))
    assert gradient.sharding.spec == P("x", None)


def test_eager_calls_compile_once():
    multiply(X, W)
    before = product._compiled._cache_size()
    multiply(X + 1, W)
    assert product._compiled._cache_size() == before


@pytest.mark.parametrize(
    ("got", "reference", "error"),
    [([3.0, 4.0], [3.0, 4.0], 0.0), ([3.0, 4.5], [3.0, 4.0], 0.1), ([0.0], [0.0], 0.0), ([1.0], [0.0], np.inf)],
)
def test_relative_rms(got, reference, error):
    assert relative_rms(np.float32(got), np.float64(reference)) == pytest.approx(error)


def test_relative_rms_of_a_nan_is_infinite():
    assert relative_rms(np.float32([np.nan, 1]), np.ones(2)) == np.inf
