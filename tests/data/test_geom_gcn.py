"""Node classification sets in Geom-GCN's text form: what is read, and what is refused."""

import numpy as np
import pytest

from jaxzoo.data import DataError, geom_gcn, geom_gcn_split

NODES = ["node_id\tfeature\tlabel", "1\t0,1,1\t2", "0\t1,0,0\t0", "2\t0,0,1\t1"]
EDGES = ["node_id\tnode_id", "0\t1", "1\t0", "2\t2", "2\t0"]


def write(folder, nodes=NODES, edges=EDGES, name="texas"):
    (folder / name).mkdir(parents=True)
    (folder / name / "out1_node_feature_label.txt").write_text("\n".join(nodes) + "\n")
    (folder / name / "out1_graph_edges.txt").write_text("\n".join(edges) + "\n")


@pytest.mark.parametrize("inside", [".", "new_data"])
def test_features_classes_and_edges(tmp_path, inside):
    write(tmp_path / inside)
    graph = geom_gcn(tmp_path, "texas")
    assert graph.x.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert graph.y.tolist() == [0, 2, 1]
    assert graph.edges.tolist() == [[0, 1], [0, 2]]
    assert (graph.x.dtype, graph.y.dtype, graph.edges.dtype) == (np.float32, np.int32, np.int32)
    assert (graph.name, len(graph.sha256)) == ("texas", 64)


def test_film_lists_positions(tmp_path):
    header = "node_id\tfeature(feature_amount:931)\tlabel"
    write(tmp_path, [header, "0\t3,931\t0", "1\t0\t1"], [EDGES[0], "0\t1"], "film")
    graph = geom_gcn(tmp_path, "film")
    assert graph.x.shape == (2, 932)
    assert [np.flatnonzero(row).tolist() for row in graph.x] == [[3, 931], [0]]


def test_no_edges(tmp_path):
    write(tmp_path, edges=EDGES[:1])
    assert geom_gcn(tmp_path, "texas").edges.shape == (0, 2)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"missing file: cornell/out1_node_feature_label\.txt or new_data/cornell"):
        geom_gcn(tmp_path, "cornell")


HOSTILE = {
    "nothing": ([""], EDGES, "line 1: expected the columns node_id, feature, label"),
    "no nodes": (NODES[:1], EDGES, "expected 1 to 100000 nodes, got 0"),
    "a cell missing": ([*NODES[:3], "2\t0,0,1"], EDGES, "line 4: expected 3 cells"),
    "a node twice": ([*NODES[:3], "0\t0,0,1\t1"], EDGES, "line 4: expected each node of 0 to 2 once, got 0"),
    "a node too high": ([*NODES[:3], "3\t0,0,1\t1"], EDGES, "line 4: expected each node of 0 to 2 once"),
    "a huge node": ([*NODES[:3], f"{10**30}\t0,0,1\t1"], EDGES, "line 4: expected each node"),
    "other width": ([*NODES[:3], "2\t0,0\t1"], EDGES, "line 4: expected 3 finite features"),
    "not finite": ([*NODES[:3], "2\t0,nan,1\t1"], EDGES, "line 4: expected 3 finite features"),
    "no number": ([*NODES[:3], "2\t0,x,1\t1"], EDGES, "line 4: could not convert"),
    "no class": ([*NODES[:3], "2\t0,0,1\t-1"], EDGES, "line 4: expected a class of 0 or more"),
    "other columns": (NODES, ["a\tb", "0\t1"], "edges.txt, line 1: expected the columns node_id, node_id"),
    "an edge to nowhere": (NODES, [*EDGES, "0\t3"], "edges.txt, line 6: expected two nodes of 0 to 2"),
    "an edge below": (NODES, [*EDGES, "-1\t1"], "edges.txt, line 6: expected two nodes"),
    "a huge edge": (NODES, [*EDGES, f"0\t{10**30}"], "edges.txt, line 6: "),
    "no edge": (NODES, [*EDGES, "0\tx"], "edges.txt, line 6: invalid literal"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path, case):
    nodes, edges, message = HOSTILE[case]
    write(tmp_path, nodes, edges)
    with pytest.raises(DataError, match=message):
        geom_gcn(tmp_path, "texas")


@pytest.mark.parametrize("features", ["932", "-1", "1.5", "nan", str(10**30)])
def test_hostile_positions_are_refused(tmp_path, features):
    write(tmp_path, [NODES[0], f"0\t{features}\t0"], EDGES[:1], "film")
    with pytest.raises(DataError, match="line 2"):
        geom_gcn(tmp_path, "film")


def test_a_file_far_too_large_is_not_read(tmp_path):
    write(tmp_path)
    with (tmp_path / "texas" / "out1_graph_edges.txt").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="expected at most 268435456 bytes"):
        geom_gcn(tmp_path, "texas")


def write_split(folder, **masks):
    (folder / "splits").mkdir()
    np.savez(folder / "splits" / "texas_split_0.6_0.2_3.npz", **masks)


def test_splits(tmp_path):
    masks = np.arange(5) % 3 == np.arange(3)[:, None]
    write_split(tmp_path, train_mask=masks[0], val_mask=masks[1].astype(np.uint8), test_mask=masks[2])
    split = geom_gcn_split(tmp_path, "texas", 3)
    assert list(split) == ["train", "validation", "test"]
    np.testing.assert_array_equal(np.stack(list(split.values())), masks)


def test_wrong_splits_are_refused(tmp_path):
    with pytest.raises(DataError, match="missing file: splits/texas_split"):
        geom_gcn_split(tmp_path, "texas", 4)
    write_split(tmp_path, train_mask=np.ones(3, bool), val_mask=np.ones(3, bool))
    with pytest.raises(DataError, match="expected the array 'test_mask'"):
        geom_gcn_split(tmp_path, "texas", 3)


def test_splits_that_share_a_node_are_refused(tmp_path):
    write_split(tmp_path, **dict.fromkeys(("train_mask", "val_mask", "test_mask"), np.ones(3, bool)))
    with pytest.raises(DataError, match="three masks of one length that share no node"):
        geom_gcn_split(tmp_path, "texas", 3)
