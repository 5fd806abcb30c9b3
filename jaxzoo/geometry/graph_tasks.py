"""Telling graphs apart with random networks, and classifying them, by averages over frames or over random orders.

Source: the experiments of Puny et al., "Frame Averaging for Invariant and Equivariant Network Design" (arXiv
2110.03336).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo.data import graph_atlas
from jaxzoo.geometry.frame_averaging import mean_over, members_average
from jaxzoo.geometry.spectral_sort import Members, frame_members, relabelled
from jaxzoo.geometry.uniform_init import uniform_init
from jaxzoo.model import Model
from jaxzoo.train import on_data, supervised

CLOSER = 1e-3
"""Outputs closer than this are the same graph to a network."""


def atlas_matrices():
    """Adjacency matrices of all graphs of 1 to 7 nodes, [k, k] uint8."""
    graphs = []
    for graph in graph_atlas()[1:]:
        a = np.zeros((graph.n, graph.n), np.uint8)
        a[graph.edges[:, 0], graph.edges[:, 1]] = 1
        graphs.append(a | a.T)
    return graphs


def relabelled_members(graphs, n, *, times, limit, key):
    """The frames' members of graphs whose nodes were put into random orders.

    Args:
      graphs: adjacency matrices [k, k].
      n: nodes to pad to.
      times: relabellings of each graph, r.
      limit: as in `spectral_sort.frame_members`.
      key: of the relabellings.

    Returns:
      [r, m, n, n] uint8, laid out like the members of the graphs themselves, since frames' sizes are invariant.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    found = []
    for i in range(times):
        others = [relabelled(rng, a) for a in graphs]
        found.append(frame_members(others, n, limit=limit, key=jax.random.fold_in(key, i)).matrices)
    return np.stack(found)


def shuffled(key, matrices):
    """Padded matrices [m, n, n], each in a random order of its nodes: random elements in the place of a frame's."""

    n = matrices.shape[-1]
    present, place = jnp.diagonal(matrices, axis1=1, axis2=2) > 0, jnp.arange(n)
    drawn = jnp.where(present, jax.random.uniform(key, present.shape), 2.0)  # nodes that are missing stay last
    # Ranks by comparison, and a product with the permutation matrix: no sort, which is slow on CPU, to run and compile.
    before = (drawn[:, :, None] > drawn[:, None]) | (
        (drawn[:, :, None] == drawn[:, None]) & (place[:, None] > place[None])[None]
    )
    moves = (before.sum(2)[:, None] == place[None, :, None]).astype(jnp.float32)  # [m, new place, node]
    out = jnp.einsum("mri,mij,msj->mrs", moves, matrices.astype(jnp.float32), moves)
    return out.astype(matrices.dtype)


def tell_apart(network, alike, graphs, inits, key, matrices, graph, again):
    """Which graphs a random network tells apart, and how far relabelling moves its outputs.

    Args:
      network: a `Model` [n, n] -> [c], averaged over the members.
      alike: [p, 2] pairs of graphs that are looked at.
      graphs: number of graphs, g.
      inits: random initialisations; two graphs are told apart if one of them puts their outputs `CLOSER` or more apart.
      key: of these.
      matrices, graph: [m, n, n] and [m] of the graphs' `Members`.
      again: [r, m, n, n] those of relabelled graphs.

    Returns:
      {"separated": share of the pairs, "unresolved": number of pairs of all graphs, "moved": the largest change of an
      output, "moved random": the same with as many random orders in the place of the frame}.
    """
    key_init, key_shuffle = jax.random.split(key)
    average = members_average(network.apply, graph, graphs)
    networks = jax.vmap(lambda key: network.init(key, matrices[0]))(jax.random.split(key_init, inits))

    def farthest(far, params):
        y = average(params, matrices)  # [g, c]
        square = jax.lax.map(lambda row: jnp.square(y - row[None]).sum(1), y, batch_size=64)
        return jnp.maximum(far, jnp.sqrt(square)), None

    far, _ = jax.lax.scan(farthest, jnp.zeros((graphs, graphs)), networks)
    # With the first network: all members, those of the relabelled graphs, and random orders of both, in one pass.
    params = jax.tree.map(lambda leaf: leaf[0], networks)
    pair = jnp.stack([matrices, again[0]])
    random = shuffled(key_shuffle, pair.reshape(-1, *matrices.shape[1:])).reshape(pair.shape)
    y = jax.lax.map(lambda each: average(params, each), jnp.concatenate([matrices[None], again, random]))
    return {
        "separated": (far[alike[:, 0], alike[:, 1]] > CLOSER).mean(),
        "unresolved": ((far < CLOSER).sum() - graphs) // 2,
        "moved": jnp.abs(y[1:-2] - y[:1]).max(),
        "moved random": jnp.abs(y[-1] - y[-2]).max(),
    }


