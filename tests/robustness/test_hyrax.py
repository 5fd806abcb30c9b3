"""Openings of committed tables: honest ones hold at random points, everything else is rejected."""

import random

import numpy as np
import pytest

from jaxzoo.robustness import hyrax
from jaxzoo.robustness.group import generators, multi_power, power, times
from jaxzoo.robustness.m61 import P, to_m61
from jaxzoo.robustness.multilinear import contract, eq_table, mle_eval
from jaxzoo.robustness.pedersen import Known, Q, Sealed, pedersen
from jaxzoo.robustness.transcript import Transcript

RNG, RAND = np.random.default_rng(0), random.Random(0)
ROWS, COLUMNS = 4, 8
MATRIX = RNG.integers(-1000, 1000, (ROWS, COLUMNS))
BLINDS = [RAND.randrange(P) for _ in range(ROWS)]
COMMITTED = pedersen(MATRIX, generators(COLUMNS), BLINDS)


def proof(point, value, vector=None):
    """The messages of an opening of MATRIX' extension at a point, claimed to be `value`."""
    rows, columns = eq_table(point[3:]), eq_table(point[:3])
    vector = contract(to_m61(MATRIX), [rows, None]).tolist() if vector is None else vector
    blind = sum(int(r) * b for r, b in zip(rows, BLINDS, strict=True)) % P
    said, transcript = [], Transcript("test")

    def send(kind, elements=(), scalars=()):
        said.append([*elements, *scalars])
        transcript.absorb(kind, said[-1])

    hyrax.prove_opening(vector, blind, columns.tolist(), value, send, lambda: transcript.challenge("c"), RAND)
    return said


def holds(point, said, value, committed=COMMITTED):
    rows, columns = eq_table(point[3:]), eq_table(point[:3])
    messages, transcript = iter(said), Transcript("test")

    def receive(kind, elements=0, scalars=0):
        message = next(messages)
        assert len(message) == elements + scalars
        transcript.absorb(kind, message)
        return message

    row = multi_power(committed, rows.tolist())
    return hyrax.opening_holds(row, columns.tolist(), value, receive, lambda: transcript.challenge("c"))


def draw_point():
    return RNG.integers(0, P, 5, np.uint64)


def honest(point):
    return Known(int(mle_eval(to_m61(MATRIX).reshape(-1), point)), RAND.randrange(P))


def test_openings_at_20_random_points_equal_mle_eval():
    for _ in range(20):
        point = draw_point()
        value = honest(point)
        assert holds(point, proof(point, value), Sealed(value.commitment()))


def test_another_value_is_rejected():
    point = draw_point()
    wrong = honest(point) + Known(1, 0)
    assert not holds(point, proof(point, wrong), Sealed(wrong.commitment()))


def test_another_vector_is_rejected():
    point = draw_point()
    rows, columns = eq_table(point[3:]), eq_table(point[:3]).tolist()
    vector = contract(to_m61(MATRIX), [rows, None]).tolist()
    vector[3] = (vector[3] + 1) % P
    wrong = Known(sum(x * w for x, w in zip(vector, columns, strict=True)) % P, 5)
    assert not holds(point, proof(point, wrong, vector), Sealed(wrong.commitment()))


def test_a_row_that_holds_a_power_of_q_shifts_no_value():
    # Without the power w, committing to row 0 with q^-1 in it would let the value be larger by its weight.
    point = draw_point()
    shifted = [times(COMMITTED[0], power(Q, -1)), *COMMITTED[1:]]
    wrong = honest(point) + Known(int(eq_table(point[3:])[0]), 0)
    assert not holds(point, proof(point, wrong), Sealed(wrong.commitment()), shifted)


@pytest.mark.parametrize("where", range(5))
def test_every_message_counts(where):
    point = draw_point()
    value = honest(point)
    said = proof(point, value)
    assert len(said) == 5  # three halvings, a first and an answer
    for i in range(len(said[where])):
        changed = [list(m) for m in said]
        changed[where][i] = times(changed[where][i], Q) if where < 4 else (changed[where][i] + 1) % P
        assert not holds(point, changed, Sealed(value.commitment()))


def test_a_vector_of_one_number():
    value, blind = Known(7, 3), 5
    (row,) = pedersen(np.array([[7]]), generators(1), [blind])
    said = []
    hyrax.prove_opening([7], blind, [1], value, lambda _, elements=(), scalars=(): said.append([*elements, *scalars]),
                        lambda: 9, RAND)  # fmt: skip
    messages = iter(said)
    assert hyrax.opening_holds(row, [1], Sealed(value.commitment()), lambda *_, **__: next(messages), lambda: 9)
