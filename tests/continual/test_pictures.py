"""Sets of pictures and frozen backbones on them, from small files in the true formats."""

import dataclasses
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from jaxzoo import data
from jaxzoo.continual.picture_backbones import half_resnet, in_batches, vit_features
from jaxzoo.continual.picture_sets import STATISTICS, Pictures, picture_set
from jaxzoo.experiment.discover import experiments_folder, load
from jaxzoo.experiment.runner import Runner
from jaxzoo.train import fit, needs

EXPERIMENT = load(experiments_folder() / "continual" / "analytic_learning.py")
PAPER = EXPERIMENT.PRESETS["paper"]
HALF = dataclasses.replace(PAPER, source="cifar100-half", size=8192, gamma=0.1, batch=4096)
SMALL = {"widths": (6,), "each": 1, "batch": 4}


def write(path: Path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """CIFAR-100 with 20 + 4 pictures, Tiny-ImageNet with 2 classes of 3 + 1, ImageNet-R with 2 of 5."""
    rng = np.random.default_rng(0)
    noise = lambda side: rng.integers(0, 256, (side, side, 3), dtype=np.uint8)  # noqa: E731
    (tmp_path / "cifar-100-binary").mkdir()
    for name, n in (("train", 20), ("test", 4)):
        rows = rng.integers(0, 256, (n, 2 + 3072), dtype=np.uint8)
        rows[:, 1] = np.arange(n) % 4  # fine labels
        (tmp_path / "cifar-100-binary" / f"{name}.bin").write_bytes(rows.tobytes())
    monkeypatch.setattr(data, "cifar_binary", partial(data.cifar_binary, rows=4))
    tiny = tmp_path / "tiny-imagenet-200"
    for wnid in ("n1", "n2"):
        for i in range(3):
            write(tiny / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", noise(64))
        write(tiny / "val" / "images" / f"val_{wnid}.JPEG", noise(64))
        for i in range(5):
            write(tmp_path / "imagenet-r" / wnid / f"art_{i}.jpg", noise(30))
    (tiny / "wnids.txt").write_text("n1\nn2\n")
    (tiny / "val" / "val_annotations.txt").write_text("val_n2.JPEG\tn2\t0\t0\t9\t9\nval_n1.JPEG\tn1\t0\t0\t9\t9\n")
    return tmp_path


@pytest.fixture
def vit(folder):
    """A ViT of one block for pictures of 32 x 32, in timm's names."""
    rng, d, hidden = np.random.default_rng(1), 6, 8
    shapes = {"cls_token": (1, 1, d), "pos_embed": (1, 5, d), "patch_embed.proj.weight": (d, 3, 16, 16)}
    shapes |= {"patch_embed.proj.bias": (d,), "norm.weight": (d,), "norm.bias": (d,)}
    dense = {"attn.qkv": (3 * d, d), "attn.proj": (d, d), "mlp.fc1": (hidden, d), "mlp.fc2": (d, hidden)}
    for name, shape in {"norm1": (d,), "norm2": (d,), **dense}.items():
        shapes |= {f"blocks.0.{name}.weight": shape, f"blocks.0.{name}.bias": shape[:1]}
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    (folder / "vit").mkdir()
    save_file(tensors, folder / "vit" / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "train", "test", "side"),
    [("cifar100", [5] * 4, [1] * 4, 32), ("tiny-imagenet", [3, 3], [1, 1], 64), ("imagenet-r", [4, 4], [1, 1], 224)],
)
def test_sets_are_bytes_with_the_right_labels(folder, name, train, test, side):
    found = picture_set(folder, name)
    for (x, y), counts in ((found.train, train), (found.test, test)):
        assert (x.shape, x.dtype) == ((sum(counts), side, side, 3), np.uint8)
        assert (np.bincount(y).tolist(), y.dtype) == (counts, np.int32)
    white = found.scaled(np.full((1, 1, 3), 255, np.uint8))[0, 0]
    np.testing.assert_allclose(white, (1 - np.array(found.mean)) / np.array(found.deviation), rtol=1e-5)


def test_cifar_bytes_are_those_of_the_file(folder):
    (x, _), raw = picture_set(folder, "cifar100").train, (folder / "cifar-100-binary" / "train.bin").read_bytes()
    planes = np.frombuffer(raw, np.uint8).reshape(20, -1)[:, 2:].reshape(20, 3, 32, 32)
    np.testing.assert_array_equal(x, planes.transpose(0, 2, 3, 1))


def test_missing_sets_are_named(tmp_path):
    for name, message in (
        ("cifar100", r"missing file: cifar-100-binary/train\.bin in the data folder"),
        ("imagenet-r", "imagenet-r: folder not found; put pictures there"),
        ("tiny-imagenet", r"missing file: tiny-imagenet-200/wnids\.txt in the data folder"),
    ):
        with pytest.raises(data.DataError, match=message):
            picture_set(tmp_path, name)
    with pytest.raises(ValueError, match="name: expected one of cifar100, imagenet-r, tiny-imagenet, got 'digits'"):
        picture_set(tmp_path, "digits")


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_batches_need_not_divide_the_set(batch):
    x, sizes = np.arange(14.0).reshape(7, 2), set()

    def double(x):
        sizes.add(len(x))
        return 2 * x

    np.testing.assert_array_equal(in_batches(double, x, batch), 2 * x)
    assert sizes == {min(batch, 7)}
    with pytest.raises(ValueError, match="expected at least one row and a batch of at least 1, got 7 and 0"):
        in_batches(double, x, 0)


def test_the_problem_of_the_paper_preset_is_read_from_files(folder, vit):
    """As the command line starts it, at the sizes of the files."""
    config = dataclasses.replace(PAPER, source="tiny-imagenet")
    problem = EXPERIMENT.load(config, Runner(2, jax.random.key(0), data_dir=folder))
    assert (problem.train.shape, problem.test.shape, problem.classes) == ((2, 6, 6), (2, 2, 6), 2)
    np.testing.assert_array_equal(problem.train[0], problem.train[1])
    pictures = picture_set(folder, "tiny-imagenet")
    assert problem.y.tolist() == pictures.train[1].tolist()
    in_fours = vit_features(folder, pictures, batch=4)
    np.testing.assert_allclose(in_fours.train_x, problem.train[0], atol=1e-5)
    assert np.std(in_fours.train_x, axis=0).min() > 1e-3


def test_the_problem_of_b50_is_trained_on_half_of_the_classes(folder, monkeypatch):
    monkeypatch.setattr(EXPERIMENT, "half_resnet", partial(half_resnet, **SMALL))
    config = dataclasses.replace(HALF, pretrain_steps=2)
    problem = EXPERIMENT.load(config, Runner(1, jax.random.key(0), data_dir=folder))
    assert (problem.train.shape, problem.test.shape, problem.pretrain.shape) == ((1, 20, 6), (1, 4, 6), (1, 10, 6))
    np.testing.assert_array_equal(problem.pretrain[0], problem.train[0][np.asarray(problem.y) < 2])


def test_a_half_trained_network_learns_its_half():
    rng = np.random.default_rng(0)
    y = np.arange(24, dtype=np.int32) % 4
    x = (rng.integers(0, 60, (24, 8, 8, 3)) + 180 * (y % 2)[:, None, None, None]).astype(np.uint8)
    pictures = Pictures((x, y), (x[:5], y[:5]), *STATISTICS["cifar100"])
    task, encode = half_resnet(pictures, 4, steps=40, rate=0.1, **SMALL)
    trained = fit(task, jax.random.key(0), 40, jnp.float32(0))
    assert trained.history["loss"][-5:].mean() < 0.5 * trained.history["loss"][:5].mean()
    train, test, known = encode(trained.state.params, trained.state.batch)
    assert (train.shape, test.shape, known.shape) == ((24, 6), (5, 6), (12, 6))
    np.testing.assert_allclose(train[:5], test, atol=1e-5)


def test_b50_at_full_scale_needs_the_memory_that_the_docstring_says():
    assert "first 50 classes, 3.8 GB" in " ".join(EXPERIMENT.__doc__.split())
    works = EXPERIMENT.full_scale(HALF)
    assert max(needs(works[name]).peak for name in ("joint", "backbone")) == pytest.approx(3.8e9, rel=0.25)
