"""Measures of error against a float64 reference."""

from __future__ import annotations

import numpy as np


def relative_rms(got, reference) -> float:
    """sqrt(mean |got - reference|^2) / sqrt(mean |reference|^2), in float64 and over all leaves' elements at once.

    Args:
        got: array of any shape and dtype.
        reference: array of the same shape, float64 or complex128.

    Returns:
        float: inf where a value is non-finite in one of the two only, 0 where both are zero everywhere.
    """
    got, reference = np.asarray(got), np.asarray(reference)
    if got.shape != reference.shape:
        raise ValueError(f"got: expected shape {reference.shape}, got {got.shape}")
    wide = np.complex128 if np.iscomplexobj(reference) or np.iscomplexobj(got) else np.float64
    got, reference = got.astype(wide), reference.astype(wide)
    error = np.sqrt(np.mean(np.abs(got - reference) ** 2)) if got.size else 0.0
    scale = np.sqrt(np.mean(np.abs(reference) ** 2)) if got.size else 0.0
    if not np.isfinite(error):
        return float("inf")
    return float(error / scale) if scale else float(np.where(error == 0, 0.0, np.inf))
