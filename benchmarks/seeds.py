"""Which way over seeds is fastest here: `python benchmarks/seeds.py`. See `jaxzoo.experiment.seeds.default_way`.

Trains a few seeds of a dense and of a convolutional network by each way, in one process and in turn; the numbers are
seconds of training without compilation, medians, and their ratio to the loop. The last line is JSON.
"""

import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp
import optax

from jaxzoo import data
from jaxzoo.experiment.runner import Runner
from jaxzoo.experiment.seeds import WAYS, default_way
from jaxzoo.layers import MLP, ConvNet
from jaxzoo.train import supervised
from jaxzoo.transforms import as_model


def tasks() -> dict:
    """A dense and a convolutional classifier of digits, in minibatches of 64."""
    digits = data.digits()
    loss = optax.losses.softmax_cross_entropy_with_integer_labels
    flat, image = digits.x.reshape(-1, 64), digits.x[..., None]
    return {
        "dense": supervised(as_model(MLP((128, 128, 10))), loss, data.sampler(flat, digits.y, 64), optax.adam(1e-3)),
        "convolutional": supervised(
            as_model(ConvNet((16, 32), 10)), loss, data.sampler(image, digits.y, 64), optax.adam(1e-3)
        ),
    }


def seconds(task, way: str, seeds: int, steps: int) -> tuple[float, float]:
    """Time to compile, and to train `seeds` seeds."""
    runner = Runner(seeds, jax.random.key(0), way=way)
    begin = time.perf_counter()
    trained = runner.train("train", task, steps)
    assert jnp.isfinite(trained.history["loss"]).all()
    compiled = runner.stages[0].compile_seconds
    return compiled, time.perf_counter() - begin - compiled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for name, task in tasks().items():
        times = {
            way: [seconds(task, way, options.seeds, options.steps) for _ in range(options.repeats)] for way in WAYS
        }
        loop = statistics.median(run for _, run in times["loop"])
        for way in WAYS:
            run = statistics.median(run for _, run in times[way])
            rows.append({"task": name, "way": way, "compile": times[way][0][0], "run": run, "ratio": run / loop})
            print(
                "{task:14} {way:8} compile {compile:6.2f} s  run {run:6.2f} s  {ratio:5.2f} x the loop".format(
                    **rows[-1]
                )
            )
    print(f"default here: {default_way()}")
    print(json.dumps({"backend": jax.default_backend(), "devices": jax.device_count(), **vars(options), "rows": rows}))


if __name__ == "__main__":
    main()
