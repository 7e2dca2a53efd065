"""Runs over the planted world, whose corpus also holds words that planted units answer to, with judges that note what they are asked."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart

from autointerp.judges import registry
from autointerp.ledger.database import Ledger
from autointerp.messages import ExplainMaterial, GroupMaterial, Prompt, Reply, ScoreMaterial, TaskMaterial, Usage
from autointerp.pipeline import local
from autointerp.pipeline import prepare as preparation
from autointerp.progress import Progress
from autointerp.run import Run
from autointerp.spec.spec import Spec
from sae.controls.planted_units import PLANTED

PLAIN = [
    "walked",
    "under",
    "bright",
    "old",
    "trees",
    "while",
    "others",
    "slept",
    "near",
    "quiet",
    "fields",
    "beyond",
    "long",
    "roads",
]
KNOWN = ("colours", "family", "numbers", "body", "time", "animals")
"""Planted units that the corpus holds enough of."""


def make(folder: Path, *, documents: int = 160) -> planted.World:
    """A planted world of which a part of the documents is in English words, those of `KNOWN` among them."""
    return planted.make(folder, documents=documents, extra=_english())


def _english() -> list[str]:
    rng = random.Random(5)
    words = [word for unit in PLANTED if unit.name in KNOWN for word in unit.pattern.split("|")[:4]]
    texts = []
    for number in range(120):
        text = rng.choices(PLAIN, k=40)
        for place in range(3 + number % 4, 40, 9):
            text[place] = words[(number + 7 * place) % len(words)]
        texts.append(" ".join(text))
    return texts


def spec(world: planted.World, name: str, **sections: Any) -> Spec:
    """A small run: eight features and eight neurons of each sort, six exemplars a bin at most."""
    given: dict[str, Any] = {
        "name": name,
        "units": {"feature_ids": list(range(16)), "neuron_ids": [f"{i}+" for i in range(16)]},
        "harvest": {"bins": 4, "window_tokens": 16},
        "score": {"per_bin": 4},
        "controls": {"shuffled": 2, "base_rate": 2, "planted": 5, "repeated": 0, "neighbours": 0},
        "studies": {"tokens": 0},
        "report": {"resamples": 200},
    }
    tables = {key: given.get(key, {}) | dict(table) for key, table in sections.items()}
    merged = world.spec(**{k: v for k, v in (given | tables).items() if k != "name"})
    return merged.model_copy(update={"name": name})


def truth(explanation: str, word: str) -> int:
    """The true grade: of the planted concepts, and of the planted units."""
    for unit in PLANTED:
        if unit.explanation == explanation:
            return 3 if unit.is_active(word) else 0
    return planted.grade(explanation, word)


@dataclass
class Judge(planted.PlantedJudge):
    """Knows the truth, and notes every item that it was asked of."""

    items: list[ScoreMaterial] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    """How many items each question held."""
    tasks: Counter[str] = field(default_factory=Counter)
    stops_after: int | None = None
    """Ctrl-C comes with this question."""

    def grade(self, item: ScoreMaterial) -> int:
        return truth(item.explanation, planted.marked_word(item.window.tokens, item.window.mark))

    def ask(self, prompt: Prompt) -> Reply:
        material = prompt.material
        if isinstance(material, ExplainMaterial):
            return super().ask(prompt)
        if self.stops_after is not None and len(self.groups) >= self.stops_after:
            raise KeyboardInterrupt
        answer: Any
        if isinstance(material, TaskMaterial):
            self.tasks[material.task] += 1
            answer = self.task(material)
        else:
            several = isinstance(material, GroupMaterial)
            asked = material.items if isinstance(material, GroupMaterial) else (material,)
            self.items += asked
            self.groups.append(len(asked))
            answers = {str(n): {"reason": "by the truth", "grade": self.grade(item)} for n, item in enumerate(asked, 1)}
            answer = self.said(answers) if several else answers["1"]
        return Reply(json.dumps(answer), "complete", Usage(), "planted")

    def said(self, answers: dict[str, Any]) -> dict[str, Any]:
        """The answer to a group."""
        return answers

    def task(self, material: TaskMaterial) -> Any:
        """The true answer to detection; texts of the concept that is explained, or of that which the marked words have."""
        if material.task == "detection":
            return {
                str(number): any(truth(material.explanation, token.strip()) for token in window.tokens)
                for number, window in enumerate(material.windows, 1)
            }
        assert material.task == "write", material.task
        marked = [planted.strength(planted.marked_word(w.tokens, w.mark)) for w in material.windows]
        concepts = Counter(known[0] for known in marked if known)
        concept = planted.said(material.explanation) or (concepts.most_common(1)[0][0] if concepts else None)
        word = planted.strong_word(concept, 4) if concept else "trees"
        return {"texts": [f"{PLAIN[i]} under {word} walked" for i in range(10)]}


def open_(spec: Spec, results: Path) -> tuple[Run, Ledger]:
    return preparation.prepare(spec, results, Progress(quiet=True)), Ledger.in_folder(results)


def carry(run: Run, ledger: Ledger, judge: planted.PlantedJudge, second: Any = None) -> dict[str, Any]:
    """Carry a run, or what is left of it."""
    judges = registry.Judges(judge, judge, second)
    summary = local.execute_run(
        run, ledger, Progress(quiet=True), judges=judges, command=["autointerp", "run", "spec.toml"]
    )
    return summary.to_json()


def judgements(run: Run | Path) -> pd.DataFrame:
    """The judgements of a finished run, or of its folder, in a fixed order, without the call that brought them."""
    folder = run if isinstance(run, Path) else run.folder
    rows = pd.read_parquet(folder / "judgements.parquet").drop(columns="call_key")
    keys = ["judge", "arm", "unit_id", "exemplar_id", "explanation_unit_id", "repeat"]
    return rows.sort_values(keys, ignore_index=True)


def think(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The truth from a prompt's text, for a provider: no two explanations alike; detection, and texts to explanations, too."""
    properties = schema.get("properties", {})
    explanation = user.partition("<explanation>\n")[2].partition("\n</explanation>")[0]
    if "texts" in properties:
        concept = planted.said(explanation)
        word = planted.strong_word(concept, 4) if concept else "trees"
        return {"texts": [f"{plain} under {word} walked" for plain in PLAIN[:10]]}
    if not properties or next(iter(properties.values())).get("type") != "boolean":
        return think_apart(system, user, schema)
    texts = user.split("\n</text>")[:-1]
    return {
        number: any(truth(explanation, word) for word in text.rpartition('">\n')[2].split())
        for number, text in zip(properties, texts, strict=True)
    }
