"""TUDataset's sets and lists of edges: what is read, and what is refused."""

import numpy as np
import pytest

from jaxzoo.data import DataError, edge_list, tu_dataset

FILES = {
    "A": "1, 2\n2, 1\n4,3\n3, 4\n5, 5\n",
    "graph_indicator": "1\n1\n2\n2\n2\n",
    "graph_labels": "1\n-1\n",
    "node_labels": "3\n7\n3\n3\n5\n",
    "node_attributes": "0.5, 1\n-1.0, 2e1\n0,0\n0,0\n1,1\n",
}


def write(folder, name="PTC_MR", **changed):
    folder.mkdir(parents=True, exist_ok=True)
    for part, text in (FILES | changed).items():
        if text is not None:
            (folder / f"{name}_{part}.txt").write_text(text)


@pytest.mark.parametrize("inside", ["PTC_MR", "PTC_MR/raw"])
def test_graphs_nodes_and_classes(tmp_path, inside):
    write(tmp_path / inside)
    found = tu_dataset(tmp_path, "PTC_MR")
    assert found.y.tolist() == [1, 0]
    assert found.graph.tolist() == [0, 0, 1, 1, 1]
    assert found.edges.tolist() == [[0, 1], [2, 3]]
    assert found.labels.tolist() == [0, 2, 0, 0, 1]
    np.testing.assert_allclose(found.attributes, [[0.5, 1], [-1, 20], [0, 0], [0, 0], [1, 1]])
    assert {a.dtype for a in (found.y, found.graph, found.edges, found.labels)} == {np.dtype(np.int32)}
    assert (found.name, len(found.sha256)) == ("PTC_MR", 64)


def test_nodes_without_labels(tmp_path):
    write(tmp_path / "PTC_MR", node_labels=None, node_attributes=None)
    found = tu_dataset(tmp_path, "PTC_MR")
    assert found.labels is None
    assert found.attributes is None


@pytest.mark.parametrize("part", ["A", "graph_indicator", "graph_labels"])
def test_a_missing_file_is_named(tmp_path, part):
    write(tmp_path / "PTC_MR", **{part: None})
    with pytest.raises(DataError, match=rf"missing file: PTC_MR/PTC_MR_{part}\.txt or PTC_MR/raw/.* PTC_MR\.zip"):
        tu_dataset(tmp_path, "PTC_MR")


HOSTILE = {
    "no edges": ("A", "", "expected numbers in every line, got nothing"),
    "blank lines": ("graph_labels", "\n\n", "expected numbers in every line, got nothing"),
    "an edge to nowhere": ("A", "1, 6\n", "expected two nodes of 1 to 5"),
    "node 0": ("A", "0, 1\n", "expected two nodes of 1 to 5"),
    "three nodes": ("A", "1, 2, 3\n", "expected two nodes of 1 to 5"),
    "between graphs": ("A", "1, 3\n", "expected edges within graphs"),
    "no number": ("A", "1, x\n", "could not convert"),
    "a comment": ("A", "# 1, 2\n1, 2\n", "can't be read"),
    "a huge number": ("A", f"1, {10**30}\n", "can't be read"),
    "other columns": ("A", "1, 2\n1\n", "can't be read"),
    "graph 0": ("graph_indicator", "0\n0\n1\n1\n1\n", "expected the nodes of 2 graphs one after the other"),
    "a graph too many": ("graph_indicator", "1\n1\n2\n2\n3\n", "expected the nodes of 2 graphs"),
    "a graph without nodes": ("graph_labels", "1\n1\n1\n", "expected the nodes of 3 graphs"),
    "nodes in disorder": ("graph_indicator", "1\n2\n1\n2\n2\n", "one after the other"),
    "two graphs a node": ("graph_indicator", "1,1\n1,1\n2,1\n2,1\n2,1\n", "expected one integer in a line"),
    "half a class": ("graph_labels", "1\n0.5\n", "can't be read"),
    "a label too few": ("node_labels", "3\n7\n3\n3\n", "expected a line for each of 5 nodes, got 4"),
    "not finite": ("node_attributes", "1\n2\nnan\n4\n5\n", "expected finite numbers"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path, case):
    part, text, message = HOSTILE[case]
    write(tmp_path / "PTC_MR", **{part: text})
    with pytest.raises(DataError, match=message) as refused:
        tu_dataset(tmp_path, "PTC_MR")
    assert "PTC_MR_" in str(refused.value)


def test_a_file_far_too_large_is_not_read(tmp_path):
    write(tmp_path / "PTC_MR")
    with (tmp_path / "PTC_MR" / "PTC_MR_A.txt").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="expected at most 268435456 bytes"):
        tu_dataset(tmp_path, "PTC_MR")


def test_a_list_of_edges(tmp_path):
    (tmp_path / "a.txt").write_text("0 58\n58 0\n3 3\n58 13\n")
    edges = edge_list(tmp_path, "b.txt", "a.txt", nodes=59, called="a list")
    assert edges.tolist() == [[0, 58], [13, 58]]
    assert edges.dtype == np.int32


@pytest.mark.parametrize("text", ["", "0 59\n", "-1 0\n", "0 1 2\n", "0,1\n", "0 x\n"])
def test_wrong_lists_of_edges_are_refused(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(DataError, match=r"a\.txt"):
        edge_list(tmp_path, "a.txt", nodes=59, called="a list")
