"""Which implementation of an op a program gets: decided per platform, while the program is lowered."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

# An implementation's name tells the one platform it lowers for; "xla" lowers for all of them.
PLATFORMS = {"cudnn": "cuda", "pallas_gpu": "cuda", "pallas_tpu": "tpu"}


class Kernel(NamedTuple):
    """One hand-written implementation of an op.

    Args:
        run: `run(*operands, **params) -> list of arrays`, traceable.
        refuse: `refuse(*avals, **params) -> str | None`, why these operands or params can't run, or None.
        blocks: `blocks(*avals, **params) -> dict[str, int]`, the block sizes chosen for these shapes.
        named_alone: True for a kernel that has not run on its platform yet: it is taken where it is named, never by
            itself.
    """

    run: Callable[..., Any]
    refuse: Callable[..., str | None]
    blocks: Callable[..., dict[str, int]]
    named_alone: bool = False


def load(address: str) -> Kernel | str:
    """The `Kernel` at "module:attribute", or why its module can't be imported."""
    module, attribute = address.split(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        return f"{module} can't be imported: {error}"


def refusal(address: str, avals, params) -> str | None:
    """Why the kernel at `address` can't take these operands, or None."""
    kernel = load(address)
    return kernel if isinstance(kernel, str) else kernel.refuse(*avals, **params)


def choose(op: str, kernels: Mapping[str, str | None], platform: str, implementation: str | None, avals, params) -> str:
    """The name of the implementation to lower for `platform`; raises where a named one can't run."""
    if implementation == "xla" or (implementation and kernels[implementation] is None):
        return "xla"
    if implementation is not None:
        if PLATFORMS[implementation] != platform:
            raise NotImplementedError(
                f"{op}: implementation={implementation!r} runs on {PLATFORMS[implementation]} alone and the program is "
                f"being compiled for {platform}; pass implementation=None to let each platform have its own"
            )
        if reason := refusal(kernels[implementation], avals, params):
            raise NotImplementedError(f"{op}: implementation={implementation!r} can't run: {reason}")
        return implementation
    for name, address in kernels.items():
        able = address and PLATFORMS[name] == platform and refusal(address, avals, params) is None
        if able and not load(address).named_alone:
            return name
    return "xla"
