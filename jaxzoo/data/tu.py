"""Graph classification sets of TUDataset: MUTAG, PROTEINS, NCI1, IMDB-BINARY, REDDIT-BINARY, ..."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxzoo.data.dataset import DataError
from jaxzoo.data.folder import find_file, sha256_of
from jaxzoo.data.geom_gcn import undirected
from jaxzoo.data.number_table import number_table


class GraphSet(NamedTuple):
    """Many graphs with a class each, as one graph of them all, side by side.

    Attributes:
      y: [g] int32 classes of the graphs, 0, 1, ... in the order of the file's labels.
      graph: [n] int32 the graph of each node, ascending.
      edges: [e, 2] int32 pairs of nodes, each edge once, smaller node first, in sorted order, without loops.
      labels: [n] int32 kinds of nodes, 0, 1, ... in the order of the file's labels; None where nodes have none.
      attributes: [n, a] float32; None where nodes have none.
      name: what it is called here.
      licence: terms of use.
      source: who made it.
      sha256: of the bytes of the files.
    """

    y: np.ndarray
    graph: np.ndarray
    edges: np.ndarray
    labels: np.ndarray | None
    attributes: np.ndarray | None
    name: str
    licence: str
    source: str
    sha256: str


def tu_dataset(folder: Path, name: str) -> GraphSet:
    """A set from `NAME/NAME_A.txt`, `NAME_graph_indicator.txt`, `NAME_graph_labels.txt` and what it has for its nodes.

    Those, `NAME_node_labels.txt` and `NAME_node_attributes.txt`, may be absent. Nodes and graphs count from 1 in files.

    Args:
      folder: the data folder, as from `data_folder`.
      name: of the set's folder, as in the files' names: "MUTAG", "PTC_MR", "IMDB-BINARY".

    Returns:
      The graphs.

    Raises:
      DataError: a file is missing, too large or damaged, or they don't fit together.
    """
    edges, graph, y = (_find(folder, name, part) for part in ("A", "graph_indicator", "graph_labels"))
    optional = {part: edges.with_name(f"{name}_{part}.txt") for part in ("node_labels", "node_attributes")}
    optional = {part: path for part, path in optional.items() if path.is_file()}
    classes = _renumbered(_column(y))
    of_node = _column(graph) - 1
    n = len(of_node)
    sizes = np.bincount(of_node, minlength=len(classes)) if n and of_node.min() >= 0 else np.zeros(1)
    if (np.diff(of_node) < 0).any() or len(sizes) != len(classes) or not sizes.all():
        raise DataError(f"{graph}: expected the nodes of {len(classes)} graphs one after the other, counted from 1")
    labels, attributes = (
        read(optional[part]) if part in optional else None
        for part, read in (("node_labels", _column), ("node_attributes", _floats))
    )
    for part, values in (("node_labels", labels), ("node_attributes", attributes)):
        if values is not None and len(values) != n:
            raise DataError(f"{optional[part]}: expected a line for each of {n} nodes, got {len(values)}")
    return GraphSet(
        y=classes,
        graph=of_node.astype(np.int32),
        edges=_edges(edges, of_node),
        labels=None if labels is None else _renumbered(labels),
        attributes=attributes,
        name=name,
        licence="no licence stated by the source",
        source="Morris et al.: TUDataset, arXiv 2007.08663",
        sha256=sha256_of(edges, graph, y, *optional.values()),
    )


def _find(folder: Path, name: str, part: str) -> Path:
    file = f"{name}_{part}.txt"
    return find_file(
        folder, f"{name}/{file}", f"{name}/raw/{file}", called=f"{file} in {name}.zip of TUDataset, unpacked"
    )


def _column(path: Path) -> np.ndarray:
    table = number_table(path, np.int64, delimiter=",")
    if table.shape[1] != 1:
        raise DataError(f"{path}: expected one integer in a line, got {table.shape[1]}")
    return table[:, 0]


def _floats(path: Path) -> np.ndarray:
    return number_table(path, np.float32, delimiter=",")


def _renumbered(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)


def _edges(path: Path, graph: np.ndarray) -> np.ndarray:
    table, n = number_table(path, np.int64, delimiter=",") - 1, len(graph)
    if table.shape[1] != 2 or table.min() < 0 or table.max() >= n:
        raise DataError(f"{path}: expected two nodes of 1 to {n} in a line")
    if (graph[table[:, 0]] != graph[table[:, 1]]).any():
        raise DataError(f"{path}: expected edges within graphs, got one between two")
    return undirected(table)
