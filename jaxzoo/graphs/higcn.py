"""HiGCN: graph convolution over triangles and larger cliques, with weights that tell how much each order matters.

A graph is lifted to its clique complex. For every order p the features take two steps, node -> p-simplex -> node,

    S_p = D_p^-1/2 H_p H_p^T D_p^-1/2 / (p + 1),     H_p [n, n_p] the incidence, D_p = diag(H_p 1)

whose complement L_p = I - S_p is the flower-petals Laplacian, and go through a learnt polynomial of it:

    Z_p = sum_k gamma_{p,k} S_p^k (X W_p + b_p),     logits = [Z_1, ..., Z_P] W_out + b_out

For pairs, S_1 = (I + D^-1/2 A D^-1/2) / 2. The absolute coefficients sum_k |gamma_{p,k}| are the strength of order p.

Source: Huang, Zeng, Lei, Lü, "Higher-order Graph Convolutional Network with Flower-Petals Laplacians on Simplicial
Complexes" (arXiv 2309.12971).
"""

import jax
import jax.numpy as jnp

from jaxzoo.graphs.node_classification import dropped
from jaxzoo.graphs.polynomial_filter import poly_filter, ppr_coeffs
from jaxzoo.graphs.rewiring import null_model
from jaxzoo.graphs.simplices import Simplices, enumerate_cliques, lift, pad_simplices, simplicial_walk, stack_simplices
from jaxzoo.model import Model

__all__ = [
    "PUBLISHED",
    "Simplices",
    "enumerate_cliques",
    "higcn",
    "higcn_apply",
    "higcn_graph",
    "higcn_graph_apply",
    "higcn_graph_init",
    "higcn_init",
    "lift",
    "null_model",
    "order_strength",
    "pad_simplices",
    "poly_filter",
    "ppr_coeffs",
    "simplicial_walk",
    "stack_simplices",
]

PUBLISHED = {
    "cora": {"rate": 0.1, "alpha": 0.5, "decay": 1e-3, "dropout": 0.5, "dprate": 0.3},
    "citeseer": {"rate": 0.05, "alpha": 0.7, "decay": 0.1, "dropout": 0.2, "dprate": 0.2},
    "pubmed": {"rate": 0.05, "alpha": 0.8, "decay": 5e-3, "dropout": 0.5, "dprate": 0.2},
    "computers": {"rate": 0.1, "alpha": 0.0, "decay": 0.0, "dropout": 0.5, "dprate": 0.7},
    "photo": {"rate": 0.1, "alpha": 0.3, "decay": 0.0, "dropout": 0.3, "dprate": 0.6},
    "chameleon": {"rate": 0.08, "alpha": 0.4, "decay": 0.0, "dropout": 0.65, "dprate": 0.85},
    "squirrel": {"rate": 0.3, "alpha": 1.0, "decay": 0.0, "dropout": 0.6, "dprate": 0.6},
    "film": {"rate": 0.03, "alpha": 0.4, "decay": 0.0, "dropout": 0.9, "dprate": 0.7},
    "texas": {"rate": 0.1, "alpha": 0.5, "decay": 1e-4, "dropout": 0.7, "dprate": 0.7},
    "wisconsin": {"rate": 0.2, "alpha": 0.7, "decay": 5e-4, "dropout": 0.6, "dprate": 0.2},
}
"""Adam's rate and weight decay and the options of `higcn`, as the authors' repository names them for each set."""


def _linear(key, d, f):
    return {"kernel": jax.nn.initializers.glorot_uniform()(key, (d, f)), "bias": jnp.zeros(f)}


def _affine(params, x):
    return x @ params["kernel"] + params["bias"][None]


def higcn_init(key, features, *, classes, hidden=32, orders=2, k=10, alpha=0.5):
    """Parameters of `higcn_apply`.

    Those of order p depend on the key and p alone, so that models of fewer orders share them.

    Args:
      key: of the weights.
      features: width of x.
      classes: number of logits.
      hidden: width of each order's filter.
      orders: P.
      k: highest power of a filter.
      alpha: of the filters' initial weights, `ppr_coeffs`.

    Returns:
      {"in": P affine maps, "gamma": [P, k + 1], "out": an affine map}.
    """
    if orders < 1:
        raise ValueError(f"orders: expected at least 1, got {orders}")
    key_in, key_out = jax.random.split(key)
    return {
        "in": [_linear(jax.random.fold_in(key_in, p), features, hidden) for p in range(orders)],
        "gamma": jnp.tile(ppr_coeffs(alpha, k), (orders, 1)),
        "out": _linear(key_out, orders * hidden, classes),
    }


def higcn_apply(params, x, complex, *, key=None, dropout=0.5, dprate=0.5):
    """Logits of every node. There is no nonlinearity between the two affine maps.

    Args:
      params: as from `higcn_init`.
      x: [n, f] node features.
      complex: `Simplices` of orders 1 to P, as from `lift`.
      key: of dropout, in training; None to predict.
      dropout: rate on x and before the last map.
      dprate: rate before the filters.

    Returns:
      [n, classes].

    Raises:
      ValueError: another number of orders than the parameters have.
    """
    _check_orders(params["gamma"], complex)
    keys = [None] * (2 + len(complex)) if key is None else jax.random.split(key, 2 + len(complex))
    x = dropped(keys[0], x, dropout)
    z = [
        _filtered(gamma, dropped(key_p, _affine(params_p, x), dprate), simplices)
        for params_p, gamma, simplices, key_p in zip(params["in"], params["gamma"], complex, keys[2:], strict=True)
    ]
    return _affine(params["out"], dropped(keys[1], jnp.concatenate(z, axis=1), dropout))


