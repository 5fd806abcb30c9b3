"""Does the similarity of latent spaces tell how good a model is? Graph networks of varied quality, and a good one.

Source: Moschella et al., "Relative representations enable zero-shot latent space communication" (arXiv 2209.15430),
Sec. 4.2 and Fig. 4, with a stochastic block graph in the place of Cora.
"""

import jax
import jax.numpy as jnp
import optax

from jaxzoo.graphs.gcn import gcn_layer, init_gcn_layer
from jaxzoo.representation.latent_spaces import linear_cka, mean_cosine
from jaxzoo.representation.relative_representations import relative, select_anchors
from jaxzoo.train import Task

BLOCKS, NODES, LABELLED, FEATURES, HIDDEN = 4, 240, 80, 16, 32
PAIRS = 1400
"""Room for edges; a graph has 890 with a standard deviation of 30."""


def block_graph(key, *, p_in=0.08, p_out=0.015):
    """A stochastic block graph whose nodes carry noisy indicators of their block.

    Args:
      key: of the graph.
      p_in, p_out: chance of an edge within and between blocks.

    Returns:
      {"x": [n, 16] features, indicators plus noise of standard deviation 1, "label": [n] blocks, "senders",
      "receivers": [2 x 1400] both directions of each edge and padding, "mask": False for padding}.
    """
    key_label, key_edge, key_noise = jax.random.split(key, 3)
    label = jax.random.permutation(key_label, jnp.arange(NODES) % BLOCKS)
    i, j = jnp.triu_indices(NODES, 1)
    drawn = jax.random.bernoulli(key_edge, jnp.where(label[i] == label[j], p_in, p_out))
    (edges,) = jnp.nonzero(drawn, size=PAIRS, fill_value=0)
    mask = jnp.arange(PAIRS) < drawn.sum()
    indicator = jnp.tile(jax.nn.one_hot(label, BLOCKS), FEATURES // BLOCKS)  # [n, 16]
    return {
        "x": indicator + jax.random.normal(key_noise, indicator.shape),
        "label": label,
        "senders": jnp.concatenate([i[edges], j[edges]]),
        "receivers": jnp.concatenate([j[edges], i[edges]]),
        "mask": jnp.concatenate([mask, mask]),
    }


def gcn(params, graph, width, drop=None):
    """Two graph convolutions, of whose hidden units the first `width` are used.

    Args:
      params: of the layers "in" and "out".
      graph: as from `block_graph`.
      width: number of hidden units, at most 32; may be traced.
      drop: [n, 32] factors of dropout, or None.

    Returns:
      `(hidden, logits)`: [n, 32] hidden values before their ReLU, and [n, blocks].
    """
    edges, mask = (graph["senders"], graph["receivers"]), graph["mask"]
    hidden = gcn_layer(params["in"], graph["x"], *edges, edge_mask=mask) * (jnp.arange(HIDDEN) < width)[None]
    active = jax.nn.relu(hidden) if drop is None else jax.nn.relu(hidden) * drop
    return hidden, gcn_layer(params["out"], active, *edges, edge_mask=mask)


def varied_gcns(count, steps):
    """The task of training many graph networks at once, the first of them well, the others with drawn settings.

    Rates are log-uniform in 1e-4 to 1e-1, dropout uniform in 0 to 0.8, widths in 16 to 32, and each stops at a step of
    its own. The good one has rate 0.01, dropout 0.5, width 32 and all steps.

    Args:
      count: number of networks beside the good one.
      steps: number of updates of the training.

    Returns:
      A task whose state has "graph" and, with a leading axis of count + 1, "params" and the settings.
    """
    optimizer = optax.scale_by_adam()
    n = count + 1

    def init(key):
        key_graph, key_in, key_out, key_rate, key_drop, key_width, key_stop = jax.random.split(key, 7)
        params = {
            "in": jax.vmap(lambda key: init_gcn_layer(key, FEATURES, HIDDEN))(jax.random.split(key_in, n)),
            "out": jax.vmap(lambda key: init_gcn_layer(key, HIDDEN, BLOCKS))(jax.random.split(key_out, n)),
        }
        return {
            "graph": block_graph(key_graph),
            "params": params,
            "memory": jax.vmap(optimizer.init)(params),
            "rate": (10 ** jax.random.uniform(key_rate, (n,), minval=-4, maxval=-1)).at[0].set(1e-2),
            "dropout": jax.random.uniform(key_drop, (n,), maxval=0.8).at[0].set(0.5),
            "width": jax.random.randint(key_width, (n,), 16, HIDDEN + 1).at[0].set(HIDDEN),
            "stop": jax.random.randint(key_stop, (n,), 1, steps + 1).at[0].set(steps),
            "step": jnp.int32(0),
        }

    def loss(params, graph, width, dropout, key):
        drop = jax.random.bernoulli(key, 1 - dropout, (NODES, HIDDEN)) / (1 - dropout)
        _, logits = gcn(params, graph, width, drop)
        label = graph["label"][:LABELLED]
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits[:LABELLED], label).mean()

    def update(state, key):
        def one(params, memory, rate, dropout, width, stop, key):
            value, gradient = jax.value_and_grad(loss)(params, state["graph"], width, dropout, key)
            change, moved = optimizer.update(gradient, memory)
            going = state["step"] < stop
            params = jax.tree.map(lambda p, u: jnp.where(going, p - rate * u, p), params, change)
            return params, jax.tree.map(lambda new, old: jnp.where(going, new, old), moved, memory), value

        swept = [state[name] for name in ("params", "memory", "rate", "dropout", "width", "stop")]
        params, memory, values = jax.vmap(one)(*swept, jax.random.split(key, n))
        return state | {"params": params, "memory": memory, "step": state["step"] + 1}, {"loss": values[0]}

    return Task(init, update)


def correlations(key, state):
    """How the accuracy on unlabelled nodes goes with the similarity to the good network, over the others.

    Args:
      key: of the choice of n / 4 nodes as anchors.
      state: of `varied_gcns`, after training.

    Returns:
      {"graph_similarity", "graph_accuracy": [count], "correlation": Pearson's, "correlation_cka": with linear CKA in
      the place of the relative similarity}.
    """
    graph = state["graph"]
    latent, logits = jax.vmap(gcn, (0, None, 0))(state["params"], graph, state["width"])
    right = (logits.argmax(-1) == graph["label"][None])[1:, LABELLED:]  # [count, unlabelled]
    accuracy = right.mean(1)
    anchors = select_anchors(key, latent[0], NODES // 4)
    described = jax.vmap(lambda e: relative(e, e[anchors]))(latent)
    similarity = jax.vmap(mean_cosine, (0, None))(described[1:], described[0])
    cka = jax.vmap(linear_cka, (0, None))(latent[1:], latent[0])
    return {
        "graph_similarity": similarity,
        "graph_accuracy": accuracy,
        "correlation": jnp.corrcoef(similarity, accuracy)[0, 1],
        "correlation_cka": jnp.corrcoef(cka, accuracy)[0, 1],
    }
