"""Real graphs that jaxzoo carries, as arrays."""

from typing import NamedTuple

import numpy as np

from jaxzoo.data.tables import read_arrays

NETWORKX = "no licence stated by the source; read from networkx, BSD-3-Clause"


class Graph(NamedTuple):
    """An undirected graph without loops.

    Attributes:
      edges: [e, 2] int32, each edge once, smaller node first, in sorted order.
      weights: [e] float32, ones where edges have no weight.
      n: number of nodes.
      node_names: n names, or () where nodes have none.
      labels: [n] int32 classes of the nodes, or None where there are none.
      name: what it is called here.
      licence: terms of use.
      source: who made it.
      sha256: of the bytes of the file that was read.
    """

    edges: np.ndarray
    weights: np.ndarray
    n: int
    node_names: tuple[str, ...]
    labels: np.ndarray | None
    name: str
    licence: str
    source: str
    sha256: str


def _graph(name: str, sha256: str, source: str) -> Graph:
    arrays = read_arrays(name, sha256)
    return Graph(
        edges=arrays["edges"].astype(np.int32),
        weights=arrays["weights"].astype(np.float32),
        n=len(arrays["names"]),
        node_names=tuple(arrays["names"].tolist()),
        labels=arrays["labels"].astype(np.int32) if len(arrays["labels"]) else None,
        name=name,
        licence=NETWORKX,
        source=source,
        sha256=sha256,
    )


def karate() -> Graph:
    """Zachary's karate club: 34 members, 78 edges weighted by shared activities; label 1 who left with the officer."""
    return _graph(
        "karate",
        "691aa11f1ebc564daddf43d8230730a587945e35c4fd80cf0d267ab87df42739",
        "Zachary: An Information Flow Model for Conflict and Fission in Small Groups (1977)",
    )


def davis() -> Graph:
    """Southern women and the events they went to: bipartite, 18 women (label 0), 14 events (label 1), 89 edges."""
    return _graph(
        "davis",
        "2623222d88cdac0410dcae2211bc5bd23c4a51f3fcfa2a3c24c042540df68d2a",
        "Davis, Gardner, Gardner: Deep South (1941)",
    )


def florentine() -> Graph:
    """Marriages between Florentine families: 15 families, 20 edges."""
    return _graph(
        "florentine",
        "9391111e091de0f207bc15aa7520d51f66b28cb8290e40276136be1b7049c3a2",
        "Breiger, Pattison: Cumulated Social Roles, Social Networks 8 (1986)",
    )


def les_miserables() -> Graph:
    """Characters of Les Miserables: 77 nodes, 254 edges weighted by the chapters they share."""
    return _graph(
        "les_miserables",
        "e8671b9d2b2cb09715c21c3e6140acc3289cedcb8cbb39263d8686f0fdb6958d",
        "Knuth: The Stanford GraphBase (1993)",
    )


def graph_atlas() -> tuple[Graph, ...]:
    """Every graph of 0 to 7 nodes up to isomorphism, 1253 in all, by number of nodes, then of edges, then degrees."""
    sha256 = "b9ec8e359d39832be76ce7394849a1c319c680a9148ba8c022ea4ffefb8be623"
    arrays = read_arrays("graph_atlas", sha256)
    ends = np.cumsum(arrays["edge_counts"], dtype=int)
    edges = np.split(arrays["edges"].astype(np.int32), ends[:-1])
    return tuple(
        Graph(
            edges=pairs,
            weights=np.ones(len(pairs), np.float32),
            n=n,
            node_names=(),
            labels=None,
            name=f"G{i}",
            licence=NETWORKX,
            source="Read, Wilson: An Atlas of Graphs (1998)",
            sha256=sha256,
        )
        for i, (n, pairs) in enumerate(zip(arrays["node_counts"].tolist(), edges, strict=True))
    )
