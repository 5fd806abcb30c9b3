"""Feed-forward layers: the multilayer perceptron and SwiGLU."""

from collections.abc import Callable

import flax.linen as nn
import jax


class MLP(nn.Module):
    """Dense layers with an activation between them, none after the last: [..., d] -> [..., widths[-1]].

    Layers are named `dense_0`, `dense_1`, ...

    Attributes:
      widths: output size of each layer, the last one included.
      activation: elementwise function between layers; `jax.nn.gelu` is the tanh form, PyTorch's default the exact one.
      use_bias: learn an offset in each layer, from 0.
      dropout: probability that a hidden value is dropped; in force only where `apply` gets a key.
      kernel_init: initialiser of the weights.
    """

    widths: tuple[int, ...]
    activation: Callable = jax.nn.gelu
    use_bias: bool = True
    dropout: float = 0.0
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x):
        drop = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))
        for i, width in enumerate(self.widths):
            if i > 0:
                x = drop(self.activation(x))
            x = nn.Dense(width, use_bias=self.use_bias, kernel_init=self.kernel_init, name=f"dense_{i}")(x)
        return x


class SwiGLU(nn.Module):
    """Gated feed-forward layer: y = (silu(x Wg) * (x Wu)) Wd, without biases, [..., d] -> [..., d].

    Source: Shazeer, "GLU Variants Improve Transformer" (arXiv 2002.05202), eq. 6.

    Attributes:
      hidden: width of the gate; None for 8/3 d, rounded to a multiple of 8, which has about as many parameters as an
        MLP of hidden width 4 d.
    """

    hidden: int | None = None

    @nn.compact
    def __call__(self, x):
        features = x.shape[-1]
        hidden = self.hidden or max(8, 8 * round(features / 3))
        gate = nn.Dense(hidden, use_bias=False, name="gate")(x)
        up = nn.Dense(hidden, use_bias=False, name="up")(x)
        return nn.Dense(features, use_bias=False, name="down")(jax.nn.silu(gate) * up)
