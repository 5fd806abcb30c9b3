"""The usual sets for node classification, by name: where each is read from, and how large it is."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxzoo import data
from jaxzoo.graphs.simplices import blank_complex

PLANETOID = ("cora", "citeseer", "pubmed")
AMAZON = ("computers", "photo")


class Size(NamedTuple):
    """What is known of a set before its files are read; the cliques of three and four nodes in its graph included."""

    nodes: int
    features: int
    classes: int
    edges: int
    triangles: int
    tetrahedra: int


NODE_SETS = {
    "cora": Size(2708, 1433, 7, 5278, 1630, 220),
    "citeseer": Size(3327, 3703, 6, 4552, 1167, 255),
    "pubmed": Size(19_717, 500, 3, 44_324, 12_520, 3275),
    "computers": Size(13_752, 767, 10, 245_861, 1_500_000, 10_000_000),
    "photo": Size(7650, 745, 8, 119_081, 700_000, 4_000_000),
    "chameleon": Size(2277, 2325, 5, 31_371, 343_066, 4_829_461),
    "squirrel": Size(5201, 2089, 5, 198_353, 9_595_609, 300_000_000),
    "film": Size(7600, 932, 5, 26_659, 7121, 847),
    "texas": Size(183, 1703, 5, 279, 67, 7),
    "wisconsin": Size(251, 1703, 5, 450, 118, 13),
}
"""Counted in the files; but the cliques of Computers and Photo and the tetrahedra of Squirrel are guesses."""


def node_set(folder, name):
    """A set of `NODE_SETS` from its own files: Planetoid's, gnn-benchmark's, or Geom-GCN's, where film is Actor.

    Args:
      folder: the data folder, as from `jaxzoo.data.data_folder`.
      name: of the set.

    Returns:
      `jaxzoo.data.NodeGraph`; but for Planetoid's sets, features of each node are divided by their sum.

    Raises:
      ValueError: an unknown name.
      jaxzoo.data.DataError: a file is missing or damaged.
    """
    if name not in NODE_SETS:
        raise ValueError(f"name: expected one of {', '.join(NODE_SETS)}, got {name!r}")
    if name in PLANETOID:
        return data.planetoid(folder, name)
    loaded = data.gnn_benchmark(folder, f"amazon_electronics_{name}") if name in AMAZON else data.geom_gcn(folder, name)
    return loaded._replace(x=loaded.x / np.maximum(loaded.x.sum(1, keepdims=True), 1))


def texas_null_model(folder, rho):
    """A null model of Texas as the authors of HiGCN published it.

    Args:
      folder: the data folder.
      rho: by what share it has more triangles than Texas, as in the file's name: "-0.5", "0.1".

    Returns:
      [e, 2] int32, the edges.

    Raises:
      jaxzoo.data.DataError: the file is missing or damaged.
    """
    file = f"nullModel_Texas/Texas_1_generate{rho}.txt"
    called = f"data/{file} of the repository Yiminghh/HiGCN"
    return data.edge_list(folder, file, f"data/{file}", nodes=NODE_SETS["texas"].nodes, called=called)


def blank_node_set(size):
    """`(x, y, complex)` of that size, of zeros and with triangles: for what is traced and not run."""
    complex = blank_complex((size.nodes,), (size.edges, size.triangles))
    return jnp.zeros((size.nodes, size.features)), jnp.zeros(size.nodes, jnp.int32), complex
