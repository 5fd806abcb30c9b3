"""G-ACIL: its recursion with and without the label gain, its buffers, and the theorem along a stream."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.continual import analytic_learning as al
from jaxzoo.continual import recursive_ridge as rr
from jaxzoo.continual.streams import si_blurry_stream, stream_batches
from jaxzoo.continual.weight_invariance import follow_against, joint_ridge

GAMMA, D, C = 0.3, 20, 3


def stream(seed=0, n=60, k=6, dtype=np.float64):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, D)).astype(dtype), rng.integers(0, C, n)
    return x.reshape(k, -1, D), y.reshape(k, -1)


def joint(x, y):
    x, y = x.reshape(-1, D), np.eye(C)[y.ravel()]
    return np.linalg.solve(x.T @ x + GAMMA * np.eye(D), x.T @ y)


def test_fit_is_joint_ridge_and_masked_rows_do_not_count():
    with jax.enable_x64(True):
        x, y = stream()
        mask = np.ones(y.shape, bool)
        state = al.gacil_fit(x, y, mask, gamma=GAMMA, classes=C)
        np.testing.assert_allclose(state.W, joint(x, y), atol=1e-10)
        assert state.exposed.tolist() == [True] * C
        mask[2, 3:] = False
        np.testing.assert_allclose(
            al.gacil_fit(x, y, mask, gamma=GAMMA, classes=C).W, joint(x[mask], y[mask]), atol=1e-10
        )


def test_columns_appended_when_a_class_comes_equal_columns_that_were_there():
    """The paper's form in NumPy, W growing by the columns of new classes, against the one with static columns."""
    with jax.enable_x64(True):
        x, y = stream()
        y = np.sort(y.ravel()).reshape(y.shape)
        y[3, 0], y[5, 1] = 0, 1  # classes that come again
        R, W, known = np.eye(D) / GAMMA, np.zeros((D, 0)), []
        for x_k, y_k in zip(x, y, strict=True):
            R = R - R @ x_k.T @ np.linalg.inv(np.eye(len(x_k)) + x_k @ R @ x_k.T) @ x_k @ R
            new = sorted(set(y_k.tolist()) - set(known))
            bar = (y_k[:, None] == np.asarray(known, int)[None]).astype(float)
            til = (y_k[:, None] == np.asarray(new, int)[None]).astype(float)
            W = np.concatenate([W - R @ x_k.T @ x_k @ W + R @ x_k.T @ bar, R @ x_k.T @ til], axis=1)
            known += new
        assert known == [0, 1, 2]
        state = al.gacil_fit(x, y, np.ones(y.shape, bool), gamma=GAMMA, classes=C)
        np.testing.assert_allclose(state.W, W, atol=1e-10)
        np.testing.assert_allclose(state.R, R, atol=1e-10)


def test_update_is_the_recursion_of_ridge_and_the_gain_is_its_part_for_exposed_classes():
    with jax.enable_x64(True):
        (x, _), (y, _) = stream(k=2)
        y = jax.nn.one_hot(y, C, dtype=x.dtype)
        before = al.GACIL(*rr.rls_init(D, GAMMA, classes=C, dtype=x.dtype), jnp.array([True, False, True]))
        after = al.gacil_update(before, x, y)
        for found, expected in zip(after[:2], rr.rls_update(rr.RLS(*before[:2]), x, y), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-12)
        without = al.gacil_update(before, x, y, gain=0.0)
        gain = al.eclg_term(before._replace(R=after.R), x, y)
        np.testing.assert_allclose(after.W - without.W, gain, atol=1e-12)
        np.testing.assert_array_equal(gain[:, 1], 0)
        assert np.abs(gain[:, 0]).max() > 0.01


def test_the_gain_is_nothing_while_no_class_comes_again():
    x, y = stream(k=3, dtype=np.float32)
    y = np.repeat(np.arange(3), 20).reshape(y.shape)
    mask = np.ones(y.shape, bool)
    with_gain, without = (al.gacil_fit(x, y, mask, gamma=GAMMA, classes=C, gain=gain).W for gain in (1.0, 0.0))
    np.testing.assert_array_equal(with_gain, without)


def test_split_labels():
    y_bar, y_til = al.split_labels(jnp.eye(3), jnp.array([True, False, True]))
    np.testing.assert_array_equal(y_bar, np.diag([1, 0, 1]))
    np.testing.assert_array_equal(y_til, np.diag([0, 1, 0]))


