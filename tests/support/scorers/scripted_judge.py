"""Cases made by hand and judges that follow a script, to walk a scorer without a harvest, a ledger or a language model."""

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
"""A judge: the reply to a task as JSON, or as text where it is a string."""
UNIT = Unit("feature-0", "feature", 0, "", "resid_post.0", 4.0, 0.001, "alive")
_WORDS = "the morning train was late again and nobody on platform could say why it had stopped far from"
FILLER = _WORDS.split()
"""Words that mean nothing to any planted unit."""


def exemplar(number: int, tokens: Sequence[str], activations: Mapping[int, float], mark: int) -> Exemplar:
    """A window with activations at a few tokens; judged where the unit is active at the mark, else quiet."""
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
    n_active: int, n_quiet: int, seed: int, *, explanation: str = "planted", most: int = 3, length: int = 24
) -> Case:
    """A unit that is active at up to `most` tokens of each active window. No token's text stands in the case twice."""
    rng = random.Random(seed)

    def window(number: int, active: bool) -> Exemplar:
        places = rng.sample(range(length), rng.randint(1, most)) if active else []
        activations = {i: UNIT.max_activation * rng.uniform(0.02, 1) for i in places}
        mark = places[0] if active else rng.randrange(length)
        return exemplar(number, [f" t{number}x{i}" for i in range(length)], activations, mark)

    active = tuple(window(i, True) for i in range(n_active))
    quiet = tuple(window(n_active + i, False) for i in range(n_quiet))
    return Case(UNIT, explanation, active, quiet, (), seed)


def active_tokens(of: Case) -> frozenset[str]:
    """The tokens at which the unit is active."""
    return frozenset(t for e in of.active for t, a in zip(e.tokens, e.token_activations, strict=True) if a)


def judged(scorer: Scorer, of: Case, says: Says) -> Scores:
    """A scorer's figures of a case when a judge says that. A reply that cannot be read brings None, as in a run."""
    brought: list[list[Any]] = []
    for step, kind in enumerate(scorer.steps):
        assert kind == "ask"
        brought.append([])
        for question in scorer.questions(of, step, brought):
            assert isinstance(question.prompt.material, TaskMaterial)
            reply = says(question.prompt.material)
            try:
                brought[-1].append(question.parse(reply if isinstance(reply, str) else json.dumps(reply)))
            except ReplyUnusable:
                brought[-1].append(None)
    return scorer.score(of, brought)


def flags(answer: Callable[[int, Any], bool]) -> Says:
    """A judge of yes and no: `answer` gets a window's number and the window."""
    return lambda material: {str(n): answer(n, window) for n, window in enumerate(material.windows, 1)}


def labelled(labels: frozenset[str], strength: int = 7) -> Says:
    """A judge for whom an explanation covers exactly these tokens: it is right in all it says of them."""

    def says(material: TaskMaterial) -> Any:
        windows = material.windows
        if material.task == "detection":
            return {str(n): not labels.isdisjoint(w.tokens) for n, w in enumerate(windows, 1)}
        if material.task == "fuzzing":
            return {str(n): labels.issuperset(w.tokens[i] for i in w.marks) for n, w in enumerate(windows, 1)}
        assert material.task == "simulation"
        tokens = [token for w in windows for token in w.tokens]
        found = [{"token": n, "strength": strength} for n, token in enumerate(tokens, 1) if token in labels]
        return {"strengths": found}

    return says
