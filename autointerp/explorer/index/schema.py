"""The files of an index: `index.json`, and the columns of its Parquet files.

    index.json         what the index is of; written last, so that a folder with it is complete
    units.parquet      one row for each feature, then one for each signed neuron
    examples.parquet   one row for each example of a unit, with the activation at each token shown
    labels.parquet     explanations and grades (optional, replaced whole)
    map.parquet        places of units on the map (optional), and clusters.json

A unit is named by its `row` in `units.parquet`, to which all other files refer. Needs neither torch nor pandas.
"""

from __future__ import annotations

import os

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from autointerp.hashing import content_hash

SCHEMA_VERSION = 1
UNIT_ROWS = 4096
"""Rows in a row group of `units.parquet`, `labels.parquet` and `map.parquet`."""
EXAMPLE_UNITS = 64
"""Units in a row group of `examples.parquet`."""
HISTOGRAM_PARTS = 40
MOST_ON_MAP = 1 << 17
"""An index of more features has no map: its layout would take minutes, and a page cannot show as many points."""
METHOD = b"method"
"""Key in the metadata of a Parquet file for the version of the method that it is made by, which is raised when the same inputs give
another file. It is 1 if it is missing."""
TOKENS, NEIGHBOURS, NEURONS = 10, 10, 5
"""Most entries of the columns `promoted`, `suppressed` and `marked`, `nearest` and `together`, and `neurons`."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class SubjectAbout(_Frozen):
    """The language model whose activations were read."""

    name: str
    """Its name or hub id."""
    precision: str
    """Precision of the forward pass."""
    n_layers: int
    """Number of its layers."""
    fingerprint: str = ""
    """Hash of its weights; empty in indexes of early versions."""
    model: str = ""
    """Its hub id, or where it was loaded from; empty in an index of an earlier version."""


class DictionaryAbout(_Frozen):
    """The dictionary."""

    path: str
    """Where it was loaded from."""
    hook_point: str
    """Hook point that it reads."""
    d_sae: int
    """Number of its features."""
    architecture: str
    """Its activation function: relu, jumprelu, topk, groupmax or called."""
    fingerprint: str = ""
    """Hash of its weights; empty in an index of an earlier version."""

    @property
    def key(self) -> str:
        """The same for all indexes of this dictionary: the hash of its weights, or else its path, and its hook point."""
        identity = self.fingerprint or os.path.normpath(self.path)
        return content_hash([identity, self.hook_point])


class About(_Frozen):
    """`index.json`, written last: a folder that has it is complete."""

    schema_version: int = SCHEMA_VERSION
    """Raised when a field or column is removed or changes its meaning."""
    identity: str
    """Hash of everything that decides the contents of `units.parquet` and `examples.parquet`."""
    name: str
    """The run's id, or the name of the dictionary."""
    run: str | None = None
    """Id of the run that the index was made of."""
    subject: SubjectAbout
    """The language model."""
    dictionary: DictionaryAbout
    """The dictionary."""
    corpus: str
    """The corpus in a few words."""
    n_tokens: int
    """Counted tokens: the denominator of densities."""
    n_documents: int
    """Documents of the corpus."""
    n_features: int
    """Features: the first rows of `units.parquet`."""
    n_neurons: int
    """Signed neurons, which follow them: each sign is a unit."""
    histogram_parts: int = HISTOGRAM_PARTS
    """Parts of each histogram."""
    bins: int
    """Activation bins, equal parts of (0, maximum]."""
    top: int
    """Most examples in bin 0, the strongest of all."""
    per_bin: int
    """Most examples in each of the other bins."""
    groups: list[tuple[int, int, int]]
    """Units whose examples are in each row group of `examples.parquet`: the first row in `units.parquet`, the number of rows, and the
    number of the row group. Ascending; a group without any examples is left out."""


class Cluster(_Frozen):
    """One entry of `clusters.json`: a group of features on the map."""

    cluster: int
    """Its number, as in `map.parquet`."""
    name: str
    """The words nearest in meaning to what its features have in common; empty if they have too little in common."""
    size: int
    """Number of its features."""
    x: float
    """Mean place of its features."""
    y: float
    """Mean place of its features."""


def columns(*described: tuple[str, pa.DataType, str]) -> pa.Schema:
    """A schema whose fields say what they mean, in the file too."""
    return pa.schema([pa.field(name, kind, metadata={"meaning": meaning}) for name, kind, meaning in described])


_TOKENS = pa.list_(pa.struct([("token", pa.string()), ("effect", pa.float32())]))

