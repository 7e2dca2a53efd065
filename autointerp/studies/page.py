"""The page of a study: one HTML file that opens from disk, without a script."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from autointerp.json_values import plain
from autointerp.report import page
from autointerp.studies.finding import Finding


def html(finding: Finding, study: str, settings: dict[str, Any], inputs: dict[str, Any]) -> str:
    """The page of a finding."""
    return page.environment().get_template("study.html.j2").render(
        **page.assets("study.css"),
        study=study,
        finding=finding,
        pictures=[(picture.caption, Markup(picture.svg)) for picture in finding.pictures],
        tables=[listing.shown() for listing in finding.listings],
        files=[f"{listing.name}.parquet" for listing in finding.listings],
        facts=[(name, _text(value)) for name, value in {**inputs, **settings}.items()],
    )  # fmt: skip


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
