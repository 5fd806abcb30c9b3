"""Activations of a host's MLPs on random stretches of a text, fresh for every update of the dictionaries."""

import jax
import jax.numpy as jnp

from jaxzoo import data
from jaxzoo.interpretability.transcoders import mlp_names
from jaxzoo.transforms import capture


def dictionary_rows(layers, layer, grid, middle):
    """(kind, layer, which lambda): both kinds at one layer with every lambda, transcoders of the others with one.

    Args:
      layers: of the host.
      layer: the one.
      grid: number of lambdas.
      middle: which lambda the others get.
    """
    both = [(kind, layer, i) for kind in ("transcoder", "autoencoder") for i in range(grid)]
    return (*both, *[("transcoder", other, middle) for other in range(layers) if other != layer])


def harvest(module, tokens, batch, length, rows, key, params):
    """Inputs and targets for several dictionaries.

    NOTE(paper): the authors shuffle half a million tokens' activations; here an update sees all tokens of a few texts.

    Args:
      module: the host, sublayers named as in `hosts.Host`.
      tokens: [n] the text.
      batch: stretches b.
      length: tokens of a stretch t.
      rows: for each of n dictionaries (kind, layer, ...): a "transcoder" reads the MLP's input, an "autoencoder" its
        output; the output is what both are to give.
      key: a PRNG key.
      params: of the host.

    Returns:
      `(inputs [n, b t, d], targets [n, b t, d])`.
    """
    x, _ = data.windows(key, tokens, batch, length)
    names = {layer: mlp_names(layer) for _, layer, *_ in rows}
    _, seen = jax.vmap(capture(module, *sum(names.values(), ())), (None, 0))(params, x)
    flat = {name: value.reshape(-1, value.shape[-1]) for name, value in seen.items()}
    inputs = [flat[names[layer][kind == "autoencoder"]] for kind, layer, *_ in rows]
    return jnp.stack(inputs), jnp.stack([flat[names[layer][1]] for _, layer, *_ in rows])


def harvest_sample(module, tokens, batch, length, layer, least, key, params):
    """At least so many inputs and outputs of one MLP, `batch` stretches at a time.

    Args:
      module, tokens, batch, length, key, params: as of `harvest`.
      layer: which MLP.
      least: how many are wanted.

    Returns:
      `(inputs [n, d], outputs [n, d])`, n a multiple of b t.
    """
    parts = -(-least // (batch * length))
    keys = key[None] if parts == 1 else jax.random.split(key, parts)
    found = jax.lax.map(lambda key: harvest(module, tokens, batch, length, (("transcoder", layer),), key, params), keys)
    return tuple(x.reshape(-1, x.shape[-1]) for x in found)
