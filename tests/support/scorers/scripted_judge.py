"""Cases made by hand and scripted judges, to test a scorer without a harvest, a ledger or a language model."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autointerp.messages import TaskMaterial
from autointerp.prompts.replies import ReplyUnusable
from autointerp.records import Exemplar, Unit
from autointerp.scorers.base import Case, Scorer, Scores

Says = Callable[[TaskMaterial], Any]
"""A judge: its reply to a task, as a JSON value or as text."""
UNIT = Unit("feature-0", "feature", 0, "", "resid_post.0", 4.0, 0.001, "alive")
_WORDS = "the morning train was late again and nobody on platform could say why it had stopped far from"
FILLER = _WORDS.split()
"""Words to which no planted unit responds."""


def exemplar(number: int, tokens: Sequence[str], activations: Mapping[int, float], mark: int) -> Exemplar:
    """A window with activations at a few tokens. Its role is `score` if the unit is active at the mark, else `quiet`."""
    at = activations.get(mark, 0.0)
    fraction = at / UNIT.max_activation
    return Exemplar(
        exemplar_id=f"feature-0@{number}.0",
        unit_id="feature-0",
        role="score" if at else "quiet",
        document=number,
        position=mark,
        activation=at,
        activation_fraction=fraction,
        bin=min(10, int(fraction * 10) + 1) if at else 0,
        inclusion_probability=0.5,
        mark=mark,
        tokens=tuple(tokens),
        token_activations=tuple(activations.get(i, 0.0) for i in range(len(tokens))),
    )


def case(
    n_active: int, n_silent: int, seed: int, *, explanation: str = "planted", most: int = 3, length: int = 24
) -> Case:
    """A unit that is active at up to `most` tokens of each active window. No token occurs twice in the case."""
    rng = random.Random(seed)

    def window(number: int, active: bool) -> Exemplar:
        places = rng.sample(range(length), rng.randint(1, most)) if active else []
        activations = {i: UNIT.max_activation * rng.uniform(0.02, 1) for i in places}
        mark = places[0] if active else rng.randrange(length)
        return exemplar(number, [f" t{number}x{i}" for i in range(length)], activations, mark)

    active = tuple(window(i, True) for i in range(n_active))
    silent = tuple(window(n_active + i, False) for i in range(n_silent))
    return Case(UNIT, explanation, active, silent, (), seed)


def active_tokens(of: Case) -> frozenset[str]:
    """The tokens at which the unit is active."""
    return frozenset(t for e in of.active for t, a in zip(e.tokens, e.token_activations, strict=True) if a)


def judged(scorer: Scorer, of: Case, says: Says) -> Scores:
    """A scorer's figures of a case with this judge. An unreadable reply becomes None, as in a run."""
    answers: list[list[Any]] = []
    for step, kind in enumerate(scorer.steps):
        assert kind == "ask"
        answers.append([])
        for question in scorer.questions(of, step, answers):
            assert isinstance(question.prompt.material, TaskMaterial)
            reply = says(question.prompt.material)
            try:
                answers[-1].append(question.parse(reply if isinstance(reply, str) else json.dumps(reply)))
            except ReplyUnusable:
                answers[-1].append(None)
    return scorer.score(of, answers)


def flags(answer: Callable[[int, Any], bool]) -> Says:
    """A judge that answers true or false: `answer` takes a window's number and the window."""
    return lambda material: {str(n): answer(n, window) for n, window in enumerate(material.windows, 1)}


def labelled(labels: frozenset[str], strength: int = 7) -> Says:
    """A judge that answers as if the explanation covered exactly these tokens."""

    def says(material: TaskMaterial) -> Any:
        windows = material.windows
        if material.task == "detection":
            return {str(n): not labels.isdisjoint(w.tokens) for n, w in enumerate(windows, 1)}
        if material.task == "fuzzing":
            return {str(n): labels.issuperset(w.tokens[i] for i in w.marks) for n, w in enumerate(windows, 1)}
        assert material.task == "simulation"
        tokens = [token for w in windows for token in w.tokens]
        listed = [{"token": n, "strength": strength} for n, token in enumerate(tokens, 1) if token in labels]
        return {"strengths": listed}

    return says
