"""Training of papers' methods beside straightforward PyTorch versions of them, on the same CPU.

    pip install torch==2.13.0      # or any CPU build
    python benchmarks/against_torch.py [--repeats 7]

Each side makes the same number of updates of the default run's first arm, drawing its own minibatches: ours as the
experiment does, in one compiled loop; PyTorch eagerly, in a loop over updates. The two run in turns, and the ratio of
the medians is what counts; compilation, 1 to 10 s, is not in it.
"""

import argparse
import importlib.util
import itertools
import json
import os
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from jaxzoo import data
from jaxzoo.train.loop import make_advance, trace_task

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def experiment(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ours(task, steps, *inputs):
    """A function that makes `steps` updates of a task."""
    key = jax.random.key(0)
    traced = trace_task(task, key, *inputs)
    advance = jax.jit(make_advance(traced.update, steps))
    state = jax.jit(traced.init.pure)(traced.init.constants, key, *inputs)
    return lambda: jax.block_until_ready(advance(traced.update.constants, 0, steps, state, key))


def theirs(net, loss, x, y, batch, steps, rate):
    """The same in PyTorch; x is a tuple of tensors."""
    optimizer = torch.optim.Adam(net.parameters(), rate)

    def run():
        for step in range(steps):
            chosen = torch.randint(0, len(y), (batch,))
            optimizer.zero_grad()
            loss(net(*(part[chosen] for part in x), step / steps), y[chosen]).backward()
            optimizer.step()

    return run


class Series(nn.Module):
    """VanillaNet's activation: a depthwise convolution of the ReLU, then a batch norm."""

    def __init__(self, channels, n):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 2 * n + 1, padding=n, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels, eps=1e-6)

    def forward(self, x):
        return self.norm(self.conv(torch.relu(x)))


class VanillaNet(nn.Module):
    """The training form, activations fading with the share of updates made."""

    def __init__(self, channels, classes, dims, strides, n, stem):
        super().__init__()
        self.strides = (1, *strides)
        pairs = [(channels, dims[0], dims[0], stem)]
        pairs += [(wide, wide, narrow, 1) for wide, narrow in itertools.pairwise(dims)]
        self.first = nn.ModuleList(nn.Sequential(nn.Conv2d(a, b, k, k), nn.BatchNorm2d(b)) for a, b, _, k in pairs)
        self.second = nn.ModuleList(nn.Sequential(nn.Conv2d(b, c, 1), nn.BatchNorm2d(c)) for _, b, c, _ in pairs)
        self.act = nn.ModuleList(Series(c, n) for *_, c, _ in pairs)
        self.head = nn.ModuleList([nn.Linear(dims[-1], classes), nn.BatchNorm1d(classes), nn.Linear(classes, classes)])

    def forward(self, x, share):
        lam = min(1.0, 2 * share)
        for first, second, act, stride in zip(self.first, self.second, self.act, self.strides, strict=True):
            x = second(nn.functional.leaky_relu(first(x), lam))
            x = act(nn.functional.max_pool2d(x, stride) if stride > 1 else x)
        first, norm, second = self.head
        return second(nn.functional.leaky_relu(norm(first(x.mean((2, 3)))), lam))


class DeepONet(nn.Module):
    """Branch, trunk and their inner product."""

    def __init__(self, sensors, width):
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(sensors, width), nn.ReLU(), nn.Linear(width, width))
        self.trunk = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, u, y, share):
        return (self.branch(u) * self.trunk(y)).sum(1) + self.offset


def vanillanet(steps):
    module = experiment(EXPERIMENTS / "vision" / "vanillanet.py")
    config = module.Config()
    recipe, (sampler, test) = module.recipe_of(config), module.cluttered(config, None)
    task = module.arm_task(config, sampler, test)
    net = VanillaNet(1, config.classes, recipe.dims, recipe.strides, config.n, config.stem)
    digits, _ = data.split(data.digits(), 0, (1000, 797))
    x, y, _ = data.cluttered_digits(jax.random.key(0), digits.x, digits.y, config.train)
    x, y = torch.from_numpy(np.array(x))[:, None], torch.from_numpy(np.array(y)).long()
    other = theirs(net, nn.functional.cross_entropy, (x,), y, config.batch, steps, recipe.rate)
    return ours(task, steps, jnp.float32(steps / 2)), other


def deeponet(steps):
    module = experiment(EXPERIMENTS / "science" / "deeponet.py")
    config = module.Config(test=1000)
    train, test = module.both_sets(module.ANTIDERIVATIVE, config)
    task = module.regression(config, module.unstacked(config), train, test, config.steps)
    (u, y), s = (jax.tree.map(lambda x: torch.from_numpy(np.array(x)), part) for part in train)
    net = DeepONet(config.sensors, config.width)
    other = theirs(net, nn.functional.mse_loss, (u, y), s, config.batch, steps, config.rate)
    return ours(task, steps), other


def seconds(run):
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(os.cpu_count())
    for name, make, steps in (("vanillanet", vanillanet, 50), ("deeponet", deeponet, 500)):
        runs = dict(zip(("ours", "torch"), make(steps), strict=True))
        for run in runs.values():
            run()
        times = {side: [] for side in runs}
        for _ in range(repeats):
            for side, run in runs.items():
                times[side].append(seconds(run) / steps)
        medians = {side: statistics.median(values) for side, values in times.items()}
        row = {"paper": name, "updates": steps, "repeats": repeats, "cores": os.cpu_count(), "jax": jax.__version__}
        row |= {"torch": torch.__version__} | {f"{side}_ms": round(1e3 * m, 4) for side, m in medians.items()}
        print(json.dumps(row | {"torch_over_ours": round(medians["torch"] / medians["ours"], 2)}), flush=True)


if __name__ == "__main__":
    main()
