"""ConvLSTM: an LSTM whose state is a feature map and whose products are convolutions.

    i, f, g, o = W_u * u_t + W_h * h_{t-1} + bias        c_t = sigm(f) c_{t-1} + sigm(i) tanh(g)
                                                         h_t = sigm(o) tanh(c_t)

Source: Shi et al., "Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting" (arXiv
1506.04214), eq. 3, without its peepholes, as in the comparison of arXiv 2310.19694.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxzoo import ops
from jaxzoo.layers import Conv, LayerNorm
from jaxzoo.sequence.video_model import lecun_normal


def conv_lstm_cell(params, state, u):
    """One frame.

    Args:
      params: "input" [k, k, u, 4 d] and "hidden" [k, k, d, 4 d] kernels, "bias" [4 d]; gates in the order i, f, g, o.
      state: `(h, c)`, each [h, w, d].
      u: [h, w, u] features of the frame.

    Returns:
      The new `(h, c)`.

    Raises:
      ValueError: shapes do not fit.
    """
    _check(params, state, u)
    return _advance(params, state, _drive(params, u))


def conv_lstm(params, u, state=None):
    """A clip, frame by frame; what the input contributes to the gates is computed for all frames at once.

    Args:
      params: as in `conv_lstm_cell`.
      u: [t, h, w, u] features of the frames.
      state: `(h, c)`, by default zero.

    Returns:
      The last `(h, c)`, and h of all frames [t, h, w, d].
    """
    if state is None:
        empty = jnp.zeros((*u.shape[1:-1], params["hidden"].shape[2]), u.dtype)
        state = (empty, empty)
    _check(params, state, u[0])

    def step(state, drive):
        state = _advance(params, state, drive)
        return state, state[0]

    return jax.lax.scan(step, state, _drive(params, u))


def _drive(params, u):
    """[..., h, w, 4 d]: the gates but for the hidden state's part."""
    gates = ops.conv(u, params["input"])
    return gates + params["bias"].reshape((1,) * (u.ndim - 1) + (-1,))


def _advance(params, state, drive):
    h, c = state
    i, f, g, o = jnp.split(drive + ops.conv(h, params["hidden"]), 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _check(params, state, u):
    k, _, inputs, gates = params["input"].shape
    if params["hidden"].shape != (k, k, gates // 4, gates) or params["bias"].shape != (gates,):
        raise ValueError(f"params: kernels and bias do not fit: {jax.tree.map(jnp.shape, params)}")
    if u.ndim != 3 or u.shape[-1] != inputs:
        raise ValueError(f"u: expected a frame [h, w, {inputs}], got {u.shape}")
    for part in state:
        if part.shape != (*u.shape[:2], gates // 4):
            raise ValueError(f"state: expected two of {(*u.shape[:2], gates // 4)}, got {part.shape}")


class ConvLSTMLayer(nn.Module):
    """ConvLSTM, a pointwise map back to the width of the input, a skip and a layer norm: [t, h, w, u] -> the same.

    The frame around the cell is that of `conv_ssm.ConvS5Layer`, so that the two can be compared.

    Attributes:
      hidden: channels of the state, d.
      window: size of the kernels.
    """

    hidden: int
    window: int = 3

    @nn.compact
    def __call__(self, u, state=None):
        """`(y [t, h, w, u], state)`; the state is `(h, c)`."""
        shape, d = (self.window, self.window), self.hidden
        params = {
            "input": self.param("input", lecun_normal, (*shape, u.shape[-1], 4 * d)),
            "hidden": self.param("hidden", lecun_normal, (*shape, d, 4 * d)),
            # An open forget gate at the start: what lets an LSTM remember at all (Jozefowicz et al., 2015).
            "bias": self.param("bias", lambda _, n: jnp.zeros(n).at[d : 2 * d].set(1.0), 4 * d),
        }
        state, h = conv_lstm(params, u, state)
        return LayerNorm(name="norm")(Conv(u.shape[-1], (1, 1), kernel_init=lecun_normal, name="out")(h) + u), state
