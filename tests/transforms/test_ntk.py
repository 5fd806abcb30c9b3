"""The empirical kernel against Jacobians contracted one pair at a time, and against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.transforms import ntk


def draw(rng, *shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def network(params, x):
    return jnp.tanh(x @ params["w"][0]) @ params["w"][1] + params["b"]


@pytest.fixture(scope="module")
def setting():
    """Parameters and two batches: 3 features, 4 hidden units, 2 outputs."""
    rng = np.random.default_rng(0)
    return {"w": (draw(rng, 3, 4), draw(rng, 4, 2)), "b": draw(rng, 2)}, draw(rng, 5, 3), draw(rng, 3, 3)


def reference(apply, params, x1, x2):
    """[n, m, *s, *s]: each entry an inner product of two gradients, one scalar output at a time."""

    def gradients(x):
        rows = jax.jacrev(lambda p: apply(p, x).ravel())(params)
        return np.concatenate([np.float64(leaf).reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(rows)], 1)

    shape = jax.eval_shape(apply, params, x1[0]).shape * 2
    return np.stack([[(gradients(a) @ gradients(b).T).reshape(shape) for b in x2] for a in x1])


@pytest.mark.parametrize("chunk", [None, 1, 2, 100])
@pytest.mark.parametrize("impl", ["jacobian", "vjp"])
def test_both_implementations_equal_pairwise_gradients(setting, impl, chunk):
    params, x1, x2 = setting
    theta = jax.jit(ntk(network, impl=impl, chunk=chunk))(params, x1, x2)
    assert theta.shape == (5, 3, 2, 2)
    np.testing.assert_allclose(theta, reference(network, params, x1, x2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("impl", ["jacobian", "vjp"])
def test_trace_is_the_sum_of_the_diagonal(setting, impl):
    params, x1, x2 = setting
    want = np.trace(reference(network, params, x1, x2), axis1=2, axis2=3)
    theta = ntk(network, impl=impl, trace=True, chunk=2)(params, x1, x2)
    np.testing.assert_allclose(theta, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("impl", ["jacobian", "vjp"])
def test_linear_model_has_its_closed_form(impl):
    # f(x) = W x: the kernel is <x, x'> times the identity, whatever W is.
    rng = np.random.default_rng(1)
    x1, x2 = jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray(rng.normal(size=(2, 3)))
    theta = ntk(lambda w, x: w @ x, impl=impl)(jnp.ones((2, 3)), x1, x2)
    np.testing.assert_allclose(theta, np.einsum("nm,ab->nmab", x1 @ x2.T, np.eye(2)), atol=1e-6)


@pytest.mark.parametrize("impl", ["jacobian", "vjp"])
def test_scalar_output_gives_a_matrix_and_x2_defaults_to_x1(setting, impl):
    params, x1, _ = setting

    def scalar(p, x):
        return network(p, x)[0]

    theta = ntk(scalar, impl=impl)(params, x1)
    assert theta.shape == (5, 5)
    np.testing.assert_allclose(theta, reference(scalar, params, x1, x1), rtol=1e-5, atol=1e-5)
    assert np.linalg.eigvalsh(theta).min() > -1e-5


@pytest.mark.parametrize("impl", ["jacobian", "vjp"])
def test_output_of_any_shape(setting, impl):
    params, x1, x2 = setting

    def table(p, x):
        return jnp.outer(network(p, x), x)

    theta = ntk(table, impl=impl)(params, x1[:2], x2[:1])
    assert theta.shape == (2, 1, 2, 3, 2, 3)
    np.testing.assert_allclose(theta, reference(table, params, x1[:2], x2[:1]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("impl", ["jacobian", "vjp"])
def test_inputs_may_be_pytrees(setting, impl):
    params, x1, x2 = setting

    def halves(x):
        return {"left": x[:, :1], "right": x[:, 1:]}

    def joined(p, x):
        return network(p, jnp.concatenate([x["left"], x["right"]]))

    theta = ntk(joined, impl=impl)(params, halves(x1), halves(x2))
    np.testing.assert_allclose(theta, ntk(network)(params, x1, x2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("impl", ["jacobian", "vjp"])
def test_vmap_over_parameters_equals_a_loop(setting, impl):
    params, x1, x2 = setting
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf, -leaf]), params)
    kernel = ntk(network, impl=impl, chunk=2)
    batched = jax.vmap(kernel, (0, None, None))(many, x1, x2)
    for i in range(3):
        one = kernel(jax.tree.map(lambda leaf, i=i: leaf[i], many), x1, x2)
        np.testing.assert_allclose(batched[i], one, rtol=1e-5, atol=1e-5)


def test_the_kernel_can_be_differentiated(setting):
    params, x1, _ = setting
    grads = [jax.grad(lambda p, i=i: ntk(network, impl=i)(p, x1).sum())(params) for i in ("jacobian", "vjp")]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *grads)


@pytest.mark.parametrize("impl", ["jacobian", "vjp"])
def test_bfloat16_parameters_give_a_float32_kernel(setting, impl):
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), setting)
    theta = ntk(network, impl=impl)(*half)
    assert theta.dtype == jnp.float32
    want = ntk(network)(*jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half))
    np.testing.assert_allclose(theta, want, rtol=0.05, atol=0.05)


def test_bfloat16_jacobians_are_summed_in_float32():
    # The gradient of <w, x> is x: the kernel counts 4097 ones, which bfloat16 can't tell from 4096.
    x = jnp.ones((1, 4097), jnp.bfloat16)
    assert ntk(jnp.dot)(x[0], x) == 4097


@pytest.mark.parametrize("impl", ["jacobian", "vjp"])
def test_second_call_does_not_retrace(setting, impl):
    params, x1, x2 = setting
    traces = []

    def counted(p, x):
        traces.append(1)
        return network(p, x)

    kernel = jax.jit(ntk(counted, impl=impl, chunk=2))
    kernel(params, x1, x2)
    before = len(traces)
    kernel(params, x1 + 1, x2)
    assert len(traces) == before


def test_vjp_form_never_holds_a_batch_of_jacobians():
    # 64 examples, 2 outputs, 64 x 64 weights: the Jacobian of the batch has 524,288 numbers, of one example 8,192.
    w, x = jnp.ones((64, 64)), jnp.ones((64, 64))

    def apply(w, x):
        return jnp.tanh(w @ x)[:2]

    def largest(impl):
        jaxpr = jax.make_jaxpr(ntk(apply, impl=impl))(w, x).jaxpr
        return max(_sizes(jaxpr))

    assert largest("jacobian") >= 64 * 2 * 64 * 64
    assert largest("vjp") < 64 * 2 * 64 * 64


def _sizes(jaxpr):
    for eqn in jaxpr.eqns:
        yield from (v.aval.size for v in eqn.outvars)
        for inner in jax.tree.leaves(eqn.params, is_leaf=lambda p: hasattr(p, "jaxpr") or hasattr(p, "eqns")):
            if hasattr(inner, "jaxpr") or hasattr(inner, "eqns"):
                yield from _sizes(getattr(inner, "jaxpr", inner))


def test_wrong_arguments_are_named(setting):
    params, x1, _ = setting
    with pytest.raises(ValueError, match='impl: expected "jacobian" or "vjp", got \'fast\''):
        ntk(network, impl="fast")
    with pytest.raises(ValueError, match="chunk: expected at least 1 example, got 0"):
        ntk(network, chunk=0)
    with pytest.raises(ValueError, match="x2: expected arrays with one common leading axis"):
        ntk(network)(params, x1, jnp.zeros((0, 3)))
    with pytest.raises(ValueError, match="x1: expected arrays with one common leading axis"):
        ntk(network)(params, {"a": jnp.zeros((2, 3)), "b": jnp.zeros((3, 3))})
    with pytest.raises(ValueError, match="apply: expected one array as output"):
        ntk(lambda p, x: (network(p, x), x))(params, x1)
