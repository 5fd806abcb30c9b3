"""The small real sets that jaxzoo carries: one call each, no download and no extra."""

import io
from pathlib import Path

import numpy as np

from jaxzoo.data.dataset import Dataset, read_checked

FILES = Path(__file__).parent / "files"
UCI = "CC BY 4.0 (UCI Machine Learning Repository); read from scikit-learn, BSD-3-Clause"


def read_arrays(name: str, sha256: str) -> dict[str, np.ndarray]:
    """The arrays of a file that jaxzoo carries, once its hash is checked."""
    with np.load(io.BytesIO(read_checked(FILES / f"{name}.npz", sha256)), allow_pickle=False) as archive:
        return dict(archive)


def read_table(name: str, sha256: str, licence: str, source: str) -> Dataset:
    """A table that jaxzoo carries, once its hash is checked; integer targets are classes."""
    arrays = read_arrays(name, sha256)
    y = arrays["y"]
    return Dataset(
        x=arrays["x"],
        y=y if y.dtype == np.float32 else y.astype(np.int32),
        name=name,
        licence=licence,
        source=source,
        sha256=sha256,
        feature_names=tuple(arrays["feature_names"].tolist()),
        target_names=tuple(arrays["target_names"].tolist()),
    )


def digits() -> Dataset:
    """Handwritten digits: x [1797, 8, 8] float32 in [0, 1] (the source's 0..16 over 16), y [1797] int32 in 0..9."""
    sha256 = "6f801551877abf69fbf3711373bb642a18dc933430a3385cd6febc235225ea6f"
    arrays = read_arrays("digits", sha256)
    return Dataset(
        x=arrays["x"].astype(np.float32) / 16,
        y=arrays["y"].astype(np.int32),
        name="digits",
        licence=UCI,
        source="Alpaydin, Kaynak: Optical Recognition of Handwritten Digits (1998), test part; doi 10.24432/C50P49",
        sha256=sha256,
        target_names=tuple("0123456789"),
    )


def breast_cancer() -> Dataset:
    """Cell nuclei of breast masses: x [569, 30] float32, units of the source; y [569] int32, 0 malignant, 1 benign."""
    return read_table(
        "breast_cancer",
        "327fbb6d9dbe2c6efce7791325c351eb8702e8b919cc4ee0eb1e9db561ad6fc8",
        UCI,
        "Wolberg, Mangasarian, Street: Breast Cancer Wisconsin, Diagnostic (1995); doi 10.24432/C5DW2B",
    )


def wine() -> Dataset:
    """Chemical analysis of wines of three growers: x [178, 13] float32 in the source's units, y [178] int32 in 0..2."""
    return read_table(
        "wine",
        "1ab54d50eb76caa4fbf91542fe3c83fdfd3041e6ec12a336f9eb343efacc8a33",
        UCI,
        "Aeberhard, Forina: Wine (1991); doi 10.24432/C5PC7J",
    )


def iris() -> Dataset:
    """Fisher's iris flowers: x [150, 4] float32 in cm, y [150] int32 in 0..2."""
    return read_table(
        "iris",
        "6a058d97752090736fa26873349f680a4719af8d1464985feb3a551f60a0de05",
        UCI,
        "Fisher: The Use of Multiple Measurements in Taxonomic Problems (1936); doi 10.24432/C56C76",
    )


def diabetes() -> Dataset:
    """Progression of diabetes after a year: x [442, 10] float32 as measured, unscaled; y [442] float32 in 25..346."""
    return read_table(
        "diabetes",
        "b1d670d5b8bc865f200bf6daffe60e32f88bf05273d8eb8260ba5e2ff3d0f99d",
        "no licence stated by the source; read from scikit-learn, BSD-3-Clause",
        "Efron, Hastie, Johnstone, Tibshirani: Least Angle Regression, Annals of Statistics 32 (2004)",
    )


def linnerud() -> Dataset:
    """Twenty men in a fitness club: x [20, 3] float32 chins, situps, jumps; y [20, 3] float32 weight, waist, pulse."""
    return read_table(
        "linnerud",
        "fd2b9b0be4b5bae7e19f02c85e149d9cc049817f63afc1ae876c08191725f5d3",
        "no licence stated by the source; read from scikit-learn, BSD-3-Clause",
        "Tenenhaus: La regression PLS, theorie et pratique, Technip (1998)",
    )
