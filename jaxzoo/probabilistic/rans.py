"""Asymmetric numeral systems (rANS) on the host: a stack of bits onto which symbols of any distribution are pushed.

With f of 2^bits for a symbol whose interval begins at c, pushing it is

    s -> (s // f) 2^bits + c + s mod f

and popping is the inverse, which begins by reading c <= s mod 2^bits < c + f. The state s stays in [2^31, 2^63): 32
bits of it are moved to a list of words when it would grow beyond, and back when it has shrunk. Several states, the
lanes, share one list of words and are handled as one NumPy array.

Source: Duda, "Asymmetric numeral systems" (arXiv 1311.2540); lanes as in Giesen, "Interleaved entropy coders"
(arXiv 1402.3392).
"""

from collections.abc import Callable

import numpy as np

BITS = 16
"""Precision of quantised probabilities."""
LOW = 1 << 31
"""The least state."""


def quantize_pmf(p, bits: int = BITS) -> np.ndarray:
    """Integers in proportion to probabilities, each at least 1 and in all 2^bits.

    Args:
      p: [..., k] of 0 or more, not all 0; need not be normalised.
      bits: of the total.

    Returns:
      [..., k] int64. What rounding leaves goes to the largest.
    """
    p = np.asarray(p, np.float64)
    k = p.shape[-1]
    if k > 1 << bits:
        raise ValueError(f"p: expected at most 2^{bits} symbols, got {k}")
    if not (np.isfinite(p).all() and (p >= 0).all() and (p.sum(-1) > 0).all()):
        raise ValueError("p: expected finite numbers of 0 or more, not all 0")
    freqs = 1 + np.floor(p / p.sum(-1, keepdims=True) * ((1 << bits) - k)).astype(np.int64)
    largest = freqs.argmax(-1)[..., None]
    left = (1 << bits) - freqs.sum(-1, keepdims=True)
    np.put_along_axis(freqs, largest, np.take_along_axis(freqs, largest, -1) + left, -1)
    return freqs


def initial_heads(lanes: int) -> np.ndarray:
    """[lanes] uint64, the least state each."""
    return np.full(lanes, LOW, np.uint64)


