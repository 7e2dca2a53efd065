"""inspect_ai: a finished run as an `.eval` log, one sample for each judgement, for `inspect view` and its data frames.

Written through inspect_ai's own classes and writer (0.3.285). A judgement without a grade is a sample without a score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.scorer import Score

from autointerp.exports import tracking
from autointerp.exports.request import Request
from autointerp.exports.run_tables import Row, RunTables
from autointerp.messages import MarkedText
from autointerp.prompts.untrusted_text import render_window
from autointerp.records import AID_SEPARATOR

_SHOWN = ("unit_id", "kind", "arm", "bin", "judge", "repeat", "outcome", "explanation_unit_id")


def export(run: RunTables, request: Request) -> str:
    """Write `RUN.eval`. Returns its path."""
    summary = run.summary
    samples = list(_samples(run))
    graded = [sample for sample in samples if sample.scores]
    metrics = {name: EvalMetric(name=name, value=value) for name, value in tracking.measures(summary).items()}
    rubric = summary.rubric.name
    score = EvalScore(
        name=rubric,
        scorer=rubric,
        scored_samples=len(graded),
        unscored_samples=len(samples) - len(graded),
        metrics=metrics,
    )
    log = EvalLog(
        status="success",
        eval=EvalSpec(
            eval_id=summary.run_id,
            run_id=summary.run_id,
            created=summary.created_at,
            task=f"autointerp/{rubric}",
            task_id=summary.spec_hash[:22],
            task_description="How well explanations of a dictionary's features and of neurons fit the texts in which they are active.",
            dataset=EvalDataset(name=summary.dictionary.name, samples=len(samples)),
            model=summary.judge if "/" in summary.judge else f"none/{summary.judge}",
            config=EvalConfig(),
            packages={name: version for name, version in summary.versions.items() if version},
            metadata=tracking.configuration(run),
        ),
        results=EvalResults(total_samples=len(samples), completed_samples=len(samples), scores=[score]),
        stats=EvalStats(started_at=summary.created_at, completed_at=summary.finished_at),
        samples=samples,
    )
    path = request.out / f"{summary.run_id}.eval"
    write_eval_log(log, str(path), format="eval")
    return str(path)


def _samples(run: RunTables) -> Iterator[EvalSample]:
    exemplars = {row["exemplar_id"]: row for row in run.exemplars}
    explanations = _explanations(run)
    seen: dict[str, int] = {}
    for row in run.judgements:
        exemplar = exemplars[row["exemplar_id"]]
        name = "/".join((row["arm"], row["exemplar_id"], row["explanation_unit_id"], row["judge"] or ""))
        seen[name] = seen.get(name, 0) + 1
        window = render_window(MarkedText(tuple(exemplar["tokens"]), exemplar["mark"]))
        explanation = explanations.get(row["explanation_unit_id"], "")
        graded = row["score"] is not None
        score = (
            Score(value=row["score"], answer=str(row["score"]), explanation=row["reason"] or None) if graded else None
        )
        yield EvalSample(
            id=name,
            epoch=seen[name],
            input=f"Explanation: {explanation}\n\nText: {window}",
            target="",
            scores={run.summary.rubric.name: score} if score else None,
            metadata={
                **{key: row[key] for key in _SHOWN},
                "activation": exemplar.get("activation"),
                "activation_fraction": exemplar["activation_fraction"],
            },
        )


def _explanations(run: RunTables) -> Mapping[str, str]:
    """Every explanation by its key: `UNIT`, or `UNIT#AID`."""
    found = {row["unit_id"]: row["explanation"] or "" for row in run.units}
    made: list[Row] = run.rows("explanations") or []
    return found | {
        f"{r['unit_id']}{AID_SEPARATOR}{r['aid']}" if r["aid"] else r["unit_id"]: r["explanation"] for r in made
    }
