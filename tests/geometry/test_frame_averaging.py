"""Frame averaging: symmetric to rounding, a projection, right by hand; and the networks made with it."""

import itertools

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

from jaxzoo.geometry import frame_averaging as fa
from jaxzoo.geometry.body_networks import gnn
from jaxzoo.geometry.graph_networks import gin, matrix_mlp
from jaxzoo.geometry.n_body import Bodies, nbody_start
from jaxzoo.geometry.point_networks import PointNet
from jaxzoo.layers import MLP
from jaxzoo.transforms import as_model, ntk

N = 6


def motions(count, dtype=np.float32, proper=False):
    rng = np.random.default_rng(0)
    for _ in range(count):
        g, r = np.linalg.qr(rng.normal(size=(3, 3)))
        g = g * np.sign(np.diag(r))
        if proper and np.linalg.det(g) < 0:
            g[:, 0] *= -1
        yield g.astype(dtype), rng.normal(size=3).astype(dtype)


def random_network(out, dtype=jnp.float32):
    """A random MLP of all coordinates and velocities, not an odd function, and its inputs."""
    key_net, key_x, key_v = jax.random.split(jax.random.key(0), 3)
    mlp = as_model(MLP((32, out)))
    x, v = jax.random.normal(key_x, (N, 3), dtype), jax.random.normal(key_v, (N, 3), dtype)
    params = jax.tree.map(lambda p: p.astype(dtype), mlp.init(key_net, jnp.zeros(6 * N)))

    def apply(params, x, v):
        y = mlp.apply(params, jnp.concatenate([x.ravel(), v.ravel()]))
        return y.reshape(-1, 3) if out % 3 == 0 else y

    return apply, params, x, v


@pytest.mark.parametrize("group", ["E", "SE", "O", "SO"])
@pytest.mark.parametrize("out", ["invariant", "vector", "position"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-4), (jnp.float64, 1e-10)])
def test_averages_over_frames_are_invariant_or_equivariant(group, out, dtype, tolerance):
    with jax.enable_x64(dtype == jnp.float64):
        apply, params, x, v = random_network(4 if out == "invariant" else 3 * N, dtype)
        averaged = jax.jit(fa.frame_average(apply, group=group, out=out))
        y = averaged(params, x, v)
        for g, t in motions(20, dtype, proper=group.startswith("S")):
            t = t * ("E" in group)
            moved = averaged(params, x @ g.T + t[None], v @ g.T)
            expected = {"invariant": y, "vector": y @ g.T if y.ndim == 2 else y}.get(out)
            expected = y @ g.T + t[None] if out == "position" else expected
            np.testing.assert_allclose(moved, expected, atol=tolerance)


def test_without_a_frame_the_network_is_not_invariant():
    apply, params, x, v = random_network(4)
    g, t = next(motions(1))
    assert jnp.abs(apply(params, x @ g.T + t[None], v @ g.T) - apply(params, x, v)).max() > 0.01


def test_by_hand_in_the_plane():
    x = jnp.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])

    def top(params, x):
        return x[0, 1]  # the first point's coordinate along the axis of the largest eigenvalue

    np.testing.assert_allclose(fa.frame_average(top)(None, x), 0, atol=1e-6)
    np.testing.assert_allclose(fa.frame_average(lambda p, x: top(p, x) ** 2)(None, x), 4, rtol=1e-6)


def test_averaging_is_a_projection():
    apply, params, x, v = random_network(4)

    def invariant(params, x):
        return jnp.tanh(jnp.square(x[:, None] - x[None]).sum(-1))

    np.testing.assert_allclose(fa.frame_average(invariant)(None, x), invariant(None, x), atol=1e-5)
    once = fa.frame_average(apply)
    np.testing.assert_allclose(fa.frame_average(once)(params, x, v), once(params, x, v), atol=1e-5)


def test_averages_compose_with_other_transforms_and_vmap():
    apply, params, x, v = random_network(4)
    averaged = fa.frame_average(lambda params, x: apply(params, x, x))
    xs = jnp.stack([x, v])
    np.testing.assert_allclose(
        jax.vmap(averaged, (None, 0))(params, xs), [averaged(params, x), averaged(params, v)], atol=1e-6
    )
    g, t = next(motions(1))
    kernel = ntk(averaged, trace=True)
    np.testing.assert_allclose(kernel(params, xs @ g.T + t[None, None]), kernel(params, xs), rtol=1e-3)


