"""The runner's steps a second against a hand-written jitted scan of the same training.

`python benchmarks/runner_overhead.py` runs both in one process, in turn; the ratio is the median of pairs. The runner
stores, logs and checks for non-finite values on the way. The last line is JSON.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo.experiment.runner import Runner
from jaxzoo.model import Model
from jaxzoo.train import supervised

X = jnp.asarray(np.random.default_rng(0).normal(size=(1500, 64)), jnp.float32)
Y = jnp.asarray(np.random.default_rng(1).integers(0, 10, 1500))


def task(width: int):
    """A two-layer classifier on minibatches of 64, with Adam."""

    def init(key, x):
        key_in, key_out = jax.random.split(key)
        return {
            "in": jax.random.normal(key_in, (64, width)) / 8,
            "bias": jnp.zeros(width),
            "out": jax.random.normal(key_out, (width, 10)) / width**0.5,
        }

    def apply(params, x, *, key=None):
        return jnp.tanh(x @ params["in"] + params["bias"]) @ params["out"]

    def sampler(key):
        index = jax.random.randint(key, (64,), 0, 1500)
        return X[index], Y[index]

    loss = optax.losses.softmax_cross_entropy_with_integer_labels
    return supervised(Model(init, apply), loss, sampler, optax.adam(1e-3))


def by_hand(training, steps: int):
    """The same training as one jitted scan."""

    @jax.jit
    def run(state, key):
        return jax.lax.scan(
            lambda state, i: training.update(state, jax.random.fold_in(key, i)), state, jnp.arange(steps)
        )

    return run


def seconds_by_hand(training, run, steps: int) -> float:
    key_init, key_run = jax.random.split(jax.random.key(0))
    state = jax.jit(training.init)(key_init)
    jax.block_until_ready(state)
    begin = time.perf_counter()
    jax.block_until_ready(run(state, key_run))
    return time.perf_counter() - begin


def seconds_by_runner(training, steps: int) -> float:
    """The time of the stage without its compilation: host work between chunks and writing to disk are in it."""
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(1, jax.random.key(0), folder=Path(folder))
        begin = time.perf_counter()
        runner.train("train", training, steps)
        return time.perf_counter() - begin - runner.stages[0].compile_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    training = task(options.width)
    run = by_hand(training, options.steps)
    seconds_by_hand(training, run, options.steps)
    pairs = [
        (seconds_by_hand(training, run, options.steps), seconds_by_runner(training, options.steps))
        for _ in range(options.repeats)
    ]
    hand, runner = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"by hand  {options.steps / hand:10.0f} steps/s")
    print(f"runner   {options.steps / runner:10.0f} steps/s   {100 * (ratio - 1):+.1f} %, {options.repeats} pairs")
    print(json.dumps({**vars(options), "hand_seconds": hand, "runner_seconds": runner, "ratio": ratio}))


if __name__ == "__main__":
    main()
