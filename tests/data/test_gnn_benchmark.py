"""Amazon's sets in gnn-benchmark's archives: what is read, and what is refused."""

import numpy as np
import pytest
from scipy import sparse

from jaxzoo.data import DataError, gnn_benchmark

NAME = "amazon_electronics_photo"
X = np.array([[0, 1.5, 0], [2, 0, 0], [0, 0, 0], [0, 3, 4]], np.float32)
ADJACENCY = np.array([[1, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0]], np.float32)
Y = np.array([1, 0, 2, 1], np.int8)


def write(folder, **changed):
    arrays = {"labels": Y, "class_names": np.array(["a", "b", "c"])}
    for name, dense in (("adj", ADJACENCY), ("attr", X)):
        matrix = sparse.csr_matrix(dense)
        parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": matrix.shape}
        arrays |= {f"{name}_{part}": np.array(value) for part, value in parts.items()}
    arrays = {name: value for name, value in (arrays | changed).items() if value is not None}
    np.savez(folder / f"{NAME}.npz", **arrays)


@pytest.mark.parametrize("inside", [".", "data/npz", "raw"])
def test_features_classes_and_edges(tmp_path, inside):
    (tmp_path / inside).mkdir(parents=True, exist_ok=True)
    write(tmp_path / inside)
    graph = gnn_benchmark(tmp_path, NAME)
    np.testing.assert_array_equal(graph.x, X)
    assert graph.y.tolist() == [1, 0, 2, 1]
    assert graph.edges.tolist() == [[0, 1], [1, 2], [1, 3]]
    assert (graph.x.dtype, graph.y.dtype, graph.edges.dtype) == (np.float32, np.int32, np.int32)


def test_objects_beside_the_arrays_are_passed_over(tmp_path):
    write(tmp_path, node_names=np.array([None, "b"], object))
    assert len(gnn_benchmark(tmp_path, NAME).y) == 4


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=rf"missing file: {NAME}.npz or data/npz/{NAME}.npz .*shchur/gnn-benchmark"):
        gnn_benchmark(tmp_path, NAME)


HOSTILE = {
    "an array missing": ({"attr_indptr": None}, "attr_indptr are not there"),
    "objects": ({"labels": np.array([None] * 4, object)}, "expected a plain array of numbers"),
    "no classes": ({"labels": np.array([1, 0, -1, 1])}, "expected the classes of 4 nodes"),
    "too few classes": ({"labels": Y[:3]}, "expected the classes of 4 nodes"),
    "other nodes": ({"adj_shape": np.array([5, 5])}, "expected a graph of 4 nodes"),
    "an edge to nowhere": ({"adj_indices": np.array([0, 1, 3, 1, 4])}, "expected columns 0 to 3, got 0 to 4"),
    "rows backwards": ({"adj_indptr": np.array([0, 3, 2, 4, 5])}, "where 4 rows begin and end"),
    "half a place": ({"attr_indices": np.array([1.0, 0.0, 1.0, 2.0])}, "where 4 rows begin and end"),
    "a huge shape": ({"attr_shape": np.array([4, 2**40])}, "expected at most 268435456 elements"),
    "not finite": ({"attr_data": np.full(4, 1e300)}, "expected finite entries"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path, case):
    changed, message = HOSTILE[case]
    write(tmp_path, **changed)
    with pytest.raises(DataError, match=message) as refused:
        gnn_benchmark(tmp_path, NAME)
    assert f"{NAME}.npz" in str(refused.value)


def test_a_damaged_archive(tmp_path):
    write(tmp_path)
    path = tmp_path / f"{NAME}.npz"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match=f"{NAME}.npz: can't be read"):
        gnn_benchmark(tmp_path, NAME)
