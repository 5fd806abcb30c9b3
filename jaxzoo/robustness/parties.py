"""Prover and verifier of committed tables, as two readings of one protocol.

A protocol is a function of a party: it draws points, names values of tables, runs sumchecks and states products, and a
`Prover` and a `Verifier` both walk it, the one making messages, the other checking them. All that is public - points,
weights, which table is opened where - is computed by the protocol itself, so that it can't differ; every message is
absorbed before the next challenge, as no other way to send one exists.

Every value is committed. A value of a table is a linear function of it, product of a vector for each axis (`Factors`):
it enters as a claim, and all claims on a table are brought down to one point by a sumcheck of their random combination,

    sum_i rho^i <t, f_i> = sum_x t[x] F[x],   F = sum_i rho^i f_i

where the table is opened (`hyrax`). The verifier computes F at the point itself. The rounds of a sumcheck are sent as
commitments to c_1 .. c_d of g(X) = sum_j c_j X^j; that of c_0 = (g(0) + g(1) - c_1 - .. - c_d) / 2 follows from the
last claim's, so that g(0) + g(1) can't be wrong.

NOTE(paper): this hides what a sumcheck reveals, in the place of a masking polynomial, which would leave the tables'
values at the end of it in the clear.
"""

from typing import NamedTuple

import numpy as np

from jaxzoo.robustness.group import is_element, multi_power
from jaxzoo.robustness.hyrax import opening_holds, prove_opening
from jaxzoo.robustness.m61 import P, to_m61
from jaxzoo.robustness.multilinear import Factors, contract, eq_table, inner
from jaxzoo.robustness.pedersen import Known, Sealed, product_holds, prove_product
from jaxzoo.robustness.sumcheck import Rejected, fold_all, interpolate, round_values
from jaxzoo.robustness.sumcheck import product as product_of_tables
from jaxzoo.robustness.tensor_sum import tensor_sum
from jaxzoo.robustness.training_trace import NAMES, Rows, Setting
from jaxzoo.robustness.transcript import Transcript

HALF = pow(2, -1, P)


class Message(NamedTuple):
    """What is sent at once: group elements, or numbers below p. `kind` is for counting bytes and is not trusted."""

    kind: str
    elements: tuple[int, ...] = ()
    scalars: tuple[int, ...] = ()


def begin(setting: Setting, stacked: bool, commitments: Rows) -> Transcript:
    """The transcript of a proof, once it has absorbed all that is committed beforehand."""
    transcript = Transcript("zkdl")
    transcript.absorb("setting", [*setting, int(stacked)])
    for name in NAMES:
        for slot in setting.slots(name):
            transcript.absorb(f"{name} {slot}", commitments[name, slot])
    return transcript


def points(transcript: Transcript, sizes) -> list[np.ndarray]:
    """A random point for each axis, as the vector of its weights."""
    return [eq_table(transcript.challenges("point", size.bit_length() - 1)) for size in sizes]


def by_axis(point, sizes) -> list[np.ndarray]:
    """A point of a table as vectors of weights, one per axis; the last axis has the first variables."""
    vectors, start = [], 0
    for size in reversed(sizes):
        stop = start + size.bit_length() - 1
        vectors.append(eq_table(point[start:stop]))
        start = stop
    return vectors[::-1]


class Claims:
    """The claims on tables that have to be settled, by what is opened at once: a whole table, or one slot of it."""

    def __init__(self, stacked: bool):
        """Begins with none."""
        self.stacked, self.of = stacked, {}

    def add(self, name: str, factors: Factors, value) -> None:
        """<table, factors> = value. Where slots are opened one by one, the first factor must name one."""
        slot = None
        if not self.stacked:
            (slot,) = np.flatnonzero(factors[0])
            factors = [factors[0][slot : slot + 1], *factors[1:]]
        self.of.setdefault((name, None if slot is None else int(slot)), []).append((factors, value))


def combined(claims, rho: int):
    """The powers of rho, and the random combination of the claims' values."""
    scales, total = [pow(rho, i, P) for i in range(len(claims))], None
    for scale, (_, value) in zip(scales, claims, strict=True):
        total = value * scale if total is None else total + value * scale
    return scales, total


