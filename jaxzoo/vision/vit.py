"""The vision transformer, and its weights from a file in timm's names.

The image is cut into patches, each a token; a class token joins them, and what it has become after the last block is
the image's features.

Sources: Dosovitskiy et al., "An Image is Worth 16x16 Words" (arXiv 2010.11929), Sec. 3.1; sizes of DeiT: Touvron et
al. (arXiv 2012.12877), Tab. 1.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.data import DataError, safetensors_arrays
from jaxzoo.layers import MLP, Attention, Conv, LayerNorm, TransformerBlock

HEAD_DIM = 64
"""Width of a head in ViT and DeiT of every size."""

EPS = 1e-6


class ViT(nn.Module):
    """Features of one image by its class token: [side, side, 3] -> [width]. Defaults: DeiT-S/16.

    Blocks are pre-norm, with biases everywhere and the exact GELU; they are named `block_0`, `block_1`, ...

    Attributes:
      side: of the image, pixels; a multiple of `patch`.
      patch: side of a patch, pixels.
      width: features of a token.
      depth: number of blocks.
      heads: of the attention; divides `width`.
      hidden: width of the feed-forward layers.
    """

    side: int = 224
    patch: int = 16
    width: int = 384
    depth: int = 12
    heads: int = 6
    hidden: int = 1536

    @nn.compact
    def __call__(self, x):
        if x.shape != (self.side, self.side, 3):
            raise ValueError(f"x: expected one image [{self.side}, {self.side}, 3], got {x.shape}")
        window = (self.patch, self.patch)
        x = Conv(self.width, window, stride=self.patch, padding="VALID", name="patches")(x)
        x = x.reshape(-1, self.width)  # [t, d]
        cls = self.param("cls", nn.initializers.zeros, (1, self.width))
        positions = self.param("positions", nn.initializers.normal(0.02), (1 + len(x), self.width))
        x = jnp.concatenate([cls, x]) + positions
        block = partial(
            TransformerBlock,
            partial(Attention, self.heads, use_bias=True),
            partial(MLP, (self.hidden, self.width), partial(jax.nn.gelu, approximate=False)),
            partial(LayerNorm, EPS),
        )
        for i in range(self.depth):
            x = block(name=f"block_{i}")(x)
        return LayerNorm(EPS, name="norm")(x)[0]


class LoadedViT(NamedTuple):
    """A network of the sizes that a file has, and the parameters from it."""

    module: ViT
    params: Any


def vit_from_file(folder: Path, name: str = "vit", *, heads: int | None = None) -> LoadedViT:
    """A vision transformer from `name/model.safetensors` in timm's names, as timm and `safetensors.torch` write it.

    Args:
      folder: the data folder, as from `data_folder`.
      name: the subfolder of the network.
      heads: of the attention, which the file does not tell; None for heads 64 wide.

    Returns:
      `LoadedViT`; params in float32.

    Raises:
      DataError: the file is missing or damaged, or its tensors are not those of a plain ViT with a class token.
    """
    tensors = safetensors_arrays(folder, name)
    try:
        return vit_from_tensors(tensors, heads=heads)
    except ValueError as error:
        raise DataError(f"{Path(folder) / name}: {error}") from None


def vit_from_tensors(tensors: dict[str, np.ndarray], *, heads: int | None = None) -> LoadedViT:
    """The same from the tensors, by timm's names: `cls_token`, `pos_embed`, `patch_embed.proj.weight`, `norm.weight`,
    `blocks.0.attn.qkv.weight`, ...; those of a classifier, `head.*`, are passed over.

    Args:
      tensors: name -> array in PyTorch's layout: dense [out, in], convolution [out, in, h, w].
      heads: as of `vit_from_file`.

    Returns:
      `LoadedViT`.

    Raises:
      ValueError: a tensor is missing, has a shape that does not fit, or has no place in a plain ViT.
    """
    rest = {name: np.asarray(x, np.float32) for name, x in tensors.items() if not name.startswith("head.")}

    def take(name, *shape):
        if name not in rest:
            raise ValueError(f"no tensor {name!r}; expected timm's names of a ViT")
        x = rest.pop(name)
        if x.ndim != len(shape) or any(want is not None and want != n for want, n in zip(shape, x.shape, strict=True)):
            raise ValueError(f"{name}: expected {list(shape)} (None is any), got {list(x.shape)}")
        return x

    def dense(name, before, after):
        return {"kernel": take(f"{name}.weight", after, before).T, "bias": take(f"{name}.bias", after)}

    def norm(name):
        return {"scale": take(f"{name}.weight", d), "bias": take(f"{name}.bias", d)}

    kernel = take("patch_embed.proj.weight", None, 3, None, None)
    d, _, patch, _ = kernel.shape
    positions = take("pos_embed", 1, None, d)[0]
    across = math.isqrt(len(positions) - 1)
    heads = max(1, d // HEAD_DIM) if heads is None else heads
    if kernel.shape[3] != patch or across < 1 or across**2 + 1 != len(positions):
        raise ValueError(f"pos_embed: expected a square of patches and the class token, got {len(positions)} tokens")
    if heads < 1 or d % heads:
        raise ValueError(f"heads: expected a divisor of the {d} features of a token, got {heads}")
    params = {
        "patches": {"kernel": kernel.transpose(2, 3, 1, 0), "bias": take("patch_embed.proj.bias", d)},
        "cls": take("cls_token", 1, 1, d)[0],
        "positions": positions,
        "norm": norm("norm"),
    }
    depth = len({name.split(".")[1] for name in rest if name.startswith("blocks.")})
    hidden = rest["blocks.0.mlp.fc1.weight"].shape[0] if "blocks.0.mlp.fc1.weight" in rest else 4 * d
    for i in range(depth):
        at = f"blocks.{i}"
        qkv, out = dense(f"{at}.attn.qkv", d, 3 * d), dense(f"{at}.attn.proj", d, d)
        kernels = qkv["kernel"].reshape(d, 3, heads, d // heads)
        biases = qkv["bias"].reshape(3, heads, d // heads)
        mixer = {part: {"kernel": kernels[:, j], "bias": biases[j]} for j, part in enumerate("qkv")}
        mixer["o"] = {"kernel": out["kernel"].reshape(heads, d // heads, d), "bias": out["bias"]}
        params[f"block_{i}"] = {
            "norm_mixer": norm(f"{at}.norm1"),
            "mixer": mixer,
            "norm_mlp": norm(f"{at}.norm2"),
            "mlp": {"dense_0": dense(f"{at}.mlp.fc1", d, hidden), "dense_1": dense(f"{at}.mlp.fc2", hidden, d)},
        }
    if rest:
        raise ValueError(f"tensors that have no place in a plain ViT: {', '.join(sorted(rest)[:5])}")
    module = ViT(side=across * patch, patch=patch, width=d, depth=depth, heads=heads, hidden=hidden)
    return LoadedViT(module, jax.tree.map(jnp.asarray, params))
