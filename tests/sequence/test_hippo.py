"""HiPPO's spectrum, zero-order hold and the diagonal scan, against definitions and float64 references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxzoo.sequence import hippo


@pytest.mark.parametrize("n", [2, 8, 64])
def test_the_normal_part_of_hippo_is_diagonalised_by_a_unitary_matrix(n):
    lam, v = hippo.hippo_normal(n, halve=False)
    np.testing.assert_allclose(lam.real, -0.5, atol=1e-4)
    np.testing.assert_allclose(v.conj().T @ v, np.eye(n), atol=1e-10)
    np.testing.assert_allclose(v @ np.diag(lam) @ v.conj().T, hippo.hippo_matrix(n), atol=1e-8)
    assert (np.diff(lam.imag) > 0).all()


def test_hippo_less_a_matrix_of_rank_one_is_hippo_legs():
    root = np.sqrt(np.arange(4) + 0.5)
    legs = hippo.hippo_matrix(4) - np.outer(root, root)
    np.testing.assert_allclose(np.diag(legs), [-1, -2, -3, -4])
    np.testing.assert_allclose(np.triu(legs, 1), 0, atol=1e-15)
    np.testing.assert_allclose(legs[2, 1], -np.sqrt(5 * 3))


def test_half_of_the_spectrum_stands_for_the_whole():
    lam, v = hippo.hippo_normal(8)
    every, vectors = hippo.hippo_normal(8, halve=False)
    assert lam.shape == (4,)
    assert v.shape == (8, 4)
    assert (lam.imag < 0).all()
    np.testing.assert_allclose(np.sort(np.concatenate([lam.imag, -lam.imag])), every.imag, atol=1e-10)
    b, c = np.random.default_rng(0).normal(size=(2, 8))
    whole = (c @ vectors) @ (np.exp(every) * (vectors.conj().T @ b))
    np.testing.assert_allclose(2 * ((c @ v) @ (np.exp(lam) * (v.conj().T @ b))).real, whole.real, atol=1e-12)


def test_blocks_are_copies_along_the_diagonal():
    lam, v = hippo.hippo_normal(12, blocks=3)
    one, u = hippo.hippo_normal(4)
    np.testing.assert_array_equal(lam, np.tile(one, 3))
    np.testing.assert_array_equal(v[4:8, 2:4], u)
    assert not v[:4, 2:].any()


@pytest.mark.parametrize(("n", "blocks"), [(5, 1), (6, 2), (0, 1), (4, 0)])
def test_sizes_that_do_not_halve_are_refused(n, blocks):
    with pytest.raises(ValueError, match="n: expected a multiple of"):
        hippo.hippo_normal(n, blocks=blocks)


def test_zero_order_hold_is_the_exponential_of_the_augmented_matrix():
    with jax.enable_x64(True):
        lam, _ = hippo.hippo_normal(8)
        b = np.arange(1, 5) + 0.5j
        dt = np.array([0.001, 0.01, 0.1, 1.0])
        a, b_bar = hippo.discretize_zoh(jnp.asarray(lam), jnp.asarray(b), jnp.asarray(dt))
        for i in range(4):
            step = scipy.linalg.expm(np.array([[lam[i], b[i]], [0, 0]]) * dt[i])
            np.testing.assert_allclose([a[i], b_bar[i]], step[0], atol=1e-13)


def test_zero_order_hold_keeps_its_digits_at_small_steps():
    lam, _ = hippo.hippo_normal(8)
    dt = np.full(4, 1e-5)
    exact = np.expm1(lam * dt) / lam
    _, gain = hippo.discretize_zoh(jnp.asarray(lam, jnp.complex64), jnp.ones(4, jnp.complex64), jnp.float32(dt))
    np.testing.assert_allclose(gain, exact, rtol=1e-6)


def test_misfits_are_refused():
    lam = jnp.ones(3, jnp.complex64)
    with pytest.raises(ValueError, match="lam, b, dt: expected"):
        hippo.discretize_zoh(lam, jnp.ones((3, 2), jnp.complex64), jnp.ones(3))
    with pytest.raises(ValueError, match="a: expected"):
        hippo.diag_linear_scan(lam, jnp.ones((5, 4), jnp.complex64))


def elements(seed, t=9, places=(2, 3), p=4):
    parts = jax.random.normal(jax.random.key(seed), (4, t, *places, p))
    return jax.lax.complex(parts[0], parts[1]) * 0.5, jax.lax.complex(parts[2], parts[3])


def test_composition_is_associative():
    first, second, third = (elements(seed) for seed in range(3))
    left = hippo.compose(hippo.compose(first, second), third)
    right = hippo.compose(first, hippo.compose(second, third))
    for x, y in zip(left, right, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6 * np.abs(y).max())


@pytest.mark.parametrize("varying", [False, True])
def test_the_scan_is_the_recurrence_and_the_composition_of_its_steps(varying):
    a, b = elements(0)
    a = a[:, 0, 0] if varying else a[0, 0, 0]
    x0 = elements(1)[1][0]
    found = hippo.diag_linear_scan(a, b, x0)
    per_step = np.broadcast_to(a, (9, 4)).astype(complex)
    x = np.asarray(x0, complex)
    for t in range(9):
        x = per_step[t] * x + np.asarray(b[t], complex)
        np.testing.assert_allclose(found[t], x, atol=1e-5)
    full = jnp.broadcast_to(jnp.asarray(per_step, jnp.complex64)[:, None, None], b.shape)
    entered = b.at[0].add(full[0] * x0)  # how an initial state enters a scan
    _, scanned = jax.lax.associative_scan(hippo.compose, (full, entered))
    np.testing.assert_allclose(found, scanned, atol=1e-5)


def test_the_scan_starts_from_zero_by_default():
    a, b = elements(0)
    np.testing.assert_array_equal(hippo.diag_linear_scan(a[0, 0, 0], b)[0], b[0])
