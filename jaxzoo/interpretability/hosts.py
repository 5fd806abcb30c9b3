"""Small transformers to be looked into, with MLPs of one hidden layer as GPT-2 and Pythia have them."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxzoo.layers import MLP, Attention, RMSNorm, TransformerBlock


class Host(nn.Module):
    """Embedding, pre-norm blocks, norm, output: tokens [t] -> logits [t, outputs].

    As `layers.LanguageModel`, sublayers named alike, but with a GELU MLP of hidden width 4 d in the place of SwiGLU.

    Attributes:
      vocabulary: number of input tokens.
      features: width d.
      layers: number of blocks, named `block_0`, `block_1`, ...
      heads: of the causal attention with rotary positions.
      block: makes a block, `layers.TransformerBlock` or `SequentialBlock`.
      outputs: number of output classes; None for the vocabulary, with the embedding as the output matrix ("tied").
    """

    vocabulary: int
    features: int
    layers: int
    heads: int = 4
    block: Callable[..., nn.Module] = TransformerBlock
    outputs: int | None = None

    # What circuits need to know of a host, and `gpt2.GPT2` and `gpt_neox.GPTNeoX` say of themselves as well.
    activation = staticmethod(jax.nn.gelu)
    norm_eps = 1e-6  # of `layers.RMSNorm`
    turned = None  # features of each head's queries and keys that positions turn; None for all
    parallel = False  # whether an MLP reads the residual stream before the attention of its own block

    @nn.compact
    def __call__(self, tokens):
        scale = nn.initializers.normal(self.features**-0.5)
        embed = nn.Embed(self.vocabulary, self.features, embedding_init=scale, name="embed")
        mixer = partial(Attention, self.heads, causal=True, rotary=True)
        mlp = partial(MLP, (4 * self.features, self.features), self.activation)
        x = embed(jnp.asarray(tokens))  # [t, d]
        for i in range(self.layers):
            x = self.block(mixer, mlp, name=f"block_{i}")(x)
        x = RMSNorm(name="norm")(x)
        if self.outputs is None:
            return embed.attend(x)
        return nn.Dense(self.outputs, use_bias=False, name="head")(x)


class SequentialBlock(nn.Module):
    """x + mixer(norm(x)), then mlp(norm(x)) without a way around it: all that goes on goes through the MLP.

    For the greater-than host. NOTE(paper): with the usual way around the MLP nothing can be said of the MLP's features
    there, since attention and the output matrix suffice: with zeros in the place of the (last) MLP a host of one block
    kept 94 % of its score and one of two blocks 98 %.

    Attributes:
      mixer: makes the module that mixes tokens.
      mlp: makes the module that acts on each token.
    """

    mixer: Callable[..., nn.Module]
    mlp: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x):
        x = x + self.mixer(name="mixer")(RMSNorm(name="norm_mixer")(x))
        return self.mlp(name="mlp")(RMSNorm(name="norm_mlp")(x))
