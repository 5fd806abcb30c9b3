"""Batches: what they hold, that they fit together, and that a run can be resumed anywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.data import all_windows, minibatches, sampler, windows


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


def test_sampler_draws_pairs_uniformly():
    x, y = np.arange(10.0), np.arange(10) * 2
    xb, yb = jax.vmap(sampler(x, y, 100))(keys(100))
    assert xb.shape == (100, 100)
    np.testing.assert_array_equal(xb * 2, yb)
    counts = np.bincount(np.asarray(yb).ravel() // 2, minlength=10)
    # 10 000 draws of 10: standard deviation 30.
    assert np.abs(counts - 1000).max() < 150


def test_sampler_keeps_shapes_and_types():
    xb, yb = sampler(np.zeros((5, 3, 2), np.float32), np.zeros(5, np.int32), 4)(jax.random.key(0))
    assert (xb.shape, xb.dtype, yb.shape, yb.dtype) == ((4, 3, 2), jnp.float32, (4,), jnp.int32)


@pytest.mark.parametrize("batch", [0, 6])
def test_batches_larger_than_an_epoch(batch):
    with pytest.raises(ValueError, match=rf"batch: expected 1 to 5 .*got {batch}"):
        minibatches(np.zeros(5), np.zeros(5), batch)


def test_an_empty_batch():
    with pytest.raises(ValueError, match="batch: expected at least 1, got 0"):
        sampler(np.zeros(5), np.zeros(5), 0)


@pytest.mark.parametrize("make", [sampler, minibatches])
@pytest.mark.parametrize("sizes", [(5, 4), (0, 0)])
def test_inputs_without_their_targets(make, sizes):
    with pytest.raises(ValueError, match=f"x, y: expected as many inputs as targets, got {sizes[0]} and {sizes[1]}"):
        make(np.zeros(sizes[0]), np.zeros(sizes[1]), 2)


@pytest.mark.parametrize("batch", [1, 3, 4, 7, 10])
def test_every_epoch_holds_each_example_once(batch):
    batch_at = jax.jit(minibatches(np.arange(10), np.arange(10), batch))
    key = keys(1)[0]
    drawn = np.concatenate([batch_at(jax.random.clone(key), step)[0] for step in range(-(-30 // batch))])
    epochs = drawn[:30].reshape(3, 10)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(10), (3, 1)))
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3


def test_a_batch_depends_on_key_and_step_alone():
    batch_at = minibatches(np.arange(10), np.arange(10), 4)
    steps = jnp.arange(8)
    all_steps = jax.jit(jax.vmap(batch_at, (None, 0)))
    one, other = (all_steps(jax.random.key(seed), steps)[0] for seed in (0, 1))
    assert (one != other).any()
    np.testing.assert_array_equal(jax.jit(batch_at)(jax.random.key(0), 5)[0], one[5])


@pytest.mark.parametrize("batch", [5, 7])
def test_late_steps_do_not_overflow(batch):
    n, step = 10, 2**31 - 1
    batch_at = minibatches(np.arange(n), np.arange(n), batch)
    xb, _ = batch_at(jax.random.key(0), jnp.int32(step))
    epoch, start = divmod(step * batch, n)
    order = [jax.random.permutation(jax.random.fold_in(jax.random.key(0), np.uint32(epoch + i)), n) for i in range(2)]
    np.testing.assert_array_equal(xb, np.concatenate(order)[start : start + batch])


def test_windows_are_stretches_with_their_next_tokens():
    tokens = np.arange(50, dtype=np.uint8)
    x, y = jax.jit(windows, static_argnums=(2, 3))(jax.random.key(0), tokens, 200, 7)
    assert (x.shape, x.dtype) == ((200, 7), jnp.int32)
    np.testing.assert_array_equal(np.diff(x, axis=1), 1)
    np.testing.assert_array_equal(y, x + 1)
    assert set(np.asarray(x[:, 0]).tolist()) == set(range(43))
    assert y.max() == 49


def test_windows_of_all_but_one_token():
    x, y = windows(jax.random.key(0), np.arange(8), 3, 7)
    np.testing.assert_array_equal(x, np.tile(np.arange(7), (3, 1)))
    np.testing.assert_array_equal(y, np.tile(np.arange(1, 8), (3, 1)))


def test_all_windows_count_every_target_once():
    x, y = all_windows(np.arange(23, dtype=np.uint8), 5)
    np.testing.assert_array_equal(x, np.arange(20).reshape(4, 5))
    np.testing.assert_array_equal(y, np.arange(1, 21).reshape(4, 5))


@pytest.mark.parametrize("length", [0, 8, 9])
def test_windows_longer_than_the_text(length):
    with pytest.raises(ValueError, match=rf"length: expected 1 to 7 .*got {length}"):
        windows(jax.random.key(0), np.arange(8), 1, length)
    with pytest.raises(ValueError, match=rf"length: expected 1 to 7 .*got {length}"):
        all_windows(np.arange(8), length)
