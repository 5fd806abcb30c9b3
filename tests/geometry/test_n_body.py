"""Charged particles: forces by hand, what motion conserves, against NumPy in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.geometry.body_networks import Messages, egnn, gnn, pair_features
from jaxzoo.geometry.n_body import MAX_FORCE, Bodies, coulomb_forces, nbody_charged, nbody_start
from jaxzoo.transforms import as_model


def test_forces_by_hand():
    x = jnp.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    np.testing.assert_allclose(coulomb_forces(x, jnp.array([1.0, 1.0])), [[-0.25, 0, 0], [0.25, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(coulomb_forces(x, jnp.array([1.0, -1.0])), [[0.25, 0, 0], [-0.25, 0, 0]], rtol=1e-6)
    near = coulomb_forces(x * 1e-3, jnp.array([1.0, 1.0]))
    np.testing.assert_allclose(near[:, 0], [-MAX_FORCE, MAX_FORCE])


def test_forces_against_a_loop():
    bodies = nbody_start(jax.random.key(0), 5)
    x, q = np.asarray(bodies.x, np.float64), np.asarray(bodies.q, np.float64)
    expected = np.zeros((5, 3))
    for i in range(5):
        for j in range(5):
            if i != j:
                expected[i] += q[i] * q[j] * (x[i] - x[j]) / np.linalg.norm(x[i] - x[j]) ** 3
    np.testing.assert_allclose(coulomb_forces(bodies.x, bodies.q), expected, rtol=1e-4, atol=1e-4)


def test_systems_start_as_the_paper_says():
    bodies = jax.vmap(nbody_start)(jax.random.split(jax.random.key(0), 500))
    np.testing.assert_allclose(jnp.linalg.norm(bodies.v, axis=-1), 0.5, rtol=1e-5)
    assert set(np.unique(bodies.q)) == {-1.0, 1.0}
    assert abs(float(bodies.q.mean())) < 0.06
    np.testing.assert_allclose(bodies.x.std(), 1, rtol=0.03)


def energy(bodies):
    apart = np.linalg.norm(bodies.x[:, None] - bodies.x[None], axis=-1)
    i, j = np.triu_indices(len(bodies.q), 1)
    return 0.5 * np.square(bodies.v).sum() + (bodies.q[i] * bodies.q[j] / apart[i, j]).sum()


def test_momentum_and_energy_are_conserved_and_the_motion_is_that_of_numpy():
    key = jax.random.key(4)
    start = jax.tree.map(lambda a: np.asarray(a, np.float64), nbody_start(jax.random.clone(key), 4))
    states = nbody_charged(key, 4, 600, every=200)
    end = jax.tree.map(lambda a: np.asarray(a[-1], np.float64), states)
    np.testing.assert_allclose(end.v.sum(0), start.v.sum(0), atol=1e-4)
    np.testing.assert_allclose(energy(end), energy(start), rtol=1e-2)
    x, v, q = start
    for _ in range(600):
        apart = x[:, None] - x[None]
        cube = np.linalg.norm(apart, axis=-1) ** 3 + np.eye(4)
        v = v + 0.001 * ((q[:, None] * q[None] / cube)[..., None] * apart).sum(1)
        x = x + 0.001 * v
    np.testing.assert_allclose(end.x, x, atol=1e-3)
    np.testing.assert_array_equal(states.q, np.tile(np.asarray(start.q, np.float32), (3, 1)))


def test_steps_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="steps: expected a multiple of every = 100, got 250"):
        nbody_charged(jax.random.key(0), 5, 250, every=100)


def test_messages_against_a_loop():
    layer = as_model(Messages(4))
    h, edges = jax.random.normal(jax.random.key(0), (3, 4)), jax.random.normal(jax.random.key(1), (3, 3, 2))
    p = layer.init(jax.random.key(2), h, edges)
    out, messages = layer.apply(p, h, edges)
    for i in range(3):
        total = 0.0
        for j in range(3):
            m = jax.nn.silu(jnp.concatenate([h[i], h[j], edges[i, j]]) @ p["first"] + p["bias"])
            m = jax.nn.silu(m @ p["message"]["kernel"] + p["message"]["bias"]) * (i != j)
            np.testing.assert_allclose(messages[i, j], m, atol=1e-5)
            total = total + m
        u = p["update"]
        hidden = jax.nn.silu(jnp.concatenate([h[i], total]) @ u["dense_0"]["kernel"] + u["dense_0"]["bias"])
        np.testing.assert_allclose(out[i], h[i] + hidden @ u["dense_1"]["kernel"] + u["dense_1"]["bias"], atol=1e-5)


def moved(bodies, g, t):
    return Bodies(bodies.x @ g.T + t[None], bodies.v @ g.T, bodies.q)


def test_egnn_moves_with_the_bodies_and_begins_near_straight_lines():
    bodies = nbody_start(jax.random.key(0), 5)
    model = egnn(width=8, layers=2)
    params, apply = model.init(jax.random.key(1), bodies), jax.jit(model.apply)
    g, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    g, t = g.astype(np.float32), np.array([1.0, -2.0, 0.5], np.float32)
    y = apply(params, bodies)
    np.testing.assert_allclose(apply(params, moved(bodies, g, t)), y @ g.T + t[None], atol=1e-4)
    step = np.asarray(y - bodies.x)
    along = (step * bodies.v).sum(1, keepdims=True) / 0.25 * bodies.v
    np.testing.assert_allclose(step, along, atol=0.05)


def test_permuted_bodies_have_permuted_predictions():
    bodies, order = nbody_start(jax.random.key(0), 5), np.array([3, 1, 4, 0, 2])
    for model in (gnn(width=6, layers=2), egnn(width=6, layers=2)):
        params = model.init(jax.random.key(1), bodies)
        y = model.apply(params, jax.tree.map(lambda a: a[order], bodies))
        np.testing.assert_allclose(y, model.apply(params, bodies)[order], atol=1e-5)


def test_pair_features():
    x, q = jnp.array([[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]]), jnp.array([1.0, -1.0])
    np.testing.assert_allclose(pair_features(x, q), [[[1, 0], [-1, 25]], [[-1, 25], [1, 0]]])
