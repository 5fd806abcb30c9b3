"""Convolution and pooling inside a scan: `jaxzoo.ops` against `lax`, forward and backward.

    python benchmarks/conv_in_scan.py [--steps N]

Each row trains two layers for N steps of gradient descent, in one compiled scan. The last columns are the same training
with `lax` in a Python loop around a compiled step, and the ratios of both to `jaxzoo.ops` (more than 1: ops is faster).
"""

import argparse
import time
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxzoo import ops


def lax_conv(x, w, *, stride=1, padding=0, groups=1):
    return lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        ((padding, padding),) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def lax_max_pool(x, window):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *window, 1), "VALID")


def two_convolutions(conv, stride, padding, w, x):
    h = jax.nn.relu(conv(x, w[0], stride=stride, padding=padding))
    return conv(h, w[1], padding=padding)


def depthwise_then_pointwise(conv, padding, w, x):
    return conv(conv(x, w[0], padding=padding, groups=x.shape[-1]), w[1])


def conv_then_pool(conv, pool, w, x):
    return pool(conv(x, w[0], padding=1), (2, 2))


# name: x [b, h, w, c], kernels, the network with jaxzoo.ops, the same with lax
CASES = {
    "3x3, 8x8x16": (
        (32, 8, 8, 16),
        [(3, 3, 16, 32), (3, 3, 32, 32)],
        partial(two_convolutions, ops.conv, 1, 1),
        partial(two_convolutions, lax_conv, 1, 1),
    ),
    "3x3 stride 2, 16x16x16": (
        (32, 16, 16, 16),
        [(3, 3, 16, 32), (3, 3, 32, 32)],
        partial(two_convolutions, ops.conv, 2, 1),
        partial(two_convolutions, lax_conv, 2, 1),
    ),
    "3x3, 32x32x3": (
        (8, 32, 32, 3),
        [(3, 3, 3, 32), (3, 3, 32, 32)],
        partial(two_convolutions, ops.conv, 1, 1),
        partial(two_convolutions, lax_conv, 1, 1),
    ),
    "5x5, 28x28x1": (
        (32, 28, 28, 1),
        [(5, 5, 1, 16), (5, 5, 16, 16)],
        partial(two_convolutions, ops.conv, 1, 2),
        partial(two_convolutions, lax_conv, 1, 2),
    ),
    "depthwise 3x3 + 1x1, 16x16x32": (
        (32, 16, 16, 32),
        [(3, 3, 1, 32), (1, 1, 32, 32)],
        partial(depthwise_then_pointwise, partial(ops.conv, padding=0), 1),
        partial(depthwise_then_pointwise, lax_conv, 1),
    ),
    "3x3 + max pool, 16x16x8": (
        (32, 16, 16, 8),
        [(3, 3, 8, 16)],
        partial(conv_then_pool, ops.conv, ops.max_pool),
        partial(conv_then_pool, ops.conv, lax_max_pool),
    ),
}


def training_step(network, w, x):
    gradients = jax.grad(lambda w: jnp.square(network(w, x)).mean())(w)
    return jax.tree.map(lambda p, g: p - 0.01 * g, w, gradients)


def in_scan(network, steps):
    return jax.jit(lambda w, x: lax.scan(lambda w, _: (training_step(network, w, x), None), w, length=steps)[0])


def in_loop(network, steps):
    step = jax.jit(partial(training_step, network))

    def run(w, x):
        for _ in range(steps):
            w = step(w, x)
        return w

    return run


def seconds(run, w, x, repeats=3):
    """The least wall time of some runs, after one that compiles."""
    jax.block_until_ready(run(w, x))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run(w, x))
        times.append(time.perf_counter() - start)
    return min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="training steps in each scan")
    steps = parser.parse_args().steps
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}, ms per step")
    print(f"{'':30}{'ops scan':>10}{'lax scan':>10}{'lax loop':>10}{'scan ratio':>12}{'loop ratio':>12}")
    for name, (x_shape, w_shapes, with_ops, with_lax) in CASES.items():
        keys = jax.random.split(jax.random.key(0), len(w_shapes) + 1)
        x = jax.random.normal(keys[0], x_shape)
        w = [0.1 * jax.random.normal(key, shape) for key, shape in zip(keys[1:], w_shapes, strict=True)]
        runs = in_scan(with_ops, steps), in_scan(with_lax, steps), in_loop(with_lax, steps)
        ours, scan, loop = (1e3 * seconds(run, w, x) / steps for run in runs)
        print(f"{name:30}{ours:10.2f}{scan:10.2f}{loop:10.2f}{scan / ours:12.1f}{loop / ours:12.1f}", flush=True)


if __name__ == "__main__":
    main()
