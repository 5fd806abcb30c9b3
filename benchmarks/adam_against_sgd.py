"""Adam against gradient descent on 8x8 digits: every kind of stage in a few seconds, for `kill_resume.py`.

Claimed by Kingma and Ba (2014; arXiv 1412.6980): Adam makes more of the same number of updates. Two trainings with
dropout, a compiled measurement and a plain-Python one, so that a kill can hit any of them.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo import data
from jaxzoo.experiment import Claim, Paper, setting
from jaxzoo.model import Model
from jaxzoo.train import supervised

PAPER = Paper(title="Adam: a method for stochastic optimization", authors="Kingma, Ba", year=2014, arxiv="1412.6980")


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(3, "networks of each kind", low=2)
    steps: int = setting(1500, "updates of a network", low=1)
    every: int = setting(50, "updates between two evaluations", low=1)
    width: int = setting(64, "hidden units", low=1)


PRESETS = {"smoke": Config(2, steps=20), "default": Config(), "paper": Config(seeds=10, steps=20_000)}


def perceptron(width: int) -> Model:
    """64 pixels, one hidden layer with dropout, 10 classes."""

    def init(key, x):
        key_in, key_out = jax.random.split(key)
        return {
            "in": jax.random.normal(key_in, (64, width)) / 8,
            "bias": jnp.zeros(width),
            "out": jax.random.normal(key_out, (width, 10)) / width**0.5,
        }

    def apply(params, x, *, key=None):
        hidden = jnp.tanh(x @ params["in"] + params["bias"])
        if key is not None:
            hidden = jnp.where(jax.random.bernoulli(key, 0.9, hidden.shape), hidden / 0.9, 0.0)
        return hidden @ params["out"]

    return Model(init, apply)


def run(config, runner):
    digits = data.digits()
    x, y = jnp.asarray(digits.x).reshape(-1, 64), jnp.asarray(digits.y)
    model = perceptron(config.width)

    def accuracy(params):
        return {"accuracy": jnp.mean(jax.vmap(model.apply, (None, 0))(params, x[1500:]).argmax(-1) == y[1500:])}

    def fit(arm, optimizer):
        loss = optax.losses.softmax_cross_entropy_with_integer_labels
        sampler = data.sampler(x[:1500], y[:1500], 32)
        task = supervised(model, loss, sampler, optimizer, evaluate=accuracy, stochastic=True)
        return runner.train(f"net/{arm}", task, config.steps, evaluate_every=config.every).state.params

    def with_noise(key, params):
        return accuracy(params | {"bias": jax.random.normal(key, params["bias"].shape)})

    def norm(key, params):
        return {"norm": np.linalg.norm(params["out"]) + float(jax.random.uniform(key))}

    adam, sgd = fit("adam", optax.adam(1e-3)), fit("sgd", optax.sgd(1e-3))
    noisy, norms = runner.map("noisy", with_noise, adam), runner.each("norm", norm, adam)
    accuracies = {name: jax.vmap(accuracy)(params)["accuracy"] for name, params in (("adam", adam), ("sgd", sgd))}
    return accuracies | {"noisy": noisy["accuracy"], "norm": norms["norm"]}


CLAIMS = (
    Claim(
        id="C1",
        says="After the same number of updates Adam is ahead.",
        source="Fig. 1",
        paper_value="a lower training cost at every epoch",
        measure=lambda r: r["adam"] - r["sgd"],
        at_least=0.05,
        no_effect=0.0,
    ),
)


def plot(results, figure):
    axes = figure.subplots()
    axes.boxplot([results["adam"], results["sgd"]], tick_labels=["Adam", "gradient descent"])
    axes.set_ylabel("accuracy")
