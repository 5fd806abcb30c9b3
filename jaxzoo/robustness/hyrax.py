"""Hyrax: a table committed by the rows of a matrix, and opened at a point by a proof as long as log(columns).

A multilinear table is a matrix M whose extension at a point is a bilinear form, t~(u) = a' M b with a and b the weights
of rows and columns. The verifier combines the rows' commitments with a, into one of the vector a' M; that this vector's
inner product with b is a committed number is proved by folding it in halves (Bulletproofs), and of the last entry only
knowledge is shown: nothing is revealed, not even t~(u).

Source: Wahby, Tzialla, Shelat, Thaler, Walfish, "Doubly-Efficient zkSNARKs Without Trusted Setup" (2018); Bünz et al.,
"Bulletproofs" (2018), Protocol 2, with a commitment h^blind in every message.
"""

from jaxzoo.robustness.group import generators, multi_power, power, times
from jaxzoo.robustness.m61 import P
from jaxzoo.robustness.pedersen import H, Known, Q, Sealed


def prove_opening(vector, blind, weights, value: Known, exchange, challenge, rng) -> None:
    """Proves that <vector, weights> = value for a committed vector and a committed value.

    The value's commitment enters with a power w that is drawn after both are fixed: a commitment to a row that holds a
    power of q would else shift the value.

    Args:
      vector: n integers below p, n a power of two; a' M.
      blind: the blinder of prod_j g_j^vector_j, a' of the rows' blinders.
      weights: n integers below p.
      value: the inner product and its blinder.
      exchange, challenge, rng: as in `pedersen.prove_product`.
    """
    w = challenge()
    q = power(Q, w)
    x, b, bases, blind = [*vector], [*weights], [*generators(len(vector))], (blind + w * value.blind) % P
    while len(x) > 1:
        half = len(x) // 2
        (x_low, x_high), (b_low, b_high), (low, high) = ((v[:half], v[half:]) for v in (x, b, bases))
        blind_left, blind_right = rng.randrange(P), rng.randrange(P)
        left = multi_power([*high, q, H], [*x_low, _dot(x_low, b_high), blind_left])
        right = multi_power([*low, q, H], [*x_high, _dot(x_high, b_low), blind_right])
        exchange("opening", elements=[left, right])
        c = challenge()
        inverse = pow(c, -1, P)
        x = [(u + c * v) % P for u, v in zip(x_low, x_high, strict=True)]
        b = [(u + inverse * v) % P for u, v in zip(b_low, b_high, strict=True)]
        bases = [times(u, power(v, inverse)) for u, v in zip(low, high, strict=True)]
        blind = (blind + c * blind_right + inverse * blind_left) % P
    mask, mask_blind = rng.randrange(P), rng.randrange(P)
    exchange("opening", elements=[multi_power([bases[0], q, H], [mask, mask * b[0] % P, mask_blind])])
    c = challenge()
    exchange("opening", scalars=[(mask + c * x[0]) % P, (mask_blind + c * blind) % P])


def opening_holds(committed: int, weights, value: Sealed, receive, challenge) -> bool:
    """Checks a proof of `prove_opening`.

    Args:
      committed: the commitment of the vector, the rows' combined with a.
      weights: n integers below p, n a power of two.
      value: the commitment of the inner product.
      receive: `receive(kind, elements=count)` or `receive(kind, scalars=count)` takes and absorbs the next message.
      challenge: as the prover's.

    Returns:
      Whether it holds.
    """
    w = challenge()
    q, total, b = power(Q, w), times(committed, power(value.element, w)), [*weights]
    powers = [1]  # the exponent of every base in the last one
    while len(b) > 1:
        half = len(b) // 2
        left, right = receive("opening", elements=2)
        c = challenge()
        if c == 0:
            return False
        inverse = pow(c, -1, P)
        b = [(u + inverse * v) % P for u, v in zip(b[:half], b[half:], strict=True)]
        powers = [s * f % P for s in powers for f in (1, inverse)]
        total = times(total, power(right, c), power(left, inverse))
    base = multi_power(generators(len(powers)), powers)
    (first,) = receive("opening", elements=1)
    c = challenge()
    answer, answer_blind = receive("opening", scalars=2)
    return times(first, power(total, c)) == multi_power([base, q, H], [answer, answer * b[0] % P, answer_blind])


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) % P
