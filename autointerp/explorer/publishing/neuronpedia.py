"""The features of a whole index in the files that Neuronpedia imports: `MODEL/SOURCE` with batches of features, activations and explanations.

The layout is that of its exports (hijohnnylin/neuronpedia, `utils/neuronpedia-utils/neuronpedia_utils/export-data.py`), which its own
import reads (`apps/webapp/lib/db/import.ts`). That fails at an empty batch, so that none is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from autointerp.explorer.index.folder import ABOUT
from autointerp.explorer.index.schema import HISTOGRAM_PARTS
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import rounded
from autointerp.explorer.publishing.tables import compressing
from autointerp.explorer.search.columns import PROPAGATED
from autointerp.explorer.search.reader import Reader
from autointerp.exports.neuronpedia_rows import COPIED, NEAREST, PER_BATCH, Origin, Rows, line
from autointerp.exports.request import Source, named_source
from autointerp.exports.run_tables import Row

_STRONGEST = -1
"""`binMin` and `binContains` of the strongest activations, which belong to no interval."""


def source_of(reader: Reader, name: str | None) -> Source:
    """The names under which Neuronpedia will know an index. Raises `UsageError` for a name that is not MODEL/SOURCE."""
    about = reader.about
    return named_source(name, about.subject.name, about.dictionary.hook_point, about.dictionary.path)


def write(folder: PublishedFolder, at: str, reader: Reader, source: Source) -> None:
    """Write the files below `neuronpedia/MODEL/SOURCE`. Neurons and features that are never active are left out."""
    at = f"{at}neuronpedia/{source.model}/{source.name}/"
    made = Rows(_origin(reader), source)
    for name, row in made.of_source().items():
        folder.put(f"{at}{name}.jsonl", line(row).encode())
    n = reader.about.n_features
    for number, first in enumerate(range(0, n, PER_BATCH)):
        rows = [row for row in range(first, min(n, first + PER_BATCH)) if reader.columns.numbers["events"][row] > 0]
        features = (made.feature(_page(reader, row)) for row in rows)
        activations = chain.from_iterable(made.activations([_texts(reader, row)]) for row in rows)
        explanations = chain.from_iterable(_explanations(reader, made, row) for row in rows)
        for kind, lines in (("features", features), ("activations", activations), ("explanations", explanations)):
            _put(folder, f"{at}{kind}/batch-{number}.jsonl.gz", lines)


def _put(folder: PublishedFolder, name: str, rows: Iterable[Row]) -> None:
    """Write a batch, unless it is empty."""
    rest = iter(rows)
    if (first := next(rest, None)) is None:
        return
    with folder.writer(name) as file, compressing(file) as text:
        text.writelines(map(line, chain([first], rest)))


def _origin(reader: Reader) -> Origin:
    about = reader.about
    made = datetime.fromtimestamp(int((reader.folder.path / ABOUT).stat().st_mtime), UTC)
    return Origin(
        id=about.run or about.name, subject=about.subject.name, dictionary=about.dictionary.path,
        hook_point=about.dictionary.hook_point, corpus=about.corpus, n_prompts=about.n_documents, context_tokens=None,
        made_at=made.isoformat(),
    )  # fmt: skip


def _page(reader: Reader, row: int) -> Row:
    """What a row of `features` is made of. Fields that an index does not know are empty."""
    unit = rounded(reader.folder.unit(row))
    nearest = [each for each in unit["nearest"] or [] if each["row"] < reader.about.n_features]
    width = unit["maximum"] / HISTOGRAM_PARTS
    return {
        "feature_index": unit["number"],
        "activations": [{"values": [unit["maximum"]]}],
        **{name: [] for name in COPIED},
        "pos_str": [each["token"] for each in unit["promoted"] or []],
        "pos_values": [each["effect"] for each in unit["promoted"] or []],
        "neg_str": [each["token"] for each in unit["suppressed"] or []],
        "neg_values": [each["effect"] for each in unit["suppressed"] or []],
        "frac_nonzero": unit["density"],
        "freq_hist_data_bar_heights": unit["histogram"],
        "freq_hist_data_bar_values": [rounded((part + 0.5) * width) for part in range(HISTOGRAM_PARTS)],
        NEAREST[0]: [int(reader.columns.numbers["number"][each["row"]]) for each in nearest],
        NEAREST[1]: [each["cosine"] for each in nearest],
    }


def _texts(reader: Reader, row: int) -> Row:
    """What the rows of `activations` of a feature are made of: the strongest examples, and those of each bin from the highest down."""
    unit, bins = reader.folder.unit(row), reader.about.bins
    counts, per_bin = unit["histogram"], HISTOGRAM_PARTS / bins
    given = []
    for example in rounded(reader.folder.examples(row)):
        bin_ = example["bin"]
        events = sum(counts[round((bin_ - 1) * per_bin) : round(bin_ * per_bin)])
        given.append(
            {
                "tokens": example["tokens"],
                "values": [value or 0.0 for value in example["activations"]],
                "qualifying_token_index": example["mark"],
                "bin_min": rounded((bin_ - 1) * unit["maximum"] / bins) if bin_ else _STRONGEST,
                "bin_max": rounded((bin_ or bins) * unit["maximum"] / bins),
                "bin_contains": rounded(events / unit["events"]) if bin_ else _STRONGEST,
            }
        )
    return {"feature_index": unit["number"], "activations": given}


def _explanations(reader: Reader, made: Rows, row: int) -> Iterator[Row]:
    number = int(reader.columns.numbers["number"][row])
    for place, label in enumerate(reader.columns.labels_of(row)):
        yield made.explanation(number, str(label["explanation"]), _notes(label), place)


def _notes(label: dict[str, Any]) -> str:
    """Who explained, and how good the explanation is known to be."""
    if label["source"] == PROPAGATED:
        return f"propagated from similar features; {rounded(label['probability'])} probable"
    graded = "not graded" if label["grade"] is None else f"grade {rounded(label['grade'])} of {label['judge']}"
    return f"explained by {label['source']}; {graded}"