def test_a_frame_that_was_computed_before_is_used():
    apply, params, x, v = random_network(4)
    averaged = fa.frame_average(apply)
    np.testing.assert_allclose(averaged(params, x, v, frame=fa.euclidean_frame(x)), averaged(params, x, v), atol=1e-6)
    assert jnp.abs(averaged(params, x, v, frame=fa.euclidean_frame(v)) - averaged(params, x, v)).max() > 1e-3


def test_the_gradient_is_that_of_the_average_with_the_frame_held():
    apply, params, x, v = random_network(4)
    averaged = fa.frame_average(apply)
    frame = fa.euclidean_frame(x)

    def loop(params):
        ys = [apply(params, (x - frame.centre[None]) @ r, v @ r) for r in frame.rotations]
        return jnp.square(sum(ys) / len(ys)).sum()

    gradient = jax.grad(lambda params: jnp.square(averaged(params, x, v)).sum())(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), gradient, jax.grad(loop)(params))


def test_group_averaging_is_symmetric_only_in_the_limit():
    apply, params, x, v = random_network(4)
    g, _ = next(motions(1, proper=True))
    key_a, key_b = jax.random.split(jax.random.key(7))

    def moved(k):
        averaged = jax.jit(fa.ga_average(apply, k))
        a = averaged(params, x, v, key=jax.random.clone(key_a))
        return jnp.abs(averaged(params, x @ g.T, v @ g.T, key=jax.random.clone(key_b)) - a).mean()

    assert moved(8) > 1e-3
    assert moved(4000) < moved(8) / 4


@pytest.mark.parametrize("network", [matrix_mlp(), gin(ids=True)], ids=["mlp", "gin-id"])
def test_over_the_frame_of_a_complete_graph_it_is_the_mean_over_all_permutations(network):
    a = jnp.asarray(nx.to_numpy_array(nx.complete_graph(4), dtype=np.uint8) + np.eye(4, dtype=np.uint8))
    params = network.init(jax.random.key(0), a)
    _, blocks = fa.spectral_sort_frame(np.asarray(a) - np.eye(4))
    averaged = fa.permutation_average(network.apply)(params, a, fa.frame_permutations(blocks))
    every = jnp.stack([network.apply(params, a[np.array(p)][:, np.array(p)]) for p in itertools.permutations(range(4))])
    np.testing.assert_allclose(averaged, every.mean(0), atol=1e-6)


@pytest.mark.parametrize("network", [matrix_mlp(), gin(ids=True)], ids=["mlp", "gin-id"])
def test_averages_over_frames_of_graphs_do_not_depend_on_the_labelling(network):
    a = nx.to_numpy_array(nx.barbell_graph(3, 1), dtype=np.uint8)
    params = network.init(jax.random.key(0), a)
    averaged = fa.permutation_average(network.apply)
    results = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(7)
        other = a[order][:, order]
        orders = fa.frame_permutations(fa.spectral_sort_frame(other)[1])
        results.append(averaged(params, jnp.asarray(other + np.eye(7, dtype=np.uint8)), orders))
    np.testing.assert_allclose(results, np.stack([results[0]] * 3), atol=1e-5)


def test_members_of_several_graphs_are_averaged_graph_by_graph():
    matrices = jax.random.bernoulli(jax.random.key(0), 0.5, (5, 3, 3)).astype(jnp.uint8)
    averaged = fa.members_average(
        lambda params, a: params * a.astype(jnp.float32).sum(0), jnp.array([0, 0, 1, 1, 1]), 2
    )
    sums = np.asarray(matrices, np.float32).sum(1)
    np.testing.assert_allclose(averaged(2.0, matrices), [2 * sums[:2].mean(0), 2 * sums[2:].mean(0)])
    masked = averaged(2.0, matrices, mask=jnp.array([True, False, False, True, False]))
    np.testing.assert_allclose(masked, 2 * sums[np.array([0, 3])])


def test_random_orders_put_missing_nodes_last():
    orders = fa.random_orders(jax.random.key(0), jnp.array([1, 1, 0, 1, 0]), 50)
    np.testing.assert_array_equal(jnp.sort(orders, axis=1), jnp.tile(jnp.arange(5), (50, 1)))
    assert set(np.asarray(orders[:, :3]).ravel().tolist()) == {0, 1, 3}
    assert len(np.unique(np.asarray(orders), axis=0)) == 6


