"""Checkpoints of one stage: a pytree per step, stored by Orbax and proved undamaged by a manifest.

    <folder>/<step>/manifest.json, manifest.sha256
    <folder>/<step>/arrays/<i>/    leaf i, one uncompressed zarr array; a leaf without elements has none

A step is written under a temporary name, and renamed when all of it is on the disk: what has the name of a step is
whole. Orbax alone returns wrong numbers after a flipped bit, refuses arrays without elements, and takes any folder
that is named like a number for a step. Nothing is pickled. A folder is used by one process at a time.
"""

import contextlib
import errno
import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.experiment import manifest as manifests
from jaxzoo.experiment.files import plain, sync_names
from jaxzoo.experiment.manifest import ARRAYS, CheckpointError, Damage, Leaf, Manifest

STEP = re.compile(r"(0|[1-9][0-9]*)(\.replaced)?")
TEMPORARY, REPLACED = ".tmp", ".replaced"
BYTES_BESIDE = 8192
"""What an array takes on the disk beside its bytes: its description, and both files rounded up to blocks."""


class DamagedCheckpoint(UserWarning):
    """A step was passed over because a file of it is damaged; the message names the file and the leaf."""


class Restored(NamedTuple):
    """What `restore` found.

    Attributes:
      step: of the checkpoint.
      tree: in the structure of `like`.
      meta: that was saved with it, as JSON gives it back.
    """

    step: int
    tree: Any
    meta: Any


def save(folder: str | os.PathLike, step: int, tree: Any, meta: Any, *, keep: int = 2) -> None:
    """Stores a pytree as `folder/<step>/`; when this returns, it is on the disk.

    Then older steps beyond `keep` are removed, and steps above `step`, which `restore` must have passed over.

    Args:
      folder: of the stage; made if it is missing.
      step: at least 0. A step that is there already is replaced.
      tree: pytree of jax or NumPy arrays of numbers, booleans or typed PRNG keys, of any shape and sharding.
      meta: whatever `files.write_json` takes.
      keep: how many steps are kept, this one among them; at least 1.

    Raises:
      TypeError, ValueError: a leaf is no such array, or two have one name; the message names it. Nothing is written.
      CheckpointError: the disk is full, the folder is read-only, and so on. The steps that were there are untouched.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"expected step >= 0 and keep >= 1, got step {step} and keep {keep}")
    leaves, arrays = _to_host(tree)
    meta = plain(meta, "meta")
    folder, before = Path(folder).absolute(), []
    temporary, final = folder / f"{step}{TEMPORARY}", folder / str(step)
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        before = _steps(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _remove_litter(folder)
        temporary.mkdir()
        _write_arrays(temporary / ARRAYS, arrays)
        manifests.write(temporary, step, meta, leaves)
        if final.exists():
            os.replace(final, folder / f"{step}{REPLACED}")
        os.replace(temporary, final)
    except OSError as error:
        kept = ", ".join(str(found) for found, _ in before)
        left = f"there before and untouched: {kept}" if before else "no step was there before"
        raise CheckpointError(f"could not write step {step} in {folder}: {error.strerror or error}; {left}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for path in (folder, *(path.parent for path in missing)):
        sync_names(path)
    _remove_litter(folder)
    steps = _steps(folder)
    wanted = [path for found, path in steps if found <= step][:keep]
    for _, path in steps:
        if path not in wanted:
            _remove(path)


def restore(folder: str | os.PathLike, like: Any) -> Restored | None:
    """The newest step of which every file is as it was written; None if there is none.

    A damaged step is reported by a `DamagedCheckpoint` warning, and the step before it is taken.

    Args:
      folder: of the stage.
      like: pytree of arrays or `jax.ShapeDtypeStruct`s: structure, shapes and dtypes to expect. A leaf comes back as a
        NumPy array where `like` has one, else as a jax array with the sharding of `like`, if it has one. None gives a
        dict by the names of the leaves, "params.w", of NumPy arrays and PRNG keys.

    Returns:
      `Restored`, or None.

    Raises:
      CheckpointError: leaves, shapes or dtypes are not those of `like`, or the folder may not be read.
    """
    folder = Path(folder).absolute()
    try:
        _remove_litter(folder)
        steps = _steps(folder)
    except OSError as error:
        raise CheckpointError(f"could not read {folder}: {error.strerror}") from error
    for i, (step, path) in enumerate(steps):
        try:
            manifest = manifests.read(path, step)
            targets = _targets(manifest.leaves, like, path)
            manifests.check(path, manifest)
            arrays = _read_arrays(path / ARRAYS, manifest)
        except Damage as damage:
            file, fault = damage.args
            then = f"step {steps[i + 1][0]} is taken instead" if i + 1 < len(steps) else "there is no step before it"
            warnings.warn(f"{path} is damaged: {file}: {fault}; {then}", DamagedCheckpoint, stacklevel=2)
            continue
        tree = {leaf.name: _to_device(leaf, array, targets[leaf.name]) for leaf, array in arrays}
        if like is not None:
            tree = jax.tree.unflatten(jax.tree.structure(like), [tree[name] for name in targets])
        return Restored(step, tree, manifest.meta)
    return None


def _named(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by their names, "state.params.w"."""
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".") or "tree"
        if name in named:
            raise ValueError(f"{name}: two leaves have this name; rename a key that has a dot in it")
        named[name] = leaf
    return named


