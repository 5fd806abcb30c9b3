"""Text: what is carried, and text as integers."""

import collections

import numpy as np
import pytest

from jaxzoo.data import (
    OTHER,
    DataError,
    characters,
    encode,
    pydoc_corpus,
    pydoc_topics,
    python_source,
    split_by_position,
    text_file,
    words,
)


def test_pydoc_topics_are_the_frozen_ones():
    corpus, text = pydoc_corpus(), pydoc_topics()
    assert len(corpus.documents) == 79
    assert len(text) == 464_970 + 78
    assert list(corpus.documents) == sorted(corpus.documents)
    assert corpus.documents["assert"] in text
    assert corpus.licence.startswith("PSF-2.0")


def test_characters_are_ranked_by_frequency():
    tokens, vocabulary = characters("abacabad!", 4)
    assert vocabulary == ("a", "b", "!", OTHER)
    assert tokens.tolist() == [0, 1, 0, 3, 0, 1, 0, 3, 2]
    assert tokens.dtype == np.uint8


def test_characters_decode_again():
    text = "the quick brown fox"
    tokens, vocabulary = characters(text, 100)
    assert len(vocabulary) == len(set(text)) + 1
    assert "".join(vocabulary[i] for i in tokens) == text


def test_lower_case_is_optional():
    assert characters("AaB", 5)[1] == ("A", "B", "a", OTHER)
    assert characters("AaB", 5, lower=True)[1] == ("a", "b", OTHER)


def test_the_character_of_other_is_other():
    tokens, vocabulary = characters(f"aa{OTHER}{OTHER}{OTHER}b", 3)
    assert vocabulary == ("a", "b", OTHER)
    assert tokens.tolist() == [0, 0, 2, 2, 2, 1]


def test_many_characters_need_wider_integers():
    text = "".join(chr(200 + i) for i in range(300))
    tokens, vocabulary = characters(text, 301)
    assert tokens.dtype == np.int32
    assert "".join(vocabulary[i] for i in tokens) == text
    assert characters(text, 256)[0].dtype == np.uint8


@pytest.mark.parametrize("size", [1, 0, -3])
def test_a_vocabulary_without_room(size):
    with pytest.raises(ValueError, match="vocabulary_size: expected at least 2"):
        characters("abc", size)


def test_topics_as_characters():
    tokens, vocabulary = characters(pydoc_topics(), 64, lower=True)
    counts = collections.Counter(pydoc_topics().lower())
    assert len(vocabulary) == 64
    assert vocabulary[0] == counts.most_common(1)[0][0] == " "
    kept = sum(counts[character] for character in vocabulary[:-1])
    assert (tokens < 63).sum() == kept > 0.99 * len(tokens)
    train, validation = split_by_position(tokens, (0.9, 0.1))
    assert (len(train), len(validation)) == (418_543, 46_505)


def test_words_are_lower_case_runs_of_letters():
    tokens, vocabulary = words("Read_csv reads CSV; read2 é", 10)
    assert vocabulary == ("csv", "read", "reads", "é", OTHER)
    assert tokens.tolist() == [1, 0, 2, 0, 1, 3]


def test_words_of_the_topics():
    tokens, vocabulary = words(pydoc_topics(), 1200)
    assert len(vocabulary) == 1200
    assert vocabulary[:3] == ("the", "a", "is")
    assert (tokens == 1199).mean() < 0.1


def test_encode_with_a_given_vocabulary():
    assert encode("cab", ("a", "b", OTHER)).tolist() == [2, 0, 1]
    assert encode("", ("a", OTHER)).shape == (0,)


def test_python_source_of_the_standard_library():
    corpus = python_source()
    assert "def dump(" in corpus.documents["ast.py"]
    assert corpus.sha256 == python_source().sha256


def test_python_source_of_a_folder(tmp_path):
    (tmp_path / "b.py").write_text("b = 1")
    (tmp_path / "a.py").write_bytes(b"a = '\xff'")
    (tmp_path / "notes.txt").write_text("no code")
    corpus = python_source(tmp_path)
    assert corpus.documents == {"a.py": "a = '\ufffd'", "b.py": "b = 1"}
    assert (corpus.licence, corpus.source) == ("as the files state", str(tmp_path))
    (tmp_path / "b.py").write_text("b = 2")
    assert python_source(tmp_path).sha256 != corpus.sha256


def test_a_folder_without_source(tmp_path):
    with pytest.raises(DataError, match=r"no \.py file"):
        python_source(tmp_path)


def test_a_text_file_of_the_users_own(tmp_path):
    (tmp_path / "train.txt").write_text("naïve\n", encoding="utf-8")
    assert text_file(tmp_path, "train.txt") == "naïve\n"


def test_a_text_file_that_is_missing_or_not_utf8_is_named(tmp_path):
    with pytest.raises(DataError, match=r"missing file: train.txt .* plain text in UTF-8; put it there"):
        text_file(tmp_path, "train.txt")
    (tmp_path / "train.txt").write_bytes(b"abc\xff")
    with pytest.raises(DataError, match=r"train.txt: expected UTF-8 text, byte 3 is not"):
        text_file(tmp_path, "train.txt")
