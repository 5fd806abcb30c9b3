"""Graph networks and the tasks on graphs, against plain loops."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

from jaxzoo.geometry.frame_averaging import members_average
from jaxzoo.geometry.graph_networks import gin, gin_layer, matrix_mlp
from jaxzoo.geometry.graph_tasks import atlas_matrices, graph_task, order_data, shuffled, tell_apart
from jaxzoo.geometry.spectral_sort import frame_members, pad
from jaxzoo.geometry.uniform_init import uniform_init
from jaxzoo.geometry.weisfeiler_leman import wl_pairs
from jaxzoo.model import Model
from jaxzoo.train import fit
from jaxzoo.train.loop import hoist


def test_a_layer_sums_over_neighbours():
    graph = nx.star_graph(3)
    a, h = jnp.asarray(nx.to_numpy_array(graph, dtype=np.float32)), jax.random.normal(jax.random.key(0), (4, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 5))
    params = {"kernel": kernel, "eps": jnp.float32(0.3), "bias": jnp.arange(5.0)}
    out = gin_layer(params, h, a)
    for i in range(4):
        mixed = 1.3 * h[i] + sum(h[j] for j in graph[i])
        np.testing.assert_allclose(out[i], jnp.tanh(mixed @ params["kernel"] + params["bias"]), atol=1e-6)


def test_weights_are_uniform_within_the_root_of_the_inputs_and_all_differ():
    def init(key, x):
        return {"a": {"kernel": x, "bias": jnp.ones(40)}, "factor": {"kernel": x}, "scale": jnp.ones(())}

    model = uniform_init(Model(init, None), small=("factor",))
    params = model.init(jax.random.key(0), jnp.ones((16, 4000)))
    w = params["a"]["kernel"]
    assert 0.249 < jnp.abs(w).max() <= 0.25
    np.testing.assert_allclose(w.std(), 0.25 / 3**0.5, rtol=0.02)
    assert 0.249e-3 < jnp.abs(params["factor"]["kernel"]).max() <= 0.25e-3
    assert abs(np.corrcoef(w.ravel(), params["factor"]["kernel"].ravel())[0, 1]) < 0.02
    bias = params["a"]["bias"]
    assert jnp.abs(bias).max() <= 0.25
    assert bias.std() > 0.05
    assert params["scale"] == 0


def test_padding_changes_nothing_for_message_passing_and_labels_only_matter_with_ids():
    a = nx.to_numpy_array(nx.barbell_graph(3, 1), dtype=np.uint8)
    order = np.random.default_rng(0).permutation(7)
    for ids in (False, True):
        network = gin(width=8, ids=ids)
        small, large = jnp.asarray(pad(a, 7)), jnp.asarray(pad(a, 9))
        params = network.init(jax.random.key(0), small)
        if not ids:
            np.testing.assert_allclose(network.apply(params, large), network.apply(params, small), atol=1e-6)
        moved = jnp.abs(network.apply(params, small[order][:, order]) - network.apply(params, small)).max()
        assert (moved > 1e-3) == ids


def test_networks_with_and_without_ids_share_a_program():
    small = jnp.asarray(pad(nx.to_numpy_array(nx.barbell_graph(3, 1), dtype=np.uint8), 7))
    programs = []
    for ids, eps in ((False, 0.0), (True, 0.5)):
        network = gin(width=8, ids=jnp.array(ids), eps=jnp.array(eps))
        pure, constants, _ = hoist(network.apply, network.init(jax.random.key(0), small), small)
        programs.append(jax.jit(pure).lower(constants, network.init(jax.random.key(0), small), small).as_text())
    assert programs[0] == programs[1]


def test_a_network_that_could_have_ids_and_has_none_is_the_one_without():
    small = jnp.asarray(pad(nx.to_numpy_array(nx.barbell_graph(3, 1), dtype=np.uint8), 7))
    plain, without = gin(width=8), gin(width=8, ids=jnp.array(False))
    params = without.init(jax.random.key(0), small)
    first = params["layers"][0]
    assert jnp.abs(first["kernel"]).max() > 0.9  # uniform in -+1, as for the degree alone
    seen = params | {"layers": [first | {"kernel": first["kernel"][:1]}, *params["layers"][1:]]}
    np.testing.assert_allclose(without.apply(params, small), plain.apply(seen, small), atol=1e-6)


def test_shuffled_graphs_are_isomorphic_and_keep_their_padding():
    matrices = jnp.asarray(np.stack([pad(a, 7) for a in atlas_matrices()[20:40]]))
    out = np.asarray(shuffled(jax.random.key(0), matrices))
    np.testing.assert_array_equal(np.diagonal(out, axis1=1, axis2=2), np.diagonal(matrices, axis1=1, axis2=2))
    for a, b in zip(np.asarray(matrices), out, strict=True):
        assert nx.is_isomorphic(*(nx.from_numpy_array(each) for each in (a, b)))
    assert (out != matrices).any()


def test_networks_tell_apart_what_they_can():
    graphs = atlas_matrices()[:30]
    i, j = wl_pairs(atlas_matrices())[0]
    graphs = [atlas_matrices()[i], atlas_matrices()[j], *graphs]
    members = frame_members(graphs, 7)
    matrices, graph = jnp.asarray(members.matrices), jnp.asarray(members.graph)
    alike, found = np.array([[0, 1]]), {}
    for name, network in {"gin": gin(width=8), "mlp": matrix_mlp(widths=(16, 4))}.items():
        found[name] = tell_apart(network, alike, 32, 3, jax.random.key(0), matrices, graph, matrices[None])
    assert (found["gin"]["separated"], found["mlp"]["separated"]) == (0, 1)
    assert found["gin"]["unresolved"] >= 1
    assert found["mlp"]["unresolved"] == 0
    assert found["mlp"]["moved"] < 1e-6
    assert found["mlp"]["moved random"] > 1e-3


def test_with_eps_0_a_network_with_ids_cannot_tell_the_utility_graph_from_the_prism():
    graphs = [nx.complete_bipartite_graph(3, 3), nx.circular_ladder_graph(3)]
    members = frame_members([nx.to_numpy_array(each, dtype=np.uint8) for each in graphs], 6)
    far = []
    for eps in (0.0, 0.5):
        network = gin(width=8, ids=True, eps=eps)
        params = network.init(jax.random.key(0), members.matrices[0])
        y = members_average(network.apply, members.graph, 2)(params, jnp.asarray(members.matrices))
        far.append(jnp.linalg.norm(y[0] - y[1]))
    assert far[0] < 1e-5
    assert far[1] > 1e-3


def test_with_one_random_member_a_graph_is_told_apart_from_itself():
    """So a test of separation with one random member, as in the official code, can't tell that from separation."""
    prism = nx.to_numpy_array(nx.circular_ladder_graph(3), dtype=np.uint8)
    members = frame_members([prism], 6)
    network = gin(ids=True)
    params = network.init(jax.random.key(0), members.matrices[0])
    y = jax.vmap(network.apply, (None, 0))(params, jnp.asarray(members.matrices))
    assert members.count[0] > 1
    assert jnp.linalg.norm(y[1:] - y[:1], axis=1).max() > 1e-3


