"""The pre-norm block: its formula, its state, its dropout, with mixers made for the test."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo import ops
from jaxzoo.layers import MLP, LayerNorm, TransformerBlock
from jaxzoo.transforms import as_model


class CausalMean(nn.Module):
    """The mean of the tokens so far; its state is (sum, count)."""

    @nn.compact
    def __call__(self, x, state=None, *, factor=1.0):
        total, count = (jnp.zeros(x.shape[-1]), 0) if state is None else state
        sums = jnp.cumsum(x, 0) + total[None]
        counts = jnp.arange(1, x.shape[0] + 1) + count
        y = factor * sums / counts[:, None]
        return y if state is None else (y, (sums[-1], counts[-1]))


def build(**options):
    model = as_model(TransformerBlock(mixer=CausalMean, mlp=partial(MLP, (6, 3)), norm=LayerNorm, **options))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    return model, model.init(jax.random.key(0), x), x


def test_it_is_two_pre_norm_residual_branches():
    model, params, x = build()
    params = jax.tree.map(lambda p: p + 0.1, params)

    def norm(name, x):
        return ops.layer_norm(x, params[name]["scale"], params[name]["bias"])

    h = x + CausalMean().apply({}, norm("norm_mixer", x))
    want = h + MLP((6, 3)).apply({"params": params["mlp"]}, norm("norm_mlp", h))
    np.testing.assert_allclose(model.apply(params, x), want, rtol=1e-5, atol=1e-6)
    assert set(params) == {"norm_mixer", "norm_mlp", "mlp"}  # this mixer has no parameters


def test_two_halves_with_the_state_carried_equal_the_whole():
    model, params, x = build()
    state = (jnp.zeros(3), 0)
    head, state = model.apply(params, x[:2], state)
    tail, _ = model.apply(params, x[2:], state)
    np.testing.assert_allclose(jnp.concatenate([head, tail]), model.apply(params, x), rtol=1e-5, atol=1e-6)


def test_options_reach_the_mixer():
    model, params, x = build()
    plain, doubled = model.apply(params, x), model.apply(params, x, factor=2.0)
    assert not np.allclose(plain, doubled)


def test_blocks_made_alike_share_nothing():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            block = partial(TransformerBlock, mixer=partial(MLP, (3,)))
            return block(name="second")(block(name="first")(x))

    params = as_model(Two()).init(jax.random.key(0), jnp.ones((2, 3)))
    first, second = (params[name]["mixer"]["dense_0"]["kernel"] for name in ("first", "second"))
    assert not np.array_equal(first, second)


def test_dropout_is_in_force_with_a_key_alone():
    model, params, x = build(dropout=0.5)
    plain, _, _ = build()
    np.testing.assert_array_equal(model.apply(params, x), plain.apply(params, x))
    assert not np.allclose(model.apply(params, x, key=jax.random.key(1)), plain.apply(params, x))
