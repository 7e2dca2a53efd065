"""Both sides of units: what makes them fire, and what they make the subject say, each tested against a null and without an LLM.

A unit is an *input* unit if its firing can be told from the words that the subject reads (`sae.analysis.input_detection`), and an
*output* unit if it raises the tokens that it names more than random directions of its norm raise theirs
(`sae.analysis.output_effects`), each at a p-value of at most `ALPHA`; it can be both or neither. After *Enhancing Automated
Interpretability with Output-Centric Feature Descriptions* (Gur-Arieh et al. 2025, arXiv 2501.08319) and *SAEs Are Good for Steering -
If You Select the Right Features* (Arad et al. 2025, arXiv 2505.20063), which score both sides with thresholds of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from sae.analysis.context_search import context_of
from sae.analysis.input_detection import InputDetection, detect, embed
from sae.analysis.output_effects import OutputEffect, output_effects
from sae.analysis.unit_probe import read_contexts
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.harvest.harvest import UnitReader
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

ALPHA = 0.05
"""Largest p-value of a side that a unit has."""
WINDOWS = 64
"""Active windows, and silent ones, from which firing is told."""
SILENT_TOKENS = 1 << 14
"""Tokens that are read to find silent windows; fewer contexts have more windows each."""
CONTEXTS, CONTEXT_TOKENS = 8, 16
"""Contexts in which a unit is clamped, and the last tokens of them that are read."""
FEWEST = 2
"""Fewest active contexts of a unit, and fewest silent windows."""

Side = Literal["input", "output", "both", "neither"]
Progress = Callable[[int, int], None]
Places = list[tuple[int, int]]
"""Marked tokens: the number of the context, and the index of the token in it."""


@dataclass(frozen=True)
class TwoSides:
    """The two sides of a unit; None where a side cannot be measured."""

    unit_id: str
    input: InputDetection | None
    output: OutputEffect | None

    @property
    def side(self) -> Side | None:
        """The unit's class; None if a side is not measured."""
        if self.input is None or self.output is None:
            return None
        is_input, is_output = self.input.p <= ALPHA, self.output.p <= ALPHA
        return "both" if is_input and is_output else "input" if is_input else "output" if is_output else "neither"


@dataclass(frozen=True)
class Counted:
    """Which tokens count, as in the harvest, and the seed of all samples."""

    skip_positions: int
    norm_limit: float
    seed: int


def two_sides(
    subject: Subject,
    dictionary: Dictionary,
    corpus: Corpus,
    largest: Mapping[UnitKey, float],
    exemplars: pd.DataFrame,
    counted: Counted,
    outputs: dict[UnitKey, OutputEffect] | None = None,
    progress: Progress = lambda done, total: None,
) -> list[TwoSides]:
    """Measure both sides of the units in `largest`, given their largest activations and the harvest's exemplars.

    `outputs` grows by the output sides that are measured, before `progress` is told; those of an earlier call that broke off are not
    measured again. Output sides are missing for a dictionary that writes to several layers and a subject without an output head. Raises
    `SubjectError` if the subject computes values that are not finite.
    """
    units, active_exemplars = list(largest), exemplars.loc[exemplars["activation"] > 0]
    row, mark = context_of(corpus, active_exemplars)
    by_unit = dict(iter(active_exemplars.assign(_row=row, _mark=mark).groupby("unit_id")))
    active = {unit: _active(by_unit[unit.unit_id], counted.seed) for unit in units if unit.unit_id in by_unit}
    inputs = _inputs(subject, dictionary, corpus, active, counted)
    outputs, before = {} if outputs is None else outputs, 0
    for kind in dict.fromkeys(unit.kind for unit in units):
        if subject.headless or (kind == "feature" and not dictionary.reconstructs):
            continue
        contexts = {
            unit: ids
            for unit, places in active.items()
            if unit.kind == kind and (ids := _contexts(corpus, places)) is not None
        }
        output_effects(
            subject,
            dictionary,
            list(contexts),
            [largest[unit] for unit in contexts],
            list(contexts.values()),
            counted.seed,
            outputs,
            lambda done, _, before=before: progress(before + done, len(units)),  # type: ignore[misc]
        )
        before += len(contexts)
    return [TwoSides(unit.unit_id, inputs.get(unit), outputs.get(unit)) for unit in units]


def _active(own: pd.DataFrame, seed: int) -> Places:
    """The places of up to `WINDOWS` of a unit's active exemplars, each from a document of its own, by ascending activation."""
    order = np.random.default_rng([seed, 14]).permutation(len(own))
    kept = own.iloc[order].drop_duplicates("document").head(WINDOWS).sort_values("activation", kind="stable")
    return list(zip(kept["_row"].tolist(), kept["_mark"].tolist(), strict=True))


def _inputs(
    subject: Subject, dictionary: Dictionary, corpus: Corpus, active: Mapping[UnitKey, Places], counted: Counted
) -> dict[UnitKey, InputDetection]:
    """Each unit's firing, told from active windows and from silent ones in contexts drawn by the seed."""
    rng = np.random.default_rng([counted.seed, 15])
    order = rng.permutation(len(corpus.contexts))
    _, first = np.unique(corpus.contexts["document"][order], return_index=True)
    drawn = order[np.sort(first)][:WINDOWS]
    tokens = np.cumsum(corpus.contexts["length"][drawn].astype(np.int64))
    drawn = drawn[: max(1, int(np.searchsorted(tokens, SILENT_TOKENS, side="right")))]
    each = -(-WINDOWS // len(drawn))
    units = list(active)
    read = read_contexts(
        UnitReader(subject, dictionary, units), corpus, drawn.tolist(),
        skip_positions=counted.skip_positions, norm_limit=counted.norm_limit,
    )  # fmt: skip
    found = {}
    for number, unit in enumerate(units):
        silent = [
            (row, mark)
            for row, context in zip(drawn.tolist(), read, strict=True)
            if len(marks := np.flatnonzero(context.counted & (context.activations[number] == 0)))
            for mark in rng.choice(marks, min(each, len(marks)), replace=False).tolist()
        ]
        if min(len(active[unit]), len(silent)) < FEWEST:
            continue
        places = [*active[unit], *silent]
        documents = corpus.contexts["document"][[row for row, _ in places]].astype(np.int64)
        embedded = embed(subject, [_until(corpus, *place) for place in places])
        labels = np.arange(len(places)) < len(active[unit])
        found[unit] = detect(embedded, labels, documents, counted.seed)
    return found


def _contexts(corpus: Corpus, active: Places) -> npt.NDArray[np.int64] | None:
    """Up to `CONTEXTS` of a unit's active windows up to their marks, spread over its activations and cut to one length; None if too
    few. BOS, if the subject uses it, comes first."""
    texts = [_until(corpus, row, mark) for row, mark in active]
    if len(texts) < FEWEST:
        return None
    lengths = sorted((len(text) for text in texts), reverse=True)
    length = min(CONTEXT_TOKENS, lengths[min(CONTEXTS, len(lengths)) - 1])
    long = [text[-length:] for text in texts if len(text) >= length]
    chosen = np.linspace(0, len(long) - 1, min(CONTEXTS, len(long))).round().astype(int)
    first = [] if corpus.bos_id is None else [corpus.bos_id]
    return np.array([[*first, *long[i].tolist()] for i in chosen], dtype=np.int64)


def _until(corpus: Corpus, row: int, mark: int) -> npt.NDArray[np.int64]:
    """The tokens of a context up to and including the one at `mark`."""
    offset = int(corpus.contexts["offset"][row])
    return np.asarray(corpus.tokens[offset : offset + mark + 1], dtype=np.int64)
