"""The preset `paper` on small files of the true formats."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxzoo.data import DataError, tu_dataset
from jaxzoo.experiment.discover import experiments_folder, load
from jaxzoo.experiment.runner import Runner
from jaxzoo.graphs.graph_sets import GRAPH_SETS
from jaxzoo.graphs.node_sets import NODE_SETS

EXPERIMENT = load(experiments_folder() / "graphs" / "higcn.py")
TINY = dataclasses.replace(
    EXPERIMENT.PRESETS["paper"],
    seeds=2, sweep=(0.1,), rho=(-0.5, 0.1), swaps=0.2, orders=3, k=1, hidden=4, steps=2, epochs=1, batch=8,
)  # fmt: skip
N = 30


def write_texas(folder):
    rng = np.random.default_rng(0)
    (folder / "texas").mkdir()
    x = rng.integers(2, size=(N, 6))
    nodes = [f"{i}\t{','.join(map(str, row))}\t{i % 5}" for i, row in enumerate(x)]
    (folder / "texas" / "out1_node_feature_label.txt").write_text("\n".join(["node_id\tfeature\tlabel", *nodes]))
    pairs = [(i, (i + step) % N) for i in range(N) for step in (1, 2, 3)]
    edges = "\n".join(f"{a}\t{b}" for a, b in pairs)
    (folder / "texas" / "out1_graph_edges.txt").write_text(f"node_id\tnode_id\n{edges}\n")
    (folder / "nullModel_Texas").mkdir()
    for rho, kept in (("-0.5", 40), ("0.1", 60)):
        text = "\n".join(f"{a} {b}" for a, b in pairs[:kept])
        (folder / "nullModel_Texas" / f"Texas_1_generate{rho}.txt").write_text(text)


def write_proteins(folder, graphs=25):
    (folder / "PROTEINS").mkdir()
    edges = [(4 * g + a, 4 * g + b) for g in range(graphs) for a, b in [(1, 2), (2, 3), (1, 3), (3, 4)][: 3 + g % 2]]
    files = {
        "A": edges + [(b, a) for a, b in edges],
        "graph_indicator": [(1 + i // 4,) for i in range(4 * graphs)],
        "graph_labels": [(1 + g % 2,) for g in range(graphs)],
        "node_labels": [(i % 3,) for i in range(4 * graphs)],
    }
    for part, rows in files.items():
        text = "\n".join(", ".join(map(str, row)) for row in rows)
        (folder / "PROTEINS" / f"PROTEINS_{part}.txt").write_text(text + "\n")


def test_texas_with_its_null_models(tmp_path):
    write_texas(tmp_path)
    runner = Runner(2, jax.random.key(0), data_dir=tmp_path)
    splits, graphs = EXPERIMENT.graphs_from_files(TINY, runner)
    assert list(graphs) == ["main", "swapped", "s0.1", "rho-0.5", "rho0.1"]
    assert {name: int((c[0].members[:, 0] < N).sum()) for name, (_, _, c) in graphs.items()} == {
        "main": 90, "swapped": 90, "s0.1": 90, "rho-0.5": 40, "rho0.1": 60,
    }  # fmt: skip
    x, y, complex = graphs["main"]
    assert (x.shape, y.shape, len(complex)) == ((N, 6), (N,), 3)
    assert int((complex[2].members[:, 0] < N).sum()) == N  # 4-cliques i to i + 3
    # Of each of 5 classes of 6 nodes round(0.6 * 30 / 5) = 4.
    assert [mask.sum() for mask in (splits[part][0] for part in ("train", "validation", "test"))] == [20, 6, 4]
    task = EXPERIMENT.arm_task(EXPERIMENT.settled(TINY), "p3", 0.1, 5, graphs["main"])
    trained = runner.train("node/p3", task, 2, splits)
    assert np.isfinite(trained.history["loss"]).all()
    assert runner.stages[-1].failures == []


def test_whole_graphs(tmp_path):
    write_proteins(tmp_path)
    config = dataclasses.replace(TINY, orders=2)
    loaded = tu_dataset(tmp_path, config.graph_set)
    results = EXPERIMENT.whole_graphs(config, Runner(2, jax.random.key(0)), loaded)
    assert list(results) == ["graphs p1", "graphs p1 last", "graphs p2", "graphs p2 last"]
    assert all(value.shape == (2,) and ((value >= 0) & (value <= 1)).all() for value in results.values())


def test_missing_files_are_named(tmp_path):
    runner = Runner(2, jax.random.key(0), data_dir=tmp_path)
    with pytest.raises(DataError, match=r"PROTEINS/PROTEINS_A\.txt"):
        EXPERIMENT.run(TINY, runner)
    write_proteins(tmp_path)
    with pytest.raises(DataError, match=r"texas/out1_node_feature_label\.txt"):
        EXPERIMENT.run(TINY, runner)
    write_texas(tmp_path)
    (tmp_path / "nullModel_Texas" / "Texas_1_generate0.1.txt").unlink()
    with pytest.raises(DataError, match=r"nullModel_Texas/Texas_1_generate0\.1\.txt"):
        EXPERIMENT.run(TINY, runner)


def test_every_set_can_be_chosen():
    assert {*EXPERIMENT.HOMOPHILOUS, *EXPERIMENT.HETEROPHILOUS} == set(NODE_SETS)
    assert {*EXPERIMENT.MOLECULES, *EXPERIMENT.SOCIAL} == set(GRAPH_SETS)


def test_published_options():
    paper = EXPERIMENT.PRESETS["paper"]
    squirrel = EXPERIMENT.settled(dataclasses.replace(paper, graph="squirrel"))
    assert (squirrel.rate, squirrel.alpha, squirrel.decay, squirrel.dropout) == (0.3, 1.0, 0.0, 0.6)
    for own in (dataclasses.replace(paper, published=False), EXPERIMENT.PRESETS["default"]):
        assert EXPERIMENT.settled(own) == own
