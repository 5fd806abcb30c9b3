"""Comparing two representations of the same samples, and maps that take one to the other."""

import jax
import jax.numpy as jnp

from jaxzoo.ops import normalize


def mean_cosine(x, y):
    """The mean cosine between corresponding rows of x [n, d] and y [n, d]."""
    _check_pair(x, y)
    return (normalize(x) * normalize(y)).sum(1).mean()


def mrr(x, y):
    """Mean reciprocal rank of sample s itself among all rows of y sorted by cosine to x_s; 1 for identical spaces.

    Args:
      x, y: [n, d] two representations of the same n samples.
    """
    _check_pair(x, y)
    similarity = normalize(x) @ normalize(y).T  # [n, n]
    rank = 1 + (similarity > jnp.diagonal(similarity)[:, None]).sum(1)
    return (1 / rank).mean()


def jaccard_at(x, y, k=10):
    """Mean Jaccard index |A n B| / |A u B| of neighbourhoods: A the k rows of y nearest to x_s, B those nearest to y_s.

    Neighbours are by cosine, and sample s counts among them. The index says whether a search in the space of y finds
    the same with a query from the other space.

    Args:
      x, y: [n, d] two representations of the same n samples.
      k: size of a neighbourhood, 1 to n.
    """
    _check_pair(x, y)
    if not 1 <= k <= x.shape[0]:
        raise ValueError(f"k: expected 1 to {x.shape[0]}, the number of samples, got {k}")
    target = normalize(y)
    _, found = jax.lax.top_k(normalize(x) @ target.T, k)  # [n, k]
    _, own = jax.lax.top_k(target @ target.T, k)
    shared = jax.vmap(jnp.isin)(found, own).sum(1)
    return (shared / (2 * k - shared)).mean()


def _check_pair(x, y):
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(f"y: expected [n, d] like x, got x {x.shape} and y {y.shape}")


def procrustes(x, y):
    """The orthogonal map and scale that take x nearest to y, both about their means: the baseline that needs a fit.

    minimises |s (x - mean x) Q - (y - mean y)|_F over orthogonal Q and s > 0 (Schoenemann 1966).

    Args:
      x: [k, d] latent vectors of the anchors in one space.
      y: [k, d] the same anchors in the other.

    Returns:
      `transport(e [d]) -> [d]`, from the first space to the second.
    """
    _check_pair(x, y)
    centre_x, centre_y = x.mean(0), y.mean(0)
    u, s, vt = jnp.linalg.svd((x - centre_x[None]).T @ (y - centre_y[None]))
    scale = s.sum() / jnp.square(x - centre_x[None]).sum()
    return lambda e: scale * (e - centre_x) @ (u @ vt) + centre_y


def ridge(x, y, penalty=1e-2):
    """The affine map from x to y fitted by ridge regression, for spaces of unequal dimension.

    Args:
      x: [k, d] anchors in one space.
      y: [k, d2] the same anchors in the other.
      penalty: of the squared weights, relative to the mean squared deviation of x.

    Returns:
      `transport(e [d]) -> [d2]`.
    """
    centre_x, centre_y = x.mean(0), y.mean(0)
    a, b = x - centre_x[None], y - centre_y[None]
    gram = a.T @ a
    weight = jnp.linalg.solve(gram + penalty * jnp.trace(gram) / len(gram) * jnp.eye(len(gram)), a.T @ b)  # [d, d2]
    return lambda e: (e - centre_x) @ weight + centre_y


def linear_cka(x, y):
    """Linear centred kernel alignment of x [n, d] and y [n, d2], in [0, 1] (Kornblith et al., arXiv 1905.00414)."""
    a, b = x - x.mean(0)[None], y - y.mean(0)[None]
    cross = jnp.square(a.T @ b).sum()
    return cross / (jnp.linalg.norm(a.T @ a) * jnp.linalg.norm(b.T @ b))
