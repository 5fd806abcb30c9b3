"""third_order_attention against every triple at once, in float64: values, lse and derivatives of two orders."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import attention
from jaxzoo_kernels import third_order_attention as public
from jaxzoo_kernels._core import relative_rms
from jaxzoo_kernels.third_order_attention.reference import third_order_attention as reference
from jaxzoo_kernels.third_order_attention.shapes import TINY

module = importlib.import_module("jaxzoo_kernels.third_order_attention")


def operands(lead=(TINY.b,), t=TINY.t, s1=TINY.s1, s2=TINY.s2, h=TINY.h, d=TINY.d, d_v=TINY.d_v, dtype="float32"):
    rng = np.random.default_rng(0)
    shapes = [(t, h, d), (s1, h, d), (s2, h, d), (s1, h, d_v), (s2, h, d_v)]
    return [jnp.asarray(rng.normal(size=(*lead, *shape)), dtype) for shape in shapes]


def booleans(*shape):
    return jnp.asarray(np.random.default_rng(1).random(shape) > 0.4)


def value_and_gradients(function, args, **options):
    def loss(*args):
        o, lse = function(*args, return_lse=True, **options)
        seen = jnp.where(jnp.isfinite(lse), lse, 0)
        return jnp.sum(jnp.sin(o.astype(lse.dtype))) + jnp.sum(jnp.cos(seen)), (o, lse)

    cts, (o, lse) = jax.jit(jax.grad(loss, tuple(range(5)), has_aux=True))(*args)
    return [o, lse, *cts]


def compare(args, bound=2e-6, **options):
    got = value_and_gradients(public, args, **options)
    with jax.enable_x64(True):
        want = value_and_gradients(reference, [x.astype(jnp.float64) for x in args], **options)
    for position, (x, y) in enumerate(zip(got, want, strict=True)):
        x, y = np.float64(x), np.asarray(y)
        np.testing.assert_array_equal(np.isneginf(x), np.isneginf(y))
        error = relative_rms(np.where(np.isneginf(x), 0, x), np.where(np.isneginf(y), 0, y))
        assert error < bound, f"output {position}: {error}"


FEATURES = {
    "plain": {},
    "scale": {"scale": 0.2},
    "first keys masked": {"mask1": booleans(TINY.b, 1, TINY.t, TINY.s1)},
    "padded first keys": {"mask1": jnp.arange(TINY.s1) < 4},
    "second keys masked by head": {"mask2": booleans(TINY.h, TINY.t, TINY.s2)},
    "both": {"mask1": booleans(TINY.h, 1, TINY.s1), "mask2": booleans(TINY.t, TINY.s2)},
    "queries that see nothing": {"mask1": (jnp.arange(TINY.t) != 2)[:, None]},
}


@pytest.mark.parametrize("options", FEATURES.values(), ids=FEATURES)
def test_options_match_the_reference(options):
    compare(operands(), **options)


@pytest.mark.parametrize(("t", "s1", "s2"), [(1, 1, 1), (7, 7, 7), (13, 1, 5), (1, 63, 2), (5, 0, 4), (5, 4, 0)])
def test_lengths(t, s1, s2):
    compare(operands((), t, s1, s2, 1))


@pytest.mark.parametrize("largest", [1, 100, 400])
@pytest.mark.parametrize("options", [{}, {"mask1": booleans(1, TINY.t, TINY.s1)}], ids=["plain", "masked"])
def test_blocks_of_first_keys_do_not_change_the_result(monkeypatch, largest, options):
    jax.clear_caches()
    monkeypatch.setattr(module, "LARGEST", largest)
    compare(operands(), **options)
    jax.clear_caches()


def test_causal():
    compare(operands((), 9, 9, 9, 2), causal=True)


def test_a_later_key_changes_nothing_before_it():
    args = operands((), 9, 9, 9, 2)
    out = public(*args, causal=True)
    for position in range(1, 5):
        later = list(args)
        later[position] = args[position].at[6:].add(1.0)
        np.testing.assert_array_equal(public(*later, causal=True)[:6], out[:6])
        assert not np.allclose(public(*later, causal=True)[6:], out[6:])


def test_one_first_key_of_ones_is_ordinary_attention():
    q, _, k, _, v = operands((), 6, 1, 9, 2)
    ones = jnp.ones((1, 2, q.shape[-1])), jnp.ones((1, 2, v.shape[-1]))
    np.testing.assert_allclose(public(q, ones[0], k, ones[1], v), attention(q, k, v), atol=1e-6)


def test_exchanging_first_and_second_changes_nothing():
    q, k1, k2, v1, v2 = operands()
    np.testing.assert_allclose(public(q, k1, k2, v1, v2), public(q, k2, k1, v2, v1), atol=1e-6)


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 5e-3), ("float16", 1e-3)])
def test_sixteen_bits(dtype, bound):
    args = operands((), 24, 24, 24, 2, 16, 16, dtype)
    got = public(*args)
    assert got.dtype == dtype
    with jax.enable_x64(True):
        want = reference(*(x.astype(jnp.float64) for x in args))
    assert relative_rms(np.float32(got), np.asarray(want)) < bound


def test_float64_keeps_its_precision():
    with jax.enable_x64(True):
        args = operands(dtype="float64")
        for x, y in zip(value_and_gradients(public, args), value_and_gradients(reference, args), strict=True):
            assert x.dtype == jnp.float64
            assert relative_rms(x, np.asarray(y)) < 1e-13


@pytest.mark.parametrize("order", ["forward over reverse", "reverse over reverse"])
def test_second_derivatives(order):
    with jax.enable_x64(True):
        args = operands((), 3, 3, 4, 1, 2, 2, "float64")

        def hessian(function):
            loss = lambda q, k1: jnp.sum(jnp.sin(function(q, k1, *args[2:])))  # noqa: E731
            return (jax.hessian if order.startswith("forward") else lambda f: jax.jacrev(jax.grad(f)))(loss)(*args[:2])

        np.testing.assert_allclose(hessian(public), hessian(reference), atol=1e-12)


def test_vmap_and_remat():
    args = operands((3,))
    want = public(*args)
    np.testing.assert_allclose(jax.vmap(public)(*args), want, atol=1e-6)
    shared = jax.vmap(public, (0, None, 0, None, 0))(args[0], args[1][0], args[2], args[3][0], args[4])
    np.testing.assert_allclose(shared[0], want[0], atol=1e-6)
    grad = jax.grad(lambda q: jnp.sum(public(q, *args[1:]) ** 2))
    rematted = jax.grad(lambda q: jnp.sum(jax.checkpoint(public)(q, *args[1:]) ** 2))
    np.testing.assert_allclose(rematted(args[0]), grad(args[0]), atol=1e-6)


@pytest.mark.parametrize("check_vma", [True, False])
def test_sharded_over_examples(check_vma):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    args = operands((2,))
    sharded = jax.shard_map(public, mesh=mesh, in_specs=P("data"), out_specs=P("data"), check_vma=check_vma)
    np.testing.assert_allclose(jax.jit(sharded)(*args), public(*args), atol=1e-6)


def test_no_array_of_all_triples():
    args = [jax.ShapeDtypeStruct((1, 256, 1, 8), jnp.float32)] * 5
    compiled = jax.jit(jax.grad(lambda *args: jnp.sum(public(*args)), tuple(range(5)))).lower(*args).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * 256**3


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lowers(platform, dtype):
    args = [jax.ShapeDtypeStruct((1, 64, 2, 64), dtype)] * 5
    grad = jax.grad(lambda *args: jnp.sum(public(*args).astype(jnp.float32)), tuple(range(5)))
    text = jax.jit(grad).trace(*args).lower(lowering_platforms=(platform,)).as_text()
    assert ("tpu_custom_call" in text) == (platform == "tpu")


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"k2": lambda x: x[..., :-1]}, ValueError, "k2: expected"),
        ({"v1": lambda x: x[:, :-1]}, ValueError, "v1: expected"),
        ({"v2": lambda x: x[..., :-1]}, ValueError, "v2: expected v1's 3 features"),
        ({"k1": lambda x: x.astype(jnp.bfloat16)}, TypeError, "k1: expected q's dtype"),
        ({"q": lambda x: x.astype(int)}, TypeError, "q: expected"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, match):
    args = dict(zip(("q", "k1", "k2", "v1", "v2"), operands(), strict=True))
    with pytest.raises(error, match=match):
        public(**args | {name: f(args[name]) for name, f in change.items()})


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(TypeError, match="mask1: expected booleans"):
        public(*operands(), mask1=jnp.zeros(TINY.s1))
    with pytest.raises(ValueError, match="mask2: expected"):
        public(*operands(), mask2=jnp.ones((TINY.t, TINY.s2 + 1), bool))