def test_fit_compiled_and_over_a_batch_of_streams():
    streams = [stream(seed, dtype=np.float32) for seed in range(2)]
    x, y = (np.stack(part) for part in zip(*streams, strict=True))
    mask = np.ones(y.shape[1:], bool)
    fit = jax.jit(jax.vmap(lambda x, y: al.gacil_fit(x, y, mask, gamma=GAMMA, classes=C).W))(x, y)
    for found, (x, y) in zip(fit, streams, strict=True):
        np.testing.assert_allclose(found, al.gacil_fit(x, y, mask, gamma=GAMMA, classes=C).W, atol=1e-5)


def test_relu_buffer():
    phi = al.random_relu_buffer(jax.random.key(0), 16, 4000)
    positive, negative = phi(jnp.eye(16)[3]), phi(-jnp.eye(16)[3])
    row = np.asarray(positive - negative)  # relu(b) - relu(-b) = b
    assert np.abs(row).max() <= 1 / 4
    np.testing.assert_allclose(row.std(), 1 / 4 / 3**0.5, rtol=0.05)
    assert ((positive == 0) | (negative == 0)).all()


def test_gaussian_buffer():
    features = jax.random.normal(jax.random.key(0), (30, 5))
    phi = al.gaussian_buffer(jax.random.key(1), features, 10, sigma=2.0)
    values = np.asarray(jax.vmap(phi)(features))
    at_centre = values > 1 - 1e-5
    assert at_centre.sum(0).tolist() == [1] * 10  # every centre is one of the examples, and no two are the same
    centres = np.asarray(features)[at_centre.argmax(0)]
    assert at_centre.argmax(0).tolist() != list(range(10))  # not just the first ones
    distance = np.square(np.asarray(features)[:, None] - centres[None]).sum(-1)
    np.testing.assert_allclose(values, np.exp(-distance / 8), atol=1e-5)
    with pytest.raises(ValueError, match="size: expected 1 to 30"):
        al.gaussian_buffer(jax.random.key(0), features, 31)
    with pytest.raises(ValueError, match="sigma"):
        al.gaussian_buffer(jax.random.key(0), features, 3, sigma=0)


def test_class_balanced_ridge_ignores_copies_of_a_class():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(60, D)), np.eye(C)[np.arange(60) % C]
        more = np.concatenate([np.arange(60), *[np.flatnonzero(y[:, 0])] * 4])
        np.testing.assert_allclose(
            al.class_balanced_ridge(x[more], y[more], GAMMA), al.class_balanced_ridge(x, y, GAMMA), atol=1e-10
        )
        np.testing.assert_allclose(al.class_balanced_ridge(x, y, GAMMA), rr.ridge(x, y, 20 * GAMMA), atol=1e-10)


def test_along_a_blurry_stream_the_weights_reach_the_joint_ones():
    key_task, key_order, key_walk = jax.random.split(jax.random.key(0), 3)
    x, y = stream(n=80, k=1)
    y, x = jnp.asarray(y[0], jnp.int32), x[0]
    task = si_blurry_stream(key_task, y, 3, 0.4, 0.5, classes=C)
    batches = stream_batches(key_order, task, 7, tasks=3)
    with jax.enable_x64(True):
        sets = ((jnp.asarray(x[:60]), y[:60]), (jnp.asarray(x[60:]), y[60:]))
        W, accuracy = joint_ridge(*sets, embed=jnp.tanh, classes=C, gamma=GAMMA)
        inside = batches._replace(mask=batches.mask & (batches.index < 60))
        found = follow_against(key_walk, W, inside, *sets, embed=jnp.tanh, gamma=GAMMA)
        assert found.probe[0] > 0.1
        assert found.probe[-1] < 1e-10
        assert found.accuracy[-1] == accuracy


def test_bad_input_is_refused():
    state = al.gacil_init(4, GAMMA, classes=2)
    with pytest.raises(ValueError, match=r"x, y: expected \[b, 4\] and \[b, 2\], got \(3, 5\) and \(3, 2\)"):
        al.gacil_update(state, jnp.ones((3, 5)), jnp.ones((3, 2)))
    with pytest.raises(ValueError, match=r"x, y, mask: expected \[k, b, d\]"):
        al.gacil_fit(jnp.ones((2, 3)), jnp.ones(2, int), jnp.ones(2, bool), gamma=1.0, classes=2)
    with pytest.raises(ValueError, match="gamma: expected a number > 0"):
        al.gacil_init(4, -1.0, classes=2)
    with pytest.raises(ValueError, match="features, size"):
        al.random_relu_buffer(jax.random.key(0), 4, 0)
