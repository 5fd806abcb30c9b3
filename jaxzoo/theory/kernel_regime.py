"""Trainings whose course the tangent kernel foretells: full-batch gradient descent on |f(X) - y|^2 / (2 N).

Models have one output here: `apply(params, x) -> f` of shape [].
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.model import Model
from jaxzoo.theory.neural_tangent_kernel import kernel_pca_rates, ntk_mlp
from jaxzoo.train import Task
from jaxzoo.transforms import ntk


class Training(NamedTuple):
    """A training under way.

    Attributes:
      params: of the network, or of several with a leading axis.
      x: [n, d] inputs.
      y: [n] targets, or those of each network.
      before: what was measured before the first step.
    """

    params: Any
    x: jax.Array
    y: jax.Array
    before: Any


def scalar_ntk_mlp(width, depth, beta):
    """`ntk_mlp` with `depth` layers, hidden ones of equal width, and one output."""
    model = ntk_mlp((width,) * (depth - 1) + (1,), beta=beta)
    return Model(model.init, lambda params, x, *, key=None: model.apply(params, x)[0])


def in_standard_parameterisation(model, beta):
    """The same functions as an `ntk_mlp`'s at initialisation, with its factors 1 / sqrt(n) and beta in the parameters.

    Their tangent kernel grows with the width, and so has the learning rate to fall with it.
    """

    def times(power, params):
        return [{"w": p["w"] * p["w"].shape[1] ** (-power / 2), "b": p["b"] * beta**power} for p in params]

    def apply(params, x, *, key=None):
        return model.apply(times(-1, params), x)

    return Model(lambda key, x: times(1, model.init(key, x)), apply)


def descend(apply, params, x, y, *, rate):
    """One step of gradient descent on |f(X) - y|^2 / (2 N).

    Args:
      apply: `apply(params, x) -> f`, a scalar.
      params: where to step from.
      x: [n, ...] inputs X.
      y: [n] targets.
      rate: learning rate.

    Returns:
      `(params, error)`: the parameters after the step, and f(X) - y [n] before it.
    """
    f, pull_back = jax.vjp(lambda params: jax.vmap(apply, (None, 0))(params, x), params)
    (gradient,) = pull_back((f - y) / len(y))
    return jax.tree.map(lambda p, g: p - rate * g, params, gradient), f - y


def cost(error):
    """|f(X) - y|^2 / (2 N), the mean over networks where there are several."""
    return jnp.mean(error**2) / 2


def product_regression(model, points, measure, *, rate):
    """Learns y = x_1 x_2 from points drawn from N(0, I_2).

    Args:
      model: of inputs [2].
      points: N.
      measure: `measure(params)`, kept as `before`.
      rate: learning rate.

    Returns:
      A task with state `Training` and the scalar "loss", before each step and in evaluations.
    """

    def init(key):
        key_params, key_x = jax.random.split(key)
        x = jax.random.normal(key_x, (points, 2))
        params = model.init(key_params, x[0])
        return Training(params, x, x[:, 0] * x[:, 1], measure(params))

    def update(training, key):
        params, error = descend(model.apply, *training[:3], rate=rate)
        return training._replace(params=params), {"loss": cost(error)}

    def evaluate(training):
        return {"loss": cost(descend(model.apply, *training[:3], rate=rate)[1])}

    return Task(init, update, evaluate)


def ensemble_regression(model, networks, x, y, *, rate):
    """Trains independent networks on the same points.

    Args:
      model: the network.
      networks: how many.
      x: [n, d] inputs.
      y: [n] targets.
      rate: learning rate.

    Returns:
      A task whose state is the parameters, leaves [networks, ...], with the scalar "loss", before each step.
    """

    def init(key):
        return jax.vmap(model.init, (0, None))(jax.random.split(key, networks), x[0])

    def update(params, key):
        params, error = jax.vmap(lambda params: descend(model.apply, params, x, y, rate=rate))(params)
        return params, {"loss": cost(error)}

    return Task(init, update)


def direction_regression(model, inputs, examples, which, *, rate):
    """Learns along principal directions v_k of the network's own kernel (Sec. 6.3): y = f_0(X) + sqrt(N) v_k / 2.

    One copy of the network for each direction, all from the same start.

    Args:
      model: the network.
      inputs: [m, d]; each seed draws its own N of them.
      examples: N.
      which: numbers k of the directions; v_1 is the fastest.
      rate: learning rate.

    Returns:
      A task with state `Training`, of which `before` is {"v": [k, n], "rates": lambda_k / N [k]}, and the scalars "v1",
      ...: the component of y - f along v_k, 1 before the first step.
    """
    scale = np.sqrt(examples) / 2

    def init(key):
        key_params, key_x = jax.random.split(key)
        chosen = jax.lax.top_k(jax.random.uniform(key_x, len(inputs)), examples)[1]
        x = inputs[chosen]
        params = model.init(key_params, x[0])
        rates, vectors = kernel_pca_rates(ntk(model.apply, impl="vjp")(params, x))
        index = np.array(which) - 1
        v = vectors[:, index].T
        y = jax.vmap(model.apply, (None, 0))(params, x)[None] + scale * v
        copies = jax.tree.map(lambda p: jnp.broadcast_to(p, (len(which), *p.shape)), params)
        return Training(copies, x, y, {"v": v, "rates": rates[index]})

    def update(training, key):
        step = partial(descend, model.apply, rate=rate)
        params, error = jax.vmap(step, (0, None, 0))(*training[:3])
        left = -jnp.sum(error * training.before["v"], 1) / scale
        return training._replace(params=params), {f"v{k}": left[i] for i, k in enumerate(which)}

    return Task(init, update)


def decay_rate(component, time, *, until=0.3):
    """The slope of -log(component) against time, by least squares, while it falls from 1 to `until`.

    Args:
      component: [t] NumPy array, 1 at first.
      time: [t].
      until: where the fit ends.

    Returns:
      A float; NaN where the component does not fall so far, or does so in one step.
    """
    steps = np.argmax(component < until)
    if steps < 2:
        return np.nan
    return -np.polyfit(time[:steps], np.log(component[:steps]), 1)[0]
