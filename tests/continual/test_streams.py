"""Streams: who is displaced, that every example comes once and in its task, and that shapes are static."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.continual.streams import (
    class_incremental_stream,
    ragged_batches,
    random_stream,
    si_blurry_stream,
    stream_batches,
)

Y = jnp.arange(10_000) % 20


def tasks_of_classes(task, y=Y):
    return [set(np.asarray(task)[np.asarray(y) == c].tolist()) for c in range(20)]


@pytest.mark.parametrize(("disjoint", "blurry"), [(1.0, 0.5), (0.3, 0.0)])
def test_without_blurry_examples_a_class_comes_in_one_task(disjoint, blurry):
    task = si_blurry_stream(jax.random.key(0), Y, 5, disjoint, blurry, classes=20)
    assert all(len(tasks) == 1 for tasks in tasks_of_classes(task))


def test_displaced_share_of_the_blurry_examples():
    """r_B are dealt anew, of which 1 / T come back to their own task; disjoint classes stay."""
    task = np.asarray(si_blurry_stream(jax.random.key(1), Y, 5, 0.5, 0.3, classes=20))
    y, share = np.asarray(Y), []
    for c in range(20):
        counts = np.bincount(task[y == c], minlength=5)
        share.append(1 - counts.max() / counts.sum())
    assert sorted(share)[:10] == [0.0] * 10
    assert min(sorted(share)[10:]) > 0
    np.testing.assert_allclose(np.mean(sorted(share)[10:]), 0.3 * (1 - 1 / 5), atol=0.02)


def test_all_scattered_is_uniform():
    task = np.asarray(si_blurry_stream(jax.random.key(2), Y, 4, 0.0, 1.0, classes=20))
    np.testing.assert_allclose(np.bincount(task) / len(task), 0.25, atol=0.02)


def test_a_traced_setting_gives_the_same_stream():
    def draw(tasks, disjoint, blurry):
        return si_blurry_stream(jax.random.key(3), Y, tasks, disjoint, blurry, classes=20)

    np.testing.assert_array_equal(jax.jit(draw)(3, 0.5, 0.1), draw(3, 0.5, 0.1))


def test_class_incremental_tasks_share_no_class():
    task = class_incremental_stream(jax.random.key(0), Y, classes=20, base=10, phases=5)
    homes = tasks_of_classes(task)
    assert all(len(home) == 1 for home in homes)
    assert np.bincount([min(home) for home in homes]).tolist() == [10, 2, 2, 2, 2, 2]
    homes = tasks_of_classes(class_incremental_stream(None, Y, classes=20, base=10, phases=5))
    assert [min(home) for home in homes] == [0] * 10 + [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]  # in their own order


@pytest.mark.parametrize("batch", [1, 7, 40, 100])
def test_every_example_comes_once_in_its_task(batch):
    task = jax.random.randint(jax.random.key(0), (100,), 0, 4).at[0].set(5)  # task 4 is empty
    index, mask, new_task, end_of_task = map(
        np.asarray,
        jax.jit(stream_batches, static_argnums=2, static_argnames="tasks")(jax.random.key(1), task, batch, tasks=6),
    )
    assert sorted(index[mask].tolist()) == list(range(100))
    order = np.asarray(task)[index[mask]]
    assert (np.diff(order) >= 0).all()
    used = mask.any(1)
    assert not used[np.argmin(used) :].any() or used.all()
    for row in range(used.sum()):
        assert len(set(np.asarray(task)[index[row][mask[row]]].tolist())) == 1
    counts = np.bincount(np.asarray(task), minlength=6)
    assert used.sum() == sum(-(-counts // batch))
    assert new_task.sum() == end_of_task.sum() == (counts > 0).sum()
    starts = np.flatnonzero(new_task)
    assert end_of_task[np.append(starts[1:] - 1, used.sum() - 1)].all()


def test_batches_are_shuffled_inside_a_task():
    index = stream_batches(jax.random.key(0), jnp.zeros(50, jnp.int32), 50, tasks=1).index[0]
    assert (np.diff(index) < 0).any()


def test_ragged_batches_have_their_sizes():
    batches = ragged_batches([4, 2, 0, 1, 3], [1, 3, 3], 3, rows=4)
    assert batches.index.shape == (4, 3)
    assert batches.mask.sum(1).tolist() == [1, 3, 1, 0]
    assert batches.index[batches.mask].tolist() == [4, 2, 0, 1, 3]
    assert (batches.new_task.tolist(), batches.end_of_task.tolist()) == (
        [True] + [False] * 3,
        [False, False, True, False],
    )


def test_a_random_stream_has_every_example_once():
    y = Y[:500]
    streams = [random_stream(jax.random.key(k), y, classes=20, rows=8) for k in range(3)]
    for stream in streams:
        assert sorted(stream.index[stream.mask].tolist()) == list(range(500))
        assert len(stream.index) % 8 == 0
    sizes = np.concatenate([stream.mask.sum(1) for stream in streams])
    assert sizes.max() > 120
    assert 0 < sizes[sizes > 0].min() < 40


def test_bad_input_is_refused():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"disjoint: expected a share in \[0, 1\], got 1.5"):
        si_blurry_stream(key, Y, 5, 1.5, 0.1, classes=20)
    with pytest.raises(ValueError, match="tasks: expected at least 1"):
        si_blurry_stream(key, Y, 0, 0.5, 0.1, classes=20)
    with pytest.raises(ValueError, match=r"y: expected integers \[n\], got float32"):
        si_blurry_stream(key, jnp.zeros(3), 5, 0.5, 0.1, classes=20)
    with pytest.raises(ValueError, match="base: expected 0 to 19"):
        class_incremental_stream(key, Y, classes=20, base=20, phases=1)
    with pytest.raises(ValueError, match="phases: expected 1 to 10"):
        class_incremental_stream(key, Y, classes=20, base=10, phases=11)
    with pytest.raises(ValueError, match="batch, tasks"):
        stream_batches(key, Y, 0, tasks=2)
    with pytest.raises(ValueError, match=r"sizes: expected integers in 1..2 of sum >= 5"):
        ragged_batches(range(5), [2, 2], 2)
