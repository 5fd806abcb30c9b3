"""The manifest of a checkpoint: its leaves, and size and sha256 of every file, so that damage is found and named.

manifest.json      format, step, meta, leaves and files
manifest.sha256    of manifest.json, as `sha256sum -c` reads it
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxzoo.experiment.files import StorageError, decode, encode, sync_names

FORMAT = 1
MANIFEST, DIGEST, ARRAYS = "manifest.json", "manifest.sha256", "arrays"
LEAF_FILE = re.compile(rf"{ARRAYS}/([0-9]{{1,9}})/.+")
MANIFEST_BYTES = 64 * 2**20
"""The largest manifest that is read; one leaf takes about 500 bytes."""


class CheckpointError(StorageError):
    """A checkpoint could not be written or read, or does not fit the program that reads it."""


class Damage(Exception):
    """A file of a step is missing or altered; `Damage(file, what is wrong)`."""


class Leaf(NamedTuple):
    """One array; `impl` names the generator of typed PRNG keys, and is None for all else."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    impl: str | None = None

    def __str__(self):
        return f"{self.dtype}{list(self.shape)}"


class Manifest(NamedTuple):
    """What a step holds. Leaf i lies in the folder arrays/<i>; `files` maps a path to its (bytes, sha256)."""

    step: int
    meta: Any
    leaves: list[Leaf]
    files: dict[str, tuple[int, str]]

    def leaf_of(self, file: str) -> int | None:
        """The number of the leaf that a file belongs to, if it belongs to one."""
        match = LEAF_FILE.fullmatch(file)
        return int(match[1]) if match and int(match[1]) < len(self.leaves) else None

    def bytes_of_leaves(self) -> list[int]:
        """What the files of each leaf take on the disk."""
        total = [0] * len(self.leaves)
        for file, (size, _) in self.files.items():
            if (i := self.leaf_of(file)) is not None:
                total[i] += size
        return total


def write(folder: Path, step: int, meta: Any, leaves: list[Leaf]) -> None:
    """Writes the manifest of all files that are in the folder, and waits until everything is on the disk."""
    files = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
                files[path.relative_to(folder).as_posix()] = (file.tell(), digest)
    listed = [leaf._asdict() for leaf in leaves]
    content = encode({"format": FORMAT, "step": step, "meta": meta, "leaves": listed, "files": files})
    for name, data in ((MANIFEST, content), (DIGEST, digest_line(content))):
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    for parent, _, _ in os.walk(folder):
        sync_names(Path(parent))


def read(folder: Path, step: int) -> Manifest:
    """The manifest of a step; Damage if it is not what was written, CheckpointError if it is of another format."""
    with reading(MANIFEST):
        size = (folder / MANIFEST).stat().st_size
        if size > MANIFEST_BYTES:
            raise Damage(MANIFEST, f"expected at most {MANIFEST_BYTES} bytes, got {size}")
        content = (folder / MANIFEST).read_bytes()
    with reading(DIGEST), (folder / DIGEST).open("rb") as file:
        if file.read(MANIFEST_BYTES) != digest_line(content):
            raise Damage(MANIFEST, f"its sha256 is not the one in {DIGEST}")
    try:
        found = decode(content)
        if found["format"] != FORMAT:
            raise CheckpointError(f"{folder}: expected a checkpoint of format {FORMAT}, got {found['format']}")
        leaves = [Leaf(**(leaf | {"shape": tuple(leaf["shape"])})) for leaf in found["leaves"]]
        if not all(isinstance(n, int) and n >= 0 for leaf in leaves for n in leaf.shape):
            raise ValueError("expected sizes of at least 0")
        files = {name: (size, digest) for name, (size, digest) in found["files"].items()}
        manifest = Manifest(found["step"], found["meta"], leaves, files)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Damage(MANIFEST, f"it is no manifest: {error!r}") from error
    if manifest.step != step:
        raise Damage(MANIFEST, f"it belongs to step {manifest.step}")
    return manifest


def check(folder: Path, manifest: Manifest) -> None:
    """Holds every file against the manifest; Damage for the first that differs."""
    for name, (size, digest) in manifest.files.items():
        i = manifest.leaf_of(name)
        shown = name if i is None else f"{name} (leaf {manifest.leaves[i].name})"
        with reading(shown):
            if not (folder / name).is_file():
                raise Damage(shown, "it is missing")
            found = (folder / name).stat().st_size
            if found != size:
                raise Damage(shown, f"expected {size} bytes, got {found}")
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise Damage(shown, "its sha256 is not the one in the manifest")


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Within it a file that is missing or can't be read is damage; one that may not be read is an error of its own."""
    try:
        yield
    except FileNotFoundError as error:
        raise Damage(name, "it is missing") from error
    except PermissionError as error:
        raise CheckpointError(f"could not read {error.filename}: {error.strerror}") from error
    except OSError as error:
        raise Damage(name, f"it can't be read: {error.strerror}") from error


def digest_line(content: bytes) -> bytes:
    """The line of manifest.sha256."""
    return f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n".encode()
