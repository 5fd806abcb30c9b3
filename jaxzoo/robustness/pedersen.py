"""Pedersen commitments: to one number, com(v) = q^v h^blind, or to a row of them, h^blind prod_j g_j^v_j.

They hide what they hold perfectly, bind by the discrete logarithm, and add: com(a) com(b) = com(a + b). So linear
relations between committed numbers are checked on the commitments themselves. That one is the product of two others is
proved by `prove_product`; what a row holds, by `jaxzoo.robustness.hyrax`.

`Known` is the prover's view of a committed number, `Sealed` the verifier's; they add, subtract and scale alike, so that
a protocol can be written once for both.
"""

from typing import NamedTuple

from jaxzoo.robustness.group import commit_rows, generator, multi_power, power, times
from jaxzoo.robustness.m61 import P

Q, H = generator("value"), generator("blind")


class Known(NamedTuple):
    """A number and its blinder, both below p."""

    value: int
    blind: int

    def __add__(self, other):
        return Known((self.value + other.value) % P, (self.blind + other.blind) % P)

    def __sub__(self, other):
        return self + other * -1

    def __mul__(self, scale):
        return Known(self.value * scale % P, self.blind * scale % P)

    def commitment(self) -> int:
        """com(value)."""
        return commit(self.value, self.blind)


class Sealed(NamedTuple):
    """The commitment to a number that one doesn't know."""

    element: int

    def __add__(self, other):
        return Sealed(times(self.element, other.element))

    def __sub__(self, other):
        return self + other * -1

    def __mul__(self, scale):
        return Sealed(power(self.element, scale))


def commit(value: int, blind: int) -> int:
    """q^value h^blind."""
    return times(power(Q, value), power(H, blind))


def pedersen(matrix, bases, blinds) -> list[int]:
    """The commitments of a matrix' rows, h^blind_i prod_j bases[j]^matrix[i, j].

    Args:
      matrix: [rows, columns] int64.
      bases: as many elements as there are columns, `group.generators(columns)`.
      blinds: a number below p for every row; uniform and secret, so that the commitments hide.

    Returns:
      An element for every row.
    """
    rows = commit_rows(matrix, bases)
    return [times(row, power(H, blind)) for row, blind in zip(rows, blinds, strict=True)]


def prove_product(x: Known, y: Known, z: Known, exchange, challenge, rng) -> None:
    """Proves that z = x y, revealing nothing else.

    With X, Y, Z the commitments: alpha = q^b1 h^b2, beta = q^b3 h^b4, delta = X^b3 h^b5; on the challenge c the answers
    b1 + c x, b2 + c blind_x, b3 + c y, b4 + c blind_y, b5 + c (blind_z - blind_x y).

    Args:
      x, y, z: the numbers; X, Y and Z must already follow from what the transcript has absorbed.
      exchange: `exchange(kind, elements=..., scalars=...)` sends and absorbs.
      challenge: `challenge()` draws from the transcript.
      rng: `random.Random`, or `random.SystemRandom` for secrets.

    Source: Maurer, "Unifying Zero-Knowledge Proofs of Knowledge" (2009); Hyrax (2018), App. A.
    """
    b1, b2, b3, b4, b5 = (rng.randrange(P) for _ in range(5))
    delta = multi_power([x.commitment(), H], [b3, b5])
    exchange("product", elements=[commit(b1, b2), commit(b3, b4), delta])
    c = challenge()
    answers = (b1 + c * x.value, b2 + c * x.blind, b3 + c * y.value, b4 + c * y.blind)
    last = b5 + c * (z.blind - x.blind * y.value)
    exchange("product", scalars=[a % P for a in (*answers, last)])


def product_holds(x: Sealed, y: Sealed, z: Sealed, first, c: int, answers) -> bool:
    """Whether the answers of `prove_product` to the challenge c fit its first elements."""
    alpha, beta, delta = first
    z1, z2, z3, z4, z5 = answers
    return (
        times(alpha, power(x.element, c)) == commit(z1, z2)
        and times(beta, power(y.element, c)) == commit(z3, z4)
        and times(delta, power(z.element, c)) == multi_power([x.element, H], [z3, z5])
    )
