"""Makes neural_tangents.npz and .json: kernels and predictions as the library neural-tangents computes them.

    pip install neural-tangents==0.6.5 jax==0.4.30 jaxlib==0.4.30 "numpy<2" "scipy<1.14"
    python tests/golden/make_neural_tangents.py

Each entry is a float64 array with the function that made it; `tests/theory/test_neural_tangents_golden.py` compares.
"""

import hashlib
import json
from pathlib import Path

import jax
import neural_tangents as nt
import numpy as np
from neural_tangents import stax

SEED = 0
DEPTH, W_VAR, B_VAR, TIME = 4, 1.7, 0.3, 30.0


def kernel_function(activation, w_var, b_var):
    """Kernels of a fully connected network with DEPTH layers."""
    dense = stax.Dense(1, W_std=w_var**0.5, b_std=b_var**0.5)
    return stax.serial(dense, *[activation, dense] * (DEPTH - 1))[2]


def entries():
    """Name -> (array, the function that made it)."""
    rng = np.random.default_rng(SEED)
    x, y = rng.normal(size=(7, 5)), rng.normal(size=4)
    found = {"x": (x, "numpy.random.default_rng"), "y": (y, "numpy.random.default_rng")}
    for name, activation in {"relu": stax.Relu(), "erf": stax.Erf()}.items():
        kernels = kernel_function(activation, W_VAR, B_VAR)(x[:4], x[2:], ("nngp", "ntk"))
        found[f"{name}_nngp"] = (kernels.nngp, f"stax.{name.title()}, nngp")
        found[f"{name}_ntk"] = (kernels.ntk, f"stax.{name.title()}, ntk")
    predict = nt.predict.gradient_descent_mse_ensemble(kernel_function(stax.Relu(), 1.0, 0.01), x[:4], y[:, None])
    for name, time in (("flow", TIME), ("limit", None)):
        ensemble = predict(t=time, x_test=x[4:], get="ntk", compute_cov=True)
        found[f"{name}_mean"] = (ensemble.mean[:, 0], "predict.gradient_descent_mse_ensemble")
        found[f"{name}_covariance"] = (ensemble.covariance, "predict.gradient_descent_mse_ensemble")
    return found


def main():
    jax.config.update("jax_enable_x64", True)
    found = {name: (np.asarray(array), function) for name, (array, function) in entries().items()}
    folder = Path(__file__).parent
    np.savez(folder / "neural_tangents.npz", **{name: array for name, (array, _) in found.items()})
    about = {
        "package": "neural-tangents",
        "version": nt.__version__,
        "seed": SEED,
        "settings": {"depth": DEPTH, "w_var": W_VAR, "b_var": B_VAR, "time": TIME},
        "arrays": {
            name: {"function": function, "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
            for name, (array, function) in found.items()
        },
    }
    (folder / "neural_tangents.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
