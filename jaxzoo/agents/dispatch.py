"""Dispatch: an environment of categories, in which what to do stands in a table that the agent does not see.

A corridor of 8 cells; every cell shows an id of 16. A hidden table says which of 4 actions leads on from an id; where
the flag, one of 3 and new at every step, is 2 it is the next action instead (mod 4). The wrong one does nothing. A step
costs 0.05, the end of the corridor gives 1, and after 40 steps the episode is cut off: the best return is 0.6, that of
random actions about -0.71.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.agents.environments import Environment

CELLS, IDS, FLAGS, ACTIONS, LEVELS, LIMIT = 8, 16, 3, 4, 8, 40
BEST = 1 - 0.05 * CELLS


class Corridor(NamedTuple):
    """Where an episode stands.

    Attributes:
      ids: [8] of the cells.
      table: [16] the right action of each id.
      place: the cell, 8 at the end.
      flag: of this step.
      distractors: [m] categories of 8 levels that mean nothing, or the first of them the right action.
    """

    ids: jax.Array
    table: jax.Array
    place: jax.Array
    flag: jax.Array
    distractors: jax.Array


def right_action(corridor):
    """The action that leads on; past the end, that of the last cell."""
    here = corridor.ids[jnp.minimum(corridor.place, CELLS - 1)]
    return (corridor.table[here] + (corridor.flag == 2)) % ACTIONS


def dispatch(distractors=6, *, spurious=0.0, redraw=False):
    """The environment. Observation: id, flag, place / 8 (a number), then the distractors.

    Args:
      distractors: how many categories of 8 levels mean nothing, at least 1.
      spurious: in this share of the steps the first distractor equals the right action. May be traced.
      redraw: draw a new table for every episode, which nobody can learn. May be traced.

    Returns:
      `Environment`.

    Raises:
      ValueError: no distractor.
    """
    if distractors < 1:
        raise ValueError(f"distractors: expected at least 1, got {distractors}")

    def world(key):
        return jax.random.randint(key, (IDS,), 0, ACTIONS)

    def see(corridor, u):
        """The flag and the distractors of the next step, from uniform numbers u [m + 2]."""
        corridor = corridor._replace(flag=whole(u[0], FLAGS), distractors=whole(u[2:], LEVELS))
        told = u[1] < spurious
        first = jnp.where(told, right_action(corridor), corridor.distractors[0])
        return corridor._replace(distractors=corridor.distractors.at[0].set(first))

    def reset(table, key):
        u = jax.random.uniform(key, (CELLS + IDS + 2 + distractors,))
        drawn = whole(u[CELLS : CELLS + IDS], ACTIONS)
        nothing = jnp.zeros(distractors, jnp.int32)
        table = jnp.where(redraw, drawn, table)
        return see(Corridor(whole(u[:CELLS], IDS), table, jnp.int32(0), jnp.int32(0), nothing), u[CELLS + IDS :])

    def step(table, corridor, action, key):
        place = corridor.place + (action == right_action(corridor))
        end = place == CELLS
        corridor = see(corridor._replace(place=place), jax.random.uniform(key, (distractors + 2,)))
        return corridor, jnp.where(end, 0.95, -0.05), end

    def observe(corridor):
        here = corridor.ids[jnp.minimum(corridor.place, CELLS - 1)]
        seen = jnp.stack([here, corridor.flag]).astype(jnp.float32)
        place = corridor.place.astype(jnp.float32)[None] / CELLS
        return jnp.concatenate([seen, place, corridor.distractors.astype(jnp.float32)])

    return Environment(world, reset, step, observe, (IDS, FLAGS, 0) + (LEVELS,) * distractors, ACTIONS, LIMIT)


def whole(u, n):
    """Whole numbers from 0 to n - 1 from uniform numbers."""
    return jnp.minimum((u * n).astype(jnp.int32), n - 1)
