"""Published language models as hosts: GPT-2 and Pythia from the files of Hugging Face, with their norms folded away.

`fold_norms` rewrites a network, without changing what it computes, so that circuits are read from products of weights:
factors and offsets of the norms before attention and MLP move into the matrices that read their output, and all that
is written to the residual stream loses its mean over features, which every layer norm takes away anyway. Layer norm is
then a division by the length alone. The authors' transcoders were trained on networks folded in this way.
"""

import jax.numpy as jnp

from jaxzoo.data import DataError, json_file, safetensors_arrays, token_file
from jaxzoo.interpretability.gpt2 import gpt2_module, gpt2_params
from jaxzoo.interpretability.gpt_neox import gpt_neox_module, gpt_neox_params

KINDS = {"gpt2": (gpt2_module, gpt2_params), "gpt_neox": (gpt_neox_module, gpt_neox_params)}
"""Of networks, as "model_type" in a config.json names them."""


def load_host(folder, name):
    """A published network from `folder/name`: config.json, and model.safetensors or its shards with their index.

    Args:
      folder: the data folder, as from `data.data_folder`.
      name: the subfolder, such as "gpt2" or "pythia-410m".

    Returns:
      `(module, params)`: a `GPT2` or a `GPTNeoX`.

    Raises:
      DataError: a file is missing or damaged, or describes or holds another network; what is wrong is named.
    """
    sizes = json_file(folder, f"{name}/config.json", called=f"the sizes of {name}, beside its weights")
    kind = sizes.get("model_type")
    if kind not in KINDS:
        raise DataError(f"{name}/config.json: 'model_type': expected one of {', '.join(KINDS)}, got {kind!r}")
    make_module, make_params = KINDS[kind]
    try:
        module = make_module(sizes)
        return module, make_params(safetensors_arrays(folder, name), module)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def load_text_host(folder, name, like, most):
    """A published network with folded norms, and the text beside it: `train.bin` and `val.bin`, or .npy.

    Args:
      folder, name: as of `load_host`.
      like: a module of the sizes that it should have.
      most: tokens to take of the training text.

    Returns:
      `(module, params, train [n], held_out [k])`.

    Raises:
      DataError: as `load_host`; or a text is missing or damaged.
      ValueError: the network has other sizes.
    """
    module, params = load_host(folder, name)
    for size in ("vocabulary", "features", "layers", "heads"):
        found, wanted = getattr(module, size), getattr(like, size)
        if found != wanted or type(module) is not type(like):
            kind = type(module).__name__
            raise ValueError(f"{size}: expected {found} of a {kind}, as {name}/config.json says, got {wanted}")
    train = token_file(folder, f"{name}/train", vocabulary=module.vocabulary, most=most)
    held_out = token_file(folder, f"{name}/val", vocabulary=module.vocabulary)
    return *fold_norms(module, params), jnp.asarray(train), jnp.asarray(held_out)


def fold_norms(module, params):
    """The same function with plain norms before each sublayer, and writings of mean 0.

    Args:
      module, params: a `GPT2` or a `GPTNeoX`.

    Returns:
      `(module, params)`. The output matrix of a tied GPT-2 becomes a parameter of its own, since the embedding changes.
    """
    folded = dict(params)
    if "head" not in params:
        module = module.clone(tied=False)
        folded["head"] = {"kernel": params["embed"]["embedding"].T}
    folded["embed"] = {name: centred(array) for name, array in params["embed"].items()}
    for i in range(module.layers):
        block = params[f"block_{i}"]
        mixer, mlp, before, between = (block[part] for part in ("mixer", "mlp", "norm_mixer", "norm_mlp"))
        folded[f"block_{i}"] = {
            "norm_mixer": plain(before),
            "mixer": {part: reading(mixer[part], before) for part in "qkv"} | {"o": writing(mixer["o"])},
            "norm_mlp": plain(between),
            "mlp": {"dense_0": reading(mlp["dense_0"], between), "dense_1": writing(mlp["dense_1"])},
        }
    return module, folded


def centred(x):
    """Without its mean over the last axis."""
    return x - x.mean(-1, keepdims=True)


def plain(norm):
    """A layer norm that only centres and scales."""
    return {"scale": jnp.ones_like(norm["scale"]), "bias": jnp.zeros_like(norm["bias"])}


def reading(linear, norm):
    """A linear map that does what the norm's factor and offset did: W' = diag(scale) W, b' = b + bias W."""
    kernel = linear["kernel"]  # [d, ...]
    scale = norm["scale"].reshape(-1, *[1] * (kernel.ndim - 1))
    return {"kernel": kernel * scale, "bias": linear["bias"] + jnp.tensordot(norm["bias"], kernel, 1)}


def writing(linear):
    """A linear map whose outputs have mean 0."""
    return {"kernel": centred(linear["kernel"]), "bias": centred(linear["bias"])}
