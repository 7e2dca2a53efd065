"""A judge provider on 127.0.0.1 that speaks three real protocols, records every request, and fails on request.

Anthropic Messages (`/v1/messages`, `/v1/messages/count_tokens`), OpenAI Responses (`/v1/responses`,
`/v1/responses/input_tokens`) and Chat Completions (`/v1/chat/completions`) over HTTP/1.1 with keep-alive. In a test:

    with ProviderServer(brain, Faults(share=0.2, seed=1)) as server:
        ...                      # ANTHROPIC_BASE_URL = server.url; OPENAI_BASE_URL, base_url = server.url + "/v1"
        server.books             # an Entry for each request served, in order, and for each item of a batch
        server.batches           # every accepted batch, with its custom ids (`support.providers.batches`)

As a process of its own: `python -m tests.support.providers.server --port 0 --books FILE --faults 0.2 --seed 1 --brain
module:function`; its first line of output is its URL, and `read_books(FILE)` reads the books, also while it runs. With
`--batches FOLDER`, accepted batches outlive the process, and `read_batches(FOLDER)` reads them.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib
import json
import re
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from . import batches as provider_batches
from . import protocols as wire
from .manners import Manner

_CLOUD_PATH = re.compile(
    r"/model/(?P<bedrock>[^/]+)/invoke|/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/(?P<vertex>[^/]+):rawPredict"
)
"""Where Bedrock and Vertex take Messages, whose model is in the path."""
Brain = Callable[[str, str, wire.Json], wire.Json]
"""Answers a question: system prompt, question and schema in, a JSON object out."""

TRANSIENT = (
    "429",
    "429_seconds",
    "429_date",
    "429_reset",
    "500",
    "503",
    "overloaded",
    "overloaded_body",
    "drop",
    "drop_body",
    "not_json",
)
"""Faults after which the same question can be answered."""
FINAL = ("truncated", "refusal", "invalid_json", "out_of_range", "content_policy", "too_long", "413", "400")
"""Faults that leave an item unscored."""
STOPPING = (
    "insufficient_quota",
    "spend_limit",
    "contract_limit",
    "on_hold",
    "401",
    "402",
    "403",
    "404_model",
    "unsupported",
)
"""Faults after which no question can be answered."""
OTHERS = ("429_long", "ramp_limit", "slow", "trickle", "drip", "inflated")
"""Faults of a certain duration or size: `slow`, `trickle` and `drip` (of headers) last `slow_s`, the waits as long as their headers say."""


def default_brain(system: str, user: str, schema: wire.Json) -> wire.Json:
    """Answers by a hash of the question: an explanation, a grade, a grade for each item of a group, or a digit with probabilities."""
    digest = hashlib.sha256(user.encode("utf-8", "replace")).digest()
    if not schema:
        return {
            "said": str(digest[0] % 4),
            "probabilities": {str(grade): 0.7 if grade == digest[0] % 4 else 0.08 for grade in range(4)},
        }
    if "explanation" in schema["properties"]:
        return {"explanation": f"words like those of group {digest[0] % 16}"}
    if "$defs" in schema:
        item = schema["$defs"]["item"]
        return {number: _by_hash(digest[int(number) % 32], item) for number in schema["properties"]}
    return _by_hash(digest[0], schema)


def _by_hash(number: int, schema: wire.Json) -> Any:
    """An answer by the schema of a grade, with or without a reason."""
    properties = schema.get("properties", {"grade": schema})
    grades = properties["grade"]["enum"]
    grade = grades[number % len(grades)]
    reason = {"reason": "decided by hash"} if "reason" in properties else {}
    return {**reason, "grade": grade} if "properties" in schema else grade


@dataclass
class Entry:
    """One request served. `billed`: an answer was made. `delivered`: all of it was sent."""

    number: int
    protocol: str
    body_hash: str
    attempt: int
    fault: str | None
    status: int
    billed: bool
    delivered: bool
    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0


class Faults:
    """Random faults that depend only on the seed, the body and the number of its attempt, not on the order of threads."""

    def __init__(self, share: float = 0.0, seed: int = 0, kinds: Sequence[str] = TRANSIENT + FINAL) -> None:
        self.share, self.seed, self.kinds = share, seed, tuple(kinds)

    def __call__(self, number: int, body_hash: str, attempt: int) -> str | None:
        digest = hashlib.sha256(f"{self.seed}/{body_hash}/{attempt}".encode()).digest()
        drawn = int.from_bytes(digest[:8], "big") / 2**64
        return self.kinds[int.from_bytes(digest[8:16], "big") % len(self.kinds)] if drawn < self.share else None


class Script(Faults):
    """The given faults for the first requests, in order (None: answer), then `then` for all others."""

    def __init__(self, *faults: str | None, then: str | None = None) -> None:
        super().__init__()
        self.faults, self.then = faults, then

    def __call__(self, number: int, body_hash: str, attempt: int) -> str | None:
        return self.faults[number] if number < len(self.faults) else self.then


class ProviderServer:
    """The server, started and stopped by `start` and `stop` or a `with` block."""

    def __init__(
        self,
        brain: Brain = default_brain,
        faults: Callable[[int, str, int], str | None] | None = None,
        *,
        port: int = 0,
        books: Path | None = None,
        retry_after_s: float = 0.05,
        slow_s: float = 2.0,
        delay_s: float = 0.0,
        cache_from_tokens: int = 1024,
        report_usage: bool = True,
        report_logprobs: bool = True,
        batches: Path | None = None,
        batch_delay_s: float = 0.0,
        batch_faults: Callable[[int, str, int], str | None] | None = None,
        manner: Manner | None = None,
        alter: Callable[[wire.Json], wire.Json] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """`alter` changes the body of every answer, in a batch or alone; `headers` are sent with every answer that is alone."""
        self.manner = manner
        self.alter = alter or (lambda body: body)
        self.headers = headers or {}
        self.brain, self.faults = brain, faults or Faults()
        self.retry_after_s, self.slow_s, self.delay_s = retry_after_s, slow_s, delay_s
        self.cache_from_tokens, self.report_usage, self.report_logprobs = (
            cache_from_tokens,
            report_usage,
            report_logprobs,
        )
        self.books: list[Entry] = read_books(books) if books and books.exists() else []
        self.bodies: list[wire.Json] = [{} for _ in self.books]
        self.stopping = threading.Event()
        self._seen: Counter[str] = Counter(entry.body_hash for entry in self.books)
        self._cached: set[str] = set()
        self._lock = threading.Lock()
        self._file = books.open("a", encoding="utf-8") if books else None
        self._scratch = None if batches else tempfile.TemporaryDirectory(prefix="provider-")
        folder = batches or Path(self._scratch.name)
        self.batch_endpoints = provider_batches.BatchEndpoints(self, folder, batch_delay_s, batch_faults or Faults())
        self._http = _Server(("127.0.0.1", port), _Handler)
        self._http.owner = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def start(self) -> ProviderServer:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.005,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        if self._file:
            self._file.close()
        if self._scratch:
            self._scratch.cleanup()

    @property
    def batches(self) -> list[provider_batches.Batch]:
        """Every accepted batch, in order, whether or not its sender received the answer."""
        return self.batch_endpoints.batches

    def __enter__(self) -> ProviderServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def enter(self, protocol: str, body: wire.Json) -> Entry:
        """Number a request and choose its fault."""
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        with self._lock:
            attempt = self._seen[digest]
            self._seen[digest] += 1
            fault = self.faults(len(self.books), digest, attempt)
            entry = Entry(len(self.books), protocol, digest, attempt, fault, 200, False, False)
            self.books.append(entry)
            self.bodies.append(body)
        return entry

    def reply(self, protocol: str, body: wire.Json, entry: Entry) -> wire.Json:
        """The body of an answer. The answer is billed."""
        system, user, schema = wire.read_request(protocol, body)
        answer = self.brain(system, user, schema)
        text = wire.spoil(entry.fault, json.dumps(answer, ensure_ascii=False) if schema else answer["said"])
        asked = bool(body.get("top_logprobs")) and self.report_logprobs
        tokens = wire.logprobs(text, answer["probabilities"]) if asked else None
        prefix = wire.cacheable(protocol, body, system, user)
        self.bill(entry, prefix, wire.count_input(system, user, schema), wire.tokens(text) + 3)
        return self.alter(wire.BODIES[protocol](str(body["model"]), text, entry.fault, entry, tokens))

    def request_id(self, entry: Entry) -> str:
        """The id of a request in the headers of its answer."""
        return f"req_{entry.number}"

    def bill(self, entry: Entry, prefix: str, input_tokens: int, output_tokens: int) -> None:
        """Count an answer's tokens; a long enough prefix that was seen before counts as read from the cache."""
        size = wire.tokens(prefix) if wire.tokens(prefix) >= self.cache_from_tokens else 0
        with self._lock:
            known = prefix in self._cached
            self._cached.add(prefix)
            entry.cache_read_tokens, entry.cache_write_tokens = (size, 0) if known else (0, size)
        entry.billed, entry.input_tokens, entry.output_tokens = True, input_tokens - size, output_tokens

    def write(self, entry: Entry) -> None:
        """Append an entry to the file: before its answer is sent, and again if sending failed."""
        if self._file:
            with self._lock:
                self._file.write(json.dumps(asdict(entry)) + "\n")
                self._file.flush()


