"""Every difference between the supported JAX versions, and the few names that sit outside jax.numpy and jax.lax."""

from __future__ import annotations

import contextlib
import inspect

import jax
from jax import lax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec


def placed_alike(*operands):
    """The operands as one primitive takes them on a mesh.

    Inside a `shard_map`, each is typed as varying over every mesh axis that any of them varies over. Along explicit
    mesh axes, each is gathered: a primitive of ours does not know how to stay sharded there.
    """
    operands = [_gathered(x) for x in operands]
    types = [jax.typeof(x).manual_axis_type for x in operands]
    axes = frozenset().union(*(t.varying for t in types))
    return [
        lax.pcast(x, tuple(sorted(axes - t.varying)), to="varying") if axes - t.varying else x
        for x, t in zip(operands, types, strict=True)
    ]


def _gathered(x):
    sharding = jax.typeof(x).sharding
    if all(axes is None for axes in sharding.spec):
        return x
    return jax.reshard(x, NamedSharding(sharding.mesh, PartitionSpec(*[None] * x.ndim)))


def aval_like(aval, shape, dtype):
    """An abstract array of another shape on `aval`'s mesh, varying over the same manual axes."""
    replicated = NamedSharding(aval.sharding.mesh, PartitionSpec(*(None for _ in shape)))
    return jax.core.ShapedArray(shape, dtype, sharding=replicated, manual_axis_type=aval.manual_axis_type)


@contextlib.contextmanager
def abstract_gpu(device_kind: str = "NVIDIA H200", num_cores: int = 132):
    """Lower for a GPU that this machine does not have: tells the kernels' compilers which device is meant."""
    device = jax.sharding.AbstractDevice(device_kind=device_kind, num_cores=num_cores, platform="gpu")
    mesh = AbstractMesh((1,), ("x",), axis_types=(AxisType.Auto,), abstract_device=device)
    with jax.sharding.use_abstract_mesh(mesh):
        yield


def output(like, shape=None, dtype=None) -> jax.ShapeDtypeStruct:
    """A kernel's `out_shape`: of `like`'s shape and dtype unless told, and of its type inside a `shard_map`.

    Pallas refuses an output inside a `shard_map` that does not say over which mesh axes it varies.
    """
    shape = like.shape if shape is None else shape
    dtype = like.dtype if dtype is None else dtype
    return jax.ShapeDtypeStruct(shape, dtype, manual_axis_type=jax.typeof(like).manual_axis_type)


def mosaic_gpu_params(**options):
    """`CompilerParams` of `plgpu.kernel` in the semantics that all supported versions share."""
    from jax.experimental.pallas import mosaic_gpu

    return mosaic_gpu.CompilerParams(lowering_semantics=mosaic_gpu.LoweringSemantics.Warpgroup, **options)


def gpu_interpreter():
    """A context in which Mosaic GPU kernels are interpreted on cpu, or None before JAX 0.11."""
    from jax.experimental.pallas import mosaic_gpu

    interpreted = getattr(mosaic_gpu, "force_gpu_interpret_mode", None)
    return interpreted and interpreted()


def exportable_kernels():
    """`disabled_checks` of `jax.export.export`, which has to be told that kernels are meant to be there."""
    names = ("mosaic_gpu_v2", "__cudnn$fmhaSoftmax", "__cudnn$fmhaSoftmaxBackward")
    return tuple(map(jax.export.DisabledSafetyCheck.custom_call, names))


def load(ref, layout):
    """All of a Mosaic GPU reference, in registers laid out as `layout`."""
    from jax.experimental.pallas import mosaic_gpu

    index = inspect.signature(mosaic_gpu.load).parameters.get("idx")
    needed = index is not None and index.default is inspect.Parameter.empty  # JAX 0.10
    return mosaic_gpu.load(ref, *[()] * needed, layout=layout, optimized=False)