def _check_orders(gamma, complex):
    if len(complex) != gamma.shape[0]:
        raise ValueError(f"complex: expected simplices of {gamma.shape[0]} orders, got {len(complex)}")


def _filtered(gamma, x, simplices):
    return poly_filter(lambda x: simplicial_walk(x, simplices.members, simplices.degree), x, gamma)


def higcn(*, classes, hidden=32, orders=2, k=10, alpha=0.5, dropout=0.5, dprate=0.5):
    """The node classifier as a `Model` of the example `(x, complex)`; options as in `higcn_init`, `higcn_apply`."""

    def init(key, example):
        features = example[0].shape[1]
        return higcn_init(key, features, classes=classes, hidden=hidden, orders=orders, k=k, alpha=alpha)

    def apply(params, example, *, key=None):
        x, complex = example
        return higcn_apply(params, x, complex[:orders], key=key, dropout=dropout, dprate=dprate)

    return Model(init, apply)


def order_strength(params):
    """How much each order counts: s_p = sum_k |gamma_{p,k}|.

    Weight decay shrinks them all: compare shares s_p / sum_q s_q, not sums.

    Args:
      params: as from `higcn_init`.

    Returns:
      [P].
    """
    return jnp.abs(params["gamma"]).sum(1)


def higcn_graph_init(key, features, *, classes, hidden=32, layers=2, orders=2, k=3, alpha=0.5):
    """Parameters of `higcn_graph_apply`; for the arguments see `higcn_init`.

    Returns:
      {"in": an affine map, "layers": of each {"gamma": [P, k + 1], "up", "down": the MLP}, "out": an affine map}.
    """
    if orders < 1 or layers < 1:
        raise ValueError(f"orders, layers: expected at least 1 of each, got {orders} and {layers}")
    key_in, key_out, *keys = jax.random.split(key, 2 + 2 * layers)

    def layer(key_up, key_down):
        gamma = jnp.tile(ppr_coeffs(alpha, k), (orders, 1))
        return {
            "gamma": gamma,
            "up": _linear(key_up, orders * hidden, hidden),
            "down": _linear(key_down, hidden, hidden),
        }

    return {
        "in": _linear(key_in, features, hidden),
        "layers": [layer(*pair) for pair in zip(keys[::2], keys[1::2], strict=True)],
        "out": _linear(key_out, hidden, classes),
    }


def higcn_graph_apply(params, x, complex, *, node_mask=None, pooling="sum", key=None, dropout=0.5):
    """Logits of a whole graph: layers h <- MLP([filtered h of each order]), summed over layers, pooled over nodes.

    NOTE(paper): without the batch normalisation that is usual in such an MLP, so that a graph's logits depend on no
    other graph.

    Args:
      params: as from `higcn_graph_init`.
      x: [n, f] node features.
      complex: `Simplices` of orders 1 to P.
      node_mask: [n] booleans, False for padding.
      pooling: "sum" or "mean", over nodes.
      key: of dropout, in training; None to predict.
      dropout: rate before the last map.

    Returns:
      [classes].

    Raises:
      ValueError: an unknown pooling, or another number of orders than the parameters have.
    """
    if pooling not in ("sum", "mean"):
        raise ValueError(f"pooling: expected sum or mean, got {pooling!r}")
    h, kept = _affine(params["in"], x), 0.0
    for layer in params["layers"]:
        _check_orders(layer["gamma"], complex)
        z = [_filtered(gamma, h, simplices) for gamma, simplices in zip(layer["gamma"], complex, strict=True)]
        h = jax.nn.relu(_affine(layer["up"], jnp.concatenate(z, axis=1)))
        h = jax.nn.relu(_affine(layer["down"], h))
        kept += h
    mask = jnp.ones(x.shape[0], bool) if node_mask is None else node_mask
    pooled = jnp.where(mask[:, None], kept, 0).sum(0, keepdims=True)  # [1, hidden]
    if pooling == "mean":
        pooled /= jnp.maximum(mask.sum(), 1)
    return _affine(params["out"], dropped(key, pooled, dropout))[0]


def higcn_graph(*, classes, hidden=32, layers=2, orders=2, k=3, alpha=0.5, pooling="sum", dropout=0.5):
    """The classifier of graphs as a `Model` of the example `(x, complex, node_mask)`.

    Options are those of `higcn_graph_init` and `higcn_graph_apply`. Orders of the complex above `orders` are left out.
    """

    def init(key, example):
        options = {"hidden": hidden, "layers": layers, "orders": orders, "k": k, "alpha": alpha}
        return higcn_graph_init(key, example[0].shape[1], classes=classes, **options)

    def apply(params, example, *, key=None):
        x, complex, mask = example
        options = {"node_mask": mask, "pooling": pooling, "dropout": dropout}
        return higcn_graph_apply(params, x, complex[:orders], key=key, **options)

    return Model(init, apply)
