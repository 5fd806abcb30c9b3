"""Frames of motions: they turn with the points, and what goes into a frame comes back out of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.geometry.euclidean_frames import (
    eigengap,
    euclidean_frame,
    from_frame,
    random_frame,
    random_rotations,
    rotations_of,
    to_frame,
    uniform_quaternions,
)


def orthogonal(rng, d=3, det=None):
    """A random orthogonal matrix by NumPy's QR, of the wanted determinant."""
    q, r = np.linalg.qr(rng.normal(size=(d, d)))
    q = q * np.sign(np.diag(r))
    if det is not None and np.sign(np.linalg.det(q)) != det:
        q[:, 0] *= -1
    return q


def points(n=7, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def matched(a, b):
    """The largest distance of any element of one set of matrices to the nearest one of the other, both ways."""
    far = np.abs(np.asarray(a)[:, None] - np.asarray(b)[None]).max((2, 3))
    return max(far.min(0).max(), far.min(1).max())


@pytest.mark.parametrize(("proper", "size"), [(False, 8), (True, 4)])
@pytest.mark.parametrize("d", [2, 3])
def test_a_moved_cloud_has_the_moved_frame(proper, size, d):
    x, rng = points(d=d), np.random.default_rng(1)
    frame = euclidean_frame(x, proper=proper)
    assert len(frame.rotations) == size * 2 ** (d - 3)
    for _ in range(5):
        g, t = orthogonal(rng, d, det=1 if proper else None).astype(np.float32), rng.normal(size=d).astype(np.float32)
        moved = euclidean_frame(x @ g.T + t[None], proper=proper)
        assert matched(moved.rotations, jnp.einsum("ij,mjk->mik", g, frame.rotations)) < 1e-4
        np.testing.assert_allclose(moved.centre, g @ frame.centre + t, atol=1e-5)


def test_elements_are_distinct_orthogonal_and_without_reflections_where_asked():
    x = points()
    for frame, dets in (
        (euclidean_frame(x), [-1] * 4 + [1] * 4),
        (euclidean_frame(x, proper=True), [1] * 4),
        (random_frame(jax.random.key(0), x, 6), [1] * 6),
    ):
        r = np.asarray(frame.rotations, np.float64)
        np.testing.assert_allclose(r @ np.swapaxes(r, 1, 2), np.broadcast_to(np.eye(3), r.shape), atol=1e-5)
        np.testing.assert_allclose(np.sort(np.linalg.det(r)), dets, atol=1e-5)
        assert len(np.unique(r.round(3), axis=0)) == len(r)
    both = random_frame(jax.random.key(0), x, 64, proper=False).rotations
    assert 16 < (np.linalg.det(np.asarray(both)) < 0).sum() < 48


def test_axes_are_the_principal_ones_in_ascending_order():
    x = points(20) * np.array([[1.0, 3.0, 0.3]], np.float32)
    offset = x - x.mean(0)
    w, v = np.linalg.eigh(offset.T @ offset)
    found = np.asarray(euclidean_frame(x).rotations[0])
    np.testing.assert_allclose(np.abs((found * v).sum(0)), 1, atol=1e-5)
    np.testing.assert_allclose(eigengap(x), np.diff(w).min() / w[-1], rtol=1e-4)
    assert not euclidean_frame(x, centred=False).centre.any()


def test_into_the_frame_and_back_is_the_identity_for_points_and_for_vectors():
    x, v = points(), points(seed=3)
    for frame in (euclidean_frame(x), random_frame(jax.random.key(1), x, 5)):
        np.testing.assert_allclose(from_frame(to_frame(x, frame), frame, out="position"), x, atol=1e-5)
        np.testing.assert_allclose(from_frame(to_frame(v, frame, vectors=True), frame, out="vector"), v, atol=1e-5)
    seen = to_frame(x, frame)
    expected = np.einsum("nd,mdk->mnk", x - x.mean(0), np.asarray(frame.rotations))
    np.testing.assert_allclose(seen, expected, atol=1e-5)
    np.testing.assert_allclose(from_frame(seen, frame, out="invariant"), seen.mean(0))


def test_a_single_vector_turns_too():
    frame = euclidean_frame(points())
    y = jnp.arange(24.0).reshape(8, 3)
    np.testing.assert_allclose(from_frame(y, frame), np.einsum("mi,mji->j", y, frame.rotations) / 8, atol=1e-5)


def test_no_gradient_flows_into_a_frame():
    x = jnp.asarray(points())
    gradient = jax.grad(lambda x: sum(jnp.square(leaf).sum() for leaf in euclidean_frame(x)))(x)
    np.testing.assert_array_equal(gradient, 0)


def test_random_rotations_are_uniform_in_their_moments():
    r = random_rotations(jax.random.key(5), 4000)
    np.testing.assert_allclose(r.mean(0), 0, atol=0.04)
    np.testing.assert_allclose(jnp.square(r).mean(0), 1 / 3, atol=0.03)
    np.testing.assert_allclose(np.linalg.det(np.asarray(r)), 1, atol=1e-5)


def test_compiled_and_batched_frames_are_the_same():
    x = jnp.stack([points(seed=i) for i in range(3)])
    batched = jax.jit(jax.vmap(euclidean_frame))(x)
    for i in range(3):
        assert matched(batched.rotations[i], euclidean_frame(x[i]).rotations) < 1e-5


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"x: expected \[n, d\], got \(7,\)"):
        euclidean_frame(jnp.zeros(7))
    with pytest.raises(ValueError, match="out: expected one of"):
        from_frame(jnp.zeros((8, 3)), euclidean_frame(points()), out="scalar")


def test_quaternions_of_uniform_numbers_have_length_one_and_uniform_rotations():
    quaternions = uniform_quaternions(jax.random.uniform(jax.random.key(0), (4000, 3)))
    np.testing.assert_allclose(jnp.linalg.norm(quaternions, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(quaternions.T @ quaternions / 4000, np.eye(4) / 4, atol=0.02)
    turned = rotations_of(quaternions)[:, :, 2]  # where the z axis goes: uniform on the sphere
    np.testing.assert_allclose(turned.mean(0), 0, atol=0.04)
    np.testing.assert_allclose(turned.T @ turned / 4000, np.eye(3) / 3, atol=0.02)
    np.testing.assert_allclose((turned[:, 2] ** 4).mean(), 1 / 5, atol=0.02)
