"""DGCNN: neighbours and edge convolutions against plain loops; the order of points does not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.geometry.dgcnn import DGCNN, EdgeConv, nearest
from jaxzoo.geometry.frame_averaging import fa_pointnet
from jaxzoo.geometry.point_networks import normals_of
from jaxzoo.transforms import as_model

SMALL = DGCNN(edges=((6, 5), (7,)), wide=9, head=(8, 4), k=3)


def cloud(n=11, c=3):
    return jax.random.normal(jax.random.key(0), (n, c))


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize(("n", "c", "k"), [(30, 3, 7), (9, 64, 9), (5, 2, 1)])
def test_neighbours_against_numpy(n, c, k, offset):
    x = np.asarray(cloud(n, c) + offset, np.float64)
    apart = np.linalg.norm(x[:, None] - x[None], axis=-1)
    found = nearest(jnp.asarray(x, jnp.float32), k)
    np.testing.assert_array_equal(found, np.argsort(apart, axis=1)[:, :k])
    np.testing.assert_array_equal(found[:, 0], np.arange(n))


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="k: expected 1 to 4, the number of points, got 5"):
        nearest(jnp.zeros((4, 3)), 5)
    with pytest.raises(ValueError, match="k: expected 1 to 4"):
        nearest(jnp.zeros((4, 3)), 0)
    with pytest.raises(ValueError, match=r"x: expected \[n, c\], got \(4,\)"):
        nearest(jnp.zeros(4), 1)
    with pytest.raises(ValueError, match="k: expected 1 to 2"):
        as_model(SMALL).init(jax.random.key(0), jnp.zeros((2, 3)))


def normed(x, params):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    x = x * (1 + np.asarray(params["gain"])) + np.asarray(params["offset"])
    return np.where(x > 0, x, 0.2 * x)


def edge_loop(params, x, k):
    """[x_j - x_i, x_i] written out for every pair, with neighbours by the distances of these features."""
    out = []
    for here in x:
        near = np.argsort(np.linalg.norm(x - here, axis=1))[:k]
        h = np.stack([np.concatenate([x[j] - here, here]) for j in near]) @ np.asarray(params["edge"], np.float64)
        h = normed(h, params["norm_0"])
        if "dense_1" in params:
            h = normed(h @ np.asarray(params["dense_1"]["kernel"]), params["norm_1"])
        out.append(h.max(0))
    return np.stack(out)


def with_norms(params):
    """Parameters with norms that do something: they begin as the identity."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    return jax.tree.unflatten(
        structure, [p + 0.3 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    )


def test_the_network_against_loops():
    x, model = cloud(), as_model(SMALL)
    params = jax.jit(lambda key: with_norms(model.init(key, x)))(jax.random.key(1))
    first = edge_loop(params["edge_0"], np.asarray(x, np.float64), 3)
    second = edge_loop(params["edge_1"], first, 3)
    local = np.concatenate([first, second], axis=1)
    whole = normed(local @ np.asarray(params["wide"]["kernel"]), params["norm_wide"]).max(0)
    joint = np.concatenate([np.tile(whole, (len(local), 1)), local], axis=1)
    h = normed(joint @ np.asarray(params["joint"]), params["norm_head_0"])
    h = normed(h @ np.asarray(params["head_1"]["kernel"]), params["norm_head_1"])
    expected = h @ np.asarray(params["out"]["kernel"]) + np.asarray(params["out"]["bias"])
    np.testing.assert_allclose(jax.jit(model.apply)(params, x), expected, atol=2e-4)


def test_the_order_of_points_does_not_matter():
    x, model = cloud(), normals_of(SMALL)
    params, order = jax.jit(model.init)(jax.random.key(1), x), np.random.default_rng(0).permutation(11)
    y, apply = model.apply(params, x), jax.jit(model.apply)
    np.testing.assert_allclose(apply(params, x), y, atol=1e-5)
    np.testing.assert_allclose(apply(params, x[order]), y[order], atol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(y, axis=1), 1, atol=1e-5)


def test_gradients_of_an_edge_convolution_against_differences():
    with jax.enable_x64(True):
        x, layer = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3))), as_model(EdgeConv((4, 5), 3))
        params = jax.jit(lambda key: with_norms(layer.init(key, x)))(jax.random.key(1))
        params = jax.tree.map(lambda p: p.astype(jnp.float64), params)
        direction = jax.tree.map(lambda p: jnp.cos(jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape), params)

        @jax.jit
        def loss(t, x):
            return jnp.sin(layer.apply(jax.tree.map(lambda p, d: p + t * d, params, direction), x)).sum()

        step = 1e-6
        by_params, by_points = jax.jit(jax.grad(loss, (0, 1)))(0.0, x)
        np.testing.assert_allclose(by_params, (loss(step, x) - loss(-step, x)) / (2 * step), rtol=1e-6)
        along = np.zeros((8, 3))
        along[2, 1] = step
        numeric = (loss(0.0, x + along) - loss(0.0, x - along)) / (2 * step)
        np.testing.assert_allclose(by_points[2, 1], numeric, rtol=1e-5)


def test_averaged_over_frames_its_normals_turn_with_the_cloud():
    x, model = cloud(), fa_pointnet(SMALL)
    params = jax.jit(model.init)(jax.random.key(1), x)
    g = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0].astype(np.float32)
    apply = jax.jit(model.apply)
    np.testing.assert_allclose(apply(params, x @ g.T + 2.0), apply(params, x) @ g.T, atol=1e-3)
    gradient = jax.jit(jax.grad(lambda params: jnp.square(model.apply(params, x)[:, 0]).sum()))(params)
    for leaf in (gradient["edge_0"]["edge"], gradient["edge_1"]["edge"]):
        assert jnp.isfinite(leaf).all()
        assert (leaf != 0).any()
