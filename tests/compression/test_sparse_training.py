"""Training with masks: what is pruned stays 0, moves keep their counts, and copies train as they do alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxzoo.compression.masked_optimizer import masked_optimizer
from jaxzoo.compression.masks import global_mask
from jaxzoo.compression.prunable_nets import normed_mlp
from jaxzoo.compression.rigl import rigl_fraction, rigl_update
from jaxzoo.compression.scores import magnitude
from jaxzoo.compression.sparse_training import gradually, rigging, side_by_side, sparse_task
from jaxzoo.train import fit

NET = normed_mlp((6, 8, 3))


def sampler(key):
    x = jax.random.normal(key, (16, 6))
    return x, x[:, :3].argmax(1)


def loss(logits, y):
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def sgd(rate=0.1, decay=0.01):
    return optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate, momentum=0.9))


def zeros(weights, masks):
    return max(float(jnp.where(m, 0, jnp.abs(w)).max()) for w, m in zip(weights, masks, strict=True))


@pytest.fixture(scope="module")
def start():
    params, stats = NET.init(jax.random.key(0))
    return (params, stats), global_mask(magnitude(params["weights"]), 0.7)


@pytest.mark.parametrize("tx", [sgd(), optax.adamw(1e-2, weight_decay=0.1)], ids=["momentum", "adamw"])
def test_masked_weights_are_exactly_0_after_100_steps(start, tx):
    trained = fit(sparse_task(NET, loss, sampler, tx), jax.random.key(1), 100, start[1], start[0])
    params = trained.state.params
    assert zeros(params["weights"], start[1]) == 0
    moved = jnp.abs(params["weights"][0] - start[0][0]["weights"][0])
    assert float(moved[start[1][0]].min()) > 0
    assert trained.history["loss"][-10:].mean() < trained.history["loss"][:10].mean()
    memory = optax.tree_utils.tree_get(trained.state.memory, "trace" if "trace" in str(tx) else "mu")
    if memory is not None:
        assert zeros(memory["weights"], start[1]) == 0


def test_without_the_mask_momentum_moves_pruned_weights(start):
    """The pitfall itself: masking the gradient alone is not enough once the mask changes."""
    weights = {"w": jnp.array([1.0, 1.0])}
    tx = optax.sgd(0.1, momentum=0.9)
    _, memory = tx.update({"w": jnp.array([1.0, 1.0])}, tx.init(weights), weights)
    masks, gradient = {"w": jnp.array([True, False])}, {"w": jnp.array([1.0, 0.0])}
    assert float(tx.update(gradient, memory, weights)[0]["w"][1]) != 0
    change, memory = masked_optimizer(tx, masks).update(gradient, memory, weights)
    np.testing.assert_array_equal(change["w"][1], 0)
    np.testing.assert_array_equal(optax.tree_utils.tree_get(memory, "trace")["w"], jnp.array([1.9, 0.0]))


def test_masks_of_another_shape_are_refused():
    tx = masked_optimizer(optax.sgd(0.1), {"w": jnp.ones(3, bool)})
    with pytest.raises(ValueError, match=r"masks\['w'\]: expected shape \(2,\), got shape \(3,\)"):
        tx.update({"w": jnp.ones(2)}, tx.init({"w": jnp.ones(2)}))


def test_all_ones_are_plain_training():
    sparse = fit(sparse_task(NET, loss, sampler, sgd()), jax.random.key(2), 5)
    key_init, key_run = jax.random.split(jax.random.key(2))
    tx, (params, stats) = sgd(), NET.init(key_init)
    memory = tx.init(params)

    @jax.jit
    def plain(params, stats, memory, key):
        gradient, stats = jax.grad(with_stats, has_aux=True)(params, stats, *sampler(key))
        change, memory = tx.update(gradient, memory, params)
        return optax.apply_updates(params, change), stats, memory

    for step in range(5):
        params, stats, memory = plain(params, stats, memory, jax.random.fold_in(key_run, step))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), sparse.state.params, params)


def with_stats(params, stats, x, y):
    logits, stats = NET.apply(params, stats, x, train=True)
    return loss(logits, y), stats


def test_gradual_pruning_reaches_its_counts_exactly_and_is_nested(start):
    counts = jnp.array([0, 20, 40, 50])
    task = sparse_task(NET, loss, sampler, sgd(), **gradually(counts, 3))
    update, state = jax.jit(task.update), task.init(jax.random.key(0), None, start[0])
    before = None
    for step in range(14):
        state, _ = update(state, jax.random.key(step))
        kept = np.concatenate([np.asarray(m).reshape(-1) for m in state.masks])
        assert (~kept).sum() == counts[min(step // 3, 3)]
        assert zeros(state.params["weights"], state.masks) == 0
        assert before is None or not (kept & ~before).any()
        before = kept


def test_rigl_by_hand():
    w, g = jnp.array([5.0, 1.0, -2.0, 0.0, 0.0, 0.0]), jnp.array([9.0, 0.0, 0.0, 1.0, -3.0, 2.0])
    mask = jnp.array([True, True, True, False, False, False])
    (after,), (masks,) = rigl_update([w], [g], [mask], 0.67)  # floor(2.01) = 2 are dropped: 1 and -2
    np.testing.assert_array_equal(masks, [True, False, False, False, True, True])
    np.testing.assert_array_equal(after, [5, 0, 0, 0, 0, 0])
    (after,), (masks,) = rigl_update([w], [g.at[2].set(8.0)], [mask], 0.67)  # what was dropped may come back
    np.testing.assert_array_equal(masks, [True, False, True, False, True, False])
    np.testing.assert_array_equal(after, [5, 0, -2, 0, 0, 0])


def test_rigl_keeps_its_number_of_weights():
    rng = np.random.default_rng(0)
    w, g = (jnp.asarray(rng.normal(size=(9, 11)), jnp.float32) for _ in range(2))
    mask = jnp.asarray(rng.random(w.shape) < 0.2)
    for fraction in (0.0, 0.3, 1.0):
        _, (masks,) = jax.jit(rigl_update)([jnp.where(mask, w, 0)], [g], [mask], fraction)
        assert int(masks.sum()) == int(mask.sum())
        changed = int((mask & ~masks).sum())
        assert changed <= int(fraction * int(mask.sum()))
    assert float(rigl_fraction(0, 10)) == pytest.approx(0.3)
    assert float(rigl_fraction(10, 10)) == pytest.approx(0.0, abs=1e-7)


def test_rigged_training_moves_connections_and_stops(start):
    task = sparse_task(NET, loss, sampler, sgd(), **rigging(4, 9))
    update, state = jax.jit(task.update), task.init(jax.random.key(0), start[1])
    changed = []
    for step in range(14):
        before = state.masks
        state, _ = update(state, jax.random.key(step))
        changed.append(any(bool((a != b).any()) for a, b in zip(before, state.masks, strict=True)))
        assert [int(m.sum()) for m in state.masks] == [int(m.sum()) for m in start[1]]
        assert zeros(state.params["weights"], state.masks) == 0
    assert set(np.flatnonzero(changed)) <= {4, 8}
    assert changed[4]


def test_copies_side_by_side_train_as_they_do_alone(start):
    evaluate = lambda state: {"kept": state.masks[0].sum(), "norm": jnp.linalg.norm(state.params["weights"][1])}  # noqa: E731
    task = sparse_task(NET, loss, sampler, sgd(), evaluate=evaluate)
    masks = [global_mask(magnitude(start[0][0]["weights"]), s) for s in (0.2, 0.6)]
    both = jax.tree.map(lambda *m: jnp.stack(m), *masks)
    copies = jax.tree.map(lambda x: jnp.stack([x, x]), start[0])
    together = fit(side_by_side(task, ("a", "b")), jax.random.key(5), 6, both, copies).evaluations
    for name, mask in zip("ab", masks, strict=True):
        alone = fit(task, jax.random.key(5), 6, mask, start[0]).evaluations
        np.testing.assert_allclose(together[f"norm {name}"], alone["norm"], rtol=1e-4)
        np.testing.assert_array_equal(together[f"kept {name}"], alone["kept"])
