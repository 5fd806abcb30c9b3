"""Sets by name: which loader reads each, and what is known of them."""

import numpy as np
import pytest

from jaxzoo.data import DataError
from jaxzoo.graphs.higcn import PUBLISHED, higcn
from jaxzoo.graphs.node_sets import NODE_SETS, blank_node_set, node_set, texas_null_model

FIRST_FILE = {
    "cora": "ind.cora.allx",
    "pubmed": "ind.pubmed.allx",
    "computers": "amazon_electronics_computers.npz",
    "photo": "amazon_electronics_photo.npz",
    "film": "film/out1_node_feature_label.txt",
    "texas": "texas/out1_node_feature_label.txt",
}


@pytest.mark.parametrize("name", FIRST_FILE)
def test_each_set_has_its_files(tmp_path, name):
    with pytest.raises(DataError, match=f"missing file: {FIRST_FILE[name]}"):
        node_set(tmp_path, name)


def test_features_are_divided_by_their_sum(tmp_path):
    (tmp_path / "wisconsin").mkdir()
    nodes = "node_id\tfeature\tlabel\n0\t1,3\t1\n1\t0,0\t0\n"
    (tmp_path / "wisconsin" / "out1_node_feature_label.txt").write_text(nodes)
    (tmp_path / "wisconsin" / "out1_graph_edges.txt").write_text("node_id\tnode_id\n0\t1\n")
    np.testing.assert_allclose(node_set(tmp_path, "wisconsin").x, [[0.25, 0.75], [0, 0]])


def test_an_unknown_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"name: expected one of cora, .*, got 'dora'"):
        node_set(tmp_path, "dora")


def test_null_models_of_texas(tmp_path):
    (tmp_path / "nullModel_Texas").mkdir()
    (tmp_path / "nullModel_Texas" / "Texas_1_generate-0.5.txt").write_text("0 58\n58 13\n")
    assert texas_null_model(tmp_path, "-0.5").tolist() == [[0, 58], [13, 58]]
    with pytest.raises(DataError, match=r"missing file: nullModel_Texas/Texas_1_generate0\.1\.txt .*Yiminghh/HiGCN"):
        texas_null_model(tmp_path, "0.1")


@pytest.mark.parametrize("name", NODE_SETS)
def test_every_set_has_published_options(name):
    options = dict(PUBLISHED[name])
    assert {options.pop("rate") > 0, options.pop("decay") >= 0} == {True}
    higcn(classes=NODE_SETS[name].classes, **options)


def test_blank_sets_have_the_sizes():
    x, y, (pairs, triangles) = blank_node_set(NODE_SETS["texas"])
    shapes = [a.shape for a in (x, y, pairs.members, triangles.members, triangles.degree)]
    assert shapes == [(183, 1703), (183,), (279, 2), (67, 3), (183,)]
