"""Networks that predict where interacting bodies will be: a plain graph network, and one of invariant messages.

Both pass messages between all pairs. Positions and velocities are inputs like any other to the plain network; the
other one uses distances alone, and moves bodies along their differences.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxzoo.geometry.uniform_init import uniform_init
from jaxzoo.layers import MLP
from jaxzoo.model import Model
from jaxzoo.transforms import as_model


def perceptron(*widths, **options):
    """An MLP with SiLU between its layers."""
    return MLP(widths, jax.nn.silu, **options)


def pair_features(x, q):
    """What is known of each pair of bodies, whatever the frame: q_i q_j and |x_i - x_j|^2, [n, n, 2]."""
    square = jnp.square(x[:, None] - x[None]).sum(-1)
    return jnp.stack([q[:, None] * q[None], square], axis=-1)


class Messages(nn.Module):
    """A layer: m_ij = MLP[h_i, h_j, e_ij] with two SiLU, h_i <- h_i + MLP[h_i, sum over j != i of m_ij].

    Attributes:
      width: nf, of nodes and messages.
    """

    width: int

    @nn.compact
    def __call__(self, h, edges):
        """Passes messages between all pairs.

        Args:
          h: [n, nf] nodes.
          edges: [n, n, c] what is known of pairs.

        Returns:
          `(h [n, nf], messages [n, n, nf])`; messages from a node to itself are 0.
        """
        nf = self.width
        first = self.param("first", nn.initializers.lecun_normal(), (2 * nf + edges.shape[-1], nf))
        bias = self.param("bias", nn.initializers.zeros, (nf,))
        # The first layer on [h_i, h_j, e_ij] in three parts: what concerns one node is computed once a node.
        to, of, pair = jnp.split(first, (nf, 2 * nf))
        ends = (h @ to + bias[None])[:, None] + (h @ of)[None]
        m = nn.silu(nn.Dense(nf, name="message")(nn.silu(ends + edges @ pair)))  # [n, n, nf]
        m = m * (1 - jnp.eye(h.shape[0]))[..., None]
        return h + perceptron(nf, nf, name="update")(jnp.concatenate([h, m.sum(1)], axis=1)), m


class GNNParts(NamedTuple):
    """A graph network in three parts, each a `Model`, for the plain network and the frame-averaged one.

    Attributes:
      embed: [n, 6] positions and velocities -> [n, nf].
      layer: ([n, nf], edges [n, n, 2]) -> ([n, nf], messages).
      decode: [n, nf] -> [n, 3].
    """

    embed: Model
    layer: Model
    decode: Model


def gnn_parts(width) -> GNNParts:
    """The parts of a network of that width."""
    return GNNParts(as_model(nn.Dense(width)), as_model(Messages(width)), as_model(perceptron(width, 3)))


def gnn_model(parts, width, layers, apply):
    """The `Model` of bodies with that apply and the parameters {"embed", "layers", "decode"} of these parts."""

    def init(key, bodies):
        key_embed, key_layer, key_decode = jax.random.split(key, 3)
        n = bodies.x.shape[0]
        h, edges = jnp.zeros((n, width)), jnp.zeros((n, n, 2))
        layer = parts.layer.init(key_layer, h, edges)  # of which the shapes alone count
        return {
            "embed": parts.embed.init(key_embed, jnp.zeros((n, 6))),
            "layers": [layer] * layers,
            "decode": parts.decode.init(key_decode, h),
        }

    return uniform_init(Model(init, apply))


def gnn(*, width=60, layers=4):
    """The plain graph network: bodies (`n_body.Bodies`) -> their later positions [n, 3]. It has no symmetry.

    Args:
      width: nf, features of a node.
      layers: rounds of messages.

    Returns:
      A `Model`.
    """
    parts = gnn_parts(width)

    def apply(params, bodies, *, key=None):
        edges = pair_features(bodies.x, bodies.q)
        h = parts.embed.apply(params["embed"], jnp.concatenate([bodies.x, bodies.v], axis=1))
        for layer in params["layers"]:
            h, _ = parts.layer.apply(layer, h, edges)
        return parts.decode.apply(params["decode"], h)

    return gnn_model(parts, width, layers, apply)


REACH = 100.0
"""The farthest that one body moves another in a layer of `EGNN`."""


class EGNN(nn.Module):
    """Messages of distances, and moves along differences: equivariant by its form, without a frame.

        x_i <- x_i + mean over j != i of (x_i - x_j) phi_x(m_ij) + phi_v(h_i) v_i

    As in the official code each term of the mean is clipped to 100 per coordinate: layers multiply distances, and one
    bad update could otherwise leave the finite numbers.

    Attributes:
      width: nf, features of a node.
      layers: rounds of messages.

    Source: Satorras, Hoogeboom, Welling, "E(n) equivariant graph neural networks" (arXiv 2102.09844), eqs. 3 to 7.
    """

    width: int = 60
    layers: int = 4

    @nn.compact
    def __call__(self, bodies):
        x, v, n = bodies.x, bodies.v, bodies.x.shape[0]
        edges = pair_features(bodies.x, bodies.q)
        speed = jnp.sqrt(jnp.square(v).sum(1, keepdims=True))
        h = nn.Dense(self.width, name="embed")(speed)
        for i in range(self.layers):
            apart = x[:, None] - x[None]
            now = jnp.square(apart).sum(-1, keepdims=True)
            push = perceptron(self.width, 1, name=f"velocity_{i}")(h)
            h, m = Messages(self.width, name=f"layer_{i}")(h, jnp.concatenate([edges, now], axis=-1))
            hidden = nn.silu(nn.Dense(self.width, name=f"hidden_{i}")(m))
            factor = nn.Dense(1, use_bias=False, name=f"factor_{i}")(hidden)
            moves = jnp.clip(apart * factor, -REACH, REACH)
            x = x + moves.sum(1) / (n - 1) + push * v
        return x


def egnn(*, width=60, layers=4):
    """`EGNN` as a `Model`; its factors begin near 0, as in the official code, since layers multiply distances."""
    return uniform_init(as_model(EGNN(width, layers)), small=tuple(f"factor_{i}" for i in range(layers)))