def read_books(path: Path) -> list[Entry]:
    """The books of a server in another process. The last line of each request counts."""
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return sorted({line["number"]: Entry(**line) for line in lines}.values(), key=lambda entry: entry.number)


_WAITS = ("429_seconds", "429_date", "429_reset", "429_long")


class _Server(ThreadingHTTPServer):
    owner: ProviderServer
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that hang up, as tests do."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing."""

    def do_GET(self) -> None:
        manner = self.server.owner.manner
        if manner is not None and self.path in manner.pages:
            return self._send(200, manner.pages[self.path])
        self._serve_batch_request("GET", b"")

    def do_POST(self) -> None:
        raw = self._read_body()
        if self._serve_batch_request("POST", raw):
            return None
        body = json.loads(raw)
        path = self.path.partition("?")[0]
        if path == "/v1/messages/count_tokens":
            return self._send(200, {"input_tokens": wire.count_input(*wire.read_request("anthropic", body))})
        if path == "/v1/responses/input_tokens":
            count = wire.count_input(*wire.read_request("responses", body))
            return self._send(200, {"object": "response.input_tokens", "input_tokens": count})
        if cloud := _CLOUD_PATH.fullmatch(path):
            del body["anthropic_version"]  # a field there, and a header in Anthropic's own API
            return self._answer("anthropic", body | {"model": unquote(cloud["bedrock"] or cloud["vertex"])})
        protocol = {"/v1/messages": "anthropic", "/v1/responses": "responses", "/v1/chat/completions": "chat"}[path]
        self._answer(protocol, body)

    def _read_body(self) -> bytes:
        if "content-length" in self.headers:
            return self.rfile.read(int(self.headers["content-length"]))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _serve_batch_request(self, method: str, raw: bytes) -> bool:
        answer = self.server.owner.batch_endpoints.serve(method, self.path, self.headers, raw)
        if answer is None and method == "GET":
            answer = provider_batches.Answer(404, {"error": {"message": "no such page"}})
        if answer is None:
            return False
        if answer.body is None:
            self._hang_up()
        elif isinstance(answer.body, Path):
            self._send_bytes(200, answer.body.read_bytes(), {"content-type": "application/binary"})
        else:
            self._send(answer.status, answer.body, answer.headers)
        return True

    def _answer(self, protocol: str, body: wire.Json) -> None:
        owner = self.server.owner
        entry = owner.enter(protocol, body)
        manner = owner.manner
        if manner is not None and (refusal := manner.refuse(body, entry.number)):
            entry.status = refusal[0]
            owner.write(entry)
            return self._send(*refusal)
        key = self.headers.get("api-key")  # Azure's
        authorization = self.headers.get("authorization") or (f"Bearer {key}" if key else None)
        wrong = wire.complaint(protocol, body, authorization, manner)
        fault = entry.fault
        error = "401" if wrong == "key" else "400" if wrong else fault.partition("_")[0] if fault in _WAITS else fault
        if error in wire.ERRORS:
            entry.status = wire.ERRORS[error][0]
            owner.write(entry)
            return self._send(
                entry.status, wire.error_body(protocol, error, wrong), self._wait_headers(protocol, fault)
            )
        if fault == "drop":
            owner.write(entry)
            return self._hang_up()
        if fault == "overloaded_body":
            owner.write(entry)
            return self._send(200, wire.overloaded_body(protocol))
        reply = owner.reply(protocol, body, entry)
        if manner is not None:
            reply = manner.shape(body, reply)
        entry.delivered = fault not in ("drop_body", "slow", "trickle", "not_json", "drip", "inflated")
        owner.write(entry)
        if not owner.report_usage:
            del reply["usage"]
        owner.stopping.wait(owner.slow_s if fault == "slow" else owner.delay_s)
        try:
            request_id = owner.request_id(entry)
            named = {"request-id": request_id, "x-request-id": request_id}
            self._send(200, reply, named | owner.headers, fault)
        except OSError:
            entry.delivered = False
            owner.write(entry)

    def _wait_headers(self, protocol: str, fault: str | None) -> dict[str, str]:
        now, seconds = datetime.now(UTC), self.server.owner.retry_after_s
        if fault in ("429_seconds", "ramp_limit"):
            return {"retry-after": f"{seconds:g}"}
        if fault == "429_long":
            return {"retry-after": "3600"}
        if fault == "429_date":
            return {"retry-after": format_datetime(now + timedelta(seconds=seconds), usegmt=True)}
        if fault == "429_reset" and protocol == "anthropic":
            return {"anthropic-ratelimit-requests-reset": (now + timedelta(seconds=seconds)).isoformat()}
        return {"x-ratelimit-reset-requests": f"{round(1000 * seconds)}ms"} if fault == "429_reset" else {}

    def _send(
        self, status: int, body: wire.Json, headers: dict[str, str] | None = None, fault: str | None = None
    ) -> None:
        data = b"<html>gateway</html>" if fault == "not_json" else json.dumps(body).encode()
        self._send_bytes(status, data, {"content-type": "application/json", **(headers or {})}, fault)

    def _send_bytes(self, status: int, data: bytes, headers: dict[str, str], fault: str | None = None) -> None:
        if fault == "inflated":
            data, headers = _inflated(), headers | {"content-encoding": "gzip"}
        self.send_response(status)
        if fault == "drip":
            self.flush_headers()
            self._trickle(b"x-a: b\r\n" * 20)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if fault == "drop_body":
            self.wfile.write(data[: len(data) // 2])
            return self._hang_up()
        if fault == "trickle":
            self._trickle(data)
        else:
            self.wfile.write(data)
        self.wfile.flush()

    def _trickle(self, data: bytes) -> None:
        owner = self.server.owner
        for index in range(len(data)):
            self.wfile.write(data[index : index + 1])
            self.wfile.flush()
            if owner.stopping.wait(owner.slow_s / len(data)):
                return

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--books", type=Path)
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that fail")
    parser.add_argument("--kinds", default=",".join(TRANSIENT + FINAL))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--brain", default="", help="module:function")
    parser.add_argument("--batches", type=Path, help="folder that keeps accepted batches")
    parser.add_argument("--batch-delay", type=float, default=0.0, help="seconds until a batch is processed")
    parser.add_argument("--batch-faults", type=float, default=0.0, help="share of submitted batches that fail")
    parser.add_argument("--batch-kinds", default=",".join(provider_batches.CREATE_FAULTS))
    arguments = parser.parse_args()
    module, _, function = arguments.brain.partition(":")
    brain = getattr(importlib.import_module(module), function) if module else default_brain
    faults = Faults(arguments.faults, arguments.seed, arguments.kinds.split(","))
    server = ProviderServer(
        brain,
        faults,
        port=arguments.port,
        books=arguments.books,
        delay_s=arguments.delay,
        batches=arguments.batches,
        batch_delay_s=arguments.batch_delay,
        batch_faults=Faults(arguments.batch_faults, arguments.seed, arguments.batch_kinds.split(",")),
    ).start()
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()


@cache
def _inflated() -> bytes:
    """A body of 256 MiB, in 256 KiB."""
    return gzip.compress(b" " * 2**28)
