"""Simulated data for predictions in space, particles and clouds with normals; and how symmetric a network is."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.geometry.euclidean_frames import eigengap, random_rotations
from jaxzoo.geometry.frame_averaging import frame_average, ga_average
from jaxzoo.geometry.n_body import nbody_charged
from jaxzoo.geometry.shapes import shape_with_normals
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
    gaps = jax.vmap(jax.vmap(eigengap))(x)
    return jnp.quantile(gaps, jnp.array([0.0, 0.01, 0.5]), axis=1).T


def rotation_error(key, averaged):
    """How far 16 rotations move averages of a random network of 10 points, relative to its spread over clouds.

    Args:
      key: of network, clouds and rotations.
      averaged: numbers of random rotations to average over, ascending.

    Returns:
      {"moved by rotations": [len(averaged)] mean absolute changes, "moved in frame": [2] those over the frames of SE(3)
      and of E(3)}.
    """
    key_net, key_x, key_turn, key_ga = jax.random.split(key, 4)
    clouds, turns = jax.random.normal(key_x, (16, 10, 3)), random_rotations(key_turn, 16)
    # Not tanh: an odd network without biases averages to 0 over the frame of E(3), which has -R with every R.
    mlp = as_model(MLP((64, 64, 1)))
    params = mlp.init(key_net, jnp.zeros(30))

    def network(params, x):
        return mlp.apply(params, x.ravel())[0]

    def means(x, key):
        """Over 1, 2, 3, ... random rotations."""
        one = jax.vmap(lambda key: ga_average(network, 1)(params, x, key=key))
        return jnp.cumsum(one(jax.random.split(key, averaged[-1]))) / jnp.arange(1, averaged[-1] + 1)

    def framed(x, _):
        return jnp.stack([frame_average(network, group=group)(params, x) for group in ("SE", "E")])

    spread = jax.vmap(network, (None, 0))(params, clouds).std()
    both = jnp.concatenate([clouds, clouds @ turns])
    keys = jax.random.split(key_ga, 32)

    def moved(average):
        before, after = jnp.split(jax.vmap(average)(both, keys), 2)
        return jnp.abs(after - before).mean(0) / spread

    return {"moved by rotations": moved(means)[np.array(averaged) - 1], "moved in frame": moved(framed)}
