"""Runs of any size in a ledger, made without a judge: items, calls with prompts and replies, and jobs in every state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from autointerp.hashing import content_hash
from autointerp.ledger import calls, events, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.schema import answers, explanations, jobs, judgements
from autointerp.ledger.schema import calls as calls_table

RUN = "asked-0123abcd"
SYSTEM = "You grade how well an explanation fits one place in a text.\n\nGrades:\n0 - not at all\n3 - fully"
OUTCOMES = ("refusal", "truncated", "parse_failure", "out_of_range", "content_rejected", "provider_error")
REPLIES = {
    "refusal": "I cannot help with that.", "truncated": '{"reason": "the mark', "parse_failure": "The grade is fine.",
    "out_of_range": '{"reason": "odd", "grade": 7}', "content_rejected": "", "provider_error": "",
}  # fmt: skip
_SPEC = """
name = "asked"
[subject]
model = "tiny/subject"
[dictionary]
path = "tiny/dictionary"
[corpus]
sources = ["tiny/corpus.jsonl"]
[judge]
model = "anthropic/claude-haiku-4-5"
[budget]
usd = 5.0
"""
_WORDS = ("harbour", "orchard", "quarry", "theatre", "lantern", "meadow", "copper", "velvet")
_AT_ONCE = 5_000
_BEGAN = 1_790_000_000.0


def make(
    ledger: Ledger, n: int = 60, *, run: str = RUN, units: int = 6, hostile: Sequence[str] = (), unscored_each: int = 5, state: str = "done",
    padding: int = 40,
) -> list[str]:  # fmt: skip
    """A run with `n` grades, each with a call, every `unscored_each`-th without a grade, and return the keys of their jobs.

    `hostile` texts are in explanations, prompts and replies of the first items. Each prompt has `padding` words.
    """
    with ledger.write() as tx:
        runs.register(tx, run_id=run, name="asked", spec_hash="", spec=_SPEC, state="running")
        runs.set_state(tx, run, state, "" if state in ("running", "done") else "the judge is away")
        system_hash = calls.store_text(tx, SYSTEM)
        events.add(tx, run, "started in one process")
        tx.execute(sa.insert(explanations), [_explanation(run, unit, hostile) for unit in range(units)])
        tx.execute(sa.insert(jobs), [_job(run, "explain", f"e{run}{unit}", unit, "", "done") for unit in range(units)])
    keys: list[str] = []
    for first in range(0, n, _AT_ONCE):
        places = range(first, min(n, first + _AT_ONCE))
        some = [_item(run, place, units, system_hash, hostile, unscored_each, padding) for place in places]
        with ledger.write() as tx:
            for table, rows in zip((jobs, judgements, calls_table), zip(*some, strict=True), strict=True):
                tx.execute(sa.insert(table), list(rows))
        keys += [each[0]["job_key"] for each in some]
    with ledger.write() as tx:
        spent = tx.execute(
            sa.select(sa.func.sum(calls_table.c.cost_usd)).where(calls_table.c.run_id == run)
        ).scalar_one()
        tx.execute(sa.update(runs.runs).where(runs.runs.c.run_id == run).values(spent_usd=spent))
        tx.execute(sa.insert(answers), [_answer(run)])
    return keys


def add_failed_attempt(ledger: Ledger, key: str, reason: str, run: str = RUN) -> None:
    """An attempt at an item's question that failed, beside the one that was answered."""
    with ledger.write() as tx:
        row = dict(tx.execute(sa.select(calls_table).where(calls_table.c.job_key == key)).mappings().one())
        del row["call_id"]
        failed = {
            "state": "error",
            "reason": reason,
            "reply": "",
            "input_tokens": 0,
            "output_tokens": 0,
            "cost_usd": 0.0,
        }
        tx.execute(sa.insert(calls_table), [row | failed])


