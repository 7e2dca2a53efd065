"""Splits a window into words, and names the classes of its marked token and of the whole window.

Classes are properties that a list of words cannot express: digits, punctuation, capitals, scripts, line breaks, and for whole windows
source code and a few languages. Each has a name, which explanations use, and a pattern that recognises other wordings of it.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from autointerp.messages import MarkedText

_WORD = re.compile(r"[一-鿿㐀-䶿]|[぀-ヿ]+|\d+|[^\W\d_一-鿿㐀-䶿぀-ヿ]+(?:['\u2019][^\W\d_]+)*|[^\w\s]|_+")
_CODE_CHARS = frozenset("{}[]()<>=+*/&|;_\\#@$%^~`")
_CODE_SIGN = re.compile("[" + re.escape("".join(sorted(_CODE_CHARS))) + "]")
_SUFFIXES = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("ly", ""), ("es", "e"), ("s", ""))
_CODE_LINE = re.compile(
    r"^\s*(import [\w.]+|from [\w.]+ import|def \w+|class \w+\s*[:({]|#include|(const|let|var) \w+|\w+ = |"
    r"(public|private|static) \w|return\b.*;)",
    re.MULTILINE,
)
_SCRIPTS = {
    "CYRILLIC": "Cyrillic script",
    "GREEK": "Greek script",
    "ARABIC": "Arabic script",
    "HEBREW": "Hebrew script",
    "DEVANAGARI": "Devanagari script",
    "THAI": "Thai script",
    "HANGUL": "Korean script",
    "CJK": "Chinese characters",
    "HIRAGANA": "Japanese kana",
    "KATAKANA": "Japanese kana",
}
_FUNCTION_WORDS = {
    "French text": "le la les des une est dans pour qui sur avec au du et il elle ne pas",
    "German text": "der die das und ist nicht ein eine mit von zu auf dem den sich wir",
    "Spanish text": "el los las una que por con para del es en su mientras como más y",
    "Italian text": "il gli di che una per con della nel sono è non del alla più e",
    "Portuguese text": "o os uma que não para com da do em os ao como mais foi são",
    "Dutch text": "de het een van en niet op te voor met zijn dat aan ook was naar",
}
_LANGUAGES = {name: frozenset(common.split()) for name, common in _FUNCTION_WORDS.items()}
ALIASES: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "digits": r"\b(digits?|numbers?|numerals?|numeric(al)?|years?|dates?)\b",
        "punctuation": r"\bpunctuation\b",
        "brackets or operators": r"\b(operators?|brackets or operators)\b",
        "quotation marks": r"\b(quotation marks?|quote (marks?|characters?))\b",
        "line breaks": r"\b(line ?breaks?|newlines?|ends? of lines?)\b",
        "indentation": r"\b(indentation|indents?|tabs)\b",
        "capitalised words": r"\bcapitali[sz]ed\b",
        "words in capitals": r"\b(in capitals|all[- ]caps|upper-?case)\b",
        "word continuations": r"\b(word continuations?|parts? of words?|word (pieces|parts|endings)|suffix(es)?)\b",
        "Cyrillic script": r"\b(cyrillic|russian|ukrainian|bulgarian|serbian)\b",
        "Greek script": r"\bgreek\b",
        "Arabic script": r"\b(arabic|persian|farsi|urdu)\b",
        "Hebrew script": r"\bhebrew\b",
        "Devanagari script": r"\b(devanagari|hindi|nepali|marathi)\b",
        "Thai script": r"\bthai\b",
        "Korean script": r"\b(korean|hangul)\b",
        "Chinese characters": r"\b(chinese|kanji|hanzi|mandarin)\b",
        "Japanese kana": r"\b(japanese|kana|hiragana|katakana)\b",
        "source code": r"\b(source code|code|python|javascript|c\+\+|java|html|css|sql|programming|latex)\b",
        **{
            name: (
                rf"\b{name.split()[0]}(?=[ -](text|words?|language|prose|sentences?|articles?|speech)\b)"
                rf"|\bin {name.split()[0]}\b(?! text)"
            )
            for name in _LANGUAGES
        },
    }.items()
}
"""Class names, and patterns of how explanations refer to them."""

SETTINGS = frozenset({"source code", *_SCRIPTS.values(), *_LANGUAGES})
"""Classes that whole windows can have."""


@dataclass(frozen=True)
class Word:
    """One word, number or sign of a window. Words are compared by `stem`."""

    text: str
    stem: str

    @property
    def lexical(self) -> bool:
        """Whether it is made of letters."""
        return self.text[0].isalpha()


@dataclass(frozen=True)
class Reading:
    """A window split into words. `words[first:last]` overlap the marked token; the range is empty if the token is blank."""

    token: str
    words: tuple[Word, ...]
    first: int
    last: int
    classes: frozenset[str]
    setting: frozenset[str]

    @property
    def at(self) -> tuple[Word, ...]:
        """The words that overlap the marked token."""
        return self.words[self.first : self.last]

    def before(self, radius: int) -> tuple[Word, ...]:
        """Up to `radius` words before the mark, the nearest last."""
        return self.words[max(0, self.first - radius) : self.first]

    def near(self, radius: int) -> tuple[Word, ...]:
        """The words at the mark and up to `radius` on either side."""
        return self.words[max(0, self.first - radius) : self.last + radius]


@lru_cache(maxsize=4096)
def read(window: MarkedText) -> Reading:
    """Split a window into words, and classify it and its marked token."""
    start = sum(map(len, window.tokens[: window.mark]))
    token = window.tokens[window.mark]
    end = start + len(token)
    split = _split(window.text)
    first = bisect_right(split.ends, start)
    last = max(first, bisect_left(split.starts, end))
    return Reading(token, split.words, first, last, token_classes(window.tokens, window.mark), split.setting)


class _Split(NamedTuple):
    """A text's words with their first and last characters, and the classes of the whole."""

    starts: list[int]
    ends: list[int]
    words: tuple[Word, ...]
    setting: frozenset[str]


