"""Frame averaging: any function made exactly invariant or equivariant, by an average over a few group elements.

A group G acts on inputs and outputs. Averaging a function phi over all of G makes it symmetric, at the price of |G|
evaluations. A frame F(X) is a small subset of G that turns with the input, F(g X) = g F(X); averaging over it does the
same, and phi loses nothing:

    invariant     <phi>(X) = mean over g in F(X) of phi(g^-1 X)
    equivariant   <phi>(X) = mean over g in F(X) of rho(g) phi(g^-1 X)

For motions of space F is the principal axes with all signs (`euclidean_frames`); for relabellings of a graph it is the
orders that sort what its Laplacian's spectrum says of the nodes (`spectral_sort`).

Source: Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman, "Frame Averaging for Invariant and Equivariant Network
Design" (arXiv 2110.03336).
"""

import functools

import jax
import jax.numpy as jnp

from jaxzoo.geometry.body_networks import gnn_model, gnn_parts, pair_features
from jaxzoo.geometry.euclidean_frames import OUTPUTS, euclidean_frame, from_frame, random_frame, to_frame
from jaxzoo.geometry.point_networks import PointNet
from jaxzoo.geometry.spectral_sort import frame_permutations, reorder, spectral_sort_frame
from jaxzoo.geometry.uniform_init import uniform_init
from jaxzoo.geometry.weisfeiler_leman import wl_test
from jaxzoo.model import Model
from jaxzoo.ops import normalize, segment_mean
from jaxzoo.transforms import as_model

__all__ = [
    "GROUPS",
    "euclidean_frame",
    "fa_gnn",
    "fa_pointnet",
    "frame_average",
    "frame_or_random",
    "frame_permutations",
    "from_frame",
    "ga_average",
    "mean_over",
    "members_average",
    "permutation_average",
    "random_orders",
    "spectral_sort_frame",
    "to_frame",
    "wl_test",
]

GROUPS = {
    "E": {"proper": False, "centred": True},
    "SE": {"proper": True, "centred": True},
    "O": {"proper": False, "centred": False},
    "SO": {"proper": True, "centred": False},
}
"""Options of a frame for each group: with reflections or without, with translations or without."""


def mean_over(apply):
    """The mean of a function over a leading axis of its input: `averaged(params, xs [m, ...])`."""

    def averaged(params, xs, **options):
        return jax.vmap(lambda x: apply(params, x, **options))(xs).mean(0)

    return averaged


def frame_average(apply, *, group="E", out="invariant"):
    """Makes a function of points invariant or equivariant to a group of motions: <phi> as above.

    Args:
      apply: `apply(params, x [n, d], *vectors [..., d], **options) -> y`, one array.
      group: "E", "SE" (no reflections), "O" or "SO" (no translations).
      out: what y is: "invariant" numbers of any shape, "vector" [..., d] or "position" [..., d].

    Returns:
      `averaged(params, x, *vectors, frame=None, **options)`, with outputs like those of apply. Vectors such as
      velocities are turned but not moved. `frame` is a `Frame` that was computed before; by default that of x.

    Raises:
      ValueError: an unknown group or out.
    """
    settings = _group(group)
    if out not in OUTPUTS:
        raise ValueError(f"out: expected one of {', '.join(OUTPUTS)}, got {out!r}")

    def averaged(params, x, *vectors, frame=None, **options):
        frame = euclidean_frame(x, **settings) if frame is None else frame
        seen = (to_frame(x, frame), *(to_frame(v, frame, vectors=True) for v in vectors))  # g^-1 X, [m, n, d]
        y = jax.vmap(lambda *inputs: apply(params, *inputs, **options))(*seen)
        return from_frame(y, frame, out=out)

    return averaged


