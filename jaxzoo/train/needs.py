"""What a computation needs before it is run: the memory of one update, from shapes alone."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxzoo.train.loop import trace_task
from jaxzoo.train.task import Task


class Needs(NamedTuple):
    """Memory in bytes.

    Attributes:
      state: of what is carried from one update to the next: parameters and what the optimiser remembers. For a plain
        function, of its arguments.
      peak: the most that is alive at once in one update, the state before it included: every intermediate result of the
        program as it is written, freed after its last use. A compiler fuses and reuses, so it takes less as a rule.
    """

    state: int
    peak: int


def needs(work: Task | tuple[Callable, ...], *inputs: Any) -> Needs:
    """The memory that a training's update, or a function, needs; nothing is allocated or compiled.

    It is also the test that a computation builds at a size that this machine could never run: the program is traced and
    lowered.

    Args:
      work: a `Task`, or a tuple `(function, *arguments)`; arrays or `jax.ShapeDtypeStruct`s alike.
      *inputs: the inputs of `task.init`, likewise; none with a tuple.

    Returns:
      `Needs`.

    Raises:
      TypeError: the task breaks its contract (`trace_task`).
    """
    if isinstance(work, Task):
        key = jax.eval_shape(lambda: jax.random.key(0))
        traced = trace_task(work, key, *inputs)
        function, arguments = work.update, (traced.init.out, key)
        state = size(traced.init.out)
    else:
        function, *arguments = work
        state = size(arguments)
    program = jax.jit(function).trace(*arguments)
    program.lower()
    closed = program.jaxpr
    constants = sum(map(bytes_of, closed.jaxpr.constvars))
    return Needs(state, state + constants + beyond_inputs(closed.jaxpr))


def size(tree: Any) -> int:
    """Bytes of all leaves."""
    return sum(bytes_of(leaf) for leaf in jax.tree.leaves(jax.eval_shape(lambda: tree)))


def bytes_of(x: Any) -> int:
    """Bytes of an array, a `jax.ShapeDtypeStruct` or a variable of a jaxpr."""
    aval = getattr(x, "aval", x)
    return math.prod(aval.shape) * aval.dtype.itemsize if hasattr(aval, "dtype") else 0


def beyond_inputs(jaxpr: Jaxpr) -> int:
    """The most bytes alive at once in a program besides its inputs."""
    last = {}
    for i, equation in enumerate(jaxpr.eqns):
        last |= {v: i for v in equation.invars if not isinstance(v, Literal)}
    kept = {v for v in (*jaxpr.invars, *jaxpr.constvars, *jaxpr.outvars) if not isinstance(v, Literal)}
    alive, peak, made = 0, 0, {}
    for i, equation in enumerate(jaxpr.eqns):
        made |= {v: bytes_of(v) for v in equation.outvars}
        alive += sum(bytes_of(v) for v in equation.outvars)
        peak = max(peak, alive + max(map(beyond_inputs, programs_in(equation.params)), default=0))
        ended = {v for v in (*equation.invars, *equation.outvars) if not isinstance(v, Literal) and v in made}
        alive -= sum(made.pop(v) for v in ended if v not in kept and last.get(v, i) <= i)
    return peak


def programs_in(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The programs that an equation holds: the body of a loop, the branches of a choice."""
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, ClosedJaxpr | Jaxpr):
                yield item.jaxpr if isinstance(item, ClosedJaxpr) else item
