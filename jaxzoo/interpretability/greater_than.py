"""A network whose circuit is known: "a b :" is followed by any number above b, and a does not matter.

The small relative of GPT-2's greater-than ("The war lasted from 1741 to 17" is followed by 42 to 99), which Hanna, Liu,
Variengien, "How does GPT-2 compute greater-than?" (arXiv 2305.00586) traced to attention to the first year and to MLPs
that raise the logits of larger numbers. The score is theirs: P(c > b) - P(c <= b).
"""

import itertools

import jax
import jax.numpy as jnp

from jaxzoo.interpretability.circuits import attention_pattern
from jaxzoo.interpretability.sparse_dictionaries import l0, sparse_mlp
from jaxzoo.interpretability.transcoders import keep_features, ranks, substitute
from jaxzoo.transforms import capture


def greater_than(key, numbers=32):
    """One example: a uniform, b uniform below the last number, c uniform above b.

    Returns:
      `(tokens [3], c)`: a, b and the colon, which is token number `numbers`.
    """
    key_a, key_b, key_c = jax.random.split(key, 3)
    a = jax.random.randint(key_a, (), 0, numbers)
    b = jax.random.randint(key_b, (), 0, numbers - 1)
    c = jax.random.randint(key_c, (), b + 1, numbers)
    return jnp.stack([a, b, jnp.full_like(a, numbers)]), c


def all_questions(numbers=32):
    """Every "a b :", [numbers * (numbers - 1), 3] int32."""
    pairs = itertools.product(range(numbers), range(numbers - 1))
    return jnp.asarray([(a, b, numbers) for a, b in pairs], jnp.int32)


def probability_difference(logits, b):
    """P(c > b) - P(c <= b): logits [numbers] -> scalar in [-1, 1]."""
    p = jax.nn.softmax(logits)
    return jnp.where(jnp.arange(logits.shape[0]) > b, p, -p).sum()


def direct_logit_effect(decoder, unembedding, gain):
    """What a feature of the last layer adds to each logit per unit, the last norm's division left out.

    Args:
      decoder: W_dec [F, d].
      unembedding: W_U [d, numbers].
      gain: [d] of the last norm.

    Returns:
      [F, numbers].
    """
    return (decoder * gain[None]) @ unembedding


def greater_effect(effects, z, b):
    """How much each feature raises the logits of numbers > b over those of numbers <= b, at one question.

    Args:
      effects: [F, numbers] from `direct_logit_effect`.
      z: [F] activations.
      b: the number to exceed.

    Returns:
      [F]: activation times the difference of the two mean effects.
    """
    above = jnp.arange(effects.shape[1]) > b
    n = above.sum()
    weight = jnp.where(above, 1 / jnp.maximum(n, 1), -1 / jnp.maximum(effects.shape[1] - n, 1))
    return z * (effects @ weight)


def de_embedding_through_heads(embedding, pattern, value, output, gain_mixer, gain_mlp, encoder):
    """The effect of each token on each feature of a later place, by way of attention: sum over heads of A_h OV_h.

    Args:
      embedding: W_E [v, d].
      pattern: [h] how much each head attends from the feature's place to the token's, on average.
      value: W_V [d, h, k].
      output: W_O [h, k, d].
      gain_mixer, gain_mlp: [d] of the norms.
      encoder: W_enc [d, F].

    Returns:
      [v, F].
    """
    moved = jnp.einsum("h,vd,dhk,hke->ve", pattern, embedding * gain_mixer[None], value, output)
    return (moved * gain_mlp[None]) @ encoder


def spearman(x, y):
    """The rank correlation of two lists [n] without ties."""
    x, y = (jnp.argsort(jnp.argsort(v)).astype(jnp.float32) for v in (x, y))
    x, y = x - x.mean(), y - y.mean()
    return (x @ y) / jnp.sqrt((x @ x) * (y @ y))


def random_subsets(key, active, size, draws):
    """Random sets of active features.

    Args:
      key: a PRNG key.
      active: [F] booleans.
      size: features in a set; all that are active where there are fewer.
      draws: number of sets.

    Returns:
      [draws, F] booleans.
    """
    score = jnp.where(active[None], jax.random.uniform(key, (draws, active.shape[0])), -1.0)
    chosen = jnp.argsort(jnp.argsort(-score, axis=-1), axis=-1) < size
    return chosen & active[None]


