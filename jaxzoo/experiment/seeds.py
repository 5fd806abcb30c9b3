"""One function over many seeds: by a loop, by vmap, by pmap, or by vmap with the seeds spread over devices."""

import collections
import hashlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

WAYS = ("loop", "vmap", "pmap", "sharded")
KEPT = 64
"""Executables that are kept for programs to come."""
_EXECUTABLES: collections.OrderedDict = collections.OrderedDict()


def default_way() -> str:
    """The way over seeds that suits the backend in use.

    On CPU one compiled program and a loop: the bits of a seed are those it has alone, and memory is that of one seed.
    By `benchmarks/seeds.py` on two cores vmap takes 0.5 of the loop's time for a small dense network, 0.9 for a
    convolutional one, and it saves nothing for attention. On accelerators vmap, spread over the devices if there are
    several.
    """
    if jax.default_backend() == "cpu":
        return "loop"
    return "sharded" if jax.device_count() > 1 else "vmap"


def seed_mesh() -> jax.sharding.Mesh:
    """A mesh of all devices with the one axis "seed", of type Auto: XLA partitions, code reads as if for one device."""
    return jax.make_mesh((jax.device_count(),), ("seed",), axis_types=(AxisType.Auto,))


def seed_count(stacked: Any) -> int:
    """The common size of the leading axis of all leaves."""
    sizes = {leaf.shape[0] if leaf.ndim else None for leaf in jax.tree.leaves(stacked)}
    if len(sizes) != 1 or None in sizes:
        found = ", ".join(sorted(map(str, sizes)))
        raise ValueError(f"expected arrays with one common leading seed axis, got leading sizes {found}")
    return sizes.pop()


@jax.jit
def take(stacked: Any, s: int) -> Any:
    """The values of seed s: leaves [s, ...] -> [...]."""
    return jax.tree.map(lambda x: x[s], stacked)


@jax.jit
def stack(trees: list) -> Any:
    """A list of trees, one a seed -> one tree with leaves [s, ...]."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def over_seeds(function: Callable, shared: tuple, stacked: tuple, *, way: str | None = None) -> tuple[Callable, float]:
    """Compiles `function(*shared, *per_seed)` and maps it over seeds.

    All ways give the same numbers, to the last bits that XLA may round differently in a batched product.

    Args:
      function: of one seed, traceable.
      shared: example arguments that all seeds see alike.
      stacked: example arguments with a leading seed axis [s, ...]; a number of seeds that the devices don't divide is
        padded with copies of the last seed.
      way: one of `WAYS`; by default `default_way()`.

    Returns:
      `(mapped, seconds)`: `mapped(shared, stacked) -> outputs [s, ...]`, and the time it took to compile. `mapped`
      holds one executable: arguments of another shape are an error and never a second compilation.

    Raises:
      ValueError: an unknown way, or arguments without a common seed axis.
    """
    way = default_way() if way is None else way
    if way not in WAYS:
        raise ValueError(f"way: expected one of {', '.join(WAYS)}, got {way!r}")
    n = seed_count(stacked)
    axes = (None,) * len(shared) + (0,) * len(stacked)
    begin = time.perf_counter()
    if way == "loop":
        compiled = executable(jax.jit(function).lower(*shared, *take(stacked, 0)))

        def mapped(shared, stacked):
            # One at a time: more than one under way is no faster, since each uses all cores.
            return stack([jax.block_until_ready(compiled(*shared, *take(stacked, s))) for s in range(n)])
    else:
        devices = {"vmap": 1, "pmap": jax.local_device_count(), "sharded": jax.device_count()}[way]
        shape = jax.eval_shape(partial(spread, devices=devices, folded=way == "pmap"), stacked)
        compiled = compile_over(jax.vmap(function, axes), axes, way, (*jax.eval_shape(lambda x: x, shared), *shape))

        def mapped(shared, stacked):
            arguments = (*shared, *spread(stacked, devices, folded=way == "pmap"))
            out = compiled(*jax.device_put(arguments, compiled.input_shardings[0]))
            return gather(out, n, folded=way == "pmap")

    return mapped, time.perf_counter() - begin


def executable(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Compiles a program, or takes the executable of an equal one: arms and runs that differ in data alone share it."""
    digest = hashlib.sha256(lowered.as_text().encode()).hexdigest()
    key = (digest, lowered.in_tree, lowered.out_tree, str(lowered.args_info))
    if key in _EXECUTABLES:
        _EXECUTABLES.move_to_end(key)
    else:
        _EXECUTABLES[key] = lowered.compile()
        if len(_EXECUTABLES) > KEPT:
            _EXECUTABLES.popitem(last=False)
    return _EXECUTABLES[key]


def compile_over(function: Callable, axes: tuple, way: str, arguments: tuple) -> jax.stages.Compiled:
    """Compiles a function of all seeds for the devices that `way` spreads them over."""
    if way == "pmap":
        return executable(jax.pmap(function, in_axes=axes).lower(*arguments))
    if way == "vmap":
        return executable(jax.jit(function).lower(*arguments))
    mesh = seed_mesh()
    placed = tuple(NamedSharding(mesh, PartitionSpec("seed") if axis == 0 else PartitionSpec()) for axis in axes)
    return executable(jax.jit(function, in_shardings=placed).lower(*arguments))


def spread(stacked: Any, devices: int, *, folded: bool) -> Any:
    """Repeats the last seed until the devices divide their number; folded, leaves are [devices, s / devices, ...]."""
    n = seed_count(stacked)
    if n % devices:
        index = np.minimum(np.arange(-(-n // devices) * devices), n - 1)
        stacked = jax.tree.map(lambda x: x[index], stacked)
    return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), stacked) if folded else stacked


def gather(stacked: Any, n: int, *, folded: bool) -> Any:
    """Undoes `spread`: the first n seeds."""
    if folded:
        stacked = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), stacked)
    return jax.tree.map(lambda x: x if x.shape[0] == n else x[:n], stacked)
