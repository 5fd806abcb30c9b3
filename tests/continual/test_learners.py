"""The walk along a stream, and the learners that walk it: against plain NumPy loops and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.continual import class_means, distillation, linear, replay
from jaxzoo.continual.learner import Batch, Learner, follow, now_exposed, targets
from jaxzoo.continual.streams import Batches, ragged_batches, stream_batches

D, C = 4, 3


def batch(n=5, exposed=(True, False, False), labels=None, mask=None, new_task=False):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(n, D)), jnp.float32)
    y = jnp.asarray(np.arange(n) % 2 if labels is None else labels, jnp.int32)
    mask = jnp.ones(n, bool) if mask is None else jnp.asarray(mask)
    return Batch(jnp.where(mask[:, None], x, 0), y, mask, jnp.asarray(new_task), jnp.asarray(exposed))


def softmax_gradient(W, x, y, allowed):
    logits = np.where(allowed, x @ W, -np.inf)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return x.T @ (p - np.eye(C)[y]) / len(x)


def test_targets_and_exposure_pass_over_masked_rows():
    now = batch(3, labels=[0, 2, 1], mask=[True, True, False])
    np.testing.assert_array_equal(targets(now), [[1, 0, 0], [0, 0, 1], [0, 0, 0]])
    assert now_exposed(now).tolist() == [True, False, True]


def test_follow_tests_on_exposed_classes_only():
    """A learner that always says class 1: wrong while class 1 is unknown, then right on its share."""
    constant = Learner(lambda: jnp.zeros(()), lambda s, b, k: s + b.mask.sum(), lambda s, x: jnp.array([0.0, 1.0, 2.0]))
    x, y = jnp.zeros((4, 1)), jnp.array([0, 0, 1, 1])
    batches = ragged_batches(range(4), [2, 1, 1], 2, rows=4)
    batches = Batches(*(jnp.asarray(part) for part in batches))
    test = jnp.zeros((5, 1)), jnp.array([0, 1, 1, 1, 2])
    found = follow(jax.random.key(0), constant, batches, (x, y), test, classes=3, probe=lambda s: s)
    np.testing.assert_allclose(found.accuracy, [1, 0.75, 0.75, 0.75])
    assert (found.seen.tolist(), found.probe.tolist(), float(found.state)) == ([2, 3, 4, 4], [2, 3, 4, 4], 4)


def test_follow_embeds_and_refuses_what_does_not_fit():
    means = class_means.nmc(2, classes=2)
    batches = stream_batches(jax.random.key(0), jnp.zeros(4, jnp.int32), 2, tasks=1)
    x, y = jnp.arange(4.0)[:, None], jnp.array([0, 0, 1, 1])
    found = follow(
        jax.random.key(1), means, batches, (x, y), (x, y), classes=2, embed=lambda x: jnp.concatenate([x, x + 10])
    )
    np.testing.assert_allclose(found.state.sums, [[1, 21], [5, 25]])
    with pytest.raises(ValueError, match=r"test: expected x \[n, f\] and y \[n\]"):
        follow(jax.random.key(1), means, batches, (x, y), (x, y[:2]), classes=2)


def test_masked_cross_entropy_and_its_gradient():
    logits, allowed = jnp.array([1.0, 2.0, 7.0]), jnp.array([True, True, False])
    value, gradient = jax.value_and_grad(linear.masked_cross_entropy)(logits, 0, allowed)
    np.testing.assert_allclose(value, np.log(np.e + np.e**2) - 1, rtol=1e-6)
    assert gradient[2] == 0
    alone = jnp.array([True, False, False])
    assert linear.masked_cross_entropy(logits, 0, alone) == 0


def test_sgd_is_a_softmax_step_among_the_classes_seen():
    learner, now = linear.sequential_linear_sgd(D, classes=C, rate=0.5), batch()
    W = jax.random.normal(jax.random.key(0), (D, C))
    stepped = learner.update(W, now, jax.random.key(1))
    expected = W - 0.5 * softmax_gradient(np.asarray(W), np.asarray(now.x), np.asarray(now.y), [True, True, False])
    np.testing.assert_allclose(stepped, expected, atol=1e-6)
    masked = batch(7, labels=[*now.y.tolist(), 2, 2], mask=[True] * 5 + [False] * 2)
    masked = masked._replace(x=jnp.concatenate([now.x, jnp.zeros((2, D))]))
    np.testing.assert_allclose(learner.update(W, masked, jax.random.key(1)), expected, atol=1e-6)


@pytest.mark.parametrize(
    "learner",
    [
        linear.sequential_linear_sgd(D, classes=C, rate=0.5),
        replay.replay_linear(D, classes=C, rate=0.5, memory=4),
        distillation.lwf_linear(D, classes=C, rate=0.5),
        class_means.nmc(D, classes=C),
    ],
    ids=["sgd", "replay", "lwf", "nmc"],
)
def test_an_empty_batch_changes_nothing(learner):
    key_first, key_empty = jax.random.split(jax.random.key(0))
    state = learner.update(learner.init(), batch(new_task=True), key_first)
    empty = batch(mask=[False] * 5, exposed=(True, True, False))
    for before, after in zip(*map(jax.tree.leaves, (state, learner.update(state, empty, key_empty))), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_reservoir_fills_and_then_is_a_uniform_sample():
    x, y, mask = jnp.arange(30.0)[:, None], jnp.arange(30), jnp.arange(30) != 7

    def fill(key):
        key_first, key_second = jax.random.split(key)
        memory = replay.reservoir_add(key_first, replay.reservoir_init(5, 1), x[:12], y[:12], mask[:12])
        return replay.reservoir_add(key_second, memory, x[12:], y[12:], mask[12:])

    memory = jax.jit(jax.vmap(fill))(jax.random.split(jax.random.key(0), 2000))
    np.testing.assert_array_equal(memory.x[..., 0], memory.y)
    assert memory.seen.tolist() == [29] * 2000
    assert all(len(set(row)) == 5 for row in memory.y.tolist())
    share = np.bincount(np.asarray(memory.y).ravel(), minlength=30) / 2000
    assert share[7] == 0
    np.testing.assert_allclose(np.delete(share, 7), 5 / 29, atol=0.04)  # 4.7 standard deviations


def test_replay_without_a_past_is_sgd_and_then_also_steps_on_memory():
    learner, now = replay.replay_linear(D, classes=C, rate=0.5, memory=8), batch()
    plain = linear.sequential_linear_sgd(D, classes=C, rate=0.5)
    key_first, key_second = jax.random.split(jax.random.key(0))
    W, memory = learner.update(learner.init(), now, key_first)
    np.testing.assert_allclose(W, plain.update(plain.init(), now, jax.random.key(1)), atol=1e-6)
    assert int(memory.seen) == 5
    one = memory._replace(x=jnp.tile(now.x[:1], (8, 1)), y=jnp.tile(now.y[:1], 8))  # every draw is this example
    later = batch(2, labels=[2, 2], exposed=(True, True, False))
    stepped, _ = learner.update((W, one), later, key_second)
    x, y = np.concatenate([later.x, one.x[:2]]), np.concatenate([later.y, one.y[:2]])
    np.testing.assert_allclose(stepped, W - 0.5 * softmax_gradient(np.asarray(W), x, y, [True] * 3), atol=1e-6)
    with pytest.raises(ValueError, match="size: expected at least 1"):
        replay.reservoir_init(0, 2)


def test_lwf_loss_is_the_divergence_over_known_classes():
    logits, taught, known = jnp.array([1.0, 0.0, 9.0]), jnp.array([0.0, 2.0, -9.0]), jnp.array([True, True, False])
    p, q = (np.exp(v[:2] / 2) / np.exp(v[:2] / 2).sum() for v in (np.array([0.0, 2.0]), np.array([1.0, 0.0])))
    value, gradient = jax.value_and_grad(distillation.lwf_loss)(logits, taught, known)
    np.testing.assert_allclose(value, 4 * (p * np.log(p / q)).sum(), rtol=1e-5)
    np.testing.assert_allclose(gradient, [*(2 * (q - p)), 0], atol=1e-6)
    np.testing.assert_allclose(distillation.lwf_loss(taught, taught, known), 0, atol=1e-6)
    nothing = jax.value_and_grad(distillation.lwf_loss)(logits, taught, jnp.zeros(3, bool))
    assert (float(nothing[0]), nothing[1].tolist()) == (0, [0, 0, 0])


def test_lwf_takes_its_teacher_when_a_task_begins():
    learner = distillation.lwf_linear(D, classes=C, rate=0.5)
    key_first, key_second, key_third = jax.random.split(jax.random.key(0), 3)
    first = learner.update(learner.init(), batch(new_task=True, exposed=(False,) * 3), key_first)
    plain = linear.sequential_linear_sgd(D, classes=C, rate=0.5)
    np.testing.assert_allclose(first[0], plain.update(plain.init(), batch(), jax.random.key(1)), atol=1e-6)
    second = learner.update(first, batch(exposed=(True, True, False)), key_second)
    assert not second[2].any()
    third = learner.update(second, batch(labels=[2] * 5, exposed=(True, True, False), new_task=True), key_third)
    np.testing.assert_array_equal(third[1], second[0])
    assert third[2].tolist() == [True, True, False]


def test_class_means_do_not_depend_on_batches():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(40, D)), np.eye(C)[rng.integers(0, C, 40)]
        state = class_means.nmc_init(C, D, jnp.float64)
        for part in np.split(rng.permutation(40), (1, 9, 30)):
            state = class_means.nmc_update(state, x[part], y[part])
        np.testing.assert_allclose(state.sums / state.counts[:, None], y.T @ x / y.sum(0)[:, None], atol=1e-12)


def test_nearest_mean_by_hand():
    state = class_means.ClassMeans(jnp.array([[0.0, 0.0], [4.0, 0.0], [0.0, 0.0]]), jnp.array([1.0, 2.0, 0.0]))
    assert class_means.nmc_scores(state, jnp.array([0.9, 5.0])).argmax() == 0
    assert class_means.nmc_scores(state, jnp.array([1.0, 0.0])).argmax() == 0  # a tie
    assert class_means.nmc_scores(state, jnp.array([1.1, 0.0])).argmax() == 1
    for metric in class_means.METRICS:
        assert class_means.nmc_scores(state, jnp.array([1.0, 1.0]), metric)[2] == -jnp.inf
    np.testing.assert_allclose(class_means.nmc_scores(state, jnp.array([3.0, 3.0]), "cosine")[1], 0.5**0.5, rtol=1e-6)
    with pytest.raises(ValueError, match="metric: expected one of euclidean, cosine"):
        class_means.nmc_scores(state, jnp.zeros(2), "manhattan")
    with pytest.raises(ValueError, match="x, y: expected"):
        class_means.nmc_update(state, jnp.zeros((2, 2)), jnp.zeros(2))
