"""rANS: what was pushed comes back, in about as many bits as the entropy says."""

import numpy as np
import pytest

from jaxzoo.probabilistic import rans


def skewed(rng, n, k):
    p = rng.dirichlet(np.full(k, 0.1), n)
    symbols = np.minimum((p.cumsum(1) < rng.random((n, 1))).sum(1), k - 1)
    return symbols, rans.quantize_pmf(p)


@pytest.mark.parametrize(("bits", "k"), [(16, 17), (12, 3), (28, 256)])
def test_quantised_distributions_keep_total_and_minimum(bits, k):
    rng = np.random.default_rng(0)
    p = np.concatenate([rng.dirichlet(np.full(k, 0.05), 200), np.eye(k), np.full((1, k), 1e-12)])
    p[0] = [1.0] + [1e-12] * (k - 1)
    freqs = rans.quantize_pmf(p, bits)
    assert (freqs.sum(1) == 1 << bits).all()
    assert freqs.min() == 1
    expected = p / p.sum(1, keepdims=True)
    assert np.abs(freqs / (1 << bits) - expected).max() <= k / (1 << bits)


def test_quantised_from_unnormalised_weights():
    np.testing.assert_array_equal(rans.quantize_pmf([3e-9, 1e-9], 8), rans.quantize_pmf([0.75, 0.25], 8))


@pytest.mark.parametrize("lanes", [1, 7])
def test_hundred_thousand_symbols_come_back_in_nearly_ideal_length(lanes):
    t, n, k = 2000, 50, 9
    symbols, freqs = skewed(np.random.default_rng(1), t * n, k)
    ideal = -np.log2(freqs[np.arange(t * n), symbols] / 2**16).sum()
    symbols, freqs = symbols.reshape(t, n), freqs.reshape(t, n, k)
    if lanes == 1:  # one symbol after the other is slow in NumPy: a fifth of them will do
        symbols, freqs = symbols[:400], freqs[:400]
        ideal = -np.log2(np.take_along_axis(freqs, symbols[..., None], -1) / 2**16).sum()
    content = rans.rans_encode(symbols, freqs, lanes=lanes)
    np.testing.assert_array_equal(rans.rans_decode(content, lambda t, _: freqs[t], symbols.shape, lanes=lanes), symbols)
    assert 8 * len(content) <= 1.001 * ideal + 64 * lanes
    assert 8 * len(content) >= ideal


def test_the_decoder_is_told_what_came_before():
    symbols = np.random.default_rng(2).integers(0, 4, (30, 5))
    model = lambda previous: rans.quantize_pmf(np.eye(4)[previous] + 0.1)  # noqa: E731
    freqs = np.stack([model(symbols[max(t - 1, 0)] * (t > 0)) for t in range(30)])
    content = rans.rans_encode(symbols, freqs, lanes=2)
    out = rans.rans_decode(content, lambda t, x: model(np.zeros(5, int) if t == 0 else x), (30, 5), lanes=2)
    np.testing.assert_array_equal(out, symbols)


@pytest.mark.parametrize("head", [1 << 31, (1 << 32) - 1, 1 << 32, 1 << 47, 1 << 56, (1 << 63) - 1])
@pytest.mark.parametrize("words", [[], [5, 2**32 - 1, 0]])
def test_a_file_keeps_states_and_words(head, words):
    heads = np.array([head, 1 << 40], np.uint64)
    found, same = rans.unpack(rans.pack(heads, words), 2)
    np.testing.assert_array_equal(found, heads)
    assert same == words
    assert len(rans.pack(heads[:1], words)) == (head.bit_length() + 7) // 8 + 4 * len(words)


def test_pop_undoes_push_at_both_ends_of_the_range():
    freqs = np.array([[1, 2**16 - 2, 1]] * 3)
    heads, words = np.array([1 << 31, (1 << 63) - 1, 1 << 47], np.uint64), []
    before = heads
    for symbol in (0, 1, 2, 2, 0, 1):
        heads = rans.push(heads, words, (freqs.cumsum(1) - freqs)[:, symbol], freqs[:, symbol])
        assert (heads >= rans.LOW).all()
        assert (heads < 1 << 63).all()
    for symbol in (1, 0, 2, 2, 1, 0):
        heads, found = rans.pop(heads, words, freqs)
        assert (found == symbol).all()
    np.testing.assert_array_equal(heads, before)
    assert words == []


def test_wrong_arguments_are_refused():
    symbols, freqs = np.zeros((2, 3), int), np.full((2, 3, 2), 1 << 15)
    with pytest.raises(ValueError, match="frequencies: expected"):
        rans.rans_encode(symbols, freqs[:1])
    with pytest.raises(ValueError, match="lanes: expected 1 to 3, got 4"):
        rans.rans_encode(symbols, freqs, lanes=4)
    with pytest.raises(ValueError, match="content: expected at least"):
        rans.unpack(b"abc", 1)
    content = rans.rans_encode(np.zeros((99, 3), int), np.full((99, 3, 2), 1 << 15))
    with pytest.raises(ValueError, match="content: cut off"):
        rans.rans_decode(content[:-8], lambda t, _: freqs[0], (99, 3))
    for p in ([np.nan, 1.0], [0.0, 0.0], [-1.0, 2.0]):
        with pytest.raises(ValueError, match="p: expected finite"):
            rans.quantize_pmf(p)
    with pytest.raises(ValueError, match="at most"):
        rans.quantize_pmf(np.ones(5), 2)
