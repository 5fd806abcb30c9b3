"""Node classification sets in the text form of Geom-GCN: Texas, Wisconsin, Chameleon, Squirrel, film (Actor), ..."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxzoo.data.arrays import npz
from jaxzoo.data.dataset import DataError
from jaxzoo.data.folder import find_file, reading, sha256_of

MAX_BYTES = 256 << 20
"""The largest of the files, that of Squirrel's features, has 22 MB."""
MAX_NODES = 100_000
FILM_FEATURES = 932
"""Width of film, the one set that lists the positions of ones and not the zeros between them."""
NODE_HEADER = ["node_id", "feature", "label"]
EDGE_HEADER = ["node_id", "node_id"]


class NodeGraph(NamedTuple):
    """A graph with features and classes of its nodes.

    Attributes:
      x: [n, f] float32 features.
      y: [n] int32 classes.
      edges: [e, 2] int32, each edge once, smaller node first, in sorted order; directions and loops are dropped.
      name: what it is called here.
      licence: terms of use.
      source: who made it.
      sha256: of the bytes of the files.
    """

    x: np.ndarray
    y: np.ndarray
    edges: np.ndarray
    name: str
    licence: str
    source: str
    sha256: str


def geom_gcn(folder: Path, name: str) -> NodeGraph:
    """A set from `folder/NAME/out1_node_feature_label.txt` and `out1_graph_edges.txt`, or from `folder/new_data/NAME`.

    Tables with tabs and a header: node, features separated by commas, class; and the two nodes of each edge.

    Args:
      folder: the data folder, as from `data_folder`.
      name: of the set's folder: "texas", "wisconsin", "cornell", "chameleon", "squirrel", "film".

    Returns:
      The graph.

    Raises:
      DataError: a file is missing or too large, or a line is not as it should be.
    """
    paths = [
        find_file(folder, f"{name}/{file}", f"new_data/{name}/{file}", called=f"{file} of the Geom-GCN repository")
        for file in ("out1_node_feature_label.txt", "out1_graph_edges.txt")
    ]
    x, y = _nodes(paths[0], _rows(paths[0], NODE_HEADER), FILM_FEATURES if name == "film" else None)
    edges = _edges(paths[1], _rows(paths[1], EDGE_HEADER), len(y))
    return NodeGraph(
        x=x,
        y=y,
        edges=edges,
        name=name,
        licence="no licence stated by the source",
        source="Pei et al.: Geom-GCN, arXiv 2002.05287",
        sha256=sha256_of(*paths),
    )


def geom_gcn_split(folder: Path, name: str, number: int) -> dict[str, np.ndarray]:
    """One of Geom-GCN's ten splits, from `folder/splits/NAME_split_0.6_0.2_NUMBER.npz`.

    Args:
      folder: the data folder.
      name: of the set.
      number: 0 to 9.

    Returns:
      {"train", "validation", "test": [n] booleans}.

    Raises:
      DataError: the file is missing, damaged or without its three masks of one length and no common node.
    """
    file = f"splits/{name}_split_0.6_0.2_{number}.npz"
    arrays = npz(folder, file)
    try:
        masks = [arrays[mask].astype(bool) for mask in ("train_mask", "val_mask", "test_mask")]
    except KeyError as error:
        raise DataError(f"{Path(folder) / file}: expected the array {error}, got {', '.join(arrays)}") from None
    if len({mask.shape for mask in masks}) > 1 or masks[0].ndim != 1 or (np.sum(masks, axis=0) > 1).any():
        raise DataError(f"{Path(folder) / file}: expected three masks of one length that share no node")
    return dict(zip(("train", "validation", "test"), masks, strict=True))


def _rows(path: Path, header: list[str]) -> list[list[str]]:
    """The cells of every line after the header."""
    with reading(path):
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}")
        lines = path.read_text("utf-8-sig").splitlines()
    rows = [line.split("\t") for line in lines]
    # Film's header has the number of features in brackets.
    if not rows or [cell.partition("(")[0] for cell in rows[0]] != header:
        raise DataError(f"{path}, line 1: expected the columns {', '.join(header)}")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise DataError(f"{path}, line {number}: expected {len(header)} cells with tabs between them")
    return rows[1:]


def _nodes(path: Path, rows: list[list[str]], ones: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Features and classes; `ones` is the width of features that are given by the positions of ones."""
    if not 0 < len(rows) <= MAX_NODES:
        raise DataError(f"{path}: expected 1 to {MAX_NODES} nodes, got {len(rows)}")
    width = ones or rows[0][1].count(",") + 1
    x, y = np.zeros((len(rows), width), np.float32), np.zeros(len(rows), np.int32)
    seen = np.zeros(len(rows), bool)
    for number, (node, features, label) in enumerate(rows, 2):
        try:
            values = np.array(features.split(","), int if ones else np.float32)
            at, y_at = int(node), int(label)
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}, line {number}: {error}") from None
        if not 0 <= at < len(rows) or seen[at]:
            raise DataError(f"{path}, line {number}: expected each node of 0 to {len(rows) - 1} once, got {node[:100]}")
        if not 0 <= y_at < len(rows):
            raise DataError(f"{path}, line {number}: expected a class of 0 or more, got {label[:100]}")
        fits = (values >= 0).all() and (values < width).all() if ones else values.shape == (width,)
        if not fits or not np.isfinite(values).all():
            raise DataError(f"{path}, line {number}: expected {width} finite features, or positions below {width}")
        x[at, values if ones else slice(None)] = 1 if ones else values
        y[at], seen[at] = y_at, True
    return x, y


def _edges(path: Path, rows: list[list[str]], nodes: int) -> np.ndarray:
    edges = np.zeros((len(rows), 2), np.int32)
    for number, row in enumerate(rows, 2):
        try:
            edges[number - 2] = [int(cell) for cell in row]
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}, line {number}: {error}") from None
        if not (edges[number - 2].min() >= 0 and edges[number - 2].max() < nodes):
            raise DataError(f"{path}, line {number}: expected two nodes of 0 to {nodes - 1}, got {row}")
    return undirected(edges)


def undirected(edges: np.ndarray) -> np.ndarray:
    """[e, 2] pairs of nodes -> [e', 2] int32, each pair once, smaller node first, in sorted order and without loops."""
    edges = np.sort(edges[edges[:, 0] != edges[:, 1]], axis=1)
    return np.unique(edges, axis=0).reshape(-1, 2).astype(np.int32)
