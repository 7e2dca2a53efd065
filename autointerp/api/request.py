"""One evaluation as it was asked for: its spec, and the inputs and judges that are objects in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autointerp.api.texts import source_of
from autointerp.spec.sections import Corpus
from autointerp.spec.spec import Spec, parse
from autointerp.spec.toml_files import set_key


def spec_of(tables: Mapping[str, Mapping[str, Any]], name: str, more: Mapping[str, Any] | None) -> Spec:
    """The spec of these tables, in which values of None are left out. `more`: further tables, or dotted keys with their values.

    Raises `UsageError` with the first wrong key.
    """
    data: dict[str, Any] = {"name": name}
    for table, values in tables.items():
        if present := {key: value for key, value in values.items() if value is not None}:
            data[table] = present
    for key, value in (more or {}).items():
        entries = value.items() if isinstance(value, Mapping) else [("", value)]
        for inner, entry in entries:
            set_key(data, [*key.split("."), *([inner] if inner else [])], entry, f"spec[{key!r}]")
    return parse(data)


def corpus_table(texts: Any, folder: Path, more: Mapping[str, Any] | None) -> dict[str, Any]:
    """The spec's table of the corpus. Texts in memory are written below `folder`. `more`: as for `spec_of`. Raises `UsageError`."""
    table = (more or {}).get("corpus")
    keys = {f"corpus.{key}": value for key, value in (table or {}).items()} | dict(more or {})
    most = keys.get("corpus.max_tokens", Corpus.model_fields["max_tokens"].default)
    column = keys.get("corpus.text_field", Corpus.model_fields["text_field"].default)
    source = source_of(texts, folder / "artifacts" / "texts", max_tokens=most, column=column)
    return {"sources": source.entries, "text_field": source.column}


def units_table(features: int | Sequence[int], neurons: int | Sequence[str] | None) -> dict[str, Any]:
    """The spec's table of units: numbers to sample, or the units themselves. Neurons are as many as features by default."""
    table: dict[str, Any] = {}
    if isinstance(features, int):
        table["features"] = features
    else:
        table["feature_ids"] = [int(index) for index in features]
    if neurons is None:
        neurons = features if isinstance(features, int) else len(table["feature_ids"])
    table["neurons" if isinstance(neurons, int) else "neuron_ids"] = (
        neurons if isinstance(neurons, int) else list(neurons)
    )
    return table
