"""Units that are active at random tokens of documents of a given length, harvested by the real sketch and selection.

Nothing but chance decides where a unit is active. So length and place of a mark tell nothing of it, and a rule that reads only these
and finds a window's class has found a trace of the sampling.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from autointerp.harvest.tables import exemplars_of
from autointerp.records import Exemplar, Unit, main_exemplars
from autointerp.scorers.base import Case, Shape
from autointerp.scorers.registry import SCORERS
from autointerp.stats import giveaways
from autointerp.stats.estimates import MeanEstimate
from sae.corpus.context_writer import CONTEXT
from sae.corpus.corpus import Corpus
from sae.harvest.activation_blocks import DenseBlock
from sae.harvest.exemplars import Selection, tables
from sae.harvest.sketch import Quota, Sketch
from sae.harvest.token_positions import BatchLayout
from sae.harvest.units import UnitKey

WINDOW, BINS, PER_BIN, SILENT = 48, 10, 2, 20
CONTEXT_TOKENS = 128
INTERVALS = {"confidence": 0.95, "resamples": 500, "seed": 0}


def told_apart(world: list[Case]) -> dict[str, MeanEstimate]:
    """The balanced accuracy of length and mark alone, for the base rate and every scorer that asks no subject first."""
    tables = {
        "base rate": [
            (c.unit.unit_id, *Shape.of(e.bin > 0, e.marked_text)) for c in world for e in (*c.active, *c.silent)
        ]
    }
    for name in ("detection", "fuzzing", "embedding", "contrastive", "sort"):
        tables[name] = [(c.unit.unit_id, *shape) for c in world for shape in SCORERS[name].shapes(c, ())]
    return {
        name: giveaways.balanced_accuracy(pd.DataFrame(rows, columns=[*giveaways.COLUMNS]), **INTERVALS)
        for name, rows in tables.items()
    }


def cases(median: int, density: float, *, units: int = 40, tokens: int = 40_000, seed: int = 0) -> list[Case]:
    """The cases of `units` units of this density, over documents whose length is log-normal with this median, cut into contexts."""
    rng = np.random.default_rng([seed, median, int(1000 * density)])
    text = _corpus(median, tokens, rng)
    keys = tuple(UnitKey("feature", i, "") for i in range(units))
    sketch = Sketch([key.unit_id for key in keys], Quota(2, PER_BIN, max(64, 4 * SILENT), 8), window=WINDOW, seed=seed)
    values = rng.exponential(size=(units, text.n_tokens)) * (rng.random((units, text.n_tokens)) < density)
    contexts = {name: torch.from_numpy(text.contexts[name].astype(np.int64)) for name in CONTEXT.names or ()}
    counted = torch.ones(text.n_tokens, dtype=torch.bool)
    counted[contexts["offset"]] = False
    layout = BatchLayout(counted, contexts["length"], contexts["document"], contexts["position"], contexts["offset"])
    matrix = torch.from_numpy(values.astype(np.float32))
    sketch.update(layout, [lambda: DenseBlock(torch.arange(units), matrix, torch.zeros(units), counted)])
    selection = Selection(BINS, PER_BIN, 8, 4, 8, 5, SILENT, 2)
    words = rng.integers(0, 2000, text.n_tokens)
    named = lambda ids: [f" w{words[i]}" for i in ids]  # noqa: E731
    unit_rows, rows = tables(sketch, text, keys, {"feature": "x"}, selection, named)
    by_unit: dict[str, list[Exemplar]] = {key.unit_id: [] for key in keys}
    for exemplar in exemplars_of(rows):
        by_unit[exemplar.unit_id].append(exemplar)
    active = {unit_id: tuple(main_exemplars(exemplars)) for unit_id, exemplars in by_unit.items()}
    return [
        Case(
            Unit(row.unit_id, "feature", number, "", "x", row.max_activation, row.density, "alive"),
            "words",
            active[row.unit_id],
            tuple(e for e in by_unit[row.unit_id] if e.role == "quiet"),
            tuple(active[keys[(number + 1 + 7 * n) % units].unit_id] for n in range(8)),
            number,
        )
        for number, row in enumerate(unit_rows.itertuples())
    ]


def _corpus(median: int, tokens: int, rng: np.random.Generator) -> Corpus:
    """Documents in contexts; the ids of the tokens are their ordinals."""
    rows, offset, document = [], 0, 0
    while offset < tokens:
        length = max(3, int(rng.lognormal(np.log(median), 0.6)))
        for position in range(0, length, CONTEXT_TOKENS):
            n = min(CONTEXT_TOKENS, length - position)
            rows.append((document, position, offset, n))
            offset += n
        document += 1
    ids = np.arange(offset, dtype=np.uint32)
    return Corpus(ids, np.array(rows, dtype=CONTEXT), document, offset, "x", None, frozenset())
