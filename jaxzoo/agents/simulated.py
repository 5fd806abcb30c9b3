"""Environments that live in Python, as pure functions: an episode is its seed and its actions.

What a simulator shows, pays and ends is a function of the seed that it was reset with and of the actions since. These
are the state of an environment here, and simulators are a mere cache on the host: the one that stands a step before an
episode takes that step; where none does, one is reset with the seed and plays the actions again.

So `step` and `observe` keep what pure functions promise, under `jit`, `scan` and `vmap`, called in any order and as
often as one likes. A run that was killed goes on from its checkpoint to the same bits as one that was not; it only has
to play again what there was of the episodes that were open. A callback with effects could do neither: JAX refuses an
ordered one under `vmap`, and what it changes stands in no checkpoint.

It takes a simulator whose randomness is that of its seed, actions that are whole numbers below 256, and a byte of state
for every step that an episode may have. Simulators run one after the other on the host, and nothing there calls jax.
"""

import dataclasses
import itertools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.agents.environments import Environment, no_world

ROOM = 512
"""Open episodes whose simulators are kept; twice as many as were ever asked of at once, if that is more."""


class Episode(NamedTuple):
    """All that determines where an episode stands.

    Attributes:
      seed: uint32, what the simulator is reset with.
      elapsed: int32, how many actions there were.
      actions: [limit] uint8, of which the first `elapsed` are meant.
    """

    seed: jax.Array
    elapsed: jax.Array
    actions: jax.Array


def simulated(make: Callable[[], Any], cats: tuple[int, ...], actions: int, limit: int, *, clip=False) -> Environment:
    """An environment of this project from simulators with the interface of Gymnasium.

    Args:
      make: makes a simulator, not before the first is needed: `reset(seed=seed) -> (x [f], info)`, and
        `step(action) -> (x [f], reward, terminated, truncated, info)`; all that is random in it comes from the seed.
      cats: for each of the f features its number of categories, 0 for a number.
      actions: how many there are, at most 256.
      limit: steps after which an episode is cut off. A simulator that cuts one off itself must not do so before.
      clip: whether learners see the sign of rewards.

    Returns:
      `Environment`. An episode that has ended stays as it is, with reward 0; nobody is to go on beyond the limit.

    Raises:
      ValueError: actions or limit out of range.
    """
    if not 1 <= actions <= 256 or limit < 1:
        raise ValueError(f"expected 1 to 256 actions and a limit of at least 1, got {actions} and {limit}")
    simulators = Simulators(make, limit)
    x = jax.ShapeDtypeStruct((len(cats),), jnp.float32)
    answer = (x, jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((), bool))

    def ask(episode):
        # Programs of equal text share an executable, whatever Python they call: so whom to ask is data.
        return jax.pure_callback(_ask, answer, jnp.int32(simulators.number), *episode, vmap_method="broadcast_all")

    def reset(world, key):
        return Episode(jax.random.bits(key, (), jnp.uint32), jnp.int32(0), jnp.zeros(limit, jnp.uint8))

    def step(world, episode, action, key):
        played = episode.actions.at[episode.elapsed].set(action.astype(jnp.uint8))
        episode = Episode(episode.seed, episode.elapsed + 1, played)
        return episode, *ask(episode)[1:]

    return Environment(no_world, reset, step, lambda episode: ask(episode)[0], cats, actions, limit, clip=clip)


@dataclasses.dataclass
class Played:
    """An episode as far as a simulator has played it.

    Attributes:
      simulator: None once it is over.
      x: [f] what it shows.
      actions: played so far.
      reward, terminated: of the last of them.
    """

    simulator: Any
    x: np.ndarray
    actions: bytes = b""
    reward: float = 0.0
    terminated: bool = False


class Simulators:
    """The simulators of one environment, each at some episode: a cache of what episodes are like."""

    def __init__(self, make: Callable[[], Any], limit: int):
        """Makes none yet; arguments as in `simulated`."""
        self.number = next(_NUMBERS)
        self._make, self._limit, self._room, self._lock = make, limit, ROOM, threading.Lock()
        self._open, self._over, self._idle = OrderedDict(), OrderedDict(), []
        _ALL[self.number] = self

    def ask(self, seed: np.ndarray, elapsed: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        """What episodes show, and what the last action paid and whether it ended them.

        Args:
          seed, elapsed, actions: of `Episode`, with leading axes [...].

        Returns:
          `(x [..., f] float32, reward [...] float32, terminated [...] bool)`.
        """
        rows = zip(seed.reshape(-1).tolist(), elapsed.reshape(-1), actions.reshape(-1, self._limit), strict=True)
        with self._lock:
            self._room = max(self._room, 2 * seed.size)
            answers = [self._stand(one, row[:t].tobytes()) for one, t, row in rows]
        x, reward, terminated = zip(*answers, strict=True)
        lead = seed.shape
        paid = np.asarray(reward, np.float32).reshape(lead)
        return np.stack(x).reshape(*lead, -1), paid, np.asarray(terminated, bool).reshape(lead)

    def _stand(self, seed: int, actions: bytes) -> tuple[np.ndarray, float, bool]:
        """Plays an episode as far as `actions`, from where its simulator stands if that is on the way."""
        played = self._open.get(seed) or self._over.get(seed)
        if played is None or not actions.startswith(played.actions):
            played = self._begin(seed)
        for action in actions[len(played.actions) :]:
            self._play(seed, played, action)
        if played.simulator is not None:
            self._open.move_to_end(seed)
        return played.x, played.reward, played.terminated

    def _begin(self, seed: int) -> Played:
        """Resets a simulator: that of the same episode, an idle one, a new one, or the one left alone for longest."""
        self._over.pop(seed, None)
        if seed in self._open:
            simulator = self._open.pop(seed).simulator
        elif self._idle:
            simulator = self._idle.pop()
        else:
            full = len(self._open) >= self._room
            simulator = self._open.popitem(last=False)[1].simulator if full else self._make()
        self._open[seed] = Played(simulator, self._seen(simulator.reset(seed=seed)[0]))
        return self._open[seed]

    def _play(self, seed: int, played: Played, action: int) -> None:
        """One step; an episode that is over stays as it is."""
        played.actions += bytes([action])
        played.reward = 0.0
        if played.simulator is None:
            return
        x, reward, terminated, truncated, _ = played.simulator.step(action)
        steps = len(played.actions)
        if truncated and not terminated and steps < self._limit:
            raise ValueError(f"limit: the simulator cut an episode off after {steps} steps, before {self._limit}")
        played.x, played.reward, played.terminated = self._seen(x), float(reward), bool(terminated)
        if terminated or steps >= self._limit:
            self._idle.append(played.simulator)
            played.simulator = None
            self._over[seed] = self._open.pop(seed)
            if len(self._over) > self._room:
                self._over.popitem(last=False)

    @staticmethod
    def _seen(x: Any) -> np.ndarray:
        """A copy, since a simulator may write its next observation over the last."""
        return np.array(x, np.float32)


_NUMBERS = itertools.count()
_ALL: "weakref.WeakValueDictionary[int, Simulators]" = weakref.WeakValueDictionary()


def _ask(number, *episode):
    """What the simulators of that number say of episodes; without jax, since a callback that waits for it may hang."""
    return _ALL[int(np.asarray(number).flat[0])].ask(*map(np.asarray, episode))
