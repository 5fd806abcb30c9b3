"""The carried time series, against the csv files they come from; and the tables of statsmodels."""

import numpy as np
import pytest

from jaxzoo.data import STATSMODELS, co2, co2_weekly, elnino, macrodata, nile, statsmodels_table, sunspots


@pytest.fixture(scope="module")
def peer():
    return pytest.importorskip("statsmodels.datasets")


def test_yearly_series_equal_statsmodels(peer):
    ours, theirs = sunspots(), peer.sunspots.load_pandas().data
    np.testing.assert_array_equal(np.stack([ours.x, ours.y], 1), theirs.to_numpy(np.float32))
    ours, theirs = nile(), peer.nile.load_pandas().data
    np.testing.assert_array_equal(np.stack([ours.x, ours.y], 1), theirs.to_numpy(np.float32))


def test_elnino_equals_statsmodels(peer):
    ours, theirs = elnino(), peer.elnino.load_pandas().data.to_numpy(np.float32)
    np.testing.assert_array_equal(np.column_stack([ours.x, ours.y]), theirs)
    assert ours.y.reshape(-1).shape == (732,)


def test_macrodata_equals_statsmodels(peer):
    ours, theirs = macrodata(), peer.macrodata.load_pandas().data
    assert ours.target_names == tuple(theirs.columns[2:])
    np.testing.assert_array_equal(ours.y, theirs.to_numpy(np.float32)[:, 2:])
    np.testing.assert_array_equal(ours.x, 1959 + 0.25 * np.arange(203))


def test_co2_leaves_out_weeks_without_a_value(peer):
    ours, theirs = co2(), peer.co2.load_pandas().data["co2"].dropna()
    assert len(ours.x) == len(ours.y) == 2225
    np.testing.assert_array_equal(ours.y, theirs.to_numpy(np.float32))
    np.testing.assert_array_equal(np.floor(ours.x), theirs.index.year)


def test_co2_weekly_is_regular_and_agrees_with_the_measured_weeks():
    weekly, measured = co2_weekly(), co2()
    assert len(weekly.x) == 2284
    np.testing.assert_allclose(np.diff(weekly.x), 7 / 365.25, atol=5e-4)
    np.testing.assert_array_equal(weekly.y[np.isin(weekly.x, measured.x)], measured.y)
    assert np.isfinite(weekly.y).all()


def test_co2_weekly_interpolates_linearly():
    weekly, measured = co2_weekly(), co2()
    gap = np.flatnonzero(~np.isin(weekly.x, measured.x))[0]
    left = np.searchsorted(measured.x, weekly.x[gap]) - 1
    share = (weekly.x[gap] - measured.x[left]) / (measured.x[left + 1] - measured.x[left])
    np.testing.assert_allclose(weekly.y[gap], (1 - share) * measured.y[left] + share * measured.y[left + 1], rtol=1e-6)


@pytest.mark.parametrize("name", STATSMODELS)
def test_tables_equal_statsmodels(peer, name):
    ours, theirs = statsmodels_table(name), getattr(peer, name).load_pandas().data
    np.testing.assert_allclose(ours.y, theirs[ours.target_names[0]].to_numpy(np.float32), rtol=1e-6)
    for column, values in zip(ours.feature_names, ours.x.T, strict=True):
        # statsmodels leaves out the year of the copper market.
        year = (name, column) == ("copper", "YEAR")
        np.testing.assert_allclose(values, np.arange(1951, 1976) if year else theirs[column], rtol=1e-6)
    assert ours.x.dtype == ours.y.dtype == np.float32
    assert ours.licence
    left_out = set(theirs.columns) - set(ours.feature_names) - set(ours.target_names)
    assert left_out <= {"state", "firm", "logpopul"}


def test_a_table_that_is_not_there():
    with pytest.raises(ValueError, match=r"name: expected one of anes96, .*strikes; got 'titanic'"):
        statsmodels_table("titanic")
