"""An integer discrete flow: a bijection of integer vectors by additive couplings, with a factorised prior.

Source: Hoogeboom, Peters, van den Berg, Welling, "Integer Discrete Flows and Lossless Compression" (arXiv 1905.07376).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.layers import MLP
from jaxzoo.model import Model
from jaxzoo.ops import straight_through
from jaxzoo.transforms import as_model

round_ste = straight_through(jnp.round)
"""Rounding with the derivative of the identity."""

COMPONENTS = 5
"""Logistics in the prior's mixture of each dimension."""


def additive_coupling(z, mask, translate, *, inverse: bool = False):
    """z -> z + (1 - mask) round(t(mask z)), or back; a bijection of integers, whatever t is (eq. 7).

    Args:
      z: [d] integers as floats.
      mask: [d] of 0 and 1; 1 stays as it is.
      translate: t: [d] -> [d].
      inverse: subtract.

    Returns:
      [d].
    """
    shift = (1 - mask) * round_ste(translate(mask * z))
    return z - shift if inverse else z + shift


def discretized_logistic(z, mean, log_scale):
    """log of the mass of a logistic distribution between z - 1/2 and z + 1/2 (eq. 8).

    sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), which has no difference of near equals.

    Args:
      z, mean, log_scale: arrays of one shape.
    """
    inverse = jnp.exp(-log_scale)
    a, b = (z + 0.5 - mean) * inverse, (z - 0.5 - mean) * inverse
    return jax.nn.log_sigmoid(a) + jax.nn.log_sigmoid(-b) + jnp.log(-jnp.expm1(-inverse))


PRIOR_SPEED = 300.0
"""The prior's parameters are stored divided by it, so that they move so much faster than the networks do.

The derivative of rounding is biased: networks that move fast spread what the prior could give narrow peaks, and never
regain what that costs.
"""


class Logistics(NamedTuple):
    """A mixture of discretised logistics for each dimension; every field is [d, c].

    Attributes:
      logits: of the components' weights.
      mean: of each component.
      log_scale: of each.
    """

    logits: jax.Array
    mean: jax.Array
    log_scale: jax.Array


def mixture_log_prob(prior: Logistics, z):
    """log p(z) = sum_i log sum_c w_ic p(z_i | mean_ic, scale_ic); a scalar for z [d]."""
    each = discretized_logistic(jnp.broadcast_to(z[:, None], prior.mean.shape), prior.mean, prior.log_scale)
    return jax.nn.logsumexp(jax.nn.log_softmax(prior.logits) + each, axis=1).sum()


def coupling_masks(height: int, width: int) -> np.ndarray:
    """[8, height * width] float32: both colours of a checkerboard, of rows, again of the board, of columns.

    Rows and columns by parity are channels of images folded 2 x 2.
    """
    row, column = np.indices((height, width)).reshape(2, -1)
    first = [(row + column) % 2, row % 2, (row + column) % 2, column % 2]
    return np.stack([half for mask in first for half in (mask, 1 - mask)]).astype(np.float32)


class Flow(NamedTuple):
    """Parameters of an integer discrete flow.

    Attributes:
      couplings: of the translations' networks, with a leading axis of couplings.
      prior: on the latents; all divided by `PRIOR_SPEED`.
    """

    couplings: dict
    prior: Logistics


def integer_flow(masks, levels: int, hidden: int = 64):
    """The flow of images with values in 0..levels-1.

    Args:
      masks: [c, d], one for each coupling.
      levels: k, also the scale of what the networks see and say.
      hidden: units of each translation's hidden layer.

    Returns:
      `(model, forward, inverse)`: `model` has parameters `Flow` and gives -log p(x) in nats of an image [d];
      `forward(params, x) -> z` and `inverse(params, z) -> x` keep integers as floats.
    """
    masks = jnp.asarray(masks)
    d = masks.shape[1]
    network = as_model(MLP((hidden, hidden, d)))

    def couple(params, mask, z, inverse):
        def translate(seen):
            return network.apply(params, seen / levels - 0.5 * mask)

        return additive_coupling(z, mask, translate, inverse=inverse)

    def run(params, z, inverse):
        step = lambda z, at: (couple(*at, z, inverse), None)  # noqa: E731
        return jax.lax.scan(step, z.astype(jnp.float32), (params.couplings, masks), reverse=inverse)[0]

    def init(key, x):
        couplings = jax.vmap(lambda key: network.init(key, jnp.zeros(d)))(jax.random.split(key, len(masks)))
        last = couplings["dense_2"]
        couplings["dense_2"] = last | {"kernel": 0.01 * last["kernel"]}  # the identity at first
        means = jnp.broadcast_to(jnp.linspace(0, levels - 1, COMPONENTS), (d, COMPONENTS))
        flat = jnp.zeros((d, COMPONENTS))
        first = Logistics(flat, means, flat + jnp.log(levels / 8))
        return Flow(couplings, jax.tree.map(lambda x: x / PRIOR_SPEED, first))

    def forward(params, x):
        return run(params, x, False)

    def inverse(params, z):
        return run(params, z, True)

    def apply(params, x, *, key=None):
        prior = jax.tree.map(lambda x: PRIOR_SPEED * x, params.prior)
        return -mixture_log_prob(prior, forward(params, x))

    return Model(init, apply), forward, inverse


class Alphabet(NamedTuple):
    """Integers as symbols 0..k-1, per dimension.

    Attributes:
      low: [d] the integer of symbol 0.
      size: k; the last symbol says that the integer follows by itself.
    """

    low: np.ndarray
    size: int


ESCAPE_BITS = 16
"""An integer that has no symbol is written in so many bits."""


def alphabet(train: np.ndarray, size: int) -> Alphabet:
    """Symbols for the range of the training integers [n, d]; where that is too wide, for its middle."""
    low, high = train.min(0).astype(np.int64), train.max(0).astype(np.int64)
    too_wide = high - low + 1 > size - 1
    middle = np.median(train, axis=0).astype(np.int64) - (size - 1) // 2
    return Alphabet(np.where(too_wide, np.clip(middle, low, np.maximum(low, high - size + 2)), low), size)


def to_symbols(letters: Alphabet, z: np.ndarray) -> np.ndarray:
    """Symbols of integers [n, d]: 0..size-1, of the smallest unsigned type."""
    shifted = np.asarray(z).astype(np.int64) - letters.low[None]
    outside = (shifted < 0) | (shifted >= letters.size - 1)
    return np.where(outside, letters.size - 1, shifted).astype(np.min_scalar_type(letters.size - 1))
