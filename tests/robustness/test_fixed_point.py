"""Integer training and the bits of its numbers: rounding, a step against real arithmetic, zkReLU exhaustively."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.robustness import fixed_point as fp
from jaxzoo.robustness import zkrelu
from jaxzoo.robustness.m61 import P

RNG = np.random.default_rng(0)


def network(dtype=np.int64):
    weights = [RNG.integers(-90, 90, s).astype(dtype) for s in ((8, 6), (6, 6), (6, 4))]
    return weights, RNG.integers(0, 64, (4, 8)).astype(dtype), RNG.integers(-64, 64, (4, 4)).astype(dtype)


@pytest.mark.parametrize("bits", [1, 6, 8])
def test_rescale(bits):
    half = 1 << bits - 1
    v = np.array([-half - 1, -half, -1, 0, half - 1, half])
    assert fp.rescale(v, bits).tolist() == [-1, 0, 0, 0, 0, 1]
    assert fp.rescale(np.array([-1]), bits) == 0
    many = np.arange(-5000, 5000)
    rest = many - (fp.rescale(many, bits) << bits)
    assert rest.min() == -half
    assert rest.max() == half - 1


def test_quantise():
    assert fp.quantise(np.array([0.5, -0.126, 1 / 8, 3 / 8]), 2).tolist() == [2, -1, 0, 2]
    assert fp.quantise(jnp.array([1.0, -2.25]), 2).tolist() == [4, -9]


def test_numpy_jax_eager_and_jit_take_the_same_step():
    weights, x, y = network()
    want, tensors = fp.train_step_int(weights, x, y, bits=6, shift=9)
    with jax.enable_x64(True):
        step = lambda w, x, y: fp.train_step_int(w, x, y, bits=6, shift=9)  # noqa: E731
        arguments = jax.tree.map(jnp.asarray, (weights, x, y))
        for run in (step, jax.jit(step)):
            got = run(*arguments)
            assert all(leaf.dtype == jnp.int64 for leaf in jax.tree.leaves(got))
            jax.tree.map(np.testing.assert_array_equal, got, (want, tensors))


def test_without_rounding_the_step_is_that_of_sgd():
    # With 20 bits after the point rounding is far below the step.
    bits, rate = 20, 1 / 8
    weights = [RNG.normal(size=s) / 2 for s in ((8, 6), (6, 4))]
    x, y = RNG.uniform(size=(4, 8)), RNG.normal(size=(4, 4))

    def loss(weights):
        return 0.5 * jnp.square(jax.nn.relu(x @ weights[0]) @ weights[1] - y).sum(1).mean()

    with jax.enable_x64(True):
        gradient = [np.asarray(g) for g in jax.grad(loss)([jnp.asarray(w) for w in weights])]
    quantised = [fp.quantise(v, bits) for v in (*weights, x, y)]
    after, _ = fp.train_step_int(quantised[:2], *quantised[2:], bits=bits, shift=bits + 2 + 3)
    for new, old, g in zip(after, weights, gradient, strict=True):
        np.testing.assert_allclose(new / 2**bits, old - rate * g, atol=2e-5)


def test_recomposed_bits_are_z_for_every_z():
    z = np.arange(-(2**15), 2**15)
    for whole, fraction in ((10, 6), (16, 6)):
        bits = zkrelu.zkrelu_aux(z[:-32], whole, fraction)
        assert set(np.unique(bits)) == {0, 1}
        weights = {
            name: np.where(w > P // 2, w.astype(np.int64) - P, w.astype(np.int64))
            for name, w in zkrelu.recovery(whole, fraction).items()
        }
        v = fp.rescale(z[:-32], fraction)
        np.testing.assert_array_equal(bits @ weights["value"], z[:-32])
        np.testing.assert_array_equal(bits @ weights["rounded"], v)
        np.testing.assert_array_equal(bits @ weights["sign"], v < 0)


def test_relu_and_its_gradient_are_products_with_the_sign():
    weights, x, y = network()
    _, (inputs, products, raw, grads, _) = fp.train_step_int(weights, x, y, bits=6, shift=9)
    for l in range(2):
        v = fp.rescale(products[l], 6)
        sign = zkrelu.zkrelu_aux(products[l], 16, 6)[..., 15]
        np.testing.assert_array_equal(inputs[l + 1], (1 - sign) * v)
        np.testing.assert_array_equal(grads[l], (1 - sign) * fp.rescale(raw[l], 6))
        np.testing.assert_array_equal(inputs[l + 1], np.maximum(v, 0))


def test_the_sign_is_that_of_the_rounded_number():
    z = np.array([-1, -32, -33])
    assert zkrelu.zkrelu_aux(z, 16, 6)[:, 15].tolist() == [0, 0, 1]


def test_numbers_of_more_bits_raise():
    with pytest.raises(ValueError, match="v: expected numbers of 4 bits, got 0 to 8"):
        zkrelu.to_bits(np.array([0, 8]), 4)
    with pytest.raises(ValueError, match="v: expected numbers of 4 bits"):
        zkrelu.zkrelu_aux(np.array([8 << 6]), 4, 6)
    assert [zkrelu.padded(n) for n in (1, 2, 3, 24, 32)] == [1, 2, 4, 32, 32]
