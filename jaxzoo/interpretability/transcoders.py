"""Transcoders: a wide, sparse layer that computes what an MLP of a network computes.

A transcoder is trained to give the MLP's output m from the MLP's own input x, where a sparse autoencoder is trained to
give m from m. It can so take the MLP's place, and what it does is linear but for one ReLU: how much a feature adds to a
later one is an activation (this input) times a product of weights (every input). Here: putting it in the MLP's place
and what that costs, what else could take that place, and reading a feature from its weights alone. The dictionaries
themselves are in `sparse_dictionaries`, circuits of their features in `circuits` and `circuit_paths`.

Features can die, whatever revives them (`ghost_gradients`): count what is alive, and compare dictionaries at equal
numbers of active features, never at equal lambda.

Hosts are any linen module with sublayers named as in `hosts.Host`, as `gpt2.GPT2` and `gpt_neox.GPTNeoX` have them:
`block_0/norm_mlp`, `block_0/mlp`, ...

Source: Dunefsky, Chlenski, Nanda, "Transcoders Find Interpretable LLM Feature Circuits" (arXiv 2406.11944).
"""

import jax
import jax.numpy as jnp

from jaxzoo.interpretability.circuit_paths import path_search
from jaxzoo.interpretability.circuits import feature_attribution, head_attribution
from jaxzoo.interpretability.sparse_dictionaries import (
    dictionary_loss,
    init_dictionary,
    l0,
    renorm_decoder,
    sparse_mlp,
    train_dictionary,
)
from jaxzoo.ops import segment_mean
from jaxzoo.transforms import capture, replace

__all__ = [
    "de_embedding",
    "dictionary_loss",
    "feature_attribution",
    "head_attribution",
    "keep_features",
    "keep_neurons",
    "l0",
    "mean_activations",
    "path_search",
    "random_dictionary",
    "reading_precision",
    "recovered_loss",
    "renorm_decoder",
    "sparse_mlp",
    "substitute",
    "top_overlap",
    "top_sparse_mlp",
    "train_dictionary",
]


ROWS = 4096
"""About so many examples' activations are held at a time."""
COLUMNS = 512
"""So many features are read at a time."""


def mlp_names(layer):
    """Names of an MLP's input (normalised) and output in `hosts.Host` and `layers.LanguageModel`."""
    return f"block_{layer}/norm_mlp", f"block_{layer}/mlp"


def substitute(module, layer, function):
    """The network with `function(x, m)` in the place of the MLP of one layer.

    Args:
      module: the host.
      layer: which MLP.
      function: `function(x [t, d], m [t, d]) -> [t, d]` of the MLP's input, after the norm, and output: a transcoder
        reads x, a sparse autoencoder m.

    Returns:
      `apply(params, tokens) -> logits`.
    """
    names = mlp_names(layer)

    def substituted(params, tokens):
        _, seen = capture(module, *names)(params, tokens)
        x, m = (seen[name] for name in names)
        return replace(module, {names[1]: function(x, m)})(params, tokens)

    return substituted


def recovered_loss(loss, host, zero):
    """The share of the MLP's worth that is kept: 1 - (loss - host) / (zero - host).

    Args:
      loss: cross-entropy with the substitute in place.
      host: of the host as it is.
      zero: with zeros in the MLP's place.

    Returns:
      1 where nothing is lost, 0 where zeros do as well.
    """
    return 1 - (loss - host) / (zero - host)


def ranks(score):
    """The rank of every entry along the last axis, 0 for the largest; the first of equals comes first."""
    return jnp.argsort(jnp.argsort(-score, axis=-1), axis=-1)


def keep_neurons(hidden, rows, k):
    """An MLP's output from its k most important neurons, by activation times length of the output row.

    Args:
      hidden: [m] activations of the neurons.
      rows: [m, d] what each writes.
      k: how many are kept; may be traced.

    Returns:
      [d].
    """
    score = jnp.abs(hidden) * jnp.linalg.norm(rows, axis=-1)
    return jnp.where(ranks(score) < k, hidden, 0) @ rows


def keep_features(params, x, keep):
    """A transcoder's output from some of its features; the others are held at 0.

    Args:
      params: a `Dictionary` of F features.
      x: [d].
      keep: [F] booleans.

    Returns:
      [e].
    """
    _, z = sparse_mlp(params, x)
    return jnp.where(keep, z, 0) @ params.W_dec + params.b_out


def top_sparse_mlp(params, x, k):
    """A dictionary that keeps its k largest activations and needs no penalty: `(out [e], z [F])` as `sparse_mlp`."""
    _, z = sparse_mlp(params, x)
    z = jnp.where(ranks(z) < k, z, 0)
    return z @ params.W_dec + params.b_out, z


def random_dictionary(key, x, target, width, k, *, ridge=1e-4):
    """The untrained baseline: a random encoder, the k largest features, and the decoder of least squares.

    Args:
      key: a PRNG key.
      x: [n, d] inputs.
      target: [n, e] outputs.
      width: number of features F.
      k: how many are active; may be traced.
      ridge: added to the diagonal of the features' second moments, relative to its mean.

    Returns:
      A `Dictionary` for `top_sparse_mlp`, whose decoder rows have any length.
    """
    return least_squares_decoder(init_dictionary(key, x, target, width), x, target, k, ridge=ridge)


