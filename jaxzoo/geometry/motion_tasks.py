"""Predictions in space, trained with data that may be turned at random: later positions, and normals of clouds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo.geometry.euclidean_frames import random_rotations
from jaxzoo.geometry.n_body import Bodies
from jaxzoo.geometry.point_networks import unoriented_error
from jaxzoo.train import on_data, supervised


def squared_error(y_hat, y):
    return jnp.square(y_hat - y).mean()


def random_turns(key, count, wanted):
    """Random rotations [count, 3, 3], transposed to act from the right; identities unless `wanted`, which is traced."""
    return jnp.where(wanted, random_rotations(key, count), jnp.eye(3)[None])


def turn(points, turns):
    """Points [b, n, 3] turned by [b, 3, 3], each cloud by its own."""
    return (points[..., None] * turns[:, None]).sum(-2)


def draw(key, arrays, count, batch):
    """A batch of the first `count` rows, drawn with replacement."""
    # By one draw of floats: integers take two, and draws are most of the time to compile a small program.
    chosen = (jax.random.uniform(key, (batch,)) * count).astype(int)
    return jax.tree.map(lambda a: a[chosen], arrays)


def body_task(model, *, batch, rate):
    """Learns where bodies will be.

    Args:
      model: a `Model` `Bodies` -> [n, 3].
      batch: systems of an update.
      rate: Adam's learning rate.

    Returns:
      A task of the input {"train", "valid", "test": (Bodies, y [s, n, 3]), "count": how many to train on, "augment":
      whether they are turned at random}, which evaluates "test" and "valid", mean squared errors.
    """

    def make(data):
        def sampler(key):
            key_draw, key_turn = jax.random.split(key)
            bodies, y = draw(key_draw, data["train"], data["count"], batch)
            turns = random_turns(key_turn, batch, data["augment"])
            return Bodies(turn(bodies.x, turns), turn(bodies.v, turns), bodies.q), turn(y, turns)

        def evaluate(params):
            # Both parts in one pass, so that the network is compiled once.
            bodies, y = jax.tree.map(lambda *each: jnp.concatenate(each), data["test"], data["valid"])
            errors = jnp.square(jax.lax.map(lambda b: model.apply(params, b), bodies, batch_size=100) - y).mean((1, 2))
            tests = data["test"][1].shape[0]
            return {"test": errors[:tests].mean(), "valid": errors[tests:].mean()}

        optimizer = optax.flatten(optax.adam(rate))  # on one vector there is less to compile
        return supervised(model, squared_error, sampler, optimizer, evaluate=evaluate)

    return on_data(make)


def selected(evaluations):
    """The test error where the validation error is least, for each seed: {"test", "valid": [s, n]} -> [s]."""
    best = np.argmin(evaluations["valid"], axis=1)
    return np.take_along_axis(np.asarray(evaluations["test"]), best[:, None], axis=1)[:, 0]


def cloud_task(model, *, batch, rate):
    """Learns the normals of point clouds, whose sign does not count.

    Args:
      model: a `Model` [n, 3] -> [n, 3] unit vectors; may draw.
      batch: clouds of an update.
      rate: Adam's learning rate.

    Returns:
      A task of the input {"train", "test": (points, normals) [c, n, 3], "turns": [c, 3, 3] rotations of the test
      clouds, "augment": whether training clouds are turned at random}. It evaluates the errors on "aligned" and
      "rotated" test clouds, and "not turned": how far predictions are from turning with the cloud.
    """

    def make(data):
        def sampler(key):
            key_draw, key_turn = jax.random.split(key)
            arrays = draw(key_draw, data["train"], len(data["train"][0]), batch)
            turns = random_turns(key_turn, batch, data["augment"])
            return tuple(turn(each, turns) for each in arrays)

        def evaluate(params):
            (points, normals), turns = data["test"], data["turns"]
            keys = jax.random.split(jax.random.key(0), 2 * points.shape[0])

            both = jnp.concatenate([points, turn(points, turns)])
            found = jax.lax.map(lambda x: model.apply(params, x[0], key=x[1]), (both, keys), batch_size=64)
            aligned, rotated = jnp.split(found, 2)
            error = jax.vmap(unoriented_error)
            return {
                "aligned": error(aligned, normals).mean(),
                "rotated": error(rotated, turn(normals, turns)).mean(),
                "not turned": error(rotated, turn(aligned, turns)).mean(),
            }

        optimizer = optax.flatten(optax.adam(rate))
        return supervised(model, unoriented_error, sampler, optimizer, evaluate=evaluate, stochastic=True)

    return on_data(make)
