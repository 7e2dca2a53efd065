"""Token probabilities of a reply: read from malformed lists too, and unchanged when a run is resumed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.calls.answers import storable
from autointerp.calls.caller import Caller
from autointerp.ledger import runs
from autointerp.ledger.budgets import Limits
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.messages import (
    MarkedText,
    Prompt,
    Reply,
    ScoreMaterial,
    Usage,
    first_token_probabilities,
    pack_probabilities,
    unpack_probabilities,
)
from autointerp.prompts import single_grade
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge as JudgeSettings

RULES = rubric.load("specificity")
MATERIAL = ScoreMaterial("cats", MarkedText(("cat",), 0))


@given(st.text(), st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=5))
def test_packed_probabilities_are_unpacked_unchanged(text: str, probabilities: dict[str, float]) -> None:
    reply = Reply(text, "complete", Usage(), "m", probabilities=probabilities)
    assert unpack_probabilities(pack_probabilities(reply).text) == (text, probabilities)
    assert pack_probabilities(pack_probabilities(reply)) == pack_probabilities(reply)
    storable(reply).text.encode()


@given(st.text())
def test_any_other_text_has_no_probabilities(text: str) -> None:
    reply = Reply(text, "complete", Usage(), "m")
    assert pack_probabilities(reply) is reply
    assert unpack_probabilities(text) == (text, None)


def token(text: str, p: float, *top: tuple[str, float]) -> dict[str, Any]:
    return {"token": text, "logprob": math.log(p), "top_logprobs": [token(other, q) for other, q in top]}


def test_tokens_that_differ_only_in_whitespace_are_added_up() -> None:
    logprobs = [token("2", 0.5, ("2", 0.5), (" 2", 0.25), ("3", 0.125), ("\n", 0.1)), token("!", 1.0)]
    assert first_token_probabilities(logprobs) == {"2": 0.75, "3": 0.125, "": 0.1}


def test_the_replys_own_token_counts_even_if_it_is_not_among_the_top_ones() -> None:
    assert first_token_probabilities([token("1", 0.25, ("2", 0.5))]) == {"1": 0.25, "2": 0.5}


@pytest.mark.parametrize(
    ("logprobs", "found"),
    [(None, None), ({}, None), ("x", None), ([], {}), ([None], {}), ([{"token": "1"}], {}), ([{"token": "1", "logprob": "x"}], {}),
     ([{"token": "1", "logprob": math.nan, "top_logprobs": [3, {}, {"logprob": -1.0}]}], {}), ([{"token": "1", "logprob": 9}], {"1": 1.0}),
     ([{"token": "1", "logprob": -9999.0}], {})],
)  # fmt: skip
def test_malformed_logprobs_are_ignored(logprobs: Any, found: Any) -> None:
    assert first_token_probabilities(logprobs) == found


class Weighing:
    """Answers each question once, with probabilities."""

    name, is_llm = "openai-compatible/m", True
    times = 0

    def identity(self) -> Mapping[str, Any]:
        return {"model": self.name}

    def ask(self, prompt: Prompt) -> Reply:
        self.times += 1
        probabilities = {"1": 0.1 + 0.2, "2": 1 / 3, "The": 0.2}
        return Reply("The", "complete", Usage(5, 1), "m", probabilities=probabilities)

    def count_tokens(self, prompt: Prompt) -> int | None:
        return None

    def close(self) -> None:
        pass


def test_a_resumed_run_reads_the_same_expected_grade(tmp_path: Path) -> None:
    prompt, judge = single_grade.prompt(RULES, MATERIAL, 100, "logprobs"), Weighing()
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite")
    grades = []
    for run_id in ("first", "first", "second"):
        with ledger.write() as tx:
            runs.register(tx, run_id=run_id, name="run", spec_hash="", spec="")
        caller = Caller(
            ledger, run_id, judge, JudgeSettings(model=judge.name, base_url="http://127.0.0.1:1"), Limits(None)
        )
        grades.append(
            caller.ask(prompt, lambda text: single_grade.parse(RULES, text, "logprobs"), Job("job", "score"), 0).value
        )
    ledger.close()
    assert judge.times == 1
    assert grades == [single_grade.Grade(2, "", pytest.approx((0.3 + 2 / 3) / (0.3 + 1 / 3)))] * 3
    assert len({grade.expected for grade in grades if grade}) == 1
