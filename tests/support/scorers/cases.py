"""Cases of the planted world's units, and a walk through a scorer's steps with a scripted judge and the real subject."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from support.planted_world import world as planted
from support.planted_world.world import CONCEPTS, FILLERS, strong_word, weak_word

from autointerp.messages import Prompt
from autointerp.prompts.replies import ReplyUnusable
from autointerp.records import Exemplar, Unit
from autointerp.scorers.base import Case, ReadPeaks, ReadText, Scorer, Scores, SteerText
from sae.analysis.steering import continue_texts
from sae.analysis.unit_probe import read_texts
from sae.dictionary import Dictionary
from sae.formats.load import load_dictionary
from sae.harvest.units import UnitKey
from sae.subject.model import Subject, load_subject

LARGEST = 0.94
"""The maximum of a pure feature: its strongest word's length minus the encoder's bias."""
Ask = Callable[[Prompt], str | None]
"""A scripted judge: a reply, or None for a question that fails."""


@dataclass(frozen=True)
class Opened:
    """A planted world, loaded."""

    world: planted.World
    subject: Subject
    dictionary: Dictionary

    def run_tasks(self, unit: Unit, tasks: Sequence[ReadText | ReadPeaks | SteerText]) -> list[Any]:
        """The subject's results of one unit's tasks."""
        key = UnitKey(unit.kind, unit.index, unit.sign)
        results: dict[ReadText | ReadPeaks | SteerText, Any] = {}
        reads = [item for item in tasks if isinstance(item, ReadText)]
        read = read_texts(self.subject, self.dictionary, [key], [item.text for item in reads])
        for item, seen in zip(reads, read, strict=True):
            results[item] = seen.activations[0].tolist()
        for item in tasks:
            if isinstance(item, ReadPeaks):
                together = read_texts(self.subject, self.dictionary, [key], list(item.texts))
                results[item] = [float(text.activations.max(initial=0.0)) for text in together]
        steers = [item for item in tasks if isinstance(item, SteerText)]
        for tokens, group in groupby(steers, lambda item: item.tokens):
            same = list(group)
            texts, factors = [item.text for item in same], [item.factor for item in same]
            continuations = continue_texts(
                self.subject, self.dictionary, key, texts, factors, tokens, 0, largest=LARGEST
            )
            results |= dict(zip(same, continuations, strict=True))
        return [results[item] for item in tasks]


def opened(folder: Path) -> Opened:
    """The planted world, with an output head that makes the subject repeat what it reads."""
    world = planted.make(folder, documents=20)
    subject = load_subject(str(world.subject), precision="float32", device="cpu")
    with torch.no_grad():
        head = subject.model.model.embed_tokens.weight.clone()
        head[:, 0] = 0
        subject.model.lm_head.weight.copy_(head)
    return Opened(world, subject, load_dictionary(str(world.dictionary)))


def fillers(rng: random.Random, n: int) -> list[str]:
    return [f"filler{rng.randrange(FILLERS)}" for _ in range(n)]


def window(unit_id: str, word: str, activation: float, number: int) -> Exemplar:
    """A window of ten words around a marked one. An activation of 0 makes it a silent one."""
    rng = random.Random(f"{unit_id}/{word}/{number}")
    mark = rng.randrange(2, 9)
    words = fillers(rng, 10)
    words[mark] = word
    activations = tuple(activation if i == mark else 0.0 for i in range(10))
    share = activation / LARGEST
    return Exemplar(
        exemplar_id=f"{unit_id}@{number}.{mark}", unit_id=unit_id, role="score" if activation else "quiet", document=number, position=mark,
        activation=activation, activation_fraction=share, bin=round(10 * share + 0.4999) if activation else 0,
        inclusion_probability=1.0, mark=mark, tokens=tuple(f" {word}" for word in words), token_activations=activations,
    )  # fmt: skip


def windows(number: int, each: int = 4) -> tuple[Exemplar, ...]:
    """`each` windows for every word of a pure feature's concept."""
    concept, unit_id = CONCEPTS[number], f"feature-{number}"
    words = [make(concept, i) for make in (strong_word, weak_word) for i in range(5)]
    return tuple(
        window(unit_id, word, planted.loudness(word)[1] - 0.01, i * each + j)
        for i, word in enumerate(words)
        for j in range(each)
    )


def case(number: int = 0, *, explanation: str | None = None, seed: int = 0) -> Case:
    """The case of pure feature `number`, with the other pure features as other units."""
    unit_id = f"feature-{number}"
    silent = [window(unit_id, f"filler{i}", 0.0, 100 + i) for i in range(6)]
    return Case(
        unit=Unit(unit_id, "feature", number, "", "resid_post.0", LARGEST, 0.01, "alive"),
        explanation=f"words about a {CONCEPTS[number]}" if explanation is None else explanation,
        active=windows(number),
        silent=tuple(silent),
        others=tuple(windows(other) for other in range(len(CONCEPTS)) if other != number),
        seed=seed,
    )


def walk(scorer: Scorer, case: Case, ask: Ask, opened: Opened | None = None) -> tuple[Scores, list[list[Any]]]:
    """The scorer's figures, and the answers of all its steps."""
    answers: list[list[Any]] = []
    for step, kind in enumerate(scorer.steps):
        if kind == "run":
            tasks = scorer.subject_tasks(case, step, answers)
            answers.append(opened.run_tasks(case.unit, tasks) if opened else [None] * len(tasks))
            continue
        answers.append([])
        for question in scorer.questions(case, step, answers[:step]):
            reply = ask(question.prompt)
            try:
                answers[step].append(None if reply is None else question.parse(reply))
            except ReplyUnusable:
                answers[step].append(None)
    return scorer.score(case, answers), answers
