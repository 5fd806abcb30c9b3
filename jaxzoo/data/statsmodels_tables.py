"""The numeric tables of statsmodels, read without importing it."""

import csv
from typing import NamedTuple

import numpy as np

from jaxzoo import extras
from jaxzoo.data.dataset import Dataset, read_checked

PUBLIC = "public domain; distributed by statsmodels, BSD-3-Clause"
PERMITTED = "with permission of the author, who keeps all rights; distributed by statsmodels, BSD-3-Clause"
UNSTATED = "no licence stated; distributed by statsmodels, BSD-3-Clause"
GILL = "Gill: Generalized Linear Models, A Unified Approach (2000)"


class _File(NamedTuple):
    path: str
    sha256: str
    target: str
    licence: str
    source: str


STATSMODELS = {
    "anes96": _File(
        "anes96/anes96.csv",
        "c124d8556d6f8c4329b1fea61e3dc6891c5e663f15b7fe5791235963420ba896",
        "PID",
        PUBLIC,
        "American National Election Studies (1996)",
    ),
    "cancer": _File(
        "cancer/cancer.csv",
        "46d100190a5744f3abab53aab15d80b0e988fea8fc8b1bf369b1fc646220936f",
        "cancer",
        UNSTATED,
        "Rice: Mathematical Statistics and Data Analysis",
    ),
    "ccard": _File(
        "ccard/ccard.csv",
        "5a1c32e6c2f9256163291eae3791051a5fb93b787b1dba8a07faaf5431b6f0f9",
        "AVGEXP",
        PERMITTED,
        "Greene: Econometric Analysis",
    ),
    "committee": _File(
        "committee/committee.csv",
        "fe4913aa8ec1322515c2eea4cc861e31319906567e46d3f414cf3e1342671991",
        "BILLS104",
        PERMITTED,
        GILL,
    ),
    "copper": _File(
        "copper/copper.csv",
        "5b0bc70b74f0604a5cbb21311d9168cf64f3b1595c82fd9b1395c80dabbe28bd",
        "WORLDCONSUMPTION",
        PERMITTED,
        GILL,
    ),
    "cpunish": _File(
        "cpunish/cpunish.csv",
        "f200b6f7410b924d66e931cee43d830db7a27d39886295fbaca778e79729d653",
        "EXECUTIONS",
        PERMITTED,
        GILL,
    ),
    "engel": _File(
        "engel/engel.csv",
        "796c3da0406291dd324c51901b51386be12b5f52e330afaf69584f57c06ad45c",
        "foodexp",
        PUBLIC,
        "Koenker, Bassett: Robust Tests of Heteroscedasticity (1982)",
    ),
    "fair": _File(
        "fair/fair.csv",
        "fd5f3f094a34fc35ca346a14c359e046ed27843038d6921efcd50a7ab21f6af0",
        "affairs",
        PERMITTED,
        "Fair: A Theory of Extramarital Affairs (1978)",
    ),
    "grunfeld": _File(
        "grunfeld/grunfeld.csv",
        "6f6ca138e645eeee6ff3e54fe5b9b498f7ddb5c484237d2a8489c524b3c94098",
        "invest",
        PUBLIC,
        "Grunfeld (1950), as in Kleiber, Zeileis: The Grunfeld Data at 50 (2008)",
    ),
    "heart": _File(
        "heart/heart.csv",
        "0941b2eb518c2c83dcc1251a0ac62afb0142fdcff081611a738c41bb3a580dea",
        "survival",
        UNSTATED,
        "Miller: Least squares regression with censored data (1976)",
    ),
    "longley": _File(
        "longley/longley.csv",
        "0927ec7cc34edb5670920cb2ff1542e46de27a2010746e1662f4276cf3569a24",
        "TOTEMP",
        PUBLIC,
        "Longley: An Appraisal of Least Squares Programs (1967)",
    ),
    "modechoice": _File(
        "modechoice/modechoice.csv",
        "d2d72c1db440f8ffce01f58ed39fc1145569ec1703970dac1636c154fc01fd8e",
        "choice",
        PUBLIC,
        "Greene, Hensher: Multinomial logit and discrete choice models (1997)",
    ),
    "randhie": _File(
        "randhie/randhie.csv",
        "9f6c87d05aef087a82cc4465310c8cd3f38327be6eafa43bd81fb98c4f3d088c",
        "mdvis",
        PUBLIC,
        "RAND Health Insurance Experiment; Cameron, Trivedi: Microeconometrics (2005)",
    ),
    "scotland": _File(
        "scotland/scotvote.csv",
        "2ace8b9e4970f8a7d0424a70076d63e6e1c3d65259e6e424f88642fdd6a24727",
        "YES",
        PERMITTED,
        GILL,
    ),
    "spector": _File(
        "spector/spector.csv",
        "b10d108ba3fa96b27e8bb771aca9ce148aa1fde9ba0c9d80ba384b851b6e6192",
        "GRADE",
        PERMITTED,
        "Spector, Mazzeo: Probit Analysis and Economic Education (1980)",
    ),
    "stackloss": _File(
        "stackloss/stackloss.csv",
        "7395953d62eec7abab783ae9603ff82f091d04a4689780e455c239f0f5509f64",
        "STACKLOSS",
        PUBLIC,
        "Brownlee: Statistical Theory and Methodology (1965)",
    ),
    "statecrime": _File(
        "statecrime/statecrime.csv",
        "73c8aaa12272cbd33a09d0ffcda01a835f2f0916a16aaed54732efa312430688",
        "murder",
        PUBLIC,
        "American Statistical Abstracts (2009)",
    ),
    "strikes": _File(
        "strikes/strikes.csv",
        "f95165500600e13bc02ff34e57b2ae38caae76370c2b46c8aabb3212440b0208",
        "duration",
        PUBLIC,
        "Kennan: The duration of contract strikes in US manufacturing (1985)",
    ),
}


