"""Greater-than in GPT-2: "The war lasted from 1741 to 17" is followed by 42 to 99.

The prompts are written with the vocabulary of GPT-2's tokenizer alone (vocab.json), since every word is one token. The
score is that of `greater_than`: P(c > b) - P(c <= b) over the tokens of the two-digit numbers.

Sources: Hanna, Liu, Variengien, "How does GPT-2 compute greater-than?" (arXiv 2305.00586), Sec. 2; its MLP 10 in
transcoder features: Dunefsky, Chlenski, Nanda (arXiv 2406.11944), case study.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.data import DataError, json_file
from jaxzoo.interpretability.circuits import attention_pattern, inverse_length
from jaxzoo.interpretability.greater_than import circuit_scores, greater_effect, random_subsets
from jaxzoo.interpretability.sparse_dictionaries import sparse_mlp
from jaxzoo.interpretability.transcoders import keep_features, mlp_names, ranks, substitute
from jaxzoo.transforms import capture

SPACE = "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}"
"""How GPT-2's vocabulary writes a space."""
WORDS = ("<|endoftext|>", "The", *[f"{SPACE}{word}" for word in ("war", "lasted", "from", "17", "YY", "to", "17")])
PLACE = WORDS.index(f"{SPACE}YY")
"""Where the year stands whose successor is asked for."""


class YearQuestions(NamedTuple):
    """The prompts.

    Attributes:
      tokens: [n, t] int32.
      starts: [n] int32, the last two digits of the year in each.
      years: [100] int32, the tokens of "00" to "99".
    """

    tokens: jax.Array
    starts: jax.Array
    years: jax.Array


def year_questions(vocabulary):
    """A prompt for every year 1702 to 1798 that is not one token itself.

    Args:
      vocabulary: token -> id, as in GPT-2's vocab.json.

    Returns:
      `YearQuestions`.

    Raises:
      DataError: a token is missing.
    """
    words = [word for word in WORDS if word != WORDS[PLACE]]
    digits = [f"{year:02}" for year in range(100)]
    for token in (*words, *digits):
        if type(vocabulary.get(token)) is not int:
            raise DataError(f"vocab.json: expected GPT-2's vocabulary, which has the token {token!r}")
    starts = [year for year in range(2, 99) if f"{SPACE}17{digits[year]}" not in vocabulary]
    lines = [[vocabulary[word if i != PLACE else digits[year]] for i, word in enumerate(WORDS)] for year in starts]
    years = [vocabulary[year] for year in digits]
    return YearQuestions(*(jnp.asarray(x, jnp.int32) for x in (lines, starts, years)))


def load_year_questions(folder, name):
    """`year_questions` of the vocabulary in `folder/name/vocab.json`, token -> id, as it comes with GPT-2."""
    called = f"the vocabulary of {name}'s tokenizer, token -> id"
    return year_questions(json_file(folder, f"{name}/vocab.json", called=called))


def year_difference(logits, years, start):
    """P(c > b) - P(c <= b) of all tokens' logits [v]."""
    p = jax.nn.softmax(logits)[years]
    return jnp.where(jnp.arange(len(years)) > start, p, -p).sum()


def reading_through_heads(module, params, dictionary, layer, questions):
    """The effect of each year's token on each feature at the end of the prompt, by way of one head: [100, F].

    Args:
      module, params: a `gpt2.GPT2` with folded norms.
      dictionary: the transcoder of the MLP of a layer.
      layer: which.
      questions: `YearQuestions`; patterns and lengths in the norms are means over them.
    """
    layers = range(layer + 1)
    names = [f"block_{i}/{part}" for i in layers for part in ("mixer", "mlp", "mixer/q", "mixer/k")]
    _, seen = jax.vmap(capture(module, "embed", *names), (None, 0))(params, questions.tokens)
    stream, moved = seen["embed"], 0
    embedding = params["embed"]["embedding"][questions.years]
    for i in layers:
        q, k = seen[f"block_{i}/mixer/q"], seen[f"block_{i}/mixer/k"]
        pattern = jax.vmap(attention_pattern, (0, 0, None))(q, k, module.turned)[:, :, -1, PLACE]  # [n, h]
        scale = inverse_length(stream[:, PLACE], module.norm_eps)  # [n]
        weight = (pattern * scale[:, None]).mean(0)
        mixer = params[f"block_{i}"]["mixer"]
        moved += jnp.einsum("h,vd,dhk,hke->ve", weight, embedding, mixer["v"]["kernel"], mixer["o"]["kernel"])
        stream = stream + seen[f"block_{i}/mixer"] + seen[f"block_{i}/mlp"]
    return moved @ dictionary.W_enc


def year_circuit(module, params, dictionary, layer, questions, key, *, kept=16, draws=20):
    """How few features of one MLP carry greater-than; the twin of `greater_than.greater_than_circuit`.

    Args:
      module, params: a `gpt2.GPT2` with folded norms.
      dictionary: the transcoder of the MLP of a layer.
      layer: which; 10 in the paper.
      questions: `YearQuestions`.
      key: for random features, and for permuted tokens.
      kept: features of the circuit.
      draws: random sets of as many active features.

    Returns:
      As `greater_than_circuit`: scores "host", "zero", "transcoder", "none", "top", "random"; "spearman" between b and
      the effect of its token through the heads, also "permuted"; "alive" and "l0".
    """
    key_draw, key_permute = jax.random.split(key)
    tokens, starts, years = questions
    logits, seen = jax.vmap(capture(module, mlp_names(layer)[0]), (None, 0))(params, tokens)
    _, z = jax.vmap(sparse_mlp, (None, 0))(dictionary, seen[mlp_names(layer)[0]][:, -1])  # [n, F]
    rows = dictionary.W_dec - dictionary.W_dec.mean(-1, keepdims=True)  # what the last norm leaves of it
    effects = (rows * params["norm"]["scale"][None]) @ params["head"]["kernel"][:, years]  # [F, 100]
    effect = jax.vmap(greater_effect, (None, 0, 0))(effects, z, starts).mean(0)
    top, active = ranks(effect) < kept, (z > 0).any(0)

    def score(function):
        found = jax.vmap(substitute(module, layer, function), (None, 0))(params, tokens)[:, -1]
        return jax.vmap(year_difference, (0, None, 0))(found, years, starts).mean()

    def kept_score(keep):
        return score(lambda x, m: jax.vmap(keep_features, (None, 0, None))(dictionary, x, keep))

    sets = jnp.concatenate([
        jnp.stack([jnp.ones_like(top), jnp.zeros_like(top), top]),
        random_subsets(key_draw, active, kept, draws),
    ])  # fmt: skip
    return circuit_scores(
        key_permute,
        host=jax.vmap(year_difference, (0, None, 0))(logits[:, -1], years, starts).mean(),
        zero=score(lambda x, m: jnp.zeros_like(m)),
        kept=jax.lax.map(kept_score, sets),
        read=reading_through_heads(module, params, dictionary, layer, questions)[starts],
        numbers=starts,
        top=top,
        active=active,
        z=z,
    )