def weight_at(scales, claims, vectors) -> int:
    """F at a point that is given as vectors of weights."""
    return sum(s * inner(factors, vectors) for s, (factors, _) in zip(scales, claims, strict=True)) % P


def split(point, columns: int):
    """The weights of rows and columns of a committed matrix at a point."""
    low = columns.bit_length() - 1
    return eq_table(point[low:]), eq_table(point[:low])


class Prover:
    """Makes the messages; holds the tables."""

    def __init__(self, setting: Setting, stacked: bool, tables, commitments: Rows, blinds: Rows, rng):
        """Begins a proof; `tables` are int64, `blinds` those of the commitments, `rng` as in `commit_tables`."""
        self.setting, self.claims, self.rng, self.blinds = setting, Claims(stacked), rng, blinds
        self.tables = {name: to_m61(table) for name, table in tables.items()}
        self.messages: list[Message] = []
        self._transcript = begin(setting, stacked, commitments)

    def send(self, kind, elements=(), scalars=()):
        """Adds a message."""
        self.messages.append(Message(kind, tuple(elements), tuple(scalars)))
        self._transcript.absorb(kind, (*elements, *scalars))

    def challenge(self) -> int:
        """A random number."""
        return self._transcript.challenge("scalar")

    def points(self, *sizes):
        """See `points`."""
        return points(self._transcript, sizes)

    def constant(self, value: int) -> Known:
        """A public number."""
        return Known(value % P, 0)

    def value(self, name: str, *factors) -> Known:
        """Commits to <table, factors> and claims that it is that."""
        value = Known(contract(self.tables[name], list(factors)), self.rng.randrange(P))
        self.send("value", elements=[value.commitment()])
        self.claims.add(name, list(factors), value)
        return value

    def claim(self, name: str, factors: Factors, value: Known) -> None:
        """Claims that <table, factors> is a number that follows from others."""
        self.claims.add(name, factors, value)

    def sumcheck(self, claim: Known, degree: int, sizes, build, combine=product_of_tables):
        """Proves that claim = sum of combine(build(tables)), tables of shape `sizes`.

        Returns:
          `(value, point, vectors)`: what combine is claimed to be at the point; its numbers; its weights by axis.
        """
        tables, point = [t.reshape(-1) for t in build(self.tables)], []
        for _ in range(sum(size.bit_length() - 1 for size in sizes)):
            coefficients = interpolate(round_values(tables, combine, degree), degree)[1:]
            terms = [Known(c, self.rng.randrange(P)) for c in coefficients]
            self.send("sumcheck", elements=[term.commitment() for term in terms])
            point.append(self._transcript.challenge("round"))
            claim = next_claim(claim, terms, point[-1])
            tables = fold_all(tables, point[-1])
        return claim, point, by_axis(point, sizes)

    def product(self, label: str, x: Known, y: Known, z: Known) -> None:
        """Proves z = x y."""
        prove_product(x, y, z, self.send, self.challenge, self.rng)

    def settle(self) -> None:
        """Proves all claims on tables."""
        for (name, slot), claims in self.claims.of.items():
            shape = self.setting.shape(name) if slot is None else (1, *self.setting.shape(name)[1:])
            table = self.tables[name] if slot is None else self.tables[name][slot]
            scales, total = combined(claims, self.challenge())
            weights = tensor_sum(scales, [factors for factors, _ in claims])
            total, point, vectors = self.sumcheck(total, 2, shape, lambda _, t=table, w=weights: (t, w))
            value = total * pow(weight_at(scales, claims, vectors), -1, P)
            columns = self.setting.columns(name, slot is None)
            rows, of_columns = split(point, columns)
            vector = contract(table.reshape(-1, columns), [rows, None])
            blind = sum(int(r) * b for r, b in zip(rows, self._blinds_of(name, slot), strict=True)) % P
            vector, of_columns = vector.tolist(), of_columns.tolist()
            prove_opening(vector, blind, of_columns, value, self.send, self.challenge, self.rng)

    def _blinds_of(self, name, slot):
        return rows_of(self.setting, self.blinds, name, slot, 0, self.claims.stacked)


