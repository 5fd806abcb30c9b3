"""The field of 2^61 - 1 as it is written on paper, for tests: Python's integers."""

P = 2**61 - 1


def m61_mul(a, b):
    """[a b] of lists of integers."""
    return [x * y % P for x, y in zip(a, b, strict=True)]


def mle_fold(table, u):
    """[t[2 x] + u (t[2 x + 1] - t[2 x])] of a list of integers."""
    return [(low + u * (high - low)) % P for low, high in zip(table[0::2], table[1::2], strict=True)]
