"""The data sets of papers on symmetry, read from the user's own folder: graph6 lists, EXP, n-body files, clouds.

EXP is distributed as a pickle, which runs code when it is read, and clouds in several forms; so these two are read from
.npz archives, whose arrays the functions below name.
"""

from pathlib import Path

import numpy as np

from jaxzoo.data import DataError, find_file, npy, npz
from jaxzoo.geometry.n_body import Bodies


def graph6(folder: Path, name: str) -> list[np.ndarray]:
    """The graphs of a graph6 file, such as graph8c.g6, all connected graphs of eight nodes.

    A line is one graph: a byte 63 + n, then the upper triangle column by column, six bits a byte, each plus 63.

    Args:
      folder: the data folder, as from `data.data_folder`.
      name: the file.

    Returns:
      Adjacency matrices [n, n] uint8.

    Raises:
      DataError: the file is missing, or a line is not graph6 of at most 62 nodes.

    Source: McKay, "Description of graph6, sparse6 and digraph6 encodings".
    """
    path = find_file(folder, name, called="a list of graphs in graph6 format, as from McKay's collection")
    lines = path.read_bytes().removeprefix(b">>graph6<<").split()
    return [_graph6(line, f"{path}, line {i}") for i, line in enumerate(lines, 1)]


def _graph6(line, where):
    values = np.frombuffer(line, np.uint8).astype(int) - 63
    n = values[0]
    if not 1 <= n <= 62 or values.min() < 0 or values.max() > 63:
        raise DataError(f"{where}: expected graph6 of 1 to 62 nodes, got {line[:40]!r}")
    bits = (values[1:, None] >> np.arange(5, -1, -1)[None] & 1).ravel()
    pairs = n * (n - 1) // 2
    if len(values) - 1 != -(-pairs // 6):
        raise DataError(f"{where}: expected {-(-pairs // 6)} bytes after the first, got {len(values) - 1}")
    a = np.zeros((n, n), np.uint8)
    a.T[np.tril_indices(n, -1)] = bits[:pairs]
    return a | a.T


def exp_pairs(folder: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """EXP, pairs of graphs that 1-WL can't tell apart, from exp.npz: graphs 2 i and 2 i + 1 are a pair.

    Arrays "nodes" [g] numbers of nodes, "edges" [e, 2] with nodes counted from 0 in each graph, either or both
    directions, "edge_counts" [g] and "labels" [g]. NOTE(paper): node types are left out; the pairs differ without them.

    Returns:
      `(graphs, labels [g] int32)`, graphs as adjacency matrices [n, n] uint8.

    Raises:
      DataError: the file is missing, or its arrays are not as above.
    """
    arrays = npz(folder, "exp.npz")
    _need(arrays, "exp.npz", "nodes", "edges", "edge_counts", "labels")
    counts, edges = arrays["edge_counts"], arrays["edges"]
    if counts.sum() != len(edges) or not len(counts) == len(arrays["nodes"]) == len(arrays["labels"]):
        raise DataError(f"exp.npz: edge_counts add up to {counts.sum()}, and there are {len(edges)} edges")
    graphs = []
    for n, own in zip(arrays["nodes"].tolist(), np.split(edges, np.cumsum(counts)[:-1]), strict=True):
        if len(own) and not 0 <= own.min() <= own.max() < n:
            raise DataError(f"exp.npz: edges of graph {len(graphs)}: expected nodes 0 to {n - 1}, got {own.max()}")
        a = np.zeros((n, n), np.uint8)
        a[own[:, 0], own[:, 1]] = 1
        graphs.append((a | a.T) * (1 - np.eye(n, dtype=np.uint8)))
    return graphs, arrays["labels"].astype(np.int32)


def nbody_files(folder: Path, part: str, *, start=30, end=40) -> tuple[Bodies, np.ndarray]:
    """The charged particles of the EGNN and FA papers, from {loc, vel, charges}_{part}_charged5_initvel1small.npy.

    Args:
      folder: the data folder.
      part: "train", "valid" or "test".
      start, end: the frames to predict from and to.

    Returns:
      `(bodies, y [s, n, 3])`: `Bodies` with a leading axis of simulations.

    Raises:
      DataError: a file is missing or of another shape; loc and vel are [s, frames, 3, n], charges [s, n, 1].
    """
    suffix = f"_{part}_charged5_initvel1small.npy"
    loc, vel, q = (npy(folder, name + suffix).astype(np.float32) for name in ("loc", "vel", "charges"))
    if loc.ndim != 4 or loc.shape != vel.shape or loc.shape[1] <= end or loc.shape[2] != 3:
        raise DataError(f"loc{suffix}: expected [s, more than {end}, 3, n] like vel, got {loc.shape} and {vel.shape}")
    if q.shape != (loc.shape[0], loc.shape[3], 1):
        raise DataError(f"charges{suffix}: expected {(loc.shape[0], loc.shape[3], 1)}, got {q.shape}")
    x, v, y = (np.swapaxes(each, 1, 2) for each in (loc[:, start], vel[:, start], loc[:, end]))
    return Bodies(x, v, q[:, :, 0]), y


def clouds(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Point clouds with normals from abc_{part}.npz: "points" and "normals" [c, n, 3].

    Returns:
      `(points, normals)` float32.

    Raises:
      DataError: the file is missing, or its arrays are not as above.
    """
    name = f"abc_{part}.npz"
    arrays = npz(folder, name)
    _need(arrays, name, "points", "normals")
    points, normals = (arrays[key].astype(np.float32) for key in ("points", "normals"))
    if points.ndim != 3 or points.shape[2] != 3 or points.shape != normals.shape:
        raise DataError(f"{name}: expected points and normals [c, n, 3], got {points.shape} and {normals.shape}")
    return points, normals


def _need(arrays, name, *keys):
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise DataError(f"{name}: expected the arrays {', '.join(keys)}; {', '.join(missing)} missing")
