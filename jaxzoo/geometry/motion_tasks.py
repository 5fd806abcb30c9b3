"""Predictions in space, trained with data that may be turned at random: later positions, and normals of clouds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo.geometry.euclidean_frames import rotations_of, uniform_quaternions
from jaxzoo.geometry.n_body import Bodies
from jaxzoo.geometry.point_networks import unoriented_error
from jaxzoo.train import Task, on_data, supervised

TURNED = 100
"""Systems of the test, at most, that are turned to see whether predictions turn with them."""


def traced_once(task):
    """The task, traced for its first arm alone: those that share it, and differ in data, find it traced."""
    return Task(jax.jit(task.init), jax.jit(task.update), jax.jit(task.evaluate))


def squared_error(y_hat, y):
    return jnp.square(y_hat - y).mean()


def random_turns(u, wanted):
    """Random rotations [b, 3, 3] of uniform numbers [b, 3]; identities unless `wanted`, which is traced."""
    return jnp.where(wanted, rotations_of(uniform_quaternions(u)), jnp.eye(3)[None])


def fixed_motions(count):
    """Random orthogonal matrices [count, 3, 3], always the same: made on the host, they cost no compilation."""
    return np.linalg.qr(np.random.default_rng(0).normal(size=(count, 3, 3)))[0].astype(np.float32)


def turn(points, turns):
    """Points [b, n, 3] turned by [b, 3, 3], each cloud by its own."""
    return (points[..., None] * turns[:, None]).sum(-2)


def draw(key, arrays, count, batch, wanted):
    """A batch of the first `count` rows, drawn with replacement, and rotations for it as from `random_turns`."""
    # Of one draw of floats: draws are most of the time to compile a small program.
    u = jax.random.uniform(key, (batch, 4))
    chosen = (u[:, 0] * count).astype(int)
    return jax.tree.map(lambda a: a[chosen], arrays), random_turns(u[:, 1:], wanted)


def body_task(make_model, *, batch, rate, stochastic=False):
    """Learns where bodies will be.

    Args:
      make_model: `make_model(random) -> Model` of `Bodies` -> [n, 3]. `random` is the boolean of that name in the data,
        traced, so that arms which differ in it share one program.
      batch: systems of an update.
      rate: Adam's learning rate.
      stochastic: whether the model draws, and so needs a key.

    Returns:
      A task of the input {"train", "valid", "test": (Bodies, y [s, n, 3]), "count": how many to train on, "augment":
      whether they are turned at random, "random"}. It evaluates "test" and "valid", mean squared errors, and "not
      turned": the root mean square of how far predictions of test systems are from turning with them, reflections too.
    """

    def make(data):
        model = make_model(data["random"])

        def sampler(key):
            (bodies, y), turns = draw(key, data["train"], data["count"], batch, data["augment"])
            return Bodies(turn(bodies.x, turns), turn(bodies.v, turns), bodies.q), turn(y, turns)

        def evaluate(params):
            # All parts in one pass, so that the network is compiled once.
            (test, exact), (valid, exact_valid) = data["test"], data["valid"]
            tests, turns = len(exact), fixed_motions(min(TURNED, len(exact)))
            some = jax.tree.map(lambda a: a[: len(turns)], test)
            turned = Bodies(turn(some.x, turns), turn(some.v, turns), some.q)
            bodies = jax.tree.map(lambda *each: jnp.concatenate(each), test, valid, turned)
            keys = jax.random.split(jax.random.key(0), len(bodies.x)) if stochastic else None
            y = jax.lax.map(lambda x: model.apply(params, x[0], key=x[1]), (bodies, keys), batch_size=100)
            y, y_valid, y_turned = jnp.split(y, (tests, len(bodies.x) - len(turns)))
            return {
                "test": squared_error(y, exact),
                "valid": squared_error(y_valid, exact_valid),
                "not turned": jnp.sqrt(squared_error(y_turned, turn(y[: len(turns)], turns))),
            }

        optimizer = optax.flatten(optax.adam(rate))  # on one vector there is less to compile
        return supervised(model, squared_error, sampler, optimizer, evaluate=evaluate, stochastic=stochastic)

    return traced_once(on_data(make))


def selected(evaluations):
    """The test error where the validation error is least, for each seed: {"test", "valid": [s, n]} -> [s]."""
    best = np.argmin(evaluations["valid"], axis=1)
    return np.take_along_axis(np.asarray(evaluations["test"]), best[:, None], axis=1)[:, 0]


def cloud_task(make_model, *, batch, rate):
    """Learns the normals of point clouds, whose sign does not count.

    Args:
      make_model: `make_model(random) -> Model` [n, 3] -> [n, 3] unit vectors, which may draw; as in `body_task`.
      batch: clouds of an update.
      rate: Adam's learning rate.

    Returns:
      A task of the input {"train", "test": (points, normals) [c, n, 3], "turns": [c, 3, 3] rotations of the test
      clouds, "augment": whether training clouds are turned at random, "random"}. It evaluates the errors on "aligned"
      and "rotated" test clouds, and "not turned": how far predictions are from turning with the cloud.
    """

    def make(data):
        model = make_model(data["random"])

        def sampler(key):
            arrays, turns = draw(key, data["train"], len(data["train"][0]), batch, data["augment"])
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

    return traced_once(on_data(make))
