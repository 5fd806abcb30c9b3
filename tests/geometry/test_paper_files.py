"""Files of the paper's own data, written here in their formats."""

import networkx as nx
import numpy as np
import pytest

from jaxzoo.data import DataError
from jaxzoo.geometry.paper_files import clouds, exp_pairs, graph6, nbody_files


def test_graph6_against_networkx(tmp_path):
    graphs = [nx.path_graph(1), nx.cycle_graph(5), nx.petersen_graph(), nx.gnp_random_graph(8, 0.5, seed=0)]
    lines = b"".join(nx.to_graph6_bytes(graph, header=i == 0) for i, graph in enumerate(graphs))
    (tmp_path / "few.g6").write_bytes(lines)
    read = graph6(tmp_path, "few.g6")
    assert len(read) == 4
    for a, graph in zip(read, graphs, strict=True):
        np.testing.assert_array_equal(a, nx.to_numpy_array(graph))


@pytest.mark.parametrize(("line", "says"), [(b"D", "line 1: expected 2 bytes"), (b"~??~", "1 to 62 nodes")])
def test_damaged_graph6_is_refused(tmp_path, line, says):
    (tmp_path / "bad.g6").write_bytes(line + b"\n")
    with pytest.raises(DataError, match=says):
        graph6(tmp_path, "bad.g6")


def test_exp(tmp_path):
    arrays = {"nodes": np.array([3, 2]), "edges": np.array([[0, 1], [1, 2], [1, 0]]), "edge_counts": np.array([2, 1])}
    np.savez(tmp_path / "exp.npz", labels=np.array([1, 0]), **arrays)
    graphs, labels = exp_pairs(tmp_path)
    np.testing.assert_array_equal(graphs[0], [[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(graphs[1], [[0, 1], [1, 0]])
    assert labels.tolist() == [1, 0]
    np.savez(tmp_path / "exp.npz", **arrays)
    with pytest.raises(DataError, match="labels missing"):
        exp_pairs(tmp_path)
    np.savez(tmp_path / "exp.npz", labels=np.array([1, 0]), **arrays | {"edges": np.full((3, 2), 5)})
    with pytest.raises(DataError, match="expected nodes 0 to 2, got 5"):
        exp_pairs(tmp_path)


def test_nbody(tmp_path):
    rng = np.random.default_rng(0)
    loc, vel, q = rng.normal(size=(4, 42, 3, 5)), rng.normal(size=(4, 42, 3, 5)), rng.choice([-1.0, 1.0], (4, 5, 1))
    for name, array in (("loc", loc), ("vel", vel), ("charges", q)):
        np.save(tmp_path / f"{name}_train_charged5_initvel1small.npy", array)
    bodies, y = nbody_files(tmp_path, "train")
    np.testing.assert_allclose(bodies.x[1, 4], loc[1, 30, :, 4], rtol=1e-6)
    np.testing.assert_allclose(bodies.v[3, 0], vel[3, 30, :, 0], rtol=1e-6)
    np.testing.assert_allclose(y[2, 2], loc[2, 40, :, 2], rtol=1e-6)
    np.testing.assert_array_equal(bodies.q, q[:, :, 0])
    with pytest.raises(DataError, match="missing file: loc_test_charged5_initvel1small"):
        nbody_files(tmp_path, "test")
    with pytest.raises(DataError, match="more than 60"):
        nbody_files(tmp_path, "train", end=60)


def test_clouds(tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 6, 3))
    np.savez(tmp_path / "abc_train.npz", points=x, normals=x + 1)
    points, normals = clouds(tmp_path, "train")
    assert points.dtype == np.float32
    np.testing.assert_allclose(normals - points, 1, atol=1e-5)
    np.savez(tmp_path / "abc_train.npz", points=x, normals=x[:1])
    with pytest.raises(DataError, match="expected points and normals"):
        clouds(tmp_path, "train")
