"""Circuits of transcoder features: what made a feature active, as a sum over everything that came before it.

A feature of layer l reads a direction of the residual stream at its own place. The residual stream is a sum: the
token's embedding, what every earlier attention head brought from every place, and what the features, the bias and the
error of every earlier transcoder added. With the attention patterns and the lengths by which the norms divide held as
they are ("frozen"), all of it is linear, so the feature's input splits exactly:

    feature j of an earlier layer, same place:  z_j(t) * (W_dec_j . v)              input times weights
    head h, place s:                            A_h[t, s] * x_s . (W_V^h W_O^h v)   and x_s splits again

where v is the direction that is read, W_enc' pulled back through the norm.

Source: Dunefsky, Chlenski, Nanda, "Transcoders Find Interpretable LLM Feature Circuits" (arXiv 2406.11944), Sec. 4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.interpretability.gpt_neox import partly_rotary
from jaxzoo.interpretability.sparse_dictionaries import Dictionary, sparse_mlp
from jaxzoo.transforms import capture


class Weights(NamedTuple):
    """What is the same for every input.

    Attributes:
      value: W_V [l, d, h, k].
      output: W_O [l, h, k, d].
      offset: [l, d] what attention adds whatever it reads: its output bias, and that of the values through W_O, since
        a head's weights sum to 1.
      gain_mixer, gain_mlp: [l, d] learned factors of the norms before attention and before the MLP.
      dictionaries: a stack [l, ...] of one transcoder for every layer.
    """

    value: jax.Array
    output: jax.Array
    offset: jax.Array
    gain_mixer: jax.Array
    gain_mlp: jax.Array
    dictionaries: Dictionary


class Trace(NamedTuple):
    """What one text makes of it.

    Attributes:
      embed: [t, d] embeddings.
      residual: [l, t, d] the residual stream before each attention.
      pattern: [l, h, t, s] attention weights.
      scale_mixer, scale_mlp: [l, t] 1 / length in the norms.
      z: [l, t, F] features.
      error: [l, t, d] the MLP's output less the transcoder's.
    """

    embed: jax.Array
    residual: jax.Array
    pattern: jax.Array
    scale_mixer: jax.Array
    scale_mlp: jax.Array
    z: jax.Array
    error: jax.Array


class Parts(NamedTuple):
    """What a direction of the residual stream is made of, at one place; the sum of all is the whole.

    Attributes:
      embedding: scalar.
      heads: [a, h, s] of each earlier attention, head and place.
      offsets: [a] of the biases of each earlier attention.
      features: [m, F] of each earlier transcoder.
      biases: [m] of the transcoders' output biases.
      errors: [m] of what the transcoders miss.
    """

    embedding: jax.Array
    heads: jax.Array
    offsets: jax.Array
    features: jax.Array
    biases: jax.Array
    errors: jax.Array


def attention_pattern(q, k, turned=None):
    """Causal attention weights [h, t, s] of queries and keys [t, h, k], whose first features positions turn.

    Args:
      q, k: [t, h, k].
      turned: how many features of each head; None for all.

    Returns:
      [h, t, s].
    """
    places, turned = jnp.arange(q.shape[0]), q.shape[-1] if turned is None else turned
    q, k = (partly_rotary(x, places, turned) for x in (q, k))
    scores = jnp.einsum("thk,shk->hts", q, k) * q.shape[-1] ** -0.5
    mask = jnp.tril(jnp.ones(scores.shape[1:], bool))
    return jax.nn.softmax(jnp.where(mask[None], scores, -jnp.inf), axis=-1)


def circuit_weights(params, dictionaries):
    """Collects the weights that circuits are made of.

    Args:
      params: of a `hosts.Host`, or of a `gpt2.GPT2` or `gpt_neox.GPTNeoX` as `pretrained.fold_norms` makes them.
      dictionaries: a stack [l, ...] of transcoders, one for every layer.

    Returns:
      `Weights`.
    """
    blocks = [params[f"block_{i}"] for i in range(dictionaries.W_enc.shape[0])]
    return Weights(
        value=jnp.stack([block["mixer"]["v"]["kernel"] for block in blocks]),
        output=jnp.stack([block["mixer"]["o"]["kernel"] for block in blocks]),
        offset=jnp.stack([attention_offset(block["mixer"]) for block in blocks]),
        gain_mixer=jnp.stack([block["norm_mixer"]["scale"] for block in blocks]),
        gain_mlp=jnp.stack([block["norm_mlp"]["scale"] for block in blocks]),
        dictionaries=dictionaries,
    )


def attention_offset(mixer):
    """What an attention adds whatever it reads, [d], from its parameters."""
    kernel = mixer["o"]["kernel"]  # [h, k, d]
    if "bias" not in mixer["o"]:
        return jnp.zeros(kernel.shape[-1])
    return mixer["o"]["bias"] + jnp.einsum("hk,hkd->d", mixer["v"]["bias"], kernel)


def trace_circuit(module, params, dictionaries, tokens):
    """Runs the host on one text and keeps what circuits need.

    Args:
      module, params: the host, as in `circuit_weights`.
      dictionaries: a stack [l, ...] of transcoders.
      tokens: [t].

    Returns:
      A `Trace`.
    """
    layers = range(dictionaries.W_enc.shape[0])
    parts = ("mixer", "mixer/q", "mixer/k", "norm_mlp", "mlp")
    _, seen = capture(module, "embed", *(f"block_{i}/{part}" for i in layers for part in parts))(params, tokens)
    mixer, q, k, x, m = (jnp.stack([seen[f"block_{i}/{part}"] for i in layers]) for part in parts)
    before = seen["embed"][None] + jnp.cumsum(mixer + m, axis=0) - (mixer + m)  # [l, t, d]
    out, z = jax.vmap(jax.vmap(sparse_mlp, (None, 0)))(dictionaries, x)
    return Trace(
        embed=seen["embed"],
        residual=before,
        pattern=jax.vmap(attention_pattern, (0, 0, None))(q, k, module.turned),
        scale_mixer=inverse_length(before, module.norm_eps),
        scale_mlp=inverse_length(before if module.parallel else before + mixer, module.norm_eps),
        z=z,
        error=m - out,
    )


def inverse_length(x, eps):
    """What RMS norm multiplies by, and layer norm where x has mean 0: [..., d] -> [...]."""
    return jax.lax.rsqrt(jnp.square(x).mean(-1) + eps)


def feature_attribution(z, decoder, direction):
    """What each feature of a transcoder adds to a direction: z_j * (W_dec_j . v), input times weights (Sec. 4.1).

    Args:
      z: [F] activations.
      decoder: W_dec [F, d].
      direction: v [d]; for a later feature, its encoder column with the norm frozen (`feature_direction`).

    Returns:
      [F].
    """
    return z * (decoder @ direction)


def pull_back(value, output, direction):
    """What a head reads at the source so as to write `direction`: W_V^h W_O^h v, [h, d]."""
    return jnp.einsum("dhk,hke,e->hd", value, output, direction)


def head_attribution(pattern, x, value, output, direction):
    """What each head adds to a direction from each place: A_h[t, s] * x_s . (W_V^h W_O^h v) (Sec. 4.1).

    Args:
      pattern: [h, s] attention weights of the place that is looked at.
      x: [s, d] the attention's input, after the norm.
      value: W_V [d, h, k].
      output: W_O [h, k, d].
      direction: v [d].

    Returns:
      [h, s].
    """
    return pattern * jnp.einsum("sd,hd->hs", x, pull_back(value, output, direction))


def feature_direction(weights, trace, layer, feature, place):
    """The direction [d] of the residual stream that a feature reads at a place, with the norm frozen there."""
    column = weights.dictionaries.W_enc[layer][:, feature]
    return column * weights.gain_mlp[layer] * trace.scale_mlp[layer, place]


def feature_constant(weights, layer, feature):
    """The part of a feature's pre-activation that no input moves: b_enc - b_in . W_enc."""
    dictionary = jax.tree.map(lambda x: x[layer], weights.dictionaries)
    return dictionary.b_enc[feature] - dictionary.b_in @ dictionary.W_enc[:, feature]


