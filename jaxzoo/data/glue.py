"""GLUE: nine tasks on sentences and pairs of sentences, from their official tab-separated files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxzoo.data.dataset import DataError
from jaxzoo.data.folder import find_file, reading, sha256_of


class GlueTask(NamedTuple):
    """Where the parts of a task stand.

    Attributes:
      folder: of its files.
      columns: of the first and second sentence; the second may be None.
      label: column of the label.
      classes: values of the label, in the order of their numbers; empty for real numbers.
      test_columns: of the sentences in the test file, where they differ.
      dev, test: names of the files; "train.tsv" is always that.
    """

    folder: str
    columns: tuple[str, str | None]
    label: str
    classes: tuple[str, ...] = ("0", "1")
    test_columns: tuple[str, str | None] | None = None
    dev: str = "dev.tsv"
    test: str = "test.tsv"


ENTAILMENT = ("entailment", "not_entailment")
MNLI = ("contradiction", "entailment", "neutral")
GLUE = {
    "cola": GlueTask("CoLA", ("3", None), "1", test_columns=("sentence", None)),
    "sst-2": GlueTask("SST-2", ("sentence", None), "label"),
    "mrpc": GlueTask("MRPC", ("#1 String", "#2 String"), "Quality"),
    "sts-b": GlueTask("STS-B", ("sentence1", "sentence2"), "score", ()),
    "qqp": GlueTask("QQP", ("question1", "question2"), "is_duplicate"),
    "mnli": GlueTask(
        "MNLI", ("sentence1", "sentence2"), "gold_label", MNLI, dev="dev_matched.tsv", test="test_matched.tsv"
    ),
    "mnli-mm": GlueTask(
        "MNLI", ("sentence1", "sentence2"), "gold_label", MNLI, dev="dev_mismatched.tsv", test="test_mismatched.tsv"
    ),
    "qnli": GlueTask("QNLI", ("question", "sentence"), "label", ENTAILMENT),
    "rte": GlueTask("RTE", ("sentence1", "sentence2"), "label", ENTAILMENT),
    "wnli": GlueTask("WNLI", ("sentence1", "sentence2"), "label"),
}
"""Task -> where its parts stand. CoLA's train and dev files have no header; their columns are called 0, 1, 2, 3."""
BROKEN = frozenset({"qqp"})
"""Tasks whose official files hold a few rows that are cut off; these are left out."""


class GlueSplit(NamedTuple):
    """A part of a task.

    Attributes:
      first: n sentences.
      second: n sentences, or None for tasks on single ones.
      labels: [n] int32 classes or float32 numbers; None for a test part.
      left_out: rows that were cut off.
      sha256: of the bytes of the file.
    """

    first: list[str]
    second: list[str] | None
    labels: np.ndarray | None
    left_out: int
    sha256: str


def glue_tsv(folder: Path, task: str, part: str) -> GlueSplit:
    """A part of a task from `folder/TASK/PART.tsv` or `folder/glue_data/TASK/PART.tsv`, as in the official archives.

    Columns are found by the header. Quotation marks are characters like others, and only a newline ends a row.

    Args:
      folder: the data folder, as from `data_folder`.
      task: a name in `GLUE`.
      part: "train", "dev" or "test"; the last has no labels.

    Returns:
      The part, in the order of the file.

    Raises:
      DataError: the file is missing, lacks a column, or a row is not as it should be.
      ValueError: an unknown task or part.
    """
    if task not in GLUE:
        raise ValueError(f"task: expected one of {', '.join(GLUE)}, got {task!r}")
    if part not in ("train", "dev", "test"):
        raise ValueError(f"part: expected train, dev or test, got {part!r}")
    entry = GLUE[task]
    name = f"{entry.folder}/" + {"train": "train.tsv", "dev": entry.dev, "test": entry.test}[part]
    path = find_file(folder, name, f"glue_data/{name}", called=f"the {part} part of GLUE's {entry.folder}")
    header = task != "cola" or part == "test"
    columns = entry.test_columns or entry.columns if part == "test" else entry.columns
    wanted = [c for c in (*columns, None if part == "test" else entry.label) if c is not None]
    cells, left_out = _table(path, wanted, header=header, skip=task in BROKEN)
    second = cells[1] if columns[1] is not None else None
    labels = None if part == "test" else _labels(path, cells[-1], entry.classes, header)
    return GlueSplit(cells[0], second, labels, left_out, sha256_of(path))


def _table(path: Path, wanted: list[str], *, header: bool, skip: bool) -> tuple[list[list[str]], int]:
    """The wanted columns, and the number of rows that were left out."""
    with reading(path):
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    rows = [line.removesuffix("\r").split("\t") for line in (lines[:-1] if lines[-1] == "" else lines)]
    names = rows[0] if header else [str(i) for i in range(len(rows[0]))]
    rows = rows[1:] if header else rows
    missing = [name for name in wanted if name not in names]
    if missing:
        raise DataError(f"{path}, line 1: expected the columns {', '.join(wanted)}; {', '.join(missing)} is not there")
    if not rows:
        raise DataError(f"{path}: expected rows, got none")
    at = [names.index(name) for name in wanted]
    whole = [row for row in rows if len(row) >= len(names)]
    if len(whole) < len(rows) and not skip:
        number = next(i for i, row in enumerate(rows, 1 + header) if len(row) < len(names))
        raise DataError(f"{path}, line {number}: expected {len(names)} cells with tabs between them")
    return [[row[i] for row in whole] for i in at], len(rows) - len(whole)


def _labels(path: Path, cells: list[str], classes: tuple[str, ...], header: bool) -> np.ndarray:
    if not classes:
        try:
            values = np.array(cells, np.float32)
        except ValueError as error:
            raise DataError(f"{path}: a score is no number: {error}") from None
        if not np.isfinite(values).all():
            raise DataError(f"{path}: expected finite scores")
        return values
    number = {name: i for i, name in enumerate(classes)}
    for row, cell in enumerate(cells, 1 + header):
        if cell not in number:
            raise DataError(f"{path}, row {row}: expected a label of {', '.join(classes)}, got {cell[:100]!r}")
    return np.array([number[cell] for cell in cells], np.int32)
