"""All runs on one page: a row a run, newest first, differences on a shared axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from autointerp.errors import UsageError
from autointerp.report import charts, page, words
from autointerp.report.inputs import read_summary, write_atomically


def write(results: Path) -> None:
    """Write `index.html` into `results`, from the `summary.json` of every run in it. Unreadable runs are listed as such."""
    rows: list[dict[str, Any]] = []
    unreadable: list[str] = []
    for folder in sorted(path.parent for path in results.glob("*/summary.json")):
        try:
            rows.append(_row(folder))
        except (UsageError, KeyError, TypeError, AttributeError, ValueError):
            unreadable.append(folder.name)
    rows.sort(key=lambda row: str(row["finished_at"]), reverse=True)
    reach = max((abs(edge) for row in rows for edge in row["interval"] if edge is not None), default=1.0) * 1.05 or 1.0
    for row in rows:
        row["chart"] = Markup(charts.difference_figure(row["interval"], reach))
    html = page.environment().get_template("index.html.j2").render(
        **page.assets("index.css"), rows=rows, unreadable=unreadable, reach=words.number(reach)
    )  # fmt: skip
    write_atomically(results / "index.html", html)


def _row(folder: Path) -> dict[str, Any]:
    summary = read_summary(folder)
    headline = summary["headline"]
    verdict = words.verdict(summary)
    withheld = verdict.tone == "withheld"
    interval = (None, None, None) if withheld else (headline["difference"], headline["ci_low"], headline["ci_high"])
    said = {
        "higher": "features higher",
        "lower": "features lower",
        "none": "no difference shown",
        "withheld": verdict.claim.replace("The headline is withheld:", "withheld:"),
    }[verdict.tone]
    return {
        "name": str(summary["name"]),
        "folder": folder.name,
        "link": f"{quote(folder.name)}/report.html" if (folder / "report.html").is_file() else None,
        "finished_at": str(summary["finished_at"]),
        "verdict": said,
        "tone": verdict.tone,
        "interval": interval,
        "difference": "" if withheld else verdict.number,
        "units": f"{words.count(headline.get('n_features_scored'))} / {words.count(headline.get('n_neurons_scored'))}",
        "judge": str(summary["judge"]),
        "judge_is_llm": bool(summary["judge_is_llm"]),
        "subject": str(summary["subject"]["name"]),
        "dictionary": str(summary["dictionary"]["name"]),
        "hook_point": str(summary["hook_point"]),
        "cost": words.cost(summary),
    }
