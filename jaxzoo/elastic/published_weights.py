"""Weights of BERT and LLaMA under their names on Hugging Face, as parameters of nested networks."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.data import DataError


def begin_from(model, known):
    """A model whose training begins at given weights; what is not among them stays random.

    Args:
      model: a `NestedModel` whose params are a dict.
      known: some of its params, as from `bert_params` or `llama_params`.

    Returns:
      The `NestedModel` with another `init`.
    """
    return model._replace(init=lambda key: model.init(key) | jax.tree.map(jnp.asarray, known))


def bert_params(like, tensors):
    """The parameters of `nested_bert` without its head.

    Args:
      like: params, or their shapes.
      tensors: name -> array, as in google-bert/bert-base-uncased: "bert.embeddings.word_embeddings.weight", ... with or
        without "bert."; others than those of the encoder and the pooler are not used. PyTorch's dense kernels [out, in]
        are transposed; norms may be called weight and bias or, as in the first checkpoints, gamma and beta.

    Returns:
      The parts "embed", "blocks" and "pooler" of params, float32.

    Raises:
      DataError: a tensor is missing or has another shape.
    """
    depth, features, _, heads, size = like["blocks"]["qkv"]["kernel"].shape
    hidden = like["blocks"]["up"]["kernel"].shape[2]
    read = _reader(tensors, ("bert.", ""))
    embed = like["embed"]
    norm = lambda at: {"scale": read(at, (features,), "weight", "gamma"), "bias": read(at, (features,), "bias", "beta")}  # noqa: E731
    dense = lambda at, i, o: {"kernel": read(at, (o, i), "weight").T, "bias": read(at, (o,), "bias")}  # noqa: E731

    def block(i):
        at = f"encoder.layer.{i}"
        parts = [dense(f"{at}.attention.self.{name}", features, features) for name in ("query", "key", "value")]
        o = dense(f"{at}.attention.output.dense", features, features)
        return {
            "qkv": {
                "kernel": np.stack([p["kernel"].reshape(features, heads, size) for p in parts], 1),
                "bias": np.stack([p["bias"].reshape(heads, size) for p in parts]),
            },
            "o": {"kernel": o["kernel"].reshape(heads, size, features), "bias": o["bias"]},
            "norm_mixer": norm(f"{at}.attention.output.LayerNorm"),
            "up": dense(f"{at}.intermediate.dense", features, hidden),
            "down": dense(f"{at}.output.dense", hidden, features),
            "norm_mlp": norm(f"{at}.output.LayerNorm"),
        }

    blocks = [block(i) for i in range(depth)]
    return {
        "embed": {
            "words": read("embeddings.word_embeddings", embed["words"].shape, "weight"),
            "positions": read("embeddings.position_embeddings", embed["positions"].shape, "weight"),
            "segments": read("embeddings.token_type_embeddings", embed["segments"].shape, "weight"),
            "norm": norm("embeddings.LayerNorm"),
        },
        "blocks": {
            name: {part: np.stack([b[name][part] for b in blocks]) for part in blocks[0][name]} for name in blocks[0]
        },
        "pooler": dense("pooler.dense", features, features),
    }


def llama_params(like, tensors):
    """The parameters of `nested_decoder`.

    Args:
      like: params, or their shapes.
      tensors: name -> array, as in meta-llama/Llama-2-7b-hf: "model.embed_tokens.weight", ...; heads of keys are
        as many as those of queries.

    Returns:
      Params, float32.

    Raises:
      DataError: a tensor is missing or has another shape.
    """
    mixer = like["blocks"]["mixer"]
    depth, features, heads, size = mixer["q"]["kernel"].shape
    hidden = like["blocks"]["mlp"]["up"]["kernel"].shape[2]
    read = _reader(tensors, ("",))

    def stacked(name, shape, change=lambda x: x):
        return np.stack([change(read(f"model.layers.{i}.{name}", shape, "weight")) for i in range(depth)])

    def dense(name, i, o):
        return {"kernel": stacked(name, (o, i), np.transpose)}

    into = lambda x: x.T.reshape(features, heads, size)  # noqa: E731
    out = lambda x: x.T.reshape(heads, size, features)  # noqa: E731
    square = (features, features)
    return {
        "embed": read("model.embed_tokens", like["embed"].shape, "weight"),
        "blocks": {
            "mixer": {n: {"kernel": stacked(f"self_attn.{n}_proj", square, into)} for n in "qkv"}
            | {"o": {"kernel": stacked("self_attn.o_proj", square, out)}},
            "mlp": {
                "gate": dense("mlp.gate_proj", features, hidden),
                "up": dense("mlp.up_proj", features, hidden),
                "down": dense("mlp.down_proj", hidden, features),
            },
            "norm_mixer": {"scale": stacked("input_layernorm", (features,))},
            "norm_mlp": {"scale": stacked("post_attention_layernorm", (features,))},
        },
        "norm": read("model.norm", (features,), "weight"),
        "out": read("lm_head", like["out"].shape[::-1], "weight").T,
    }


def _reader(tensors, prefixes):
    """`read(name, shape, *endings)`: the tensor, checked."""

    def read(name, shape, *endings):
        names = [f"{prefix}{name}.{ending}" for prefix in prefixes for ending in endings]
        found = next((n for n in names if n in tensors), None)
        if found is None:
            raise DataError(f"weights: expected a tensor {names[0]}; none of {', '.join(names)} is there")
        if tensors[found].shape != shape:
            raise DataError(f"weights: {found}: expected {list(shape)}, got {list(tensors[found].shape)}")
        return np.asarray(tensors[found], np.float32)

    return read