ORDERS = ("frame", "random", "one random", "as given")


def order_data(members: Members, given, orders):
    """The part of `graph_task`'s data that says which orders of its nodes a graph is seen in.

    Args:
      members: of the graphs' frames.
      given: [g, n, n] the graphs as they are, padded.
      orders: "frame"; "random", as many orders drawn anew; "one random" (augmentation); or "as given" in training, and
        one random order in the test.

    Returns:
      A dict of arrays; they have the same shapes for all four.

    Raises:
      ValueError: orders is none of the four.
    """
    if orders not in ORDERS:
        raise ValueError(f"orders: expected one of {', '.join(ORDERS)}, got {orders!r}")
    m, g = len(members.graph), len(members.start)
    single = orders in ("one random", "as given")
    return {
        "table": np.concatenate([members.matrices, given]),
        "start": m + np.arange(g, dtype=np.int32) if orders == "as given" else members.start,
        "count": np.ones(g, np.int32) if orders == "as given" else members.count,
        "shuffle": np.array(orders in ("random", "one random")),
        "shuffle test": np.array(orders != "frame"),
        "one": np.array(single),
        "counted": np.isin(np.arange(m), members.start) if single else np.ones(m, bool),
        "graph": members.graph,
    }


def blank_data(graphs, members, n, times):
    """The input of `graph_task` for so many graphs of n nodes, their members and relabellings: of its shapes, blank."""
    graph = np.repeat(np.arange(graphs, dtype=np.int32), members)
    first = graph[:graphs]
    blank = Members(np.zeros((len(graph), n, n), np.uint8), graph, first, first)
    order = order_data(blank, np.zeros((graphs, n, n), np.uint8), "frame")
    test = jnp.zeros((times, *blank.matrices.shape), jnp.uint8)
    return jax.tree.map(jnp.asarray, order | {"label": first}) | {"test": test}


def graph_classifier(network):
    """A linear layer on the average of a network's outputs: [k, n, n] -> [2] logits."""

    def init(key, xs):
        net = network.init(key, xs[0])
        y = jax.eval_shape(network.apply, net, xs[0])
        return {"net": net, "head": jnp.zeros((*y.shape, 2))}

    def apply(params, xs, *, key=None):
        return mean_over(network.apply)(params["net"], xs) @ params["head"]

    return uniform_init(Model(init, apply))


def graph_task(network, *, members, rate, trained=None):
    """Classification of graphs in two classes, averaged over members of their frames.

    Args:
      network: a `Model` [n, n] -> [c].
      members: random members of each graph's frame in an update.
      rate: Adam's learning rate.
      trained: so many graphs, the first, are for training, and the others for the test; None for all in both.

    Returns:
      A task of the input `order_data(...) | {"label": [g], "test": [r, m, n, n]}`, which evaluates "accuracy" over
      whole frames of the graphs in "test".
    """
    model = graph_classifier(network)

    def make(data):
        part = slice(0, trained)

        def sampler(key):
            key_member, key_order = jax.random.split(key)
            start, count, label = data["start"][part], data["count"][part], data["label"][part]
            drawn = jax.random.uniform(key_member, (members, len(start))) * count[None]
            xs = data["table"][start[None] + drawn.astype(int)]  # [k, g, n, n]
            flat = xs.reshape(-1, *xs.shape[2:])
            other = shuffled(key_order, flat).reshape(xs.shape)
            xs = jnp.where(data["shuffle"], other, xs)
            return jnp.swapaxes(jnp.where(data["one"], xs[:1], xs), 0, 1), label

        def evaluate(params):
            def logits(xs):
                xs = jnp.where(data["shuffle test"], shuffled(jax.random.key(1), xs), xs)
                average = members_average(network.apply, data["graph"], len(data["label"]))
                return average(params["net"], xs, mask=data["counted"]) @ params["head"]

            right = jax.lax.map(logits, data["test"]).argmax(-1) == data["label"][None]  # [r, g]
            return {"accuracy": right[:, trained or 0 :].mean()}

        loss = optax.losses.softmax_cross_entropy_with_integer_labels
        return supervised(model, loss, sampler, optax.flatten(optax.adam(rate)), evaluate=evaluate)

    return on_data(make)
