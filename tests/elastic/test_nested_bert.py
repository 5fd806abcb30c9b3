"""BERT, cut and whole, against its formulas in float64, with weights under their published names."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from jaxzoo.data import DataError
from jaxzoo.elastic.nested import exits_by_depth, nested, prefix, prefix_slice
from jaxzoo.elastic.nested_bert import nested_bert
from jaxzoo.elastic.published_weights import begin_from, bert_params

D, HEADS, HIDDEN, DEPTH, VOCABULARY, POSITIONS = 8, 4, 12, 2, 11, 6
SIZES = {"features": D, "heads": HEADS, "hidden": HIDDEN, "depth": DEPTH}
MODEL = nested_bert(vocabulary=VOCABULARY, positions=POSITIONS, length=5, outputs=3, **SIZES)
X = jnp.array([[2, 7, 3, 4, 3, 0], [0, 0, 0, 1, 1, 0], [1, 1, 1, 1, 1, 0]])


@cache
def tensors():
    """Random weights with the names and shapes of a checkpoint of google-bert/bert-base-uncased."""
    rng = np.random.default_rng(0)
    shapes = {f"embeddings.{kind}_embeddings.weight": (n, D) for kind, n in
              (("word", VOCABULARY), ("position", POSITIONS), ("token_type", 2))}  # fmt: skip
    dense = {"pooler.dense": (D, D)}
    norms = ["embeddings.LayerNorm"]
    for i in range(DEPTH):
        at = f"encoder.layer.{i}"
        dense |= {f"{at}.attention.self.{name}": (D, D) for name in ("query", "key", "value")}
        dense |= {f"{at}.attention.output.dense": (D, D)}
        dense |= {f"{at}.intermediate.dense": (HIDDEN, D), f"{at}.output.dense": (D, HIDDEN)}
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
    shapes |= {f"{name}.weight": shape for name, shape in dense.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in dense.items()}
    shapes |= {f"{name}.{part}": (D,) for name in norms for part in ("gamma", "beta")}
    made = {f"bert.{name}": 0.5 * rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return made | {"cls.predictions.bias": np.zeros(VOCABULARY, np.float32)}


@cache
def start():
    return jax.jit(begin_from(MODEL, bert_params(shapes(MODEL), tensors())).init)(jax.random.key(0))


def shapes(model):
    return jax.eval_shape(model.init, jax.random.key(0))


def normed(p, name, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * p[f"{name}.gamma"] + p[f"{name}.beta"]


def dense(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def float64_pooled(x, depth=DEPTH):
    """The pooled first token of a sequence without its padding, in float64 by the published names."""
    p = {name.removeprefix("bert."): np.asarray(value, np.float64) for name, value in tensors().items()}
    ids, segments, _ = np.asarray(x)[:, np.asarray(x)[2] == 1]
    h = p["embeddings.word_embeddings.weight"][ids] + p["embeddings.position_embeddings.weight"][: len(ids)]
    h = normed(p, "embeddings.LayerNorm", h + p["embeddings.token_type_embeddings.weight"][segments])
    for i in range(depth):
        at, size = f"encoder.layer.{i}", D // HEADS
        q, k, v = (dense(p, f"{at}.attention.self.{n}", h) for n in ("query", "key", "value"))
        heads = []
        for j in range(HEADS):
            part = slice(j * size, (j + 1) * size)
            w = np.exp(q[:, part] @ k[:, part].T / np.sqrt(size))
            heads.append(w / w.sum(1, keepdims=True) @ v[:, part])
        h = normed(
            p, f"{at}.attention.output.LayerNorm", h + dense(p, f"{at}.attention.output.dense", np.hstack(heads))
        )
        y = dense(p, f"{at}.intermediate.dense", h)
        y = y * 0.5 * (1 + erf(y / np.sqrt(2)))
        h = normed(p, f"{at}.output.LayerNorm", h + dense(p, f"{at}.output.dense", y))
    return np.tanh(dense(p, "pooler.dense", h[0]))


def test_published_weights_give_the_published_network():
    out = start()["out"]
    expected = float64_pooled(X) @ np.asarray(out["kernel"], np.float64) + np.asarray(out["bias"])
    np.testing.assert_allclose(jax.jit(MODEL.apply)(start(), X), expected, atol=1e-5)
    got = jax.jit(MODEL.exits)(start(), X, prefix(MODEL.dims, HEADS, DEPTH))
    shallow = float64_pooled(X, 1) @ np.asarray(out["kernel"], np.float64) + np.asarray(out["bias"])
    np.testing.assert_allclose(got, [shallow, expected], atol=1e-5)


def test_padding_is_not_seen():
    other = X.at[0, 5].set(9).at[1, 5].set(1)
    apply = jax.jit(MODEL.apply)
    np.testing.assert_allclose(apply(start(), other), apply(start(), X), atol=1e-6)
    assert np.abs(apply(start(), X.at[0, 4].set(9)) - apply(start(), X)).max() > 1e-4


def test_a_sub_network_equals_the_dense_network_of_its_parameters():
    expected = jax.jit(MODEL.apply)(prefix_slice(start(), 3, 1, model=MODEL), X)
    assert prefix_slice(start(), 3, 1, model=MODEL)["blocks"]["up"]["kernel"].shape == (1, D, 9)
    got = jax.jit(nested(MODEL.apply, MODEL.dims))(start(), X, 3, 1)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    exits = jax.jit(MODEL.exits)(start(), X, prefix(MODEL.dims, 3, 1))
    by_depth = jax.jit(exits_by_depth(MODEL.apply, MODEL.dims))(start(), X, prefix(MODEL.dims, 3, 1))
    np.testing.assert_allclose(exits, by_depth, atol=1e-6)


def test_products_and_parameters_of_bert_base():
    params = jax.eval_shape(nested_bert().init, jax.random.key(0))
    encoder = sum(leaf.size for leaf in jax.tree.leaves({k: v for k, v in params.items() if k != "out"}))
    assert encoder == 109_482_240
    blocks = sum(params["blocks"][name]["kernel"].size for name in ("qkv", "o", "up", "down"))
    assert nested_bert().macs(12, 12) == 128 * blocks + 12 * 2 * 128**2 * 768 + 768 * (768 + 2)


def test_names_without_a_prefix_and_newer_names_of_norms():
    renamed = {
        name.removeprefix("bert.").replace("gamma", "weight").replace("beta", "bias"): value
        for name, value in tensors().items()
    }
    got, expected = (bert_params(shapes(MODEL), named) for named in (renamed, tensors()))
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_weights_that_do_not_fit_are_named():
    without = {name: value for name, value in tensors().items() if "layer.1.output.dense.weight" not in name}
    with pytest.raises(DataError, match=r"expected a tensor bert.encoder.layer.1.output.dense.weight"):
        bert_params(shapes(MODEL), without)
    other = nested_bert(vocabulary=VOCABULARY + 1, positions=POSITIONS, length=5, **SIZES)
    with pytest.raises(DataError, match=r"bert.embeddings.word_embeddings.weight: expected \[12, 8\], got \[11, 8\]"):
        bert_params(shapes(other), tensors())


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="heads: expected a divisor of 768 features, got 7"):
        nested_bert(heads=7)
    with pytest.raises(ValueError, match="length: expected at most 512, got 513"):
        nested_bert(length=513)
