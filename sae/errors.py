"""Errors about subjects, dictionaries and corpora. A message is one line: what is wrong, which value, and what to do."""

from __future__ import annotations


class SaeError(ValueError):
    """Base of the errors raised by this package for inputs that cannot be used."""


class SubjectError(SaeError):
    """The language model cannot be loaded, or lacks a requested hook point or part."""


class DictionaryError(SaeError):
    """The dictionary's files are missing, malformed, unsafe or do not fit the subject."""


class CorpusError(SaeError):
    """The corpus cannot be read, or holds too little text."""


NOTHING_COUNTED = "the corpus has no countable token: give it longer documents, or lower harvest.skip_positions"


def one_line(error: BaseException, most: int = 200) -> str:
    """An error's message on one line of at most `most` characters; the error's type if it has no message."""
    return " ".join(str(error).split())[:most] or type(error).__name__