class Verifier:
    """Checks the messages; holds commitments alone."""

    def __init__(self, setting: Setting, stacked: bool, commitments: Rows, messages):
        """Begins the check of a proof; `commitments` are the statement's and the proof's together."""
        self.setting, self.claims, self.commitments = setting, Claims(stacked), commitments
        self._messages = iter(messages)
        self._transcript = begin(setting, stacked, commitments)

    def receive(self, kind, elements=0, scalars=0):
        """The next message, with so many elements or numbers; absorbed.

        Raises:
          Rejected: there is none, or it is not of that size, or not canonical.
        """
        message = next(self._messages, None)
        if message is None or len(message.elements) != elements or len(message.scalars) != scalars:
            raise Rejected(f"{kind}: expected {elements} elements and {scalars} numbers")
        if not all(map(is_element, message.elements)) or not all(map(is_scalar, message.scalars)):
            raise Rejected(f"{kind}: expected elements of the group and numbers below p")
        self._transcript.absorb(kind, (*message.elements, *message.scalars))
        return (*message.elements, *message.scalars)

    def challenge(self) -> int:
        """A random number."""
        return self._transcript.challenge("scalar")

    def points(self, *sizes):
        """See `points`."""
        return points(self._transcript, sizes)

    def constant(self, value: int) -> Sealed:
        """A public number."""
        return Sealed(Known(value % P, 0).commitment())

    def value(self, name: str, *factors) -> Sealed:
        """Takes the commitment to <table, factors> as a claim to be settled."""
        value = Sealed(*self.receive("value", elements=1))
        self.claims.add(name, list(factors), value)
        return value

    def claim(self, name: str, factors: Factors, value: Sealed) -> None:
        """Claims that <table, factors> is a number that follows from others."""
        self.claims.add(name, factors, value)

    def sumcheck(self, claim: Sealed, degree: int, sizes, build, combine=product_of_tables):
        """Follows the rounds; see `Prover.sumcheck`."""
        point = []
        for _ in range(sum(size.bit_length() - 1 for size in sizes)):
            terms = [Sealed(e) for e in self.receive("sumcheck", elements=degree)]
            point.append(self._transcript.challenge("round"))
            claim = next_claim(claim, terms, point[-1])
        return claim, point, by_axis(point, sizes)

    def product(self, label: str, x: Sealed, y: Sealed, z: Sealed) -> None:
        """Checks z = x y."""
        first = self.receive("product", elements=3)
        c = self.challenge()
        if not product_holds(x, y, z, first, c, self.receive("product", scalars=5)):
            raise Rejected(f"product: {label}")

    def settle(self) -> None:
        """Checks all claims on tables, and that nothing more was sent."""
        for (name, slot), claims in self.claims.of.items():
            shape = self.setting.shape(name) if slot is None else (1, *self.setting.shape(name)[1:])
            scales, total = combined(claims, self.challenge())
            total, point, vectors = self.sumcheck(total, 2, shape, None)
            weight = weight_at(scales, claims, vectors)
            if weight == 0:
                raise Rejected(f"opening: {name}: a weight of 0")
            rows, of_columns = split(point, self.setting.columns(name, slot is None))
            committed = rows_of(self.setting, self.commitments, name, slot, 1, self.claims.stacked)
            row = multi_power(committed, rows.tolist())
            value = total * pow(weight, -1, P)
            if not opening_holds(row, of_columns.tolist(), value, self.receive, self.challenge):
                raise Rejected(f"opening: {name}")
        if next(self._messages, None) is not None:
            raise Rejected("messages: more than the protocol has")


def is_scalar(value) -> bool:
    """Whether an integer is the encoding of a number."""
    return isinstance(value, int) and 0 <= value < P


def next_claim(claim, terms, r: int):
    """g(r) from g(0) + g(1) and the terms c_1 .. c_d: claim / 2 + sum_j c_j (r^j - 1/2)."""
    total = claim * HALF
    for j, term in enumerate(terms, 1):
        total = total + term * ((pow(r, j, P) - HALF) % P)
    return total


def rows_of(setting: Setting, rows: Rows, name: str, slot, nothing: int, stacked: bool) -> list[int]:
    """What belongs to the rows of a table, or of a slot of it; `nothing` where it is padding."""
    if slot is not None:
        return rows[name, slot]
    slots, *entries = setting.shape(name)
    empty = [nothing] * (int(np.prod(entries)) // setting.columns(name, stacked))
    return [x for place in range(slots) for x in rows.get((name, place), empty)]
