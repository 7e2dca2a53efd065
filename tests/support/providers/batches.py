"""The batch endpoints of the test server: Anthropic's Message Batches, OpenAI's Files and Batches, and both lists of models.

A batch is processed with the first request that arrives `delay_s` after it was accepted. A journal in `folder` records every accepted
batch, so that a server restarted on the same folder continues after a kill.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from . import protocols as wire

CREATE_FAULTS = ("429", "500", "drop", "lost", "500_accepted", "expired", "invalid", "queue_full")
"""Faults of a batch: refused, connection dropped before or after it was accepted, expired, failed in validation."""
ITEM_FAULTS = ("item_expired", "item_canceled")
"""Faults of an item, besides those of single calls."""
DAY_S = 24 * 3600
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass
class Batch:
    """One accepted batch. `key` is the batch key: from OpenAI's metadata, or the beginning of Anthropic's first custom id."""

    id: str
    protocol: str
    key: str
    created: float
    fault: str | None
    items: list[tuple[str, wire.Json]]
    metadata: wire.Json = field(default_factory=dict)
    input_file: str = ""
    cancelled: bool = False
    archived: bool = False
    counts: dict[str, int] | None = None

    @property
    def custom_ids(self) -> list[str]:
        return [custom_id for custom_id, _ in self.items]


@dataclass
class Answer:
    """An answer: JSON, the bytes of a file, or, if `body` is None, a closed connection."""

    status: int = 200
    body: wire.Json | Path | None = None
    headers: dict[str, str] = field(default_factory=dict)


class BatchEndpoints:
    """Accepts batches and processes them with the server's brain and books."""

    def __init__(self, owner: Any, folder: Path, delay_s: float, faults: Callable[[int, str, int], str | None]) -> None:
        self.owner, self.folder, self.delay_s, self.faults = owner, folder, delay_s, faults
        self.batches: list[Batch] = []
        self.retires: dict[str, str] = {}
        self._tries: Counter[str] = Counter()
        self._lock = threading.RLock()
        folder.mkdir(parents=True, exist_ok=True)
        self._journal = folder / "journal.jsonl"
        if self._journal.exists():
            self.batches = read_batches(folder)
            self._tries.update(batch.key for batch in self.batches)

    def serve(self, method: str, url: str, headers: Any, raw: bytes) -> Answer | None:
        """The answer to a request about batches, files or models; None for any other request."""
        path, query = urlsplit(url).path, {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
        anthropic = path.startswith("/v1/messages/batches") or "anthropic-version" in headers
        for verb, pattern, handle in self._routes(anthropic):
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                if not (headers.get("authorization") or "").startswith("Bearer "):
                    return _error(anthropic, "401")
                with self._lock:
                    self._advance()
                    return handle(query=query, headers=headers, raw=raw, **found.groupdict())
        return None

    def _routes(self, anthropic: bool) -> Iterator[tuple[str, str, Callable[..., Answer]]]:
        name, one = "/v1/messages/batches" if anthropic else "/v1/batches", "/(?P<batch_id>[^/]+)"
        yield "POST", name, self._create_anthropic if anthropic else self._create_openai
        yield "GET", name, lambda query, **_: self._list(anthropic, query)
        yield "GET", name + one, lambda batch_id, **_: self._one(anthropic, batch_id, self._show)
        yield "POST", f"{name}{one}/cancel", lambda batch_id, **_: self._one(anthropic, batch_id, self._cancel)
        yield "GET", f"{name}{one}/results", lambda batch_id, **_: self._file(f"{batch_id}-output")
        yield "POST", "/v1/files", self._upload
        yield "GET", "/v1/files/(?P<file_id>[^/]+)/content", lambda file_id, **_: self._file(file_id)
        yield "GET", "/v1/models/(?P<model>[^/]+)", lambda model, **_: self._model(anthropic, model)

    # accepting

    def _create_anthropic(self, raw: bytes, **_: Any) -> Answer:
        items = [(request["custom_id"], request["params"]) for request in json.loads(raw)["requests"]]
        ids = [custom_id for custom_id, _ in items]
        if len(set(ids)) < len(ids) or not all(map(_CUSTOM_ID.fullmatch, ids)):
            return _error(True, "400", "custom_id must be unique and of 1 to 64 characters")
        return self._accept(Batch("", "anthropic", ids[0].rpartition("-")[0], time.time(), None, items))

    def _create_openai(self, raw: bytes, **_: Any) -> Answer:
        asked = json.loads(raw)
        assert (asked["endpoint"], asked["completion_window"]) == ("/v1/responses", "24h")
        metadata, file_id = asked.get("metadata") or {}, asked["input_file_id"]
        lines = [json.loads(line) for line in (self.folder / file_id).read_bytes().splitlines()]
        ids = [line["custom_id"] for line in lines]
        fault = (
            "invalid" if len(set(ids)) < len(ids) or {line["url"] for line in lines} != {asked["endpoint"]} else None
        )
        items = [(line["custom_id"], line["body"]) for line in lines]
        key = metadata.get("autointerp_batch", "")
        return self._accept(Batch("", "responses", key, time.time(), fault, items, metadata, file_id))

    def _accept(self, batch: Batch) -> Answer:
        anthropic = batch.protocol == "anthropic"
        fault = self.faults(sum(self._tries.values()), batch.key, self._tries[batch.key])
        self._tries[batch.key] += 1
        if fault in ("429", "500"):
            return _error(
                anthropic, fault, headers={"retry-after": f"{self.owner.retry_after_s:g}"} if fault == "429" else {}
            )
        if fault == "drop":
            return Answer()
        if anthropic and fault == "invalid":
            return _error(True, "400", "requests.0: invalid")
        batch.fault = batch.fault or (fault if fault in ("expired", "invalid", "queue_full") else None)
        batch.id = f"{'msgbatch' if anthropic else 'batch'}_{len(self.batches):06d}"
        self.batches.append(batch)
        self._note({"accepted": asdict(batch)})
        if fault == "lost":
            return Answer()
        return _error(anthropic, "500") if fault == "500_accepted" else Answer(body=self._show(batch))

    def _upload(self, headers: Any, raw: bytes, **_: Any) -> Answer:
        found = re.search(r'boundary="?([^";]+)', headers["content-type"])
        assert found
        parts = [part[2:].partition(b"\r\n\r\n") for part in raw.split(f"--{found[1]}".encode())[1:-1]]
        form = {re.findall(rb'name="([^"]+)"', head)[0].decode(): content[:-2] for head, _, content in parts}
        assert form["purpose"] == b"batch"
        file_id = f"file-{len(list(self.folder.glob('file-*'))):06d}"
        (self.folder / file_id).write_bytes(form["file"])
        about = {"bytes": len(form["file"]), "created_at": int(time.time()), "filename": "batch.jsonl"}
        return Answer(body={"id": file_id, "object": "file", "purpose": "batch", "status": "processed", **about})

    # processing

    def _advance(self) -> None:
        for batch in self.batches:
            if batch.counts is None and (batch.cancelled or time.time() >= batch.created + self.delay_s):
                batch.counts = self._process(batch)
                self._note({"ended": {"id": batch.id, "counts": batch.counts}})

    def _process(self, batch: Batch) -> dict[str, int]:
        if batch.fault in ("invalid", "queue_full"):
            return {}
        counts: Counter[str] = Counter()
        lines: dict[str, list[wire.Json]] = {"output": [], "errors": []}
        lie = "expired" if batch.fault == "expired" else "canceled" if batch.cancelled else None
        done = 0 if batch.protocol == "anthropic" else len(batch.items) // 2
        for number, (custom_id, body) in enumerate(batch.items):
            kind, line = self._item(batch.protocol, body, lie if number >= done else None)
            counts[kind] += 1
            apart = batch.protocol == "responses" and kind != "succeeded"
            lines["errors" if apart else "output"].append({"custom_id": custom_id, **line})
        for name, held in lines.items():
            random.Random(batch.id).shuffle(held)
            (self.folder / f"{batch.id}-{name}").write_text("".join(json.dumps(line) + "\n" for line in held))
        return dict(counts)

    def _item(self, protocol: str, body: wire.Json, lie: str | None) -> tuple[str, wire.Json]:
        """The kind of an item's result, and its line without the custom id."""
        entry = self.owner.enter(f"{protocol}-batch", body)
        fault = entry.fault = lie or entry.fault
        if fault in ("expired", "canceled", *ITEM_FAULTS):
            self.owner.write(entry)
            kind = fault.removeprefix("item_")
            code = {"code": "batch_expired" if kind == "expired" else "batch_cancelled", "message": "not executed"}
            return kind, {"result": {"type": kind}} if protocol == "anthropic" else {"response": None, "error": code}
        wrong = wire.complaint(protocol, body, "Bearer key")
        error = (
            "400"
            if wrong
            else "500"
            if fault == "drop"
            else str(fault).partition("_")[0]
            if "429" in str(fault)
            else fault
        )
        if error in wire.ERRORS or error == "overloaded_body":
            error = "overloaded" if error == "overloaded_body" else str(error)
            entry.status = wire.ERRORS[error][0]
            self.owner.write(entry)
            answer = wire.error_body(protocol, error, wrong)
            return "errored", _line(protocol, entry, answer) if protocol == "responses" else {
                "result": {"type": "errored", "error": {**answer, "request_id": None}}
            }
        reply = self.owner.reply(protocol, body, entry)
        entry.delivered = True
        self.owner.write(entry)
        if protocol == "responses":
            return "succeeded", _line(protocol, entry, reply)
        return "succeeded", {"result": {"type": "succeeded", "message": reply}}

    # answering

    def _list(self, anthropic: bool, query: Mapping[str, str]) -> Answer:
        mine = [batch for batch in reversed(self.batches) if (batch.protocol == "anthropic") == anthropic]
        after = query.get("after_id" if anthropic else "after")
        start = next((n + 1 for n, batch in enumerate(mine) if batch.id == after), 0)
        limit = min(int(query.get("limit", 20)), 1000 if anthropic else 100)
        shown = [self._show(batch) for batch in mine[start : start + limit]]
        ends = (
            {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
        )
        return Answer(body={"object": "list", "data": shown, "has_more": start + limit < len(mine), **ends})

    def _one(self, anthropic: bool, batch_id: str, show: Callable[[Batch], wire.Json | None]) -> Answer:
        batch = next((batch for batch in self.batches if batch.id == batch_id), None)
        if batch is None:
            return _error(anthropic, "404_model", "no such batch")
        body = show(batch)
        return _error(anthropic, "400", "it has ended") if body is None else Answer(body=body)

    def _cancel(self, batch: Batch) -> wire.Json | None:
        if batch.counts is not None:
            return None
        batch.cancelled = True
        self._note({"cancelled": batch.id})
        return self._show(batch)

    def _show(self, batch: Batch) -> wire.Json:
        return _message_batch(batch) if batch.protocol == "anthropic" else _openai_batch(batch, self.folder)

    def _file(self, name: str) -> Answer:
        path = self.folder / name
        return Answer(body=path) if path.exists() else _error(name.startswith("msg"), "404_model", "no such file")

    def _model(self, anthropic: bool, name: str) -> Answer:
        """A model, active unless `retires` has it: with a date, `retired DATE`, or `gone` for an unknown model."""
        day = self.retires.get(name)
        if day == "gone":
            return _error(anthropic, "404_model")
        if not anthropic:
            return Answer(body={"id": name, "object": "model", "created": 0, "owned_by": "x", "shutdown_date": day})
        stage = "active" if day is None else "retired" if day.startswith("retired") else "deprecated"
        moment = f"{day.split()[-1]}T00:00:00Z" if day else None
        return Answer(
            body={
                "id": name, "type": "model", "display_name": name, "created_at": "2026-01-01T00:00:00Z",
                "lifecycle": stage, "deprecated_at": moment, "retires_at": moment,
            }
        )  # fmt: skip

    def _note(self, event: wire.Json) -> None:
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


def read_batches(folder: Path) -> list[Batch]:
    """The batches that a server in this or another process has accepted, in order."""
    batches: dict[str, Batch] = {}
    for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines():
        [(event, value)] = json.loads(line).items()
        if event == "accepted":
            batches[value["id"]] = Batch(**{**value, "items": [tuple(item) for item in value["items"]]})
        elif event == "ended":
            batches[value["id"]].counts = value["counts"]
        else:
            batches[value].cancelled = True
    return list(batches.values())


def _line(protocol: str, entry: Any, body: wire.Json) -> wire.Json:
    response = {"status_code": entry.status, "request_id": f"req_{entry.number}", "body": body}
    return {"id": f"batch_req_{entry.number}", "response": response, "error": None}


def _message_batch(batch: Batch) -> wire.Json:
    def moment(seconds: float) -> str:
        return datetime.fromtimestamp(seconds, UTC).isoformat()

    names = ("succeeded", "errored", "canceled", "expired")
    ended = batch.counts is not None
    counts = {name: (batch.counts or {}).get(name, 0) for name in names}
    return {
        "id": batch.id, "type": "message_batch", "created_at": moment(batch.created),
        "expires_at": moment(batch.created + DAY_S), "ended_at": moment(time.time()) if ended else None,
        "processing_status": "ended" if ended else "canceling" if batch.cancelled else "in_progress",
        "request_counts": {"processing": 0 if ended else len(batch.items), **counts},
        "results_url": f"/v1/messages/batches/{batch.id}/results" if ended and not batch.archived else None,
        "archived_at": moment(time.time()) if batch.archived else None, "cancel_initiated_at": None,
    }  # fmt: skip


def _openai_batch(batch: Batch, folder: Path) -> wire.Json:
    ended = batch.counts is not None
    done = "expired" if batch.fault == "expired" else "cancelled" if batch.cancelled else "completed"
    code = {"invalid": "invalid_request", "queue_full": "token_limit_exceeded"}.get(str(batch.fault))
    errors = {"object": "list", "data": [{"code": code, "line": 1, "message": "refused", "param": None}]}
    files = {
        name: f"{batch.id}-{end}" if ended and not code and (folder / f"{batch.id}-{end}").stat().st_size else None
        for name, end in (("output_file_id", "output"), ("error_file_id", "errors"))
    }
    succeeded = (batch.counts or {}).get("succeeded", 0)
    return {
        "id": batch.id, "object": "batch", "endpoint": "/v1/responses", "completion_window": "24h",
        "created_at": int(batch.created), "expires_at": int(batch.created + DAY_S), "input_file_id": batch.input_file,
        "status": ("failed" if code else done) if ended else "cancelling" if batch.cancelled else "in_progress",
        "errors": errors if code and ended else None, "metadata": batch.metadata, **files,
        "request_counts": {
            "total": 0 if code else len(batch.items), "completed": succeeded,
            "failed": sum((batch.counts or {}).values()) - succeeded,
        },
    }  # fmt: skip


def _error(anthropic: bool, fault: str, message: str | None = None, headers: dict[str, str] | None = None) -> Answer:
    body = wire.error_body("anthropic" if anthropic else "responses", fault, message)
    return Answer(wire.ERRORS[fault][0], body, headers or {})
