"""Everything about one item: what the judge was shown, what it replied, how that was read, and why it has no grade if it has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autointerp.calls.answers import read_reply
from autointerp.explorer.items import attempts
from autointerp.explorer.items.listing import Listing, card
from autointerp.explorer.items.names import ARMS, EXPLAIN, GRADE, STATES
from autointerp.explorer.items.rebuilt import Asked, OpenRun, stored_reply
from autointerp.ledger import jobs
from autointerp.ledger.jobs import Job
from autointerp.messages import Prompt, Reply, unpack_probabilities
from autointerp.prompts.replies import ReplyUnusable
from autointerp.prompts.single_grade import Grade
from autointerp.records import SECOND_JUDGE
from autointerp.redaction import hide, hide_known
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import is_llm
from autointerp.spec.spec import judge_of

_MOST_OTHERS = 50
_NOT_SHOWN = frozenset({"key_env", "input_usd_per_mtok", "output_usd_per_mtok"})


@dataclass(frozen=True)
class Place:
    """An item or a call of a listing: `row` has the columns of `frames`."""

    listing: Listing
    of: str
    row: Any

    @classmethod
    def find(cls, listing: Listing, item: str) -> Place | None:
        """The item or call with this id; None for an unknown one."""
        found = listing.row(item)
        if found is None:
            return None
        of, row = found
        return cls(listing, of, next(listing.frame(of).iloc[[row]].itertuples(index=False)))


def stored(place: Place, run_id: str) -> dict[str, Any]:
    """What the ledger or the run's files hold of an item."""
    listing, row = place.listing, place.row
    calls = attempts.calls_of(listing, place.of, row)
    main = attempts.answering(calls, row)
    return {
        "item": card(listing, place.of, row) | {"reason": hide(row.reason), "call_key": row.call_key or None, "exemplar_id": row.exemplar_id},
        "meaning": STATES.get(row.outcome, row.outcome),
        "arm_meaning": ARMS.get(row.arm, row.arm),
        "explained_unit": row.explained_by.partition("#")[0] if row.explained_by else None,
        "window": listing.windows.get(row.exemplar_id) if row.exemplar_id else None,
        "prompt": None if main is None else {"system": hide_known(main["system"]), "user": hide_known(main["user"])},
        "calls": [attempts.shown(call, run_id, main) for call in calls] if main else [],
        "main": main["call_id"] if main else None,
        "results": [card(listing, "items", each) for each in listing.frames.items.iloc[others(place)].itertuples(index=False)],
        "missing": listing.frames.missing,
    }  # fmt: skip


def others(place: Place) -> NDArray[np.int64]:
    """The rows of the items that an item's page leads to: those of the same question, or of a call those that its reply answered."""
    return _results(place) if place.of == "calls" else _asked_with(place)


def rebuilt(place: Place, opened: OpenRun) -> dict[str, Any]:
    """The item's question as the program makes it: its schema and limits, and whether it is the one that was asked.

    For a judge that makes no calls, also the prompt and the reply, by asking it again.
    """
    row = place.row if place.of == "items" else _first_result(place)
    job = _job(opened, row)
    settings = judge_of(opened.run.spec, job.stage)
    common: dict[str, Any] = {
        "judge": settings.model,
        "is_llm": is_llm(settings.model),
        "parameters": _parameters(settings),
        "levels": [{"grade": level.grade, "text": level.text} for level in opened.run.rubric.levels] if row.kind == GRADE else [],
        "prompt": None,
    }  # fmt: skip
    calls = attempts.calls_of(place.listing, place.of, place.row)
    if not calls and not row.call_key and not place.listing.frames.missing:
        return common  # nobody was asked
    question = attempts.calls_of_question(place.listing, place.row)
    by_text = {call["user"]: stored_reply(call["reply"], call["state"]) for call in question if call["reply"]}
    asked = opened.ask_again(job, place.listing.frames.explanations, by_text.get)
    main = attempts.answering(calls, place.row)
    found = _the_one(asked, main, row.call_key)
    if found is None:
        return common
    one, same = found
    reply = stored_reply(main["reply"], main["state"]) if main else one.reply
    return common | {
        "prompt": _shown(one.prompt),
        "same": same,
        "reply": None if main or reply is None else _said(reply),
        "reading": _reading(reply, one) if reply is not None and (main is None or main["reply"]) else None,
        "tries": len(asked),
    }


