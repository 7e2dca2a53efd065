"""Explaining with aids: the prompt, the revision of a wrong explanation, and a whole run with aids."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile_text import loose, marked_texts, texts
from support.planted_world import world as planted
from support.planted_world.truth import carry
from support.scorers.scripted_judge import exemplar

from autointerp.calls.answers import Answer, call_key, read_reply
from autointerp.judges.embedded.explanations import explain as enriched
from autointerp.judges.embedded.word_vectors import lexicon
from autointerp.ledger import judgements
from autointerp.ledger.database import Ledger
from autointerp.messages import ExplainMaterial, MarkedText, Prompt, Reply, TaskMaterial, Usage
from autointerp.pipeline import prepare as preparation
from autointerp.progress import Progress
from autointerp.prompts import explanation as explanation_prompt
from autointerp.questions import handlers, planned_jobs, revision
from autointerp.records import Exemplar, ExplanationKey, Outcome
from autointerp.spec import rubric
from autointerp.stats import aid_effects

RULES = rubric.load("specificity")
WRONG = "words about a submarine"
FENCES = ("contrast", "neighbours", "logits", "missed", "mistaken", "explanation")


# The prompt


@given(marked_texts, marked_texts, st.lists(texts, min_size=1, max_size=4), texts)
def test_no_aid_can_forge_a_fence_or_a_mark(activating: Any, window: Any, tokens: list[str], draft: str) -> None:
    material = ExplainMaterial(
        (activating,), (), (window,), (window,), tuple(tokens), tuple(tokens), draft or "x", (window,), (window,)
    )
    user = explanation_prompt.prompt(RULES, material, 100).user
    assert user.count("<<") == user.count(">>") == 5
    for fence in FENCES:
        assert loose(user, fence) == 1, fence
    user.encode()


def test_each_aid_is_shown_with_its_note_and_only_if_there_is_one() -> None:
    marked = (MarkedText((" the", " harbour0", " ends"), 1, (0, 9, 0)),)
    plain = ExplainMaterial(marked, ())
    full = replace(plain, contrast=marked, neighbours=marked, raised=(" sea",), lowered=("\n",))
    assert not any(f"<{fence}>" in explanation_prompt.prompt(RULES, plain, 100).user for fence in FENCES)
    user = explanation_prompt.prompt(RULES, full, 100).user
    for fence in ("contrast", "neighbours", "logits"):
        assert explanation_prompt.TAG_NOTES[fence] in user
    assert 'likelier: " sea"\nless likely: "\\n"' in user
    assert explanation_prompt.prompt(RULES, plain, 100).system == explanation_prompt.prompt(RULES, full, 100).system, (
        "it caches"
    )
    revising = explanation_prompt.prompt(RULES, replace(plain, draft="a draft", missed=marked), 100).user
    assert "<explanation>\na draft\n</explanation>" in revising
    assert "Mend the explanation" in revising
    assert "<mistaken>" not in revising


def test_the_embedded_explainer_uses_contrasts_as_background_and_missed_windows_as_evidence() -> None:
    def of(text: str, mark: int, heat: int) -> Any:
        window = planted_window(0, text, 1.0 if heat else 0.0, mark)
        return replace(
            window.marked_text, activation_levels=tuple(heat if i == mark else 0 for i in range(len(window.tokens)))
        )

    activating = tuple(
        of(f"in a small {place} the zebra slept", 4 + 1, 9) for place in ("barn", "field", "hut", "yard", "den")
    )
    zebra = enriched(ExplainMaterial(activating, ()), lexicon())
    assert "zebra" in zebra
    assert "slept" in zebra
    contrast = tuple(of(f"a small zebra slept in {place}", 2, 0) for place in ("may", "june", "town", "bed", "rain"))
    assert "slept" not in enriched(ExplainMaterial(activating, (), contrast=contrast), lexicon())
    missed = tuple(of(f"the {word} giraffe ate {word}s", 2, 9) for word in ("old", "tall", "new", "kind", "odd", "wry"))
    assert "giraffe" in enriched(ExplainMaterial(activating, (), draft=zebra, missed=missed), lexicon())
    effects = ExplainMaterial(activating, (), raised=(" lion",), lowered=(" sand",))
    assert enriched(effects, lexicon()) == zebra, "it does not use effects on the logits"


# The revision round


def planted_window(number: int, text: str, activation: float, mark: int = 1) -> Exemplar:
    words = [f" {word}" for word in text.split()]
    return exemplar(number, words, {mark: activation} if activation else {}, mark)


def held_out(n: int = 12) -> list[Exemplar]:
    return [
        planted_window(i, f"filler{i} {'harbour' if i % 2 else 'orchard'}{i % 5} filler3", float(i % 2))
        for i in range(n)
    ]


class Script:
    """An explainer that returns the given explanations in turn, and knows which of the planted words an explanation covers."""

    def __init__(self, *explanations: str, covers: Callable[[str, str], bool] | None = None) -> None:
        self.explanations, self.asked = list(explanations), list[Prompt]()
        self.covers = covers or (lambda explanation, word: planted.grade(explanation, word) > 0)

    def reply(self, prompt: Prompt) -> str:
        self.asked.append(prompt)
        if not isinstance(prompt.material, TaskMaterial):
            return json.dumps({"explanation": self.explanations.pop(0)})
        words = [window.tokens[window.mark].strip() for window in prompt.material.windows]
        covered = [self.covers(prompt.material.explanation, word) for word in words]
        return json.dumps({str(n): flag for n, flag in enumerate(covered, 1)})

    def ask(self, prompt: Prompt, parse: Callable[[str], str], repeat: int) -> Answer[str]:
        return read_reply(Reply(self.reply(prompt), "complete", Usage(), "script"), parse, f"call-{len(self.asked)}")


def revise(script: Script, text: str, windows: list[Exemplar] | None = None) -> revision.Revised:
    window = MarkedText((" a", " harbour1", " b"), 1, (0, 9, 0))
    first = explanation_prompt.prompt(RULES, ExplainMaterial((window,), ()), 100)
    return revision.revise(
        script.ask,
        first,
        text,
        windows or held_out(),
        lambda material: explanation_prompt.prompt(RULES, material, 100),
        300,
    )


def test_a_wrong_explanation_is_revised() -> None:
    script = Script("words about a harbour")
    revised = revise(script, "words about an orchard")
    assert revised == (
        "words about a harbour",
        "revised: right about 6 of 6 unseen windows (before: 0) and 6 of 6 others (before: 0)",
        "call-2",
    )
    checked, revising, again = script.asked
    assert isinstance(revising.material, ExplainMaterial)
    assert revising.material.draft == "words about an orchard"
    assert len(revising.material.missed) == len(revising.material.mistaken) == 3
    assert "activ" not in checked.user, "the question does not reveal which windows are active"
    assert checked.material.windows == again.material.windows  # type: ignore[union-attr]


def test_the_windows_that_decide_are_never_shown_to_the_explainer() -> None:
    script = Script("words about a harbour")
    revise(script, WRONG)
    revising, again = script.asked[1:]
    shown = {*revising.material.missed, *revising.material.mistaken}  # type: ignore[union-attr]
    ordered = [e.marked_text for e in revision.interleaved(held_out())]
    assert shown <= set(ordered[::2])
    assert not shown & set(ordered[1::2])
    assert list(again.material.windows) == ordered  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("explanations", "reason"),
    [
        (["words about a quarry"], "not revised: right about 3 of 6 unseen windows (before: 3) and 3 of 6 others (before: 3)"),
        ([WRONG], "not revised: the explainer kept it"),
        (["Sure, here it is"] * 3, "not revised: it holds a preamble or reasoning, not only the explanation: 'Sure, here it is'"),
    ],
)  # fmt: skip
def test_a_revision_that_is_no_better_is_not_kept(explanations: list[str], reason: str) -> None:
    assert revise(Script(*explanations), WRONG) == (WRONG, reason, None)


def test_a_right_explanation_is_tested_once_and_kept() -> None:
    script = Script()
    assert revise(script, "words about a harbour").reason == "not revised: no counterexample was found"
    assert len(script.asked) == 1


def test_nothing_is_tested_without_active_and_silent_windows() -> None:
    for windows in (held_out(2), [e for e in held_out() if e.activation]):
        assert revise(Script(), WRONG, windows) == (WRONG, "not revised: too few windows to test it on", None)


def test_an_explanation_is_not_revised_if_the_test_got_no_answer() -> None:
    def silent(prompt: Prompt, parse: Callable[[str], str], repeat: int) -> Answer[str]:
        return Answer(None, Outcome.REFUSAL, "no", None)

    first = explanation_prompt.prompt(RULES, ExplainMaterial((), ()), 100)
    revised = revision.revise(silent, first, WRONG, held_out(), lambda m: first, 300)
    assert revised.reason == "not revised: no answer says what it covers"


@given(st.integers(0, 12), st.integers(0, 12))
def test_both_halves_have_active_and_silent_windows(active: int, silent: int) -> None:
    windows = [planted_window(i, f"a b{i} c", 1.0) for i in range(active)]
    windows += [planted_window(i, f"a c{i} d", 0.0) for i in range(100, 100 + silent)]
    ordered = revision.interleaved(windows)
    assert ordered == revision.interleaved(windows[::-1])
    assert len(windows) - 1 <= len(ordered) <= len(windows)
    for sort in (True, False):
        halves = [sum((e.activation > 0) == sort for e in ordered[start::2]) for start in (0, 1)]
        assert abs(halves[0] - halves[1]) <= 1


# A whole run


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("explain") / "world", documents=120)


class Wrong(planted.PlantedJudge):
    """Explains wrongly unless it is shown missed windows, neighbours or logits; knows which words an explanation covers."""

    def ask(self, prompt: Prompt) -> Reply:
        material = prompt.material
        if isinstance(material, TaskMaterial):
            return Reply(Script().reply(prompt), "complete", Usage(), self.name)
        if isinstance(material, ExplainMaterial) and not (material.missed or material.neighbours or material.raised):
            return Reply(json.dumps({"explanation": WRONG}), "complete", Usage(), self.name)
        return super().ask(prompt)


def spec_of(world: planted.World, **changes: Any) -> Any:
    units = {"feature_ids": list(range(8)), "neuron_ids": ["0+", "1+", "2+"]}
    controls = {
        "shuffled": 0,
        "base_rate": 0,
        "planted": 0,
        "repeated": 0,
        "neighbours": 0,
        "random_dictionary": False,
        "random_subject": False,
    }
    return world.spec(units=units, score={"per_bin": 1}, controls=controls, **changes)


def test_explanations_with_an_aid_are_judged_on_the_same_exemplars_and_compared(
    world: planted.World, tmp_path: Path
) -> None:
    spec = spec_of(world, explain={"compare": ["contrast", "logits", "revise"], "quiet": 3})
    result = carry(spec, tmp_path, Wrong())
    ledger = Ledger.in_folder(tmp_path)
    with ledger.read() as tx:
        explanations = judgements.explanations_of(tx, result.summary["run_id"])
    concept = planted.CONCEPTS[2]
    own, contrast, revised = (explanations[ExplanationKey("feature-2", aid)] for aid in ("", "contrast", "revise"))
    assert own.text == contrast.text == WRONG
    assert revised.text == f"words about a {concept}"
    assert revised.reason.startswith("revised: right about 6 of 6 unseen windows (before: 3)")
    effects = aid_effects.effects(result.judgements, result.units, scale=(0, 3), confidence=0.95, resamples=300, seed=0)
    assert set(effects) == {"contrast", "logits", "revise"}
    assert effects["contrast"]["all"]["difference"] == 0
    assert effects["revise"]["feature"]["difference"] > 1.5
    assert effects["revise"]["feature"]["n_units"] == 8
    judged = result.judgements.groupby("explanation_unit_id")["exemplar_id"].agg(frozenset)
    assert judged["feature-2"] == judged["feature-2#revise"]


def test_an_interrupted_revision_asks_nothing_twice(world: planted.World, tmp_path: Path) -> None:
    with Progress(quiet=True) as progress:
        run = preparation.prepare(spec_of(world, explain={"revise": True, "contrast": 3}), tmp_path, progress)
    known: dict[str, Reply] = {}
    asked: list[str] = []
    judge = Wrong()

    class Open(Exception):
        """The answer is not there yet."""

    def ask(prompt: Prompt, parse: Callable[[str], str], repeat: int) -> Answer[str]:
        key = call_key(judge, prompt, repeat)
        if key not in known:
            asked.append(key)
            known[key] = judge.ask(prompt)
            raise Open
        return read_reply(known[key], parse, key)

    (job,) = [job for job in planned_jobs.explain_jobs(run.units.values()) if job.unit_id == "feature-2"]
    for _ in range(4):
        with pytest.raises(Open):
            handlers.explanation_of(run, job, ask)
    explained = handlers.explanation_of(run, job, ask)
    assert len(asked) == len(set(asked)) == 4
    assert explained.text == f"words about a {planted.CONCEPTS[2]}"
    assert explained.call_key == asked[2], "the call that returned the revision"
    assert handlers.explanation_of(run, job, ask) == explained
