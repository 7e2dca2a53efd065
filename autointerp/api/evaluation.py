"""`ai.evaluate`: one evaluation in this process, as `autointerp run` carries it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autointerp.api import explanations as explanations_
from autointerp.api import request
from autointerp.api.inputs import Given
from autointerp.api.judges import GivenJudges
from autointerp.api.result import Result
from autointerp.api.session import Place, Session


def evaluate(
    model: Any,
    dictionary: Any,
    texts: Any,
    *,
    hook_point: str | None = None,
    tokenizer: Any = None,
    judge: Any = "embedded",
    explainer: Any = None,
    explanations: Any = None,
    features: int | Sequence[int] = 100,
    neurons: int | Sequence[str] | None = None,
    budget_usd: float | None = None,
    name: str = "run",
    results: str | Path | None = "results",
    spec: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Result:
    """Evaluate a dictionary: harvest, explain, grade, and write the report. The same run as `autointerp run` of the same spec.

    `model`: a hub id, a folder, a `.gguf` file, or a model of transformers, nnsight, nnterp or TransformerLens in memory, with its
    `tokenizer`. `dictionary`: a folder or file, a place on the hub, SAELens' `release/id`, or an object with `encode` and `decode`. `texts`: a
    path, a glob or `datasets:owner/name`, several paths, strings, a data set, or token ids. `hook_point`: where the dictionary reads, such as
    `resid_post.8`; by default as its files or its configuration state. `judge`, `explainer`: names such as `anthropic/claude-haiku-4-5`,
    tables of the spec, functions from a prompt to a text, or models of inspect_ai; the explainer is the judge by default.
    `explanations`: texts by unit, or a file of them (CSV, JSON, Neuronpedia's), to be judged instead of asking an explainer. `features`,
    `neurons`: how many to sample, or the features' numbers and the neurons' names (`"17+"`); as many neurons as features by
    default. `budget_usd`: dollars at most. `results`: the folder for the run; None keeps it for as long as the result. `spec`:
    further keys of the spec, such as `{"score.per_bin": 3}`. `quiet`: show no progress.

    A run that was interrupted continues with the same call. Raises `AutointerpError` or `SaeError`, one line each.
    """
    given, judges = Given(model, dictionary, tokenizer), GivenJudges(judge, explainer)
    place = Place.of(results)
    tables = {
        "units": request.units_table(features, neurons),
        "explain": {"from": explanations_.source_of(explanations, place.folder)},
        **judges.tables(),
        "budget": {"usd": budget_usd},
    }
    asked = Session.of(
        given, tables, texts=texts, hook_point=hook_point, place=place, name=name, more=spec, quiet=quiet
    )
    return asked.carried_out(judges)
