"""A decoder with exits: its exits, its size, and the shared layers that it stands on."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo import layers
from jaxzoo.elastic.nested import exits_by_depth, nested, prefix, prefix_slice
from jaxzoo.elastic.nested_decoder import nested_decoder
from jaxzoo.elastic.nested_training import Rule, nested_task
from jaxzoo.elastic.published_weights import begin_from, llama_params
from jaxzoo.elastic.spread_state import spread_state
from jaxzoo.train import fit

MODEL = nested_decoder(vocabulary=7, length=5, features=8, hidden=12, heads=2, blocks=4, exits=2)
TOKENS = jnp.array([1, 5, 0, 2, 6])


@cache
def start():
    params = jax.jit(MODEL.init)(jax.random.key(0))
    return params | {"norm": jnp.linspace(0.5, 1.5, 8)}


def test_it_is_a_stack_of_the_shared_blocks():
    block = layers.TransformerBlock(
        partial(layers.Attention, heads=2, causal=True, rotary=True),
        mlp=partial(layers.SwiGLU, hidden=12),
        norm=partial(layers.RMSNorm, eps=1e-5),
    )
    x = start()["embed"][TOKENS]
    apply = jax.jit(lambda params, x: block.apply({"params": params}, x))
    for i in range(4):
        x = apply(jax.tree.map(lambda p, i=i: p[i], start()["blocks"]), x)
        if i == 1:
            half = x
    norm = lambda x: x / np.sqrt(np.mean(np.square(x), -1, keepdims=True) + 1e-5) * start()["norm"][None]  # noqa: E731
    got = jax.jit(MODEL.exits)(start(), TOKENS, prefix(MODEL.dims, 1, 2))
    np.testing.assert_allclose(got, jnp.stack([norm(half), norm(x)]) @ start()["out"], atol=1e-5)


def test_an_exit_equals_the_dense_network_of_its_blocks():
    small = prefix_slice(start(), 1, 1, model=MODEL)
    assert small["blocks"]["mlp"]["up"]["kernel"].shape == (2, 8, 12)
    got = jax.jit(nested(MODEL.apply, MODEL.dims))(start(), TOKENS, 1, 1)
    np.testing.assert_allclose(got, jax.jit(MODEL.apply)(small, TOKENS), atol=1e-6)
    exits = jax.jit(exits_by_depth(MODEL.apply, MODEL.dims))(start(), TOKENS, prefix(MODEL.dims, 1, 1))
    np.testing.assert_allclose(exits[0], got, atol=1e-6)


def test_the_sizes_of_seven_billion():
    model = nested_decoder()
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 6_738_415_616
    assert model.dims.depth == 8
    weights = sum(leaf.size for leaf in jax.tree.leaves(params["blocks"]) if leaf.ndim > 2)
    expected = 2048 * (weights + 4096 * 32_000) + 32 * 2 * 2048**2 * 4096
    assert model.macs(1, 8) == expected
    assert model.macs(1, 4) == (expected - 2048 * 4096 * 32_000) // 2 + 2048 * 4096 * 32_000


def test_exits_must_divide_the_blocks():
    with pytest.raises(ValueError, match="exits: expected a divisor of 32 blocks, got 5"):
        nested_decoder(exits=5)


def llama_tensors():
    """Random weights with the names and shapes of a checkpoint of meta-llama/Llama-2-7b-hf."""
    rng = np.random.default_rng(0)
    shapes = {"model.embed_tokens.weight": (7, 8), "model.norm.weight": (8,), "lm_head.weight": (7, 8)}
    for i in range(4):
        at = f"model.layers.{i}"
        shapes |= {f"{at}.self_attn.{n}_proj.weight": (8, 8) for n in "qkvo"}
        shapes |= {f"{at}.mlp.{n}_proj.weight": (12, 8) for n in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj.weight": (8, 12)}
        shapes |= {f"{at}.{n}_layernorm.weight": (8,) for n in ("input", "post_attention")}
    return {name: 0.5 * rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def float64_llama(tokens):
    """Logits in float64 by the published names; rotary pairs are (i, i + e / 2)."""
    p = {name.removesuffix(".weight"): np.asarray(value, np.float64) for name, value in llama_tensors().items()}
    norm = lambda name, x: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p[name]  # noqa: E731
    angle = np.arange(len(tokens))[:, None] * 10_000.0 ** (-np.arange(0, 4, 2) / 4)
    turn = np.exp(1j * angle)[:, None]  # [t, 1, e / 2]

    def rotated(x):
        z = (x[..., :2] + 1j * x[..., 2:]) * turn
        return np.concatenate([z.real, z.imag], -1)

    x = p["model.embed_tokens"][tokens]
    for i in range(4):
        at = f"model.layers.{i}"
        h = norm(f"{at}.input_layernorm", x)
        q, k, v = ((h @ p[f"{at}.self_attn.{n}_proj"].T).reshape(-1, 2, 4) for n in "qkv")
        w = np.einsum("the,she->hts", rotated(q), rotated(k)) / 2
        w = np.where(np.tri(len(tokens), dtype=bool), np.exp(w), 0)
        y = np.einsum("hts,she->the", w / w.sum(-1, keepdims=True), v).reshape(-1, 8)
        x = x + y @ p[f"{at}.self_attn.o_proj"].T
        h = norm(f"{at}.post_attention_layernorm", x)
        gate = h @ p[f"{at}.mlp.gate_proj"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ p[f"{at}.mlp.up_proj"].T)) @ p[f"{at}.mlp.down_proj"].T
    return norm("model.norm", x) @ p["lm_head"].T


def test_published_weights_give_the_published_network():
    like = jax.eval_shape(MODEL.init, jax.random.key(0))
    params = jax.jit(begin_from(MODEL, llama_params(like, llama_tensors())).init)(jax.random.key(0))
    np.testing.assert_allclose(
        jax.jit(MODEL.apply)(params, TOKENS), float64_llama(np.asarray(TOKENS)), atol=1e-4, rtol=1e-4
    )


def test_its_training_can_be_spread_over_devices():
    mesh = jax.make_mesh((4,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    x = jnp.broadcast_to(TOKENS[None], (2, 5))
    task = nested_task(MODEL, jnp.array([[1, 1], [1, 2]]), jnp.ones(2), lambda key: (x, x))
    rule = Rule(jnp.zeros((1, 2)), jnp.asarray(False), *map(jnp.float32, (0, 1e-2, 2)))
    expected = fit(task, jax.random.key(0), 2, rule).state
    state = fit(spread_state(task, mesh), jax.random.key(0), 2, rule).state
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), state, expected)
    for part in (state.params, state.optimizer.mu, state.optimizer.nu):
        up = part["blocks"]["mlp"]["up"]["kernel"]
        assert [shard.data.shape for shard in up.addressable_shards] == [(4, 8, 3)] * 4
