"""Training of a network whose masked weights stay 0; the masks are data, and may move while it trains."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxzoo.compression.masked_optimizer import masked_optimizer
from jaxzoo.compression.masks import prune_smallest
from jaxzoo.compression.prunable_nets import Net
from jaxzoo.compression.rigl import rigl_fraction, rigl_update
from jaxzoo.compression.scores import magnitude
from jaxzoo.train import Task


class SparseState(NamedTuple):
    """The state of `sparse_task`.

    Attributes:
      params: {"weights", "rest"} of the network; masked weights are 0.
      stats: of its batch norms.
      masks: like params["weights"], of booleans.
      memory: what the optimiser remembers.
      step: number of updates.
    """

    params: Any
    stats: Any
    masks: Any
    memory: optax.OptState
    step: jax.Array


def apply_masks(params: Any, masks: Any) -> Any:
    """The parameters with weights that are not kept at 0."""
    return params | {"weights": jax.tree.map(lambda w, m: jnp.where(m, w, 0), params["weights"], masks)}


def sparse_task(
    net: Net,
    loss: Callable,
    sampler: Callable,
    optimizer: optax.GradientTransformation,
    *,
    remask: Callable | None = None,
    due: Callable = lambda step: False,
    evaluate: Callable | None = None,
) -> Task:
    """Minimises the mean loss of minibatches over the weights that are kept.

    Args:
      net: the network.
      loss: `loss(logits [b, c], y [b]) -> scalar`.
      sampler: `sampler(key) -> (x [b, ...], y [b])`.
      optimizer: any optax transformation; its memory is masked too.
      remask: `remask(weights, dense gradients, masks, step) -> (weights, masks)`; by default masks stay.
      due: `due(step) -> bool`: whether to call it before this update, the first one having step 0. Under `vmap` it is
        called at every update all the same, and its result thrown away where it isn't due.
      evaluate: `evaluate(state) -> scalars`, by default nothing.

    Returns:
      A task with state `SparseState` and the scalar "loss". Its inputs are the masks, all ones if left out, and
      `(params, stats)` to start from, by default a network of the task's own key.
    """

    def init(key, masks=None, start=None):
        params, stats = net.init(key) if start is None else start
        if masks is None:
            masks = jax.tree.map(lambda w: jnp.ones(w.shape, bool), params["weights"])
        params = apply_masks(params, masks)
        return SparseState(params, stats, masks, optimizer.init(params), jnp.int32(0))

    def update(state, key):
        x, y = sampler(key)

        def batch_loss(params):
            logits, stats = net.apply(params, state.stats, x, train=True)
            return loss(logits, y), stats

        (value, stats), gradient = jax.value_and_grad(batch_loss, has_aux=True)(state.params)
        weights, masks = state.params["weights"], state.masks
        if remask is not None:
            change = lambda: remask(weights, gradient["weights"], masks, state.step)  # noqa: E731
            weights, masks = jax.lax.cond(due(state.step), change, lambda: (weights, masks))
        params = apply_masks(state.params | {"weights": weights}, masks)
        whole = {"weights": masks, "rest": jax.tree.map(lambda p: jnp.ones(p.shape, bool), params["rest"])}
        moved, memory = masked_optimizer(optimizer, whole).update(gradient, state.memory, params)
        params = optax.apply_updates(params, moved)
        return SparseState(params, stats, masks, memory, state.step + 1), {"loss": value}

    return Task(init, update) if evaluate is None else Task(init, update, evaluate)


def gradually(counts: jax.Array, every: int) -> dict[str, Callable]:
    """Options of `sparse_task` for gradual pruning by magnitude, over all layers at once.

    Args:
      counts: [r] weights to be pruned after each of r prunings, an integer array: exact, whatever the schedule.
      every: updates between two of them; the first is before the first update.
    """

    def remask(weights, gradient, masks, step):
        masks = prune_smallest(magnitude(weights), counts[step // every])
        return weights, masks

    return {"remask": remask, "due": lambda step: (step % every == 0) & (step // every < len(counts))}


def rigging(every: int, end: int, *, first: float = 0.3) -> dict[str, Callable]:
    """Options of `sparse_task` for RigL.

    Args:
      every: updates between two moves of connections.
      end: update from which on they stay.
      first: share of the active weights that the first would move; it falls by a cosine to 0 at `end`.
    """

    def remask(weights, gradient, masks, step):
        return rigl_update(weights, gradient, masks, rigl_fraction(step, end, first=first))

    return {"remask": remask, "due": lambda step: (step > 0) & (step % every == 0) & (step < end)}


def side_by_side(task: Task, names: Sequence[str]) -> Task:
    """Several copies of a training as one program, on the same minibatches.

    Args:
      task: the training of one copy.
      names: of the copies, for what is evaluated: "accuracy" of the copy "0.9" becomes "accuracy 0.9".

    Returns:
      A task whose inputs and state have a leading axis of copies. Its scalars are means over them.
    """

    def update(state, key):
        state, scalars = jax.vmap(task.update, (0, None))(state, key)
        return state, {name: values.mean() for name, values in scalars.items()}

    def evaluate(state):
        found = jax.vmap(task.evaluate)(state)
        return {f"{key} {name}": values[i] for key, values in found.items() for i, name in enumerate(names)}

    def init(key, *inputs):
        return jax.vmap(task.init, (None, *(0 for _ in inputs)))(key, *inputs)

    return Task(init, update, evaluate)
