"""Sub-networks as data: which channels and blocks of a network are in use, and networks that are told.

A network of width d and depth l names its elastic axes ("channels", "hidden", "heads") and takes an `Active`: a mask
of each of them, and a flag for each block. A sub-network (w, l) keeps the first entries of every axis and the first
blocks, so all of them are nested. Masks are data, so that one compiled program serves every sub-network.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BLOCKS = "blocks"
"""The name of an axis over blocks."""
BATCH = "batch"
"""The name of the mapped axis over the examples of a batch."""


class Dimensions(NamedTuple):
    """The elastic dimensions of a network.

    Attributes:
      width: of the whole network, d.
      sizes: name of each elastic axis -> its entries in the whole network, {"channels": d, "hidden": 2 d}; at a width w
        the first ceil(size * w / d) are in use.
      depth: of the whole network: that many steps, each of one block or more.
      stages: name of each axis over blocks -> the depth step, from 0, of each of its blocks; None for one axis "blocks"
        with a block in each step.
    """

    width: int
    sizes: dict[str, int]
    depth: int
    stages: dict[str, tuple[int, ...]] | None = None


class Active(NamedTuple):
    """What a sub-network uses.

    Attributes:
      masks: name of an axis -> [its size] booleans.
      blocks: [depth] booleans, one for each step of depth.
    """

    masks: dict[str, jax.Array]
    blocks: jax.Array


class NestedModel(NamedTuple):
    """A network that can be cut to any width and depth.

    Attributes:
      init: `init(key) -> params` of the whole network.
      apply: `apply(params, x, active=None) -> y` of one example; None is the plain network.
      exits: `exits(params, x, active) -> [depth, ...]`: y of the depths 1, 2, ... at the widths of `active`.
      dims: its elastic dimensions.
      axes: pytree like params: for each leaf a tuple of the names of its axes, None for one that is never cut.
      macs: `macs(w, l) -> int`: products of one example.
      train_apply: `apply` as it is in training where that differs: with the statistics of the batch, an axis `BATCH` of
        `jax.vmap`. None where it is the same.
      statistics: `statistics(params, x, active)`: those of the batch, along the axis `BATCH`, in the structure of
        `params["statistics"]`, which `apply` uses. None where there are none.
    """

    init: Callable[..., Any]
    apply: Callable[..., Any]
    exits: Callable[..., Any]
    dims: Dimensions
    axes: Any
    macs: Callable[[int, int], int]
    train_apply: Callable[..., Any] | None = None
    statistics: Callable[..., Any] | None = None


def keep(x, mask):
    """x where the mask says so, else 0, along the last axis; None keeps all. No gradient flows into the rest."""
    return x if mask is None else jnp.where(mask.reshape((1,) * (x.ndim - 1) + (-1,)), x, 0)


def prefix(dims, width, depth):
    """The sub-network (w, l): the first entries of every axis, and the first blocks.

    Args:
      dims: of the whole network.
      width: w, an integer or a traced scalar.
      depth: l, likewise.

    Returns:
      `Active`.

    Raises:
      ValueError: a Python integer outside 1 to the whole network's.
    """
    for name, value, most in (("width", width, dims.width), ("depth", depth, dims.depth)):
        if isinstance(value, int) and not 1 <= value <= most:
            raise ValueError(f"{name}: expected 1 to {most}, got {value}")
    masks = {name: jnp.arange(size) < share(size, width, dims) for name, size in dims.sizes.items()}
    return Active(masks, jnp.arange(dims.depth) < depth)


def share(size, width, dims):
    """Entries in use of an axis of that size, at a width: ceil(size * width / d)."""
    return -(-size * width // dims.width)


def random_subset(key, dims, width, depth):
    """A sub-network of the size (w, l) without order: random entries of every axis, and random blocks.

    Args:
      key: of the choice.
      dims, width, depth: as in `prefix`.

    Returns:
      `Active`.
    """
    sizes = [(size, share(size, width, dims)) for size in dims.sizes.values()] + [(dims.depth, depth)]
    u = jax.random.uniform(key, (sum(n for n, _ in sizes),))
    parts = jnp.split(u, np.cumsum([n for n, _ in sizes])[:-1])
    *masks, blocks = (_lowest(part, m) for part, (_, m) in zip(parts, sizes, strict=True))
    return Active(dict(zip(dims.sizes, masks, strict=True)), blocks)


def _lowest(u, m):
    """[n] booleans, True for the m lowest of u. Ranks by comparison: a sort takes far longer to compile."""
    earlier = (u[None] < u[:, None]) | ((u[None] == u[:, None]) & jnp.tri(u.size, k=-1, dtype=bool))
    return earlier.sum(1) < m


def nested(apply, dims):
    """Makes a network elastic: width and depth become arguments, which may be traced.

    Args:
      apply: `apply(params, x, active) -> y`.
      dims: of the whole network.

    Returns:
      `apply(params, x, width, depth) -> y`, that of the sub-network `prefix(dims, width, depth)`.
    """

    def nested_apply(params, x, width, depth):
        return apply(params, x, prefix(dims, width, depth))

    return nested_apply


def exits_by_depth(apply, dims):
    """`NestedModel.exits` of a network whose depths share no computation."""

    def exits(params, x, active):
        blocks = jnp.arange(dims.depth)[None] <= jnp.arange(dims.depth)[:, None]  # [l, l]
        return jax.lax.map(lambda flags: apply(params, x, active._replace(blocks=flags)), blocks)

    return exits


def prefix_slice(params, width, depth, *, model):
    """The parameters of a sub-network as a dense network of their own, for deployment.

    Args:
      params: of the whole network, or of a sub-network of at least this size.
      width: w, an int.
      depth: l, an int.
      model: the `NestedModel`.

    Returns:
      Params theta[:b]; `model.apply(theta[:b], x)` is the small network.

    Raises:
      ValueError: a size that the parameters don't hold.
    """
    if depth < 1:
        raise ValueError(f"depth: expected at least 1, got {depth}")
    dims = model.dims
    lengths = {name: share(size, width, dims) for name, size in dims.sizes.items()}
    stages = {BLOCKS: range(dims.depth)} if dims.stages is None else dims.stages
    lengths |= {name: sum(step < depth for step in steps) for name, steps in stages.items()}

    def cut(leaf, axes):
        for axis, name in enumerate(axes):
            if name is not None:
                least = 0 if name in stages else 1
                if not least <= lengths[name] <= leaf.shape[axis]:
                    raise ValueError(f"{name}: expected {least} to {leaf.shape[axis]} of them, got {lengths[name]}")
                leaf = leaf[(slice(None),) * axis + (slice(lengths[name]),)]
        return leaf

    return jax.tree.map(cut, params, model.axes)
