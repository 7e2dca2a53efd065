"""`ai.Probe`: a small evaluation for training loops, of the same units and tokens each time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from autointerp.api import request
from autointerp.api.inputs import Given, Opener
from autointerp.api.judges import GivenJudges
from autointerp.api.session import Place, Session
from autointerp.errors import UsageError
from autointerp.findings.tables import Frames
from autointerp.run import Run
from sae.objects.remembering import RememberingSubject
from sae.objects.subject import Named

TOKENS = 32_768
"""Tokens that a probe reads by default."""
SMALL: Mapping[str, Any] = {
    "harvest": {"bins": 5},
    "score": {"per_bin": 2},
    "controls": {
        "shuffled": 2,
        "base_rate": 2,
        "planted": 0,
        "repeated": 0,
        "neighbours": 0,
        "random_dictionary": False,
        "random_subject": False,
    },
    "studies": {"tokens": 0},
}
"""Keys that keep a probe small. Neurons are left out: they do not change while a dictionary is trained."""
_FIT = ("l0", "variance_explained", "loss_recovered")


class Probe:
    """Measures dictionaries over one model and one corpus, such as the same dictionary every thousand steps of its training."""

    def __init__(
        self,
        model: Any,
        texts: Any,
        *,
        features: int = 32,
        tokenizer: Any = None,
        judge: Any = "embedded",
        tokens: int = TOKENS,
        seed: int = 0,
        spec: Mapping[str, Any] | None = None,
    ) -> None:
        """`model`, `texts`, `tokenizer`, `judge`: as for `evaluate`. `features`: features to sample. `tokens`: tokens to read.
        `seed`: of the samples: dictionaries of one width are measured by the same features. `spec`: further keys.

        The model's values are kept after the first call: 4 bytes x tokens x width. Raises `AutointerpError` or `SaeError`.
        """
        if features < 1:
            raise UsageError(f"features = {features}: sample at least one")
        self._given = Given(model, None, tokenizer)
        self._judge, self._place = judge, Place.of(None)
        self._tables = {"units": {"features": features, "neurons": 0, "seed": seed}}
        keys = {**SMALL, "dictionary.check": False, "corpus.max_tokens": tokens, **(spec or {})}
        corpus = request.corpus_table(texts, self._place.folder, keys)
        self._keys = {**keys, "corpus.sources": corpus["sources"]}
        if corpus["text_field"]:
            self._keys["corpus.text_field"] = corpus["text_field"]
        self._named: Named | None = None

    def __call__(self, dictionary: Any, *, hook_point: str | None = None) -> dict[str, float]:
        """Figures of a dictionary as it is now, to be logged. A figure that cannot be computed is left out.

        `l0`, `variance_explained`, `loss_recovered`: of the whole dictionary, on a sample of the tokens. `alive_share`,
        `median_density`: of the sampled features. `JUDGE/mean_grade`: of their own explanations where they are active, 0 to 3;
        `JUDGE/shuffled` and `JUDGE/silent`: with another feature's explanation, and where they are silent; `JUDGE/above_shuffled`: the
        first minus the second. JUDGE is the judge's name: the grades of `embedded` are a baseline's. `seconds`: time of the call.
        Raises `AutointerpError` or `SaeError`.
        """
        started = time.monotonic()
        given, place, judges = replace(self._given, dictionary=dictionary), Place.of(None), GivenJudges(self._judge)
        asked = Session.of(
            given,
            {**self._tables, **judges.tables()},
            texts=self._keys["corpus.sources"][0],
            hook_point=hook_point,
            place=place,
            name="probe",
            more=self._keys,
            quiet=True,
            named=self._named,
        )
        asked = self._remembering(asked)
        run, frames = asked.asked(judges)
        figures = _of_dictionary(run) | _of_features(frames, asked.spec.judge.model)
        return figures | {"seconds": time.monotonic() - started}

    def _remembering(self, asked: Session) -> Session:
        """The session, with a subject that keeps its values from one call to the next."""
        if self._named is None:
            named = asked.open.subject(asked.spec)
            self._named = Named(RememberingSubject(named.subject), named.source)
        return replace(asked, open=Opener(asked.given, self._named))


def _of_dictionary(run: Run) -> dict[str, float]:
    check = run.harvest_metadata.get("check") or {}
    return {name: float(check[name]) for name in _FIT if check.get(name) is not None}


def _of_features(frames: Frames, judge: str) -> dict[str, float]:
    units = frames.units.loc[frames.units["kind"] == "feature"]
    alive = units.loc[units["status"] == "alive"]
    figures: dict[str, Any] = {
        "alive_share": len(alive) / len(units),
        "median_density": alive["density"].median(),
        f"{judge}/mean_grade": units["mean_score"].mean(),
        f"{judge}/shuffled": units["shuffled_mean"].mean(),
        f"{judge}/silent": units["base_rate_mean"].mean(),
    }
    figures[f"{judge}/above_shuffled"] = figures[f"{judge}/mean_grade"] - figures[f"{judge}/shuffled"]
    return {name: float(value) for name, value in figures.items() if not pd.isna(value)}
