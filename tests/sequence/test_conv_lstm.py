"""ConvLSTM: against its equations written out in NumPy; clips against frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jaxzoo.sequence import conv_lstm
from jaxzoo.transforms import as_model

U, D = 2, 3


def parameters(dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = {"input": (3, 3, U, 4 * D), "hidden": (3, 3, D, 4 * D), "bias": (4 * D,)}
    return {name: jax.random.normal(key, shapes[name], dtype) / 3 for key, name in zip(keys, shapes, strict=True)}


def correlate(x, w):
    pairs = ((i, o) for i in range(w.shape[2]) for o in range(w.shape[3]))
    out = np.zeros((*x.shape[:2], w.shape[3]))
    for i, o in pairs:
        out[..., o] += scipy.signal.correlate2d(x[..., i], w[:, :, i, o], "same")
    return out


def test_a_frame_against_the_equations():
    params = parameters()
    keys = jax.random.split(jax.random.key(1), 3)
    u, h, c = (jax.random.normal(key, (4, 5, n)) for key, n in zip(keys, (U, D, D), strict=True))
    gates = correlate(u, np.asarray(params["input"])) + correlate(h, np.asarray(params["hidden"]))
    i, f, g, o = np.split(gates + np.asarray(params["bias"]), 4, -1)
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    expected_c = sigmoid(f) * np.asarray(c) + sigmoid(i) * np.tanh(g)
    found_h, found_c = conv_lstm.conv_lstm_cell(params, (h, c), u)
    np.testing.assert_allclose(found_c, expected_c, atol=1e-5)
    np.testing.assert_allclose(found_h, sigmoid(o) * np.tanh(expected_c), atol=1e-5)


def test_a_clip_is_its_frames_one_after_the_other_and_can_be_cut():
    params = parameters()
    u = jax.random.normal(jax.random.key(2), (6, 4, 5, U))
    (h, c), every = conv_lstm.conv_lstm(params, u)
    state = (jnp.zeros((4, 5, D)),) * 2
    for t in range(6):
        state = conv_lstm.conv_lstm_cell(params, state, u[t])
        np.testing.assert_allclose(every[t], state[0], atol=1e-6)
    np.testing.assert_allclose(c, state[1], atol=1e-6)
    middle, first = conv_lstm.conv_lstm(params, u[:2])
    (last, _), second = conv_lstm.conv_lstm(params, u[2:], middle)
    np.testing.assert_allclose(jnp.concatenate([first, second]), every, atol=1e-6)
    np.testing.assert_allclose(last, h, atol=1e-6)


def test_the_layer_forgets_little_at_the_start():
    layer = as_model(conv_lstm.ConvLSTMLayer(D))
    u = jax.random.normal(jax.random.key(0), (3, 4, 4, 8))
    params = layer.init(jax.random.key(1), u)
    np.testing.assert_array_equal(params["bias"], np.repeat([0.0, 1.0, 0.0, 0.0], D))
    y, (h, c) = layer.apply(params, u)
    assert y.shape == u.shape
    assert h.shape == c.shape == (4, 4, D)


def test_misfits_are_refused():
    params, state = parameters(), (jnp.zeros((4, 4, D)),) * 2
    with pytest.raises(ValueError, match=r"u: expected a frame \[h, w, 2\], got \(4, 4, 3\)"):
        conv_lstm.conv_lstm_cell(params, state, jnp.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="state: expected two of"):
        conv_lstm.conv_lstm_cell(params, state, jnp.zeros((5, 4, 2)))
    with pytest.raises(ValueError, match="params: kernels and bias do not fit"):
        conv_lstm.conv_lstm_cell(params | {"bias": jnp.zeros(3)}, state, jnp.zeros((4, 4, 2)))