def _to_host(tree: Any) -> tuple[list[Leaf], list[np.ndarray]]:
    """The leaves, and what is to be stored of each; refuses what is no array."""
    leaves, arrays = [], []
    for name, x in _named(tree).items():
        if not isinstance(x, jax.Array | np.ndarray | np.generic):
            raise TypeError(f"{name}: expected an array, got the {type(x).__name__} {x!r}; make it one by jnp.asarray")
        is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        is_number = jnp.issubdtype(x.dtype, jnp.number) and x.dtype.kind != "m"
        if not (is_key or is_number or x.dtype == np.bool_):
            raise TypeError(f"{name}: expected numbers, booleans or PRNG keys, got dtype {x.dtype}")
        leaves.append(Leaf(name, x.shape, x.dtype.name, jax.random.key_impl(x) if is_key else None))
        arrays.append(jax.random.key_data(x) if is_key else x)
    return leaves, jax.device_get(arrays)


def _targets(leaves: list[Leaf], like: Any, path: Path) -> dict[str, Any]:
    """The leaves of `like` by name, after a check that the step holds just these."""
    if like is None:
        return {leaf.name: None for leaf in leaves}
    targets = _named(like)
    expected = {name: Leaf(name, tuple(x.shape), x.dtype.name) for name, x in targets.items()}
    found = {leaf.name: leaf._replace(impl=None) for leaf in leaves}
    for name in [*expected, *found]:
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"{path}: leaf {name}: expected {expected.get(name, 'no such leaf')}, "
                f"found {found.get(name, 'no such leaf')}; it was saved by another program or config"
            )
    return targets


def _stored(leaf: Leaf) -> jax.ShapeDtypeStruct | np.ndarray:
    """What is stored of a leaf, of PRNG keys their words: its shape and dtype; if it has no elements, all of it."""
    try:
        shape, dtype = leaf.shape, leaf.dtype
        if leaf.impl is not None:
            words = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=leaf.impl)))
            shape, dtype = (*shape, *words.shape), words.dtype
        return np.zeros(shape, dtype) if 0 in shape else jax.ShapeDtypeStruct(shape, dtype)
    except (TypeError, ValueError) as error:
        raise Damage(manifests.MANIFEST, f"leaf {leaf.name}: {error}") from error


def _write_arrays(folder: Path, arrays: list[np.ndarray]) -> None:
    """Stores each array that has elements in a folder of its own."""
    tree = {str(i): x for i, x in enumerate(arrays) if x.size}
    if not tree:
        return
    folder.mkdir()
    disk, needed = shutil.disk_usage(folder), sum(x.nbytes + BYTES_BESIDE for x in tree.values())
    if disk.total > 0 and disk.free < needed:  # some network drives tell nothing
        raise OSError(errno.ENOSPC, f"No space left on device: {disk.free} bytes are free, it takes {needed}")
    with _orbax() as (ocp, handler):
        try:
            handler.save(folder, args=ocp.args.PyTreeSave(tree))
        except Exception as error:
            # A disk that fills up meanwhile is a ValueError with a page of text, of which this part says so.
            code = re.search(r"os_error_code='(\d+)'", str(error))
            raise (OSError(int(code[1]), os.strerror(int(code[1]))) if code else OSError(str(error))) from error