def finish_one(ledger: Ledger, run: str = RUN) -> None:
    """One more pending job of the run is done, as a worker does it."""
    with ledger.write() as tx:
        pending = sa.select(jobs.c.job_key).where(jobs.c.run_id == run, jobs.c.state == "pending").limit(1)
        key = tx.execute(pending).scalar_one()
        tx.execute(sa.update(jobs).where(jobs.c.run_id == run, jobs.c.job_key == key).values(state="done"))
        events.add(tx, run, f"answered {key}")


def add_pending(ledger: Ledger, n: int, run: str = RUN) -> None:
    """Questions that are not asked yet."""
    with ledger.write() as tx:
        tx.execute(
            sa.insert(jobs),
            [_job(run, "score", f"pending-{place}", place % 3, f"x-{place}", "pending") for place in range(n)],
        )


def _text(place: int, hostile: Sequence[str]) -> str:
    return hostile[place] if place < len(hostile) else f"words about a {_WORDS[place % len(_WORDS)]}"


def _explanation(run: str, unit: int, hostile: Sequence[str]) -> dict[str, Any]:
    return {
        "run_id": run,
        "unit_id": f"feature-{unit}",
        "outcome": "scored",
        "text": _text(unit, hostile),
        "reason": "",
        "call_key": None,
    }


def _job(run: str, stage: str, key: str, unit: int, exemplar: str, state: str) -> dict[str, Any]:
    return {
        "run_id": run, "job_key": content_hash(key)[:64], "stage": stage, "place": unit, "state": state, "unit_id": f"feature-{unit}",
        "exemplar_id": exemplar, "arm": "main" if stage == "score" else "", "explanation_unit_id": f"feature-{unit}" if stage == "score" else "",
    }  # fmt: skip


def _item(
    run: str, place: int, units: int, system_hash: str, hostile: Sequence[str], unscored_each: int, padding: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The job, the judgement and the call of an item."""
    unit = place % units
    job = _job(run, "score", f"{run}-{place}", unit, f"feature-{unit}-{place}", "done")
    failed = unscored_each and place % unscored_each == unscored_each - 1
    outcome = OUTCOMES[(place // unscored_each) % len(OUTCOMES)] if failed else "scored"
    grade, said = place % 4, _text(place, hostile)
    filling = " ".join(_WORDS[(place + at) % len(_WORDS)] for at in range(padding))
    reply = (
        REPLIES[outcome]
        if failed
        else json.dumps({"reason": f"{said} at number {place}", "grade": grade}, ensure_ascii=False)
    )
    reason = f"not read: {REPLIES[outcome][:40]}" if failed else f"{said} at number {place}"
    user = f"<explanation>\n{_text(unit, hostile)}\n</explanation>\n<text>\n{filling} <<mark{place}>> {said}\n</text>"
    key = content_hash(["call", run, place])
    judgement = {
        "run_id": run, "job_key": job["job_key"], "exemplar_id": job["exemplar_id"], "unit_id": f"feature-{unit}", "arm": "main", "repeat": 0,
        "explanation_unit_id": f"feature-{unit}", "outcome": outcome, "score": None if failed else grade, "expected": None, "reason": reason,
        "call_key": key,
    }  # fmt: skip
    call = {
        "call_key": key, "run_id": run, "job_key": job["job_key"], "judge": "anthropic/claude-haiku-4-5", "state": outcome, "reason": reason if failed else "",
        "system_hash": system_hash, "user": user, "reply": reply, "input_tokens": 100 + place % 50, "output_tokens": 20,
        "cache_read_tokens": 1_800, "cost_usd": 0.0005, "request_id": f"req_{place}", "started_at": _BEGAN + place, "duration_s": 0.8,
    }  # fmt: skip
    return job, judgement, call


def _answer(run: str) -> dict[str, Any]:
    return {
        "run_id": run, "job_key": content_hash([run, "answer"]), "scorer": "detection", "unit_id": "feature-0", "step": 0, "number": 0,
        "outcome": "scored", "answer": "[true, false]", "reason": "", "call_key": None,
    }  # fmt: skip
