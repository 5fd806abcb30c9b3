"""Timing of one case against its baselines, interleaved, after its checks."""

import functools
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxzoo_kernels._core import relative_rms

SEED = 0
REST = 0.02  # seconds; OpenMP's threads spin for some milliseconds after a call, on the cores of whoever runs next


class Case(NamedTuple):
    """One op at one shape.

    Args:
        op: its name. shape: the shape's name. sizes: the shape, for the record. dtype: the operands'.
        arguments: numpy arrays from `np.random.Generator`; distribution: how they were drawn, in words.
        function: `function(*arguments, implementation=)`, the op on these arguments, returning a pytree of arrays.
        implementation: which one to measure. Its gradients are checked against those of "xla" in float32, but on cpu,
            where "xla" is what is measured and tests compare it with the reference.
        reference: the same in numpy float64, or None where it would take too long (then a smaller shape vouches).
        bound: relative RMS error that fails the row.
        operations, bytes: floor of the forward pass; both directions count three times the operations.
        bytes_both: floor of forward and backward, operands, cotangents and results each once.
        baselines: name -> direction -> a callable without arguments that runs to completion, or None where it can't.
        narrow: the arguments have dtypes of their own, that are not to be cast, and no gradient.
    """

    op: str
    shape: str
    sizes: Mapping[str, Any]
    dtype: str
    arguments: tuple
    distribution: str
    function: Callable
    implementation: str | None
    reference: Callable | None
    bound: float
    operations: int
    bytes: int
    bytes_both: int
    baselines: Mapping[str, Callable[[str], Callable | None]]
    narrow: bool = False


def roof() -> dict[str, float]:
    """What this machine does at best: bytes/s of a copy larger than its caches, operations/s of a matrix product.

    On cpu an op whose arrays stay in the caches can be above this roof.
    """
    x = jnp.asarray(np.random.default_rng(SEED).normal(size=(64, 1024, 1024)), jnp.float32)
    m = x[:2].reshape(2048, 1024)
    copy, product = jax.jit(lambda x: x + 1), jax.jit(lambda m: m @ m.T)
    runs = {"copy": functools.partial(_blocked, copy, x), "product": functools.partial(_blocked, product, m)}
    times = _interleaved(runs, 7)
    seconds = [times[name]["min_s"] for name in runs]
    return {"bytes_per_s": 2 * x.nbytes / seconds[0], "operations_per_s": 2 * 2048 * 2048 * 1024 / seconds[1]}


def weighted(function):
    """A scalar of all outputs of `function`, whose cotangents are neither constant nor zero."""

    def total(*args):
        leaves = jax.tree.leaves(function(*args))
        return sum(jnp.sum(jnp.abs(x.astype(jnp.promote_types(x.dtype, jnp.float32))) ** 2) for x in leaves)

    return total


def directed(function, direction: str, count: int):
    """`function`, or its value and gradient in all arguments."""
    return function if direction == "forward" else jax.value_and_grad(weighted(function), tuple(range(count)))


def chosen(shapes, group, names):
    """The (name, shape) pairs of a group of a module of shapes; all of them if no name is given."""
    of_group = getattr(shapes, group)
    of_group = of_group if isinstance(of_group, dict) else {group.lower(): of_group}
    return [(name, shape) for name, shape in of_group.items() if not names or name in names]


def torch_baseline(make, arguments):
    """A baseline in PyTorch for `Case.baselines`, where it is installed: `make(torch)` gives a function of tensors."""

    def of(direction):
        try:
            import torch
        except ImportError:
            return None
        torch.set_num_threads(os.cpu_count())
        function, tensors = make(torch), [torch.from_numpy(np.array(x)) for x in arguments]

        def forward():
            with torch.inference_mode():
                return function(*tensors)

        def both():
            given = [x.detach().requires_grad_() for x in tensors]
            (function(*given) ** 2).sum().backward()
            return [x.grad for x in given]

        return forward if direction == "forward" else both

    return of


