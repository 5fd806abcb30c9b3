"""ETT csv files: what is read, and what is refused."""

import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxzoo.data import DataError, ett_csv, standardise
from jaxzoo.data.ett import COLUMNS, _parse

HEADER = "date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT"
START = datetime.datetime(2016, 7, 1)


def rows(n, minutes=60):
    """Rows in the format of the files; the values of row i are i, i + 0.5, ..., i + 3."""
    return [
        ",".join(
            [str(START + i * datetime.timedelta(minutes=minutes)), *(f"{i + column / 2:.3f}" for column in range(7))]
        )
        for i in range(n)
    ]


def write(path, lines, end="\n"):
    path.parent.mkdir(exist_ok=True)
    path.write_text(end.join(lines) + end, newline="")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write(folder / "ETT-small" / "ETTh1.csv", [HEADER, *rows(14_420)])
    return folder


def test_values_and_times(folder):
    dataset, _ = ett_csv(folder, "ETTh1")
    assert (dataset.y.shape, dataset.y.dtype) == ((14_420, 7), np.float32)
    np.testing.assert_array_equal(dataset.y, np.arange(14_420)[:, None] + np.arange(7) / 2)
    assert dataset.target_names == COLUMNS
    # The first of July 2016 was a Friday.
    assert dataset.x[0].tolist() == [7, 1, 4, 0, 0]
    assert dataset.x[25].tolist() == [7, 2, 5, 1, 0]


def test_borders_are_those_of_informer(folder):
    dataset, borders = ett_csv(folder, "ETTh1")
    assert borders.train == slice(0, 8640)
    assert borders.validation == slice(8640, 11_520)
    assert borders.test == slice(11_520, 14_400)
    train, whole = standardise(dataset.y[borders.train], dataset.y)
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-4)
    np.testing.assert_array_equal(whole[borders.train], train)


def test_quarter_hours(tmp_path):
    write(tmp_path / "ETTm1.csv", [HEADER, *rows(57_600, minutes=15)])
    dataset, borders = ett_csv(tmp_path, "ETTm1")
    assert borders.test == slice(4 * 11_520, 4 * 14_400)
    assert dataset.x[97].tolist() == [7, 2, 5, 0, 15]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"missing file: ETT-small/ETTh2\.csv or ETTh2\.csv .*ETDataset"):
        ett_csv(tmp_path, "ETTh2")


def test_a_series_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="name: expected one of ETTh1, ETTh2, ETTm1, ETTm2, got 'ETTh3'"):
        ett_csv(tmp_path, "ETTh3")


def damaged(*changes):
    lines = [HEADER, *rows(6)]
    for number, line in changes:
        lines[number - 1] = line
    return lines


HOSTILE = {
    "nothing": ([""], "line 1: expected the columns date,HUFL"),
    "other columns": ([HEADER.replace("OT", "TO"), *rows(6)], "line 1: expected the columns"),
    "no header": (rows(6), "line 1: expected the columns"),
    "cut off": (damaged(), "expected at least 14400 rows, got 6"),
    "a cell is missing": (damaged((3, "2016-07-01 01:00:00,1,2,3,4,5,6")), "line 3: expected a date and 7 numbers"),
    "a cell too many": (damaged((3, "2016-07-01 01:00:00,1,2,3,4,5,6,7,8")), "line 3: expected a date and 7 numbers"),
    "an empty cell": (damaged((4, "2016-07-01 02:00:00,1,2,,4,5,6,7")), "line 4: could not convert"),
    "not a number": (damaged((4, "2016-07-01 02:00:00,1,2,nan,4,5,6,7")), "line 4: expected a date and 7 numbers"),
    "infinite": (damaged((4, "2016-07-01 02:00:00,1,2,-inf,4,5,6,7")), "line 4: expected a date and 7 numbers"),
    "beyond float32": (damaged((4, "2016-07-01 02:00:00,1,2,1e39,4,5,6,7")), "line 4: expected a date and 7 numbers"),
    "text": (damaged((4, "2016-07-01 02:00:00,1,2,three,4,5,6,7")), "line 4: could not convert"),
    "no date": (damaged((5, "yesterday,1,2,3,4,5,6,7")), "line 5: Invalid isoformat"),
    "a row left out": (damaged((5, "2016-07-01 04:00:00,1,2,3,4,5,6,7")), "line 5: expected a row 60 minutes after"),
    "a row twice": (damaged((5, "2016-07-01 02:00:00,1,2,3,4,5,6,7")), "line 5: expected a row 60 minutes after"),
    "an empty line": (damaged((5, "")), "line 5: Invalid isoformat"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path, case):
    lines, message = HOSTILE[case]
    write(tmp_path / "ETTh1.csv", lines)
    with pytest.raises(DataError, match=rf"ETTh1\.csv.*{message}"):
        ett_csv(tmp_path, "ETTh1")


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "ETTh1.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"ETTh1\.csv: can't be read"):
        ett_csv(tmp_path, "ETTh1")


def test_a_file_far_too_large_is_not_read(tmp_path):
    with (tmp_path / "ETTh1.csv").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="expected at most 67108864 bytes, got 1099511627776"):
        ett_csv(tmp_path, "ETTh1")


def test_line_ends_and_mark_of_windows(tmp_path, folder):
    write(tmp_path / "ETTh1.csv", ["\ufeff" + HEADER, *rows(14_420)], end="\r\n")
    np.testing.assert_array_equal(ett_csv(tmp_path, "ETTh1")[0].y, ett_csv(folder, "ETTh1")[0].y)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    cells=st.lists(
        st.one_of(
            st.text(max_size=12),
            st.sampled_from(
                ["nan", "1e999", "0x10", "2016-07-01 01:00:00", "2016-07-01 01:00+01", "9999-12-31 23:00:00"]
            ),
            st.floats().map(str),
        ),
        max_size=9,
    )
)
def test_no_line_does_more_than_raise_data_error(cells):
    lines = [HEADER, rows(1)[0], ",".join(cells)]
    refusal = None
    try:
        times, values = _parse(Path("x.csv"), lines, 60)
    except DataError as error:
        refusal = str(error)
    if refusal is None:
        assert np.isfinite(values).all()
        assert times[1] - times[0] == datetime.timedelta(hours=1)
    else:
        assert "x.csv, line 3" in refusal
