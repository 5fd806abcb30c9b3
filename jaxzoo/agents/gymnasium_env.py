"""Environments of Gymnasium by name: MiniGrid as categories, Atari games by their 128 bytes of memory.

Shapes stand in tables, so that a learner can be built where Gymnasium is not installed.

    MiniGrid   7 x 7 cells in view, each an object of 11, a colour of 6 and a state of 3; the direction, of 4; where
               missions differ, the mission as a category. 7 actions. Reward 1 - 0.9 t / limit at the goal.
    Atari      the machine's memory, 128 numbers from 0 to 255; an action lasts 4 frames and in a quarter of the cases
               the last one is repeated. Learners see the sign of rewards, returns are the game's.

NOTE(paper): there a cell of MiniGrid is one category of object, colour and state together, and games begin with up to
30 idle steps, repeat no action, and end with a life.

Source: Chevalier-Boisvert et al., "Minigrid & Miniworld" (arXiv 2306.13831); Bellemare et al., "The Arcade Learning
Environment" (arXiv 1207.4708), Machado et al., "Revisiting the Arcade Learning Environment" (arXiv 1709.06009).
"""

import itertools
from functools import partial
from typing import Any

import numpy as np

from jaxzoo import extras
from jaxzoo.agents.environments import Environment
from jaxzoo.agents.simulated import simulated

MINIGRID = {
    "MiniGrid-DoorKey-5x5-v0": (250, 1),
    "MiniGrid-Empty-Random-5x5-v0": (100, 1),
    "MiniGrid-Fetch-5x5-N2-v0": (125, 60),
    "MiniGrid-FourRooms-v0": (100, 1),
    "MiniGrid-GoToDoor-5x5-v0": (100, 6),
    "MiniGrid-KeyCorridorS3R1-v0": (270, 6),
    "MiniGrid-PutNear-6x6-N2-v0": (30, 324),
    "MiniGrid-RedBlueDoors-6x6-v0": (720, 1),
    "MiniGrid-Unlock-v0": (288, 1),
}
"""Name -> the time limit and the number of missions."""
ATARI = {
    "ALE/Alien-v5": 18,
    "ALE/Amidar-v5": 10,
    "ALE/Asteroids-v5": 14,
    "ALE/Breakout-v5": 4,
    "ALE/Gopher-v5": 8,
    "ALE/Kangaroo-v5": 18,
    "ALE/Krull-v5": 18,
    "ALE/MsPacman-v5": 9,
    "ALE/Pong-v5": 6,
    "ALE/SpaceInvaders-v5": 6,
}
"""Name -> the number of actions."""
NAMES = (*MINIGRID, *ATARI)
CELL, CELLS, DIRECTIONS, MOVES = (11, 6, 3), 49, 4, 7
MEMORY, FRAMES, LASTS = 128, 108_000, 4


def gymnasium_environment(name: str) -> Environment:
    """An environment by its name; nothing is imported before its first step.

    Args:
      name: one of `NAMES`.

    Returns:
      `Environment`, from `simulated`.

    Raises:
      ValueError: another name.
    """
    cats, actions, limit = shape_of(name)
    return simulated(partial(open_simulator, name), cats, actions, limit, clip=name in ATARI)


def shape_of(name: str) -> tuple[tuple[int, ...], int, int]:
    """`(cats, actions, limit)` of an environment, as in `Environment`.

    Raises:
      ValueError: a name that is not one of `NAMES`.
    """
    if name in MINIGRID:
        limit, missions = MINIGRID[name]
        return CELL * CELLS + (DIRECTIONS,) + (missions,) * (missions > 1), MOVES, limit
    if name in ATARI:
        return (0,) * MEMORY, ATARI[name], FRAMES // LASTS
    raise ValueError(f"name: expected one of {', '.join(NAMES)}, got {name!r}")


class Encoded:
    """A Gymnasium environment that shows numbers."""

    def __init__(self, inner: Any, encode: Any):
        """Wraps `inner`; `encode(observation) -> [f]`."""
        self._inner, self._encode = inner, encode

    def reset(self, *, seed):
        """`(x [f], info)`."""
        observation, info = self._inner.reset(seed=seed)
        return self._encode(observation), info

    def step(self, action):
        """`(x [f], reward, terminated, truncated, info)`."""
        observation, *rest = self._inner.step(action)
        return self._encode(observation), *rest


def open_simulator(name: str) -> Encoded:
    """A simulator; also the check, before a long training, that all that it needs is installed.

    Raises:
      ImportError: Gymnasium, MiniGrid or the Arcade Learning Environment is not installed.
      ValueError: another name, or an environment that is not what this file says of it.
    """
    cats, actions, _ = shape_of(name)
    gymnasium = extras.require("gymnasium", "gymnasium")
    if name in MINIGRID:
        extras.require("minigrid", "gymnasium")  # importing it registers its environments
        inner = gymnasium.make(name, disable_env_checker=True)
        encode = grid_features(inner.observation_space["mission"])
    else:
        ale = extras.require("ale_py", "gymnasium")
        ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)
        inner, encode = gymnasium.make(name, obs_type="ram", disable_env_checker=True), np.asarray
    simulator = Encoded(inner, encode)
    found = len(simulator.reset(seed=0)[0]), int(inner.action_space.n)
    if found != (len(cats), actions):
        raise ValueError(f"{name}: expected {len(cats)} features and {actions} actions, got {found[0]} and {found[1]}")
    return simulator


def grid_features(missions: Any):
    """What turns an observation of MiniGrid into categories.

    Args:
      missions: the space of missions; numbered in alphabetical order.

    Returns:
      `encode(observation) -> [148 or 149]`.
    """
    texts = itertools.product(*(missions.ordered_placeholders or ()))
    number = {text: i for i, text in enumerate(sorted({missions.mission_func(*words) for words in texts}))}

    def encode(observation):
        rest = [observation["direction"]] + [number[observation["mission"]]] * (len(number) > 1)
        return np.append(observation["image"].reshape(-1), rest)

    return encode
