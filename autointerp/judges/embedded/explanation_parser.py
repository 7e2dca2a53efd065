"""Parses an explanation into claims: quoted terms at or before the marked token, topic words, and token classes.

It parses the embedded judge's own explanations exactly. Of an LLM's explanations it recognises quotation marks, "after", and the names of
scripts and punctuation; it does not understand negations and conditions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from autointerp.judges.embedded.token_classes import ALIASES, Word, stem, words

NOTHING = "no common token or word among its examples"
"""The explanation of a unit whose examples have nothing in common. It makes no claim and matches no window."""

_QUOTED = re.compile(
    r"\"([^\"]{1,40})\"|\u201c([^\u201d]{1,40})\u201d|`([^`]{1,40})`|«([^»]{1,40})»|(?<!\w)['\u2018]([^'\u2019]{1,40})['\u2019](?!\w)"
)
_AFTER = re.compile(r"\b(after|following|follows?|preceded by)( the)?( (words?|tokens?|phrases?))*\s*$", re.IGNORECASE)
_LIST = re.compile(r"^\s*(,|or|and|, or|, and|/)\s*$")
_SIGNS = {
    "comma": ",",
    "period": ".",
    "full stop": ".",
    "semicolon": ";",
    "colon": ":",
    "question mark": "?",
    "exclamation mark": "!",
    "exclamation point": "!",
    "hyphen": "-",
    "slash": "/",
    "underscore": "_",
    "equals sign": "=",
    "dollar sign": "$",
    "opening parenthes": "(",
    "closing parenthes": ")",
    "opening bracket": "([{",
    "closing bracket": ")]}",
}
_SIGN = re.compile(r"\b(" + "|".join(sorted(_SIGNS, key=len, reverse=True)) + r")(?:s|es|is)?\b", re.IGNORECASE)
_STOP_WORDS = (
    "a an the and or but nor of in on at by to from for with within into onto over under about as is are was were be been being "
    "am do does did has have had having it its this that these those they them their there here he she his her him we our us you "
    "your i my me not no than then so such if when while where which who whom whose what how why can could may might must shall "
    "should will would also very more most other some any all each every both either one ones own same too only just even up down "
    "out off again further between among through during before after above below because until against once few "
    "token tokens word words text texts term terms phrase phrases context contexts mention mentions mentioned reference "
    "references refer referring related relating relate relation example examples especially particularly particular including "
    "include includes often usually typically mostly mainly common commonly various varied specific used using use uses like "
    "appear appears appearing occur occurs occurring sentence sentences passage passages activating activates marked feature "
    "neuron something things thing kind kinds type types form forms etc e.g i.e express expresses expressing describe describes "
    "describing denote denotes denoting indicate indicates indicating introduce introduces wait hmm name names discussion "
    "discussions follow follows following preceded well-known well known part parts don doesn isn let get got said say"
)
STOP = frozenset(map(stem, _STOP_WORDS.split()))
"""Stems that are not topics: function words, and words that explanations use to describe what they explain."""


@dataclass(frozen=True)
class Claims:
    """What an explanation claims: phrases at the mark (`terms`) and before it, single topic words, and names of token classes."""

    terms: tuple[tuple[Word, ...], ...]
    before: tuple[tuple[Word, ...], ...]
    topics: tuple[Word, ...]
    classes: frozenset[str]

    @property
    def empty(self) -> bool:
        """Whether the explanation makes no claim."""
        return not (self.terms or self.before or self.topics or self.classes)


@lru_cache(maxsize=4096)
def parse(explanation: str) -> Claims:
    """The claims of an explanation."""
    if explanation.strip() == NOTHING:
        return Claims((), (), (), frozenset())
    terms: list[tuple[Word, ...]] = []
    before: list[tuple[Word, ...]] = []
    prose: list[str] = []
    end, was_before = 0, False
    for quotation in _QUOTED.finditer(explanation):
        between = explanation[end : quotation.start()]
        # A quotation that continues a list is of the same kind as the one before it.
        if not (end and _LIST.match(between)):
            was_before = bool(_AFTER.search(between))
        phrase = words(next(group for group in quotation.groups() if group is not None))
        if phrase:
            (before if was_before else terms).append(phrase)
        prose.append(between)
        end = quotation.end()
    prose.append(explanation[end:])
    rest = " ".join(prose)
    terms += [(sign,) for name in _SIGN.finditer(rest) for sign in words(_SIGNS[name[1].casefold()])]
    classes = frozenset(name for name, pattern in ALIASES.items() if pattern.search(rest))
    topical = rest
    for name in classes:
        # The name of a class ("source code") is not a topic; other wordings of it ("Python") are.
        topical = re.sub(re.escape(name), " ", topical, flags=re.IGNORECASE)
    topics = {w.stem: w for w in words(_SIGN.sub(" ", topical)) if w.lexical and w.stem not in STOP}
    return Claims(tuple(dict.fromkeys(terms)), tuple(dict.fromkeys(before)), tuple(topics.values()), classes)
