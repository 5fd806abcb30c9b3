"""Masks, and transforms on top of each other: the kernel of a pruned, linearised, batched network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.layers import MLP
from jaxzoo.transforms import as_model, in_subspace, linearize, masked, ntk

MODEL = as_model(MLP((4, 2), activation=jnp.tanh))
X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3)), jnp.float32)


@pytest.fixture(scope="module")
def setting():
    """Parameters and a mask that keeps about half of them."""
    params = MODEL.init(jax.random.key(0), X[0])
    rng = np.random.default_rng(1)
    return params, jax.tree.map(lambda p: jnp.asarray(rng.random(p.shape) < 0.5), params)


def multiply(params, mask):
    return jax.tree.map(jnp.multiply, params, mask)


def test_it_is_the_model_at_the_masked_parameters(setting):
    params, mask = setting
    apply = jax.jit(masked(MODEL.apply, mask))
    np.testing.assert_allclose(apply(params, X[0]), MODEL.apply(multiply(params, mask), X[0]), rtol=1e-6)


def test_no_gradient_reaches_what_is_removed(setting):
    params, mask = setting
    gradient = jax.grad(lambda p: masked(MODEL.apply, mask)(p, X[0]).sum())(params)
    want = multiply(jax.grad(lambda p: MODEL.apply(p, X[0]).sum())(multiply(params, mask)), mask)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), gradient, want)


def test_all_ones_change_nothing_and_factors_scale(setting):
    params, _ = setting
    ones, halves = (jax.tree.map(lambda p, v=v: jnp.full_like(p, v), params) for v in (1.0, 0.5))
    np.testing.assert_array_equal(masked(MODEL.apply, ones)(params, X[0]), MODEL.apply(params, X[0]))
    scaled = jax.tree.map(lambda p: p / 2, params)
    np.testing.assert_allclose(masked(MODEL.apply, halves)(params, X[0]), MODEL.apply(scaled, X[0]), rtol=1e-6)


def test_parameters_keep_their_dtype(setting):
    params, mask = setting
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    assert masked(MODEL.apply, mask)(half, X[0].astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_another_structure_or_shape_is_refused(setting):
    params, mask = setting
    with pytest.raises(ValueError, match=r"mask\['dense_1'\]\['bias'\]: expected shape \(2,\), got no such leaf"):
        masked(MODEL.apply, {"dense_0": mask["dense_0"]})(params, X[0])
    wrong = {**mask, "dense_1": {"kernel": jnp.ones((4, 2)), "bias": jnp.ones(())}}
    with pytest.raises(ValueError, match=r"mask\['dense_1'\]\['bias'\]: expected shape \(2,\), got shape \(\)"):
        masked(MODEL.apply, wrong)(params, X[0])


@pytest.mark.parametrize("impl", ["jacobian", "vjp"])
def test_the_kernel_of_a_masked_model_under_vmap(setting, impl):
    params, mask = setting
    masks = jax.tree.map(lambda m: jnp.stack([m, ~m]), mask)

    def kernel(mask, params):
        return ntk(masked(MODEL.apply, mask), impl=impl)(params, X)

    batched = jax.jit(jax.vmap(kernel, (0, None)))(masks, params)
    for i in range(2):
        one = jax.tree.map(lambda m, i=i: m[i], masks)
        jacobian = jax.vmap(jax.jacrev(MODEL.apply), (None, 0))(multiply(params, one), X)  # leaves [n, k, ...]
        rows = [
            (j * m[None, None]).reshape(3, 2, -1) for j, m in zip(*map(jax.tree.leaves, (jacobian, one)), strict=True)
        ]
        want = sum(np.einsum("nap,mbp->nmab", row, row) for row in rows)
        np.testing.assert_allclose(batched[i], want, rtol=1e-4, atol=1e-5)


def test_transforms_stack(setting):
    params, mask = setting
    pruned = masked(MODEL.apply, mask)
    tangent = linearize(pruned, params)
    np.testing.assert_allclose(ntk(tangent)(params, X), ntk(pruned)(params, X), rtol=1e-4, atol=1e-5)
    subspace = in_subspace(pruned, params, jax.random.key(1), 4)
    theta = ntk(subspace.apply)(jnp.zeros(4), X)
    # The kernel of the subspace is that of the whole, projected: never larger.
    assert (
        np.trace(theta, axis1=2, axis2=3).diagonal() <= np.trace(ntk(pruned)(params, X), axis1=2, axis2=3).diagonal()
    ).all()
