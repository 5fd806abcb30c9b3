"""Scores by gradients against differences in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxzoo.compression.scores import grasp, magnitude, snip, taylor


def problem():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(3, 4)), rng.normal(size=(4, 2))]
    batches = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 2))
    return jax.tree.map(jnp.asarray, (weights, batches))


def loss(weights, batch):
    x, y = batch
    return jnp.square(jnp.tanh(x @ weights[0]) @ weights[1] - y).mean()


def differences(weights, batch, h=1e-4):
    """Central differences of the loss by every weight."""
    out = []
    for i, w in enumerate(weights):
        column = np.zeros(w.shape)
        for place in np.ndindex(w.shape):
            up, down = ([*weights[:i], w.at[place].add(sign * h), *weights[i + 1 :]] for sign in (1, -1))
            column[place] = (LOSS(up, batch) - LOSS(down, batch)) / (2 * h)
        out.append(column)
    return out


LOSS = jax.jit(loss)


def test_snip_and_taylor_are_by_central_differences():
    with jax.enable_x64(True):
        weights, batches = problem()
        gradients = [differences(weights, jax.tree.map(lambda x, b=b: x[b], batches)) for b in range(2)]
        found = jax.jit(lambda w: (snip(loss, w, batches), taylor(loss, w, batches)))(weights)
        for layer, w in enumerate(weights):
            products = [np.asarray(w) * g[layer] for g in gradients]
            np.testing.assert_allclose(found[0][layer], np.mean(np.abs(products), 0), rtol=1e-3)
            np.testing.assert_allclose(found[1][layer], np.mean(np.square(products), 0), rtol=1e-3)


def test_grasp_is_by_the_hessian_of_the_mean_loss():
    with jax.enable_x64(True):
        weights, batches = problem()
        whole = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), batches)  # equal batches: means of means
        flat, restore = ravel_pytree(weights)
        of_flat = lambda v: loss(restore(v), whole)  # noqa: E731
        want = flat * jax.jit(lambda v: jax.hessian(of_flat)(v) @ jax.grad(of_flat)(v))(flat)
        found = jax.jit(lambda v: ravel_pytree(grasp(loss, restore(v), batches))[0])(flat)
        np.testing.assert_allclose(found, want, rtol=1e-9)


def test_magnitude_is_of_every_layer():
    jax.tree.map(np.testing.assert_array_equal, magnitude({"a": -jnp.ones(2)}), {"a": np.ones(2)})


def test_jit_and_vmap_over_networks():
    weights, batches = jax.tree.map(jnp.float32, problem())
    stacked = jax.tree.map(lambda w: jnp.stack([w, 2 * w]), weights)
    both = jax.jit(jax.vmap(lambda w: snip(loss, w, batches)))(stacked)
    for i in range(2):
        one = snip(loss, jax.tree.map(lambda w, i=i: w[i], stacked), batches)
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-6), both, one)
