"""What an implementation is told besides the arrays, and which arrays it is given."""

from typing import NamedTuple

# Optional operands after q, k, v in the order in which they are passed: bias and mask [b, h, t, s], ids of segments
# [b, t] and [b, s], the output's gate [b, t, h, d_v], the sink [b, h]. Axes of all but the gate may have size 1.
PARTS = ("bias", "mask", "q_segments", "kv_segments", "gate", "sink")
OF_LOGITS = PARTS[:4]


class Options(NamedTuple):
    """Static facts of one call.

    parts: names of the optional operands that are there, in the order of `PARTS`.
    left, right: query i, at position i + offset, sees keys from `left` before that position to `right` after it; None
        for all of them.
    scale: factor of the products q k. softcap: c of c tanh(x / c), or None.
    lse: whether lse leaves the op, so that a gradient may come through it.
    """

    parts: tuple[str, ...]
    left: int | None
    right: int | None
    offset: int
    scale: float
    softcap: float | None
    lse: bool = True

    @property
    def of_logits(self):
        """The options without the parts that only the forward pass sees."""
        return self._replace(parts=tuple(name for name in self.parts if name in OF_LOGITS))

    def names(self):
        """The names of the operands, in order."""
        return ("q", "k", "v", *self.parts)

    def pairs(self, t: int, s: int) -> int:
        """How many of the t s pairs of a query and a key the band keeps."""
        if self.left is None and self.right is None:
            return t * s
        total = 0
        for i in range(self.offset, self.offset + t):
            first = 0 if self.left is None else max(0, i - self.left)
            last = s if self.right is None else min(s, i + self.right + 1)
            total += max(0, last - first)
        return total


def named(operands, options: Options) -> dict:
    """The operands by name; those that are not there are None."""
    given = dict(zip(options.names(), operands, strict=True))
    return {name: given.get(name) for name in ("q", "k", "v", *PARTS)}


def even(length: int, most: int) -> tuple[int, int]:
    """(number of blocks, size) that cover `length` with blocks of at most `most`, as equal as can be."""
    count = max(1, -(-length // most))
    return count, -(-length // count)
