"""Claims: what an explanation says, as a set of words and a condition, and as the text that a judge reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from autointerp.league.vocabulary import CONDITIONS, THEMES

CLASSES = {name: tuple(words.split()) for classes in THEMES.values() for name, words in classes.items()}
"""The words of each class."""
THEME_OF = {name: theme for theme, classes in THEMES.items() for name in classes}
BEFORE = {name: frozenset(words.split()) for name, words in CONDITIONS.items()}
"""The words of each condition."""


@dataclass(frozen=True)
class Claim:
    """Covers each of `words`, or with a `condition` only those directly after a word of it. `text` says so in English."""

    words: frozenset[str]
    condition: str
    """A name of `CONDITIONS`, or empty."""
    text: str

    def covers(self, words: Sequence[str]) -> list[bool]:
        """Whether each word of a text is covered."""
        if not self.condition:
            return [word in self.words for word in words]
        before = BEFORE[self.condition]
        return [word in self.words and i > 0 and words[i - 1] in before for i, word in enumerate(words)]

    @property
    def phrases(self) -> list[tuple[str, ...]]:
        """Every shortest text whose last word is covered, in a fixed order."""
        return _phrases(self)


@lru_cache(maxsize=4096)
def _phrases(claim: Claim) -> list[tuple[str, ...]]:
    words = sorted(claim.words)
    return (
        [(b, w) for w in words for b in sorted(BEFORE[claim.condition])] if claim.condition else [(w,) for w in words]
    )


def of_classes(names: Sequence[str], condition: str = "") -> Claim:
    """A claim of all words of these classes."""
    return _claim(frozenset(word for name in names for word in CLASSES[name]), " or ".join(names), condition)


def of_themes(names: Sequence[str], without: str = "") -> Claim:
    """A claim of all words of these themes, but for those of a class."""
    classes = [name for name, theme in THEME_OF.items() if theme in names and name != without]
    claim = of_classes(classes)
    exception = f", but not for {without}" if without else ""
    return Claim(claim.words, "", f"words for {' or '.join(names)}{exception}")


def of_words(words: Sequence[str], condition: str = "") -> Claim:
    """A claim of these words alone."""
    quoted = [f'"{word}"' for word in words]
    after = f" directly after {condition}" if condition else ""
    return Claim(frozenset(words), condition, f"the words {', '.join(quoted[:-1])} and {quoted[-1]}{after}")


def _claim(words: frozenset[str], named: str, condition: str) -> Claim:
    after = f" directly after {condition}" if condition else ""
    return Claim(words, condition, f"words for {named}{after}")
