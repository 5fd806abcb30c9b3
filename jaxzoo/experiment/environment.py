"""Where and with what a run was made: versions, checkout, device, memory, command line."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jaxzoo

PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax")


def environment(path: str | os.PathLike) -> dict[str, Any]:
    """All that a record says of its surroundings. Take it when the run begins: files may be edited while it runs.

    Args:
      path: of the experiment's file; the checkout is the one that it lies in.

    Returns:
      {"versions", "prng", "git", "device", "command"}.
    """
    return {
        "versions": versions(),
        "prng": prng(),
        "git": git_state(path),
        "device": device(),
        "command": command(),
    }


def command() -> str:
    """The command line of this process, without the folder of its program."""
    program = Path(sys.argv[0])
    words = ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]
    return shlex.join([*words, *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Versions of Python, of jaxzoo and of the packages that numbers depend on, without importing them."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "jaxzoo": jaxzoo.__version__, **found}


def prng() -> dict[str, Any]:
    """What `jax.random.key` makes: the same seed gives other numbers under another implementation."""
    import jax

    return {
        "impl": jax.config.jax_default_prng_impl,
        "threefry_partitionable": jax.config.jax_threefry_partitionable,
    }


def git_state(path: str | os.PathLike) -> dict[str, Any] | None:
    """{"commit", "dirty"} of the checkout that a file lies in; None outside one, and of a file that git ignores.

    "dirty" is true if anything differs from the commit, untracked files included.
    """
    path = Path(path).absolute()
    commit = _git(path.parent, "rev-parse", "HEAD")
    if commit is None or _git(path.parent, "check-ignore", "--quiet", path.name) is not None:
        return None
    return {"commit": commit, "dirty": bool(_git(path.parent, "status", "--porcelain"))}


def _git(folder: Path, *words: str) -> str | None:
    """What git prints, or None if it fails or is not installed."""
    try:
        done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def device() -> dict[str, Any]:
    """The devices that the run used, and the CPU cores that the process may use."""
    import jax

    first = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"platform": first.platform, "kind": first.device_kind, "count": jax.device_count(), "cpu_cores": cores}


def peak_memory() -> dict[str, int | None]:
    """Peak memory so far in bytes: of the process, and of the fullest device; None where it isn't known."""
    import jax

    stats = [d.memory_stats() for d in jax.local_devices()]
    peaks = [s["peak_bytes_in_use"] for s in stats if s and "peak_bytes_in_use" in s]
    return {"host_peak_bytes": _host_peak(), "device_peak_bytes": max(peaks, default=None)}


def _host_peak() -> int | None:
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
