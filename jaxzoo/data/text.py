"""Text: what jaxzoo carries and what comes with Python, and text as integers."""

import collections
import gzip
import hashlib
import json
import platform
import re
import sysconfig
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxzoo.data.dataset import DataError, read_checked
from jaxzoo.data.folder import find_file
from jaxzoo.data.tables import FILES

OTHER = "\N{REPLACEMENT CHARACTER}"
"""Stands in a vocabulary for everything that is not in it."""

PSF = "PSF-2.0; Copyright (c) 2001 Python Software Foundation"
TOPICS_SHA256 = "4555ffc6104949c6492d95ff97904a025b4d0963ac99859b0d5b399cca1531d1"


class Corpus(NamedTuple):
    """Documents by name.

    Attributes:
      documents: name -> text, in sorted order of the names.
      name: what it is called here.
      licence: terms of use.
      source: who made it and where it comes from.
      sha256: of the bytes that were read.
    """

    documents: dict[str, str]
    name: str
    licence: str
    source: str
    sha256: str


def pydoc_corpus() -> Corpus:
    """English technical prose: the topics of Python's `help()`, 79 documents, 0.46 million characters; of 3.11.7."""
    content = gzip.decompress(read_checked(FILES / "pydoc_topics.json.gz", TOPICS_SHA256))
    return Corpus(
        documents=json.loads(content),
        name="pydoc_topics",
        licence=PSF,
        source="pydoc_data.topics of CPython 3.11.7",
        sha256=TOPICS_SHA256,
    )


def pydoc_topics() -> str:
    """The text of `pydoc_corpus`, all topics in sorted order joined by newlines: a str of 0.46 million characters."""
    return "\n".join(pydoc_corpus().documents.values())


def text_file(folder: Path, name: str) -> str:
    """A plain text of the user's own, UTF-8, such as a WikiText split.

    Args:
      folder: the data folder, as from `data_folder`.
      name: of the file in it.

    Raises:
      DataError: the file is missing, or its bytes are not UTF-8.
    """
    path = find_file(folder, name, called="plain text in UTF-8")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text, byte {error.start} is not") from None


def python_source(folder: Path | None = None) -> Corpus:
    """Python source code: the .py files of a folder, by default the top level of this Python's standard library.

    The standard library differs between versions of Python, so its sha256 is told and not checked; the record of a run
    should hold it.

    Args:
      folder: where the files lie; subfolders are not read.

    Returns:
      The corpus; document names are file names.

    Raises:
      DataError: the folder holds no .py file.
    """
    standard = folder is None
    folder = Path(sysconfig.get_path("stdlib")) if standard else Path(folder)
    contents = {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}
    if not contents:
        raise DataError(f"{folder}: no .py file in this folder")
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return Corpus(
        documents={name: content.decode("utf-8", errors="replace") for name, content in contents.items()},
        name="python_source",
        licence=PSF if standard else "as the files state",
        source=f"standard library of CPython {platform.python_version()}" if standard else str(folder),
        sha256=digest.hexdigest(),
    )


def encode(items: Sequence[Hashable], vocabulary: Iterable[Hashable]) -> np.ndarray:
    """Items as integers: [n], the position of each in `vocabulary`; the last position for one that is not in it.

    The type is uint8 for up to 256 positions, else int32.
    """
    position = {item: i for i, item in enumerate(vocabulary)}
    dtype = np.uint8 if len(position) <= 256 else np.int32
    other = len(position) - 1
    return np.fromiter((position.get(item, other) for item in items), dtype, count=len(items))


def _most_frequent(items: Sequence[str], vocabulary_size: int) -> tuple[str, ...]:
    if vocabulary_size < 2:
        raise ValueError(f"vocabulary_size: expected at least 2 (one item and the other), got {vocabulary_size}")
    counts = collections.Counter(items)
    counts.pop(OTHER, None)
    ranked = sorted(counts, key=lambda item: (-counts[item], item))
    return (*ranked[: vocabulary_size - 1], OTHER)


def characters(text: str, vocabulary_size: int, *, lower: bool = False) -> tuple[np.ndarray, tuple[str, ...]]:
    """Text as integers, one per character.

    Args:
      text: n characters.
      vocabulary_size: at most so many ids: the most frequent characters, and one for every other.
      lower: whether to lower-case the text first.

    Returns:
      tokens: [n] uint8 (int32 above 256 ids).
      vocabulary: the character of each id, by falling frequency and then by code point; the last is `OTHER`. Shorter
        than `vocabulary_size` where the text has fewer characters. `"".join(vocabulary[i] for i in tokens)` decodes.
    """
    text = text.lower() if lower else text
    vocabulary = _most_frequent(text, vocabulary_size)
    return encode(text, vocabulary), vocabulary


def words(text: str, vocabulary_size: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Text as integers, one per word: lower-cased runs of letters, so `read_csv` is two words.

    Args:
      text: prose or source code.
      vocabulary_size: at most so many ids: the most frequent words, and one for every other.

    Returns:
      tokens: [n] int32 (uint8 up to 256 ids), in the order of the text.
      vocabulary: the word of each id, by falling frequency and then in alphabetical order; the last is `OTHER`.
    """
    found = re.findall(r"[^\W\d_]+", text.lower())
    vocabulary = _most_frequent(found, vocabulary_size)
    return encode(found, vocabulary), vocabulary
