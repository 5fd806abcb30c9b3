"""What can take an MLP's place in a host, and what each costs: dictionaries, its own neurons, a random dictionary."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo.interpretability.sparse_dictionaries import init_dictionary, l0, sparse_mlp
from jaxzoo.interpretability.transcoders import (
    keep_neurons,
    least_squares_decoder,
    mlp_names,
    recovered_loss,
    top_sparse_mlp,
)
from jaxzoo.transforms import as_model, capture, replace

SUBSTITUTES = ("transcoder", "autoencoder", "neurons", "random dictionary")


def substitute_losses(module, params, layer, trained, held_out, sample, key, kept):
    """Cross-entropy with each substitute in the place of one MLP, and how many features each has active.

    Args:
      module, params: a `hosts.Host`, `gpt2.GPT2` or `gpt_neox.GPTNeoX`.
      layer: whose MLP is replaced.
      trained: a stack of dictionaries [2 n, ...]: n transcoders of the MLP, then n autoencoders of its output.
      held_out: `(tokens, targets)`, each [b, t].
      sample: `(x [k, d], m [k, d])`, inputs and outputs of the MLP on training text, for the random dictionary.
      key: of the random dictionary.
      kept: how many neurons, or features of the random dictionary, are kept; c numbers.

    Returns:
      "loss host", "loss zero", "loss mean" (with the mean output in the MLP's place) and "loss host unchanged" (the
      model's own, nothing replaced); "loss" of each of `SUBSTITUTES`, [n] or [c]; "l0" and "alive" [n] of the first
      two.
    """
    (name, mlp), (tokens, targets), n = mlp_names(layer), held_out, trained.b_in.shape[0] // 2
    parts = (name, mlp, f"{mlp}/dense_0")
    _, seen = jax.vmap(capture(module, *parts), (None, 0))(params, tokens)
    x, m, hidden = (seen[part].reshape(-1, seen[part].shape[-1]) for part in parts)  # [b t, .]

    def reconstruct(dictionary_and_kind):
        dictionary, reads_output = dictionary_and_kind
        out, z = jax.vmap(sparse_mlp, (None, 0))(dictionary, jnp.where(reads_output, m, x))
        return out, l0(z), (z > 0).any(0).sum()

    out, active, alive = jax.lax.map(reconstruct, (trained, jnp.arange(2 * n) >= n))
    top = jnp.asarray(kept)
    rows, bias = (params[f"block_{layer}"]["mlp"]["dense_1"][part] for part in ("kernel", "bias"))
    keep = jax.vmap(jax.vmap(keep_neurons, (0, None, None)), (None, None, 0))
    neurons = keep(module.activation(hidden), rows, top) + bias[None, None]

    untrained = init_dictionary(key, *sample, trained.W_enc.shape[2])

    def guessed(k):
        fitted = least_squares_decoder(untrained, *sample, k)
        return jax.vmap(top_sparse_mlp, (None, 0, None))(fitted, x, k)[0]

    guess = jax.lax.map(guessed, top)
    simple = jnp.stack([m, jnp.zeros_like(m), jnp.broadcast_to(m.mean(0, keepdims=True), m.shape)])

    def with_output(tokens, out):
        return replace(module, {mlp: out})(params, tokens)

    def loss(out):
        return entropy(jax.vmap(with_output)(tokens, out.reshape(*tokens.shape, -1)), targets)

    values = jax.lax.map(loss, jnp.concatenate([simple, out, neurons, guess]))
    (host, zero, mean), *by_kind = jnp.split(values, np.cumsum([3, n, n, len(kept)]))
    unchanged = entropy(jax.vmap(as_model(module).apply, (None, 0))(params, tokens), targets)
    named = {f"loss {kind}": value for kind, value in zip(SUBSTITUTES, by_kind, strict=True)}
    named |= {"loss host": host, "loss zero": zero, "loss mean": mean, "loss host unchanged": unchanged}
    named |= {"l0 transcoder": active[:n], "l0 autoencoder": active[n:]}
    return named | {"alive transcoder": alive[:n], "alive autoencoder": alive[n:]}


def entropy(logits, targets):
    """Mean cross-entropy in nats: logits [..., v], targets [...] -> scalar."""
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


def interpolate(l0, loss, at):
    """The loss at other numbers of active features: linear in log L0, constant beyond the ends.

    Args:
      l0: [n] positive, in any order.
      loss: [n].
      at: where to read.

    Returns:
      Losses of the shape of `at`.
    """
    order = np.argsort(l0)
    return np.interp(np.log(at), np.log(l0)[order], np.asarray(loss)[order])


def at_matched_l0(one, other, *, fractions=(0.25, 0.5, 0.75)):
    """Losses of two substitutes at equal numbers of active features.

    Args:
      one, other: `(l0 [n], loss [n])` of each.
      fractions: where in the range of log L0 that both cover.

    Returns:
      [2, len(fractions)]; NaN where the ranges have nothing in common.
    """
    low, high = max(min(one[0]), min(other[0])), min(max(one[0]), max(other[0]))
    if low >= high:
        return np.full((2, len(fractions)), np.nan)
    at = low * (high / low) ** np.array(fractions)
    return np.stack([interpolate(*one, at), interpolate(*other, at)])


def curve(results, kind, s, kept):
    """L0 [n] and loss [n] of one kind of substitute, of seed s.

    Args:
      results: of `substitute_losses`, with a leading seed axis.
      kind: one of `SUBSTITUTES`.
      s: which seed.
      kept: as of `substitute_losses`.
    """
    active = results[f"l0 {kind}"][s] if f"l0 {kind}" in results else np.array(kept)
    return np.asarray(active, np.float64), np.asarray(results[f"loss {kind}"][s], np.float64)


def matched(results, one, other, kept):
    """[s, 2, 3]: losses of two kinds at three equal L0."""
    seeds = range(len(results["loss host"]))
    return np.array([at_matched_l0(curve(results, one, s, kept), curve(results, other, s, kept)) for s in seeds])


def recovered_at(results, active, kept):
    """[s]: what the transcoder recovers at an L0, or at the largest L0 of the grid if that is smaller."""
    loss = [interpolate(*curve(results, "transcoder", s, kept), active) for s in range(len(results["loss host"]))]
    return recovered_loss(np.array(loss), results["loss host"], results["loss zero"])


def lost_ratio(results, kind, kept):
    """[s]: how many times more of the MLP's worth its neurons lose at equal L0; the smallest of three points."""
    above = matched(results, "neurons", kind, kept) - np.asarray(results["loss host"])[:, None, None]
    neurons, own = np.moveaxis(above, 1, 0)
    return (neurons / np.maximum(own, 1e-6)).min(-1)
