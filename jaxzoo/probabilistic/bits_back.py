"""A small variational autoencoder, and what bits-back coding makes of single images.

A latent is popped from the bits that are there already, by q(z | x); then x is pushed by p(x | z) and z by its prior.
In a long chain that costs -ELBO. The first image has no bits to pop from: some must be put there, and stay in its file.

Source: Townsend, Bird, Barber, "Practical Lossless Compression with Latent Variables using Bits Back Coding"
(arXiv 1901.04866).
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr, ndtri

from jaxzoo.layers import MLP
from jaxzoo.model import Model
from jaxzoo.probabilistic.rans import BITS, pack, pop, push, quantize_pmf
from jaxzoo.transforms import as_model


def vae(pixels: int, levels: int, latents: int, hidden: int):
    """A Gaussian posterior, a standard normal prior, and a categorical distribution of each pixel.

    Args:
      pixels, levels: d, k of the images.
      latents: size of z.
      hidden: units of the one hidden layer of either network.

    Returns:
      `(model, encode, decode)`: `model` gives -ELBO in nats of an image [d] with one draw of z, and needs its key;
      `encode(params, x) -> (mean, log_scale)`, `decode(params, z) -> logits [d, k]`.
    """
    encoder, decoder = as_model(MLP((hidden, 2 * latents))), as_model(MLP((hidden, pixels * levels)))

    def init(key, x):
        key_encoder, key_decoder = jax.random.split(key)
        return {
            "encoder": encoder.init(key_encoder, jnp.zeros(pixels)),
            "decoder": decoder.init(key_decoder, jnp.zeros(latents)),
        }

    def encode(params, x):
        return jnp.split(encoder.apply(params["encoder"], x / (levels - 1) - 0.5), 2)

    def decode(params, z):
        return decoder.apply(params["decoder"], z).reshape(pixels, levels)

    def apply(params, x, *, key=None):
        mean, log_scale = encode(params, x)
        z = mean + jnp.exp(log_scale) * jax.random.normal(key, mean.shape)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(decode(params, z)), x.astype(jnp.int32)[:, None], 1).sum()
        divergence = 0.5 * (jnp.exp(2 * log_scale) + mean**2 - 1) - log_scale
        return divergence.sum() - log_p

    return Model(init, apply), encode, decode


def latent_bins(bits: int):
    """2^bits bins of equal prior mass: `(edges [2^bits + 1], middles [2^bits])`."""
    count = 1 << bits
    return ndtri(np.arange(count + 1) / count), ndtri((np.arange(count) + 0.5) / count)


def posterior_frequencies(mean, log_scale, edges):
    """Quantised masses of N(mean, scale^2) in the bins: [..., 2^bits] for mean, log_scale [...]."""
    mean, scale = np.asarray(mean, np.float64)[..., None], np.exp(np.asarray(log_scale, np.float64))[..., None]
    return quantize_pmf(np.maximum(np.diff(ndtr((edges - mean) / scale), axis=-1), 0) + 1e-12)


def pop_latents(state: int, words: list, table) -> tuple:
    """Pops one latent bin per row of frequencies [z, bins]: `(heads [1], what is left of the words, bins)`."""
    heads, words, symbols = np.array([state], np.uint64), list(words), []
    for freqs in table:
        heads, symbol = pop(heads, words, freqs[None])
        symbols.append(int(symbol[0]))
    return heads, words, symbols


def single_files(images, mean, log_scale, decode, rng, *, bits: int = 8) -> dict[str, np.ndarray]:
    """Codes every image into a file of its own.

    Args:
      images: [n, d] integers.
      mean, log_scale: [n, z] of q(z | x).
      decode: `decode(z [n, z]) -> p [n, d, k]`.
      rng: NumPy generator of the bits that are there at first, no more of them than needed.
      bits: log2 of the number of bins of a latent. More of them cost no rate but take more initial bits.

    Returns:
      [n] each: "file" bits of the file, the initial words that were used included; "net" bits that a chain would pay,
      -log2 P(x | z) - log2 P(z) + log2 Q(z | x); "initial" bits, -log2 Q(z | x).
    """
    edges, middles = latent_bins(bits)
    tables = posterior_frequencies(mean, log_scale, edges)  # [n, z, bins]
    stacks, chosen, initial = [], [], []
    for table in tables:
        words = rng.integers(0, 1 << 32, 4 + tables.shape[1]).tolist()
        p = table / 2.0**BITS
        # Words come whole; a state that begins with as many bits as the latents need on average spares most of them.
        spare = min(2 + int(np.ceil(-(p * np.log2(p)).sum())), 31)
        state = int(rng.integers(1 << 62, 1 << 63)) >> (31 - spare)
        heads, left, symbols = pop_latents(state, words, table)
        stacks.append((heads, left, len(left)))
        chosen.append(symbols)
        initial.append(-np.log2(table[np.arange(len(table)), symbols] / 2.0**BITS).sum())
    chosen = np.array(chosen)
    pmfs = quantize_pmf(decode(middles[chosen].astype(np.float32)))  # [n, d, k]
    files, likelihoods = [], []
    for x, symbols, table, (heads, words, unused) in zip(np.asarray(images), chosen, pmfs, stacks, strict=True):
        freq = table[np.arange(len(x)), x]
        start = table.cumsum(1)[np.arange(len(x)), x] - freq
        for i in reversed(range(len(x))):
            heads = push(heads, words, start[[i]], freq[[i]])
        for symbol in symbols[::-1]:
            width = 1 << (BITS - bits)
            heads = push(heads, words, [symbol * width], [width])
        files.append(8 * len(pack(heads, words[unused:])))
        likelihoods.append(-np.log2(freq / 2.0**BITS).sum())
    initial = np.array(initial)
    net = np.array(likelihoods) + bits * chosen.shape[1] - initial
    return {"file": np.array(files, np.float64), "net": net, "initial": initial}
