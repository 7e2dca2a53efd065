"""docs/index-files.md, from the columns and models of the index."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pydantic import BaseModel

from autointerp.explorer.comparison.schema import MATCHES, Matching
from autointerp.explorer.index import folder, schema
from autointerp.explorer.index.settings import GIB, IndexSettings
from autointerp.explorer.label_all import outcome
from autointerp.explorer.propagation import curve
from pages.markdown import MARK, one_line, table
from sae.explorer.together import FEWEST

INTRO = """\
# The index of a dictionary

`autointerp index` reads the corpus once and writes what there is to see of every feature of a dictionary, and with `--neurons` of both signs
of every neuron of the layer: how often and how strongly it is active, its strongest examples and a fair sample of each activation bin, the
tokens that it promotes, and the features and neurons like it.

```sh
autointerp index latest
autointerp index spec.toml --neurons --memory 4GB
autointerp index --subject MODEL --dictionary PATH --corpus FILE --tokens 1000000
```

The index of a run is in `index/` of its folder, others are in `indexes/` of the results folder. An index is made once for its inputs. Before
it reads, the command says what it will take; after Ctrl-C, or if it was killed, the same command continues and loses at most half a minute
of reading.

What is counted, and which tokens are, is as in a harvest: BOS, the first position of a context, special tokens and tokens of massive norm are
never evidence. Neither the size of batches nor the number of passes changes the result.

- **Strongest.** At most one example from each context.
- **Fair samples.** Each bin is an equal part of (0, maximum], as in a report. Its examples are events of the lowest hash, of as many documents as
  there are, whatever their strength within the bin.
- **No text twice.** Two examples of a unit whose texts around the mark share 40% of their runs of four tokens are not both shown.
- **Together and neurons.** Counted at about 131,000 tokens drawn by a hash, and for neurons at as many of these as fit into 64 MB. A feature that is
  active at fewer than {fewest} of them has no list.
- **Promoted and suppressed.** The direct effect of the unit's direction on the logits, past all later layers.

## Memory and time

A pass reads as many units as fit into `--memory`, about {unit_kb} KB a unit with windows of 48 tokens, so 2 GB are {in_2gb} units; a wider
dictionary takes several passes over the corpus, each a forward pass over all tokens: give a wide one more memory. Beside that are the subject and the encoders of the units that are read; TopK has to compute all
features, so its whole encoder is in memory. The sampled tokens take 16 bytes for each feature that is active there: 2 MB for each one that is
active at a token on average. The nearest features of all F features take F x F products of decoder vectors, in blocks.

## Files

Everything refers to a unit by its `row` in `units.parquet`. Parquet files are compressed with zstd, and their columns carry these
descriptions as metadata (`meaning`).
"""
FILES = {
    folder.UNITS: (schema.UNITS, f"One row for each unit, features first. A row group has {schema.UNIT_ROWS:,} rows."),
    folder.EXAMPLES: (
        schema.EXAMPLES,
        f"Examples, in the order of `row`, then bin 0 and the highest bin down to 1, then `rank`. A row group has the examples of"
        f" {schema.EXAMPLE_UNITS} units: `groups` of `index.json` says which.",
    ),
    folder.LABELS: (schema.LABELS, "Explanations and grades, if any are known. Replaced whole."),
    folder.MAP: (
        schema.MAP,
        "Places of features on the map, for dictionaries of up to 131,072 features. The file's metadata has the version of the `method`:"
        " `autointerp index` makes an older map again.",
    ),
}

COMPARED = (
    "The features of this index matched with those of another, once the explorer has compared them; ID is the beginning of the other's identity."
    " One row for each feature, in their order. Missing if features cannot be matched. The other index's folder has the same from its side."
)


def page() -> str:
    """docs/index-files.md: every file of an index, column by column."""
    settings = IndexSettings(memory=2 * GIB)
    window = 48
    facts: dict[str, object] = {
        "fewest": FEWEST,
        "unit_kb": round(settings.unit_bytes(window) / 1000),
        "in_2gb": f"{settings.units_per_pass(window, schema.UNIT_ROWS):,}",
    }
    parts = [MARK + INTRO.format(**facts), "### index.json\n\n" + _fields(schema.About)]
    for name, (columns, about) in FILES.items():
        parts.append(f"### {name}\n\n{about}\n\n{_columns(columns)}")
    about = f"What `autointerp explain` chose and propagated, if it was used.\n\n{_fields(outcome.Outcome)}"
    of_point = f"Of `point` and each entry of `curve`, and of `sample` those of `checked`:\n\n{_fields(curve.Point)}"
    parts.append(f"### {outcome.FILE}\n\n{about}\n{of_point}")
    parts.append(f"### {folder.CLUSTERS}\n\nA list of clusters of the map.\n\n{_fields(schema.Cluster)}")
    parts.append(f"### matches-ID.parquet\n\n{COMPARED}\n\n{_columns(MATCHES)}")
    parts.append(
        f"### matches-ID.json\n\nWritten after the matches, which count once it is there.\n\n{_fields(Matching)}"
    )
    return "\n".join(parts)


def _columns(columns: pa.Schema) -> str:
    rows = ((f"`{field.name}`", _type(field.type), field.metadata[b"meaning"].decode()) for field in columns)
    return table(("column", "type", "meaning"), rows)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "(" + ", ".join(f"`{field.name}` {field.type}" for field in kind) + ")"
    return str(kind)


def _fields(model: type[BaseModel]) -> str:
    return table(("field", "meaning"), _field_rows(model, ""))


def _field_rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _field_rows(kind, f"{name}.")
        else:
            yield f"`{prefix}{name}`", one_line(field.description or "")
