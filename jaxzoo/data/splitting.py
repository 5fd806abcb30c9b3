"""Parts of a data set that share no example, and statistics that come from the training part alone."""

import itertools
from collections.abc import Sequence

import numpy as np

from jaxzoo.data.dataset import Dataset


def _uniform(seed, n: int) -> np.ndarray:
    """n random 64-bit integers; raw generator output, which numpy keeps the same in all versions."""
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        if seed < 0:
            raise ValueError(f"seed: expected an int >= 0 or a jax key, got {seed}")
        return np.random.PCG64(int(seed)).random_raw(n)
    import jax

    if not (isinstance(seed, jax.Array) and jax.dtypes.issubdtype(seed.dtype, jax.dtypes.prng_key) and seed.ndim == 0):
        raise ValueError(f"seed: expected an int >= 0 or one jax key, got {seed!r}")
    return np.random.PCG64(np.asarray(jax.random.key_data(seed)).tolist()).random_raw(n)


def _interleaved(labels: np.ndarray, random: np.ndarray) -> np.ndarray:
    """An order [n] of the examples in which every stretch holds the classes in nearly their overall shares.

    The i-th example (in random order) of a class of n_c stands at (i + 1/2) / n_c; ties go to the random numbers.
    """
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(random[members], kind="stable")]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.lexsort((random, place))


def split(dataset: Dataset, seed, sizes: Sequence[int]) -> tuple[Dataset, ...]:
    """Draws disjoint parts of a data set, in random order; stratified by class where y is integer.

    Stratified: each part holds each class in its share of the whole, up to rounding. Examples beyond sum(sizes)
    are left out.

    Args:
      dataset: n examples; y [n] of an integer type is taken as classes.
      seed: an int >= 0, or a jax key; the same seed gives the same parts on every machine.
      sizes: the number of examples of each part, exactly: (1000, 297, 500).

    Returns:
      One `Dataset` per size.

    Raises:
      ValueError: a size that is not a positive int, or more examples asked for than there are.
    """
    n = len(dataset.x)
    if not all(isinstance(size, int | np.integer) and size > 0 for size in sizes):
        raise ValueError(f"sizes: expected positive ints, got {tuple(sizes)}")
    if sum(sizes) > n:
        raise ValueError(f"sizes: {tuple(sizes)} ask for {sum(sizes)} examples, but {dataset.name} has {n}")
    random, shuffle = _uniform(seed, 2 * n).reshape(2, n)
    is_class = dataset.y.ndim == 1 and np.issubdtype(dataset.y.dtype, np.integer)
    order = _interleaved(dataset.y, random) if is_class else np.argsort(random, kind="stable")
    parts = np.split(order, np.cumsum(sizes))[: len(sizes)]
    parts = [part[np.argsort(shuffle[part], kind="stable")] for part in parts]
    return tuple(dataset._replace(x=dataset.x[part], y=dataset.y[part]) for part in parts)


def split_by_position(array: np.ndarray, fractions: Sequence[float]) -> tuple[np.ndarray, ...]:
    """Cuts a text or a series into consecutive pieces: (0.9, 0.1) for training and validation.

    Args:
      array: [n, ...].
      fractions: the share of each piece, positive, of sum <= 1; borders are rounded to whole elements.

    Returns:
      One view of `array` per fraction.

    Raises:
      ValueError: fractions that are not positive, sum to more than 1, or leave a piece empty.
    """
    if not all(fraction > 0 for fraction in fractions) or sum(fractions) > 1 + 1e-9:
        raise ValueError(f"fractions: expected positive numbers of sum <= 1, got {tuple(fractions)}")
    borders = [0, *(round(len(array) * total) for total in np.cumsum(fractions))]
    pieces = tuple(array[start:stop] for start, stop in itertools.pairwise(borders))
    if not all(len(piece) for piece in pieces):
        raise ValueError(f"fractions: {tuple(fractions)} of {len(array)} elements leave a piece empty")
    return pieces


def standardise(train, *others, axis: int | tuple[int, ...] = 0):
    """Shifts and scales to mean 0 and standard deviation 1, with the statistics of the first argument only.

    x -> (x - mean(train)) / std(train), in float64, then cast to float32. Where train is constant, x is only shifted.

    Args:
      train: a `Dataset`, of which x is standardised, or an array [n, ...].
      *others: more of the same kind, of any number of examples.
      axis: the axes of x that the statistics are taken over; (0, 1, 2) for images [n, h, w, c] per channel.

    Returns:
      `train` and `others`, standardised: a tuple, or alone if there are no others.
    """
    inputs = [part.x if isinstance(part, Dataset) else np.asarray(part) for part in (train, *others)]
    mean = inputs[0].mean(axis=axis, keepdims=True, dtype=np.float64)
    deviation = inputs[0].std(axis=axis, keepdims=True, dtype=np.float64)
    # A constant column has a deviation of rounding size rather than 0.
    deviation = np.where(deviation <= 1e-12 * np.abs(mean), 1.0, deviation)
    scaled = [((x - mean) / deviation).astype(np.float32) for x in inputs]
    results = tuple(
        part._replace(x=x) if isinstance(part, Dataset) else x for part, x in zip((train, *others), scaled, strict=True)
    )
    return results if others else results[0]
