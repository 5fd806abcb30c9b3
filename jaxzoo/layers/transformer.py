"""The pre-norm residual block with a pluggable token mixer."""

from collections.abc import Callable

import flax.linen as nn

from jaxzoo.layers.mlp import SwiGLU
from jaxzoo.layers.norms import RMSNorm


class TransformerBlock(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x)): [t, d] -> [t, d].

    The parts are given as functions that make a module, such as a class or `partial(Attention, heads=4)`, so that
    blocks made alike never share parameters. They are named `mixer`, `mlp`, `norm_mixer` and `norm_mlp`.

    A mixer with a state (a cache of keys and values, a recurrent matrix) is called as `mixer(x, state, **options)` and
    returns `(y, state)`; without a state it is called as `mixer(x, **options)` and returns y.

    Attributes:
      mixer: makes the module that mixes tokens.
      mlp: makes the module that acts on each token.
      norm: makes a norm of the last axis.
      dropout: probability that a value of a branch is dropped; in force only where `apply` gets a key.
    """

    mixer: Callable[..., nn.Module]
    mlp: Callable[..., nn.Module] = SwiGLU
    norm: Callable[..., nn.Module] = RMSNorm
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, state=None, **options):
        """Applies the block.

        Args:
          x: [t, d] tokens of one example.
          state: the mixer's state, or None.
          **options: passed to the mixer, such as `segment_ids`.

        Returns:
          [t, d], or `([t, d], state)` where a state was given.
        """
        stateful = state is not None
        drop = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))
        mixer = self.mixer(name="mixer")
        h = self.norm(name="norm_mixer")(x)
        if stateful:
            h, state = mixer(h, state, **options)
        else:
            h = mixer(h, **options)
        x = x + drop(h)
        x = x + drop(self.mlp(name="mlp")(self.norm(name="norm_mlp")(x)))
        return (x, state) if stateful else x
