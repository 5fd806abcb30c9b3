"""Makes the files that jaxzoo carries, from the packages they come from: `python -m jaxzoo.data.make_files [FOLDER]`.

Needs the extra `data`. The topics of the Python documentation differ between versions of Python; the frozen ones are
those of `TOPICS_PYTHON`. After a change, enter the printed sha256 values where the files are loaded.
"""

import gzip
import hashlib
import io
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxzoo.extras import require

TOPICS_PYTHON = "3.11.7"


def compressed_arrays(**arrays) -> bytes:
    """An .npz archive of the arrays. numpy dates every member 1980-01-01, so that equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def compressed_text(documents: dict[str, str]) -> bytes:
    """Gzipped JSON of name -> text in sorted order, without date or file name in the header."""
    content = json.dumps(documents, ensure_ascii=False, sort_keys=True).encode()
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def table_files() -> Iterator[tuple[str, bytes]]:
    """The small tables of scikit-learn."""
    datasets = require("sklearn.datasets", "data")
    digits = datasets.load_digits()
    yield "digits.npz", compressed_arrays(x=digits.images.astype(np.uint8), y=digits.target.astype(np.uint8))
    for name in ("breast_cancer", "wine", "iris"):
        table = getattr(datasets, f"load_{name}")()
        yield (
            f"{name}.npz",
            compressed_arrays(
                x=table.data.astype(np.float32),
                y=table.target.astype(np.uint8),
                feature_names=np.array(table.feature_names),
                target_names=np.array(table.target_names),
            ),
        )
    diabetes = datasets.load_diabetes(scaled=False)
    yield (
        "diabetes.npz",
        compressed_arrays(
            x=diabetes.data.astype(np.float32),
            y=diabetes.target.astype(np.float32),
            feature_names=np.array(diabetes.feature_names),
            target_names=np.array(["progression"]),
        ),
    )
    linnerud = datasets.load_linnerud()
    yield (
        "linnerud.npz",
        compressed_arrays(
            x=linnerud.data.astype(np.float32),
            y=linnerud.target.astype(np.float32),
            feature_names=np.array(linnerud.feature_names),
            target_names=np.array(linnerud.target_names),
        ),
    )


def topics_file() -> tuple[str, bytes]:
    """The topics of `help()` of this Python, which must be the frozen version."""
    if platform.python_version() != TOPICS_PYTHON:
        raise RuntimeError(
            f"pydoc_topics.json.gz: made with Python {TOPICS_PYTHON}, this is {platform.python_version()}"
        )
    from pydoc_data.topics import topics

    return "pydoc_topics.json.gz", compressed_text(topics)


def main(folder: Path) -> None:
    for name, content in (*table_files(), topics_file()):
        (folder / name).write_bytes(content)
        print(f"{name:24s} {len(content):7d} bytes  sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "files")