def _read_arrays(folder: Path, manifest: Manifest) -> list[tuple[Leaf, np.ndarray]]:
    """Every leaf with what is stored of it. Nothing is allocated for an array that claims more than its files hold."""
    stored = {str(i): _stored(leaf) for i, leaf in enumerate(manifest.leaves)}
    full = {i: x for i, x in stored.items() if x.size}
    arrays = {i: x for i, x in stored.items() if not x.size}
    held = manifest.bytes_of_leaves()
    for i, x in full.items():
        if x.size * x.dtype.itemsize > held[int(i)]:
            raise Damage(f"{ARRAYS}/{i}", f"{x.dtype}{x.shape} is more than its files hold")
    if full:
        with _orbax() as (ocp, handler):
            try:
                found = {i: (tuple(x.shape), x.dtype) for i, x in handler.metadata(folder).tree.items()}
                if found != {i: (x.shape, x.dtype) for i, x in full.items()}:
                    raise Damage(ARRAYS, "its arrays are not those of the manifest")
                how = dict.fromkeys(full, ocp.RestoreArgs(restore_type=np.ndarray))
                arrays |= handler.restore(folder, args=ocp.args.PyTreeRestore(dict.fromkeys(full, 0), restore_args=how))
            except Damage:
                raise
            except Exception as error:
                # The files are as they were written: to pass the step over would lose it to the next save.
                raise CheckpointError(f"{folder}: Orbax {ocp.__version__} can't read it: {error}") from error
    return [(leaf, arrays[str(i)]) for i, leaf in enumerate(manifest.leaves)]


def _to_device(leaf: Leaf, array: np.ndarray, like: Any) -> Any:
    """The leaf as NumPy or jax array, as `like` has it."""
    if leaf.impl is None and (like is None or isinstance(like, np.ndarray | np.generic)):
        return array
    value = array if leaf.impl is None else jax.random.wrap_key_data(array, impl=leaf.impl)
    # What jax was free to place must stay free: a committed array can't be used with arrays of other devices.
    sharding = getattr(like, "sharding", None) if getattr(like, "committed", True) else None
    value = jax.device_put(value, sharding)
    if value.dtype.name != leaf.dtype:
        raise CheckpointError(f"leaf {leaf.name}: found {leaf.dtype}, which needs jax_enable_x64")
    return value


def _steps(folder: Path) -> list[tuple[int, Path]]:
    """The steps in a folder, newest first. One that was being replaced when the program died counts too."""
    if not folder.exists():
        return []
    matches = [(STEP.fullmatch(path.name), path) for path in folder.iterdir()]
    steps = [(int(match[1]), path) for match, path in matches if match]
    return sorted(steps, key=lambda found: (-found[0], found[1].name))


def _remove_litter(folder: Path) -> None:
    """Removes what a program that died has left: steps half written, half removed, or already replaced."""
    for path in folder.iterdir() if folder.exists() else ():
        unfinished = path.suffix == TEMPORARY and STEP.fullmatch(path.stem)
        if unfinished or (path.suffix == REPLACED and path.with_suffix("").exists()):
            shutil.rmtree(path, ignore_errors=True)


def _remove(path: Path) -> None:
    """Removes a step so that at no moment a part of it has its name; if that fails, the next save tries again."""
    with contextlib.suppress(OSError):
        aside = path.with_name(path.name + TEMPORARY)
        os.replace(path, aside)
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _orbax() -> Iterator[tuple[Any, Any]]:
    """Orbax, and its handler for one folder per array, without compression, so that a file is as large as its array.

    Its log is dropped meanwhile: a dozen lines of every save, and of every error the tracebacks of its threads, though
    the error is raised here as well.
    """
    import orbax.checkpoint as ocp

    def is_of_others(record):
        return f"{os.sep}orbax{os.sep}" not in record.pathname

    logger = logging.getLogger("absl")
    logger.addFilter(is_of_others)
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False, use_compression=False)
    try:
        yield ocp, handler
    finally:
        handler.close()
        logger.removeFilter(is_of_others)