@lru_cache(maxsize=4096)
def _split(text: str) -> _Split:
    """What all marks in a window have in common."""
    matches = list(_WORD.finditer(text))
    all_words = tuple(word(m[0]) for m in matches)
    setting = setting_classes(text, all_words)
    return _Split([m.start() for m in matches], [m.end() for m in matches], all_words, setting)


def words(text: str) -> tuple[Word, ...]:
    """The words, numbers and signs of a text."""
    return tuple(word(match[0]) for match in _WORD.finditer(text))


@lru_cache(maxsize=100_000)
def word(text: str) -> Word:
    """A word with its stem."""
    return Word(text, stem(text))


@lru_cache(maxsize=100_000)
def stem(text: str) -> str:
    """The text in folded case and, for English, without plural, -ed, -ing and -ly, so that "runs" equals "running"."""
    folded = unicodedata.normalize("NFKC", text).strip().casefold().replace("\u2019", "'").removesuffix("'s")
    if len(folded) < 4 or not folded.isascii() or not folded.isalpha():
        return folded
    for suffix, replacement in _SUFFIXES:
        root = folded.removesuffix(suffix)
        if root != folded and len(root) >= 3 and not (suffix == "s" and root[-1] in "su"):
            root += replacement
            if suffix in ("ing", "ed") and root[-1] == root[-2] and root[-1] not in "lsz":
                root = root[:-1]
            return root.removesuffix("e") if len(root) > 3 else root
    return folded.removesuffix("e") if len(folded) > 3 else folded


def token_classes(tokens: Sequence[str], index: int) -> frozenset[str]:
    """The classes of one token, given the tokens before it."""
    token = tokens[index]
    bare = token.strip()
    if not bare:
        return frozenset(
            {"line breaks"} if "\n" in token else {"indentation"} if len(token) > 1 or "\t" in token else ()
        )
    previous = "".join(tokens[max(0, index - 2) : index])[-1:]
    classes: set[str] = set()
    if all(unicodedata.category(c)[0] == "N" for c in bare):
        classes.add("digits")
    elif all(unicodedata.category(c)[0] in "PS" for c in bare):
        classes.add("punctuation")
        if all(c in _CODE_CHARS for c in bare):
            classes.add("brackets or operators")
        if all(c in "\"'\u201c\u201d\u2018\u2019«»" for c in bare):
            classes.add("quotation marks")
    elif bare[0].isalpha():
        if token[0].isalpha() and previous.isalpha() and bare[0].islower():
            classes.add("word continuations")
        if len(bare) > 1 and bare.isupper():
            classes.add("words in capitals")
        elif bare[0].isupper():
            classes.add("capitalised words")
    script = next((s for s in map(_script, bare) if s), None)
    return frozenset(classes | ({script} if script else set()))


def setting_classes(text: str, words: Sequence[Word]) -> frozenset[str]:
    """The classes of a whole window: source code, scripts and languages."""
    classes: set[str] = set()
    solid = len("".join(text.split()))
    if len(_CODE_SIGN.findall(text)) > max(3, 0.06 * solid) or _CODE_LINE.search(text):
        classes.add("source code")
    letters = [] if text.isascii() else [c for c in text if c.isalpha()]
    scripts = [s for s in map(_script, letters) if s]
    classes.update(s for s in set(scripts) if scripts.count(s) >= max(3, 0.2 * len(letters)))
    folded = [w.text.casefold() for w in words if w.lexical]
    shares = {name: sum(w in common for w in folded) for name, common in _LANGUAGES.items()}
    name = max(shares, key=lambda n: shares[n])
    if shares[name] >= max(3, 0.2 * len(folded)):
        classes.add(name)
    return frozenset(classes)


@lru_cache(maxsize=20_000)
def _script(character: str) -> str | None:
    if character < "Ͱ" or not character.isalpha():
        return None
    return _SCRIPTS.get(unicodedata.name(character, "").split(" ")[0].split("-")[0])
