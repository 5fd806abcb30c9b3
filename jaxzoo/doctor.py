"""What this machine has and what works on it, for people and for bug reports."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxzoo.cli.prepare import cache_folder
from jaxzoo.experiment import environment

LOW_DISK_BYTES = 2 * 2**30
SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_rank_promotion",
)
VARIABLES = (
    "XLA_FLAGS",
    "JAX_PLATFORMS",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
    "XLA_CLIENT_MEM_FRACTION",
    "XLA_PYTHON_CLIENT_MEM_FRACTION",
    "XLA_PYTHON_CLIENT_ALLOCATOR",
    "CUDA_VISIBLE_DEVICES",
)
PROBE = """
import json, sys
import jax
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.jit(lambda x: x @ x + 1)(jax.numpy.ones((8, 8))).block_until_ready()
print(json.dumps([e for e in events if e.startswith("/jax/compilation_cache/cache_")]))
"""


class Finding(NamedTuple):
    """One line of the examination.

    Attributes:
      name: what was looked at.
      value: what was found.
      problem: what to do about it; empty where all is well.
    """

    name: str
    value: str
    problem: str = ""


def examine() -> Iterator[tuple[str, list[Finding]]]:
    """Yields the examination in parts: (title, findings)."""
    yield "versions", [Finding(name, version) for name, version in environment.versions().items()]
    yield "extras", list(extras())
    yield "devices", list(devices())
    yield "settings", list(settings())
    yield "storage", [data(), *disk()]
    yield "compilation cache", [compilation_cache()]


def extras() -> Iterator[Finding]:
    """For every extra, which of its packages are missing."""
    if not _installed("jaxzoo"):
        yield Finding("jaxzoo", "runs from a checkout that is not installed, so its extras are not known")
        return
    needed: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("jaxzoo"):
        found = re.match(r"([A-Za-z0-9._-]+).*extra\s*==\s*['\"]([\w-]+)['\"]", requirement)
        if found and found[1] != "jaxzoo":
            needed.setdefault(found[2], []).append(found[1])
    for extra, packages in needed.items():
        missing = [package for package in packages if not _installed(package)]
        problem = f'pip install "jaxzoo[{extra}]"' if missing else ""
        yield Finding(extra, f"missing {', '.join(missing)}" if missing else "complete", problem)


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def devices() -> Iterator[Finding]:
    """The devices of jax, with their memory where they tell it."""
    import jax

    about = environment.device()
    for device in jax.devices():
        stats = device.memory_stats() or {}
        memory = f", {_gib(stats['bytes_limit'])} for jax" if "bytes_limit" in stats else ""
        yield Finding(f"{device.platform} {device.id}", f"{device.device_kind}{memory}")
    yield Finding("CPU cores", str(about["cpu_cores"]))


def settings() -> Iterator[Finding]:
    """The settings of jax and the variables of the environment that change numbers or memory."""
    import jax

    for name in SETTINGS:
        yield Finding(name, str(getattr(jax.config, name)))
    for name in VARIABLES:
        yield Finding(name, os.environ.get(name, "not set"))


def data() -> Finding:
    """The folder of the papers' own data."""
    folder = os.environ.get("JAXZOO_DATA")
    if not folder:
        return Finding("JAXZOO_DATA", "not set; the presets smoke and default need no data of yours")
    problem = "" if Path(folder).is_dir() else "there is no such folder: make it, or unset the variable"
    return Finding("JAXZOO_DATA", folder, problem)


def disk() -> Iterator[Finding]:
    """Free space where runs and compiled programs go."""
    for name, folder in (("runs go below", Path.cwd()), ("cache", cache_folder())):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(there).free
        problem = "little space is left" if free < LOW_DISK_BYTES else ""
        if not os.access(there, os.W_OK):
            problem = "it can't be written to"
        yield Finding(name, f"{folder}, {_gib(free)} free", problem)


def compilation_cache() -> Finding:
    """Whether a program that one process compiled is found by the next; on some machines it is not."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            events = [_probe(folder) for _ in range(2)]
        except (subprocess.SubprocessError, ValueError) as error:
            return Finding("two processes", f"could not be tried: {error}", "see what jax says on this machine")
    if "/jax/compilation_cache/cache_hits" in events[1] and "/jax/compilation_cache/cache_misses" in events[0]:
        return Finding("two processes", f"works: missed, then hit; programs are kept in {cache_folder()}")
    return Finding("two processes", "does not work: the second process compiled again", "runs compile anew each time")


def _probe(folder: str) -> list[str]:
    """Compiles a small program in a process of its own; returns what the cache did."""
    own = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
    variables = {name: value for name, value in os.environ.items() if name not in own}
    words = [sys.executable, "-c", PROBE, folder]
    done = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
