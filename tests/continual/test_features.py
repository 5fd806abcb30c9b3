"""Frozen features: the file that a user brings, and the backbone that is trained here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.continual.features import frozen_features
from jaxzoo.continual.glyph_backbone import glyph_backbone
from jaxzoo.data import DataError
from jaxzoo.train import fit

ARRAYS = {
    "train_x": np.ones((4, 3)),
    "train_y": np.array([0, 1, 2, 0]),
    "test_x": np.zeros((2, 3), np.float32),
    "test_y": np.array([1, 2], np.uint8),
    "pretrain_x": np.ones((5, 3), np.float16),
}


def test_a_file_is_read(tmp_path):
    np.savez(tmp_path / "features.npz", **ARRAYS)
    found = frozen_features(tmp_path)
    assert {x.dtype for x in (found.train_x, found.test_x, found.pretrain_x)} == {np.dtype(np.float32)}
    assert (found.train_y.dtype, found.test_y.dtype) == (np.int32, np.int32)
    assert found.pretrain_x.shape == (5, 3)
    assert found.test_y.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_x": None}, "no array test_x; it needs train_x, train_y"),
        ({"test_x": np.zeros((2, 4))}, r"test_x: expected floats \[n, f\], f that of train_x"),
        ({"train_y": np.zeros(4)}, r"train_y: expected integers >= 0 \[4\], got float64"),
        ({"test_y": np.array([1, -1])}, "test_y: expected integers >= 0"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    arrays = {name: array for name, array in (ARRAYS | change).items() if array is not None}
    np.savez(tmp_path / "features.npz", **arrays)
    with pytest.raises(DataError, match=message):
        frozen_features(tmp_path)


def test_a_missing_file_says_where_to_put_it(tmp_path):
    with pytest.raises(DataError, match=r"missing file: features.npz in the data folder"):
        frozen_features(tmp_path)


def test_glyph_features_have_the_scale_of_the_glyphs():
    task, encode = glyph_backbone(classes=4, per_class=20, widths=(16, 8))
    trained = fit(task, jax.random.key(0), 60)
    assert trained.history["loss"][-5:].mean() < 0.8 * trained.history["loss"][0]
    known, new = jax.jit(encode)(trained.state.params, jnp.zeros((3, 8, 8)))
    assert (known.shape, new.shape) == ((80, 8), (3, 8))
    np.testing.assert_allclose(known.mean(0), 0, atol=1e-4)
    assert all(abs(float(s) - 1) < 1e-3 or s < 1e-3 for s in known.std(0))
    np.testing.assert_allclose(new[0], new[1], atol=1e-6)
