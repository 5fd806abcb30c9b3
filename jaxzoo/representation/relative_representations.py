"""Relative representations: every point described by its similarities to a few anchors.

Two networks trained alike from different seeds have latent spaces that differ, roughly, by a rotation and a scale.
Cosines to the latent vectors of a fixed set of samples, the anchors, know neither; so the encoder of one network can
feed the decoder of another without any training.

Source: Moschella et al., "Relative representations enable zero-shot latent space communication" (arXiv 2209.15430).
"""

import jax
import jax.numpy as jnp

from jaxzoo.model import Model
from jaxzoo.ops import layer_norm, normalize

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


def mean_cosine(x, y):
    """The mean cosine between corresponding rows of x [n, d] and y [n, d]."""
    _check_pair(x, y)
    return (normalize(x) * normalize(y)).sum(1).mean()


def mrr(x, y):
    """Mean reciprocal rank of sample s itself among all rows of y sorted by cosine to x_s; 1 for identical spaces.

    Args:
      x, y: [n, d] two representations of the same n samples.
    """
    _check_pair(x, y)
    similarity = normalize(x) @ normalize(y).T  # [n, n]
    rank = 1 + (similarity > jnp.diagonal(similarity)[:, None]).sum(1)
    return (1 / rank).mean()


def jaccard_at(x, y, k=10):
    """Mean Jaccard index |A n B| / |A u B| of neighbourhoods: A the k rows of y nearest to x_s, B those nearest to y_s.

    Neighbours are by cosine, and sample s counts among them. The index says whether a search in the space of y finds
    the same with a query from the other space.

    Args:
      x, y: [n, d] two representations of the same n samples.
      k: size of a neighbourhood, 1 to n.
    """
    _check_pair(x, y)
    if not 1 <= k <= x.shape[0]:
        raise ValueError(f"k: expected 1 to {x.shape[0]}, the number of samples, got {k}")
    target = normalize(y)
    _, found = jax.lax.top_k(normalize(x) @ target.T, k)  # [n, k]
    _, own = jax.lax.top_k(target @ target.T, k)
    shared = jax.vmap(jnp.isin)(found, own).sum(1)
    return (shared / (2 * k - shared)).mean()


def _check_pair(x, y):
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(f"y: expected [n, d] like x, got x {x.shape} and y {y.shape}")


def procrustes(x, y):
    """The orthogonal map and scale that take x nearest to y, both about their means: the baseline that needs a fit.

    minimises |s (x - mean x) Q - (y - mean y)|_F over orthogonal Q and s > 0 (Schoenemann 1966).

    Args:
      x: [k, d] latent vectors of the anchors in one space.
      y: [k, d] the same anchors in the other.

    Returns:
      `transport(e [d]) -> [d]`, from the first space to the second.
    """
    _check_pair(x, y)
    centre_x, centre_y = x.mean(0), y.mean(0)
    u, s, vt = jnp.linalg.svd((x - centre_x[None]).T @ (y - centre_y[None]))
    scale = s.sum() / jnp.square(x - centre_x[None]).sum()
    return lambda e: scale * (e - centre_x) @ (u @ vt) + centre_y


def ridge(x, y, penalty=1e-2):
    """The affine map from x to y fitted by ridge regression, for spaces of unequal dimension.

    Args:
      x: [k, d] anchors in one space.
      y: [k, d2] the same anchors in the other.
      penalty: of the squared weights, relative to the mean squared deviation of x.

    Returns:
      `transport(e [d]) -> [d2]`.
    """
    centre_x, centre_y = x.mean(0), y.mean(0)
    a, b = x - centre_x[None], y - centre_y[None]
    gram = a.T @ a
    weight = jnp.linalg.solve(gram + penalty * jnp.trace(gram) / len(gram) * jnp.eye(len(gram)), a.T @ b)  # [d, d2]
    return lambda e: (e - centre_x) @ weight + centre_y


def linear_cka(x, y):
    """Linear centred kernel alignment of x [n, d] and y [n, d2], in [0, 1] (Kornblith et al., arXiv 1905.00414)."""
    a, b = x - x.mean(0)[None], y - y.mean(0)[None]
    cross = jnp.square(a.T @ b).sum()
    return cross / (jnp.linalg.norm(a.T @ a) * jnp.linalg.norm(b.T @ b))


def quantize_similarities(r, width=0.1):
    """Relative representations rounded to bins of the given width: a description that small changes leave alone."""
    return width * jnp.round(r / width)
