"""Numbers as tuples of real arrays: (x,) is real, (re, im) is complex."""


def split(operands):
    """(a, b, s), each a tuple of one real array or of two, (re, im)."""
    parts = len(operands) // 3
    return tuple(tuple(operands[i * parts : (i + 1) * parts]) for i in range(3))


def times(x, y, conjugate=False):
    """x * y of tuples of parts, x conjugated first if asked."""
    if len(x) == 1:
        return (x[0] * y[0],)
    (xr, xi), (yr, yi) = x, y
    xi = -xi if conjugate else xi
    return (xr * yr - xi * yi, xr * yi + xi * yr)
