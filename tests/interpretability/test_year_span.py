"""Greater-than in GPT-2: the prompts, the score, and the circuit of an MLP in a small network of that architecture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.data import DataError
from jaxzoo.interpretability import year_span as ys
from jaxzoo.interpretability.gpt2 import GPT2
from jaxzoo.interpretability.pretrained import fold_norms
from jaxzoo.interpretability.sparse_dictionaries import init_dictionary
from jaxzoo.transforms import as_model

D, F = 16, 12
TOKENS = ["<|endoftext|>", "The", "Ġwar", "Ġlasted", "Ġfrom", "Ġ17", "Ġto", "Ġ1750", *[f"{i:02}" for i in range(100)]]
VOCABULARY = {token: i for i, token in enumerate(TOKENS)}


@pytest.fixture(scope="module")
def host():
    module = GPT2(len(TOKENS), D, 2, 2, 16)
    questions = ys.year_questions(VOCABULARY)
    params = as_model(module).init(jax.random.key(0), questions.tokens[0])
    module, params = fold_norms(module, jax.tree.map(lambda p: 1.3 * p, params))
    x = jax.random.normal(jax.random.key(1), (64, D))
    return module, params, init_dictionary(jax.random.key(2), x, x, F), questions


def test_prompts():
    questions = jax.tree.map(np.asarray, ys.year_questions(VOCABULARY))
    assert list(questions.starts) == [year for year in range(2, 99) if year != 50]  # 1750 would be one token
    text = "".join(TOKENS[i] for i in questions.tokens[39])
    assert text == "<|endoftext|>TheĠwarĠlastedĠfromĠ1741ĠtoĠ17"
    assert [TOKENS[i] for i in questions.years[[0, 7, 99]]] == ["00", "07", "99"]
    with pytest.raises(DataError, match=r"vocab.json: expected GPT-2's vocabulary, which has the token '42'"):
        ys.year_questions({token: i for token, i in VOCABULARY.items() if token != "42"})


def test_the_score_counts_years_alone():
    logits = jnp.log(jnp.array([0.5, 0.1, 0.3, 0.1]))  # the first token is no year
    np.testing.assert_allclose(ys.year_difference(logits, jnp.array([3, 1, 2]), 1), 0.3 - 0.1 - 0.1, atol=1e-6)


def test_the_reading_is_what_attention_moves(host):
    module, params, dictionary, questions = host
    found = jax.jit(lambda *args: ys.reading_through_heads(module, *args, 0, questions))(params, dictionary)
    mixer = params["block_0"]["mixer"]
    by_head = np.zeros((len(questions.starts), 2))
    for n, tokens in enumerate(questions.tokens):
        x = np.asarray(params["embed"]["embedding"][tokens] + params["embed"]["positions"][: len(tokens)], np.float64)
        length = np.sqrt((x**2).mean(1, keepdims=True) + 1e-5)
        for h in range(2):
            q, k = (x / length @ mixer[p]["kernel"][:, h] + mixer[p]["bias"][None, h] for p in "qk")
            score = np.exp(k @ q[-1] / np.sqrt(D // 2))
            by_head[n, h] = score[ys.PLACE] / score.sum() / length[ys.PLACE, 0]
    rows = params["embed"]["embedding"][questions.years]
    expected = sum(
        by_head[:, h].mean() * rows @ mixer["v"]["kernel"][:, h] @ mixer["o"]["kernel"][h] @ dictionary.W_enc
        for h in range(2)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_the_circuit(host):
    module, params, dictionary, questions = host
    run = jax.jit(lambda *args: ys.year_circuit(module, *args, 1, questions, jax.random.key(0), kept=F, draws=2))
    found = run(params, dictionary)
    np.testing.assert_allclose(found["score top"], found["score transcoder"], atol=1e-6)  # all features are kept
    above = np.arange(100)[None] > np.asarray(questions.starts)[:, None]
    logits = jax.jit(jax.vmap(as_model(module).apply, (None, 0)))
    mlp = params["block_1"]["mlp"]
    silent = params["block_1"] | {"mlp": mlp | {"dense_1": jax.tree.map(jnp.zeros_like, mlp["dense_1"])}}
    for name, network in (("host", params), ("zero", params | {"block_1": silent})):
        p = np.asarray(jax.nn.softmax(logits(network, questions.tokens)[:, -1]))[:, 8:]  # the last 100 tokens are years
        expected = (p * above).sum(1).mean() - (p * ~above).sum(1).mean()
        np.testing.assert_allclose(found[f"score {name}"], expected, atol=1e-5)
    assert 0 <= found["spearman"] <= 1
