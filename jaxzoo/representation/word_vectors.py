"""Two ways to word vectors: factorising a table of co-occurrences, and predicting neighbours."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxzoo.train import Task


def cooccurrences(tokens, vocabulary, window):
    """How often two words stand at most `window` places apart, counted in both directions.

    Args:
      tokens: [n] integers below `vocabulary`.
      vocabulary: number of words v.
      window: reach to either side, at least 1.

    Returns:
      [v, v] counts, float32, symmetric.
    """
    counts = jnp.zeros((vocabulary, vocabulary))
    for distance in range(1, window + 1):
        counts = counts.at[tokens[:-distance], tokens[distance:]].add(1.0)
    return counts + counts.T


def ppmi(counts):
    """Positive pointwise mutual information, max(0, log p(i, j) / (p(i) p(j))); 0 where a count is 0.

    Args:
      counts: [v, v] non-negative co-occurrences.

    Source: Levy, Goldberg, "Neural word embedding as implicit matrix factorization" (NeurIPS 2014), Sec. 3.3.
    """
    expected = counts.sum(1)[:, None] * counts.sum(0)[None] / counts.sum()
    seen = counts > 0
    return jnp.where(seen, jnp.maximum(jnp.log(jnp.where(seen, counts / jnp.where(seen, expected, 1), 1)), 0), 0)


def ppmi_svd(tokens, vocabulary, window, dim):
    """Word vectors U_d sqrt(S_d) from the singular value decomposition of the PPMI table.

    Args:
      tokens: [n] integers below `vocabulary`.
      vocabulary: number of words v.
      window: as in `cooccurrences`.
      dim: size d of a vector, at most v.

    Returns:
      [v, d] float32.
    """
    u, s, _ = jnp.linalg.svd(ppmi(cooccurrences(tokens, vocabulary, window)), full_matrices=False)
    return u[:, :dim] * jnp.sqrt(s[:dim])[None]


class SkipGram(NamedTuple):
    """State of `skipgram_negative_sampling`: vectors of words and of contexts [v, d], and the optimiser's memory."""

    vectors: tuple[jax.Array, jax.Array]
    optimizer: optax.OptState


def skipgram_negative_sampling(tokens, vocabulary, optimizer, *, dim, window, negatives, batch):
    """Skip-gram word vectors: tell true neighbours from words drawn at random.

    loss = -log sigmoid(w_i . c_j) - sum over k negatives n ~ p^(3/4) of log sigmoid(-w_i . c_n)

    Args:
      tokens: [n] integers below `vocabulary`.
      vocabulary: number of words v.
      optimizer: an optax transformation.
      dim: size d of a vector.
      window: a neighbour is 1 to `window` places away, all equally likely.
      negatives: k, drawn anew for each pair.
      batch: pairs of an update.

    Returns:
      A task with state `SkipGram` and the scalar "loss"; the word vectors are `state.vectors[0]`.

    Source: Mikolov et al., "Distributed representations of words and phrases" (arXiv 1310.4546), eq. 4.
    """
    noise = jnp.cumsum(jnp.bincount(tokens, length=vocabulary) ** 0.75)

    def init(key):
        vectors = (
            jax.random.uniform(key, (vocabulary, dim), minval=-0.5, maxval=0.5) / dim,
            jnp.zeros((vocabulary, dim)),
        )
        return SkipGram(vectors, optimizer.init(vectors))

    def pairs(key):
        key_centre, key_offset, key_side, key_noise = jax.random.split(key, 4)
        centre = jax.random.randint(key_centre, (batch,), window, tokens.shape[0] - window)
        offset = jax.random.randint(key_offset, (batch,), 1, window + 1)
        side = jax.random.rademacher(key_side, (batch,), jnp.int32)
        drawn = jax.random.uniform(key_noise, (batch, negatives)) * noise[-1]
        return tokens[centre], tokens[centre + side * offset], jnp.searchsorted(noise, drawn)

    def loss(vectors, word, context, negative):
        words, contexts = vectors
        true = jnp.einsum("bd,bd->b", words[word], contexts[context])
        false = jnp.einsum("bd,bkd->bk", words[word], contexts[negative])
        return -(jax.nn.log_sigmoid(true).mean() + jax.nn.log_sigmoid(-false).sum(1).mean())

    def update(state, key):
        value, gradient = jax.value_and_grad(loss)(state.vectors, *pairs(key))
        change, memory = optimizer.update(gradient, state.optimizer, state.vectors)
        return SkipGram(optax.apply_updates(state.vectors, change), memory), {"loss": value}

    return Task(init, update)
