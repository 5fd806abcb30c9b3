"""Simulators as pure functions: episodes by hand, any order of questions, seeds mapped, a run killed and resumed."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.agents import rollout as ro
from jaxzoo.agents import simulated as si
from jaxzoo.experiment.runner import Runner
from jaxzoo.experiment.seeds import over_seeds
from jaxzoo.train.task import Task

LIMIT = 6
LOG = SimpleNamespace(made=0, resets=0, steps=0)


class Walk:
    """Shows a number drawn from its seed and a place; action 1 moves on by a drawn number; ends at 4, or cut off."""

    def __init__(self, shown=lambda x: x, cut=LIMIT):
        LOG.made += 1
        self.shown, self.cut, self.x = shown, cut, np.zeros(2, np.float32)

    def reset(self, *, seed):
        LOG.resets += 1
        self.random, self.t = np.random.default_rng(seed), 0
        self.x[:] = self.random.random(), 0
        return self.shown(self.x), {}

    def step(self, action):
        LOG.steps += 1
        self.t += 1
        self.x[1] += action * self.random.integers(1, 3)
        return self.shown(self.x), 2.0 * action, bool(self.x[1] >= 4), self.t == self.cut, {}


def walk(**options):
    LOG.made = LOG.resets = LOG.steps = 0
    return si.simulated(Walk, (0, 0), 2, LIMIT, **options)


def outputs(x):
    """Logits that move on mostly, and a value."""
    return jnp.stack([0 * x[:, 0], 0 * x[:, 0] + 1, x.sum(1)], axis=1)


def by_hand(seed, actions):
    """What `Walk` shows, pays and ends after actions, played anew."""
    simulator = Walk()
    x, reward, terminated = simulator.reset(seed=seed)[0].copy(), 0.0, False
    for action in actions:
        x, reward, terminated, *_ = simulator.step(action)
    return x.copy(), reward, terminated


def episode(seed, actions):
    played = jnp.zeros(LIMIT, jnp.uint8).at[: len(actions)].set(jnp.asarray(actions, jnp.uint8))
    return si.Episode(jnp.uint32(seed), jnp.int32(len(actions)), played)


def test_episodes_are_those_of_the_simulator_in_whatever_order_they_are_asked_for():
    environment = walk()
    step, observe = jax.jit(environment.step), jax.jit(environment.observe)
    cases = [(7, [1]), (7, [0, 1]), (9, []), (7, [1]), (7, [1, 0, 0]), (9, [1, 1]), (7, []), (4_000_000_000, [0, 1])]
    for seed, actions in cases:
        np.testing.assert_array_equal(observe(episode(seed, actions)), by_hand(seed, actions)[0])
        after, reward, terminated = step((), episode(seed, actions), jnp.int32(1), jax.random.key(0))
        assert (reward, terminated) == by_hand(seed, [*actions, 1])[1:]
        assert (int(after.elapsed), int(after.seed)) == (len(actions) + 1, seed)
        np.testing.assert_array_equal(after.actions, episode(seed, [*actions, 1]).actions)


def test_many_at_once_and_twice_the_same_are_those_of_one_at_a_time():
    environment = walk()
    cases = [(3, []), (3, [1]), (3, [1, 0]), (3, [0, 0]), (5, [1, 1]), (3, [1])]
    stacked = jax.tree.map(lambda *a: jnp.stack(a).reshape(2, 3, *a[0].shape), *(episode(*case) for case in cases))
    x = jax.jit(jax.vmap(jax.vmap(environment.observe)))(stacked).reshape(6, 2)
    np.testing.assert_array_equal(x, [by_hand(*case)[0] for case in cases])


def test_an_episode_that_ended_stays_as_it_is():
    environment = walk()
    state = episode(0, [1] * 4)
    assert by_hand(0, [1] * 4)[2]
    ends = next(n for n in range(5) if by_hand(0, [1] * n)[2])
    for _ in range(2):
        state, reward, terminated = environment.step((), state, jnp.int32(1), jax.random.key(0))
        assert (reward, terminated) == (0, True)
        np.testing.assert_array_equal(environment.observe(state), by_hand(0, [1] * ends)[0])


def test_a_rollout_takes_each_step_once_and_uses_simulators_again():
    environment = walk()
    actors = ro.start(environment, jax.random.key(0), 3)
    actors, out, _ = jax.jit(lambda a, k: ro.rollout(environment, a, outputs, k, 40))(actors, jax.random.key(1))
    assert (LOG.made, LOG.steps) == (3, 120)
    assert LOG.resets in (actors.ended, actors.ended + 1, actors.ended + 2, actors.ended + 3)
    ends = out.terminated | out.truncated
    assert out.terminated.any()
    assert out.truncated.any()
    for b in range(3):
        begin = 0
        for t in np.flatnonzero(ends[:, b]).tolist():
            x, actions = out.x[begin : t + 1, b], out.action[begin : t + 1, b]
            assert (x[0, 1], out.total[t, b]) == (0, 2 * actions.sum())
            assert out.truncated[t, b] == (t + 1 - begin == LIMIT and not out.terminated[t, b])
            assert (out.cut_value[t, b] > 0) == out.truncated[t, b]
            np.testing.assert_array_equal(x[:, 0], np.broadcast_to(x[:1, 0], t + 1 - begin))
            begin = t + 1
        assert begin > 0


def wander(environment):
    """A task without a learner, which compiles soon: two episodes at a time, actions in turn."""

    def init(key):
        return jax.vmap(lambda key: environment.reset((), key))(jax.random.split(key, 2))

    def update(states, key):
        x = jax.vmap(environment.observe)(states)
        action = states.elapsed % 2
        states, reward, ended = jax.vmap(lambda s, a: environment.step((), s, a, key))(states, action)
        over = ended | (states.elapsed == LIMIT)
        fresh = init(key)
        states = jax.tree.map(lambda a, b: jnp.where(over.reshape(2, *(1,) * (a.ndim - 1)), a, b), fresh, states)
        return states, {"shown": x.sum(), "paid": reward.sum(), "over": over.sum()}

    return Task(init, update)


@pytest.mark.parametrize("way", ["vmap", "pmap", "sharded"])
def test_seeds_side_by_side_are_those_one_after_the_other(way):
    task = wander(walk())
    keys = jax.random.split(jax.random.key(2), 4)

    def twice(key):
        return task.update(task.update(task.init(key), jax.random.fold_in(key, 1))[0], jax.random.fold_in(key, 2))

    loop, other = (over_seeds(twice, (), (keys,), way=w)[0]((), (keys,)) for w in ("loop", way))
    jax.tree.map(np.testing.assert_array_equal, loop, other)


def test_programs_of_equal_text_do_not_share_an_environment():
    keys = jax.random.split(jax.random.key(0), 1)
    makers = [lambda: Walk(), lambda: Walk(shown=lambda x: -x)]
    environments = [si.simulated(make, (0, 0), 2, LIMIT) for make in makers]

    def first(environment):
        function = lambda key: environment.observe(environment.reset((), key))  # noqa: E731
        return over_seeds(function, (), (keys,), way="loop")[0]((), (keys,))

    plain, negative = map(first, environments)
    assert plain[0, 0] > 0
    np.testing.assert_array_equal(plain, -negative)


def test_a_run_that_was_killed_goes_on_to_the_same_bits(tmp_path):
    whole = Runner(2, jax.random.key(0)).train("a", wander(walk()), 12)
    asked = iter([False, True])
    stopped = Runner(2, jax.random.key(0), folder=tmp_path, save_seconds=0.0, stop_requested=lambda: next(asked))
    with pytest.raises(KeyboardInterrupt):
        stopped.train("a", wander(walk()), 12)
    # A new process has no simulators: nor has a new environment.
    resumed = Runner(2, jax.random.key(0), folder=tmp_path).train("a", wander(walk()), 12)
    assert 0 < LOG.steps < 2 * 2 * 12
    assert whole.history["over"].sum() > 4
    jax.tree.map(np.testing.assert_array_equal, whole.state, resumed.state)
    jax.tree.map(np.testing.assert_array_equal, whole.history, resumed.history)


def test_more_episodes_than_there_is_room_for_are_played_again(monkeypatch):
    monkeypatch.setattr(si, "ROOM", 2)
    environment = walk()
    for seed in (1, 2, 3, 4, 1, 2, 3, 4):
        np.testing.assert_array_equal(environment.observe(episode(seed, [0, 1])), by_hand(seed, [0, 1])[0])
    assert LOG.made - 8 == 2  # and those by hand


def test_learners_see_the_sign_of_rewards_where_they_are_clipped_and_returns_do_not():
    environment = walk(clip=True)
    act = jax.jit(lambda a, k: ro.rollout(environment, a, outputs, k, 4))
    _, out, _ = act(ro.start(environment, jax.random.key(0), 1), jax.random.key(1))
    np.testing.assert_array_equal(out.reward, out.action)
    assert out.total[0] == 2 * out.action[0]


def test_bad_input_is_refused():
    for actions, limit in ((0, 5), (257, 5), (2, 0)):
        with pytest.raises(ValueError, match="expected 1 to 256 actions and a limit"):
            si.simulated(Walk, (0, 0), actions, limit)


def test_a_simulator_that_cuts_off_too_early_is_named():
    pool = si.Simulators(lambda: Walk(cut=2), LIMIT)
    with pytest.raises(ValueError, match="limit: the simulator cut an episode off after 2 steps, before 6"):
        pool.ask(np.uint32([0]), np.int32([2]), np.zeros((1, LIMIT), np.uint8))
