"""Ways to find features by the texts in which they are active: one text, several, and two sets.

Memory grows with the tokens of the texts and, for two sets, with their active features, and not with the number of features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import sparse, stats

from autointerp.errors import UsageError
from autointerp.formatting import number, plural
from autointerp.studies.search import classifier
from autointerp.studies.search.way import Best, Found
from autointerp.studies.workbench import Studied, Workbench
from sae.dictionary import Dictionary
from sae.studies.readings import TextValues, readings, values_of


@dataclass(frozen=True)
class ByText:
    """Features that are most active anywhere in a text, or at a passage of it."""

    name: ClassVar[str] = "--text"
    columns: ClassVar[dict[str, str]] = {"score": "largest activation"}
    text: str
    at: str | None = None

    @property
    def title(self) -> str:
        return f"Features most active in “{self.text}”" + (f" at “{self.at}”" if self.at else "")

    def find(self, bench: Workbench, studied: Studied) -> Found:
        """As `Way.find`; the score is the largest activation."""
        values = read_values(bench, studied, [self.text])
        if self.at is not None:
            if self.at not in self.text:
                raise UsageError(f"--at {self.at!r} does not occur in the text: give a passage of it")
            values = values.within(self.at)
            if not values.lengths[0]:
                raise UsageError(
                    f"--at {self.at!r} has no token that counts (neither the first of the text nor one of massive norm does): give another passage"
                )
        best = Best()
        for chunk in readings(studied.dictionary, values):
            best.add(chunk.start, chunk.maximum[0].numpy(), mean=chunk.mean[0].numpy())
        n = values.lengths[0]
        return Found(best.frame, f"{plural(best.n, 'feature')} of {studied.name} fire at {plural(n, 'token')}.", values)


@dataclass(frozen=True)
class ByTexts:
    """Features that are active in all of some texts and in none of others."""

    name: ClassVar[str] = "--on"
    columns: ClassVar[dict[str, str]] = {"score": "smallest of the texts' maxima"}
    on: tuple[str, ...]
    off: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        others = f" and in none of {plural(len(self.off), 'other')}" if self.off else ""
        return f"Features active in all of {plural(len(self.on), 'text')}{others}"

    def find(self, bench: Workbench, studied: Studied) -> Found:
        """As `Way.find`; the score is the smallest of the maxima over the texts."""
        values, n_on = read_values(bench, studied, [*self.on, *self.off]), len(self.on)
        best, n_all = Best(), 0
        for chunk in readings(studied.dictionary, values):
            maximum = chunk.maximum.numpy()
            weakest, silent = maximum[:n_on].min(axis=0), (maximum[n_on:] == 0).all(axis=0)
            n_all += int((weakest > 0).sum())
            best.add(chunk.start, weakest * silent, mean=chunk.mean[:n_on].mean(dim=0).numpy())
        sentence = f"{plural(n_all, 'feature')} of {studied.name} fire in all of {plural(n_on, 'text')}"
        sentence += f", {best.n:,} of them in none of {plural(len(self.off), 'other')}." if self.off else "."
        return Found(best.frame, sentence, values, n_first=n_on)


@dataclass(frozen=True)
class BySets:
    """Features by which a sparse logistic classifier tells two sets of texts apart."""

    name: ClassVar[str] = "--with"
    columns: ClassVar[dict[str, str]] = {
        "weight": "weight",
        "folds": "kept in folds",
        "auroc": "AUROC alone",
        "share_with": "fires with",
        "share_without": "without",
    }
    with_texts: tuple[str, ...]
    without_texts: tuple[str, ...]
    seed: int = 0

    @property
    def title(self) -> str:
        return f"Features that tell {len(self.with_texts)} texts from {len(self.without_texts)}"

    def find(self, bench: Workbench, studied: Studied) -> Found:
        """As `Way.find`; the score is the absolute weight."""
        least = min(len(self.with_texts), len(self.without_texts))
        if least < classifier.FOLDS:
            raise UsageError(f"a set has {plural(least, 'text')}: give {classifier.FOLDS} or more on each side")
        values = read_values(bench, studied, [*self.with_texts, *self.without_texts])
        is_with = np.arange(len(self.with_texts) + len(self.without_texts)) < len(self.with_texts)
        features, table = active_columns(studied.dictionary, values)
        sentence = f"No feature of {studied.name} fires in two texts, so none can tell the sets apart."
        if not len(features):
            return Found(
                Best().frame.assign(weight=0.0, folds=0, auroc=0.0, share_with=0.0, share_without=0.0), sentence
            )
        fitted = classifier.fit(table, is_with, self.seed)
        kept = np.flatnonzero(fitted.weights)
        dense = table[:, kept].toarray()
        frame = pd.DataFrame(
            {
                "feature": features[kept],
                "score": np.abs(fitted.weights[kept]),
                "weight": fitted.weights[kept],
                "folds": fitted.folds[kept],
                "auroc": [auroc(column[is_with], column[~is_with]) for column in dense.T],
                "share_with": (dense[is_with] > 0).mean(axis=0),
                "share_without": (dense[~is_with] > 0).mean(axis=0),
            }
        ).sort_values("score", ascending=False, kind="stable", ignore_index=True)
        sentence = (
            f"With {plural(len(kept), 'feature')} of {studied.name}, texts that the classifier has not seen are told apart with an AUROC"
            f" of {number(fitted.auroc)} ({classifier.FOLDS} folds; with labels drawn at random"
            f" {number(fitted.chance_low)} to {number(fitted.chance_high)}); one feature alone reaches"
            f" {number(float(frame['auroc'].max()) if len(frame) else None)} on all texts."
        )
        figures = {
            "held_out_auroc": fitted.auroc,
            "chance": [fitted.chance_low, fitted.chance_high],
            "penalty": fitted.penalty,
        }
        return Found(frame, sentence, values, figures, n_first=len(self.with_texts))


def read_values(bench: Workbench, studied: Studied, texts: Sequence[str]) -> TextValues:
    """The values of texts at a dictionary's hook point. Raises `UsageError` for a text that is empty or too long."""
    values = values_of(
        bench.subject,
        studied.dictionary.hook_point,
        texts,
        progress=lambda done, total: bench.progress.update("reading texts", done, total),
    )
    for text, length in zip(texts, values.lengths, strict=True):
        if not length:
            raise UsageError(
                f"the text {text[:40]!r} has no token that counts (neither the first nor one of massive norm does): give a longer one"
            )
    if values.n_cut:
        raise UsageError(f"{plural(values.n_cut, 'text')} exceed the tokens that the subject is given: shorten them")
    return values


def active_columns(dictionary: Dictionary, values: TextValues) -> tuple[np.ndarray, sparse.csc_array]:
    """The features that fire in two texts at least (n,), and their maxima in each text (texts, n), each divided by its largest."""
    features, columns = [], []
    for chunk in readings(dictionary, values):
        maximum = chunk.maximum.numpy().astype(np.float64)
        active = np.flatnonzero((maximum > 0).sum(axis=0) >= 2)
        features.append(active + chunk.start)
        columns.append(sparse.csc_array(maximum[:, active] / maximum[:, active].max(axis=0, initial=1e-12)))
    return np.concatenate(features), sparse.csc_array(sparse.hstack(columns))


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """The share of pairs in which the positive value is higher; ties count half."""
    ranks = stats.rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))
