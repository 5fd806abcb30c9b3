"""One function over many seeds: by a loop, by vmap, by pmap, or by vmap with the seeds spread over devices."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

WAYS = ("loop", "vmap", "pmap", "sharded")


def default_way() -> str:
    """The way that is fastest on the backend in use.

    On CPU one compiled program and a loop: vmap shares nothing there and turns per-seed convolutions into grouped
    ones (`benchmarks/seeds.py` measures it). On accelerators vmap, spread over the devices where there are several.
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
        raise ValueError(
            f"expected arrays with one common leading seed axis, got leading sizes {sorted(map(str, sizes))}"
        )
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
        compiled = jax.jit(function).lower(*shared, *take(stacked, 0)).compile()

        def mapped(shared, stacked):
            return stack([compiled(*shared, *take(stacked, s)) for s in range(n)])
    elif way == "vmap":
        compiled = jax.jit(jax.vmap(function, axes)).lower(*shared, *stacked).compile()

        def mapped(shared, stacked):
            return compiled(*shared, *stacked)
    elif way == "sharded":
        place = partial(jax.device_put, device=NamedSharding(seed_mesh(), PartitionSpec("seed")))
        spread = partial(jax.device_put, device=NamedSharding(seed_mesh(), PartitionSpec()))
        devices = jax.device_count()
        compiled = jax.jit(jax.vmap(function, axes)).lower(*spread(shared), *place(pad(stacked, devices))).compile()

        def mapped(shared, stacked):
            return head(compiled(*spread(shared), *place(pad(stacked, devices))), n)
    else:
        devices = jax.local_device_count()
        compiled = (
            jax.pmap(jax.vmap(function, axes), in_axes=axes)
            .lower(*shared, *fold(pad(stacked, devices), devices))
            .compile()
        )

        def mapped(shared, stacked):
            return head(unfold(compiled(*shared, *fold(pad(stacked, devices), devices))), n)

    return mapped, time.perf_counter() - begin


def pad(stacked: Any, devices: int) -> Any:
    """Repeats the last seed until the devices divide the number of seeds."""
    n = seed_count(stacked)
    index = jnp.minimum(jnp.arange(-(-n // devices) * devices), n - 1)
    return jax.tree.map(lambda x: x[index], stacked)


def head(stacked: Any, n: int) -> Any:
    """The first n seeds."""
    return jax.tree.map(lambda x: x[:n], stacked)


def fold(stacked: Any, devices: int) -> Any:
    """Leaves [s, ...] -> [devices, s / devices, ...]."""
    return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), stacked)


def unfold(stacked: Any) -> Any:
    """Leaves [devices, s / devices, ...] -> [s, ...]."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), stacked)
