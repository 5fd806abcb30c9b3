"""Compiling for an accelerator that is not there: needs the `libtpu` wheel, or JAX's CUDA plugin and NVIDIA's compiler.

    sharding = tpu("v5e:2x2")                                     # or hopper()
    x = jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
    jax.jit(f).lower(x).compile()

The compilers refuse what lowering lets through: unsupported dtypes, and blocks that overflow VMEM or shared memory.
"""

import os

from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

TPU_GENERATIONS = ("v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2", "tpu7x:2x2x1")

# What XLA asks of a device it compiles for: the figures of one H200.
H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 62914560 clock_rate_ghz: 1.98 device_memory_size: 150000000000
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  cuda_compute_capability { major: 9 minor: 0 }
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } runtime_version { major: 13 }
device_description_str: "NVIDIA H200"
"""


def tpu(topology: str = "v5e:2x2") -> SingleDeviceSharding:
    """One TPU core of `topology`, one of `TPU_GENERATIONS`."""
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    return SingleDeviceSharding(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[0])


def hopper() -> SingleDeviceSharding:
    """One H200, compiled for as sm_90a."""
    description = topologies.get_topology_desc(platform="cuda", target_config=H200, topology="1x1x1")
    return SingleDeviceSharding(description.devices[0])
