"""Environments obey their laws: equations of motion, energy, rewards, ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.agents import environments as env
from jaxzoo.agents.dispatch import BEST, dispatch, right_action


def fresh():
    return jax.random.key(0)


CLASSIC = {"cartpole": env.cartpole, "mountain_car": env.mountain_car, "acrobot": env.acrobot, "pendulum": env.pendulum}


@pytest.mark.parametrize("make", CLASSIC.values(), ids=CLASSIC)
def test_shapes_and_dtypes_stay(make):
    environment = make()
    state = environment.reset((), fresh())
    action = jnp.zeros(environment.actions) if environment.continuous else jnp.int32(1)
    after, reward, terminated = environment.step((), state, action, fresh())
    assert (after.shape, after.dtype, reward.shape, reward.dtype) == (state.shape, jnp.float32, (), jnp.float32)
    assert terminated.dtype == bool
    assert not terminated
    assert environment.observe(state).shape == (len(environment.cats),)


def test_cartpole_obeys_the_equations_of_motion():
    state, action, dt = np.array([0.1, -0.4, 0.05, 0.7], np.float32), 0, 0.02
    after, reward, _ = env.cartpole().step((), jnp.asarray(state), jnp.int32(action), fresh())
    x, v, angle, w = state.astype(np.float64)
    # (M + m) a + m l cos(angle) alpha = F + m l w^2 sin(angle);  cos(angle) a + 4/3 l alpha = g sin(angle)
    system = np.array([[1.1, 0.05 * np.cos(angle)], [np.cos(angle), 4 / 3 * 0.5]])
    a, alpha = np.linalg.solve(system, [-10 + 0.05 * w**2 * np.sin(angle), 9.8 * np.sin(angle)])
    np.testing.assert_allclose(after, [x + dt * v, v + dt * a, angle + dt * w, w + dt * alpha], rtol=1e-5)
    assert reward == 1


@pytest.mark.parametrize(
    ("place", "angle", "ends"), [(2.41, 0, True), (-2.41, 0, True), (0, 0.215, True), (2.3, 0.2, False)]
)
def test_cartpole_ends_at_its_limits(place, angle, ends):
    assert env.cartpole().step((), jnp.float32([place, 0, angle, 0]), jnp.int32(1), fresh())[2] == ends


def energy(state):
    a, b, va, vb = state
    d11, d12, d22 = 3.5 + jnp.cos(b), 1.25 + 0.5 * jnp.cos(b), 1.25
    return 0.5 * (d11 * va**2 + 2 * d12 * va * vb + d22 * vb**2) - 9.8 * (1.5 * jnp.cos(a) + 0.5 * jnp.cos(a + b))


@pytest.mark.parametrize("torque", [-1.0, 0.0, 1.0])
def test_the_acrobots_energy_changes_by_the_work_of_its_torque(torque):
    state = jnp.asarray([0.4, -0.9, 1.1, 0.6])
    slopes = env._acrobot_slopes(state, torque)
    _, power = jax.jvp(energy, (state,), (slopes,))
    np.testing.assert_allclose(power, torque * state[3], atol=2e-5)


def test_acrobot_steps_along_its_slopes_and_ends_at_the_top():
    step = env.acrobot().step
    state = jnp.asarray([0.4, -0.9, 1.1, 0.6])

    def midpoint(_, s):
        return s + 0.0005 * env._acrobot_slopes(s + 0.00025 * env._acrobot_slopes(s, 1.0), 1.0)

    fine = jax.jit(lambda s: jax.lax.fori_loop(0, 400, midpoint, s))(state)
    after, reward, top = step((), state, jnp.int32(2), fresh())
    np.testing.assert_allclose(after, fine, atol=3e-3)  # the error of one Runge-Kutta step of 0.2 is 2.1e-3
    assert (reward, top) == (-1, False)
    _, reward, top = step((), jnp.asarray([jnp.pi, 0.0, 0.0, 0.0]), jnp.int32(1), fresh())
    assert (reward, top) == (0, True)


def test_pendulum_and_mountain_car_by_hand():
    after, reward, _ = env.pendulum().step((), jnp.asarray([jnp.pi / 2, 1.0]), jnp.asarray([3.0]), fresh())
    np.testing.assert_allclose(after, [np.pi / 2 + 0.05 * 2.05, 2.05], rtol=1e-6)  # w = 1 + (15 + 3 * 2) 0.05
    np.testing.assert_allclose(reward, -(np.pi**2 / 4 + 0.1 + 0.004), rtol=1e-6)
    after, reward, top = env.mountain_car().step((), jnp.asarray([-0.5, 0.01]), jnp.asarray([0.5]), fresh())
    v = 0.01 + 0.00075 - 0.0025 * np.cos(1.5)
    np.testing.assert_allclose(after, [-0.5 + v, v], rtol=1e-5)
    np.testing.assert_allclose(reward, -0.025, rtol=1e-6)
    assert not top
    _, reward, top = env.mountain_car().step((), jnp.asarray([0.44, 0.05]), jnp.asarray([0.0]), fresh())
    assert (reward, top) == (100, True)


def walk(environment, choose, key, steps=40):
    key_world, key_reset, key_run = jax.random.split(key, 3)
    world = environment.world(key_world)

    def step(carry, i):
        state, alive, total = carry
        key_action, key_step = jax.random.split(jax.random.fold_in(key_run, i))
        after, reward, end = environment.step(world, state, choose(key_action, state), key_step)
        return (after, alive & ~end, total + alive * reward), None

    start = (environment.reset(world, key_reset), jnp.asarray(True), jnp.float32(0))
    return jax.lax.scan(step, start, jnp.arange(steps))[0][2]


def test_dispatch_returns_its_best_to_who_knows_the_table_and_its_worst_to_chance():
    environment, (key_best, key_chance) = dispatch(2), jax.random.split(fresh())
    best = jax.jit(jax.vmap(lambda key: walk(environment, lambda key, state: right_action(state), key)))
    np.testing.assert_allclose(best(jax.random.split(key_best, 20)), BEST, atol=1e-5)
    chance = jax.jit(jax.vmap(lambda key: walk(environment, lambda key, state: jax.random.randint(key, (), 0, 4), key)))
    np.testing.assert_allclose(chance(jax.random.split(key_chance, 400)).mean(), -0.71, atol=0.08)


def test_dispatch_shows_what_it_says():
    environment = dispatch(3)
    world = environment.world(fresh())
    states = jax.vmap(environment.reset, (None, 0))(world, jax.random.split(jax.random.key(1), 500))
    x = jax.vmap(environment.observe)(states)
    assert environment.cats == (16, 3, 0, 8, 8, 8)
    for column, c in zip(x.T, environment.cats, strict=True):
        assert set(np.asarray(column).tolist()) == set(range(c or 1))
    expected = (world[x[:, 0].astype(int)] + (x[:, 1] == 2)) % 4
    np.testing.assert_array_equal(jax.vmap(right_action)(states), expected)
    state = jax.tree.map(lambda a: a[0], states)
    for action in range(4):
        after, reward, end = environment.step(world, state, jnp.int32(action), fresh())
        assert after.place == (action == right_action(state))
        assert (reward, end) == (jnp.float32(-0.05), False)


def test_a_spurious_distractor_tells_the_answer_in_its_share_of_the_steps():
    environment = dispatch(2, spurious=jnp.float32(0.9))
    world = environment.world(fresh())
    states = jax.vmap(environment.reset, (None, 0))(world, jax.random.split(jax.random.key(1), 2000))
    told = jax.vmap(right_action)(states) == states.distractors[:, 0]
    np.testing.assert_allclose(told.mean(), 0.9 + 0.1 / 8, atol=0.03)


def test_a_redrawn_table_is_new_in_every_episode():
    environment = dispatch(2, redraw=jnp.asarray(True))
    world = environment.world(fresh())
    states = jax.vmap(environment.reset, (None, 0))(world, jax.random.split(jax.random.key(1), 300))
    np.testing.assert_allclose((states.table == world[None]).mean(), 0.25, atol=0.05)
    with pytest.raises(ValueError, match="distractors"):
        dispatch(0)
