"""The files that jaxzoo carries can be made again from their origins, and come out equal."""

import gzip
import io
import json
import platform

import numpy as np
import pytest

from jaxzoo.data import make_files
from jaxzoo.data.tables import FILES


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("sklearn.datasets", make_files.table_files),
        ("statsmodels.datasets", make_files.series_files),
        ("networkx", make_files.graph_files),
    ],
    ids=["scikit-learn", "statsmodels", "networkx"],
)
def test_arrays_made_again_are_equal(package, make):
    pytest.importorskip(package)
    for name, content in make():
        made, carried = np.load(io.BytesIO(content)), np.load(FILES / name)
        assert set(made) == set(carried)
        for key in made:
            np.testing.assert_array_equal(made[key], carried[key], err_msg=f"{name}, {key}")
            assert made[key].dtype == carried[key].dtype
        carried.close()


@pytest.mark.skipif(
    platform.python_version() != make_files.TOPICS_PYTHON, reason=f"the topics are those of {make_files.TOPICS_PYTHON}"
)
def test_topics_made_again_are_equal():
    name, content = make_files.topics_file()
    assert json.loads(gzip.decompress(content)) == json.loads(gzip.decompress((FILES / name).read_bytes()))


def test_topics_of_another_python_are_refused(monkeypatch):
    monkeypatch.setattr(make_files, "TOPICS_PYTHON", "2.7.0")
    with pytest.raises(RuntimeError, match=r"made with Python 2\.7\.0"):
        make_files.topics_file()


def test_equal_content_gives_equal_bytes(monkeypatch):
    arrays, text = {"x": np.arange(5), "y": np.ones(3)}, {"b": "two", "a": "one"}
    first = make_files.compressed_arrays(**arrays), make_files.compressed_text(text)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert first == (make_files.compressed_arrays(**arrays), make_files.compressed_text(dict(reversed(text.items()))))


def test_decimal_years_count_days_of_leap_years():
    years = make_files.decimal_years(["1959-01-01", "1960-07-01", "1960-12-31"])
    np.testing.assert_allclose(years, [1959, 1960 + 182 / 366, 1961 - 1 / 366], rtol=1e-12)
