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


class BatchNorm(nn.Module):
    """Batch norm with its state passed in and returned: ([..., c], state) -> ([..., c], state); see `ops.batch_norm`.

    On single examples it is mapped with a named axis, and the state is the same for all of them:

        norm = BatchNorm(axis_name="b")
        state = ops.batch_state(channels)
        y, state = jax.vmap(partial(apply, train=True), (None, 0, None), (0, None), axis_name="b")(params, x, state)

    Attributes:
      momentum: weight of the new batch in the running statistics, PyTorch's meaning; None for their plain average.
      eps: added to the variance.
      axis_name: name, or names, of the mapped axes that are the batch; None where x has batch axes of its own.
      use_scale: learn a factor per channel, from 1.
      use_bias: learn an offset per channel, from 0.
    """

    momentum: float | None = 0.1
    eps: float = 1e-5
    axis_name: str | tuple[str, ...] | None = None
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x, state, *, train):
        """Normalises by the batch when training, by the state otherwise.

        Args:
          x: [..., c] input.
          state: an `ops.BatchState` of c channels.
          train: a Python bool.

        Returns:
          `(y, state)`.
        """
        scale, bias = _affine(self, x.shape[-1], self.use_scale, self.use_bias)
        # While parameters are made no axis is mapped yet, and one example has no batch statistics.
        options = {"train": train and not self.is_initializing(), "axis_name": self.axis_name}
        return ops.batch_norm(x, scale, bias, state, momentum=self.momentum, eps=self.eps, **options)


def _affine(module, features, use_scale, use_bias):
    """Parameters "scale" and "bias" of `module`, None where it does not use them."""
    scale = module.param("scale", nn.initializers.ones, (features,)) if use_scale else None
    bias = module.param("bias", nn.initializers.zeros, (features,)) if use_bias else None
    return scale, bias
