"""A language model around any token mixer."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from jaxzoo.layers.norms import RMSNorm
from jaxzoo.layers.transformer import TransformerBlock


class LanguageModel(nn.Module):
    """Embedding, pre-norm blocks, norm, output: tokens [t] -> logits [t, outputs].

    Attributes:
      vocabulary: number of input tokens.
      features: width d.
      layers: number of blocks, named `block_0`, `block_1`, ...
      mixer: makes the module that mixes tokens, as in `TransformerBlock`.
      outputs: number of output classes; None for the vocabulary, with the embedding as the output matrix ("tied").
    """

    vocabulary: int
    features: int
    layers: int
    mixer: Callable[..., nn.Module]
    outputs: int | None = None

    @nn.compact
    def __call__(self, tokens):
        """Applies the model.

        Args:
          tokens: [t] integers below `vocabulary`.

        Returns:
          [t, outputs] logits.
        """
        scale = nn.initializers.normal(self.features**-0.5)
        embed = nn.Embed(self.vocabulary, self.features, embedding_init=scale, name="embed")
        x = embed(jnp.asarray(tokens))  # [t, d]
        for i in range(self.layers):
            x = TransformerBlock(self.mixer, name=f"block_{i}")(x)
        x = RMSNorm(name="norm")(x)
        if self.outputs is None:
            return embed.attend(x)
        return nn.Dense(self.outputs, use_bias=False, name="head")(x)
