"""BERT's tokens: words, cut into the longest pieces that a vocabulary has.

Source: Devlin et al., "BERT" (arXiv 1810.04805), Sec. 3; Wu et al., "Google's Neural Machine Translation System" (arXiv
1609.08144), Sec. 4.1.
"""

import unicodedata
from pathlib import Path

import numpy as np

from jaxzoo.data.dataset import DataError
from jaxzoo.data.folder import find_file, reading

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LONGEST = 100
"""Characters of the longest word that is cut; longer ones are unknown."""
IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""Code points that are words by themselves."""


class WordPiece:
    """A tokeniser, uncased: lower case, without accents.

    Attributes:
      ids: token -> its number.
    """

    def __init__(self, vocabulary: list[str]):
        """Prepares one.

        Args:
          vocabulary: the tokens, in the order of their numbers; pieces that continue a word begin with "##".

        Raises:
          ValueError: one of `SPECIAL` is not among them.
        """
        self.ids = {token: i for i, token in enumerate(vocabulary)}
        missing = [token for token in SPECIAL if token not in self.ids]
        if missing:
            raise ValueError(f"vocabulary: expected {', '.join(SPECIAL)} in it, {', '.join(missing)} is not")
        self._cut: dict[str, list[int]] = {}

    def tokens(self, text: str) -> list[int]:
        """The numbers of a text's tokens, without [CLS] and [SEP]."""
        return [i for word in split_words(text) for i in self._pieces(word)]

    def encode(self, first: list[str], second: list[str] | None, length: int) -> np.ndarray:
        """Sentences or pairs as [CLS] a [SEP] or [CLS] a [SEP] b [SEP], padded.

        Args:
          first: n texts.
          second: n texts, or None.
          length: t; of a pair that is too long the longer text loses its last token, again and again.

        Returns:
          [n, 3, t] int32: tokens; segments, 0 up to the first [SEP] and 1 after it; and 1 where there is a token.

        Raises:
          ValueError: texts that are not as many, or a length that has no room for them.
        """
        ends = 2 if second is None else 3
        if length < ends:
            raise ValueError(f"length: expected at least {ends}, got {length}")
        if second is not None and len(first) != len(second):
            raise ValueError(f"first, second: expected as many, got {len(first)} and {len(second)}")
        cls, sep = self.ids["[CLS]"], self.ids["[SEP]"]
        out = np.zeros((len(first), 3, length), np.int32)
        out[:, 0] = self.ids["[PAD]"]
        for i, text in enumerate(first):
            a, b = self.tokens(text), [] if second is None else self.tokens(second[i])
            while len(a) + len(b) > length - ends:
                (a if len(a) > len(b) else b).pop()
            a = [cls, *a, sep]
            row = a if second is None else [*a, *b, sep]
            out[i, 0, : len(row)] = row
            out[i, 1, len(a) : len(row)] = 1
            out[i, 2, : len(row)] = 1
        return out

    def _pieces(self, word: str) -> list[int]:
        if word not in self._cut:
            self._cut[word] = self._longest_first(word)
        return self._cut[word]

    def _longest_first(self, word: str) -> list[int]:
        """The longest piece of the vocabulary that begins the word, then that of the rest; [UNK] if there is none."""
        pieces, start = [], 0
        while start < len(word):
            if len(word) > LONGEST:
                return [self.ids["[UNK]"]]
            candidates = (("##" if start else "") + word[start:end] for end in range(len(word), start, -1))
            piece = next((c for c in candidates if c in self.ids), None)
            if piece is None:
                return [self.ids["[UNK]"]]
            pieces.append(self.ids[piece])
            start += len(piece) - (2 if start else 0)
        return pieces


def wordpiece(folder: Path, name: str = "vocab.txt") -> WordPiece:
    """The tokeniser of a vocabulary file, one token a line, as that of google-bert/bert-base-uncased.

    Args:
      folder: the data folder, as from `data_folder`.
      name: of the file in it.

    Raises:
      DataError: the file is missing, is not UTF-8, or lacks a special token.
    """
    path = find_file(folder, name, called="BERT's vocabulary, one token a line, as vocab.txt of bert-base-uncased")
    with reading(path):
        lines = path.read_bytes().decode("utf-8").split("\n")
    try:
        return WordPiece([line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)])
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def split_words(text: str) -> list[str]:
    """Words and punctuation marks, lower-cased and without accents; control characters are dropped."""
    kept = (" " if c in "\t\n\r" or unicodedata.category(c) == "Zs" else c for c in text if not _dropped(c))
    spaced = "".join(f" {c} " if _is_ideograph(c) else c for c in kept)
    plain = (c for c in unicodedata.normalize("NFD", spaced.lower()) if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if _is_punctuation(c) else c for c in plain).split()


def _dropped(c: str) -> bool:
    return c in "\0\N{REPLACEMENT CHARACTER}" or (c not in "\t\n\r" and unicodedata.category(c).startswith("C"))


def _is_ideograph(c: str) -> bool:
    return any(low <= ord(c) <= high for low, high in IDEOGRAPHS)


def _is_punctuation(c: str) -> bool:
    """Every ASCII character that is neither letter, digit nor space counts, as $ and ^ do."""
    return c in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" or unicodedata.category(c).startswith("P")
