"""The language model: embedding, blocks, norm and head written out; the tied head; causality."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo import ops
from jaxzoo.layers import Attention, LanguageModel, TransformerBlock
from jaxzoo.transforms import as_model

TOKENS = jnp.asarray([3, 0, 4, 4, 1])
MIXER = partial(Attention, 2, causal=True, rotary=True)


@pytest.fixture(scope="module")
def tied():
    """A model of two blocks and its parameters."""
    model = as_model(LanguageModel(5, 8, 2, MIXER))
    return model, model.init(jax.random.key(0), TOKENS)


def body(params, tokens):
    x = params["embed"]["embedding"][tokens]
    for i in range(2):
        x = TransformerBlock(MIXER).apply({"params": params[f"block_{i}"]}, x)
    return ops.rms_norm(x, params["norm"]["scale"])


def test_the_tied_head_is_the_embedding(tied):
    model, params = tied
    assert set(params) == {"embed", "block_0", "block_1", "norm"}
    want = body(params, TOKENS) @ params["embed"]["embedding"].T
    np.testing.assert_allclose(jax.jit(model.apply)(params, TOKENS), want, rtol=1e-4, atol=1e-5)


def test_other_outputs_have_a_head_of_their_own(tied):
    _, params = tied
    head = {"kernel": jnp.ones((8, 3)) + jnp.arange(3.0)[None]}
    logits = as_model(LanguageModel(5, 8, 2, MIXER, outputs=3)).apply({**params, "head": head}, TOKENS)
    np.testing.assert_allclose(logits, body(params, TOKENS) @ head["kernel"], rtol=1e-4, atol=1e-5)


def test_a_later_token_changes_nothing_before_it(tied):
    model, params = tied
    logits, changed = model.apply(params, TOKENS), model.apply(params, TOKENS.at[3].set(2))
    np.testing.assert_array_equal(changed[:3], logits[:3])
    assert not np.allclose(changed[3:], logits[3:])


def test_blocks_do_not_share_parameters(tied):
    _, params = tied
    first, second = (params[f"block_{i}"]["mlp"]["gate"]["kernel"] for i in range(2))
    assert not np.array_equal(first, second)
