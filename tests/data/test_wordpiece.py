"""BERT's tokens, against worked examples and a peer library."""

import numpy as np
import pytest

from jaxzoo.data import DataError, WordPiece, wordpiece
from jaxzoo.data.wordpiece import split_words

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "un",
    "##aff",
    "##able",
    "run",
    "##ning",
    ",",
    "low",
    "##er",
]
VOCABULARY += ["caf", "##e", "cafe", "!", "$", "^", "a", "##a", "\u4e2d", "\u56fd", "##,"]
TEXTS = [
    "UNaffable, running!",
    "Caf\u00e9 caf\u0065\u0301 lower lowest",
    "\u4e2d\u56fda a\u4e2d",
    "a\u00a0a\ta\r\na\u200da \ufffda\0a",
    "$a^a " + "a" * 100 + " " + "a" * 101,
    "a\u2014a \u00bfa? \U0001f600",
    "",
]


def test_the_longest_pieces_come_first():
    ids = {token: i for i, token in enumerate(VOCABULARY)}
    got = WordPiece(VOCABULARY).tokens("UNaffable, running LOWEST caf\u00e9")
    assert got == [ids[t] for t in ("un", "##aff", "##able", ",", "run", "##ning", "[UNK]", "cafe")]


def test_words_are_split_at_spaces_marks_and_ideographs():
    assert split_words(" \u00c9t\u00e9's $5\u4e2d\u56fd\x07x\u200b ") == [
        "ete",
        "'",
        "s",
        "$",
        "5",
        "\u4e2d",
        "\u56fd",
        "x",
    ]


def test_a_very_long_word_is_unknown():
    tokeniser = WordPiece(VOCABULARY)
    assert len(tokeniser.tokens("a" * 100)) == 100
    assert tokeniser.tokens("a" * 101) == [1]


def test_sentences_and_pairs_are_framed_and_padded():
    tokeniser = WordPiece(VOCABULARY)
    single = tokeniser.encode(["low run"], None, 6)
    np.testing.assert_array_equal(single, [[[2, 11, 8, 3, 0, 0], [0] * 6, [1, 1, 1, 1, 0, 0]]])
    pair = tokeniser.encode(["low"], ["run run"], 7)
    np.testing.assert_array_equal(pair, [[[2, 11, 3, 8, 8, 3, 0], [0, 0, 0, 1, 1, 1, 0], [1] * 6 + [0]]])


def test_the_longer_of_a_pair_is_cut_first():
    tokeniser = WordPiece(VOCABULARY)
    got = tokeniser.encode(["low low low low"], ["run run"], 6)[0, 0]
    np.testing.assert_array_equal(got, [2, 11, 11, 3, 8, 3])
    np.testing.assert_array_equal(tokeniser.encode(["low run low"], None, 4)[0, 0], [2, 11, 8, 3])


def test_bad_input_is_refused():
    tokeniser = WordPiece(VOCABULARY)
    with pytest.raises(ValueError, match="length: expected at least 3, got 2"):
        tokeniser.encode(["a"], ["a"], 2)
    with pytest.raises(ValueError, match="first, second: expected as many, got 1 and 2"):
        tokeniser.encode(["a"], ["a", "a"], 9)


def test_the_file_is_one_token_a_line(tmp_path):
    with pytest.raises(DataError, match=r"missing file: vocab.txt in the data folder"):
        wordpiece(tmp_path)
    (tmp_path / "vocab.txt").write_bytes("\r\n".join(VOCABULARY).encode() + b"\r\n")
    assert wordpiece(tmp_path).ids == WordPiece(VOCABULARY).ids
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n")
    with pytest.raises(DataError, match=r"vocab.txt: vocabulary: expected .* \[SEP\] is not"):
        wordpiece(tmp_path)


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokens_are_those_of_a_peer(text, tmp_path):
    peer = pytest.importorskip("tokenizers")
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    theirs = peer.BertWordPieceTokenizer(str(tmp_path / "vocab.txt"), lowercase=True)
    assert WordPiece(VOCABULARY).tokens(text) == theirs.encode(text, add_special_tokens=False).ids
