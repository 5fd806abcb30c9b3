"""The group and Pedersen commitments: order, many powers, homomorphism, hidden numbers, proofs of products."""

import math
import random

import numpy as np
import pytest

from jaxzoo.robustness import group, pedersen
from jaxzoo.robustness.m61 import P
from jaxzoo.robustness.pedersen import Known, Sealed

RNG = np.random.default_rng(0)
RAND = random.Random(0)


def test_the_modulus_is_prime_and_the_generators_have_order_p():
    assert group.MODULUS == 119903836479112085453
    assert all(pow(a, group.MODULUS - 1, group.MODULUS) == 1 for a in (2, 3, 5, 7, 11, 13))
    # Pocklington: p > sqrt(MODULUS) is a prime that divides MODULUS - 1, and a^((MODULUS - 1) / p) - 1 is a unit.
    assert P * P > group.MODULUS
    assert math.gcd(pow(2, 52, group.MODULUS) - 1, group.MODULUS) == 1
    for g in (pow(4, 52, group.MODULUS), *group.generators(8), pedersen.Q, pedersen.H):
        assert g != 1
        assert pow(g, P, group.MODULUS) == 1


def test_generators_are_distinct_and_a_prefix_stays():
    many = group.generators(64)
    assert len({*many, pedersen.Q, pedersen.H}) == 66
    assert many[:8] == group.generators(8)
    small = [pow(n, 52, group.MODULUS) for n in (2, 3, 4, 6)]  # why small integers would not do
    assert (small[2], small[3]) == (group.times(small[0], small[0]), group.times(small[0], small[1]))


@pytest.mark.parametrize("count", [0, 1, 5, 23, 24, 100])
def test_multi_power(count):
    bases, exponents = group.generators(count), [RAND.randrange(P) for _ in range(count)]
    assert group.multi_power(bases, exponents) == group.times(*map(group.power, bases, exponents))


@pytest.mark.parametrize(("low", "high"), [(0, 2), (0, 300), (-5, 1), (-300, 300), (-1, 1), (-(2**40), 2**40), (0, 1)])
def test_commit_rows(low, high):
    matrix, bases = RNG.integers(low, high, (5, 12)), group.generators(12)
    want = [group.times(*(group.power(g, int(v)) for g, v in zip(bases, row, strict=True))) for row in matrix]
    assert group.commit_rows(matrix, bases) == want


def test_commitments_add():
    a, b = RNG.integers(-99, 99, (2, 3, 8))
    blinds_a, blinds_b = ([RAND.randrange(P) for _ in range(3)] for _ in "ab")
    both = [(x + y) % P for x, y in zip(blinds_a, blinds_b, strict=True)]
    bases = group.generators(8)
    product = map(group.times, pedersen.pedersen(a, bases, blinds_a), pedersen.pedersen(b, bases, blinds_b))
    assert list(product) == pedersen.pedersen(a + b, bases, both)


def test_a_blind_hides():
    matrix, bases = np.ones((1, 8), np.int64), group.generators(8)
    assert pedersen.pedersen(matrix, bases, [1]) != pedersen.pedersen(matrix, bases, [2])


def test_known_and_sealed_numbers_compute_alike():
    x, y = Known(5, 7), Known(P - 3, 11)
    sealed = [Sealed(v.commitment()) for v in (x, y)]
    for formula in (lambda x, y: x + y, lambda x, y: x - y, lambda x, y: (x - y * 4) * 9 + x):
        assert formula(*sealed) == Sealed(formula(x, y).commitment())


def product_proof(x, y, z):
    said = []
    pedersen.prove_product(x, y, z, lambda _, elements=(), scalars=(): said.append([*elements, *scalars]),
                           lambda: 12345, RAND)  # fmt: skip
    return said


@pytest.mark.parametrize("error", [0, 1, P - 1])
def test_a_product_proof_holds_for_products_alone(error):
    x, y = Known(123, 456), Known(P - 7, 8)
    z = Known((x.value * y.value + error) % P, 99)
    first, answers = product_proof(x, y, z)
    sealed = [Sealed(v.commitment()) for v in (x, y, z)]
    assert pedersen.product_holds(*sealed, first, 12345, answers) == (error == 0)


def test_every_part_of_a_product_proof_counts():
    x, y = Known(3, 4), Known(5, 6)
    z = Known(15, 7)
    sealed = [Sealed(v.commitment()) for v in (x, y, z)]
    first, answers = product_proof(x, y, z)
    assert pedersen.product_holds(*sealed, first, 12345, answers)
    assert not pedersen.product_holds(*sealed, first, 12346, answers)
    for i in range(3):
        changed = [e if j != i else group.times(e, pedersen.Q) for j, e in enumerate(first)]
        assert not pedersen.product_holds(*sealed, changed, 12345, answers)
    for i in range(5):
        changed = [a if j != i else (a + 1) % P for j, a in enumerate(answers)]
        assert not pedersen.product_holds(*sealed, first, 12345, changed)


def test_bad_input_raises():
    with pytest.raises(ValueError, match=r"matrix: expected \[rows, 4\], got \(2, 3\)"):
        group.commit_rows(np.zeros((2, 3), np.int64), group.generators(4))
    assert [group.is_element(v) for v in (0, 1, group.MODULUS, -1, 2.0)] == [False, True, False, False, False]
