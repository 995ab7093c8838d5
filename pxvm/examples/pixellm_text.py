"""The Pixel-LLM's text: the corpus, its held-out chapters, and a vocabulary of 1,024 pieces.

A piece is a character, part of a word, or a whole word with the space before it. Pieces are
learned by byte-pair merging (Gage 1994; Sennrich et al. 2016, arXiv:1508.07909) and used by
longest match, so that the list of pieces alone is the whole tokenizer and fits into pixels.
"""

from __future__ import annotations

import bz2
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

CORPUS = Path(__file__).parent / "data" / "austen.txt.bz2"
CHAPTER = "== "
HELD_OUT_EVERY = 15

# A word takes the space before it along; punctuation stands together; a paragraph ends in "\n".
WORDS = re.compile(r" ?[A-Za-z]+(?:'[a-z]+)?| ?[^A-Za-z\s]+|\s\"?")
STRAIGHT = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\t": " "})
SURPLUS = 1.4  # pieces learned for each one kept


def corpus() -> tuple[str, str]:
    """The shipped text as (training text, held-out text): every 15th chapter is held out.

    Paragraphs are lines; chapter headings are left out.
    """
    chapters = bz2.decompress(CORPUS.read_bytes()).decode("ascii").split(CHAPTER)[1:]
    bodies = [chapter.split("\n", 1)[1] for chapter in chapters]
    held = bodies[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    kept = [body for i, body in enumerate(bodies, 1) if i % HELD_OUT_EVERY]
    return "".join(kept), "".join(held)


class Vocabulary:
    """A list of pieces; text becomes their numbers by longest match within each word.

    Args:
        pieces: the strings, "?" among them, which stands for every character that is not.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = list(pieces)
        self.number = {piece: i for i, piece in enumerate(self.pieces)}
        if "?" not in self.number or len(self.number) != len(self.pieces):
            raise ValueError("the pieces of a vocabulary are distinct and '?' is one of them")
        self._longest = max(map(len, self.pieces))
        self._known: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Numbers of the pieces of ``text``.

        Accents are dropped and typographic quotes straightened; a character that then is no
        piece becomes a question mark.
        """
        plain = unicodedata.normalize("NFKD", text.translate(STRAIGHT))
        plain = "".join(c for c in plain if not unicodedata.combining(c))
        plain = "".join(c if c in self.number else "?" for c in plain)
        return [i for word in WORDS.findall(plain) for i in self._word(word)]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text that the pieces spell."""
        return "".join(self.pieces[i] for i in numbers)

    def _word(self, word: str) -> list[int]:
        if word not in self._known:
            found, at = [], 0
            while at < len(word):
                end = min(len(word), at + self._longest)
                while word[at:end] not in self.number:
                    end -= 1
                found.append(self.number[word[at:end]])
                at = end
            self._known[word] = found
        return self._known[word]


def learn_vocabulary(text: str, size: int = 1024) -> Vocabulary:
    """The ``size`` most useful pieces of ``text``; the same text gives the same list.

    More pieces are merged than kept: a merge such as " Elizabe" serves only to reach the longer
    one. The pieces that longest match uses least are dropped, a quarter of the surplus at a time.
    """
    words = Counter(WORDS.findall(text))
    characters = sorted({*text, "?"})
    pieces = characters + _merges(words, int(size * SURPLUS) - len(characters))
    while len(pieces) > size:
        used = Counter[int]()
        vocabulary = Vocabulary(pieces)
        for word, count in words.items():
            for i in vocabulary._word(word):
                used[i] += count
        droppable = sorted(range(len(characters), len(pieces)), key=lambda i: (used[i], -i))
        surplus = len(pieces) - size
        gone = set(droppable[: max(surplus // 4, min(surplus, 8))])
        pieces = [piece for i, piece in enumerate(pieces) if i not in gone]
    return Vocabulary(pieces)


def _merges(words: Counter[str], wanted: int) -> list[str]:
    """The pieces made by merging the most frequent neighbours ``wanted`` times."""
    split = [list(word) for word in words]
    counts = list(words.values())
    pairs = Counter[tuple[str, str]]()
    where: dict[tuple[str, str], set[int]] = {}
    for w, parts in enumerate(split):
        for pair in pairwise(parts):
            pairs[pair] += counts[w]
            where.setdefault(pair, set()).add(w)
    made: dict[str, None] = {}
    while len(made) < wanted and pairs:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        made["".join(best)] = None
        for w in where.pop(best):
            parts = split[w]
            for pair in pairwise(parts):
                pairs[pair] -= counts[w]
            split[w] = parts = _join(parts, best)
            for pair in pairwise(parts):
                pairs[pair] += counts[w]
                where.setdefault(pair, set()).add(w)
        del pairs[best]
    return list(made)


def _join(parts: list[str], pair: tuple[str, str]) -> list[str]:
    joined, at = [], 0
    while at < len(parts):
        if tuple(parts[at : at + 2]) == pair:
            joined.append("".join(pair))
            at += 2
        else:
            joined.append(parts[at])
            at += 1
    return joined


class Spelling:
    """Which pieces may follow a text so that only known words and punctuation arise.

    A thousand pieces can spell any word, and a network of this size often spells one that does
    not exist. Known are the words of the corpus and of the text that is continued.

    Args:
        vocabulary: the pieces to judge.
        text: what is continued.
    """

    def __init__(self, vocabulary: Vocabulary, text: str) -> None:
        self.vocabulary = vocabulary
        self.words = {word for part in (*corpus(), text) for word in WORDS.findall(part)}
        self.beginnings = {word[:end] for word in self.words for end in range(1, len(word) + 1)}
        self.unfinished = (WORDS.findall(text) or [""])[-1]

    def allowed(self) -> list[bool]:
        """For each piece, whether the text may go on with it; at least one may."""
        return [self._fits(WORDS.findall(self.unfinished + p)) for p in self.vocabulary.pieces]

    def append(self, number: int) -> None:
        """The text goes on with this piece."""
        self.unfinished = WORDS.findall(self.unfinished + self.vocabulary.pieces[number])[-1]

    def _fits(self, words: list[str]) -> bool:
        return words[-1] in self.beginnings and all(word in self.words for word in words[:-1])