def keep_scores(module, params, dictionary, questions, keep):
    """The mean score with nothing but some features of the MLP's transcoder, for several choices of features.

    Args:
      module, params: a one-block `hosts.Host` that answers with the numbers.
      dictionary: the transcoder of its MLP.
      questions: [n, 3] as from `all_questions`.
      keep: [c, F] booleans; the other features are held at 0, the output bias stays.

    Returns:
      [c] means over questions of P(c > b) - P(c <= b).
    """

    def score(keep):
        function = lambda x, m: jax.vmap(keep_features, (None, 0, None))(dictionary, x, keep)  # noqa: E731
        logits = jax.vmap(substitute(module, 0, function), (None, 0))(params, questions)
        return jax.vmap(probability_difference)(logits[:, -1], questions[:, 1]).mean()

    return jax.lax.map(score, keep)


def greater_than_circuit(module, params, dictionary, questions, key, *, kept=16, draws=20):
    """How few features carry greater-than, and whether their weights say which numbers they fire for.

    Args:
      module, params: a one-block `hosts.Host` that answers with the numbers.
      dictionary: the transcoder of its MLP.
      questions: [n, 3] as from `all_questions`.
      key: for random features, and for permuted rows of the embedding.
      kept: features of the circuit, those with the largest mean `greater_effect`.
      draws: random sets of as many active features.

    Returns:
      Scores of the "host", of "zero" in the MLP's place, of the whole "transcoder", of "none" of its features, of
      "top" and (the mean) of "random" ones; mean absolute "spearman" between b and the de-embedding of the top ones,
      also "permuted"; the number "alive" and "l0" at the colon.
    """
    key_draw, key_permute = jax.random.split(key)
    names = ("block_0/norm_mlp", "block_0/mixer/q", "block_0/mixer/k")
    logits, seen = jax.vmap(capture(module, *names), (None, 0))(params, questions)
    x, q, k = (seen[name] for name in names)
    b, numbers = questions[:, 1], logits.shape[-1]
    _, z = jax.vmap(sparse_mlp, (None, 0))(dictionary, x[:, -1])  # [n, F]
    effects = direct_logit_effect(dictionary.W_dec, params["head"]["kernel"], params["norm"]["scale"])
    effect = jax.vmap(greater_effect, (None, 0, 0))(effects, z, b).mean(0)  # [F]
    top, active = ranks(effect) < kept, (z > 0).any(0)
    sets = jnp.stack([jnp.ones_like(top), jnp.zeros_like(top), top])
    sets = jnp.concatenate([sets, random_subsets(key_draw, active, kept, draws)])
    zero = jax.vmap(substitute(module, 0, lambda x, m: jnp.zeros_like(m)), (None, 0))(params, questions)
    pattern = jax.vmap(attention_pattern)(q, k)[:, :, -1, 1].mean(0)  # [h], from the colon to b
    block = params["block_0"]
    gains = block["norm_mixer"]["scale"], block["norm_mlp"]["scale"]
    heads = pattern, block["mixer"]["v"]["kernel"], block["mixer"]["o"]["kernel"]
    read = de_embedding_through_heads(params["embed"]["embedding"], *heads, *gains, dictionary.W_enc)[: numbers - 1]

    return circuit_scores(
        key_permute,
        host=jax.vmap(probability_difference)(logits[:, -1], b).mean(),
        zero=jax.vmap(probability_difference)(zero[:, -1], b).mean(),
        kept=keep_scores(module, params, dictionary, questions, sets),
        read=read,
        numbers=jnp.arange(numbers - 1),
        top=top,
        active=active,
        z=z,
    )


def circuit_scores(key, *, host, zero, kept, read, numbers, top, active, z):
    """What an account of a circuit comes to; see `greater_than_circuit`.

    Args:
      key: for permuted rows of `read`.
      host, zero: the scores of the network, and with nothing in the MLP's place.
      kept: [3 + draws] scores of the transcoder: whole, without features, with the top ones, with random ones.
      read: [n, F] the effect of each number on each feature.
      numbers: [n] the numbers.
      top, active: [F] booleans: the circuit's features, and all that fire.
      z: [questions, F] activations.
    """
    full, none, best, *random = kept

    def monotone(rows):
        return jnp.abs(jax.vmap(spearman, (1, None))(rows, numbers)).mean(where=top)

    return {
        "score host": host,
        "score zero": zero,
        "score transcoder": full,
        "score none": none,
        "score top": best,
        "score random": jnp.stack(random).mean(),
        "spearman": monotone(read),
        "spearman permuted": monotone(jax.random.permutation(key, read)),
        "alive": active.sum(),
        "l0": l0(z),
    }
