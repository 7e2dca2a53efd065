"""What visitors may ask is bounded, and a wrong question is answered with the field that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel
from support.locations import ROOT

from autointerp.errors import UsageError
from autointerp.explorer.live import limits
from autointerp.explorer.live.questions import Continuing, Reading, read_question

DOCS = ROOT / "docs" / "explorer.md"
SET = {"unit": "feature-1", "factor": 2.0}


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (Reading, {"text": "x" * (limits.CHARACTERS + 1)}, "text: it has 4,001 characters: give at most 4,000"),
        (Reading, {"text": "x", "units": [f"feature-{i}" for i in range(limits.UNITS + 1)]}, "units: "),
        (Reading, {"text": "x", "units": ["feature-1; drop"]}, "units.0: "),
        (Reading, {"text": 3}, "text: "),
        (Reading, {}, "text: "),
        (Reading, {"text": "x", "more": 1}, "more: "),
        (Continuing, {"text": "x", "units": [SET | {"factor": 10.5}]}, "units.0.factor: "),
        (Continuing, {"text": "x", "units": [SET | {"factor": float("nan")}]}, "units.0.factor: "),
        (Continuing, {"text": "x", "units": [SET, SET]}, "units: a unit is named twice: name each once"),
        (Continuing, {"text": "x", "units": [SET | {"unit": f"feature-{i}"} for i in range(9)]}, "units: "),
        (Continuing, {"text": "x", "tokens": limits.NEW_TOKENS + 1}, "tokens: "),
        (Continuing, {"text": "x", "tokens": 0}, "tokens: "),
        (Continuing, {"text": "x", "temperature": -0.1}, "temperature: "),
        (Continuing, {"text": "x", "seed": 2**40}, "seed: "),
    ],
)
def test_a_wrong_question_names_the_field(kind: type[BaseModel], body: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_question(kind, json.dumps(body).encode())
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"text": "\xff"}'])
def test_a_body_that_is_no_question_is_refused(body: bytes) -> None:
    with pytest.raises(UsageError):
        read_question(Reading, body)


def test_factors_become_activations() -> None:
    question = Continuing(text="x", units=(SET, {"unit": "neuron-3-", "factor": -0.5}))
    assert question.job({"feature-1": 8.0, "neuron-3-": 4.0}).values == {"feature-1": 16.0, "neuron-3-": -2.0}


def test_a_unit_that_is_never_active_cannot_be_set() -> None:
    with pytest.raises(UsageError, match="feature-1 is never active in the corpus of the index"):
        Continuing(text="x", units=(SET,)).job({"feature-1": 0.0})


def test_the_limits_are_those_of_the_documentation() -> None:
    said = " ".join(DOCS.read_text().split())
    for sentence in (
        f"{limits.CHARACTERS:,} characters; {limits.TOKENS} tokens are read",
        f"{limits.NEW_TOKENS} tokens, {limits.CONTINUE_S:.0f} seconds",
        f"a reading | {limits.READ_S:.0f} seconds",
        f"set at once | {limits.UNITS} |",
        f"{limits.OF_VISITOR} of one network address, {limits.OF_ALL} of all",
        f"-{limits.FACTOR:.0f} to {limits.FACTOR:.0f} times their maximum",
    ):
        assert sentence in said
