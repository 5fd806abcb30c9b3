"""Environments of Gymnasium: shapes without it, what is missing named, and with it the same steps as by hand."""

import dataclasses
import itertools
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.agents import gymnasium_env as ge
from jaxzoo.agents import rollout as ro
from jaxzoo.agents.gradient_boosting_rl import Growth, gbrl_ppo
from jaxzoo.agents.simulated import simulated
from jaxzoo.experiment.discover import experiments_folder, load
from jaxzoo.train import needs
from jaxzoo.train.loop import fit

GRID, GAME = "MiniGrid-GoToDoor-5x5-v0", "ALE/Pong-v5"
SMALL = {"updates": 1, "envs": 2, "steps": 4, "minibatches": 1, "growth": Growth(depth=1, n_bins=2)}


@pytest.fixture
def without(monkeypatch):
    """Makes packages look as if they were not installed."""

    def hide(*packages):
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    return hide


@pytest.mark.parametrize("name", [GRID, GAME])
def test_a_learner_builds_where_gymnasium_is_not_installed(without, name):
    without("gymnasium", "minigrid", "ale_py")
    assert needs(gbrl_ppo(ge.gymnasium_environment(name), **SMALL)).state > 0
    with pytest.raises(ImportError, match=r'gymnasium is not installed: this needs pip install "jaxzoo\[gymnasium\]"'):
        ge.open_simulator(name)


@pytest.mark.parametrize(("name", "package"), [(GRID, "minigrid"), (GAME, "ale_py")])
def test_a_missing_family_is_named(without, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, "gymnasium", SimpleNamespace())
    without(package)
    with pytest.raises(ImportError, match=rf'{package} is not installed: this needs pip install "jaxzoo\[gymnasium\]"'):
        ge.open_simulator(name)


def test_shapes():
    assert ge.shape_of(GRID) == ((11, 6, 3) * 49 + (4, 6), 7, 100)
    assert ge.shape_of("MiniGrid-FourRooms-v0") == ((11, 6, 3) * 49 + (4,), 7, 100)
    assert ge.shape_of(GAME) == ((0,) * 128, 6, 27000)
    with pytest.raises(ValueError, match=r"name: expected one of MiniGrid-DoorKey.*, got 'Pong'"):
        ge.gymnasium_environment("Pong")


class Doors:
    """What MiniGrid and the Arcade Learning Environment show, without a game: counts its steps."""

    action_space = SimpleNamespace(n=7)
    observation_space = {  # noqa: RUF012  as in Gymnasium
        "mission": SimpleNamespace(
            ordered_placeholders=[["go", "walk"], ["red", "blue", "grey"]], mission_func=lambda a, b: f"{a} {b}"
        )
    }

    def __init__(self, name="", obs_type="", disable_env_checker=True):
        self.memory = obs_type == "ram"

    def seen(self):
        if self.memory:
            return np.full(128, self.t, np.uint8)
        image = np.zeros((7, 7, 3), np.uint8)
        image[0, 0] = self.t % 11, self.t % 6, self.t % 3
        return {"image": image, "direction": self.t % 4, "mission": self.mission}

    def reset(self, *, seed):
        self.t, self.mission = 0, ("walk red", "go blue")[seed % 2]
        return self.seen(), {}

    def step(self, action):
        self.t += 1
        return self.seen(), 5.0, self.t == 3, False, {}


@pytest.fixture
def fake(monkeypatch):
    """Packages that make `Doors`, whatever is asked for."""
    monkeypatch.setitem(sys.modules, "gymnasium", SimpleNamespace(make=Doors))
    monkeypatch.setitem(sys.modules, "minigrid", SimpleNamespace())
    ale = SimpleNamespace(
        ALEInterface=SimpleNamespace(setLoggerMode=lambda mode: None), LoggerMode=SimpleNamespace(Error=0)
    )
    monkeypatch.setitem(sys.modules, "ale_py", ale)


def test_a_grid_is_categories(fake):
    simulator = ge.open_simulator(GRID)
    x, _ = simulator.reset(seed=0)
    assert (x.shape, x[147:].tolist()) == ((149,), [0, 5])  # "walk red" is the last of six in the alphabet
    x, reward, *_ = simulator.step(0)
    assert (x[:6].tolist(), x[147:].tolist(), reward) == ([1, 1, 1, 0, 0, 0], [1, 5], 5)
    assert simulator.reset(seed=1)[0][148] == 0  # "go blue"


