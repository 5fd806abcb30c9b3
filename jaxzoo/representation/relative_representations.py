"""Relative representations: every point described by its similarities to a few anchors.

Two networks trained alike from different seeds have latent spaces that differ, roughly, by a rotation and a scale.
Cosines to the latent vectors of a fixed set of samples, the anchors, know neither; so the encoder of one network can
feed the decoder of another without any training.

Source: Moschella et al., "Relative representations enable zero-shot latent space communication" (arXiv 2209.15430).
"""

import jax
import jax.numpy as jnp
import optax

from jaxzoo.model import Model
from jaxzoo.ops import layer_norm, normalize
from jaxzoo.train import TrainState, supervised

WAYS = ("uniform", "stratified", "farthest", "kmeans")


def relative(e, anchors):
    """The relative representation r(x) = (cos(e, a_1), ..., cos(e, a_k)), blind to rotation and scale of both.

    Args:
      e: [..., d] latent vectors.
      anchors: [k, d] latent vectors of the anchors, from the same encoder.

    Returns:
      [..., k] cosines; those with a zero vector are 0.

    Source: eq. 1 of the paper.
    """
    if anchors.ndim != 2 or e.shape[-1] != anchors.shape[1]:
        raise ValueError(f"anchors: expected [k, {e.shape[-1]}] to go with e {e.shape}, got {anchors.shape}")
    return normalize(e) @ normalize(anchors).T  # [..., k]


def relative_model(encoder, head, anchors):
    """The model head(layer_norm(relative(E(x), E(anchors)))), trained end to end with gradient through the anchors.

    Args:
      encoder: model from an example to e [d].
      head: model from [k] to the output.
      anchors: [k, ...] examples; embedded by the encoder at every call, and so always by its present weights.

    Returns:
      A model with parameters `{"encoder": ..., "head": ...}`. Under `vmap` over examples the anchors are embedded once.
    """

    def represent(params, x):
        embed = jax.vmap(encoder.apply, (None, 0))
        return layer_norm(relative(encoder.apply(params, x), embed(params, anchors)))  # [k]

    def init(key, x):
        key_encoder, key_head = jax.random.split(key)
        params = encoder.init(key_encoder, x)
        r = jax.eval_shape(represent, params, x)
        return {"encoder": params, "head": head.init(key_head, jnp.zeros(r.shape, r.dtype))}

    def apply(params, x, *, key=None):
        return head.apply(params["head"], represent(params["encoder"], x))

    return Model(init, apply)


def absolute_model(encoder, head):
    """The usual composition head(E(x)), with the parameters of `relative_model`; what the paper compares with."""

    def init(key, x):
        key_encoder, key_head = jax.random.split(key)
        params = encoder.init(key_encoder, x)
        e = jax.eval_shape(encoder.apply, params, x)
        return {"encoder": params, "head": head.init(key_head, jnp.zeros(e.shape, e.dtype))}

    def apply(params, x, *, key=None):
        return head.apply(params["head"], encoder.apply(params["encoder"], x))

    return Model(init, apply)


def stitch(encoder_params, head_params):
    """Zero-shot stitching: the encoder of one trained model with the head of another (Sec. 5 of the paper).

    Args:
      encoder_params: parameters of the model that encodes.
      head_params: parameters of the model that decodes or classifies.

    Returns:
      Parameters of the stitched model, for the `apply` they were both trained with.
    """
    return {"encoder": encoder_params["encoder"], "head": head_params["head"]}


def stitch_to(model, heads, measure, x, y):
    """Stitches one encoder to the heads of many networks.

    Args:
      model: the composition that all were trained with; another choice of anchors may be given to the encoder here.
      heads: parameters of m networks, leaves [m, ...].
      measure: `measure(output, target) -> scalar` of one example.
      x, y: [n, ...] examples and targets.

    Returns:
      `row(key, params) -> [m]`: the mean measure of the encoder in `params` with each head.
    """

    def row(key, params):
        def with_head(other):
            out = jax.vmap(model.apply, (None, 0))(stitch(params, other), x)
            return jax.vmap(measure)(out, y).mean()

        return jax.vmap(with_head)(heads)

    return row


