"""What is set before jax starts: the compilation cache and the memory of accelerators. The user's own settings win."""

import hashlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path


def prepare(*, cache: bool, quick: bool = False) -> None:
    """Sets jax up for a run.

    Args:
      cache: keep compiled programs from run to run.
      quick: compile in half the time to programs that take twice as long, which suits a run of a few steps.
    """
    if quick:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
        os.environ["XLA_FLAGS"] = flags.strip()
    # Take device memory as it is needed: other programs, and other runs, may share the device.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if not cache:
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache_folder())
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def cache_folder() -> Path:
    """The folder of compiled programs: in the user's cache, one for each version of jaxlib and kind of processor.

    A program that was compiled for another processor can end in an illegal instruction. JAX_COMPILATION_CACHE_DIR in
    the environment names another folder.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "jaxzoo" / f"xla-{importlib.metadata.version('jaxlib')}-{processor()}"


def processor() -> str:
    """A short hash of what the processor can do."""
    features = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        pass  # not on Linux: the names of machine and processor have to do
    return hashlib.sha256(features.encode()).hexdigest()[:8]
