"""Expectation maximisation of a hidden Chow-Liu tree, in mini-batches and in whole epochs, as one training task.

Source: Liu, Mandt, Van den Broeck (arXiv 2111.11632), App. B; the expected counts are the circuit's flows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.probabilistic.chow_liu import Tree
from jaxzoo.probabilistic.hclt import HCLT, hclt_init, hclt_loglik, normalise
from jaxzoo.train import Task, keep_best

SCORED = 200
"""Validation images that are scored at once: it is their number that memory grows with."""


def total_loglik(tree: Tree, params: HCLT, x):
    """Sum of log p over images [b, d]."""
    return jax.vmap(hclt_loglik, (None, None, 0))(tree, params, x).sum()


def flows(tree: Tree, params: HCLT, x) -> tuple[jax.Array, HCLT]:
    """How often each parameter is used, expected over the latents: theta d(sum log p) / d theta, the E step.

    Args:
      tree: of the pixels.
      params: of the circuit.
      x: [b, d] images.

    Returns:
      `(sum of log p, counts)`, the latter shaped like `params`.
    """
    value, gradient = jax.value_and_grad(total_loglik, 1)(tree, params, x)
    return value, jax.tree.map(jnp.multiply, params, gradient)


def maximise(params: HCLT, counts: HCLT, inertia=0.0, pseudocount=0.0) -> HCLT:
    """The M step: theta <- (1 - s) normalise(counts + pseudocount / size) + s theta.

    Args:
      params: theta.
      counts: as from `flows`; without a pseudocount none of a distribution's may all be 0, but for the root's row.
      inertia: s in [0, 1).
      pseudocount: added to every distribution, in all.
    """
    sizes = HCLT(counts.root.shape[0], counts.transition.shape[2], counts.emission.shape[1])
    # 1e-30 stands for nothing: it keeps what no image ever reaches from being 0 / 0.
    smoothed = HCLT(*(c + (pseudocount / size + 1e-30) for c, size in zip(counts, sizes, strict=True)))
    return jax.tree.map(lambda new, old: (1 - inertia) * new + inertia * old, normalise(smoothed), params)


def em_step(tree: Tree, params: HCLT, x, inertia=0.0, pseudocount=0.0) -> HCLT:
    """One step of expectation maximisation on images [b, d]: `flows`, then `maximise`."""
    return maximise(params, flows(tree, params, x)[1], inertia, pseudocount)


class EMState(NamedTuple):
    """The state of `hclt_em`: the images are in it, so that one program serves every data set of a shape.

    Attributes:
      params: of the circuit.
      counts: of the whole epoch so far.
      step: number of steps.
      tree: of the pixels.
      train, valid: [n, d], [m, d] images.
    """

    params: HCLT
    counts: HCLT
    step: jax.Array
    tree: Tree
    train: jax.Array
    valid: jax.Array


def hclt_em(
    levels: int,
    latents: int,
    *,
    images: int,
    batch: int,
    epochs: int,
    full_epochs: int = 0,
    inertia: tuple[tuple[float, float], ...] = ((0, 0.2), (1, 0.9)),
    pseudocount: float = 0.1,
) -> Task:
    """EM in mini-batches with growing inertia, then in whole epochs; what does best on validation images is kept.

    An epoch has images / batch steps. In a whole epoch the counts of its steps are added and used at its end, so that
    both phases are one program and the memory is a mini-batch's.

    Args:
      levels, latents: k, h of the circuit.
      images: n of the training set; `batch` divides it.
      batch: images of a step.
      epochs: in mini-batches.
      full_epochs: whole ones after them, with inertia 0.
      inertia: points (share of `epochs`, s), between which s is linear.
      pseudocount: of every distribution in every M step.

    Returns:
      A task of (epochs + full_epochs) images / batch steps; inputs `(tree, train [n, d], valid [m, d])`, unsigned
      integers; state `Selected` of `EMState`; the scalar "loss" in nats per image.
    """
    if not 1 <= batch <= images or images % batch:
        raise ValueError(f"batch: expected a divisor of {images} images, got {batch}")
    per_epoch = images // batch
    at, s = (np.array(column, np.float32) for column in zip(*inertia, strict=True))

    def init(key, tree, train, valid):
        params = hclt_init(key, train.shape[1], levels, latents)
        counts = jax.tree.map(jnp.zeros_like, params)
        return EMState(params, counts, jnp.int32(0), tree, train, valid)

    def update(state, key):
        epoch, place = state.step // per_epoch, state.step % per_epoch
        whole = epoch >= epochs
        # NOTE(paper): mini-batches are drawn with replacement; a whole epoch has every image once.
        drawn = jax.random.randint(key, (batch,), 0, images)
        x = state.train[jnp.where(whole, place * batch + jnp.arange(batch), drawn)]
        value, new = flows(state.tree, state.params, x.astype(jnp.int32))
        counts = jax.tree.map(lambda old, new: jnp.where(whole & (place > 0), old + new, new), state.counts, new)
        weight = jnp.where(whole, 0.0, jnp.interp(epoch / max(epochs, 1), at, s))
        after = maximise(state.params, counts, weight, pseudocount)
        use = ~whole | (place == per_epoch - 1)
        params = jax.tree.map(lambda new, old: jnp.where(use, new, old), after, state.params)
        state = state._replace(params=params, counts=counts, step=state.step + 1)
        return state, {"loss": -value / batch}

    def score(state):
        loglik = lambda x: hclt_loglik(state.tree, state.params, x.astype(jnp.int32))  # noqa: E731
        return jax.lax.map(loglik, state.valid, batch_size=min(SCORED, len(state.valid))).mean()

    return keep_best(Task(init, update), score, every=per_epoch)