def transport_to(fit, encoder, decoder, anchors, x, nets):
    """The baseline that needs a fit: absolute autoencoders, the latents mapped from one space to the other.

    Args:
      fit: `procrustes` or `ridge`, of the anchors' latents in both spaces.
      encoder, decoder: models.
      anchors: [k, ...] examples.
      x: [n, d] examples to reconstruct.
      nets: parameters of m networks, leaves [m, ...].

    Returns:
      `row(key, params) -> [m]`: mean squared errors of the encoder in `params` with each decoder.
    """
    embed, decode = (jax.vmap(model.apply, (None, 0)) for model in (encoder, decoder))

    def row(key, params):
        def with_decoder(other):
            transport = fit(embed(params["encoder"], anchors), embed(other["encoder"], anchors))
            out = decode(other["head"], jax.vmap(transport)(embed(params["encoder"], x)))
            return jnp.square(out - x).mean()

        return jax.vmap(with_decoder)(nets)

    return row


def on_frozen_encoder(model, loss, sampler, optimizer):
    """The task of training a head on an encoder that stays as it is.

    Args:
      model: from `relative_model` or `absolute_model`.
      loss, sampler, optimizer: as in `jaxzoo.train.supervised`.

    Returns:
      A task whose `init(key, encoder)` takes the encoder's parameters.
    """
    labels = {"encoder": "frozen", "head": "trained"}
    parts = optax.multi_transform({"trained": optimizer, "frozen": optax.set_to_zero()}, labels)
    task = supervised(model, loss, sampler, parts)

    def init(key, encoder):
        params = task.init(key).params | {"encoder": encoder}
        return TrainState(params, parts.init(params))

    return task._replace(init=init)


def select_anchors(key, x, k, how="uniform", *, labels=None, classes=None):
    """Chooses anchors among training samples.

    Args:
      key: of the random choices.
      x: [n, d] samples, flattened.
      k: how many, 1 to n.
      how: "uniform"; "stratified", as evenly over the classes as k allows; "farthest", each the sample farthest from
        those before it; "kmeans", the samples nearest to the centroids of 10 rounds of Lloyd's algorithm.
      labels: [n] integers, for "stratified".
      classes: number of classes, for "stratified".

    Returns:
      [k] distinct indices into x (of "kmeans" two may coincide, where two centroids share their nearest sample).
    """
    n = x.shape[0]
    if how not in WAYS:
        raise ValueError(f"how: expected one of {', '.join(WAYS)}, got {how!r}")
    if not 1 <= k <= n:
        raise ValueError(f"k: expected 1 to {n}, the number of samples, got {k}")
    if how == "stratified":
        if labels is None or classes is None:
            raise ValueError('labels, classes: needed for how="stratified"')
        order = jax.random.permutation(key, n)
        of_class = jax.nn.one_hot(labels[order], classes, dtype=jnp.int32)  # [n, classes]
        rank = (jnp.cumsum(of_class, axis=0) * of_class).sum(1)  # the how-manieth of its class
        return order[jnp.argsort(rank, stable=True)[:k]]
    if how == "farthest":
        return _farthest(key, x, k)
    chosen = jax.random.choice(key, n, (k,), replace=False)
    return _nearest_to_centroids(x, chosen) if how == "kmeans" else chosen


def _farthest(key, x, k):
    """Greedy k-centre: [k] indices, the first at random."""

    def squared_distance(i):
        return jnp.square(x - x[i][None]).sum(1)  # [n]

    def step(nearest, _):
        i = jnp.argmax(nearest)
        return jnp.minimum(nearest, squared_distance(i)), i

    first = jax.random.randint(key, (), 0, x.shape[0])
    _, rest = jax.lax.scan(step, squared_distance(first), length=k - 1)
    return jnp.concatenate([first[None], rest])


def _nearest_to_centroids(x, start, rounds=10):
    """[k] indices of the samples nearest to the centroids of k-means begun at the samples `start`."""

    def distances(centroids):
        return jnp.square(x[:, None] - centroids[None]).sum(-1)  # [n, k]

    def lloyd(centroids, _):
        member = jax.nn.one_hot(jnp.argmin(distances(centroids), axis=1), start.shape[0])  # [n, k]
        count = member.sum(0)[:, None]
        return jnp.where(count > 0, member.T @ x / jnp.maximum(count, 1), centroids), None

    centroids, _ = jax.lax.scan(lloyd, x[start], length=rounds)
    return jnp.argmin(distances(centroids), axis=0)


def quantize_similarities(r, width=0.1):
    """Relative representations rounded to bins of the given width: a description that small changes leave alone."""
    return width * jnp.round(r / width)
