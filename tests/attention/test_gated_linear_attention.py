"""Gated linear attention: its forms agree, its limits are known mechanisms, its task is what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.attention import gated_linear_attention as gla
from jaxzoo.transforms import as_model

T, H, DK, DV = 21, 2, 4, 6


def operands(seed=0, t=T, gentle=True, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(seed), 4)
    q, k = (jax.random.normal(key, (t, H, DK), dtype) for key in keys[:2])
    low = -0.3 if gentle else -9.0
    return q, k, jax.random.normal(keys[2], (t, H, DV), dtype), jax.random.uniform(keys[3], q.shape, dtype, low, 0.0)


@pytest.mark.parametrize("chunk", [1, 4, 16, 32])
def test_chunks_equal_the_recurrence_and_with_gentle_gates_the_parallel_form(chunk):
    q, k, v, log_a = operands()
    o, state = gla.gla_recurrent(q, k, v, log_a)
    chunked, after = gla.gla_chunked(q, k, v, log_a, chunk=chunk)
    np.testing.assert_allclose(chunked, o, atol=1e-5)
    np.testing.assert_allclose(after, state, atol=1e-5)
    np.testing.assert_allclose(gla.gla_parallel(q, k, v, log_a), o, atol=1e-4)


def test_no_gate_is_causal_linear_attention():
    q, k, v, _ = operands()
    scores = jnp.tril(jnp.einsum("thk,shk->hts", q, k)) * DK**-0.5
    expected = jnp.einsum("hts,shv->thv", scores, v)
    for log_a in (None, jnp.zeros((T, H, DK))):
        np.testing.assert_allclose(gla.gla_chunked(q, k, v, log_a)[0], expected, atol=1e-5)


def test_a_closed_gate_remembers_only_the_present():
    q, k, v, _ = operands()
    expected = jnp.einsum("thk,thk->th", q, k)[..., None] * v * DK**-0.5
    np.testing.assert_allclose(gla.gla_chunked(q, k, v, jnp.full((T, H, DK), -100.0))[0], expected, atol=1e-5)


def test_a_constant_gate_is_retnet():
    q, k, v, _ = operands()
    g = 0.9
    distance = np.arange(T)[:, None] - np.arange(T)[None]
    decay = np.where(distance >= 0, g ** np.maximum(distance, 0), 0).astype(np.float32)
    scores = jnp.einsum("thk,shk->hts", q, k) * decay[None] * DK**-0.5
    expected = jnp.einsum("hts,shv->thv", scores, v)
    out, _ = gla.gla_chunked(q, k, v, jnp.full((T, H), jnp.log(g)))
    np.testing.assert_allclose(out, expected, atol=2e-6)


def test_two_halves_with_the_state_carried_equal_the_whole_and_so_does_streaming():
    q, k, v, log_a = operands(gentle=False)
    whole, end = gla.gla_chunked(q, k, v, log_a, chunk=16)
    first, state = gla.gla_chunked(q[:9], k[:9], v[:9], log_a[:9], chunk=16)
    second, after = gla.gla_chunked(q[9:], k[9:], v[9:], log_a[9:], initial_state=state, chunk=16)
    np.testing.assert_allclose(jnp.concatenate([first, second]), whole, atol=2e-6)
    np.testing.assert_allclose(after, end, atol=2e-6)
    state = jnp.zeros((H, DK, DV))
    for i in range(T):
        state, o = gla.gla_step(state, q[i], k[i], v[i], log_a[i])
        np.testing.assert_allclose(o, whole[i], atol=2e-6)


def test_the_gate_gradient_needs_no_states():
    with jax.enable_x64(True):
        q, k, v, log_a = operands(dtype=jnp.float64, gentle=False)
        weight = jax.random.normal(jax.random.key(9), v.shape, jnp.float64)
        loss = lambda q, k, log_a: (weight * gla.gla_recurrent(q, k, v, log_a)[0]).sum()  # noqa: E731
        ct_q, ct_k, ct_log_a = jax.grad(loss, (0, 1, 2))(q, k, log_a)
        np.testing.assert_allclose(gla.gate_gradient(q, k, ct_q, ct_k), ct_log_a, rtol=1e-8, atol=1e-8)


def test_the_parallel_form_overflows_where_the_chunked_one_is_exact():
    q, k, v, _ = operands(t=512)
    log_a = jnp.full(q.shape, -0.7)
    assert not jnp.isfinite(gla.gla_parallel(q, k, v, log_a)).all()
    np.testing.assert_allclose(gla.gla_chunked(q, k, v, log_a)[0], gla.gla_recurrent(q, k, v, log_a)[0], atol=1e-5)


def test_retnet_decays():
    np.testing.assert_allclose(jnp.exp(gla.retnet_log_decays(3)), [1 - 2**-5, 1 - 2**-6, 1 - 2**-7], rtol=1e-6)
    np.testing.assert_allclose(jnp.exp(gla.retnet_log_decays(2, 3.0, 6.0)), [1 - 2**-3, 1 - 2**-6], rtol=1e-6)


@pytest.mark.parametrize("variant", gla.VARIANTS)
def test_the_layer_is_causal_and_goes_on_from_a_state(variant):
    layer = gla.GatedLinearAttention(heads=2, variant=variant, chunk=4)
    model = as_model(layer)
    x = jax.random.normal(jax.random.key(0), (10, 8))
    params = model.init(jax.random.key(1), x)
    y = model.apply(params, x)
    changed = model.apply(params, x.at[6].add(1.0))
    np.testing.assert_array_equal(changed[:6], y[:6])
    assert (jnp.abs(changed[6:] - y[6:]).max(-1) > 1e-6).all()
    first, state = model.apply(params, x[:7], jnp.zeros((2, 2, 4)))
    second, _ = model.apply(params, x[7:], state)
    np.testing.assert_allclose(jnp.concatenate([first, second]), y, atol=1e-5)


def test_the_gate_at_zero_input_is_near_one():
    gate = gla.Gate((2, 3))
    x = jnp.zeros((1, 8))
    np.testing.assert_allclose(jnp.exp(gate.apply(gate.init(jax.random.key(0), x), x)), 0.5 ** (1 / 16), rtol=1e-6)


def test_the_layer_has_about_four_squares_of_parameters():
    d = 64
    params = as_model(gla.GatedLinearAttention()).init(jax.random.key(0), jnp.zeros((4, d)))
    gate = sum(x.size for x in jax.tree.leaves(params["gate"]))
    total = sum(x.size for x in jax.tree.leaves(params))
    assert total - gate == 4 * d * d + d // 4  # q and k d^2/2 each; v, r and o d^2; the norm of a head
    assert gate == d * 16 + 16 * d // 2 + d // 2


@pytest.mark.parametrize(
    ("options", "says"), [({"variant": "gru"}, "variant: expected one of"), ({"heads": 3}, "heads:")]
)
def test_wrong_layers_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        as_model(gla.GatedLinearAttention(**options)).init(jax.random.key(0), jnp.zeros((4, 8)))


@pytest.mark.parametrize("options", [{}, {"reset": 0.0, "once": True}, {"write": 0.2, "reset": 0.3}])
def test_reset_recall_against_a_dictionary(options):
    tokens, (targets, asked) = jax.tree.map(
        np.asarray, jax.vmap(lambda key: gla.reset_recall(key, 50, **options))(jax.random.split(jax.random.key(3), 4))
    )
    kinds = []
    for row in range(4):
        memory = {}
        for t in range(50):
            token = tokens[row, t]
            if token == 72:
                memory, kind = {}, "reset"
            elif token >= 64:
                kind = "query"
                assert targets[row, t] == memory.get(token - 64, 8)
            else:
                kind = "write"
                if options.get("once"):
                    assert token // 8 not in memory
                memory[token // 8] = token % 8
            assert asked[row, t] == (kind == "query")
            kinds.append(kind)
    assert ("reset" in kinds) == (options.get("reset", 0.08) > 0)
    assert {"query", "write"} <= set(kinds)
