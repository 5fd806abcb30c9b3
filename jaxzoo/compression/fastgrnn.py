"""FastGRNN: a gated recurrent cell whose gate and candidate share their matrices."""

import jax
import jax.numpy as jnp


def init_fastgrnn(key, features, hidden):
    """Parameters: "w" [d, h], "u" [h, h], "b_z", "b_h" [h], and the scalars "zeta" = 1, "nu" = -4.

    Args:
      key: of the matrices, normal with variance 1 / (rows).
      features: width d of x.
      hidden: width h of the state.
    """
    key_w, key_u = jax.random.split(key)
    scaled = jax.nn.initializers.lecun_normal()
    return {
        "w": scaled(key_w, (features, hidden)),
        "u": scaled(key_u, (hidden, hidden)),
        "b_z": jnp.ones(hidden),
        "b_h": jnp.ones(hidden),
        "zeta": jnp.float32(1.0),
        "nu": jnp.float32(-4.0),
    }


def fastgrnn(params, x):
    """The states of a sequence, from h_0 = 0.

        c = W x + U h,   z = sigmoid(c + b_z),   h~ = tanh(c + b_h)
        h' = (sigmoid(zeta) (1 - z) + sigmoid(nu)) h~ + z h

    Args:
      params: as from `init_fastgrnn`.
      x: [t, d].

    Returns:
      [t, h].

    Raises:
      ValueError: x is not [t, d].

    Source: Kusupati et al., "FastGRNN" (arXiv 1901.02358), eqs. 6 to 8 without low rank.
    """
    d = params["w"].shape[0]
    if x.ndim != 2 or x.shape[1] != d:
        raise ValueError(f"x: expected [t, {d}], got {x.shape}; a batch goes through jax.vmap")
    zeta, nu = jax.nn.sigmoid(params["zeta"]), jax.nn.sigmoid(params["nu"])

    def cell(h, wx):
        c = wx + h @ params["u"]
        z = jax.nn.sigmoid(c + params["b_z"])
        h = (zeta * (1 - z) + nu) * jnp.tanh(c + params["b_h"]) + z * h
        return h, h

    h = jnp.zeros(params["u"].shape[0], x.dtype)
    return jax.lax.scan(cell, h, x @ params["w"])[1]
