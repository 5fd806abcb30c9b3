"""The problems of the paper from files of their true formats, and how they are scored."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxzoo import data
from jaxzoo.data import DataError
from jaxzoo.elastic import nested_problems as problems
from jaxzoo.elastic.baselines import squared_error
from jaxzoo.elastic.nested_measures import best_shapes, matthews, pearson
from jaxzoo.elastic.nested_training import Rule
from jaxzoo.experiment.discover import experiments_folder, load
from jaxzoo.train import fit

EXPERIMENT = load(experiments_folder() / "elastic" / "sortednet.py")
SMALL = dataclasses.replace(EXPERIMENT.PRESETS["paper"], shrink=12, tokens=6, text_batch=2, held_out=(4, 8))
D, HIDDEN, VOCABULARY = 64, 256, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", ".")


@pytest.fixture
def glue_folder(tmp_path):
    """SST-2 and STS-B of a few lines, and a BERT of one block."""
    bert = tmp_path / "bert-base-uncased"
    for folder in (bert, tmp_path / "SST-2", tmp_path / "STS-B"):
        folder.mkdir()
    (bert / "vocab.txt").write_text("\n".join(VOCABULARY))
    shapes = {"word": (len(VOCABULARY), D), "position": (512, D), "token_type": (2, D)}
    shapes = {f"embeddings.{name}_embeddings.weight": shape for name, shape in shapes.items()}
    at = "encoder.layer.0"
    dense = {f"{at}.attention.self.{name}": (D, D) for name in ("query", "key", "value")}
    dense |= {f"{at}.attention.output.dense": (D, D), "pooler.dense": (D, D)}
    dense |= {f"{at}.intermediate.dense": (HIDDEN, D), f"{at}.output.dense": (D, HIDDEN)}
    norms = ("embeddings.LayerNorm", f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm")
    shapes |= {f"{n}.weight": s for n, s in dense.items()} | {f"{n}.bias": s[:1] for n, s in dense.items()}
    shapes |= {f"{n}.{part}": (D,) for n in norms for part in ("gamma", "beta")}
    save_file({f"bert.{n}": np.full(s, 0.01, np.float32) for n, s in shapes.items()}, bert / "model.safetensors")
    for part in ("train", "dev"):
        (tmp_path / "SST-2" / f"{part}.tsv").write_text("sentence\tlabel\ngood good .\t1\nbad\t0\nbad .\t0\n")
        (tmp_path / "STS-B" / f"{part}.tsv").write_text("sentence1\tsentence2\tscore\ngood\tbad\t2.5\nbad\tbad\t5.0\n")
    return tmp_path


def test_bert_on_glue_trains_from_files(glue_folder):
    problem = EXPERIMENT.text_problem(SMALL, "glue", lambda: glue_folder)
    np.testing.assert_array_equal(problem.test[0][0], [[2, 4, 4, 6, 3, 0], [0] * 6, [1, 1, 1, 1, 1, 0]])
    np.testing.assert_array_equal(problem.test[1], [1, 0, 0])
    rule = Rule(jnp.zeros((2, 1)), jnp.asarray(False), *map(jnp.float32, (0, 1e-3, 2)))
    trained = fit(EXPERIMENT.problem_task(problem), jax.random.key(0), 2, rule)
    assert np.isfinite(trained.history["loss"]).all()
    assert trained.state.params["embed"]["words"][4].mean() == pytest.approx(0.01, abs=3e-3)


def test_scores_of_similarity_are_regressed(glue_folder):
    problem = EXPERIMENT.text_problem(dataclasses.replace(SMALL, task="sts-b"), "glue", lambda: glue_folder)
    assert problem.loss is squared_error
    assert problem.model.init(jax.random.key(0))["out"]["bias"].shape == (1,)
    np.testing.assert_array_equal(problem.test[1], [2.5, 5.0])


def test_missing_files_are_named(glue_folder, tmp_path):
    (tmp_path / "SST-2" / "dev.tsv").unlink()
    missing = {"glue": "SST-2/dev.tsv", "decoder": "train.bin or train.npy"}
    for name, file in missing.items():
        with pytest.raises(DataError, match=f"missing file: {file}"):
            EXPERIMENT.text_problem(SMALL, name, lambda: tmp_path)
    (tmp_path / "bert-base-uncased" / "vocab.txt").unlink()
    with pytest.raises(DataError, match=r"missing file: bert-base-uncased/vocab.txt"):
        EXPERIMENT.text_problem(SMALL, "glue", lambda: tmp_path)
    with pytest.raises(DataError, match=r"missing file: cifar-10-batches-bin/data_batch_1.bin"):
        EXPERIMENT.image_problem(SMALL, "mobilenet", lambda: tmp_path)


def test_cifar_from_files_is_varied_in_training_alone(tmp_path):
    (tmp_path / "cifar-10-batches-bin").mkdir()
    rows = np.random.default_rng(0).integers(0, 10, (8, 3073), dtype=np.uint8)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (tmp_path / "cifar-10-batches-bin" / f"{name}.bin").write_bytes(rows.tobytes())
    problem = EXPERIMENT.image_problem(SMALL, "mobilenet", lambda: tmp_path)
    assert problem.grid.shape == (100, 2)
    assert [len(part[0]) for part in (problem.validation, problem.test)] == [4, 8]
    np.testing.assert_array_equal(problem.test[1], rows[:, 0])
    np.testing.assert_allclose(problem.test[0].mean((0, 1, 2)), 0, atol=0.02)
    x, _ = jax.jit(problem.sampler)(jax.random.key(0))
    assert x.shape == (128, 32, 32, 3)
    assert len({image.tobytes() for image in np.asarray(x)}) > 40
    assert problem.batches.shape == (10, 128, 32, 32, 3)


def test_the_decoder_reads_token_files(tmp_path):
    (np.arange(3000) % 32_000).astype("<u2").tofile(tmp_path / "train.bin")
    config = dataclasses.replace(SMALL, shrink=32, begin=False)
    problem = EXPERIMENT.text_problem(config, "decoder", lambda: tmp_path)
    x, y = problem.sampler(jax.random.key(0))
    assert x.shape == (1, 96)
    np.testing.assert_array_equal(y, x + 1)
    assert problem.grid.tolist() == [[1, l] for l in range(1, 9)]


def test_correlations_are_those_of_numpy():
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(size=(40, 3, 2)).astype(np.float32), rng.integers(0, 2, 40)
    got = jax.jit(lambda x: matthews(x, jnp.asarray(labels))(lambda x: x))(outputs)
    chosen = outputs.argmax(-1)
    np.testing.assert_allclose(got, [np.corrcoef(chosen[:, i], labels)[0, 1] for i in range(3)], atol=1e-5)
    targets = rng.normal(size=40).astype(np.float32)
    got = jax.jit(lambda x: pearson(x, jnp.asarray(targets))(lambda x: x))(outputs[..., :1])
    np.testing.assert_allclose(got, [np.corrcoef(outputs[:, i, 0], targets)[0, 1] for i in range(3)], atol=1e-5)
    constant = jax.jit(lambda x: pearson(x, jnp.asarray(targets))(lambda x: x))(np.ones((40, 2, 1), np.float32))
    np.testing.assert_array_equal(constant, [0, 0])


def test_squared_errors_are_of_targets_or_of_the_first_network():
    outputs, targets = jnp.array([[[1.0], [2.0]], [[3.0], [5.0]]]), jnp.array([0.0, 4.0])
    assert squared_error(outputs, targets, 0.0) == pytest.approx((1 + 4 + 9 + 1) / 4)
    assert squared_error(outputs, targets, 1.0) == pytest.approx((1 + 4 + 4 + 9) / 4)


def test_the_best_shapes_leave_room_for_subsets():
    grid, costs = jnp.array([[1, 1], [2, 1], [4, 1]]), jnp.array([1.0, 2.0, 4.0])
    got = best_shapes(jnp.array([0.2, 0.5, 0.9]), grid, costs, [1.0, 4.0])
    np.testing.assert_array_equal(got, [[1, 1], [2, 1]])


def test_tasks_of_the_experiment_are_those_of_the_loader():
    assert tuple(data.GLUE) == EXPERIMENT.TASKS
    assert problems.SETTLING == 10
