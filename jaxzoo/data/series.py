"""Real time series that jaxzoo carries: x holds the time, y the values.

Time is a decimal year, float32 (exact to about an hour): 1958.5 is the middle of 1958.
"""

import numpy as np

from jaxzoo.data.dataset import Dataset
from jaxzoo.data.tables import read_table

PUBLIC = "public domain; read from statsmodels, BSD-3-Clause"


def sunspots() -> Dataset:
    """Yearly sunspot numbers 1700 to 2008: x [309] years, y [309] float32."""
    return read_table(
        "sunspots",
        "0335f852038d2ac8616a0e65a0cfc154027681e9889d1695a8c940a91f5f73ba",
        PUBLIC,
        "National Geophysical Data Center: yearly mean sunspot numbers",
    )


def _co2() -> Dataset:
    return read_table(
        "co2",
        "eac23e3edcd7174441ab3697a3de37d2d01f294e4056a93c0ac8a20a6b9fee61",
        PUBLIC,
        "Keeling, Whorf: weekly atmospheric CO2 at Mauna Loa, Carbon Dioxide Information Analysis Center (2004)",
    )


def co2() -> Dataset:
    """Weekly CO2 at Mauna Loa, 1958 to 2001: x [2225] years, y [2225] float32 ppm; 59 weeks without a value are out."""
    every_week = _co2()
    measured = np.isfinite(every_week.y)
    return every_week._replace(x=every_week.x[measured], y=every_week.y[measured])


def co2_weekly() -> Dataset:
    """As `co2`, on the grid of all weeks: x [2284], y [2284]; the 59 missing values interpolated linearly in time."""
    every_week, measured = _co2(), co2()
    return every_week._replace(y=np.interp(every_week.x, measured.x, measured.y).astype(np.float32), name="co2_weekly")


def elnino() -> Dataset:
    """Monthly sea surface temperature, Nino 1+2, 1950 to 2010: x [61] years, y [61, 12] float32 degrees C, by month.

    `y.reshape(-1)` is the series of 732 months.
    """
    return read_table(
        "elnino",
        "d38937ee0ac9775595abf694e64b856ea57935ffdf628ac413f642a87ca920bd",
        PUBLIC,
        "National Oceanic and Atmospheric Administration: ERSST.V3B, Nino 1+2",
    )


def nile() -> Dataset:
    """Yearly flow of the Nile at Aswan 1871 to 1970: x [100] years, y [100] float32 in 1e8 m3."""
    return read_table(
        "nile",
        "e30295b27bbf80054f5ae11ba75cbdb95112ce8de1335fb633e881bff0423ddf",
        PUBLIC,
        "Cobb: The Problem of the Nile, Biometrika 65 (1978)",
    )


def macrodata() -> Dataset:
    """United States economy by quarter, 1959 to 2009: x [203] years, y [203, 12] float32, named in `target_names`."""
    return read_table(
        "macrodata",
        "7fcd97f48864fd7569878f7e01900075aafb8fe5aa1b0c498826044ad0f4dc9e",
        PUBLIC,
        "Federal Reserve Bank of St. Louis: FRED; unemployment from the Bureau of Labor Statistics",
    )
