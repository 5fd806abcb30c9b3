"""Mixup, CutMix and smoothed labels: training on mixtures of two pictures.

Sources: Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond empirical risk minimization" (arXiv 1710.09412); Yun et al.,
"CutMix: Regularization strategy to train strong classifiers with localizable features" (arXiv 1905.04899).
"""

import jax
import jax.numpy as jnp

from jaxzoo.vision.augment import in_box


def smoothed(labels, classes, smoothing=0.1):
    """Targets [..., classes]: smoothing / classes everywhere, and the rest, 1 - smoothing, at the label."""
    return (1 - smoothing) * jax.nn.one_hot(labels, classes) + smoothing / classes


def mixup(image, other, share):
    """share image + (1 - share) other."""
    return share * image + (1 - share) * other


def cutmix(key, image, other, share):
    """An image with a box of another in it.

    The box has the image's shape and, before the border cuts it, 1 - share of its area; its middle is anywhere.

    Args:
      key: of the place.
      image, other: [h, w, c].
      share: of `image` that is to stay; may be traced.

    Returns:
      The mixture [h, w, c] and the share that did stay.
    """
    inside = cutmix_box(key, *image.shape[:2], share)
    return jnp.where(inside[..., None], other, image), 1 - inside.mean()


def cutmix_box(key, h, w, share):
    """Where `cutmix` puts the other image: [h, w] bool."""
    middle = jnp.floor(jax.random.uniform(key, (2,)) * jnp.array([h, w]))
    half = jnp.floor(jnp.floor(jnp.array([h, w]) * jnp.sqrt(1 - share)) / 2)
    return in_box(h, w, *(middle - half), *(2 * half))


def mixed(key, x, targets, *, alpha=0.1, cut_alpha=1.0, cut_rate=0.5):
    """A batch mixed with itself in reverse order, all pictures alike: by `mixup` or by `cutmix`.

    The share of the picture itself is drawn from Beta(alpha, alpha), or Beta(cut_alpha, cut_alpha) for `cutmix`.

    Args:
      key: of the way, the share and the place.
      x: [b, h, w, c].
      targets: [b, classes], mixed by the share that stayed.
      alpha: of mixup; may be traced, like the next two.
      cut_alpha: of CutMix.
      cut_rate: probability of CutMix.

    Returns:
      `(x, targets)`.
    """
    key_way, key_share, key_place = jax.random.split(key, 3)
    cut = jax.random.bernoulli(key_way, cut_rate)
    alpha = jnp.where(cut, cut_alpha, alpha)
    share = jax.random.beta(key_share, alpha, alpha)
    inside = cutmix_box(key_place, *x.shape[1:3], share)
    stays = jnp.where(cut, 1 - inside.mean(), share)
    kept = jnp.where(cut, 1 - inside.astype(x.dtype), share)[None, ..., None]
    return mixup(x, x[::-1], kept), mixup(targets, targets[::-1], stays)
