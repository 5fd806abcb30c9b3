"""What can go wrong during a save: the program dies, the disk is full, the folder is read-only."""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.experiment import manifest
from jaxzoo.experiment.checkpoint import CheckpointError, restore, save


def small(step):
    return {"w": jnp.full((2, 3), step, jnp.float32), "n": jnp.int32(step)}


def saved(folder, *which):
    for step in which:
        save(folder, step, small(step), {"step": step})
    return folder


def steps(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_same(tree, expected):
    jax.tree.map(np.testing.assert_array_equal, tree, expected)


class Crash(BaseException):
    """The program dies here."""


def failing(monkeypatch, at, error):
    """Lets call number `at` of those that change the disk fail; with a Crash, half done, and all later ones too."""
    count, dies = 0, isinstance(error, Crash)

    def wrap(function):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count < at or (count > at and not dies):
                return function(*args, **kwargs)
            if function.__name__ == "rmtree" and not dies:
                return None  # all are called with ignore_errors
            if function.__name__ == "rmtree" and count == at:
                for path in [path for path in args[0].rglob("*") if path.is_file()][:1]:
                    path.unlink()
            raise error

        return call

    for module, name in [(os, "fsync"), (os, "replace"), (shutil, "rmtree"), (Path, "mkdir")]:
        monkeypatch.setattr(module, name, wrap(getattr(module, name)))
    return lambda: count


@pytest.mark.parametrize("step", [2, 3])
def test_dying_at_any_point_of_a_save_leaves_a_good_step(tmp_path, monkeypatch, step):
    """Step 2 replaces one that is there, step 3 is new and removes an old one."""
    saved(tmp_path / "before", 1, 2)
    for at in range(1, 100):
        folder = shutil.copytree(tmp_path / "before", tmp_path / str(at))
        with monkeypatch.context() as patch:
            count = failing(patch, at, Crash())
            try:
                save(folder, step, small(9), {"step": 9})
            except Crash:
                pass
            else:
                assert count() < at
                break
        found = restore(folder, small(0))
        assert (found.step, found.meta["step"]) in [(2, 2), (step, 9)]
        assert_same(found.tree, small(found.meta["step"]))
        for left in steps(folder):
            manifest.check(folder / left, manifest.read(folder / left, int(left.removesuffix(".replaced"))))
    assert at > 12


def test_what_a_dead_program_left_is_cleared_away_and_nothing_else(tmp_path):
    saved(tmp_path, 1, 2)
    for litter in ("3.tmp", "1.replaced.tmp", "2.replaced"):
        shutil.copytree(tmp_path / "2", tmp_path / litter)
    for other in ("notes", "notes.tmp", "04", "-1"):
        (tmp_path / other).mkdir()
    assert restore(tmp_path, small(0)).step == 2
    assert steps(tmp_path) == ["-1", "04", "1", "2", "notes", "notes.tmp"]
    (tmp_path / "3.tmp").mkdir()
    saved(tmp_path, 3)
    assert steps(tmp_path) == ["-1", "04", "2", "3", "notes", "notes.tmp"]


def test_a_step_that_was_being_replaced_counts_until_it_is(tmp_path):
    saved(tmp_path, 1, 2)
    (tmp_path / "2").rename(tmp_path / "2.replaced")
    found = restore(tmp_path, small(0))
    assert (found.step, found.meta) == (2, {"step": 2})
    saved(tmp_path, 2)
    assert steps(tmp_path) == ["1", "2"]


def test_an_error_at_any_point_of_a_save_is_explained_and_loses_nothing(tmp_path, monkeypatch):
    saved(tmp_path / "before", 1, 2)
    messages = []
    for at in range(1, 100):
        folder = shutil.copytree(tmp_path / "before", tmp_path / str(at))
        with monkeypatch.context() as patch:
            count = failing(patch, at, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            try:
                save(folder, 3, small(3), {"step": 3})
                expected = 3
            except CheckpointError as error:
                messages.append(str(error))
                expected = 2
        assert restore(folder, small(0)).step == expected
        assert not [name for name in steps(folder) if name.endswith(".tmp")]
        if count() < at:
            break
    assert len(messages) > 8
    assert all(re.fullmatch(r"could not write step 3 in .*: No space left on device; .*: 2, 1", m) for m in messages)


def test_a_disk_that_takes_no_more_bytes_is_explained_and_loses_nothing(tmp_path, capfd):
    saved(tmp_path, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"could not write step 2 .*: File too large; .* untouched: 1"):
            save(tmp_path, 2, {"w": np.ones(100_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert steps(tmp_path) == ["1"]
    assert restore(tmp_path, small(0)).step == 1
    assert capfd.readouterr().err == ""


def test_a_disk_with_too_little_space_is_refused_before_a_byte_is_written(tmp_path, monkeypatch, capfd):
    saved(tmp_path, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(total=10**9, free=5000))
    with pytest.raises(CheckpointError, match=r"No space left on device: 5000 bytes are free, it takes 16412; .*: 1"):
        saved(tmp_path, 2)
    assert steps(tmp_path) == ["1"]
    assert capfd.readouterr().err == ""


@pytest.fixture
def read_only():
    """A folder with step 1, and a process that may not write there; root gives its rights away for the time."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    saved(folder / "stage", 1)
    (folder / "stage").chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder / "stage"
    os.seteuid(user)
    (folder / "stage").chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_folder_is_explained_and_still_read(read_only):
    with pytest.raises(CheckpointError, match=r"could not write step 2 .*: Permission denied; .* untouched: 1"):
        save(read_only, 2, small(2), {})
    assert restore(read_only, small(0)).step == 1


SAVE_FOR_EVER = """
import sys
import numpy as np
from jaxzoo.experiment.checkpoint import save
for step in range(10**6):
    save(sys.argv[1], step, {str(i): np.full(1000 * i, step) for i in range(5)}, {"step": step})
    print(step, flush=True)
"""


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kill_9_loses_no_step_that_was_saved(tmp_path, seed):
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'kernels'}"}
    command = [sys.executable, "-c", SAVE_FOR_EVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        first = [process.stdout.readline().strip() for _ in range(3)]
        time.sleep(np.random.default_rng(seed).uniform(0, 0.1))
        process.kill()
        printed = process.stdout.read().split()
    last = int([*first, *printed][-1])
    found = restore(tmp_path, None)
    assert found.step in (last, last + 1)
    assert_same(found.tree, {str(i): np.full(1000 * i, found.step) for i in range(5)})
    assert len(steps(tmp_path)) <= 3
    assert not [name for name in steps(tmp_path) if name.endswith(".tmp")]