def attributions(weights, trace, direction, place, *, layer, before="mlp"):
    """Splits the product of a direction with the residual stream at one place into all that was added there.

    Args:
      weights, trace: of the host and of the text.
      direction: v [d].
      place: t; may be traced.
      layer: the layer that reads; static.
      before: "mlp", or "mixer" for the stream before that layer's attention, which is then no part of it; that is what
        the MLP reads too in a host whose blocks are parallel.

    Returns:
      `Parts`, which sum to v . residual.
    """
    if before not in ("mlp", "mixer"):
        raise ValueError(f"before: expected 'mlp' or 'mixer', got {before!r}")
    a = layer + (before == "mlp")
    x = trace.residual[:a] * trace.scale_mixer[:a, :, None] * weights.gain_mixer[:a, None, :]
    heads = jax.vmap(head_attribution, (0, 0, 0, 0, None))
    d = jax.tree.map(lambda x: x[:layer], weights.dictionaries)
    return Parts(
        embedding=trace.embed[place] @ direction,
        heads=heads(trace.pattern[:a, :, place], x, weights.value[:a], weights.output[:a], direction),
        offsets=weights.offset[:a] @ direction,
        features=jax.vmap(feature_attribution, (0, 0, None))(trace.z[:layer, place], d.W_dec, direction),
        biases=d.b_out @ direction,
        errors=trace.error[:layer, place] @ direction,
    )


def total(parts):
    """The sum of all parts."""
    return sum(x.sum() for x in parts)


def factorisation_error(module, params, dictionaries, tokens, *, most=512):
    """How far attributions are from exact: over all places and features of the last layer, with the norm frozen.

    Args:
      module, params: the host, as in `circuit_weights`.
      dictionaries: a stack [l, ...] of transcoders.
      tokens: [t].
      most: features that are looked at; the first ones.

    Returns:
      The largest difference between a pre-activation and the sum of its parts, over the pre-activations' root mean
      square.
    """
    last = dictionaries.W_enc.shape[0] - 1
    weights, trace = circuit_weights(params, dictionaries), trace_circuit(module, params, dictionaries, tokens)
    name = f"block_{last}/norm_mlp"
    _, seen = capture(module, name)(params, tokens)
    d = jax.tree.map(lambda x: x[last], dictionaries)
    exact = (seen[name] - d.b_in[None]) @ d.W_enc[:, :most] + d.b_enc[None, :most]  # [t, F]
    before = "mixer" if module.parallel else "mlp"

    def rebuilt(place, feature):
        direction = feature_direction(weights, trace, last, feature, place)
        parts = attributions(weights, trace, direction, place, layer=last, before=before)
        return total(parts) + feature_constant(weights, last, feature)

    places, features = (jnp.arange(n) for n in exact.shape)
    sums = jax.lax.map(lambda place: jax.vmap(rebuilt, (None, 0))(place, features), places)
    return jnp.abs(sums - exact).max() / jnp.sqrt(jnp.square(exact).mean())
