"""The index page: one row per run, newest first, with differences on a shared axis, and above them the results of nightly runs.

Comparisons in `comparisons/` are listed below the runs. A night leaves `nights/DATE.json` and, in the folder of each run that it scored, `trend.json`. Without nights the page lists only runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from autointerp import formatting
from autointerp.errors import UsageError
from autointerp.findings.summary import read_summary
from autointerp.report import comparison_links, page, prose
from autointerp.report.differences import leading_difference
from autointerp.report.figures import bin_grades
from autointerp.stats.two_way import POWER
from sae.files import write_text


def write(results: Path) -> None:
    """Write `index.html` into `results` from the files of its runs and nights. Folders and files that cannot be read are listed."""
    rows: list[dict[str, Any]] = []
    unreadable: list[str] = []
    for folder in sorted(path.parent for path in results.glob("*/summary.json")):
        try:
            rows.append(_row(folder) | _trend_cells(_object(folder / "trend.json")))
        except (UsageError, KeyError, TypeError, AttributeError, ValueError):
            unreadable.append(folder.name)
    rows.sort(key=lambda row: str(row["finished_at"]), reverse=True)
    reach = max((abs(edge) for row in rows for edge in row["interval"] if edge is not None), default=1.0) * 1.05 or 1.0
    for row in rows:
        row["chart"] = Markup(bin_grades.difference_figure(row["interval"], reach))
    nights, unreadable_nights = _nights(results / "nights")
    comparisons, unreadable_comparisons = comparison_links.read(results)
    html = page.environment().get_template("index.html.j2").render(
        **page.assets("index.css"), rows=rows, comparisons=comparisons,
        unreadable=unreadable + unreadable_nights + unreadable_comparisons, reach=formatting.number(reach), nights=nights,
        nightly=any(row["night"] for row in rows), regressions=_latest_regressions(rows),
    )  # fmt: skip
    write_text(results / "index.html", html)


def night_line(night: Mapping[str, Any]) -> str:
    """A night in one line: dictionaries scored and not scored, the judge's drift, and the money spent."""
    parts = [f"{len(night['scored'])} scored"]
    for key, one, many in (("copies", "duplicate", "duplicates"), ("corrupt",) * 3, ("failed",) * 3):
        if night[key]:
            names = ", ".join(Path(entry["path"]).name for entry in night[key])
            parts.append(f"{formatting.plural(len(night[key]), one, many)} ({names})")
    if night["deferred"]:
        parts.append(f"{len(night['deferred'])} postponed to the next night")
    if night["scored"]:
        parts.append(f"judge drift {drift(night['judge_drift'])}")
    budget = f" of {formatting.dollars(night['budget_usd'])}" if night["budget_usd"] is not None else ""
    return f"Night {night['night']}: " + "; ".join(parts) + f"; {formatting.dollars(night['cost_usd'])}{budget} spent."


def trend_in_words(trend: Mapping[str, Any]) -> str:
    """Whether a version is better or worse than the one before, or what difference could have been told if neither."""
    told, before = trend.get("told", trend["verdict"]), trend["previous_run_id"]
    if told in ("better", "worse"):
        return f"{told} than {before}"
    if told != "cannot be told":  # trends of early versions
        return f"{told} against {before}"
    smallest = trend["smallest"]
    found = (
        ""
        if smallest is None
        else f"; {formatting.number(smallest)} would have been found with a probability of {POWER:.0%}"
    )
    return f"cannot be told from {before}{found}"


def drift(change: Mapping[str, Any]) -> str:
    """The drift of the judge's grades since the first night, in words."""
    if not change["is_llm"]:
        return f"none: {prose.baseline_name(change['judge'])}, not an LLM"
    if change["difference"] is None:
        return str(change["reason"])
    return f"{_estimate(change)} since {change['since']}" + (
        ": the judge has drifted" if change["excludes_zero"] else ""
    )


def _estimate(change: Mapping[str, Any]) -> str:
    return formatting.estimate(change["difference"], change["ci_low"], change["ci_high"])


def _row(folder: Path) -> dict[str, Any]:
    summary = read_summary(folder)
    headline, leading = summary.headline, leading_difference(summary)
    verdict = prose.verdict(summary)
    withheld = verdict.tone == "withheld"
    interval = (None, None, None) if withheld else (leading.value, leading.ci_low, leading.ci_high)
    shown_verdict = {
        "higher": "features higher",
        "lower": "features lower",
        "none": "no difference shown" if headline.n_neurons else "features alone",
        "withheld": verdict.claim.replace("The headline is withheld:", "withheld:"),
    }[verdict.tone]
    return {
        "name": summary.name,
        "folder": folder.name,
        "link": f"{quote(folder.name)}/report.html" if (folder / "report.html").is_file() else None,
        "finished_at": summary.finished_at,
        "verdict": shown_verdict,
        "reliability": prose.judge_reliability(summary),
        "tone": verdict.tone,
        "interval": interval,
        "difference": "" if withheld or not headline.n_neurons else verdict.number,
        "units": f"{formatting.count(headline.n_features_scored)} features, {formatting.count(headline.n_neurons_scored)} neurons",
        "judge": summary.judge,
        "judge_is_llm": summary.judge_is_llm,
        "subject": summary.subject.name,
        "dictionary": summary.dictionary.name,
        "hook_point": summary.hook_point,
        "cost": prose.cost(summary),
    }


def _trend_cells(trend: Mapping[str, Any]) -> dict[str, Any]:
    """The table cells of a run that a night scored; empty strings for other runs."""
    if not trend:
        return {
            "night": "",
            "trend": "",
            "trend_verdict": "",
            "trend_tone": "",
            "drift": "",
            "lineage": "",
            "corrected": "",
        }
    verdict = str(trend["verdict"])
    corrected = trend.get("corrected")
    shown_verdict = {"first": "first version", "unknown": str(trend["reason"])}.get(verdict, "")
    return {
        "night": str(trend["night"]),
        "lineage": str(trend["lineage"]),
        "trend": _estimate(trend) if "mean_now" in trend else "",
        "trend_verdict": ": ".join(filter(None, (shown_verdict, trend_in_words(trend) if "mean_now" in trend else ""))),
        "trend_tone": verdict,
        "drift": drift(trend["judge_drift"]),
        "corrected": (
            f"{_estimate(corrected)} after subtracting the judge's drift of {_estimate(corrected['drift'])}"
            if corrected
            else ""
        ),
    }


def _latest_regressions(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of dictionaries whose latest version is a regression."""
    newest: dict[str, dict[str, Any]] = {}
    for row in sorted((row for row in rows if row["night"]), key=lambda row: (row["night"], row["finished_at"])):
        newest[row["lineage"]] = row
    return [row for row in newest.values() if row["trend_tone"] == "regression"]


def _nights(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Every night's line and notes, newest first, and the names of files that cannot be read."""
    nights, unreadable = [], []
    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            night = _object(path)
            failed = [f"{entry['path']}: {entry['reason']}" for entry in night["corrupt"] + night["failed"]]
            deferred = [f"{entry['path']} is left for the next night: {entry['reason']}" for entry in night["deferred"]]
            nights.append({"line": night_line(night), "notes": [*map(str, night["notes"]), *failed, *deferred]})
        except (KeyError, TypeError, AttributeError, ValueError):
            unreadable.append(f"nights/{path.name}")
    return nights, unreadable


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or an empty one if the file does not exist. Raises ValueError for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{path} is not a JSON object")
    return value
