"""What every kernel shares: the op primitive, the choice of an implementation, checks, and error measures.

An op is one JAX primitive. Its maths is written once as a pure lax function, which runs everywhere and is the default
lowering; Pallas kernels replace it per platform when the program is lowered, so that one exported program holds the
right code for cpu, tpu and cuda. Its derivative is written in terms of ops again (itself, where it can be), which gives
every order of forward and reverse mode, `vmap`, `remat` and `linear_transpose` from four small rules.

    square = Op(
        "square",
        xla=lambda x: [x * x],                        # arrays -> list of arrays, static params as keywords
        shapes=lambda x: [x],                         # avals -> list of things with .shape and .dtype
        operations=lambda x: x.size,                  # avals -> number of arithmetic operations, for `explain`
        kernels={"pallas_tpu": "my_package.square.tpu:square"},
        jvp=lambda primals, tangents, **params: (square(*primals, **params), [2 * primals[0] * tangents[0]]),
    )
    (y,) = square(x, implementation=None)

- `xla(*operands, **params)`, `shapes`, `operations` and each kernel's functions see the operands (or their avals) and
  the static params; `implementation` is a param that the rules must pass on, but `xla` and the kernels never see it.
- `xla_cpu` is another lax function of the same result for cpu alone, where the fast form there is slow elsewhere.
- `kernels` maps an implementation's name to "module:attribute" of a `Kernel(run, refuse, blocks)`. The module is
  imported when a program is lowered for that platform, never before. Order is preference. Names: `PLATFORMS`. A
  kernel with `named_alone` is taken where `implementation` names it, never by itself: it has yet to run there.
  None for an address accepts the name and runs the lax function: for a tangent whose transpose has a kernel.
- `jvp(primals, tangents, **params) -> (outputs, tangents)`: a tangent is None where it is a symbolic zero, in and out.
- `transpose(cotangents, operands, **params) -> cotangents of operands`: cotangents are arrays, zeros for an output that
  nobody used; an operand that is being transposed is None, and so is the answer for one that was given.
- `batch(operands, axes, size, **params) -> (outputs, axes)`, axes being None where not batched. By default every
  operand and output has a leading axis of independent examples and a new batch axis is merged into it; operand
  positions named in `shared` may have size 1 there, which is then kept.
- A kernel writes `out_shape=compat.output(x)` (or `compat.output(x, shape, dtype)`), as a `shard_map` asks for. Its
  tests lower it with `jax.jit(f).trace(*args).lower(lowering_platforms=("cuda",))` under `compat.abstract_gpu()`.
- A program that XLA partitions by itself, or a mesh with explicit axes, gathers an op's operands first: to shard an op,
  call it in a `shard_map`.

`explain(function, *args)` lists the ops in any function: which implementation runs where, and why not another.
"""

from . import compat
from .checks import check_floating, check_shape
from .choice import PLATFORMS, Kernel
from .explain import Explanation, explain
from .numerics import relative_rms
from .op import Op

__all__ = [
    "PLATFORMS",
    "Explanation",
    "Kernel",
    "Op",
    "check_floating",
    "check_shape",
    "compat",
    "explain",
    "relative_rms",
]
