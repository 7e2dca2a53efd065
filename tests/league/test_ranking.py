"""The league: figures told apart by how well they tell right explanations from wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.locations import ROOT

from autointerp.errors import UsageError
from autointerp.league import ranking, samples, table
from autointerp.league.claims import of_classes
from autointerp.league.knowing_judge import TASKS, KnowingJudge
from autointerp.league.metrics import METRICS
from autointerp.league.ranking import Area, Key
from autointerp.league.samples import KINDS
from autointerp.messages import MarkedText, Prompt, ScoreMaterial, TaskMaterial
from autointerp.scorers.registry import SCORERS

CLAIM = of_classes(["dogs"])
DOG, TREE = (MarkedText((" the", f" {word}", " was"), 1) for word in ("dog", "tree"))


def ask(judge: KnowingJudge, material: TaskMaterial | ScoreMaterial) -> object:
    return json.loads(judge.ask(Prompt("", "", {}, 100, material)).text)


def test_a_judge_that_knows_the_claims_answers_by_them() -> None:
    judge = KnowingJudge({CLAIM.text: CLAIM}, 0.0, 0)
    assert ask(judge, TaskMaterial("detection", CLAIM.text, (DOG, TREE))) == {"1": True, "2": False}
    assert ask(judge, TaskMaterial("rating", CLAIM.text, (DOG, TREE))) == {"1": 2, "2": 0}
    assert ask(judge, TaskMaterial("simulation", CLAIM.text, (TREE, DOG))) == {
        "strengths": [{"token": 5, "strength": 7}]
    }
    assert ask(judge, TaskMaterial("distinction", CLAIM.text, (TREE, DOG)))["answers"] == [2]  # type: ignore[index]
    grades = [ask(judge, ScoreMaterial(CLAIM.text, w))["grade"] for w in (DOG, MarkedText(DOG.tokens, 0), TREE)]  # type: ignore[index]
    assert grades == [3, 1, 0]


def test_a_judge_that_errs_is_wrong_at_the_stated_rate_and_always_in_the_same_answers() -> None:
    windows = tuple(MarkedText((f" filler{n}", " dog"), 1) for n in range(2000))
    material = TaskMaterial("detection", CLAIM.text, windows)
    first, again = (ask(KnowingJudge({CLAIM.text: CLAIM}, 0.2, 0), material) for _ in range(2))
    assert first == again
    assert list(first.values()).count(False) / 2000 == pytest.approx(0.2, abs=0.03)  # type: ignore[attr-defined]


def test_every_scorer_that_shows_an_explanation_is_ranked_and_its_questions_are_known() -> None:
    ranked = {metric.evaluation for metric in METRICS}
    assert ranked >= {name for name, scorer in SCORERS.items() if scorer.needs_explanation}
    assert ranked - {
        "rubric",
        "embedding",
        "clarity",
        "sensitivity",
        "responsiveness",
        "faithfulness",
    } == TASKS.keys() - {"rating"}


def test_undefined_figures_tell_nothing() -> None:
    assert ranking._area([(1.0, 0.0), (1.0, 0.0)]) == (1.0, 0.0)
    assert ranking._area([(1.0, None), (1.0, None)]) == (0.5, 0.5)
    assert ranking._area([(1.0, 0.0), (1.0, None)]) == (0.75, 0.25)


@pytest.fixture(scope="module")
def cells() -> dict[Key, tuple[float, float]]:
    """One world with few units."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "EVALUATED", {"class": 3, "theme": 2, "twin": 2})
        return ranking.rank_world(0, ("knows",))


def mean(cells: dict[Key, tuple[float, float]], name: str, kind: str, source: str = "") -> float:
    [number] = [n for n, m in enumerate(METRICS) if (m.name, m.source) == (name, source)]
    return cells[Key("knows", number, kind)][0]


def test_the_mean_grade_does_not_notice_breadth_and_detection_does(cells: dict[Key, tuple[float, float]]) -> None:
    assert mean(cells, "grade", "random") == 1
    assert mean(cells, "grade", "broad") <= 0.5
    assert mean(cells, "detection: balanced_accuracy", "broad") > 0.7


def test_neighbours_tell_what_names_a_whole_theme_and_silent_windows_tell_twice_the_breadth(
    cells: dict[Key, tuple[float, float]],
) -> None:
    assert mean(cells, "distinction: told", "general") > mean(cells, "grade - silent", "general")
    assert mean(cells, "distinction: told", "twin") > 0.95


def test_a_section_of_a_page_is_written_between_its_marks(tmp_path: Path) -> None:
    league = {Key("knows", n, kind): Area(n / len(METRICS), 0.01, 0.0) for n in range(len(METRICS)) for kind in KINDS}
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nsuperseded\n{table.END}\nafter\n", encoding="utf-8")
    table.write_section(page, table.markdown(league, 2))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "superseded" not in text
    assert text.index("`faithfulness`") < text.index("`grade`")
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(UsageError, match="no section for the league"):
        table.write_section(page, "")


def test_the_docs_show_every_compared_figure() -> None:
    page = (ROOT / "docs" / "scorers.md").read_text(encoding="utf-8")
    section = page.partition(table.BEGIN)[2].partition(table.END)[0]
    assert [m.name for m in METRICS if m.is_compared and f"`{m.name}`" not in section] == []
