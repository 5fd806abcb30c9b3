"""Models of images that are counted rather than trained: independent pixels, and a Chow-Liu tree without latents."""

import numpy as np

from jaxzoo.probabilistic.chow_liu import Tree

PSEUDOCOUNTS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Those that are tried on validation data."""


def marginals(train: np.ndarray, levels: int, pseudocount: float) -> np.ndarray:
    """p_i(v) ~ count + pseudocount / k: [d, k] from images [n, d]."""
    d = train.shape[1]
    place = train.astype(np.int64) + levels * np.arange(d)[None]
    counts = np.bincount(place.ravel(), minlength=d * levels).reshape(d, levels)
    return (counts + pseudocount / levels) / (len(train) + pseudocount)


def independent_bits(train: np.ndarray, valid: np.ndarray, test: np.ndarray, *, levels: int) -> float:
    """Bits per dimension of `test` when each pixel has its own distribution; the pseudocount is chosen on `valid`.

    Args:
      train, valid, test: [n, d] integers in 0..levels-1.
      levels: k.
    """

    def bits(pseudocount, images):
        p = marginals(train, levels, pseudocount)
        return -np.log2(p[np.arange(p.shape[0])[None], images]).mean()

    return bits(min(PSEUDOCOUNTS, key=lambda c: bits(c, valid)), test)


def chow_liu_bits(tree: Tree, train: np.ndarray, valid: np.ndarray, test: np.ndarray, *, levels: int) -> float:
    """Bits per dimension of `test` under p(x) = prod p(x_i | x_parent(i)), counted; smoothing is chosen on `valid`.

    p(x_i | x_parent) ~ count + c / k, for the root too.

    Args:
      tree: over the pixels.
      train, valid, test: [n, d] integers in 0..levels-1.
      levels: k.
    """

    def table(i, c):
        above = tree.parent[i]
        if above < 0:
            return marginals(train[:, [i]], levels, c)  # [1, k]
        counts = np.zeros((levels, levels))
        np.add.at(counts, (train[:, above], train[:, i]), 1)
        return (counts + c / levels) / (counts.sum(1, keepdims=True) + c)

    def bits(c, images):
        total = 0.0
        for i, above in enumerate(tree.parent):
            p = table(i, c)
            total -= np.log2(p[images[:, above] if above >= 0 else 0, images[:, i]]).mean()
        return total / len(tree.parent)

    return bits(min(PSEUDOCOUNTS, key=lambda c: bits(c, valid)), test)
