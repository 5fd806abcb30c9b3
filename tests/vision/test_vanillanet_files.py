"""The preset `paper` of VanillaNet, made tiny, on class folders that are written here."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxzoo import data
from jaxzoo.experiment.discover import experiments_folder, load
from jaxzoo.experiment.seeds import over_seeds
from jaxzoo.train import fit

EXPERIMENT = load(experiments_folder() / "vision" / "vanillanet.py")
SMALL = {"dims": (4,), "strides": (), "n": 1, "depth": 0, "residual": (4,), "classes": 3, "stored": 12, "side": 8}
TINY = dataclasses.replace(EXPERIMENT.PRESETS["paper"], **SMALL, batch=8, parts=2, steps=4, epoch=1, faded=0.5)


@pytest.fixture
def runner(tmp_path):
    """Of a run whose data folder holds four pictures to train on and three to test on."""
    rng = np.random.default_rng(0)
    for i, place in enumerate(["train/a", "train/a", "train/b", "train/c", "val/a", "val/b", "val/c"]):
        path = tmp_path / place / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 16 + i, 3), np.uint8)).save(path)
    return types.SimpleNamespace(data_dir=tmp_path, seeds=1)


def test_two_updates_on_files(runner, monkeypatch):
    """All but the augmentation, which is long to compile and has tests of its own."""
    monkeypatch.setattr(EXPERIMENT, "augment", lambda key, x, side, aspect: EXPERIMENT.seen(x[:side, :side]))
    sampler, test = EXPERIMENT.from_files(TINY, runner)
    assert (test[0].shape, test[0].dtype, test[1].tolist()) == ((3, 8, 8, 3), np.uint8, [0, 1, 2])
    task = EXPERIMENT.arm_task(TINY, sampler, test)
    trained = fit(task, jax.random.key(0), 2, jnp.float32(TINY.faded * TINY.steps))
    assert np.isfinite(trained.history["loss"]).all()
    assert trained.history["lam"].tolist() == [0, 0.5]
    assert 0 <= trained.evaluations["accuracy"][0] <= 1
    assert trained.state.batch["head"].count == 2  # one for each update, whatever its parts


def test_pictures_come_from_the_disk_alike_for_any_way_over_seeds(runner):
    store = data.image_store(runner.data_dir, "train", side=5)
    draw = EXPERIMENT.streamed(store, 6)
    x, labels, aspect = jax.jit(draw)(jax.random.key(3))
    for picture, label, shape in zip(x, labels, aspect, strict=True):
        (at,) = [i for i, stored in enumerate(store.x) if np.array_equal(stored, picture)]
        assert (store.y[at], store.aspect[at]) == (label, shape)
    for way in ("loop", "vmap", "sharded"):
        keys = jax.random.split(jax.random.key(0), 3)
        mapped, _ = over_seeds(draw, (), (keys,), way=way)
        expected = [jax.jit(draw)(key)[0] for key in jax.random.split(jax.random.key(0), 3)]
        np.testing.assert_array_equal(mapped((), (keys,))[0], np.stack(expected))


def test_what_is_drawn_for_the_network(runner):
    sampler, _ = EXPERIMENT.from_files(TINY, runner)
    x, targets = jax.eval_shape(sampler, jax.random.key(0))
    assert (x.shape, x.dtype) == ((4, 8, 8, 3), jnp.float32)
    assert (targets.shape, targets.dtype) == ((4, 3), jnp.float32)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(data.DataError, match=r"val: folder not found; put pictures there"):
        EXPERIMENT.from_files(TINY, types.SimpleNamespace(data_dir=tmp_path))


@pytest.mark.parametrize("depth", [5, 13])
def test_the_depth_brings_sizes_and_rates(depth):
    recipe = EXPERIMENT.recipe_of(dataclasses.replace(TINY, depth=depth))
    assert (len(recipe.dims), recipe.decay, recipe.mixup) == {5: (4, 0.35, 0.1), 13: (12, 0.25, 0.4)}[depth]
    assert EXPERIMENT.recipe_of(TINY).dims == (4,)