def _the_one(asked: list[Asked], main: Mapping[str, Any] | None, key: str | None) -> tuple[Asked, bool | None] | None:
    """The question that was asked, and whether it is known to be the same: by its text, or by its key for a judge without calls."""
    if not asked:
        return None
    for one in asked:
        if main is not None and (one.prompt.user, one.prompt.system) == (main["user"], main["system"]):
            return one, True
        if main is None and key and one.key == key:
            return one, True
    return asked[-1 if main is None else 0], False if main is not None or (key and asked[0].key) else None


def _job(opened: OpenRun, row: Any) -> Job:
    """The job of an item: that of its group, or one made from the item."""
    if (row.asked_in or row.kind not in (EXPLAIN, GRADE)) and opened.ledger is not None:
        with opened.ledger.read() as tx:
            known = jobs.by_key(tx, opened.run.run_id, [row.asked_in or row.job_key])
        if known:
            return next(iter(known.values()))
    if row.kind == EXPLAIN:
        return Job(row.job_key, "explain", row.unit_id, arm=row.arm)
    stage = "regrade" if row.judge == SECOND_JUDGE else "score"
    return Job(row.job_key, stage, row.unit_id, row.exemplar_id, row.arm, int(row.repeat), row.explained_by)


def _results(place: Place) -> NDArray[np.int64]:
    """The items that a call's reply answered."""
    listing, row = place.listing, place.row
    mine = listing.rows_with("items", call_key=row.call_key, job_key=row.job_key, asked_in=row.job_key)
    if row.kind == EXPLAIN:
        mine = np.union1d(mine, attempts.explaining(listing, "items", row))
    return mine[:_MOST_OTHERS]


def _asked_with(place: Place) -> NDArray[np.int64]:
    """The other items of the same question."""
    mine = place.listing.rows_with("items", asked_in=place.row.asked_in)
    if not len(mine):
        return mine
    return mine[np.flatnonzero(place.listing.frames.items["id"].iloc[mine] != place.row.id)][:_MOST_OTHERS]


def _first_result(place: Place) -> Any:
    mine = place.listing.rows_with("items", call_key=place.row.call_key)[:1]
    return next(place.listing.frames.items.iloc[mine].itertuples(index=False), place.row)


def _shown(prompt: Prompt) -> dict[str, Any]:
    return {
        "system": hide_known(prompt.system),
        "user": hide_known(prompt.user),
        "schema": dict(prompt.schema),
        "max_tokens": prompt.max_tokens,
        "choices": list(prompt.choices),
    }


def _said(reply: Reply) -> dict[str, Any]:
    said, probabilities = unpack_probabilities(reply.text)
    return {"text": hide_known(said), "probabilities": probabilities}


def _reading(reply: Reply, one: Asked) -> dict[str, Any]:
    """How the program reads a reply: the value, or why it has none."""
    answer = read_reply(reply, one.parse, "")
    return {"outcome": answer.outcome.value, "reason": hide(answer.reason), "value": _plain(answer.value)}


def _plain(value: Any) -> Any:
    if isinstance(value, Grade):
        return {"grade": value.score, "reason": value.reason, "expected": value.expected}
    if isinstance(value, ReplyUnusable):
        return {"unusable": str(value)}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _parameters(settings: JudgeSettings) -> dict[str, Any]:
    """The settings of a judge that its spec names, without those of keys and prices."""
    values = settings.model_dump(mode="json", exclude_none=True, exclude=set(_NOT_SHOWN))
    return {name: hide(value) if isinstance(value, str) else value for name, value in values.items()}