UNITS = columns(
    ("row", pa.int32(), "Number of the row, from 0. The rows are in this order."),
    ("unit_id", pa.string(), "`feature-641`, or a neuron and the sign that counts as active: `neuron-12+`."),
    ("kind", pa.string(), "`feature` or `neuron`."),
    ("number", pa.int32(), "Number of the feature in the dictionary, or of the neuron in the layer."),
    ("density", pa.float32(), "Share of the counted tokens at which the unit is active."),
    ("events", pa.int64(), "Counted tokens at which the unit is active."),
    ("maximum", pa.float32(), "Largest activation; a feature's is multiplied by the norm of its decoder vector."),
    ("mean", pa.float32(), "Mean activation over the tokens at which the unit is active; 0 if there is none."),
    ("histogram", pa.list_(pa.int64()), f"Events in each of {HISTOGRAM_PARTS} equal parts of (0, maximum]."),
    ("promoted", _TOKENS, f"The {TOKENS} tokens whose logits the unit's direction raises most, and by how much."),
    ("suppressed", _TOKENS, f"The {TOKENS} tokens whose logits it lowers most."),
    (
        "nearest",
        pa.list_(pa.struct([("row", pa.int32()), ("cosine", pa.float32())])),
        f"The {NEIGHBOURS} features with the nearest decoder vectors. Empty for neurons.",
    ),
    (
        "together",
        pa.list_(pa.struct([("row", pa.int32()), ("share", pa.float32())])),
        f"The {NEIGHBOURS} features that are active at a larger share of this feature's tokens than of others, the largest excess first, and that share. Empty for neurons.",
    ),
    (
        "neurons",
        pa.list_(pa.struct([("unit_id", pa.string()), ("correlation", pa.float32())])),
        f"The {NEURONS} neurons, with their sign, whose values correlate most with the feature's activations. Empty for neurons.",
    ),
    (
        "marked",
        pa.list_(pa.string()),
        f"The {TOKENS} most frequent of the different tokens at which the unit is strongest: those marked in its examples of bin 0.",
    ),
)
"""Sorted by `row`: features first, then neurons."""

EXAMPLES = columns(
    ("row", pa.int32(), "The unit's row in `units.parquet`."),
    (
        "bin",
        pa.int8(),
        "0 for the strongest of all; else the bin of its activation, 1 to `bins`, of which it is a fair sample.",
    ),
    ("rank", pa.int16(), "Order within the bin, from 0: by strength in bin 0, by chance in the others."),
    ("activation", pa.float32(), "Activation at the marked token."),
    ("document", pa.int64(), "Number of the document in the corpus."),
    ("position", pa.int32(), "Position of the marked token within the document, in tokens."),
    ("mark", pa.int16(), "Index of the marked token in `tokens`."),
    ("tokens", pa.list_(pa.string()), "The tokens shown. A character of several tokens is the text of its last one."),
    (
        "activations",
        pa.list_(pa.float32()),
        "The unit's activation at each of these tokens; 0 at tokens that are not counted.",
    ),
)
"""Sorted by `row`, then `bin` in the order 0, `bins`, ..., 1, then `rank`. No two examples of a unit show the same text."""

LIVE, PROPAGATED = "live", "propagated"
"""Sources of labels beside runs: asked for in the explorer, or for many units of an index; and taken from another unit's label."""
LABELS = columns(
    ("row", pa.int32(), "The unit's row in `units.parquet`."),
    ("explanation", pa.string(), "The explanation."),
    ("source", pa.string(), "Where it is from: `run:<id>`, `live` or `propagated`."),
    ("judge", pa.string(), "The judge that graded it; empty if none did."),
    ("grade", pa.float32(), "Mean grade; null if it has none."),
    ("distinction", pa.float32(), "How well the explanation tells the unit from its neighbours; null if unknown."),
    ("probability", pa.float32(), "Probability that a propagated explanation is right; null for others."),
    ("from_row", pa.int32(), "Row of the unit that a propagated explanation was made for; null for others."),
    ("explainer", pa.string(), "The model that wrote the explanation; null if unknown."),
    ("graded", pa.int32(), "Held-out examples that a live grade is the mean of; null for others."),
    (
        "silent_grade",
        pa.float32(),
        "Mean grade of a live explanation at tokens of other units, a control; null without one.",
    ),
    (
        "shuffled_grade",
        pa.float32(),
        "Mean grade of another unit's explanation on a unit's own examples, a control; null without one.",
    ),
)
"""Sorted by `row`. A unit may have several labels, or none."""

MAP = columns(
    ("row", pa.int32(), "The unit's row in `units.parquet`."),
    ("x", pa.float32(), "Place on the map."),
    ("y", pa.float32(), "Place on the map."),
    ("cluster", pa.int32(), "Number of its cluster in `clusters.json`; null if it is in none."),
).with_metadata({METHOD: "2"})
"""Sorted by `row`."""
