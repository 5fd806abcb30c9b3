"""The attention entry point against loops over heads and queries in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxzoo import ops

T, S, H, D, DV = 5, 7, 4, 3, 2
RNG = np.random.default_rng(0)
Q, K, V = RNG.normal(size=(T, H, D)), RNG.normal(size=(S, 2, D)), RNG.normal(size=(S, 2, DV))
BIAS, MASK = RNG.normal(size=(H, T, S)), RNG.random((H, T, S)) < 0.6


def reference(bias=None, mask=None, causal=False, window=None, scale=D**-0.5):
    out = np.zeros((T, H, DV))
    for h, t in np.ndindex(H, T):
        seen = [
            s
            for s in range(S)
            if (mask is None or mask[h % len(mask), t, s])
            and (not causal or s <= t)
            and (window is None or abs(s - t) < window)
        ]
        if seen:
            scores = K[seen, h // 2] @ Q[t, h] * scale
            weights = np.exp(scores + (0 if bias is None else bias[h % len(bias), t][seen]))
            out[t, h] = weights / weights.sum() @ V[seen, h // 2]
    return out


CASES = {
    "plain": {},
    "scale": {"scale": 2.0},
    "bias": {"bias": BIAS},
    "one bias": {"bias": BIAS[:1]},
    "mask": {"mask": MASK},
    "one mask": {"mask": MASK[:1]},
    "causal": {"causal": True},
    "window": {"window": 2},
    "causal window": {"causal": True, "window": 2},
    "all": {"bias": BIAS, "mask": MASK, "causal": True, "window": 3, "scale": 0.5},
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_its_formula_in_float64(case):
    with jax.enable_x64(True):
        options = {name: jnp.asarray(v) if isinstance(v, np.ndarray) else v for name, v in CASES[case].items()}
        o = ops.attention(*map(jnp.asarray, (Q, K, V)), **options)
        np.testing.assert_allclose(o, reference(**CASES[case]), rtol=1e-10, atol=1e-12)


def test_gradients_are_finite_differences_with_rows_that_see_nothing():
    mask = MASK.copy()
    mask[:, 2] = False
    with jax.enable_x64(True):
        function = jax.jit(lambda q, k, v, bias: ops.attention(q, k, v, bias=bias, mask=jnp.asarray(mask)))
        check_grads(function, tuple(map(jnp.asarray, (Q, K, V, BIAS))), order=1, rtol=1e-6, atol=1e-6)


def test_bfloat16_in_gives_bfloat16_out():
    q, k, v = (jnp.asarray(a, jnp.bfloat16) for a in (Q, K, V))
    o = ops.attention(q, k, v, causal=True)
    assert o.dtype == jnp.bfloat16
    np.testing.assert_allclose(o, reference(causal=True), atol=0.05)
