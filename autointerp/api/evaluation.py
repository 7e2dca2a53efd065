"""`ai.evaluate`: one evaluation in this process, as `autointerp run` carries it out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autointerp.api import request
from autointerp.api.inputs import Given
from autointerp.api.result import Result
from autointerp.ledger.database import Ledger
from autointerp.pipeline import local
from autointerp.pipeline.prepare import prepare
from autointerp.places import open_folder
from autointerp.progress import Progress
from autointerp.report.index import write as write_index
from autointerp.settings import Settings

COMMAND = ("autointerp.evaluate",)
"""What the report names as the command of a run that was called from Python."""


def evaluate(
    model: Any,
    dictionary: Any,
    texts: Any,
    *,
    hook_point: str | None = None,
    tokenizer: Any = None,
    judge: Any = "embedded",
    explainer: Any = None,
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
    `tokenizer`. `dictionary`: a folder or file, a place on the hub, or an object with `encode` and `decode`. `texts`: a path, a glob or
    `datasets:owner/name`, several paths, strings, a data set, or token ids. `hook_point`: where the dictionary reads, such as
    `resid_post.8`; by default as its files or its configuration state. `judge`, `explainer`: names such as `anthropic/claude-haiku-4-5`,
    tables of the spec, functions from a prompt to a text, or models of inspect_ai; the explainer is the judge by default. `features`,
    `neurons`: how many to sample, or the features' numbers and the neurons' names (`"17+"`); as many neurons as features by
    default. `budget_usd`: dollars at most. `results`: the folder for the run; None keeps it for as long as the result. `spec`:
    further keys of the spec, such as `{"score.per_bin": 3}`. `quiet`: show no progress.

    A run that was interrupted continues with the same call. Raises `AutointerpError` or `SaeError`, one line each.
    """
    given = Given(model, dictionary, tokenizer)
    with results_folder(results) as (folder, temporary), given.evaluating():
        spec_ = request.spec_of(
            {
                "subject": given.subject_table(),
                "dictionary": given.dictionary_table(hook_point),
                "corpus": request.corpus_table(texts, folder, spec),
                "units": request.units_table(features, neurons),
                "judge": request.judge_table(judge, "judge"),
                "explainer": request.judge_table(explainer, "explainer"),
                "budget": {"usd": budget_usd},
            },
            name,
            spec,
        )
        open_ = given.opener(spec_)
        with Progress(quiet=quiet) as progress, ledger_of(folder, temporary) as ledger:
            run = prepare(open_.spec(spec_), folder, progress, ledger, open_)
            local.execute_run(run, ledger, progress, command=COMMAND, open_=open_)
            write_index(folder)
    return Result(run.folder, temporary=temporary)


@contextmanager
def results_folder(results: str | Path | None) -> Iterator[tuple[Path, Path | None]]:
    """The folder of results, made if it is missing; for None a temporary one, twice. That is removed if the block fails.

    Raises `UsageError` and `PlaceFailed`.
    """
    if results is not None:
        yield open_folder(Path(results)), None
        return
    temporary = Path(tempfile.mkdtemp(prefix="autointerp-"))
    try:
        yield temporary, temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def ledger_of(folder: Path, temporary: Path | None) -> Iterator[Ledger]:
    """The ledger of a folder of results: where AUTOINTERP_LEDGER says, or in the folder; that of a temporary one always there."""
    ledger = Ledger.in_folder(folder, None if temporary else Settings.from_env().given_ledger)
    try:
        yield ledger
    finally:
        ledger.close()
