"""What `jaxzoo run` sets before jax starts, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jaxlib
import pytest

from jaxzoo.cli.prepare import prepare

CODE = """
import json, os, sys
from jaxzoo.cli.prepare import prepare
prepare(cache=sys.argv[1] == "cache")
import jax
names = ("jax_enable_compilation_cache", "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
print(json.dumps([getattr(jax.config, name) for name in names] + [os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"]]))
"""


def prepared(argument: str, **variables: str) -> list:
    """enable, folder, least seconds and preallocation, as jax sees them."""
    ours = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "XLA_PYTHON_CLIENT_PREALLOCATE")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[1]), **variables}
    words = [sys.executable, "-c", CODE, argument]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the folder's place is another on other systems")
def test_programs_are_kept_in_the_users_cache_by_version_of_jaxlib(tmp_path):
    enabled, folder, seconds, preallocate = prepared("cache", XDG_CACHE_HOME=str(tmp_path))
    assert enabled
    assert Path(folder).parent == tmp_path / "jaxzoo"
    assert Path(folder).name.startswith(f"xla-{jaxlib.__version__}-")
    assert (seconds, preallocate) == (0, "false")


def test_settings_of_the_environment_win(tmp_path):
    own = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "3",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "true",
    }
    assert prepared("cache", **own) == [True, str(tmp_path), 3.0, "true"]


def test_the_cache_can_be_left_out():
    assert prepared("recompile")[0] is False


@pytest.mark.parametrize(("before", "after"), [(None, ""), ("--xla_dump_to=x", "--xla_dump_to=x ")])
def test_a_quick_run_adds_to_the_flags_of_the_environment(monkeypatch, before, after):
    for name in ("XLA_PYTHON_CLIENT_PREALLOCATE", "JAX_ENABLE_COMPILATION_CACHE"):
        monkeypatch.setenv(name, "false")
    monkeypatch.setenv("XLA_FLAGS", before or "")
    prepare(cache=False, quick=True)
    assert os.environ["XLA_FLAGS"] == f"{after}--xla_backend_optimization_level=0"
