"""The package of the word vectors, which sets up the log of every program that imports it."""

from __future__ import annotations

import subprocess
import sys

LOOK = """
import logging
before = logging.getLogger().level, logging.getLogger().handlers[:]
from autointerp.judges.embedded.word_vectors import lexicon
lexicon()
assert "wordllama" in __import__("sys").modules
assert (logging.getLogger().level, logging.getLogger().handlers) == before
"""


def test_word_vectors_leave_the_log_as_it_was() -> None:
    """In a process of its own, because a package is imported once."""
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