@pytest.mark.parametrize(("name", "paid"), [(GRID, 5), (GAME, 1)])
def test_a_rollout_on_a_grid_and_on_a_game(fake, monkeypatch, name, paid):
    monkeypatch.setitem(ge.ATARI, GAME, 7)
    environment = ge.gymnasium_environment(name)
    outputs = lambda x: jnp.zeros((len(x), 8))  # noqa: E731
    run = jax.jit(lambda actors, key: ro.rollout(environment, actors, outputs, key, 4)[1])
    out = run(ro.start(environment, jax.random.key(0), 2), jax.random.key(1))
    np.testing.assert_array_equal(out.x[:, :, 0], np.repeat([0, 1, 2, 0], 2).reshape(4, 2))
    np.testing.assert_array_equal(out.reward, np.full((4, 2), paid))
    np.testing.assert_array_equal(out.total[:, 0], [5, 10, 15, 5])
    np.testing.assert_array_equal(out.terminated[:, 0], [False, False, True, False])


def test_an_environment_that_is_not_what_is_said_of_it_is_refused(fake):
    with pytest.raises(ValueError, match="FourRooms-v0: expected 148 features and 7 actions, got 149 and 7"):
        ge.open_simulator("MiniGrid-FourRooms-v0")
    with pytest.raises(ValueError, match="Pong-v5: expected 128 features and 6 actions, got 128 and 7"):
        ge.open_simulator(GAME)


def compare(environment, simulator, seed, actions):
    """Steps of an environment and of a simulator, side by side, to the end of an episode."""
    episode = environment.reset((), jax.random.key(0))._replace(seed=jnp.uint32(seed))
    step, observe = jax.jit(environment.step), jax.jit(environment.observe)
    x, end = simulator.reset(seed=seed)[0], False
    for action in itertools.islice(itertools.cycle(actions), min(40, environment.limit)):
        np.testing.assert_array_equal(observe(episode), x)
        if environment.cats[0]:
            assert (x < np.asarray(environment.cats)).all()
        if end:
            break
        episode, reward, terminated = step((), episode, jnp.int32(action), jax.random.key(0))
        x, paid, end, *_ = simulator.step(action)
        np.testing.assert_allclose(reward, paid, rtol=1e-6)
        assert terminated == end


def test_a_gymnasium_environment_is_the_one_that_gymnasium_steps():
    gymnasium = pytest.importorskip("gymnasium")

    class Noisy(gymnasium.Env):
        action_space, observation_space = gymnasium.spaces.Discrete(3), gymnasium.spaces.Box(-9, 9, (2,))

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.x = self.np_random.normal(size=2).astype(np.float32)
            return self.x, {}

        def step(self, action):
            self.x = self.x + self.np_random.normal(size=2).astype(np.float32) + action
            return self.x, float(self.x.sum()), bool(self.x[0] > 8), False, {}

    make = lambda: gymnasium.wrappers.TimeLimit(Noisy(), 30)  # noqa: E731
    for seed in (0, 2**32 - 1):
        compare(simulated(make, (0, 0), 3, 30), make(), seed, [0, 1, 2])


@pytest.mark.parametrize("name", ["MiniGrid-DoorKey-5x5-v0", "MiniGrid-PutNear-6x6-N2-v0"])
def test_grids_are_those_of_minigrid(name):
    pytest.importorskip("minigrid")
    compare(ge.gymnasium_environment(name), ge.open_simulator(name), 3, [2, 1, 2, 3, 5, 0])


def test_games_are_those_of_the_arcade_learning_environment():
    pytest.importorskip("ale_py")
    compare(ge.gymnasium_environment(GAME), ge.open_simulator(GAME), 3, range(6))


@pytest.mark.parametrize(("names", "package"), [(ge.MINIGRID, "minigrid"), (ge.ATARI, "ale_py")])
def test_the_tables_are_right(names, package):
    pytest.importorskip(package)
    for name in names:
        simulator, limit = ge.open_simulator(name), ge.shape_of(name)[2]
        inner = simulator._inner.unwrapped
        assert limit == (
            inner.max_steps if package == "minigrid" else inner.spec.kwargs["max_num_frames_per_episode"] // 4
        )


def experiment():
    module = load(experiments_folder() / "agents" / "gradient_boosting_rl.py")
    return module, dataclasses.replace(module.PRESETS["smoke"], gymnasium=(GRID,), short=2)


@pytest.mark.parametrize("arm", ["gbrl", "network"])
def test_the_experiment_trains_on_them(fake, arm):
    module, config = experiment()
    assert set(ge.NAMES) == {*module.SHORT, *module.LONG} == set(module.PRESETS["paper"].gymnasium)
    trained = fit(module.classic_task(config, GRID, arm), jax.random.key(0), 2)
    np.testing.assert_array_equal(trained.history["return"], [15, 15])


def test_the_experiment_says_what_is_not_installed_before_it_begins(without):
    module, config = experiment()
    without("gymnasium")
    with pytest.raises(ImportError, match=r'pip install "jaxzoo\[gymnasium\]"'):
        module.run(config, None)
