"""The most questions of a run, from its spec alone, cover every question that it asks."""

from __future__ import annotations

from typing import Any

import pytest
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted

from autointerp.costs import bounds, scorer_questions
from autointerp.records import Explanation, ExplanationKey, Outcome
from autointerp.scorers.cases import Cases
from autointerp.scorers.registry import SCORERS
from autointerp.spec.sections import SCORER_NAMES
from autointerp.spec.spec import Spec, parse

LLM = {"model": "openai/gpt-5.4-mini"}
NAMES: tuple[str, ...] = SCORER_NAMES
EXPLANATION = "words about a harbour"


def spec_with(**sections: Any) -> Spec:
    inputs = {"subject": {"model": "x"}, "dictionary": {"path": "x"}, "corpus": {"sources": ["x"]}, "judge": LLM}
    return parse(inputs | sections)


def by_stage(spec: Spec) -> dict[str, bounds.StageBound]:
    return {stage.stage: stage for stage in bounds.bounds(spec)}


def test_every_other_evaluation_that_asks_a_judge_has_a_bound() -> None:
    found = by_stage(spec_with(score={"also": list(NAMES)}))
    assert set(found) == {"explain", "score", *NAMES} - {"embedding"}, "embedding asks nobody"
    for stage in found.values():
        assert stage.calls > 0
        assert stage.usual_usd is not None
        assert stage.most_usd is not None
        assert 0 < stage.usual_usd < stage.most_usd
    lines = list(bounds.describe(spec_with(score={"also": list(NAMES)})))
    assert len({line.index("at most") for line in lines[: len(found)]}) == 1, "one column"


def test_the_bounds_of_a_run_without_other_evaluations_name_none() -> None:
    assert set(by_stage(spec_with(controls={"neighbours": 0}))) == {"explain", "score"}


@pytest.mark.parametrize("small", [True, False])
def test_units_of_random_weights_are_in_the_bounds(small: bool) -> None:
    off = {"random_dictionary": False, "random_subject": False}
    one = {"random_dictionary": "small" if small else True, "random_subject": False}
    without, within = (by_stage(spec_with(controls=controls)) for controls in (off, one))
    units, of_unit = (16, 10 * 2 + 10) if small else (32, 10 * 5 + 10)
    assert within["score"].calls - without["score"].calls == units * of_unit
    assert within["explain"].calls - without["explain"].calls == 3 * units


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """Harvested units, each with an explanation."""
    folder = tmp_path_factory.mktemp("planted")
    world = planted.make(folder / "world", documents=160)
    run, ledger = planted_runs.prepare(
        world, folder / "results", score={"also": list(NAMES)}, controls={"neighbours": 10}
    )
    ledger.close()
    keys = [ExplanationKey(unit_id) for unit_id in run.units]
    return Cases(run, {key: Explanation(key, Outcome.SCORED, EXPLANATION, "", None) for key in keys})


@pytest.mark.parametrize("name", NAMES)
def test_no_unit_is_asked_more_than_the_bound(cases: Cases, name: str) -> None:
    scorer, spec = SCORERS[name], cases.run.spec
    most = scorer_questions.most_questions(spec, scorer, EXPLANATION)
    asked = []
    for unit in list(cases.units(scorer)):
        case, answers, n = cases.of(unit.unit_id), list[list[Any]](), 0
        for step, kind in enumerate(scorer.steps):
            if kind == "run":
                answers.append([scorer_questions._result(t) for t in scorer.subject_tasks(case, step, answers)])
            else:
                questions = scorer.questions(case, step, answers)
                n += len(questions)
                answers.append([None] * len(questions))
        asked.append(n)
    assert asked
    assert max(asked) <= len(most)
    assert (max(asked) > 0) == (name != "embedding")
