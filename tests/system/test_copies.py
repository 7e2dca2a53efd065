"""A corpus whose documents occur several times gives the numbers of the corpus without copies, and no explainer gains by its memory."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.planted_world import judged_runs
from support.planted_world import world as planted

from autointerp.messages import ExplainMaterial, GroupMaterial, MarkedText, Prompt, Reply, ScoreMaterial, Usage

REACH = 2
"""Words on each side of a mark that the memoriser keeps."""


def around(window: MarkedText) -> str:
    return "".join(window.tokens[max(0, window.mark - REACH) : window.mark + REACH + 1]).strip()


class Memoriser(planted.PlantedJudge):
    """Knows of a unit only the words around the marks that it was shown, and grades a window 3 if it has these around its mark, else 0."""

    def __init__(self) -> None:
        self.shown: dict[str, set[str]] = {}

    def ask(self, prompt: Prompt) -> Reply:
        return Reply(json.dumps(self.answer(prompt.material)), "complete", Usage(), "memoriser")

    def answer(self, material: Any) -> dict[str, Any]:
        if isinstance(material, ExplainMaterial):
            explanation = f"words of sort {len(self.shown)}"
            self.shown[explanation] = set(map(around, material.activating))
            return {"explanation": explanation}
        if isinstance(material, GroupMaterial):
            return {str(number): self.answer(item) for number, item in enumerate(material.items, 1)}
        assert isinstance(material, ScoreMaterial)
        return {"reason": "by heart", "grade": 3 * (around(material.window) in self.shown[material.explanation])}


def near(text: str, rng: random.Random) -> str:
    """The text with four words changed."""
    words = text.split(" ")
    for place in rng.sample(range(len(words)), 4):
        words[place] = f"filler{rng.randrange(planted.FILLERS)}"
    return " ".join(words)


def quoting(texts: list[str], rng: random.Random) -> list[str]:
    """The texts, each with one of six stretches of 25 words in its middle."""
    stretches = [" ".join(text.split(" ")[:25]) for text in texts[:6]]
    return [f"{text[: len(text) // 2]} {rng.choice(stretches)} {text[len(text) // 2 :]}" for text in texts[6:]]


def evaluated(
    folder: Path, copies: int, judge: planted.PlantedJudge, *, changed: bool = False
) -> tuple[dict[str, Any], pd.DataFrame, str]:
    """Summary, exemplars and report of a run over 60 documents, each of them `copies` times in random order; at 0 `quoting` each other."""
    world = planted.make(folder / "world", documents=60)
    texts = [json.loads(line)["text"] for line in world.corpus.read_text().splitlines()]
    rng = random.Random(copies)
    texts += [near(text, rng) if changed else text for text in texts * (copies - 1)]
    texts = quoting(texts, rng) if not copies else texts
    rng.shuffle(texts)
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    spec = judged_runs.spec(replace(world, corpus=corpus), "copies", controls={"planted": 0, "shuffled": 4})
    run, ledger = judged_runs.open_(spec, folder / "results")
    summary = judged_runs.carry(run, ledger, judge)
    exemplars = pd.read_parquet(run.folder / "exemplars.parquet")
    return summary, exemplars, (run.folder / "report.md").read_text() + (run.folder / "report.html").read_text()


@pytest.mark.parametrize(("copies", "changed"), [(4, False), (4, True), (0, False)])
def test_an_explainer_that_only_memorises_stays_at_the_floor(tmp_path: Path, copies: int, changed: bool) -> None:
    summary, exemplars, report = evaluated(tmp_path, copies, Memoriser(), changed=changed)
    assert summary["controls"]["main"]["all"]["mean"] < 0.02
    assert any(check["name"] == "floor" and not check["passed"] for check in summary["belief"]["checks"])
    contents = summary["corpus"]["contents"]
    assert contents["near_duplicates" if changed else "duplicates"] == pytest.approx(60 * max(0, copies - 1), abs=5)
    assert summary["corpus"]["contents_statement"] in report
    for _, windows in exemplars.loc[exemplars["activation"] > 0].groupby("unit_id"):
        texts = [
            "".join(tokens[mark - 4 : mark + 5])
            for tokens, mark in zip(windows["tokens"], windows["mark"], strict=True)
            if 4 <= mark < len(tokens) - 4
        ]
        assert len(set(texts)) == len(texts)


@pytest.mark.slow
def test_copies_do_not_move_the_headline(tmp_path: Path) -> None:
    once, _, _ = evaluated(tmp_path / "1", 1, planted.PlantedJudge())
    low, high = (once["headline"][end] for end in ("ci_low", "ci_high"))
    for copies, changed in ((2, False), (4, False), (8, False), (2, True), (8, True)):
        often, _, _ = evaluated(tmp_path / f"{copies}{changed}", copies, planted.PlantedJudge(), changed=changed)
        assert low <= often["headline"]["difference"] <= high