def jax_baseline(function, arguments):
    """A baseline in JAX, compiled, for `Case.baselines`."""

    def of(direction):
        run = jax.jit(directed(function, direction, len(arguments)))
        return functools.partial(_blocked, run, *map(jnp.asarray, arguments))

    return of


def row(case: Case, direction: str, repeats: int, roof: Mapping[str, float]) -> dict[str, Any]:
    """The record of one case in one direction; "failed" says why there is no speed in it."""
    kept = [case.narrow or x.dtype.kind in "iuc" for x in case.arguments]
    arguments = tuple(
        jnp.asarray(x, None if keep else case.dtype) for x, keep in zip(case.arguments, kept, strict=True)
    )
    function = functools.partial(case.function, implementation=case.implementation)
    start = time.perf_counter()
    lowered = jax.jit(directed(function, direction, len(arguments))).lower(*arguments)
    middle = time.perf_counter()
    run = lowered.compile()
    end = time.perf_counter()
    record = {
        "op": case.op,
        "implementation": case.implementation or "chosen by platform",
        "shape": case.shape,
        "sizes": dict(case.sizes),
        "dtype": case.dtype,
        "direction": direction,
        "seed": SEED,
        "distribution": case.distribution,
        **machine(),
        "lower_s": round(middle - start, 4),
        "compile_s": round(end - middle, 4),
        **_checks(case, function, run, arguments),
    }
    both = direction != "forward"
    if both and "failed" not in record:
        record |= _gradient_check(case, run, arguments)
    if "failed" in record:
        return record
    memory = run.memory_analysis()
    operations, moved = (3 * case.operations, case.bytes_both) if both else (case.operations, case.bytes)
    times = _interleaved(
        {"ours": functools.partial(_blocked, run, *arguments)}
        | {name: make(direction) for name, make in case.baselines.items()},
        repeats,
    )
    ours = times.pop("ours")
    floors = {"memory": moved / roof["bytes_per_s"], "compute": operations / roof["operations_per_s"]}
    bound = max(floors, key=floors.get)
    return record | {
        "timing": f"wall clock around a call that blocks, {1e3 * REST:.0f} ms after the last, interleaved with the "
        "baselines; freed memory is kept",
        **ours,
        "operations": operations,
        "min_bytes": moved,
        "gflops": round(operations / ours["median_s"] / 1e9, 3),
        "gbytes_per_s": round(moved / ours["median_s"] / 1e9, 3),
        "bound": bound,
        "roof": {name: round(value / 1e9, 2) for name, value in roof.items()},
        "percent_of_roof": round(100 * floors[bound] / ours["median_s"], 1),
        "peak_bytes": memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes,
        "baselines": {name: {**t, "ratio": round(t["median_s"] / ours["median_s"], 2)} for name, t in times.items()},
    }