def ga_average(apply, k, *, group="SE", out="invariant"):
    """Group averaging over k random elements, what a frame is compared with: symmetric only in the limit of k.

    NOTE(paper): translations have no uniform distribution, so the centre is that of the points, as in the frame.

    Args:
      apply, group, out: as in `frame_average`; points are of 3-space.
      k: number of elements.

    Returns:
      `averaged(params, x, *vectors, key, **options)`; key draws the elements.

    Raises:
      ValueError: an unknown group or out, or k below 1.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    settings, over = _group(group), frame_average(apply, group=group, out=out)

    def averaged(params, x, *vectors, key, **options):
        return over(params, x, *vectors, frame=random_frame(key, x, k, **settings), **options)

    return averaged


def frame_or_random(x, random=None, *, key=None, group="E"):
    """The frame of x, or as many random elements in its place.

    Args:
      x: [n, 3] points.
      random: a boolean, which may be traced, so that both share one program. None for the frame, without a key.
      key: of the random elements.
      group: as in `frame_average`.

    Returns:
      A `Frame`.
    """
    frame = euclidean_frame(x, **_group(group))
    if random is None:
        return frame
    drawn = random_frame(key, x, len(frame.rotations), **_group(group))
    return jax.tree.map(functools.partial(jnp.where, random), drawn, frame)


def _group(name):
    if name not in GROUPS:
        raise ValueError(f"group: expected one of {', '.join(GROUPS)}, got {name!r}")
    return GROUPS[name]


def permutation_average(apply):
    """Averages a function of a graph's matrix over orders of its nodes.

    Args:
      apply: `apply(params, a [n, n], **options) -> y`.

    Returns:
      `averaged(params, a, orders [m, n], **options)`. Over `frame_permutations` it is exactly invariant to relabelling;
      over `random_orders` it is group averaging.
    """
    over = mean_over(apply)
    return lambda params, a, orders, **options: over(params, reorder(a, orders), **options)


def members_average(apply, graph, graphs, *, batch=8192):
    """Averages a function over frames of different sizes, laid out one after the other (`spectral_sort.Members`).

    Args:
      apply: `apply(params, a [n, n]) -> y`.
      graph: [m] the graph that each matrix belongs to.
      graphs: number of graphs, g.
      batch: matrices that are computed at once.

    Returns:
      `averaged(params, matrices [m, n, n], *, mask=None) -> [g, ...]`; matrices where mask [m] is False don't count.
    """

    def averaged(params, matrices, *, mask=None):
        y = jax.lax.map(functools.partial(apply, params), matrices, batch_size=batch)
        return segment_mean(y, graph, graphs, mask=mask)

    return averaged


def random_orders(key, present, k):
    """k uniformly random orders of the nodes that are present, before those that are not.

    Args:
      key: a PRNG key.
      present: [n] booleans, or ones and zeros.
      k: number of orders.

    Returns:
      [k, n] node ids.
    """
    drawn = jax.random.uniform(key, (k, *present.shape))
    return jnp.argsort(jnp.where(present.astype(bool)[None], drawn, 2.0), axis=1)


def fa_gnn(*, width=60, layers=4, random=None):
    """FA-GNN: a graph network of bodies whose every layer works in a frame of its own.

    Node features are width / 3 vectors. Between layers they are turned back, averaged over the frame's 8 elements and
    put into a new frame, of all nodes' vectors together; so each layer is equivariant.

    Args:
      width: nf, a multiple of 3.
      layers: rounds of messages.
      random: None; or a boolean, which may be traced: True makes it group averaging of the plain network, over as many
        random elements as the frame has, drawn once and kept in all layers. The model then needs a key.

    Returns:
      A `Model`: bodies (`n_body.Bodies`) -> their later positions [n, 3]. Parameters are those of `body_networks.gnn`.

    Raises:
      ValueError: width is no multiple of 3.
    """
    if width % 3:
        raise ValueError(f"width: expected a multiple of 3, vectors of 3-space, got {width}")
    parts = gnn_parts(width)

    def reframed(h, frame):
        n = h.shape[1]
        # The latent centre is taken away and never added again, as in the official code.
        vectors = from_frame(h.reshape(-1, n * width // 3, 3), frame)  # [n nf / 3, 3]
        found = euclidean_frame(vectors)
        return to_frame(vectors, found).reshape(-1, n, width), found

    def apply(params, bodies, *, key=None):
        edges = pair_features(bodies.x, bodies.q)  # invariant already
        frame = frame_or_random(bodies.x, random, key=key)
        centre = frame.centre
        seen = jnp.concatenate([to_frame(bodies.x, frame), to_frame(bodies.v, frame, vectors=True)], axis=-1)
        h = jax.vmap(functools.partial(parts.embed.apply, params["embed"]))(seen)  # [m, n, nf]
        for i, layer in enumerate(params["layers"]):
            if i > 0:
                kept, moved = (h, frame), reframed(h, frame)
                h, frame = moved if random is None else jax.tree.map(functools.partial(jnp.where, random), kept, moved)
            h, _ = jax.vmap(lambda h, layer=layer: parts.layer.apply(layer, h, edges))(h)
        y = jax.vmap(functools.partial(parts.decode.apply, params["decode"]))(h)
        return from_frame(y, frame) + centre[None]

    return gnn_model(parts, width, layers, apply)


def fa_pointnet(network=None, *, group="E", random=None):
    """FA-PointNet: unit normals of a point cloud that turn with it. FA-DGCNN with that network.

    Args:
      network: a linen module [n, 3] -> [n, 3]; by default `PointNet()`.
      group: "E" or "SE".
      random: None; or a boolean, which may be traced: whether as many random elements take the place of the frame. The
        model then needs a key.

    Returns:
      A `Model` [n, 3] -> [n, 3].
    """
    model = uniform_init(as_model(PointNet() if network is None else network))
    averaged = frame_average(model.apply, group=group, out="vector")

    def apply(params, x, *, key=None):
        return normalize(averaged(params, x, frame=frame_or_random(x, random, key=key, group=group)))

    return Model(model.init, apply)
