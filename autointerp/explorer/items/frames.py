"""A run's items and calls as tables in memory, from the ledger, or without it from the files of the finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from sqlalchemy import Connection

from autointerp.explorer.items.names import EXPLAIN, GRADE, kind_of
from autointerp.ledger import run_items
from autointerp.ledger.run_items import TOKENS
from autointerp.questions import planned_jobs
from autointerp.records import SECOND_JUDGE, Arm, ExplanationKey, Item

ID_CHARACTERS = 20
"""Characters of a job's key that name its item in an address."""
COLUMNS = (
    "id", "kind", "unit_id", "arm", "exemplar_id", "repeat", "judge", "outcome", "score", "expected", "answer", "reason", "call_key",
    "asked_in", "explained_by", "job_key",
)  # fmt: skip
"""The columns of items and of calls. `outcome` of a call is its state, and `explained_by` is the key of the explanation that is shown."""
SPENT = ("call_id", *TOKENS, "cost_usd", "started_at", "duration_s")
"""The columns of the call that answered an item; null if none did."""
JUDGEMENTS, EXPLANATIONS, UNITS = "judgements.parquet", "explanations.parquet", "units.parquet"
NOT_IN_FILES = (
    "The ledger does not know this run: its grades and explanations are those of its files. Prompts as they were sent, replies, costs,"
    " times, failed attempts and answers to other evaluations were in the ledger."
)


@dataclass(frozen=True)
class Frames:
    """A run's items, its calls, and its explanations by key. `missing` says what is not known; empty if everything is."""

    items: pd.DataFrame
    calls: pd.DataFrame
    explanations: Mapping[str, str]
    missing: str = ""


def explanation_id(key: str) -> str:
    """The id of an explanation's item."""
    return f"{EXPLAIN}-{key}"


def of_ledger(tx: Connection, run_id: str) -> Frames:
    """The frames of a run that the ledger knows."""
    calls = _calls(run_items.called(tx, run_id))
    explained = _explained(run_items.explained(tx, run_id))
    items = pd.concat(
        [_judged(run_items.judged(tx, run_id)), _answered(run_items.answered(tx, run_id)), explained], ignore_index=True
    )
    answering = _answering(calls)
    if not items["call_key"].isin([*answering.index, ""]).all():
        answering = pd.concat([answering, _answering(_calls(run_items.reused(tx, run_id)))])
        answering = answering.loc[~answering.index.duplicated()]
    items = items.join(answering, on="call_key")
    texts = dict(zip(explained["explained_by"], explained["answer"], strict=True))
    return Frames(_in_order(items), calls, {key: text for key, text in texts.items() if text})


def of_files(folder: Path) -> Frames:
    """The frames of a finished run whose ledger is gone; empty if it has no tables."""
    explained = _explained(_written_explanations(folder))
    items = pd.concat([_judged(_written_judgements(folder / JUDGEMENTS)), explained], ignore_index=True)
    for name in SPENT:
        items[name] = float("nan")
    texts = dict(zip(explained["explained_by"], explained["answer"], strict=True))
    return Frames(_in_order(items), _calls([]), texts, NOT_IN_FILES)


def _frame(rows: Sequence[Any], columns: Sequence[str]) -> pd.DataFrame:
    """Rows as a frame. By columns, because pandas looks at every row of another type than a tuple by itself."""
    if not rows:
        return pd.DataFrame(columns=list(columns), dtype="object")
    return pd.DataFrame(dict(zip(columns, zip(*rows, strict=True), strict=True)))


def _judged(rows: Sequence[Any]) -> pd.DataFrame:
    frame = _frame(rows, run_items.JUDGED).rename(columns={"explanation_unit_id": "explained_by"})
    return _with_columns(frame, kind=GRADE, answer=None, id=frame["job_key"].str[:ID_CHARACTERS])


def _answered(rows: Sequence[Any]) -> pd.DataFrame:
    frame = _frame(rows, run_items.ANSWERED).rename(columns={"scorer": "kind", "number": "repeat"})
    return _with_columns(frame, explained_by=frame["unit_id"], id=frame["job_key"].str[:ID_CHARACTERS])


