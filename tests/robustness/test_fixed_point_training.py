"""Training in integers beside floating point: with many bits they agree, and the loop is the step repeated."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.robustness import fixed_point_training as fpt
from jaxzoo.robustness.fixed_point import quantise, train_step_int

RNG = np.random.default_rng(0)


def problem():
    weights = fpt.he_normal(jax.random.key(0), (8, 6, 4))
    x, y = jnp.asarray(RNG.uniform(size=(20, 8)), jnp.float32), jnp.asarray(RNG.normal(size=(20, 4)), jnp.float32)
    return weights, x, y, jnp.asarray(RNG.integers(0, 20, (5, 4)))


def test_with_20_bits_integers_follow_floats():
    weights, x, y, chosen = problem()
    floats = fpt.train_float(weights, x, y, chosen, rate=0.125)
    with jax.enable_x64(True):
        integers = jax.jit(lambda *a: fpt.train_int(*a, bits=20, shift=20 + 2 + 3))(weights, x, y, chosen)
        outputs = fpt.predict_int(integers, x, bits=20)
    for got, want, start in zip(integers, floats, weights, strict=True):
        np.testing.assert_allclose(np.asarray(got) / 2**20, want, atol=1e-4)
        assert jnp.abs(want - start).max() > 1e-2
    np.testing.assert_allclose(np.asarray(outputs) / 2**40, fpt.predict(floats, x), atol=1e-3)


def test_the_loop_is_the_step_repeated():
    weights, x, y, chosen = problem()
    with jax.enable_x64(True):
        got = jax.jit(lambda *a: fpt.train_int(*a, bits=8, shift=11))(weights, x, y, chosen)
    now, x, y = [quantise(np.asarray(w), 8) for w in weights], *(quantise(np.asarray(v), 8) for v in (x, y))
    for index in np.asarray(chosen):
        now, _ = train_step_int(now, x[index], y[index], bits=8, shift=11)
    for a, b in zip(got, now, strict=True):
        np.testing.assert_array_equal(a, b)


def test_he_normal_has_its_variance():
    (w,) = fpt.he_normal(jax.random.key(1), (200, 100))
    assert w.dtype == jnp.float32
    assert abs(float(w.std()) - 0.1) < 0.003
