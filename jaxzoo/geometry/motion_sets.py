"""Simulated data for predictions in space, particles and clouds with normals; and how symmetric a network is."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.geometry.euclidean_frames import (
    Frame,
    eigengap,
    euclidean_frame,
    random_rotations,
    rotations_of,
    to_frame,
)
from jaxzoo.geometry.n_body import nbody_charged
from jaxzoo.geometry.shapes import shape_with_normals
from jaxzoo.geometry.uniform_init import uniform_init
from jaxzoo.layers import MLP
from jaxzoo.transforms import as_model


def body_sets(key, *, train, valid, test):
    """Systems of five particles at time 3, and their positions at time 4.

    Args:
      key: of the systems.
      train, valid, test: number of systems in each part.

    Returns:
      {"train", "valid", "test": (`Bodies`, y [s, 5, 3])}.
    """
    sizes = {"train": train, "valid": valid, "test": test}
    states = jax.vmap(nbody_charged)(jax.random.split(key, sum(sizes.values())))
    pairs = jax.tree.map(lambda a: a[:, 2], states), states.x[:, 3]
    starts = np.cumsum([0, *sizes.values()])
    parts = zip(sizes, starts[:-1], starts[1:], strict=True)
    return {name: jax.tree.map(lambda a, i=i, j=j: a[i:j], pairs) for name, i, j in parts}


def cloud_sets(key, *, train, test, points):
    """Random solids with normals, and rotations for those of the test.

    Args:
      key: of the solids.
      train, test: number of clouds in each part.
      points: of a cloud.

    Returns:
      {"train", "test": (points [c, n, 3], normals), "turns": [test, 3, 3]}.
    """
    key_solid, key_turn = jax.random.split(key)
    keys = jax.random.split(key_solid, train + test)
    solids = jax.vmap(lambda key: shape_with_normals(key, points))(keys)
    parts = {"train": slice(0, train), "test": slice(train, None)}
    sets = {name: jax.tree.map(lambda a, part=part: a[part], solids) for name, part in parts.items()}
    return sets | {"turns": random_rotations(key_turn, test)}


def gap_quantiles(x):
    """Least, 1st percentile and median eigengap of clouds [s, c, n, d], for each seed: [s, 3]."""
    return np.quantile(eigengap(x), (0.0, 0.01, 0.5), axis=1).T


def rotation_error(key, averaged):
    """How far 16 rotations move averages of a random network of 10 points, relative to its spread over clouds.

    Args:
      key: of network, clouds and rotations.
      averaged: numbers of random rotations to average over, ascending.

    Returns:
      {"moved by rotations": [len(averaged)] mean absolute changes, "moved in frame": [2] those over the frames of SE(3)
      and of E(3)}.
    """
    key_net, key_drawn = jax.random.split(key)
    # One draw for clouds, turns and random elements: draws are most of the time to compile.
    drawn, n = jax.random.normal(key_drawn, (16, 30 + 4 + 2 * 4 * averaged[-1])), averaged[-1]
    clouds, turns = drawn[:, :30].reshape(16, 10, 3), rotations_of(drawn[:, 30:34])
    elements = rotations_of(drawn[:, 34:].reshape(-1, 4)).reshape(2 * 16, n, 3, 3)
    # Not tanh: an odd network without biases averages to 0 over the frame of E(3), which has -R with every R.
    model = uniform_init(as_model(MLP((64, 64, 1))))
    params = model.init(key_net, jnp.zeros(30))

    def network(x):
        return model.apply(params, x.ravel())[0]

    def averages(x, rotations):
        """Over 1, 2, 3, ... random rotations, and over both frames, in one pass: one network to compile."""
        proper, whole = euclidean_frame(x, proper=True), euclidean_frame(x)
        every = Frame(jnp.concatenate([proper.rotations, whole.rotations, rotations]), whole.centre)
        y_proper, y_whole, y = jnp.split(jax.vmap(network)(to_frame(x, every)), (4, 12))
        return jnp.cumsum(y) / jnp.arange(1, n + 1), jnp.stack([y_proper.mean(), y_whole.mean()])

    both = jnp.concatenate([clouds, clouds @ turns])
    found = jax.vmap(averages)(both, elements)
    spread = jax.vmap(network)(clouds).std()
    by_rotations, in_frame = (jnp.abs(y[16:] - y[:16]).mean(0) / spread for y in found)
    return {"moved by rotations": by_rotations[np.array(averaged) - 1], "moved in frame": in_frame}