def _explained(rows: Sequence[Any]) -> pd.DataFrame:
    frame = _frame(rows, run_items.EXPLAINED).rename(columns={"unit_id": "explained_by", "text": "answer"})
    keys = [ExplanationKey.parse(key) for key in frame["explained_by"]]
    ids = [explanation_id(key.text) for key in keys]
    return _with_columns(
        frame, kind=EXPLAIN, unit_id=[key.unit_id for key in keys], arm=[key.aid for key in keys], id=ids
    )


def _calls(rows: Sequence[Any]) -> pd.DataFrame:
    frame = _frame(rows, run_items.CALLED).rename(columns={"state": "outcome"})
    kinds = [kind_of(stage, scorer) for stage, scorer in zip(frame["stage"], frame["scorer"], strict=True)]
    frame["judge"] = ""
    of_unit = frame["unit_id"].fillna("")
    frame = _with_columns(frame.drop(columns=["unit_id"]), kind=kinds, unit_id=of_unit, id="call-" + frame["call_id"].astype(str), explained_by=of_unit)  # fmt: skip
    return frame[[*COLUMNS, *SPENT]].iloc[::-1].reset_index(drop=True)


def _with_columns(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The frame with these columns, and all others of items empty."""
    frame = frame.assign(**values)
    for name in COLUMNS:
        if name not in frame:
            frame[name] = None if name in ("score", "expected", "answer") else 0 if name == "repeat" else ""
    for name in ("arm", "exemplar_id", "judge", "asked_in", "reason", "call_key"):
        frame[name] = frame[name].fillna("")
    frame[["score", "expected"]] = frame[["score", "expected"]].astype("float64")
    return frame


def _answering(calls: pd.DataFrame) -> pd.DataFrame:
    """The call that answered each question, by its key: a scored one, or else the last."""
    ordered = calls.sort_values("call_id").assign(last=calls["outcome"] == "scored").sort_values("last", kind="stable")
    return ordered.drop_duplicates("call_key", keep="last").set_index("call_key")[list(SPENT)]


def _in_order(items: pd.DataFrame) -> pd.DataFrame:
    """Items by unit, in the order of their numbers; of each unit the explanation first."""
    numbers = items["unit_id"].str.extract(r"(\d+)", expand=False).astype("float64")
    names = items["unit_id"].str.replace(r"\d+", "", regex=True)
    rank = items["kind"].map({EXPLAIN: 0, GRADE: 1}).fillna(2)
    keys = pd.DataFrame({"name": names, "number": numbers, "unit": items["unit_id"], "rank": rank, "kind": items["kind"], "arm": items["arm"], "exemplar": items["exemplar_id"], "repeat": items["repeat"]})  # fmt: skip
    return items.loc[keys.sort_values(list(keys.columns)).index, [*COLUMNS, *SPENT]].reset_index(drop=True)


def _written_judgements(path: Path) -> list[Any]:
    if not path.is_file():
        return []
    frame = pq.read_table(path).to_pandas().astype({"repeat": int})
    again = frame["again"].to_numpy() if "again" in frame else [False] * len(frame)
    rows = []
    for row, second in zip(frame.to_dict("records"), again, strict=True):
        key = ExplanationKey.parse(row["explanation_unit_id"])
        item = Item("", row["unit_id"], row["exemplar_id"], Arm(row["arm"]), row["repeat"], key)
        named = row | {
            "job_key": planned_jobs.keyed(item, "regrade" if second else "score").key,
            "judge": SECOND_JUDGE if second else "",
            "asked_in": "",
        }
        rows.append([named.get(name) for name in run_items.JUDGED])  # earlier versions wrote fewer columns
    return rows


def _written_explanations(folder: Path) -> list[Any]:
    """The explanations of a finished run; those of earlier versions are in its table of units alone."""
    if (folder / EXPLANATIONS).is_file():
        rows = pq.read_table(folder / EXPLANATIONS).to_pylist()
    elif (folder / UNITS).is_file():
        table = pq.read_table(folder / UNITS, columns=["unit_id", "explanation"]).drop_null()
        rows = [{**row, "aid": ""} for row in table.to_pylist()]
    else:
        return []
    return [
        (ExplanationKey(row["unit_id"], row["aid"] or "").text, "scored", row["explanation"], "", None) for row in rows
    ]
