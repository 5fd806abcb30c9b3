"""What a computation needs before it is run: the memory of one update, from shapes alone.

An experiment may define `full_scale(config) -> {name: work}`, its heaviest works on blank data; a test then asks that
those of the preset `paper` build, and that the memory which its docstring names is what they need.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxzoo.train.loop import trace_task
from jaxzoo.train.task import Task

ELEMENTWISE = """
abs add add_any and broadcast_in_dim ceil clamp concatenate convert_element_type copy cos div eq erf exp exp2 expm1
floor ge gt imag integer_pow iota is_finite le log log1p logistic lt max min mul ne neg not or pad pow real
reduce_precision rem reshape rev round rsqrt select_n sign sin slice sqrt square squeeze stack stop_gradient sub tanh
transpose xor
"""
"""Primitives whose results are computed where they are used."""


class Needs(NamedTuple):
    """Memory in bytes.

    Attributes:
      state: of what is carried from one update to the next: parameters and what the optimiser remembers. For a plain
        function, of its arguments.
      peak: an estimate of the most that is alive at once in one update, the state before it included. Each result of
        the program as it is written is stored until its last use, but for elementwise operations and rearrangements:
        they are computed where they are used, as compilers fuse them. Reuse in place is left out. Where the program
        differs by platform, the form for those that have none of their own is counted, accelerators as a rule.
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
    return Needs(state, state + sum(map(bytes_of, closed.jaxpr.constvars)) + inside(closed.jaxpr, outermost=True))


def size(tree: Any) -> int:
    """Bytes of all leaves."""
    return sum(bytes_of(leaf) for leaf in jax.tree.leaves(jax.eval_shape(lambda: tree)))


def bytes_of(x: Any) -> int:
    """Bytes of an array, a `jax.ShapeDtypeStruct` or a variable of a jaxpr."""
    aval = getattr(x, "aval", x)
    return math.prod(aval.shape) * aval.dtype.itemsize if hasattr(aval, "dtype") else 0


def inside(jaxpr: Jaxpr, *, outermost: bool = False) -> int:
    """The most bytes alive at once in a program besides its inputs and, unless outermost, its results."""
    results = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    behind = {}  # variable -> the stored variables that it is computed from, itself if it is stored
    last = {}  # stored variable -> the last equation that needs it
    for i, equation in enumerate(jaxpr.eqns):
        read = set().union(*(behind.get(v, ()) for v in equation.invars if not isinstance(v, Literal)))
        last |= dict.fromkeys(read, i)
        for v in equation.outvars:
            behind[v] = read if v not in results and is_fused(equation) else {v}
            last |= {v: i} if v in behind[v] else {}
    ended = {}
    for v, i in last.items():
        ended.setdefault(i, []).append(v)
    uncounted = set() if outermost else results  # whoever calls the program counts them
    alive = peak = 0
    for i, equation in enumerate(jaxpr.eqns):
        alive += sum(bytes_of(v) for v in equation.outvars if v in behind[v] and v not in uncounted)
        peak = max(peak, alive + max(map(inside, programs_in(equation.params)), default=0))
        alive -= sum(bytes_of(v) for v in ended.get(i, ()) if v not in results)
    return peak


def is_fused(equation: Any) -> bool:
    """Whether its results are not stored: an elementwise primitive, or a call of a program of such alone."""
    if equation.primitive.name in ELEMENTWISE.split():
        return True
    programs = (
        list(programs_in(equation.params)) if equation.primitive.name in ("jit", "pjit", "custom_jvp_call") else []
    )
    return bool(programs) and all(is_fused(inner) for program in programs for inner in program.eqns)


def programs_in(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The programs that an equation holds: the body of a loop, the branches of a choice."""
    if params.get("branches_platforms") is not None:
        params = {"branch": params["branches"][-1]}  # the default stands last
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, ClosedJaxpr | Jaxpr):
                yield item.jaxpr if isinstance(item, ClosedJaxpr) else item
