"""docs/summary.md and docs/summary.schema.json, from the models of the summary."""

from __future__ import annotations

import json
from typing import Any

from autointerp.findings.summary import Summary
from pages.markdown import MARK, one_line, row

INTRO = """\
# summary.json

Every finished run has a `summary.json`: its result, the evidence behind it, its provenance and its cost. This page is the contract
for programs that read it; [summary.schema.json](summary.schema.json) is the same contract as a JSON schema. In Python,
`autointerp.findings.summary.read_summary(FOLDER)` returns it as a `Summary`. [Concepts](concepts.md) explains units, bins, arms and
planted units.

- `schema_version` rises when a field is removed or changes its meaning. New fields may be added at any time: ignore unknown ones.
- A number that cannot be computed is `null`, never NaN. An optional part that was not measured is `null` or absent.
- Every `null` has its reason beside it: in `why` (`p_superior_why` for P(feature > neuron), `said` for checks), or in `absent`, an
  object of reasons by field that any part can have and that the tables below leave out.
- Intervals are over units, at the confidence level of the spec (`report.confidence`).
- Grades are those of the run's rubric, for example 0 to 3. A judgement that failed has no grade and is called unscored.
"""


def schema() -> str:
    """docs/summary.schema.json: the JSON schema of `summary.json` (draft 2020-12), for programs that read it."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Summary.model_json_schema(mode="serialization")
    return json.dumps(head, indent=1) + "\n"


def page() -> str:
    """docs/summary.md: every field of `summary.json`, part by part."""
    whole = json.loads(schema())
    parts = {"Summary": whole} | whole["$defs"]
    pages = [MARK + INTRO]
    for name, part in parts.items():
        lines = ["| field | type | meaning |", "|---|---|---|"]
        for field, values in part["properties"].items():
            if field == "absent":
                continue
            meaning = values.get("description") or parts[values["$ref"].rpartition("/")[2]]["description"]
            cells = (f"`{field}`", _json_type(values), one_line(meaning))
            lines.append(row(cells))
        pages.append(f"## {name}\n\n{one_line(part['description'])}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(pages)


def _json_type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_json_type(option) for option in schema["anyOf"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_json_type(schema['items'])}"
    if schema["type"] == "object":
        return f"object of {_json_type(schema['additionalProperties'])}"
    kind: str = schema["type"]
    return "true or false" if kind == "boolean" else kind