def best_of(files: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of several processes as one: of ours and of each baseline, the process with the smallest median.

    Where memory happens to lie, and on which core a thread is woken, holds for the life of a process and can double any
    of these times.
    """
    rows = []
    for same in zip(*files, strict=True):
        row = min(same, key=lambda row: row["median_s"])
        baselines = {}
        for name in row["baselines"]:
            times = min((other["baselines"][name] for other in same), key=lambda times: times["median_s"])
            baselines[name] = times | {"ratio": round(times["median_s"] / row["median_s"], 2)}
        rows.append(row | {"processes": len(same), "baselines": baselines})
    return rows


def line(record: Mapping[str, Any]) -> str:
    """One row for a person."""
    head = f"{record['op']} {record['shape']} {record['dtype']} {record['direction']}:"
    if "failed" in record:
        return f"{head} FAILED: {record['failed']}"
    ratios = ", ".join(f"{name} {t['ratio']}x" for name, t in record["baselines"].items())
    return (
        f"{head} {1e3 * record['median_s']:.3f} ms, {record['percent_of_roof']} % of the {record['bound']} roof, "
        f"error {record['error_rms']}; slower: {ratios}"
    )


@functools.cache
def machine() -> dict[str, Any]:
    """Where and with what the row was made."""
    device = jax.devices()[0]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return {
        "device": platform.processor() or platform.machine() if device.platform == "cpu" else device.device_kind,
        "platform": device.platform,
        "cores": os.cpu_count(),
        "jax": jax.__version__,
        "commit": commit.stdout.strip() or None,
    }


def _checks(case, function, run, arguments):
    """Error against the reference and equality of two runs, with "failed" if either is not what it should be."""
    first, second = (jax.tree.leaves(jax.device_get(run(*arguments))) for _ in range(2))
    same = all(np.array_equal(x, y, equal_nan=True) for x, y in zip(first, second, strict=True))
    # Results in the order of the forward pass: the reference speaks of these.
    values = jax.tree.leaves(jax.device_get(jax.jit(function)(*arguments)))
    finite = all(np.isfinite(np.asarray(x, np.complex128 if np.iscomplexobj(x) else np.float64)).all() for x in first)
    result = {"deterministic": same, "error_rms": None, "error_max": None}
    if case.reference is not None:
        wanted = jax.tree.leaves(case.reference(*(np.asarray(x) for x in arguments)))
        result["error_rms"] = float(f"{max(relative_rms(x, y) for x, y in zip(values, wanted, strict=True)):.3g}")
        gaps = (np.max(np.abs(np.asarray(x, y.dtype) - y)) for x, y in zip(values, wanted, strict=True))
        result["error_max"] = float(f"{max(gaps):.3g}")
    if result["error_rms"] is not None and not result["error_rms"] <= case.bound:
        result["failed"] = f"relative RMS error {result['error_rms']} is above {case.bound}"
    elif not finite:
        result["failed"] = "a result is not finite"
    elif not same:
        result["failed"] = "two runs differ"
    return result


def _gradient_check(case, run, arguments):
    """The gradients' error against those of the lax form in float32, with "failed" if it is above twice the bound."""
    if jax.default_backend() == "cpu" and case.implementation in (None, "xla"):
        return {}
    wide = [x.astype(jnp.float32) if x.dtype in (jnp.bfloat16, jnp.float16) else x for x in arguments]
    plain = functools.partial(case.function, implementation="xla")
    _, wanted = jax.jit(directed(plain, "both", len(wide)))(*wide)
    _, given = run(*arguments)
    error = max(relative_rms(x, np.asarray(y)) for x, y in zip(given, wanted, strict=True))
    failed = {"failed": f"relative RMS error {error:.3g} of a gradient is above {2 * case.bound}"}
    return {"gradient_rms": float(f"{error:.3g}")} | ({} if error <= 2 * case.bound else failed)


def _blocked(function, *args):
    return jax.block_until_ready(function(*args))


def _seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _interleaved(runs, repeats):
    """name -> median, 20th and 80th percentile and minimum over rounds that run everything once, after one to warm up.

    What took more than a second to warm up takes part in three rounds alone.
    """
    runs = {name: run for name, run in runs.items() if run is not None}
    rounds = {name: 3 if _seconds(run) > 1 and name != "ours" else repeats for name, run in runs.items()}
    times = {name: [] for name in runs}
    for i in range(repeats):
        for name, run in runs.items():
            if i < rounds[name]:
                time.sleep(REST)
                times[name].append(_seconds(run))
    quantile = lambda t, q: float(f"{np.quantile(t, q):.4g}")  # noqa: E731
    return {
        name: {
            "median_s": float(f"{statistics.median(t):.4g}"),
            "p20_s": quantile(t, 0.2),
            "p80_s": quantile(t, 0.8),
            "min_s": float(f"{min(t):.4g}"),
            "rounds": len(t),
        }
        for name, t in times.items()
    }