def push(heads, words: list, start, freq, bits: int = BITS):
    """Pushes a symbol onto each of the lanes.

    Args:
      heads: [n] uint64 states.
      words: the list of words; grows in place.
      start, freq: [n] integers c and f.
      bits: of the total of all f.

    Returns:
      [n] uint64 states.
    """
    start, freq = np.asarray(start).astype(np.uint64), np.asarray(freq).astype(np.uint64)
    full = heads >= freq << np.uint64(63 - bits)
    if full.any():
        words.extend((heads[full] & np.uint64(0xFFFFFFFF)).tolist())
        heads = np.where(full, heads >> np.uint64(32), heads)
    return ((heads // freq) << np.uint64(bits)) + start + heads % freq


def pop(heads, words: list, freqs, bits: int = BITS):
    """Pops a symbol from each of the lanes, undoing `push`.

    Args:
      heads: [n] uint64 states.
      words: the list of words; shrinks in place.
      freqs: [n, k] integers f of all symbols.
      bits: of their total.

    Returns:
      `(heads [n], symbols [n] int64)`.

    Raises:
      ValueError: there are no words left: the content is not what `push` made.
    """
    freqs = np.asarray(freqs)
    ends = freqs.cumsum(-1)
    slot = (heads & np.uint64((1 << bits) - 1)).astype(np.int64)
    symbols = (ends <= slot[:, None]).sum(-1)
    lane = np.arange(len(heads))
    freq = freqs[lane, symbols]
    heads = freq.astype(np.uint64) * (heads >> np.uint64(bits)) + (slot - ends[lane, symbols] + freq).astype(np.uint64)
    empty = heads < LOW
    if count := int(empty.sum()):
        if count > len(words):
            raise ValueError("content: cut off or damaged, it has no words left")
        heads = heads.copy()
        heads[empty] = (heads[empty] << np.uint64(32)) | np.array(words[-count:], np.uint64)
        del words[-count:]
    return heads, symbols


def pack(heads, words: list) -> bytes:
    """States and words as a file: the first state without leading zeros, the others in 8 bytes, words in 4."""
    first = int(heads[0])
    head = first.to_bytes((first.bit_length() + 7) // 8, "big")
    return head + heads[1:].astype(">u8").tobytes() + np.array(words, ">u4").tobytes()


def unpack(content: bytes, lanes: int):
    """Undoes `pack`: `(heads [lanes], words)`."""
    rest = len(content) - 8 * (lanes - 1)
    if rest < 4:
        raise ValueError(f"content: expected at least {8 * lanes - 4} bytes of {lanes} lanes, got {len(content)}")
    # The first state has 4 to 8 bytes; 4 of them have the highest bit set, 8 have not.
    size = rest % 4 + 4 if rest % 4 or content[0] >= 0x80 else 8
    heads = [int.from_bytes(content[:size], "big"), *np.frombuffer(content, ">u8", lanes - 1, size).tolist()]
    words = np.frombuffer(content[size + 8 * (lanes - 1) :], ">u4").tolist()
    return np.array(heads, np.uint64), words


def rounds(n: int, lanes: int) -> list[slice]:
    """The n symbols of a step in groups of `lanes`; the last may be smaller."""
    if not 1 <= lanes <= n:
        raise ValueError(f"lanes: expected 1 to {n}, got {lanes}")
    return [slice(begin, min(begin + lanes, n)) for begin in range(0, n, lanes)]


def rans_encode(symbols, frequencies, *, lanes: int = 1, bits: int = BITS) -> bytes:
    """Codes t steps of n symbols each.

    Args:
      symbols: [t, n] integers.
      frequencies: [t, n, k], of total 2^bits along the last axis.
      lanes: states, at most n. Each costs about 6 bytes, more of them are faster.
      bits: precision.

    Returns:
      The file. n, t and the number of lanes are not in it.
    """
    symbols, frequencies = np.asarray(symbols), np.asarray(frequencies)
    if frequencies.shape[:2] != symbols.shape or frequencies.ndim != 3:
        raise ValueError(f"frequencies: expected [{symbols.shape[0]}, {symbols.shape[1]}, k], got {frequencies.shape}")
    freq = np.take_along_axis(frequencies, symbols[..., None], -1)[..., 0]
    start = np.take_along_axis(frequencies.cumsum(-1), symbols[..., None], -1)[..., 0] - freq
    heads, words = initial_heads(lanes), []
    groups = rounds(symbols.shape[1], lanes)
    for t in reversed(range(len(symbols))):  # what is pushed last is popped first
        for group in reversed(groups):
            m = group.stop - group.start
            heads[:m] = push(heads[:m], words, start[t, group], freq[t, group], bits)
    return pack(heads, words)


def rans_decode(content: bytes, frequencies: Callable, shape: tuple[int, int], *, lanes: int = 1, bits: int = BITS):
    """Undoes `rans_encode`, asking for the frequencies of a step when all steps before it are known.

    Args:
      content: the file.
      frequencies: `frequencies(t, previous) -> [n, k]`; `previous` is None at the first step, then the [n] symbols of
        the step before.
      shape: `(t, n)`.
      lanes, bits: as they were coded.

    Returns:
      [t, n] int64.
    """
    heads, words = unpack(content, lanes)
    out, groups = np.empty(shape, np.int64), rounds(shape[1], lanes)
    for t in range(shape[0]):
        table = np.asarray(frequencies(t, out[t - 1] if t else None))
        for group in groups:
            m = group.stop - group.start
            heads[:m], out[t, group] = pop(heads[:m], words, table[group], bits)
    return out
