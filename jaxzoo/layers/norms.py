"""Normalisation layers: parameters around `jaxzoo.ops`."""

import flax.linen as nn

from jaxzoo import ops


class LayerNorm(nn.Module):
    """Layer norm of the last axis, [..., d] -> [..., d]; see `ops.layer_norm`.

    Attributes:
      eps: added to the variance.
      use_scale: learn a factor per feature, from 1.
      use_bias: learn an offset per feature, from 0.
    """

    eps: float = 1e-5
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x):
        scale, bias = _affine(self, x.shape[-1], self.use_scale, self.use_bias)
        return ops.layer_norm(x, scale, bias, eps=self.eps)


class RMSNorm(nn.Module):
    """RMS norm of the last axis, [..., d] -> [..., d]; see `ops.rms_norm`.

    Attributes:
      eps: added to the mean square.
      use_scale: learn a factor per feature, from 1.
    """

    eps: float = 1e-6
    use_scale: bool = True

    @nn.compact
    def __call__(self, x):
        scale, _ = _affine(self, x.shape[-1], self.use_scale, False)
        return ops.rms_norm(x, scale, eps=self.eps)


class GroupNorm(nn.Module):
    """Group norm of one example, [..., c] -> [..., c]; see `ops.group_norm`.

    Attributes:
      groups: number of groups; divides the channels.
      eps: added to the variance.
      use_scale: learn a factor per channel, from 1.
      use_bias: learn an offset per channel, from 0.
    """

    groups: int
    eps: float = 1e-5
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x):
        scale, bias = _affine(self, x.shape[-1], self.use_scale, self.use_bias)
        return ops.group_norm(x, scale, bias, groups=self.groups, eps=self.eps)


def _affine(module, features, use_scale, use_bias):
    """Parameters "scale" and "bias" of `module`, None where it does not use them."""
    scale = module.param("scale", nn.initializers.ones, (features,)) if use_scale else None
    bias = module.param("bias", nn.initializers.zeros, (features,)) if use_bias else None
    return scale, bias
