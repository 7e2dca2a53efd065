"""The card of a run's dataset on the Hugging Face Hub: its README.md, with the metadata that the hub reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from autointerp.exports import tracking
from autointerp.exports.run_tables import TABLES, RunTables
from autointerp.report import tables
from autointerp.report.escape import markdown as escaped

_ABOUT = {
    "units": "features, neurons and control units: explanation, mean grade, density",
    "explanations": "explanations, also those made with an aid",
    "judgements": "every question to the judge: exemplar, arm, grade, reason",
    "exemplars": "windows of text around active tokens, with their activations",
    "scorers": "other evaluations of the same units",
}
_BODY = """\
# {name}

{verdict}

This is the result of one run of autointerp, which measures how interpretable the features of a trained dictionary are, against the model's
own neurons, at every activation strength.

{facts}

## Cautions

{cautions}

## Files

{files}
- `summary.json`: every figure, with its interval or the reason why it is missing
- `report.html`, `report.md`: the report
- `spec.toml`: the settings of the run

```python
from datasets import load_dataset

units = load_dataset("{repo}", "units", split="train").to_pandas()
```

The exemplars are excerpts of the corpus ({corpus}) and are under its terms.
"""


def card(run: RunTables, repo: str) -> str:
    """The card of the dataset `repo`."""
    summary = run.summary
    present = [name for name in TABLES if (run.folder / f"{name}.parquet").is_file()]
    facts = [*tables.facts(summary), *tables.provenance(summary)]
    body = _BODY.format(
        name=escaped(summary.name),
        verdict=escaped(tracking.verdict(summary)),
        facts=fact_table(facts),
        cautions="\n".join(f"- {escaped(caution)}" for caution in summary.cautions) or "None.",
        files="\n".join(f"- `{name}.parquet`: {_ABOUT[name]}" for name in present),
        repo=repo,
        corpus=escaped(", ".join(summary.corpus.sources)),
    )
    return with_metadata(_metadata(run, present), body)


def fact_table(facts: Iterable[tuple[str, str]]) -> str:
    """Names and values as a table in Markdown, without markup of their own."""
    return "| | |\n|---|---|\n" + "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in facts)


def with_metadata(metadata: Mapping[str, Any], body: str) -> str:
    """A card: the metadata that the hub reads, then its text."""
    return f"---\n{yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True)}---\n\n{body}"


def _metadata(run: RunTables, present: list[str]) -> dict[str, Any]:
    """The metadata of the dataset: https://huggingface.co/docs/hub/datasets-cards."""
    return {
        "pretty_name": f"autointerp: {run.summary.name}",
        "tags": ["autointerp", "interpretability", "sparse-autoencoder"],
        "configs": [
            {"config_name": name, "data_files": f"{name}.parquet", **({"default": True} if name == "units" else {})}
            for name in present
        ],
    }


def _cell(text: str) -> str:
    return escaped(" ".join(text.split()))