def bodies():
    return nbody_start(jax.random.key(3))


def test_fa_gnn_moves_with_the_bodies_and_has_the_parameters_of_the_plain_network():
    model, plain, system = fa.fa_gnn(width=12, layers=3), gnn(width=12, layers=3), bodies()
    params = model.init(jax.random.key(0), system)
    apply = jax.jit(model.apply)
    assert jax.tree.structure(params) == jax.tree.structure(plain.init(jax.random.key(0), system))
    y = apply(params, system)
    for g, t in motions(5):
        moved = Bodies(system.x @ g.T + t[None], system.v @ g.T, system.q)
        np.testing.assert_allclose(apply(params, moved), y @ g.T + t[None], atol=1e-4)
        assert jnp.abs(plain.apply(params, moved) - (plain.apply(params, system) @ g.T + t[None])).max() > 0.01


def test_one_layer_of_fa_gnn_is_the_frame_average_of_the_plain_network():
    model, plain, system = fa.fa_gnn(width=12, layers=1), gnn(width=12, layers=1), bodies()
    params = model.init(jax.random.key(0), system)

    def displaced(params, x, v):
        return plain.apply(params, Bodies(x, v, system.q))

    expected = fa.frame_average(displaced, out="position")(params, system.x, system.v)
    np.testing.assert_allclose(model.apply(params, system), expected, atol=1e-5)


def test_gradients_of_fa_gnn_are_finite_and_reach_every_parameter():
    model, system = fa.fa_gnn(width=6, layers=2), bodies()
    params = model.init(jax.random.key(0), system)
    gradient = jax.grad(lambda params: jnp.square(model.apply(params, system)).sum())(params)
    for leaf in jax.tree.leaves(gradient):
        assert jnp.isfinite(leaf).all()
        assert (leaf != 0).any()


def test_with_random_elements_fa_gnn_is_group_averaging_of_the_plain_network():
    size, system = {"width": 6, "layers": 2}, bodies()
    plain = gnn(**size)
    params = plain.init(jax.random.key(0), system)

    def displaced(params, x, v):
        return plain.apply(params, Bodies(x, v, system.q))

    @jax.jit
    def switched(random):
        return fa.fa_gnn(**size, random=random).apply(params, system, key=jax.random.key(4))

    average = jax.jit(fa.ga_average(displaced, 8, group="E", out="position"))
    expected = average(params, system.x, system.v, key=jax.random.key(4))
    np.testing.assert_allclose(switched(True), expected, atol=1e-5)
    np.testing.assert_allclose(switched(False), jax.jit(fa.fa_gnn(**size).apply)(params, system), atol=1e-5)
    assert jnp.abs(switched(False) - expected).max() > 1e-3


@pytest.mark.parametrize(("group", "proper"), [("E", False), ("SE", True)])
def test_fa_pointnet_gives_unit_normals_that_turn_with_the_cloud(group, proper):
    model = fa.fa_pointnet(PointNet(8, 8), group=group)
    x = jax.random.normal(jax.random.key(1), (10, 3))
    params, apply = model.init(jax.random.key(0), x), jax.jit(model.apply)
    y = apply(params, x)
    np.testing.assert_allclose(jnp.linalg.norm(y, axis=1), 1, atol=1e-5)
    for g, t in motions(5, proper=proper):
        np.testing.assert_allclose(apply(params, x @ g.T + t[None]), y @ g.T, atol=1e-3)


def test_fa_pointnet_over_random_elements_needs_a_key_and_does_not_turn():
    model = fa.fa_pointnet(PointNet(8, 8), random=True)
    x = jax.random.normal(jax.random.key(1), (10, 3))
    params = model.init(jax.random.key(0), x)
    y, other = (model.apply(params, x, key=key) for key in jax.random.split(jax.random.key(2)))
    assert jnp.abs(y - other).max() > 0.01


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="group: expected one of E, SE, O, SO, got 'U'"):
        fa.frame_average(None, group="U")
    with pytest.raises(ValueError, match="out: expected one of"):
        fa.frame_average(None, out="tensor")
    with pytest.raises(ValueError, match="k: expected at least 1, got 0"):
        fa.ga_average(None, 0)
    with pytest.raises(ValueError, match="width: expected a multiple of 3"):
        fa.fa_gnn(width=10)
