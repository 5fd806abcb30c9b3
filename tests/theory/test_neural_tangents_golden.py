"""Kernels and predictions equal those of the library neural-tangents, made by tests/golden/make_neural_tangents.py."""

import hashlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.theory.neural_tangent_kernel import analytic_kernels, predict_ensemble

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden():
    about = json.loads((GOLDEN / "neural_tangents.json").read_text())
    with np.load(GOLDEN / "neural_tangents.npz") as arrays:
        arrays = dict(arrays)
    for name, entry in about["arrays"].items():
        assert hashlib.sha256(arrays[name].tobytes()).hexdigest() == entry["sha256"], name
    return arrays


@pytest.mark.parametrize(
    ("name", "s", "rtol"),
    [("relu", jax.nn.relu, 1e-7), ("erf", jax.lax.erf, 1e-7), ("erf", lambda u: jax.lax.erf(u), 1e-4)],
    ids=["relu", "erf", "erf by quadrature"],
)
def test_kernels(golden, name, s, rtol):
    with jax.enable_x64(True):
        x = jnp.asarray(golden["x"])
        nngp, ntk = analytic_kernels(x[:4], x[2:], depth=4, s=s, w_var=1.7, b_var=0.3)
        np.testing.assert_allclose(nngp, golden[f"{name}_nngp"], rtol=rtol)
        np.testing.assert_allclose(ntk, golden[f"{name}_ntk"], rtol=rtol)


@pytest.mark.parametrize(("name", "time"), [("flow", 30.0), ("limit", np.inf)])
def test_ensemble(golden, name, time):
    with jax.enable_x64(True):
        nngp, ntk = analytic_kernels(jnp.asarray(golden["x"]), depth=4)
        mean, cov = jax.jit(predict_ensemble)(nngp, ntk, jnp.asarray(golden["y"]), time)
        np.testing.assert_allclose(mean, golden[f"{name}_mean"], rtol=1e-6)
        np.testing.assert_allclose(cov, golden[f"{name}_covariance"], rtol=1e-6, atol=1e-9)
