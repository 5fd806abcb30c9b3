"""The attention layer against loops over heads and rows in numpy; decoding against the whole sequence."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo import ops
from jaxzoo.layers import Attention, KVCache, TransformerBlock, kv_cache
from jaxzoo.transforms import as_model

T, D = 7, 12
X = jnp.asarray(np.random.default_rng(0).normal(size=(T, D)), jnp.float32)
LOWER = np.tril(np.ones((T, T), bool))
RANDOM = np.random.default_rng(1).random((2, T, T)) < 0.5
SEGMENTS = np.asarray([0, 0, 0, 1, 1, 2, 2])


def build(seed=0, **options):
    model = as_model(Attention(**options))
    params = model.init(jax.random.key(seed), X)
    return model, jax.tree.map(lambda p: p + 0.02, params)


def reference(params, x, visible, *, turn=None):
    """Head by head, row by row, in float64. visible: [h, t, t]."""

    def project(name):
        weights = {part: np.float64(value) for part, value in params[name].items()}
        return np.einsum("td,dhe->the", np.float64(x), weights["kernel"]) + weights.get("bias", 0.0)

    q, k, v = project("q"), project("k"), project("v")
    if turn is not None:
        q, k = (np.float64(turn(jnp.asarray(a, jnp.float32))) for a in (q, k))
    heads, group = q.shape[1], q.shape[1] // k.shape[1]
    out = np.zeros((len(x), heads, v.shape[-1]))
    for h in range(heads):
        for t in range(len(x)):
            seen = np.flatnonzero(visible[h, t])
            if len(seen):
                scores = k[seen, h // group] @ q[t, h] / np.sqrt(q.shape[-1])
                weights = np.exp(scores - scores.max())
                out[t, h] = weights / weights.sum() @ v[seen, h // group]
    return np.einsum("the,hed->td", out, np.float64(params["o"]["kernel"])) + np.float64(params["o"].get("bias", 0.0))


def everywhere(mask, heads=2):
    return np.broadcast_to(mask, (heads, T, T))


CASES = {  # options, call options, visible
    "plain": ({"heads": 2}, {}, everywhere(np.ones((T, T), bool))),
    "causal": ({"heads": 3, "causal": True}, {}, everywhere(LOWER, 3)),
    "window": ({"heads": 2, "causal": True, "window": 3}, {}, everywhere(LOWER & ~np.tril(LOWER, -3))),
    "grouped": ({"heads": 4, "kv_heads": 2, "causal": True}, {}, everywhere(LOWER, 4)),
    "multi-query": ({"heads": 4, "kv_heads": 1}, {}, everywhere(np.ones((T, T), bool), 4)),
    "head_dim": ({"heads": 2, "head_dim": 5}, {}, everywhere(np.ones((T, T), bool))),
    "biases": ({"heads": 2, "use_bias": True}, {}, everywhere(np.ones((T, T), bool))),
    "one mask": ({"heads": 2}, {"mask": jnp.asarray(RANDOM[0])}, everywhere(RANDOM[0])),
    "mask per head": ({"heads": 2}, {"mask": jnp.asarray(RANDOM)}, RANDOM),
    "segments": (
        {"heads": 2, "causal": True},
        {"segment_ids": jnp.asarray(SEGMENTS)},
        everywhere(LOWER & (SEGMENTS[:, None] == SEGMENTS[None])),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_its_formula(case):
    options, call, visible = CASES[case]
    model, params = build(**options)
    np.testing.assert_allclose(model.apply(params, X, **call), reference(params, X, visible), rtol=1e-4, atol=1e-5)


def test_rotary_turns_queries_and_keys_by_their_positions():
    model, params = build(heads=2, rotary=True)
    positions = jnp.asarray([0, 1, 2, 0, 1, 5, 9])
    for given in (None, positions):
        turn = partial(ops.rotary, positions=jnp.arange(T) if given is None else given)
        want = reference(params, X, everywhere(np.ones((T, T), bool)), turn=turn)
        np.testing.assert_allclose(model.apply(params, X, positions=given), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"kv_heads": 1, "rotary": True}, {"window": 3, "rotary": True}])
@pytest.mark.parametrize("cuts", [(1,) * T, (3, 4), (2, 1, 4)])
def test_decoding_with_a_cache_equals_the_whole_sequence(options, cuts):
    model, params = build(heads=2, causal=True, **options)
    cache, parts, start = kv_cache(T + 2, options.get("kv_heads", 2), D // 2), [], 0
    step = jax.jit(model.apply)
    for length in cuts:
        y, cache = step(params, X[start : start + length], cache)
        parts.append(y)
        start += length
    np.testing.assert_allclose(jnp.concatenate(parts), model.apply(params, X), rtol=1e-4, atol=1e-5)
    assert cache.length == T


def test_a_cache_may_be_of_lower_precision():
    model, params = build(heads=2, causal=True)
    y, cache = model.apply(params, X, kv_cache(T, 2, D // 2, jnp.bfloat16))
    assert (y.dtype, cache.k.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_allclose(y, model.apply(params, X), atol=0.1)


def test_decoding_in_a_scan_through_a_block():
    model = as_model(TransformerBlock(partial(Attention, heads=2, causal=True, rotary=True)))
    params = model.init(jax.random.key(0), X)

    def step(cache, token):
        y, cache = model.apply(params, token[None], cache)
        return cache, y[0]

    _, decoded = jax.lax.scan(step, kv_cache(T, 2, D // 2), X)
    np.testing.assert_allclose(decoded, model.apply(params, X), rtol=1e-4, atol=1e-5)


def test_beyond_the_capacity_of_the_cache_the_result_is_nan():
    model, params = build(heads=2, causal=True)
    y, cache = model.apply(params, X[:4], kv_cache(5, 2, D // 2))
    assert np.isfinite(y).all()
    y, _ = model.apply(params, X[4:6], cache)
    assert np.isnan(y).all()


def test_a_later_token_changes_nothing_before_it():
    model, params = build(heads=2, causal=True, rotary=True)
    changed = model.apply(params, X.at[4].add(1.0))
    np.testing.assert_array_equal(changed[:4], model.apply(params, X)[:4])
    assert not np.allclose(changed[4:], model.apply(params, X)[4:])


def test_a_row_that_sees_nothing_gives_zero_and_finite_gradients():
    model, params = build(heads=2)
    mask = jnp.asarray(RANDOM[0]).at[3].set(False)
    np.testing.assert_array_equal(model.apply(params, X, mask=mask)[3], np.zeros(D))
    gradients = jax.grad(lambda p, x: jnp.square(model.apply(p, x, mask=mask)).sum(), (0, 1))(params, X)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))


def test_vmap_equals_a_loop():
    model, params = build(heads=2, causal=True)
    batch = jnp.stack([X, 2 * X, -X])
    batched = jax.vmap(model.apply, (None, 0))(params, batch)
    np.testing.assert_allclose(batched, jnp.stack([model.apply(params, x) for x in batch]), rtol=1e-4, atol=1e-5)


def test_bfloat16_parameters_and_input_give_bfloat16():
    model, params = build(heads=2, causal=True, rotary=True)
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    y = model.apply(half, X.astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y, model.apply(params, X), atol=0.1)


@pytest.mark.parametrize(
    ("options", "call", "message"),
    [
        ({"heads": 5}, {}, "heads: expected a divisor of the 12 features of x, got 5"),
        ({"heads": 4, "kv_heads": 3}, {}, "kv_heads: expected a divisor of 4 heads, got 3"),
        ({"heads": 2, "window": 3}, {}, "window: expected None for a layer that is not causal, got 3"),
        ({"heads": 2}, {"cache": kv_cache(9, 2, 6)}, "cache: expected a causal layer"),
        (
            {"heads": 2, "causal": True},
            {"cache": kv_cache(9, 1, 6)},
            r"cache: expected \[7 or more, 2, 6\], got \(9, 1, 6\)",
        ),
        (
            {"heads": 2, "causal": True},
            {"cache": kv_cache(6, 2, 6)},
            r"cache: expected \[7 or more, 2, 6\], got \(6, 2, 6\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(options, call, message):
    with pytest.raises(ValueError, match=message):
        as_model(Attention(**options)).init(jax.random.key(0), X, **call)


def test_the_cache_starts_empty():
    cache = kv_cache(9, 2, 6, jnp.bfloat16)
    assert isinstance(cache, KVCache)
    assert cache.k.shape == cache.v.shape == (9, 2, 6)
    assert cache.k.dtype == jnp.bfloat16
    assert cache.length == 0