def least_squares_decoder(params, x, target, k, *, ridge=1e-4):
    """The dictionary with the decoder that gives the targets best from k features; see `random_dictionary`."""
    width = params.b_enc.shape[0]

    def add(sums, part):
        _, z = jax.vmap(top_sparse_mlp, (None, 0, None))(params, part[0], k)
        return (sums[0] + z.T @ z, sums[1] + z.T @ (part[1] - params.b_out[None])), None

    parts = max(p for p in range(1, -(-len(x) // ROWS) + 1) if len(x) % p == 0)
    zeros = jnp.zeros((width, width)), jnp.zeros((width, target.shape[1]))
    split = jax.tree.map(lambda x: x.reshape(parts, -1, x.shape[-1]), (x, target))
    (moments, products), _ = jax.lax.scan(add, zeros, split)  # [F, F], [F, e]
    moments += ridge * jnp.trace(moments) / width * jnp.eye(width)
    return params._replace(W_dec=jax.scipy.linalg.solve(moments, products, assume_a="pos"))


def de_embedding(embedding, encoder, gain=None):
    """The direct effect of each token on each feature: W_E diag(gain) W_enc.

    Args:
      embedding: W_E [v, d].
      encoder: W_enc [d, F], of the first layer's transcoder.
      gain: [d] the norm's learned factor before the MLP; None for 1. The norm's division by the length, which is
        positive and differs from place to place, is left out.

    Returns:
      [v, F].
    """
    if embedding.shape[1] != encoder.shape[0]:
        raise ValueError(f"encoder: expected [{embedding.shape[1]}, F], got {encoder.shape}")
    return (embedding if gain is None else embedding * gain[None]) @ encoder


def mean_activations(z, tokens, vocabulary):
    """What a feature does at each token: its mean activation there.

    Args:
      z: [n, F] activations at n places.
      tokens: [n] the token at each place.
      vocabulary: number of tokens v.

    Returns:
      `(means [v, F], counts [v])`; the mean of a token that does not occur is 0.
    """
    counts = jnp.zeros(vocabulary, jnp.int32).at[tokens].add(1)
    return segment_mean(z, tokens, vocabulary), counts


def top_overlap(predicted, observed, among, k=5):
    """How many of the k tokens that are predicted to excite a feature most are among the k that do.

    NOTE(paper): a feature that fires on fewer than k tokens has no k best; then k is the number of those.

    Args:
      predicted: [v] by the weights.
      observed: [v] mean activations, not negative.
      among: [v] booleans: tokens that are seen often enough for a mean.
      k: length of the lists.

    Returns:
      The share in [0, 1]; 0 for a feature that never fires.
    """
    observed = jnp.where(among, observed, 0)
    k = jnp.minimum(k, (observed > 0).sum())
    best = ranks(jnp.where(among, predicted, -jnp.inf)) < k
    return (best & (ranks(observed) < k)).sum() / jnp.maximum(k, 1)


def reading_precision(module, params, dictionary, tokens, key, *, seen=20, k=5):
    """How well the de-embedding tells at which tokens a feature of the first layer is most active.

    Args:
      module, params: the host.
      dictionary: the transcoder of its first layer.
      tokens: [b, t] texts to measure activations on.
      key: permutes the rows of the embedding, for the control.
      seen: times that a token must occur in the texts to be counted; both lists are of such tokens.
      k: length of the lists.

    Returns:
      "precision" and, with permuted rows, "precision permuted": means of `top_overlap` over features that are active
      at all, "alive" of them; and how many tokens were "counted".
    """
    name, _ = mlp_names(0)
    _, found = jax.vmap(capture(module, name), (None, 0))(params, tokens)
    _, z = jax.vmap(sparse_mlp, (None, 0))(dictionary, found[name].reshape(-1, found[name].shape[-1]))
    embedding, gain = params["embed"]["embedding"], params["block_0"]["norm_mlp"]["scale"]
    both = embedding, jax.random.permutation(key, embedding)
    counts = jnp.zeros(len(embedding), jnp.int32).at[tokens.reshape(-1)].add(1)
    alive, among = (z > 0).any(0), counts >= seen

    def overlaps(feature):
        activations, encoder = feature
        observed, _ = mean_activations(activations[:, None], tokens.reshape(-1), len(embedding))
        predicted = [de_embedding(rows, encoder[:, None], gain)[:, 0] for rows in both]
        return [top_overlap(p, observed[:, 0], among, k) for p in predicted]

    found = jax.lax.map(overlaps, (z.T, dictionary.W_enc.T), batch_size=COLUMNS)  # each [F]
    precision, permuted = (x.sum(where=alive) / jnp.maximum(alive.sum(), 1) for x in found)
    return {"precision": precision, "precision permuted": permuted, "alive": alive.sum(), "counted": among.sum()}
