"""Ways to find features by their attribution to an answer, by their neighbours, and by the words or the meaning of their explanations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from autointerp.errors import UsageError
from autointerp.formatting import plural
from autointerp.judges.embedded.word_vectors import Lexicon, Vector, lexicon
from autointerp.studies.search.way import Best, Found
from autointerp.studies.unit_names import find_unit
from autointerp.studies.workbench import Studied, Workbench
from sae.studies.attribution.gradients import LogitDifference, total_gradients
from sae.studies.attribution.prompt import prompt_ids, token_id
from sae.studies.attribution.splicing import check_attributable
from sae.studies.nearest_directions import Directions, cosines_with

_WORD = re.compile(r"\w+")
_COMMON_FROM = 10
"""Explanations from which their common part is taken out."""


@dataclass(frozen=True)
class ByAttribution:
    """Features that raise a difference of logits after a prompt, summed over its positions, by gradient times activation.

    Memory is that of the subject's pass with gradients. `autointerp attribute` says more about one prompt: positions, ablation, a graph.
    """

    name: ClassVar[str] = "--prompt"
    columns: ClassVar[dict[str, str]] = {"score": "attribution in logits"}
    prompt: str
    target: str
    against: str | None = None

    @property
    def title(self) -> str:
        return f"Features that lead from “{self.prompt}” to “{self.target}”"

    def find(self, bench: Workbench, studied: Studied) -> Found:
        """As `Way.find`; the score is the attribution."""
        check_attributable(studied.dictionary)
        against = None if self.against is None else token_id(bench.subject, self.against)
        difference = LogitDifference(token_id(bench.subject, self.target), against)
        dictionary = studied.dictionary.to(bench.subject.device)
        totals = total_gradients(bench.subject, [dictionary], prompt_ids(bench.subject, self.prompt), difference)
        attribution, _ = totals.active[0].dot(totals.gradients[0])
        total = np.zeros(dictionary.d_sae)
        counted = (totals.active[0].position > 0).cpu().numpy()  # the first position has no features of its own
        np.add.at(total, totals.active[0].feature.cpu().numpy()[counted], attribution.detach().cpu().numpy()[counted])
        best = Best()
        best.add(0, total)
        sentence = f"{plural(best.n, 'feature')} of {studied.name} raise the difference of logits, which is {totals.value:.2f}."
        return Found(best.frame, sentence, figures={"difference": totals.value})


@dataclass(frozen=True)
class ByNeighbour:
    """Features whose decoder rows are most similar to that of a feature."""

    name: ClassVar[str] = "--like"
    columns: ClassVar[dict[str, str]] = {"score": "cosine"}
    like: str

    @property
    def title(self) -> str:
        return f"Neighbours of {self.like}"

    def find(self, bench: Workbench, studied: Studied) -> Found:
        """As `Way.find`; the score is the cosine. The feature itself is left out."""
        owner, unit = find_unit(self.like, bench.studied, bench.subject)
        if unit.kind != "feature":
            raise UsageError(f"--like {self.like}: only features have decoder rows to compare: name a feature")
        if owner.dictionary.d_out != studied.dictionary.d_out:
            raise UsageError(
                f"{owner.name} and {studied.name} write values of different widths: name dictionaries of one width"
            )
        cosines = cosines_with(
            Directions.of([studied.dictionary], bench.subject.device), owner.dictionary.W_dec[unit.index]
        ).numpy()
        if owner is studied:
            cosines[unit.index] = 0.0
        best = Best()
        best.add(0, cosines)
        nearest = float(best.frame["score"].max()) if best.n else 0.0
        return Found(
            best.frame, f"The nearest feature of {studied.name} has a cosine of {nearest:.2f} with {self.like}."
        )


@dataclass(frozen=True)
class ByWords:
    """Features whose explanations contain all words, or words that begin with them."""

    name: ClassVar[str] = "--words"
    columns: ClassVar[dict[str, str]] = {}
    words: str

    @property
    def title(self) -> str:
        return f"Features explained with “{self.words}”"

    def find(self, bench: Workbench, studied: Studied) -> Found:
        """As `Way.find`; the score is the number of words asked for that stand in the explanation whole, plus the share that they are of it."""
        asked = words_of(self.words)
        if not asked:
            raise UsageError(f"--words {self.words!r} has no word: give one")
        rows = []
        for feature, explanation in explained(studied).items():
            words = words_of(explanation)
            if all(any(word.startswith(each) for word in words) for each in asked):
                whole = sum(each in words for each in asked)
                rows.append({"feature": feature, "score": whole + len(asked) / len(words)})
        frame = _sorted(rows)
        of = plural(len(explained(studied)), "explanation")
        return Found(frame, f"{plural(len(frame), 'feature')} of {studied.name} have these words, of {of}.")


@dataclass(frozen=True)
class ByMeaning:
    """Features whose explanations mean something similar, by static word vectors."""

    name: ClassVar[str] = "--meaning"
    columns: ClassVar[dict[str, str]] = {"score": "similarity"}
    meaning: str

    @property
    def title(self) -> str:
        return f"Features explained by something like “{self.meaning}”"

    def find(self, bench: Workbench, studied: Studied) -> Found:
        """As `Way.find`; the score is the cosine of the vectors, without what all explanations share."""
        explanations, words = explained(studied), lexicon()
        own = text_vector(self.meaning, words)
        if not own.any():
            raise UsageError(f"--meaning {self.meaning!r} has no word: give one")
        vectors = np.array([text_vector(text, words) for text in explanations.values()])
        common = vectors.mean(axis=0) if len(vectors) >= _COMMON_FROM else np.zeros_like(own)
        vectors, own = _unit(vectors - common), _unit((own - common * float(own @ common))[None])[0]
        rows = [{"feature": f, "score": float(v @ own)} for f, v in zip(explanations, vectors, strict=True)]
        frame = _sorted(rows)
        return Found(frame, f"{plural(len(frame), 'explanation')} of {studied.name} compared.")


def explained(studied: Studied) -> dict[int, str]:
    """The explanations of a dictionary's features by number. Raises `UsageError` if there are none."""
    texts = {
        int(unit_id.removeprefix("feature-")): text
        for unit_id, text in studied.explanations.items()
        if unit_id.startswith("feature-")
    }
    if not texts:
        raise UsageError(f"{studied.name} has no explanations: name a finished run with --from RUN")
    return texts


def words_of(text: str) -> list[str]:
    """The words of a text in small letters."""
    return _WORD.findall(text.casefold())


def text_vector(text: str, words: Lexicon) -> Vector:
    """The unit vector of a text: the sum of its words' vectors, each weighted by how rare the word is; zeros without a word."""
    own = words_of(text)
    if not own:
        return words.text("")
    weighted = np.array([(words.weight(word) + 1e-3) * words.word(word) for word in own], dtype=np.float32)
    total: Vector = weighted.sum(axis=0)
    unit: Vector = _unit(total[None])[0]
    return unit


def _unit(vectors: Vector) -> Vector:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vector = (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)
    return unit


def _sorted(rows: list[dict[str, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["feature", "score"]).astype({"feature": "int64", "score": "float64"})
    return frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)
