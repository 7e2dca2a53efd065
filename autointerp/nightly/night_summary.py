"""Closes a night: computes trends and the judge's drift, writes the summary and the index, and calls the webhook."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection

from autointerp.calls.cost_limits import run_limits
from autointerp.errors import UsageError
from autointerp.findings.summary import read_summary
from autointerp.ledger import budgets, nights, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.nights import COPY, CORRUPT, FAILED, QUEUED, SCORED, WAITING, DictionaryVersion
from autointerp.locks import locked
from autointerp.nightly import judge_drift, versions, webhook
from autointerp.nightly.config import Nightly
from autointerp.nightly.judge_drift import Drift
from autointerp.report import index
from autointerp.spec import spec as spec_
from autointerp.spec.providers import is_llm
from autointerp.stats import trend
from sae.files import write_text

LOCK = Path("nights") / ".lock"
SCHEMA_VERSION = 1
_SECTIONS = ("units", "harvest", "explain", "score", "judge", "explainer")


def finish_night(ledger: Ledger, config: Nightly, date: str, results: Path) -> dict[str, Any] | None:
    """Close a night and return its summary; None if a run is still live, the night is closed, or another process has the lock."""
    try:
        with locked(results / LOCK, "the nights of this results folder"):
            return close_night(ledger, config, date, results)
    except UsageError:
        return None


def close_night(ledger: Ledger, config: Nightly, date: str, results: Path) -> dict[str, Any] | None:
    """`finish_night` for a caller that holds the lock."""
    with ledger.write() as tx:
        night = nights.get(tx, date)
        if night is None or night["state"] == nights.DONE or not _settle_runs(tx, date):
            return None
        handled, known = nights.of_night(tx, date), list(nights.all_versions(tx).values())
    scored = [version for version in handled if version.state == SCORED]
    drift = _drift(ledger, config, date, results, scored)
    trends = [_trend(ledger, results, version, known, drift, date) for version in scored]
    for trend_ in trends:
        _write(results / trend_["run_id"] / "trend.json", trend_)
    regressions = [_regression(trend_) for trend_ in trends if trend_["verdict"] == "regression"]
    problem = ""
    if regressions and config.night.webhook:
        problem = webhook.post(config.night.webhook, webhook.payload(date, regressions))
    with ledger.write() as tx:
        nights.add_notes(tx, date, [problem] if problem else [])
        night = nights.get(tx, date)
        spent = budgets.committed(tx, f"night {date}")
    assert night is not None
    summary = _summary(dict(night), handled, drift, date, spent)
    summary |= {"regressions": regressions, "trends": [_told(trend_) for trend_ in trends if "told" in trend_]}
    _write(results / "nights" / f"{date}.json", summary)
    index.write(results)
    with ledger.write() as tx:
        nights.end(tx, date)
    return summary


def describe(summary: Mapping[str, Any]) -> list[str]:
    """A night's summary as lines for a terminal, regressions first."""
    lines = [f"REGRESSION: {r['lineage']}: {webhook.difference(r)}" for r in summary["regressions"]]
    lines.append(index.night_line(summary))
    lines += [
        f"{told['lineage']}: {index.trend_in_words(told)}: {webhook.difference(told)}" for told in summary["trends"]
    ]
    lines += [f"corrupt: {entry['path']}: {entry['reason']}" for entry in summary["corrupt"]]
    lines += [f"failed: {entry['path']}: {entry['reason']}" for entry in summary["failed"]]
    lines += [f"postponed to the next night: {entry['path']}: {entry['reason']}" for entry in summary["deferred"]]
    return lines + list(summary["notes"])


def _settle_runs(tx: Connection, date: str) -> bool:
    """Record the outcomes of the night's runs. Returns False if one is still live."""
    ended = True
    for version in nights.of_night(tx, date):
        if version.state != QUEUED:
            continue
        row = runs.get(tx, version.run_id) if version.run_id else None
        state, reason = (row["state"], row["reason"]) if row else ("stopped", "its run was not started")
        if state in runs.LIVE:
            ended = False
        elif state in ("done", "withheld"):
            nights.update(tx, version.dictionary_key, state=SCORED, reason="")
        else:
            new = WAITING if state == "stopped" else FAILED
            nights.update(tx, version.dictionary_key, state=new, reason=reason or state)
    return ended


def _drift(ledger: Ledger, config: Nightly, date: str, results: Path, scored: Sequence[DictionaryVersion]) -> Drift:
    """The judge's drift, measured only if something was scored."""
    template = config.template()
    run_ids = [version.run_id for version in scored]
    if not run_ids:
        judge = template.judge.model
        return Drift(judge, is_llm(judge), {}, missing="nothing was scored")
    return judge_drift.measure(ledger, template, date, results, run_ids, config.night.anchors, run_limits(template))


