"""The embedded judge: a baseline that is not an LLM and needs neither a key nor a network.

It explains by enrichment (`explanations`) and grades by text similarity (`grades`), from `Prompt.material` alone. It matches words and
similar words, and understands nothing. Use it to try a spec, as a lower bound for LLM judges, and in tests; do not publish results that
rest on it alone.

Agreement on the 121 cases of `rubrics/specificity.toml` (`python -m autointerp.judges.embedded.judge`), with all cases of one
explanation left out at a time and graded by a model fitted to the others: accuracy 0.61 (0.31 for the most common grade), within one
grade 0.88, quadratic-weighted kappa 0.72. On the harder graded set, to which nothing was fitted, it is hardly better than chance: kappa
about 0.1. The ridge, the weight of grade 0 and the cap on topical cosines were each chosen among a few values by the same figures, and
one author wrote the cases and their grades: expect less elsewhere. It grades its own explanations better than an LLM's, whose
paraphrases it often misses and grades 0.
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
"""Part of the judge's identity. Increase it with every change that can alter an answer."""


class EmbeddedJudge:
    """Answers from a prompt's material; the same material always gets the same answer. Threads may share it.

    Raises `UsageError` if the rubric has too few calibration cases or wordllama cannot be loaded.
    """

    name = "embedded"
    is_llm = False

    def __init__(self, rubric: Rubric) -> None:
        self._lexicon = lexicon()
        self._model = calibrate(rubric, self._lexicon)
        self._calibration = content_hash([[e, list(w.tokens), w.mark, g] for e, w, g in cases(rubric)])

    def identity(self) -> Mapping[str, Any]:
        """Package version, method and calibration: everything besides the material that decides an answer."""
        return {
            "provider": "embedded",
            "method": METHOD,
            "package": self._lexicon.version,
            "calibration": self._calibration,
        }

    def ask(self, prompt: Prompt) -> Reply:
        """Explain or grade the prompt's material, the items of a group one by one. Costs nothing and never fails."""
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
        comparison = compare(item.explanation, item.window, self._lexicon)
        reason = "".join(c if c.isprintable() else "\ufffd" for c in comparison.reason)
        return {"reason": reason, "grade": self._model.grade(comparison.values)}

    def _digit(self, item: ScoreMaterial) -> Reply:
        """A grade as one digit, with the model's probability of each grade."""
        values = compare(item.explanation, item.window, self._lexicon).values
        probabilities = {str(grade): round(float(p), 6) for grade, p in enumerate(self._model.probabilities(values))}
        return replace(self._reply(self._model.grade(values)), probabilities=probabilities)

    def _reply(self, answer: Any) -> Reply:
        return Reply(json.dumps(answer, ensure_ascii=False), "complete", Usage(), self._served)

    @property
    def _served(self) -> str:
        return f"{self.name} ({self._lexicon.version})"

    def count_tokens(self, prompt: Prompt) -> int | None:
        """0: no tokens are sent anywhere."""
        return 0

    def close(self) -> None:
        """Does nothing: there is no connection."""


def cross_validate(rubric: Rubric) -> dict[str, float]:
    """Agreement with the rubric's own grades, where the cases of each explanation are graded by a model fitted without them.

    Returns `accuracy`, `within_one`, `kappa` (quadratic weights), `chance` (accuracy of always giving the most common grade) and `n`.
    """
    rows = cases(rubric)
    graded = []
    for explanation in dict.fromkeys(row[0] for row in rows):
        model = calibrate(rubric, lexicon(), leave_out=explanation)
        graded += [(g, model.grade(compare(e, w, lexicon()).values)) for e, w, g in rows if e == explanation]
    truth, predicted = np.array(graded).T
    counts = np.bincount(truth)
    expected = np.mean((truth[:, None] - predicted[None, :]) ** 2)
    return {
        "accuracy": float(np.mean(truth == predicted)),
        "within_one": float(np.mean(abs(truth - predicted) <= 1)),
        "kappa": float(1 - np.mean((truth - predicted) ** 2) / expected),
        "chance": float(counts.max() / counts.sum()),
        "n": float(len(truth)),
    }


if __name__ == "__main__":
    for measure, value in cross_validate(load("specificity")).items():
        print(f"{measure:12} {value:.3f}")