@pytest.fixture(scope="module")
def pair():
    graphs = [atlas_matrices()[k] for k in wl_pairs(atlas_matrices())[0]]
    members, given = frame_members(graphs, 6), np.stack([pad(a, 6) for a in graphs])
    return members, given


def test_every_way_of_ordering_has_data_of_the_same_shapes(pair):
    members, given = pair
    made = {name: order_data(members, given, name) for name in ("frame", "random", "one random", "as given")}
    shapes = {str(jax.tree.map(lambda x: (x.shape, x.dtype), each)) for each in made.values()}
    assert len(shapes) == 1
    table = made["as given"]["table"]
    np.testing.assert_array_equal(table[made["as given"]["start"]], given)
    np.testing.assert_array_equal(table[made["frame"]["start"]], members.matrices[members.start])
    assert made["one random"]["counted"].sum() == 2
    with pytest.raises(ValueError, match="orders: expected one of"):
        order_data(members, given, "sorted")


def test_a_pair_is_learned_over_frames_and_not_by_message_passing(pair):
    members, given = pair
    for network, orders, accuracy in (
        (matrix_mlp(widths=(32, 16)), "frame", 1.0),
        (gin(width=8), "as given", 0.5),
    ):
        task = graph_task(network, members=8, rate=1e-2)
        data = order_data(members, given, orders) | {
            "label": np.arange(2, dtype=np.int32),
            "test": members.matrices[None],
        }
        trained = fit(task, jax.random.key(0), 200, jax.tree.map(jnp.asarray, data))
        assert trained.evaluations["accuracy"] == accuracy
