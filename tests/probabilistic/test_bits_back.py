"""Bits-back coding of single images; compressors of files; glyphs."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.probabilistic import bits_back, rans
from jaxzoo.probabilistic.file_compressors import COMPRESSORS, compressed_bits, png_bits
from jaxzoo.probabilistic.glyphs import draw_font, glyphs


def test_the_elbo_is_a_bound_that_the_net_rate_approaches():
    model, encode, decode = bits_back.vae(6, 3, 2, 8)
    key_init, key_x, key_z = jax.random.split(jax.random.key(0), 3)
    params = model.init(key_init, jnp.zeros(6, jnp.uint8))
    x = jax.random.randint(key_x, (60, 6), 0, 3)
    mean, log_scale = jax.vmap(encode, (None, 0))(params, x)
    pmf = jax.jit(lambda z: jax.nn.softmax(jax.vmap(decode, (None, 0))(params, z)))
    found = bits_back.single_files(x, mean, log_scale, pmf, np.random.default_rng(0))
    keys = jax.random.split(key_z, 50)
    draws = jax.vmap(lambda key: jax.vmap(lambda x: model.apply(params, x, key=key))(x))(keys)
    np.testing.assert_allclose(found["net"].mean(), draws.mean() / np.log(2), atol=0.5)
    # A file holds the net bits, the initial bits, and a state of 31 to 32 bits and a rounded byte.
    extra = found["file"] - found["net"] - found["initial"]
    assert extra.min() > 23
    assert np.median(extra) < 48
    assert extra.max() < 80


def test_posterior_masses():
    edges, middles = bits_back.latent_bins(6)
    assert np.all((edges[:-1] < middles) & (middles < edges[1:]))
    uniform = bits_back.posterior_frequencies(np.zeros(1), np.zeros(1), edges)
    assert np.ptp(uniform) <= 64
    narrow = bits_back.posterior_frequencies(np.array([middles[9]]), np.array([-8.0]), edges)
    assert narrow[0].argmax() == 9
    assert narrow[0, 9] > 0.99 * 2**rans.BITS


def test_compressors_and_png_of_a_constant_and_of_noise():
    blank, noise = np.zeros((50, 64), np.uint8), np.random.default_rng(0).integers(0, 256, (50, 64)).astype(np.uint8)
    for name, bits in compressed_bits(blank).items():
        assert bits < 0.3, name
        assert compressed_bits(noise)[name] >= 8
    assert set(COMPRESSORS) == {"zlib", "bz2", "lzma"}
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(noise[0].reshape(8, 8)).save(file, "PNG", optimize=True)
    np.testing.assert_allclose(png_bits(noise[:1].reshape(1, 8, 8)), 8 * len(file.getvalue()) / 64)
    with pytest.raises(ValueError, match="uint8"):
        compressed_bits(np.zeros((2, 2)))


def test_glyphs_of_a_font():
    import matplotlib

    font = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    from pathlib import Path

    drawn = draw_font(Path(font))
    assert len(drawn) > 300
    assert all(image.shape == (16, 16) and image.max() > 127 for image in drawn)
    with pytest.raises(ValueError, match="divisor of 16"):
        glyphs(5)
