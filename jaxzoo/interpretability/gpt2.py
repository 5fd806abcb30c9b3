"""GPT-2: learned positions, layer norm before each sublayer, biases everywhere, and the embedding as output matrix.

Sublayers have the names of `hosts.Host`, so that everything that looks into a host looks into GPT-2. Weights come from
the arrays that Hugging Face names `wte.weight`, `h.0.attn.c_attn.weight`, ...: there a linear map is a "Conv1D" with
its matrix [inputs, outputs], and queries, keys and values lie side by side in `c_attn`.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (OpenAI, 2019), Sec. 2.3.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.interpretability.named_arrays import refuse_rest, take, take_norm
from jaxzoo.layers import MLP, Attention, LayerNorm, TransformerBlock

BUFFERS = (r"h\.\d+\.attn\.(masked_)?bias",)
"""Causal masks that older files hold among the weights."""


class PositionedEmbed(nn.Module):
    """Embedding of tokens plus that of their positions: tokens [t] -> [t, d].

    Attributes:
      vocabulary: number of tokens.
      features: width d.
      context: most tokens of a text.
    """

    vocabulary: int
    features: int
    context: int

    def setup(self):
        self.embedding = self.param("embedding", nn.initializers.normal(0.02), (self.vocabulary, self.features))
        self.positions = self.param("positions", nn.initializers.normal(0.01), (self.context, self.features))

    def __call__(self, tokens):
        if tokens.shape[0] > self.context:
            raise ValueError(f"tokens: expected at most {self.context}, got {tokens.shape[0]}")
        return self.embedding[tokens] + self.positions[: tokens.shape[0]]

    def attend(self, x):
        """Logits [t, v] with the embedding as output matrix."""
        return x @ self.embedding.T


class GPT2(nn.Module):
    """GPT-2: tokens [t] -> logits [t, vocabulary]. The sizes are those of the smallest, "gpt2".

    Attributes:
      vocabulary: number of tokens.
      features: width d.
      layers: number of blocks, named `block_0`, `block_1`, ...
      heads: of the causal attention.
      context: most tokens of a text.
      tied: whether the embedding is the output matrix; if not, there is a `head`, as `fold_norms` makes one.
    """

    vocabulary: int = 50257
    features: int = 768
    layers: int = 12
    heads: int = 12
    context: int = 1024
    tied: bool = True

    # What circuits need to know of a host, as in `hosts.Host`.
    activation = staticmethod(jax.nn.gelu)  # the tanh form, "gelu_new"
    norm_eps = 1e-5
    turned = 0
    parallel = False

    @nn.compact
    def __call__(self, tokens):
        embed = PositionedEmbed(self.vocabulary, self.features, self.context, name="embed")
        mixer = partial(Attention, self.heads, causal=True, use_bias=True)
        mlp = partial(MLP, (4 * self.features, self.features), self.activation)
        x = embed(jnp.asarray(tokens))  # [t, d]
        for i in range(self.layers):
            x = TransformerBlock(mixer, mlp, LayerNorm, name=f"block_{i}")(x)
        x = LayerNorm(name="norm")(x)
        return embed.attend(x) if self.tied else nn.Dense(self.vocabulary, use_bias=False, name="head")(x)


def gpt2_module(sizes):
    """The module that a `config.json` of Hugging Face describes.

    Args:
      sizes: its content, with "model_type" "gpt2".

    Returns:
      A `GPT2`.

    Raises:
      ValueError: a size is missing, or it describes a variant that `GPT2` is not.
    """
    fixed = {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "scale_attn_weights": True}
    fixed |= {"scale_attn_by_inverse_layer_idx": False, "n_inner": None, "tie_word_embeddings": True}
    names = ("vocab_size", "n_embd", "n_layer", "n_head", "n_positions")
    return GPT2(*checked_sizes(sizes, names, fixed))


def checked_sizes(sizes, names, fixed):
    """The integers of those names in a `config.json`, once all other settings are found to be the fixed ones.

    Args:
      sizes: the content.
      names: of the sizes.
      fixed: setting -> the value it has, also where it is not mentioned.

    Raises:
      ValueError: a size is missing or no positive integer, or a setting has another value.
    """
    for name, value in fixed.items():
        if sizes.get(name, value) != value:
            raise ValueError(f"config.json: {name!r}: expected {value!r}, got {sizes[name]!r}")
    for name in names:
        if type(sizes.get(name)) is not int or sizes[name] < 1:
            raise ValueError(f"config.json: {name!r}: expected a positive integer, got {sizes.get(name)!r}")
    return [sizes[name] for name in names]


def gpt2_params(arrays, module):
    """The parameters of `GPT2` from the arrays of Hugging Face's.

    Args:
      arrays: name -> array, the names with or without "transformer." before them.
      module: the `GPT2` whose sizes they have, tied.

    Returns:
      Parameters, in float32.

    Raises:
      ValueError: an array is missing, has another shape or has no place; it is named.
    """
    arrays = {name.removeprefix("transformer."): array for name, array in arrays.items()}
    head = arrays.pop("lm_head.weight", None)
    if head is not None and not np.array_equal(head, arrays.get("wte.weight")):
        raise ValueError("weights: 'lm_head.weight' differs from 'wte.weight': in GPT-2 they are one")
    d = module.features
    params = {
        "embed": {
            "embedding": take(arrays, "wte.weight", module.vocabulary, d),
            "positions": take(arrays, "wpe.weight", module.context, d),
        },
        "norm": take_norm(arrays, "ln_f", d),
    }
    for i in range(module.layers):
        name = f"h.{i}"
        params[f"block_{i}"] = {
            "norm_mixer": take_norm(arrays, f"{name}.ln_1", d),
            "mixer": _attention(arrays, f"{name}.attn", d, module.heads),
            "norm_mlp": take_norm(arrays, f"{name}.ln_2", d),
            "mlp": {
                "dense_0": _linear(arrays, f"{name}.mlp.c_fc", d, 4 * d),
                "dense_1": _linear(arrays, f"{name}.mlp.c_proj", 4 * d, d),
            },
        }
    refuse_rest(arrays, *BUFFERS)
    return params


def _linear(arrays, name, inputs, outputs):
    return {"kernel": take(arrays, f"{name}.weight", inputs, outputs), "bias": take(arrays, f"{name}.bias", outputs)}


def _attention(arrays, name, d, heads):
    """Queries, keys and values, side by side in `c_attn`, each of all heads in turn."""
    joint, out = _linear(arrays, f"{name}.c_attn", d, 3 * d), _linear(arrays, f"{name}.c_proj", d, d)
    kernels = joint["kernel"].reshape(d, 3, heads, -1)  # [d, 3, h, k]
    biases = joint["bias"].reshape(3, heads, -1)
    parts = {part: {"kernel": kernels[:, i], "bias": biases[i]} for i, part in enumerate("qkv")}
    return parts | {"o": {"kernel": out["kernel"].reshape(heads, -1, d), "bias": out["bias"]}}
