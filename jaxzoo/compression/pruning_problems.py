"""Data of a pruning study: a training set and two to test on, small or the paper's own.

A set of data is `(training set, {"validation": ..., "accuracy": ...})`, each part `(x, y)`; the last is to test on.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo import data
from jaxzoo.compression.pruning_study import Problem
from jaxzoo.data.shifted_images import shifted_and_flipped


def digit_sets():
    """Digits as rows of pixels [8, 8] and as images [8, 8, 1]: 1200 to train on, 200 and 397 to test on."""
    parts = data.split(data.digits(), 0, (1200, 200, 397))
    train, validation, test = [(jnp.asarray(part.x - 0.3), jnp.asarray(part.y)) for part in parts]
    rows = train, {"validation": validation, "accuracy": test}
    return rows, jax.tree.map(lambda x: x[..., None] if x.ndim == 3 else x, rows)


def paper_sets(folder: Path, *, cifar: bool):
    """CIFAR-10 or, as bytes, pictures in class folders; and the sequences of HAR-2."""
    images = data.cifar_binary(folder) if cifar else [data.image_folder(folder, part) for part in ("train", "val")]
    return held_out(*images), held_out(*data.uci_har(folder, binary=True))


def blank_sets(shape: tuple[int, ...]):
    """A set of one zero."""
    blank = jnp.zeros((1, *shape)), jnp.zeros(1, int)
    return blank, {"validation": blank, "accuracy": blank}


def held_out(train: data.Dataset, test: data.Dataset):
    """A set whose validation part is a tenth of the training set, drawn once and for all."""
    order = np.random.default_rng(0).permutation(len(train.x))
    n = len(order) - max(1, len(order) // 10)
    kept, validation = ((train.x[rows], train.y[rows]) for rows in (order[:n], order[n:]))
    return kept, {"validation": validation, "accuracy": (test.x, test.y)}


def scaled(x):
    """Bytes to numbers around 0; others as they are."""
    return x.astype(jnp.float32) / 255 - 0.5 if x.dtype == jnp.uint8 else x


def make_problem(net, sets, optimizer, dense, tune, *, batch, smoothing=0.0, vary=False) -> Problem:
    """A `Problem` with cross-entropy on labels smoothed by `smoothing`; with `vary` images are moved and mirrored."""
    train, tests = sets
    sample = data.sampler(*train, batch)

    def sampler(key):
        if not vary:
            x, y = sample(key)
            return scaled(x), y
        key_batch, key_vary = jax.random.split(key)
        x, y = sample(key_batch)
        return shifted_and_flipped(key_vary, scaled(x)), y

    def loss(logits, y):
        target = optax.smooth_labels(jax.nn.one_hot(y, logits.shape[-1]), smoothing)
        return optax.losses.softmax_cross_entropy(logits, target).mean()

    return Problem(net, sampler, tests, scaled, loss, optimizer, dense, tune)
