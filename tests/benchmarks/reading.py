"""Tokens a second of preparing text, with and without the search for duplicates, interleaved in one run.

    without   text read, tokenised, cut into contexts and written
    with      the same, duplicates left out, near-duplicates found, documents keyed by their text
    ratio     time with / time without, the median over rounds

Run with `python tests/benchmarks/reading.py [--case NAME ...] [--tokens N] [--rounds N]`. `demo` is the demo's text and tokenizer; `copies`
the same documents eight times, of which seven are left out, so that the tokens are those of the text that is kept; `short` the same text
in documents of about 60 characters, of which there are many. `peak MiB` is the most memory that numpy and Python held after the text
was read, while near-duplicates were found.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from sae.corpus import corpus as corpora
from sae.corpus.context_writer import CONTEXT, TOKEN
from sae.corpus.distinct_documents import Contents, distinct_documents
from sae.corpus.duplicates import Duplicates
from sae.corpus.encoding import encode
from sae.corpus.sources import Files, Piece, read_source
from sae.subject.model import outline_subject

STRIDE = 127
HEADER = ("case", "documents", "tokens", "without, tokens/s", "with, tokens/s", "ratio", "peak MiB")


class AllKept(Duplicates):
    """Leaves no document out."""

    def without(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        return iter(pieces)


def as_read(_: Any, contexts: np.ndarray, __: int) -> tuple[np.ndarray, np.ndarray, Contents]:
    """The contexts as they were read."""
    return contexts, np.unique(contexts["document"]), Contents()


def demo() -> tuple[Any, list[str]]:
    """The demo's tokenizer and documents."""
    from autointerp.demo import assets as demo_assets
    from autointerp.progress import quiet

    assets = demo_assets.prepare(quiet)
    texts = [json.loads(line)["text"] for path in assets.corpus_files for line in path.open(encoding="utf-8")]
    return outline_subject(str(assets.model)).tokenizer, texts


def tiny() -> tuple[Any, list[str]]:
    """A tokenizer and documents that show nothing but that the benchmark runs."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [f"w{n}" for n in range(500)]
    backend = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    rng = random.Random(0)
    return PreTrainedTokenizerFast(tokenizer_object=backend), [" ".join(rng.choices(words, k=80)) for _ in range(200)]


def eightfold(texts: list[str]) -> list[str]:
    """Each text eight times, in random order."""
    return random.Random(0).sample(texts * 8, 8 * len(texts))


def short(texts: list[str]) -> list[str]:
    """The texts in documents of about 60 characters."""
    return [text[start : start + 60] for text in texts for start in range(0, len(text), 60)]


CASES: dict[str, tuple[Callable[[], tuple[Any, list[str]]], Callable[[list[str]], list[str]]]] = {
    "demo": (demo, list),
    "copies": (demo, eightfold),
    "short": (demo, short),
    "tiny": (tiny, eightfold),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--case", nargs="+", choices=CASES, default=[name for name in CASES if name != "tiny"])
    parser.add_argument("--tokens", type=int, default=1_000_000, help="tokens to read at most")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|", flush=True)
    for name in arguments.case:
        print("| " + " | ".join((name, *measure(name, arguments.tokens, arguments.rounds))) + " |", flush=True)


def measure(name: str, tokens: int, rounds: int) -> tuple[str, ...]:
    """A row of the table, from the second column on."""
    source, arrange = CASES[name]
    tokenizer, texts = source()
    texts = arrange(texts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        # Without the search the same distinct text is read, so that both read equally many tokens.
        once = Path(folder) / "once.jsonl"
        once.write_text("".join(json.dumps({"text": text}) + "\n" for text in dict.fromkeys(texts)), encoding="utf-8")
        spent: dict[bool, list[float]] = {False: [], True: []}
        for number in range(rounds + 1):
            for distinct in (False, True):
                entry = Path(folder) / f"{number}-{distinct}"
                started = time.perf_counter()
                read(path if distinct else once, entry, tokenizer, tokens, distinct=distinct)
                if number:  # the first round warms up
                    spent[distinct].append(time.perf_counter() - started)
        n_tokens = json.loads((entry / "meta.json").read_text())["n_tokens"]
        peak = peak_mib(entry)
    ratio = statistics.median(b / a for a, b in zip(spent[False], spent[True], strict=True))
    rates = (n_tokens / statistics.median(spent[distinct]) for distinct in (False, True))
    return f"{len(texts):,}", f"{n_tokens:,}", *(f"{rate:,.0f}" for rate in rates), f"{ratio:.3f}", f"{peak:.0f}"


def read(path: Path, entry: Path, tokenizer: Any, tokens: int, *, distinct: bool) -> None:
    """Write the cache entry of a corpus."""
    duplicates = Duplicates() if distinct else AllKept()
    pieces = duplicates.without(read_source(Files((path,)), text_field="text", split="train"))
    sources = corpora._SourcesInTurn([pieces])
    with mock.patch.object(corpora, "distinct_documents", distinct_documents if distinct else as_read):
        corpora._write(entry, sources, duplicates, partial(encode, tokenizer), STRIDE, tokens, None)


def peak_mib(entry: Path) -> float:
    """Peak memory of the search for near-duplicates over a cache entry, in MiB."""
    contexts = np.fromfile(entry / "contexts.bin", dtype=CONTEXT)
    tokens = np.memmap(entry / "tokens.bin", dtype=TOKEN, mode="r")
    tracemalloc.start()
    distinct_documents(tokens, contexts, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


if __name__ == "__main__":
    main()