def _trend(
    ledger: Ledger,
    results: Path,
    version: DictionaryVersion,
    known: Sequence[DictionaryVersion],
    drift: Drift,
    date: str,
) -> dict[str, Any]:
    """The contents of `trend.json`: a run compared with the previous version, or why there is no comparison."""
    before = versions.previous(version, known)
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION, "run_id": version.run_id, "night": date, "lineage": version.lineage,
        "change": version.change, "previous_run_id": before.run_id if before else None,
        "previous_night": before.night if before else None, "verdict": "unknown", "reason": "",
        "judge_drift": _drift_values(drift, drift.first_night, date),
    }  # fmt: skip
    if before is None:
        return result | {"verdict": "first", "reason": "the first version"}
    if difference := _incomparable(ledger, results, before.run_id, version.run_id):
        return result | {"reason": difference}
    old, new = (pd.read_parquet(results / v.run_id / "units.parquet") for v in (before, version))
    pairing = trend.compare(old, new)
    result |= pairing.change.plain() | {
        "verdict": pairing.change.verdict, "told": pairing.change.told, "smallest": pairing.change.smallest,
        "confidence": trend.CONFIDENCE,
        "mean_before": pairing.mean_before, "mean_now": pairing.mean_now,
        "n_only_before": pairing.n_only_before, "n_only_now": pairing.n_only_now,
    }  # fmt: skip
    if pairing.change.verdict == "unknown":
        result["reason"] = f"only {pairing.change.n} features have a grade in both versions"
    if (corrected := _corrected(results, pairing.change, before, version, drift, date)) is not None:
        result["corrected"] = corrected
    return result


def _corrected(
    results: Path, change: trend.Change, before: DictionaryVersion, version: DictionaryVersion, drift: Drift, date: str
) -> dict[str, Any] | None:
    """The trend minus the judge's drift since the previous version was scored; None if that drift may be 0 or is unknown."""
    plain = drift.between(before.night, date)
    if plain is None or not plain.excludes_zero:
        return None
    old, new = (pd.read_parquet(results / v.run_id / "judgements.parquet") for v in (before, version))
    concerned = drift.between(before.night, date, trend.grade_shares(old))
    assert concerned is not None
    share = trend.new_answer_share(old, new)
    corrected = trend.corrected(change, concerned.times(share))
    return corrected.plain() | {
        "verdict": corrected.verdict, "told": corrected.told, "smallest": corrected.smallest,
        "drift": concerned.times(share).plain(), "asked_anew": share
    }  # fmt: skip


def _drift_values(drift: Drift, since: str, date: str) -> dict[str, Any]:
    """The judge's drift as JSON values; `difference` is None if it is unknown."""
    change = drift.between(since, date)
    first = since == date or not drift.grades
    return {
        "judge": drift.judge,
        "is_llm": drift.is_llm,
        "since": since or None,
        "n_anchors": len(drift.grades.get(date, {})),
        "difference": change.difference if change and not (first and drift.is_llm) else None,
        "ci_low": change.ci_low if change and not first else None,
        "ci_high": change.ci_high if change and not first else None,
        "excludes_zero": change is not None and change.excludes_zero,
        "reason": drift.missing or ("the first night" if drift.is_llm and first else ""),
    }


def _incomparable(ledger: Ledger, results: Path, before: str, now: str) -> str:
    """Why the grades of two runs cannot be compared: what differs besides the dictionary. Empty if they can."""
    specs, summaries = [], []
    for run_id in (before, now):
        with ledger.read() as tx:
            row = runs.get(tx, run_id)
        try:
            summaries.append(read_summary(results / run_id))
        except UsageError as error:
            return str(error)
        specs.append(spec_.from_toml(row["spec"]).identity() if row else {})
    differing = [name for name in _SECTIONS if _without_rubric(specs[0], name) != _without_rubric(specs[1], name)]
    earlier, later = summaries
    for name, a, b in (
        ("subject", earlier.subject.fingerprint, later.subject.fingerprint),
        ("corpus", earlier.corpus.fingerprint, later.corpus.fingerprint),
        ("rubric", earlier.rubric.hash, later.rubric.hash),
        ("hook point", earlier.hook_point, later.hook_point),
    ):
        if a != b:
            differing.append(name)
    return f"not comparable with {before}: {' and '.join(differing)} changed" if differing else ""


def _without_rubric(identity: Mapping[str, Any], section: str) -> Any:
    """A section without the rubric's path, because the rubric's content is compared instead."""
    value = identity.get(section)
    return {k: v for k, v in value.items() if k != "rubric"} if isinstance(value, dict) else value


def _regression(result: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `trend.json` that goes into the night's summary and to the webhook."""
    keys = ("lineage", "run_id", "previous_run_id", "difference", "ci_low", "ci_high", "n", "mean_before", "mean_now")
    corrected = result.get("corrected") or {}
    corrected_keys = {f"corrected_{k}": corrected[k] for k in ("difference", "ci_low", "ci_high") if k in corrected}
    return {key: result[key] for key in keys} | corrected_keys


def _told(result: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a comparable `trend.json` that goes into the night's summary."""
    keys = ("lineage", "run_id", "previous_run_id", "told", "difference", "ci_low", "ci_high", "smallest", "verdict")
    return {key: result[key] for key in keys}


def _summary(
    night: Mapping[str, Any], handled: Sequence[DictionaryVersion], drift: Drift, date: str, spent: float
) -> dict[str, Any]:
    def named(state: str) -> list[dict[str, Any]]:
        mine = [version for version in handled if version.state == state]
        return [{"path": v.path, "lineage": v.lineage, "reason": v.reason, "run_id": v.run_id} for v in mine]

    return {
        "schema_version": SCHEMA_VERSION,
        "night": date,
        "scored": named(SCORED),
        "copies": [entry for entry in named(COPY) if entry["path"] != entry["reason"]],
        "corrupt": named(CORRUPT),
        "failed": named(FAILED),
        "deferred": named(WAITING),
        "judge_drift": _drift_values(drift, drift.first_night, date),
        "cost_usd": spent,
        "budget_usd": night["usd"],
        "notes": str(night["note"]).splitlines(),
    }


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
