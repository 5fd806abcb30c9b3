"""BERT's weights under their names on Hugging Face, as parameters of `nested_bert`."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.data import DataError

PREFIXES = ("bert.", "")
"""In front of the names; google-bert/bert-base-uncased has the first."""


def begin_from(model, tensors):
    """A model whose training begins at given weights; the head for the task stays random.

    Args:
      model: from `nested_bert`.
      tensors: name -> array, as in google-bert/bert-base-uncased: "bert.embeddings.word_embeddings.weight", ...; others
        than those of the encoder and the pooler are not used.

    Returns:
      The `NestedModel` with another `init`.

    Raises:
      DataError: a tensor is missing or has another shape than the model's.
    """
    known = bert_params(jax.eval_shape(model.init, jax.random.key(0)), tensors)
    return model._replace(init=lambda key: jax.tree.map(jnp.asarray, known | {"out": model.init(key)["out"]}))


def bert_params(like, tensors):
    """The parameters of `nested_bert` without its head.

    Args:
      like: params, or their shapes.
      tensors: as in `begin_from`. PyTorch's dense kernels [out, in] are transposed; norms may be called weight and bias
        or, as in the first checkpoints, gamma and beta.

    Returns:
      The parts "embed", "blocks" and "pooler" of params, float32.

    Raises:
      DataError: a tensor is missing or has another shape.
    """
    depth, features, _, heads, size = like["blocks"]["qkv"]["kernel"].shape
    hidden = like["blocks"]["up"]["kernel"].shape[2]
    read = _reader(tensors)
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
            name: {part: jnp.stack([b[name][part] for b in blocks]) for part in blocks[0][name]} for name in blocks[0]
        },
        "pooler": dense("pooler.dense", features, features),
    }


def _reader(tensors):
    """`read(name, shape, *endings)`: the tensor, checked."""

    def read(name, shape, *endings):
        names = [f"{prefix}{name}.{ending}" for prefix in PREFIXES for ending in endings]
        found = next((n for n in names if n in tensors), None)
        if found is None:
            raise DataError(f"weights: expected a tensor {names[0]}; none of {', '.join(names)} is there")
        if tensors[found].shape != shape:
            raise DataError(f"weights: {found}: expected {list(shape)}, got {list(tensors[found].shape)}")
        return np.asarray(tensors[found], np.float32)

    return read
