"""The demo's spec: a real language model, real text, and a dictionary that was trained on both.

Model and text come from published packages and are built once under `cache_dir()/demo`. The demo has two sizes: `QUICK` evaluates the
dictionary that is shipped with the program, `FULL` trains a larger one in the middle of the model first.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomli_w

from autointerp.demo.assets import CONTEXT_TOKENS, FULL, MODEL_FILE, QUICK, SHIPPED, DemoAssets, Size, prepare
from autointerp.progress import OnProgress
from autointerp.spec.judge_sections import Judge
from autointerp.spec.spec import Spec, load
from autointerp.wheels import Workplace
from sae.cache import cache_dir

UNITS = 64
"""Features, and neurons, that are evaluated."""
ALSO = ("detection", "embedding", "sort")
"""Other evaluations: the cheapest for the embedded judge."""
STUDIED_TOKENS = 12_288
"""Tokens for the studies of the whole dictionary: ten seconds on two cores."""
QUIET = 15
"""Silent windows shown to the explainer. The embedded one learns from them which words are common."""


def write_spec(
    path: Path,
    assets: DemoAssets,
    dictionary: Path,
    judge: Judge,
    explainer: Judge | None = None,
    size: Size = QUICK,
) -> Path:
    """Write the demo's spec as TOML. All other keys have their defaults."""
    data: dict[str, Any] = {
        "name": size.name,
        "subject": {"model": str(assets.model)},
        "dictionary": {"path": str(dictionary), "hook_point": size.hook_point},
        "corpus": {
            "sources": [str(file) for file in assets.corpus_files],
            "context_tokens": CONTEXT_TOKENS,
            "max_tokens": size.tokens,
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
    assets: DemoAssets,
    dictionary: Path,
    judge: Judge,
    explainer: Judge | None = None,
    overrides: Iterable[str] = (),
    size: Size = QUICK,
) -> Spec:
    """The demo's spec. `overrides` are `key=value` as on the command line. Raises `UsageError`."""
    with Workplace(cache_dir() / "demo") as work:
        return load(write_spec(work / "spec.toml", assets, dictionary, judge, explainer, size), overrides)


def is_first() -> bool:
    """Whether the demo's model has not been downloaded to this machine yet."""
    return not (cache_dir() / "demo" / MODEL_FILE).is_file()


def prepare_spec(judge: Judge, overrides: Iterable[str], on_progress: OnProgress, *, full: bool = False) -> Spec:
    """Prepare the demo's model and text, and if it is the full one its dictionary, and return its spec."""
    assets = prepare(on_progress)
    if not full:
        return spec(assets, SHIPPED, judge, overrides=overrides)
    from autointerp.demo.dictionary import train_dictionary  # torch

    return spec(assets, train_dictionary(assets, on_progress), judge, overrides=overrides, size=FULL)
