"""Convolutional networks in stages, with batch norm, that can be cut to any width and depth.

A stem, stages of blocks, and a linear head on the mean over the pixels. The first block of a stage changes its size and
is always in use. Every other one is a residual branch and a step of depth: the second blocks of all stages come first,
stage by stage, then the third ones, so that every stage keeps its first blocks. A width keeps the first channels of
every stage and of every hidden layer.

Batch norm takes its statistics from the batch in training, so that each sub-network of an update has its own. For use
afterwards `params["statistics"]` holds running ones, and each sub-network needs those of its own
(`nested_measures.recalibrated`).
"""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo import ops
from jaxzoo.elastic.nested import BATCH, Dimensions, NestedModel, exits_by_depth, keep, share


class Stage(NamedTuple):
    """A stage.

    Attributes:
      channels: that it puts out.
      repeats: blocks after the first one.
      stride: of the first block.
      expand: hidden channels of a block, in multiples of those that it takes in.
    """

    channels: int
    repeats: int
    stride: int = 1
    expand: int = 1


class Block(NamedTuple):
    """A kind of block.

    Attributes:
      kernels: `kernels(into, hidden, out) -> {name: (kh, kw, in, out)}`, in their order; called with numbers of
        channels and with names of axes.
      branch: `branch(conv, x, hidden, out, stride, expand) -> y`; `conv(name, x, mask, **options)` is convolution, norm
        and mask; hidden and out are masks.
      join: `join(x, y) -> x` of a block that keeps the size.
      enter: `enter(x, y, stride) -> x` of the first block of a stage.
      activation: after the stem and the last convolution.
      strided: name of the kernel with the stride, for counting products.
    """

    kernels: Callable
    branch: Callable
    join: Callable
    enter: Callable
    activation: Callable
    strided: str


def staged_net(block, stages, *, width, stem, last=None, channels=3, side=32, outputs=10):
    """A network as a `NestedModel` on one image [h, w, c], logits [outputs].

    Args:
      block: a `Block`.
      stages: `Stage`s.
      width: number of widths; a sub-network of the width w has the share w / width of all channels, rounded up.
      stem: channels of the first 3x3 convolution.
      last: channels of a 1x1 convolution before the head, or None for none.
      channels: of the image.
      side: of the image, pixels; for `macs` alone.
      outputs: number of logits.

    Returns:
      `NestedModel`; its depth counts the blocks that can be left out.
    """
    sizes, parts = _parts(block, stages, stem, last, channels)
    dims = Dimensions(width, sizes, *_depths([stage.repeats for stage in stages]))
    ends = f"stage{len(stages) - 1}" if last is None else "last"

    def init(key):
        flat, tree = jax.tree.flatten(parts, is_leaf=_is_kernel)
        keys = jax.random.split(key, len(flat) + 1)
        shapes = [tuple(sizes.get(n, n) if isinstance(n, str) else n for n in kernel) for kernel in flat]
        counts = [stages[int(k[0][6:])].repeats if isinstance(k[0], str) else None for k in flat]
        units = [_init_unit(key, s, n) for key, s, n in zip(keys[1:], shapes, counts, strict=True)]
        weights, statistics = (jax.tree.unflatten(tree, [unit[i] for unit in units]) for i in (0, 1))
        kernel = sizes[ends] ** -0.5 * jax.random.normal(keys[0], (sizes[ends], outputs))
        return weights | {"out": {"kernel": kernel, "bias": jnp.zeros(outputs)}, "statistics": statistics}

    def axes():
        named = lambda kernel: tuple(n if isinstance(n, str) else None for n in kernel)  # noqa: E731
        ends_of = lambda kernel: (*(kernel[:1] if len(kernel) == 5 else ()), kernel[-1])  # noqa: E731
        weight = lambda k: {"kernel": named(k), "scale": ends_of(k), "bias": ends_of(k)}  # noqa: E731
        moment = lambda k: {"mean": ends_of(k), "var": ends_of(k)}  # noqa: E731
        weights, statistics = (jax.tree.map(f, parts, is_leaf=_is_kernel) for f in (weight, moment))
        return weights | {"out": {"kernel": (ends, None), "bias": (None,)}, "statistics": statistics}

    def forward(params, x, active, *, train=False):
        return _forward(block, stages, dims, params, x, active, train)

    def apply(params, x, active=None):
        return forward(params, x, active)[0]

    return NestedModel(
        init,
        apply,
        exits_by_depth(apply, dims),
        dims,
        axes(),
        lambda w, l: _macs(block, stages, dims, parts, w, l, side) + share(sizes[ends], w, dims) * outputs,
        train_apply=lambda params, x, active: forward(params, x, active, train=True)[0],
        statistics=lambda params, x, active: forward(params, x, active, train=True)[1],
    )


def _is_kernel(x):
    return isinstance(x, tuple)


def _depths(repeats):
    """The depth of the whole network, and for each stage's axis of blocks the step of depth of each."""
    order = [s for p in range(max(repeats)) for s, count in enumerate(repeats) if p < count]
    stages = {f"blocks{s}": tuple(i for i, owner in enumerate(order) if owner == s) for s in range(len(repeats))}
    return len(order), stages


