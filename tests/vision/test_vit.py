"""The vision transformer against the same network in NumPy, in timm's layout; and files of weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.special import erf

from jaxzoo.data import DataError
from jaxzoo.vision.vit import ViT, vit_from_file, vit_from_tensors

WIDTH, HEADS, DEPTH, HIDDEN, PATCH, SIDE = 12, 3, 2, 20, 4, 8


def tensors(seed=0):
    """A small network in timm's names, nothing in it 0 or 1 by chance."""
    rng = np.random.default_rng(seed)
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + (SIDE // PATCH) ** 2, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
        "head.weight": (7, WIDTH),
        "head.bias": (7,),
    }
    layers = {"norm1": (WIDTH,), "norm2": (WIDTH,), "attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH)}
    layers |= {"mlp.fc1": (HIDDEN, WIDTH), "mlp.fc2": (WIDTH, HIDDEN)}
    for i in range(DEPTH):
        for name, shape in layers.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
    return {name: (0.5 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}


def in_numpy(p, x):
    """Features of one image [side, side, 3], in float64, patch by patch and head by head."""
    p = {name: value.astype(np.float64) for name, value in p.items()}
    norm = lambda x, at: (  # noqa: E731
        (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * p[f"{at}.weight"] + p[f"{at}.bias"]
    )
    dense = lambda x, at: x @ p[f"{at}.weight"].T + p[f"{at}.bias"]  # noqa: E731
    tokens = [p["cls_token"][0, 0]]
    for i in range(0, SIDE, PATCH):
        for j in range(0, SIDE, PATCH):
            patch = x[i : i + PATCH, j : j + PATCH].transpose(2, 0, 1)  # channels first
            products = (p["patch_embed.proj.weight"] * patch).sum((1, 2, 3))
            tokens.append(products + p["patch_embed.proj.bias"])
    x = np.stack(tokens) + p["pos_embed"][0]
    for b in range(DEPTH):
        at = f"blocks.{b}"
        q, k, v = np.split(dense(norm(x, f"{at}.norm1"), f"{at}.attn.qkv"), 3, axis=-1)
        heads = []
        for part in np.split(np.arange(WIDTH), HEADS):
            logits = q[:, part] @ k[:, part].T / np.sqrt(len(part))
            weights = np.exp(logits - logits.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True) @ v[:, part])
        x = x + dense(np.concatenate(heads, -1), f"{at}.attn.proj")
        h = dense(norm(x, f"{at}.norm2"), f"{at}.mlp.fc1")
        x = x + dense(0.5 * h * (1 + erf(h / np.sqrt(2))), f"{at}.mlp.fc2")
    return norm(x, "norm")[0]


def test_features_are_those_of_the_same_network_in_numpy(tmp_path):
    (tmp_path / "vit").mkdir()
    save_file(tensors(), tmp_path / "vit" / "model.safetensors")
    vit = vit_from_file(tmp_path, heads=HEADS)
    assert vit.module == ViT(SIDE, PATCH, WIDTH, DEPTH, HEADS, HIDDEN)
    images = np.random.default_rng(1).normal(size=(3, SIDE, SIDE, 3)).astype(np.float32)
    found = jax.jit(jax.vmap(lambda x: vit.module.apply({"params": vit.params}, x)))(images)
    np.testing.assert_allclose(found, [in_numpy(tensors(), x) for x in images], atol=2e-5)


def test_parameters_from_a_file_are_those_that_the_module_makes():
    vit = vit_from_tensors(tensors(), heads=HEADS)
    made = jax.eval_shape(vit.module.init, jax.random.key(0), jnp.zeros((SIDE, SIDE, 3)))["params"]
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, vit.params)


def test_the_default_is_deit_small():
    """22.05 million parameters with a head of 1000 classes (arXiv 2012.12877, Tab. 1: 22M), 385 000 of them there."""
    made = jax.eval_shape(ViT().init, jax.random.key(0), jnp.zeros((224, 224, 3)))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(made)) == 22_050_664 - 385_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.1.norm2.bias": None}, r"no tensor 'blocks\.1\.norm2\.bias'"),
        ({"blocks.0.attn.qkv.weight": np.ones((12, 12))}, r"qkv\.weight: expected \[36, 12\] .*, got \[12, 12\]"),
        ({"pos_embed": np.ones((1, 6, WIDTH))}, "pos_embed: expected a square of patches and the class token"),
        ({"dist_token": np.ones((1, 1, WIDTH))}, "tensors that have no place in a plain ViT: dist_token"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, change, message):
    changed = {name: np.float32(x) for name, x in (tensors() | change).items() if x is not None}
    (tmp_path / "other").mkdir()
    save_file(changed, tmp_path / "other" / "model.safetensors")
    with pytest.raises(DataError, match=rf"other: .*{message}"):
        vit_from_file(tmp_path, "other", heads=HEADS)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"missing file: vit/model\.safetensors .*in the data folder"):
        vit_from_file(tmp_path)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="heads: expected a divisor of the 12 features"):
        vit_from_tensors(tensors(), heads=5)
    with pytest.raises(ValueError, match=r"x: expected one image \[224, 224, 3\], got \(2, 224, 224, 3\)"):
        jax.eval_shape(ViT().init, jax.random.key(0), jnp.zeros((2, 224, 224, 3)))
