"""Trainings whose state is too large for one device."""

import jax
from jax.sharding import NamedSharding, PartitionSpec


def spread_state(task, mesh):
    """Lays each large array of a training's state over all devices: parameters and what the optimiser remembers.

    Every array is split along its longest axis that the devices divide; others are copied. XLA gathers a layer's
    weights where they are used, and the gradients arrive in parts (fully sharded data parallelism, of one batch).

    Args:
      task: a `Task`.
      mesh: a mesh of one axis with Auto type, as `jax.make_mesh((devices,), ("model",), axis_types=(AxisType.Auto,))`.

    Returns:
      A `Task` of the same numbers, for `jaxzoo.train.fit`. The runner of experiments spreads seeds, not one state.

    Source: Rajbhandari et al., "ZeRO" (arXiv 1910.02054), Sec. 5, stage 3.
    """
    (axis,) = mesh.axis_names
    devices = mesh.shape[axis]

    def place(x):
        fitting = [(size, i) for i, size in enumerate(x.shape) if size % devices == 0 and size]
        at = max(fitting)[1] if fitting else None
        spec = PartitionSpec(*(axis if i == at else None for i in range(x.ndim)))
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))

    def update(state, key):
        state, scalars = task.update(jax.tree.map(place, state), key)
        return jax.tree.map(place, state), scalars

    return task._replace(init=lambda key, *inputs: jax.tree.map(place, task.init(key, *inputs)), update=update)