def _parts(block, stages, stem, last, channels):
    """Sizes of all named axes, and the kernels of the network by the names of their axes."""
    sizes, parts, before = {"stem": stem}, {"stem": (3, 3, channels, "stem"), "stages": []}, "stem"
    for s, stage in enumerate(stages):
        out = f"stage{s}"
        sizes[out] = stage.channels
        hidden = [before, out] if stage.expand == 1 else [f"first{s}", f"hidden{s}"]
        sizes |= {name: stage.expand * sizes[n] for name, n in zip(hidden, (before, out), strict=True)}
        rest = {n: (f"blocks{s}", *kernel) for n, kernel in block.kernels(out, hidden[1], out).items()}
        first = block.kernels(before, hidden[0], out)
        parts["stages"].append({"first": first} | ({"rest": rest} if stage.repeats else {}))
        before = out
    if last is not None:
        sizes["last"], parts["last"] = last, (1, 1, before, "last")
    return sizes, parts


def _init_unit(key, shape, count):
    """Kernel and affine of one convolution with its norm, and running statistics; `count` of them, or one if None."""
    lead, shape = ((), shape) if count is None else ((count,), shape[1:])
    kernel = math.sqrt(2 / math.prod(shape[:-1])) * jax.random.normal(key, (*lead, *shape))
    ones, zeros = jnp.ones((*lead, shape[-1])), jnp.zeros((*lead, shape[-1]))
    return {"kernel": kernel, "scale": ones, "bias": zeros}, {"mean": zeros, "var": ones}


def _forward(block, stages, dims, params, x, active, train):
    """Logits, and the statistics that the norms used or, in training, found."""
    masks = {} if active is None else active.masks
    found = {"stages": []}
    known = params["statistics"]
    x, found["stem"] = _unit(params["stem"], known["stem"], x, masks.get("stem"), train)
    x, before = block.activation(x), "stem"
    for s, (stage, weights, running) in enumerate(zip(stages, params["stages"], known["stages"], strict=True)):
        hidden = [before, f"stage{s}"] if stage.expand == 1 else [f"first{s}", f"hidden{s}"]
        out, stride = masks.get(f"stage{s}"), stage.stride
        run = partial(_branch, block, train, stage.expand)
        y, seen = run(weights["first"], running["first"], x, masks.get(hidden[0]), out, stride)
        x, found_here, before = keep(block.enter(x, y, stride), out), {"first": seen}, f"stage{s}"
        if stage.repeats:
            inner = masks.get(hidden[1])
            flags = None if active is None else active.blocks[np.array(dims.stages[f"blocks{s}"])]

            def step(x, layer, run=run, inner=inner, out=out):
                weights, running, flag = layer
                y, seen = run(weights, running, x, inner, out, 1)
                return block.join(x, y if flag is None else jnp.where(flag, y, 0)), seen

            x, found_here["rest"] = jax.lax.scan(step, x, (weights["rest"], running["rest"], flags))
        found["stages"].append(found_here)
    if "last" in params:
        x, found["last"] = _unit(params["last"], known["last"], x, masks.get("last"), train)
        x = keep(block.activation(x), masks.get("last"))
    return x.mean((0, 1)) @ params["out"]["kernel"] + params["out"]["bias"], found


def _branch(block, train, expand, weights, running, x, hidden, out, stride):
    """The branch of a block, and the statistics of its norms."""
    seen = {}

    def conv(name, x, mask, **options):
        y, seen[name] = _unit(weights[name], running[name], x, mask, train, **options)
        return y

    return block.branch(conv, x, hidden, out, stride, expand), seen


def _unit(weights, running, x, mask, train, **options):
    """Convolution, batch norm and mask of one image; and the statistics."""
    state = ops.BatchState(running["mean"], running["var"], jnp.int32(0))
    options = {"padding": (weights["kernel"].shape[0] - 1) // 2} | options
    y = ops.conv(x, weights["kernel"], **options)
    axis = {"axis_name": BATCH, "momentum": 1.0} if train else {}
    y, state = ops.batch_norm(y, weights["scale"], weights["bias"], state, train=train, **axis)
    return keep(y, mask), {"mean": state.mean, "var": state.var}


def _macs(block, stages, dims, parts, w, l, side):
    """Products of all convolutions on one image."""
    entries = {name: share(size, w, dims) for name, size in dims.sizes.items()}
    cost = lambda kernel: math.prod(entries[n] if isinstance(n, str) else n for n in kernel)  # noqa: E731
    total = side**2 * cost(parts["stem"])
    for s, (stage, kernels) in enumerate(zip(stages, parts["stages"], strict=True)):
        early = itertools.takewhile(lambda name: name != block.strided, kernels["first"])
        before, side = side, -(-side // stage.stride)
        total += (before**2 - side**2) * sum(cost(kernels["first"][name]) for name in early)
        total += side**2 * sum(map(cost, kernels["first"].values()))
        blocks = sum(step < l for step in dims.stages[f"blocks{s}"])
        total += blocks * side**2 * sum(cost(kernel[1:]) for kernel in kernels.get("rest", {}).values())
    return total + (side**2 * cost(parts["last"]) if "last" in parts else 0)
