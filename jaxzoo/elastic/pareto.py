"""The best of many points of cost and score."""

import numpy as np


def pareto_front(macs, accuracy):
    """The points that no other beats: none costs less or as much and scores higher, or less and as high.

    Args:
      macs: [n] costs.
      accuracy: [n] scores, higher is better.

    Returns:
      [m] indices by rising cost; of equal points the first.

    Raises:
      ValueError: arrays of different lengths.
    """
    macs, accuracy = np.asarray(macs), np.asarray(accuracy)
    if macs.ndim != 1 or macs.shape != accuracy.shape:
        raise ValueError(f"macs, accuracy: expected two arrays [n], got {macs.shape} and {accuracy.shape}")
    order = np.lexsort((np.arange(macs.size), -accuracy, macs))
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(accuracy[order])[:-1]])
    return order[accuracy[order] > best_before]
