"""DGCNN: a point cloud as a graph of nearest neighbours, which is drawn anew in feature space before every layer.

Source: Wang, Sun, Liu, Sarma, Bronstein, Solomon, "Dynamic Graph CNN for Learning on Point Clouds" (arXiv 1801.07829).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxzoo.ops import layer_norm


def nearest(x, k):
    """The k nearest points of each point, itself among them, by |x_i - x_j|^2 = |x_i|^2 - 2 x_i . x_j + |x_j|^2.

    Args:
      x: [n, c] points, or features of points.
      k: how many.

    Returns:
      [n, k] ids, the nearest first; of points at the same distance that with the lower id.

    Raises:
      ValueError: x is not [n, c], or there are fewer points than k.
    """
    if x.ndim != 2:
        raise ValueError(f"x: expected [n, c], got {x.shape}")
    if not 1 <= k <= x.shape[0]:
        raise ValueError(f"k: expected 1 to {x.shape[0]}, the number of points, got {k}")
    # Centred, since the sum loses the digits of a common offset. |x_i|^2 is the same for all neighbours of i.
    x = jax.lax.stop_gradient(x - x.mean(0, keepdims=True))
    near = 2 * jnp.matmul(x, x.T, precision="highest") - jnp.square(x).sum(1)[None]
    return jax.lax.top_k(near, k)[1]


class Normed(nn.Module):
    """leaky_relu(norm(x)) over the last axis, with the slope 0.2.

    NOTE(paper): a layer norm of each point, where the official code has a batch norm, which is not of one cloud.
    """

    @nn.compact
    def __call__(self, x):
        gain, offset = (self.param(name, nn.initializers.zeros, x.shape[-1:]) for name in ("gain", "offset"))
        return nn.leaky_relu(layer_norm(x, 1 + gain, offset), 0.2)


class EdgeConv(nn.Module):
    """h_i = max over the k nearest j of MLP[x_j - x_i, x_i]: [n, c] -> [n, widths[-1]].

    Attributes:
      widths: of the perceptron's layers, each with `Normed` after it.
      k: neighbours.
    """

    widths: tuple[int, ...]
    k: int

    @nn.compact
    def __call__(self, x):
        kernel = self.param("edge", nn.initializers.lecun_normal(), (2 * x.shape[1], self.widths[0]))
        apart, own = jnp.split(kernel, 2)
        # [x_j - x_i, x_i] W = x_j W_1 + x_i (W_2 - W_1): the product is gathered, and [n, k, 2 c] is never made.
        h = (x @ apart)[nearest(x, self.k)] + (x @ (own - apart))[:, None]  # [n, k, widths[0]]
        h = Normed(name="norm_0")(h)
        for i, width in enumerate(self.widths[1:], 1):
            h = Normed(name=f"norm_{i}")(nn.Dense(width, use_bias=False, name=f"dense_{i}")(h))
        return h.max(1)


class DGCNN(nn.Module):
    """Edge convolutions, a maximum over points, and a head that sees both: [n, 3] -> [n, outputs].

    Each edge convolution is computed again in the backward pass, so that the [n, k, c] of one layer alone are held.
    NOTE(paper): the segmentation network without its learned alignment and without dropout, as `PointNet` here.

    Attributes:
      edges: widths of the perceptron of each edge convolution.
      wide: of the global features.
      head: widths of the head's layers before the last.
      outputs: numbers for each point.
      k: neighbours of a point; 40 in the code for frame averaging.
    """

    edges: tuple[tuple[int, ...], ...] = ((64, 64), (64, 64), (64,))
    wide: int = 1024
    head: tuple[int, ...] = (256, 256, 128)
    outputs: int = 3
    k: int = 40

    @nn.compact
    def __call__(self, x):
        found = []
        for i, widths in enumerate(self.edges):
            x = nn.remat(EdgeConv)(widths, self.k, name=f"edge_{i}")(x)
            found.append(x)
        local = jnp.concatenate(found, axis=1)
        whole = Normed(name="norm_wide")(nn.Dense(self.wide, use_bias=False, name="wide")(local)).max(0, keepdims=True)
        # The head's first layer on [whole, local] in two parts, so that the first is computed once a cloud.
        inputs = self.wide + local.shape[1]
        first = self.param("joint", nn.initializers.lecun_normal(), (inputs, self.head[0]))
        of_whole, of_local = jnp.split(first, (self.wide,))
        h = Normed(name="norm_head_0")(whole @ of_whole + local @ of_local)
        for i, width in enumerate(self.head[1:], 1):
            h = Normed(name=f"norm_head_{i}")(nn.Dense(width, use_bias=False, name=f"head_{i}")(h))
        return nn.Dense(self.outputs, name="out")(h)
