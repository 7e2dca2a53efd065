"""The embedded judge: a baseline that is not an LLM, needs no key and no network, and says so wherever it speaks.

It explains by enrichment (`enrichment`) and grades by text similarity (`similarity`), from `Prompt.material` alone. It understands
nothing: it finds words again, and words like them. Use it to try a spec, as a floor for LLM judges, and in tests; publish nothing that rests on it
alone.

How good it is on the 121 cases of `rubrics/specificity.toml` (`python -m autointerp.judges.embedded`), all cases of one explanation left out at a
time and graded by a model fitted to the others: accuracy 0.61 (always giving the commonest grade: 0.31), within one grade 0.88,
quadratic-weighted kappa 0.72. On the harder graded set, to which nothing was fitted, it is hardly better than chance: kappa about 0.1. The ridge, the weight of grade 0 and the cap on topical cosines were chosen among a few by the same figures, and the cases
and their grades are one author's: expect somewhat less elsewhere. It grades its own explanations better than an LLM's, whose paraphrases
it often misses and then gives 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from autointerp.hashing import content_hash
from autointerp.judges.embedded.explanations import explain
from autointerp.judges.embedded.grades import calibrate, cases, compare
from autointerp.judges.embedded.scorer_tasks import answer_task
from autointerp.judges.embedded.word_vectors import lexicon
from autointerp.messages import ExplainMaterial, GroupMaterial, Prompt, Reply, ScoreMaterial, Usage
from autointerp.spec.rubric import Rubric, load

METHOD = 1
"""Raise it with every change that can alter an answer: it is part of the judge's identity."""


class EmbeddedJudge:
    """Answers from a prompt's material; the same material always gets the same answer. Safe to share between threads.

    Raises `UsageError` when the rubric has too few calibration cases or wordllama cannot be loaded.
    """

    name = "embedded"
    is_llm = False

    def __init__(self, rubric: Rubric) -> None:
        self._lexicon = lexicon()
        self._model = calibrate(rubric, self._lexicon)
        self._calibration = content_hash([[e, list(w.tokens), w.mark, g] for e, w, g in cases(rubric)])

    def identity(self) -> Mapping[str, Any]:
        """Package version, method and calibration: all that decides an answer besides the material."""
        return {
            "provider": "embedded",
            "method": METHOD,
            "package": self._lexicon.version,
            "calibration": self._calibration,
        }

    def ask(self, prompt: Prompt) -> Reply:
        """Explain or grade the prompt's material, items of a group one by one. It costs nothing and never fails."""
        material = prompt.material
        if isinstance(material, ScoreMaterial) and prompt.choices:
            return self._digit(material)
        if isinstance(material, ExplainMaterial):
            return self._reply({"explanation": explain(material, self._lexicon)})
        if isinstance(material, ScoreMaterial):
            return self._reply(self._graded(material))
        if isinstance(material, GroupMaterial):
            return self._reply({str(number): self._graded(item) for number, item in enumerate(material.items, 1)})
        answer = answer_task(material, self._lexicon)
        if answer is not None:
            return self._reply(answer)
        return Reply(f"this baseline cannot answer questions of {material.task}", "refusal", Usage(), self._served)

    def _graded(self, item: ScoreMaterial) -> dict[str, Any]:
        found = compare(item.explanation, item.window, self._lexicon)
        reason = "".join(c if c.isprintable() else "\ufffd" for c in found.reason)
        return {"reason": reason, "grade": self._model.grade(found.values)}

    def _digit(self, item: ScoreMaterial) -> Reply:
        """A grade with the probabilities that the model gives to all."""
        values = compare(item.explanation, item.window, self._lexicon).values
        chances = {str(grade): round(float(p), 6) for grade, p in enumerate(self._model.chances(values))}
        return replace(self._reply(self._model.grade(values)), probabilities=chances)

    def _reply(self, answer: Any) -> Reply:
        return Reply(json.dumps(answer, ensure_ascii=False), "complete", Usage(), self._served)

    @property
    def _served(self) -> str:
        return f"{self.name} ({self._lexicon.version})"

    def count_tokens(self, prompt: Prompt) -> int | None:
        """0: no token is ever sent anywhere."""
        return 0

    def close(self) -> None:
        """Nothing is open."""


def cross_validate(rubric: Rubric) -> dict[str, float]:
    """Agreement with the rubric's own grades, each explanation's cases graded by a model that never saw them.

    `accuracy`, `within_one`, `kappa` (quadratic weights), `chance` (accuracy of always giving the commonest grade), `n`.
    """
    rows = cases(rubric)
    graded = []
    for explanation in dict.fromkeys(row[0] for row in rows):
        model = calibrate(rubric, lexicon(), leave_out=explanation)
        graded += [(g, model.grade(compare(e, w, lexicon()).values)) for e, w, g in rows if e == explanation]
    truth, given = np.array(graded).T
    counts = np.bincount(truth)
    expected = np.mean((truth[:, None] - given[None, :]) ** 2)
    return {
        "accuracy": float(np.mean(truth == given)),
        "within_one": float(np.mean(abs(truth - given) <= 1)),
        "kappa": float(1 - np.mean((truth - given) ** 2) / expected),
        "chance": float(counts.max() / counts.sum()),
        "n": float(len(truth)),
    }


if __name__ == "__main__":
    for measure, value in cross_validate(load("specificity")).items():
        print(f"{measure:12} {value:.3f}")
