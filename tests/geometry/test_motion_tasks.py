"""Tasks in space: data differs from seed to seed, is turned where asked, and test data stays out of the selection."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.geometry.body_networks import gnn
from jaxzoo.geometry.frame_averaging import fa_gnn
from jaxzoo.geometry.motion_sets import body_sets, cloud_sets, gap_quantiles, rotation_error
from jaxzoo.geometry.motion_tasks import body_task, cloud_task, random_turns, selected, turn
from jaxzoo.geometry.n_body import Bodies
from jaxzoo.geometry.point_networks import PointNet, normals_of
from jaxzoo.train import fit


def test_turns_are_rotations_or_none():
    x = jax.random.normal(jax.random.key(0), (4, 5, 3))
    u = jax.random.uniform(jax.random.key(1), (4, 3))
    none = random_turns(u, jnp.array(False))
    np.testing.assert_array_equal(turn(x, none), x)
    turns = random_turns(u, jnp.array(True))
    np.testing.assert_allclose(turn(x, turns), np.einsum("bni,bij->bnj", x, turns), atol=1e-5)
    assert jnp.abs(turns[0] - turns[1]).max() > 0.1


def systems(count, seed):
    x, v = jax.random.normal(jax.random.key(seed), (2, count, 5, 3))
    return Bodies(x, v, jnp.ones((count, 5))), x + v


def test_bodies_are_learned_from_the_first_systems():
    data = {"train": systems(40, 0), "valid": systems(10, 1), "test": systems(10, 2)}
    data |= {"count": jnp.int32(20), "augment": jnp.array(False), "random": jnp.array(False)}
    task = body_task(lambda _: gnn(width=6, layers=1), batch=10, rate=1e-2)
    trained = fit(task, jax.random.key(0), 40, data, evaluate_every=20)
    assert trained.evaluations["valid"][1] <= trained.evaluations["valid"][0] < 4
    bodies, y = data["train"]
    beyond = data | {"train": (bodies, y.at[20:].set(jnp.nan)), "test": systems(10, 3)}
    again = fit(task, jax.random.key(0), 40, beyond, evaluate_every=20)
    np.testing.assert_array_equal(again.evaluations["valid"], trained.evaluations["valid"])
    assert (again.evaluations["test"] != trained.evaluations["test"]).all()


def test_predictions_turn_with_the_systems_in_frames_and_not_over_as_many_random_elements():
    def make_model(random):
        return fa_gnn(width=6, layers=2, random=random)

    task, found = body_task(make_model, batch=10, rate=1e-2, stochastic=True), {}
    for random in (False, True):
        data = {"train": systems(40, 0), "valid": systems(10, 1), "test": systems(10, 2)}
        data |= {"count": jnp.int32(40), "augment": jnp.array(False), "random": jnp.array(random)}
        found[random] = fit(task, jax.random.key(0), 20, data).evaluations
    assert found[False]["not turned"] < 1e-3
    assert found[True]["not turned"] > 1e-2
    assert found[False]["test"] != found[True]["test"]


def test_the_state_is_selected_by_validation_alone():
    evaluations = {"valid": np.array([[3.0, 1.0, 2.0], [1.0, 5.0, 4.0]]), "test": np.arange(6.0).reshape(2, 3)}
    np.testing.assert_array_equal(selected(evaluations), [1, 3])


def test_normals_are_learned_and_measured():
    data = cloud_sets(jax.random.key(0), train=12, test=6, points=8)
    data |= {"augment": jnp.array(False), "random": jnp.array(False)}
    task = cloud_task(lambda _: normals_of(PointNet(8, 8)), batch=6, rate=1e-2)
    trained = fit(task, jax.random.key(1), 40, data)
    assert trained.history["loss"][-5:].mean() < trained.history["loss"][:5].mean()
    assert set(trained.evaluations) == {"step", "aligned", "rotated", "not turned"}
    still = data | {"turns": jnp.tile(jnp.eye(3), (6, 1, 1))}
    same = fit(task, jax.random.key(1), 1, still).evaluations
    np.testing.assert_allclose(same["aligned"], same["rotated"], rtol=1e-5)
    np.testing.assert_allclose(same["not turned"], 0, atol=1e-5)


def test_simulated_sets_have_their_parts():
    sets = jax.eval_shape(lambda key: body_sets(key, train=7, valid=2, test=3), jax.random.key(0))
    assert {name: (part[0].x.shape, part[1].shape) for name, part in sets.items()} == {
        name: ((s, 5, 3), (s, 5, 3)) for name, s in (("train", 7), ("valid", 2), ("test", 3))
    }


def test_quantiles_of_gaps():
    x = jax.random.normal(jax.random.key(0), (2, 30, 10, 3))
    least, percentile, median = np.asarray(gap_quantiles(x)).T
    assert (least > 0).all()
    assert (least <= percentile).all()
    assert (percentile < median).all()


def test_a_frame_is_invariant_and_random_rotations_are_less_so():
    out = rotation_error(jax.random.key(0), (1, 64))
    assert (out["moved in frame"] < 1e-4).all()
    assert out["moved by rotations"][0] > out["moved by rotations"][1] > 0.01
