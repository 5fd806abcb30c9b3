"""GPT-NeoX, the architecture of Pythia: attention and MLP side by side, and rotary positions on a part of each head.

    x + attention(norm_1(x)) + mlp(norm_2(x))

Sublayers have the names of `hosts.Host`. Weights come from the arrays that Hugging Face names
`gpt_neox.layers.0.attention.query_key_value.weight`, ...: matrices [outputs, inputs], and the rows of
`query_key_value` are queries, keys and values of the first head, then those of the second, and so on.

Sources: Black et al., "GPT-NeoX-20B" (arXiv 2204.06745), Sec. 2.1; Biderman et al., "Pythia" (arXiv 2304.01373).
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxzoo import ops
from jaxzoo.interpretability.gpt2 import checked_sizes
from jaxzoo.interpretability.named_arrays import refuse_rest, take, take_norm
from jaxzoo.layers import MLP, LayerNorm

BUFFERS = (r"gpt_neox\.layers\.\d+\.attention\.((masked_)?bias|rotary_emb\.inv_freq)",)
"""Causal masks and frequencies that older files hold among the weights."""


class PartlyRotaryAttention(nn.Module):
    """Causal attention, [t, d] -> [t, d], whose positions turn the first features of each head's queries and keys.

    Attributes:
      heads: number of heads.
      turned: features of each head that `ops.rotary` turns.
    """

    heads: int
    turned: int

    @nn.compact
    def __call__(self, x):
        t, d = x.shape
        q, k, v = (nn.DenseGeneral((self.heads, d // self.heads), name=part)(x) for part in "qkv")  # [t, h, k]
        q, k = (partly_rotary(part, jnp.arange(t), self.turned) for part in (q, k))
        y = ops.attention(q, k, v, causal=True)
        return nn.DenseGeneral(d, axis=(-2, -1), name="o")(y)


def partly_rotary(x, positions, turned):
    """`ops.rotary` of the first `turned` features of each head: [t, h, k] -> [t, h, k]."""
    if turned == 0:
        return x
    return jnp.concatenate([ops.rotary(x[..., :turned], positions), x[..., turned:]], -1)


class ParallelBlock(nn.Module):
    """x + mixer(norm_mixer(x)) + mlp(norm_mlp(x)): [t, d] -> [t, d].

    Attributes:
      mixer: makes the module that mixes tokens.
      mlp: makes the module that acts on each token.
    """

    mixer: Callable[..., nn.Module]
    mlp: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x):
        mixed = self.mixer(name="mixer")(LayerNorm(name="norm_mixer")(x))
        return x + mixed + self.mlp(name="mlp")(LayerNorm(name="norm_mlp")(x))


class GPTNeoX(nn.Module):
    """GPT-NeoX: tokens [t] -> logits [t, vocabulary]. The sizes are those of Pythia 410M.

    Attributes:
      vocabulary: number of tokens, the padding of the output matrix included.
      features: width d.
      layers: number of blocks, named `block_0`, `block_1`, ...
      heads: of the causal attention.
      context: most tokens of a text.
      share: of the features of each head that positions turn.
    """

    vocabulary: int = 50304
    features: int = 1024
    layers: int = 24
    heads: int = 16
    context: int = 2048
    share: float = 0.25

    # What circuits need to know of a host, as in `hosts.Host`.
    activation = staticmethod(partial(jax.nn.gelu, approximate=False))
    norm_eps = 1e-5
    parallel = True

    @property
    def turned(self):
        """Features of each head that positions turn."""
        return int(self.features // self.heads * self.share)

    @nn.compact
    def __call__(self, tokens):
        if tokens.shape[0] > self.context:
            raise ValueError(f"tokens: expected at most {self.context}, got {tokens.shape[0]}")
        mixer = partial(PartlyRotaryAttention, self.heads, self.turned)
        mlp = partial(MLP, (4 * self.features, self.features), self.activation)
        embed = nn.Embed(self.vocabulary, self.features, embedding_init=nn.initializers.normal(0.02), name="embed")
        x = embed(jnp.asarray(tokens))  # [t, d]
        for i in range(self.layers):
            x = ParallelBlock(mixer, mlp, name=f"block_{i}")(x)
        return nn.Dense(self.vocabulary, use_bias=False, name="head")(LayerNorm(name="norm")(x))


def gpt_neox_module(sizes):
    """The module that a `config.json` of Hugging Face describes.

    Args:
      sizes: its content, with "model_type" "gpt_neox".

    Returns:
      A `GPTNeoX`.

    Raises:
      ValueError: a size is missing, or it describes a variant that `GPTNeoX` is not.
    """
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
    given = dict(sizes)
    rope = given.pop("rope_parameters", None) or {}  # how newer files say it
    share = rope.get("partial_rotary_factor", given.get("rotary_pct", 0.25))
    given["rotary_emb_base"] = rope.get("rope_theta", given.get("rotary_emb_base", 10000))
    fixed = {"hidden_act": "gelu", "layer_norm_eps": 1e-5, "use_parallel_residual": True, "rotary_emb_base": 10000}
    fixed |= {"tie_word_embeddings": False, "rope_scaling": None, "attention_bias": True}
    if isinstance(given.get("hidden_size"), int):
        fixed["intermediate_size"] = 4 * given["hidden_size"]
    return GPTNeoX(*checked_sizes(given, names, fixed), share)


def gpt_neox_params(arrays, module):
    """The parameters of `GPTNeoX` from the arrays of Hugging Face's.

    Args:
      arrays: name -> array.
      module: the `GPTNeoX` whose sizes they have.

    Returns:
      Parameters, in float32.

    Raises:
      ValueError: an array is missing, has another shape or has no place; it is named.
    """
    arrays, d, v = dict(arrays), module.features, module.vocabulary
    params = {
        "embed": {"embedding": take(arrays, "gpt_neox.embed_in.weight", v, d)},
        "norm": take_norm(arrays, "gpt_neox.final_layer_norm", d),
        "head": {"kernel": take(arrays, "embed_out.weight", v, d).T},
    }
    for i in range(module.layers):
        name = f"gpt_neox.layers.{i}"
        params[f"block_{i}"] = {
            "norm_mixer": take_norm(arrays, f"{name}.input_layernorm", d),
            "mixer": _attention(arrays, f"{name}.attention", d, module.heads),
            "norm_mlp": take_norm(arrays, f"{name}.post_attention_layernorm", d),
            "mlp": {
                "dense_0": _linear(arrays, f"{name}.mlp.dense_h_to_4h", d, 4 * d),
                "dense_1": _linear(arrays, f"{name}.mlp.dense_4h_to_h", 4 * d, d),
            },
        }
    refuse_rest(arrays, *BUFFERS)
    return params


def _linear(arrays, name, inputs, outputs):
    return {"kernel": take(arrays, f"{name}.weight", outputs, inputs).T, "bias": take(arrays, f"{name}.bias", outputs)}


def _attention(arrays, name, d, heads):
    """Queries, keys and values, which lie in `query_key_value` head by head."""
    joint, out = _linear(arrays, f"{name}.query_key_value", d, 3 * d), _linear(arrays, f"{name}.dense", d, d)
    kernels = joint["kernel"].reshape(d, heads, 3, -1)  # [d, h, 3, k]
    biases = joint["bias"].reshape(heads, 3, -1)
    parts = {part: {"kernel": kernels[:, :, i], "bias": biases[:, i]} for i, part in enumerate("qkv")}
    return parts | {"o": {"kernel": out["kernel"].reshape(heads, -1, d), "bias": out["bias"]}}
