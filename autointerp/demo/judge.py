"""The judge of the demo: the embedded baseline, a model that the user names, or a small local one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import ValidationError

from autointerp.errors import UsageError
from autointerp.judges import local_server
from autointerp.progress import OnProgress
from autointerp.spec.judge_sections import Judge
from autointerp.spec.toml_files import wrong_key

SMALL = (
    "name=demo-llm",
    "units.features=8",
    "units.neurons=8",
    "harvest.window_tokens=32",
    "explain.top=5",
    "explain.spread=3",
    "explain.quiet=3",
    "score.per_bin=1",
    "score.also=[]",
    "controls.shuffled=3",
    "controls.base_rate=3",
    "controls.planted=3",
    "controls.repeated=5",
)
"""Overrides for a demo with a local model, which takes some seconds for each answer."""


@dataclass(frozen=True)
class DemoJudge:
    """A judge's settings, and overrides of the demo's spec that go with them."""

    settings: Judge
    overrides: tuple[str, ...] = ()


@contextmanager
def choose(model: str | None, url: str | None, llm: bool, on_progress: OnProgress) -> Iterator[DemoJudge]:
    """The judge of the demo. A local model is served while the context is open. Raises `UsageError`."""
    overrides = SMALL if llm else ()
    if url and model and not model.startswith("openai-compatible/"):
        raise UsageError(f"--judge-url goes with --judge openai-compatible/MODEL, not with {model}")
    if url or model:
        name = model or f"openai-compatible/{local_server.served_model(str(url))}"
        yield DemoJudge(_checked(model=name, base_url=url), overrides)
    elif llm:
        with local_server.serve(local_server.weights(on_progress)) as here:
            yield DemoJudge(_checked(**local_server.judge_settings(here)), overrides)
    else:
        yield DemoJudge(Judge())


def _checked(**fields: object) -> Judge:
    try:
        return Judge.model_validate(fields)
    except ValidationError as error:
        raise UsageError(wrong_key(error, Judge, "judge")) from None
