"""ETT, electricity transformer temperature: the csv files of the long-term forecasting benchmark."""

import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxzoo.data.dataset import DataError, Dataset
from jaxzoo.data.folder import find_file, reading, sha256_of

COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
MINUTES = {"ETTh1": 60, "ETTh2": 60, "ETTm1": 15, "ETTm2": 15}
MAX_BYTES = 64 << 20
"""The largest of the files has 10 MB."""


LARGEST = float(np.finfo(np.float32).max)


class Borders(NamedTuple):
    """The rows of each part, by the protocol of Informer: 12, 4 and 4 months of 30 days.

    A forecast of the first row of a part looks back into the one before: cut windows from
    `slice(part.start - lookback, part.stop)`.
    """

    train: slice
    validation: slice
    test: slice


def ett_csv(folder: Path, name: str) -> tuple[Dataset, Borders]:
    """One ETT series, from `folder/ETT-small/NAME.csv` or `folder/NAME.csv`.

    Args:
      folder: the data folder, as from `data_folder`.
      name: "ETTh1" or "ETTh2", hourly; "ETTm1" or "ETTm2", every 15 minutes.

    Returns:
      The series: x [t, 5] float32, the time of a row as month, day, weekday (0 is Monday), hour and minute; y [t, 7]
        float32, the six loads and the oil temperature OT, as measured. Scale with `standardise(y[borders.train], y)`.
      The borders of its parts.

    Raises:
      DataError: the file is missing; a column, a cell or a date is not as it should be; rows are missing, or there are
        fewer than the borders need.
    """
    if name not in MINUTES:
        raise ValueError(f"name: expected one of {', '.join(MINUTES)}, got {name!r}")
    called = f"{name}.csv of the ETDataset repository, folder ETT-small"
    path = find_file(folder, f"ETT-small/{name}.csv", f"{name}.csv", called=called)
    with reading(path):
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}")
        lines = path.read_text("utf-8-sig").splitlines()
    times, values = _parse(path, lines, MINUTES[name])
    borders = _borders(24 * 60 // MINUTES[name])
    if len(values) < borders.test.stop:
        raise DataError(f"{path}: expected at least {borders.test.stop} rows, got {len(values)}; it is cut off")
    dataset = Dataset(
        x=np.array([(t.month, t.day, t.weekday(), t.hour, t.minute) for t in times], np.float32),
        y=values,
        name=name,
        licence="CC BY-ND 4.0",
        source="Zhou et al.: Informer, arXiv 2012.07436",
        sha256=sha256_of(path),
        feature_names=("month", "day", "weekday", "hour", "minute"),
        target_names=COLUMNS,
    )
    return dataset, borders


def _borders(rows_per_day: int) -> Borders:
    month = 30 * rows_per_day
    return Borders(slice(0, 12 * month), slice(12 * month, 16 * month), slice(16 * month, 20 * month))


def _parse(path: Path, lines: list[str], minutes: int) -> tuple[list[datetime.datetime], np.ndarray]:
    """Dates and values [t, 7] of the lines; every row `minutes` after the one before."""
    header = ("date", *COLUMNS)
    if not lines or tuple(lines[0].strip().split(",")) != header:
        raise DataError(f"{path}, line 1: expected the columns {','.join(header)}, got {(lines or [''])[0][:100]!r}")
    values = np.empty((len(lines) - 1, len(COLUMNS)), np.float32)
    times = []
    for number, line in enumerate(lines[1:], start=2):
        date, *cells = line.split(",")
        try:
            times.append(datetime.datetime.fromisoformat(date).replace(tzinfo=None))
            row = [float(cell) for cell in cells]
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}") from None
        if len(row) != len(COLUMNS) or not all(abs(value) < LARGEST for value in row):
            raise DataError(f"{path}, line {number}: expected a date and {len(COLUMNS)} numbers, got {line[:100]!r}")
        if len(times) > 1 and times[-1] - times[-2] != datetime.timedelta(minutes=minutes):
            raise DataError(f"{path}, line {number}: expected a row {minutes} minutes after {times[-2]}, got {date}")
        values[number - 2] = row
    return times, values