def _numeric_columns(text: str) -> dict[str, np.ndarray]:
    """The columns of a table whose every cell is a number; separated by semicolons, commas or white space."""
    head = text.splitlines()[0]
    delimiter = next((mark for mark in ";," if mark in head), None)
    lines = text.splitlines() if delimiter else [",".join(line.split()) for line in text.splitlines()]
    quote = "'" if "'" in head else '"'
    rows = list(csv.reader(lines, delimiter=delimiter or ",", quotechar=quote))
    columns = {}
    for name, cells in zip(rows[0], zip(*rows[1:], strict=True), strict=True):
        try:
            columns[name] = np.array(cells, np.float32)
        except ValueError:
            continue
    return columns


def statsmodels_table(name: str) -> Dataset:
    """A table of statsmodels by name: "randhie", "fair", ...; `STATSMODELS` has all names. Needs the extra `data`.

    Args:
      name: a key of `STATSMODELS`; the names are those of statsmodels.

    Returns:
      x [n, columns] float32, all columns of numbers but the target and a running number; y [n] float32, the target.

    Raises:
      ValueError: there is no table of that name.
      ImportError: statsmodels is missing.
      DataError: the file is missing, or not the one known.
    """
    if name not in STATSMODELS:
        raise ValueError(f"name: expected one of {', '.join(STATSMODELS)}; got {name!r}")
    file = STATSMODELS[name]
    content = read_checked(extras.folder("statsmodels", "data") / "datasets" / file.path, file.sha256)
    columns = _numeric_columns(content.decode("utf-8"))
    features = tuple(column for column in columns if column not in (file.target, "Obs", "OBS"))
    return Dataset(
        x=np.stack([columns[column] for column in features], axis=1),
        y=columns[file.target],
        name=name,
        licence=file.licence,
        source=file.source,
        sha256=file.sha256,
        feature_names=features,
        target_names=(file.target,),
    )
