"""Processes that share a ledger, as workers do: tests start several of them at once."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from support.services.forking import fork_context

from autointerp.calls.caller import Caller, Postponed
from autointerp.errors import BudgetExceeded
from autointerp.ledger import leases
from autointerp.ledger.budgets import Limits
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.messages import MarkedText, Prompt, Reply, ScoreMaterial, Usage
from autointerp.spec.judge_sections import Judge as JudgeSettings

T = TypeVar("T")
MODEL = "openai-compatible/qwen"
OUTPUT_USD_PER_MTOK = 1e6
"""A dollar a token, so that money is counted in whole numbers."""
MAX_TOKENS = 24
SCHEMA = {"type": "object", "properties": {"grade": {"type": "integer", "enum": [2]}}, "required": ["grade"]}


@contextmanager
def processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that start at once."""
    with ProcessPoolExecutor(number, mp_context=fork_context()) as pool:
        yield pool


def open_and_close(url: str) -> None:
    Ledger.open(url).close()


def run_concurrently(work: Sequence[Callable[[], T]]) -> list[T]:
    """What each returns, all started at the same moment in threads of their own."""
    gate = threading.Barrier(len(work))

    def held(task: Callable[[], T]) -> T:
        gate.wait()
        return task()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result() for future in [pool.submit(held, task) for task in work]]


def question(text: str) -> Prompt:
    return Prompt("system", text, SCHEMA, MAX_TOKENS, ScoreMaterial("cats", MarkedText((text,), 0)))


class PlainJudge:
    """A judge that speaks to a server with no more than HTTP: a connection a thread, no SDK."""

    name = MODEL
    is_llm = True

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url).netloc
        self.mine = threading.local()

    def identity(self) -> Mapping[str, Any]:
        return {"model": self.name}

    def count_tokens(self, prompt: Prompt) -> int | None:
        return None

    def ask(self, prompt: Prompt) -> Reply:
        if not hasattr(self.mine, "connection"):
            self.mine.connection = http.client.HTTPConnection(self.address)
        format_ = {"type": "json_schema", "json_schema": {"name": "reply", "schema": dict(prompt.schema)}}
        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
        body = {"model": "qwen", "messages": messages, "max_tokens": prompt.max_tokens, "response_format": format_}
        headers = {"authorization": "Bearer key", "content-type": "application/json"}
        self.mine.connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        said = json.loads(self.mine.connection.getresponse().read())
        usage = Usage(said["usage"]["prompt_tokens"], said["usage"]["completion_tokens"])
        return Reply(said["choices"][0]["message"]["content"], "complete", usage, self.name)

    def close(self) -> None:
        if hasattr(self.mine, "connection"):
            self.mine.connection.close()


def caller_of(ledger: Ledger, run_id: str, server: str, limits: Limits, worker: str, threads: int = 1) -> Caller:
    settings = JudgeSettings(
        model=MODEL, base_url=f"{server}/v1", concurrency=threads, max_output_tokens=MAX_TOKENS,
        input_usd_per_mtok=0.0, output_usd_per_mtok=OUTPUT_USD_PER_MTOK,
    )  # fmt: skip
    return Caller(ledger, run_id, PlainJudge(server), settings, limits, worker=worker)


def spend(url: str, server: str, run_id: str, worker: str, limits: Limits, threads: int, most: int) -> int:
    """Ask until the budget is at its end, up to `most` questions a thread. Returns how many threads it stopped."""
    ledger = Ledger.open(url)
    caller = caller_of(ledger, run_id, server, limits, worker, threads)

    def ask(thread: int) -> bool:
        try:
            for number in range(most):
                while True:
                    try:
                        caller.ask(question(f"{worker} {thread} {number}"), str, Job(f"{number}", "score"), 0)
                        break
                    except Postponed:
                        continue
        except BudgetExceeded:
            return True
        finally:
            caller.judge.close()
        return False

    stopped = sum(run_concurrently([lambda t=t: ask(t) for t in range(threads)]))  # type: ignore[misc]
    ledger.close()
    return stopped


def ask_until_answered(
    url: str, server: str, run_id: str, folder: str, number: int, worker: str, numbers: Sequence[int]
) -> list[str]:
    """The answers to questions that others ask too, each asked for again while another worker is at it."""
    ledger, found = Ledger.open(url), []
    wait_for_others(folder, number)
    caller = caller_of(ledger, run_id, server, Limits(), worker)
    for asked in numbers:
        while True:
            try:
                answer = caller.ask(question(f"question {asked}"), str, Job(f"{worker}-{asked}", "score"), 0)
                found.append(str(answer.value))
                break
            except Postponed:
                time.sleep(0.01)
    caller.judge.close()
    ledger.close()
    return found


def wait_for_others(folder: str, number: int) -> None:
    """Wait until so many processes came here."""
    (Path(folder) / f"here-{os.getpid()}").touch()
    while len(list(Path(folder).glob("here-*"))) < number:
        time.sleep(0.001)


def lease_all(url: str, run_id: str, folder: str, number: int, threads: int, most: int) -> list[str]:
    """Lease jobs of the score stage on threads, beside other processes, until none is left. Returns the keys of all."""
    ledger = Ledger.open(url)
    wait_for_others(folder, number)

    def lease(owner: str) -> list[str]:
        held: list[str] = []
        while True:
            with ledger.write() as tx:
                leased = leases.lease(tx, run_id, "score", most=most, owner=owner)
                assert len(leased) <= most
            if not leased:
                return held
            held += [job.job_key for job in leased]

    found = run_concurrently([lambda t=t: lease(f"{os.getpid()}-{t}") for t in range(threads)])  # type: ignore[misc]
    ledger.close()
    return [key for keys in found for key in keys]
