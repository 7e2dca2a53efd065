"""Both batch APIs through their SDKs over HTTP: requests, results, and answers that are lost in between."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from support.locations import ROOT
from support.providers.batches import read_batches
from support.providers.server import Faults, ProviderServer, Script, read_books

from autointerp.errors import UsageError
from autointerp.judges import error_codes, prices, registry, retirement
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.batch_api import BatchItem, BatchProvider, Unanswered, Undecided
from autointerp.judges.providers import llm_batches
from autointerp.judges.providers.anthropic_batches import AnthropicBatches
from autointerp.judges.providers.openai_batches import OpenAIBatches
from autointerp.judges.registry import open_batches, open_judge
from autointerp.messages import MarkedText, Prompt, Reply, ScoreMaterial
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.rubric import load

ANTHROPIC, OPENAI = MODELS = ("anthropic/claude-haiku-5-5", "openai/gpt-6-luna")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "grade": {"type": "integer", "enum": [0, 1, 2, 3]}},
    "required": ["reason", "grade"],
    "additionalProperties": False,
}
BATCH_KEY, OTHER_KEY = "a" * 40, "b" * 40
Opening = Callable[..., tuple[BatchProvider, ProviderServer]]


def items(count: int, key: str = BATCH_KEY) -> list[BatchItem]:
    material = ScoreMaterial("cats", MarkedText(("cat",), 0))
    prompts = [Prompt("Grade it.", f"case {n} ✓", SCHEMA, 256, material) for n in range(count)]
    return [BatchItem(f"{key[:16]}-{n}", prompt) for n, prompt in enumerate(prompts)]


def settings(model: str, server: ProviderServer, **changes: Any) -> JudgeSettings:
    url = server.url if model.startswith("anthropic") else f"{server.url}/v1"
    return JudgeSettings(model=model, base_url=url, **{"timeout_s": 10.0, **changes})


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-12345678")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-12345678")


@pytest.fixture
def opening() -> Iterator[Opening]:
    opened: list[Any] = []

    def opener(model: str, *, settle_s: float = 0.0, **server: Any) -> tuple[BatchProvider, ProviderServer]:
        served = ProviderServer(**server).start()
        opened.append((served.stop,))
        provider = open_batches(settings(model, served), settle_s=settle_s)
        assert provider is not None
        opened.append((provider.close,))
        return provider, served

    yield opener
    for (close,) in reversed(opened):
        close()


def raised(call: Callable[[], object]) -> JudgeError:
    with pytest.raises(JudgeError) as caught:
        call()
    assert caught.value.__context__ is None, "no SDK exception stays behind"
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (type(caught.value), str(caught.value))
    return caught.value


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_gives_the_same_replies_as_single_calls(model: str, opening: Opening) -> None:
    """The results have the same texts and usage as single calls, in another order."""
    provider, server = opening(model)
    asked = items(20)
    provider_id = provider.submit(BATCH_KEY, asked)
    status = provider.poll(provider_id)
    assert (status.state, status.total, status.succeeded, status.errored) == ("ended", 20, 20, 0)
    results = list(provider.results(provider_id))
    assert [name for name, _ in results] != [item.custom_id for item in asked]
    assert sorted(name for name, _ in results) == sorted(item.custom_id for item in asked)
    assert [batch.custom_ids for batch in server.batches] == [[item.custom_id for item in asked]]
    assert Counter(entry.protocol for entry in server.books if entry.billed) == {
        f"{server.batches[0].protocol}-batch": 20
    }
    judge = open_judge(settings(model, server), load("specificity"))
    replies = dict(results)
    for item in asked[:3]:
        reply, alone = replies[item.custom_id], judge.ask(item.prompt)
        assert isinstance(reply, Reply)
        assert (reply.text, reply.stop, reply.served_model, reply.usage) == (
            alone.text, alone.stop, alone.served_model, alone.usage,
        )  # fmt: skip
    judge.close()


@pytest.mark.parametrize("model", MODELS)
def test_the_items_of_a_batch_are_the_requests_of_single_calls(model: str, opening: Opening) -> None:
    provider, server = opening(model)
    [item] = items(1)
    provider.poll(provider.submit(BATCH_KEY, [item]))
    judge = open_judge(settings(model, server), load("specificity"))
    judge.ask(item.prompt)
    judge.close()
    batched, alone = server.bodies
    if model == ANTHROPIC:
        assert batched["system"][0].pop("cache_control") == {"type": "ephemeral", "ttl": "1h"}
        assert alone["system"][0].pop("cache_control") == {"type": "ephemeral"}
    assert batched == alone


@pytest.mark.parametrize("model", MODELS)
def test_the_size_of_items_bounds_the_bytes_that_are_sent(
    model: str, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, server = opening(model)
    sent: list[int] = []
    serve = server.batch_endpoints.serve
    monkeypatch.setattr(
        server.batch_endpoints, "serve", lambda m, u, h, raw: sent.append(len(raw)) or serve(m, u, h, raw)
    )
    asked = items(50)
    provider.submit(BATCH_KEY, asked)
    total = sum(provider.size(item) for item in asked)
    assert total <= max(sent) + len(asked)
    assert max(sent) <= total + 1000
    assert provider.max_bytes + 1000 < {ANTHROPIC: 256e6, OPENAI: 200e6}[model]
    assert provider.max_items == {ANTHROPIC: 100_000, OPENAI: 50_000}[model]
    broken = BatchItem("x-1", Prompt("s", "\ud800", SCHEMA, 16, asked[0].prompt.material))
    assert isinstance(raised(lambda: provider.size(broken)), ItemFailed)


@pytest.mark.parametrize("model", MODELS)
def test_each_item_has_its_own_outcome(model: str, opening: Opening) -> None:
    faults = (
        "400",
        "500",
        "429_seconds",
        "item_expired",
        "item_canceled",
        "truncated",
        "refusal",
        "too_long",
        "overloaded_body",
    )
    provider, server = opening(model, faults=Script(*faults, "404_model", None))
    provider_id = provider.submit(BATCH_KEY, items(len(faults) + 2))
    status = provider.poll(provider_id)
    assert (status.total, status.succeeded) == (len(faults) + 2, 3)
    found = dict(provider.results(provider_id))
    by_fault = {fault: found[f"{BATCH_KEY[:16]}-{n}"] for n, fault in enumerate([*faults, "404_model", None])}
    kinds = {fault: type(outcome) for fault, outcome in by_fault.items()}
    assert kinds == {
        "400": ItemFailed, "too_long": ItemFailed, "500": MayRetry, "429_seconds": MayRetry, "overloaded_body": MayRetry,
        "item_expired": Unanswered, "item_canceled": Unanswered, "404_model": MustStop,
        "truncated": Reply, "refusal": Reply, None: Reply,
    }  # fmt: skip
    assert by_fault["truncated"].stop == "truncated"  # type: ignore[union-attr]
    assert by_fault["refusal"].stop == "refusal"  # type: ignore[union-attr]
    for outcome in by_fault.values():
        assert outcome.usage is None or (isinstance(outcome, Reply) and outcome.usage.output_tokens > 0)
    assert sum(entry.billed for entry in server.books) == sum(isinstance(o, Reply) for o in by_fault.values()) == 3


@pytest.mark.parametrize(("model", "answered"), [(ANTHROPIC, 0), (OPENAI, 5)])
def test_an_expired_batch_returns_what_was_answered(model: str, answered: int, opening: Opening) -> None:
    provider, server = opening(model, batch_faults=Script("expired"))
    provider_id = provider.submit(BATCH_KEY, items(10))
    status = provider.poll(provider_id)
    assert (status.state, status.succeeded) == ("expired", answered)
    assert f"{10 - answered} of 10" in status.reason
    kinds = Counter(type(outcome) for _, outcome in provider.results(provider_id))
    assert kinds == Counter({Reply: answered, Unanswered: 10 - answered})
    assert sum(entry.billed for entry in server.books) == answered


@pytest.mark.parametrize(("model", "answered"), [(ANTHROPIC, 0), (OPENAI, 3)])
def test_a_cancelled_batch_returns_what_was_answered(model: str, answered: int, opening: Opening) -> None:
    provider, server = opening(model, batch_delay_s=60.0)
    provider_id = provider.submit(BATCH_KEY, items(6))
    assert provider.poll(provider_id).state == "running"
    provider.cancel(provider_id)
    assert provider.poll(provider_id).state == "cancelled"
    assert Counter(type(o) for _, o in provider.results(provider_id)) == Counter(
        {Reply: answered, Unanswered: 6 - answered}
    )
    provider.cancel(provider_id)
    assert sum(entry.billed for entry in server.books) == answered


@pytest.mark.parametrize("model", MODELS)
def test_a_running_batch_has_no_results(model: str, opening: Opening) -> None:
    provider, _ = opening(model, batch_delay_s=60.0)
    provider_id = provider.submit(BATCH_KEY, items(2))
    assert provider.poll(provider_id).state == "running"
    if model == ANTHROPIC:
        assert isinstance(raised(lambda: list(provider.results(provider_id))), MayRetry)
    else:
        assert list(provider.results(provider_id)) == []


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fault", ["lost", "500_accepted", "drop", "500"])
def test_a_submission_whose_answer_was_lost_is_found_if_it_was_accepted(
    model: str, fault: str, opening: Opening
) -> None:
    provider, server = opening(model, batch_faults=Script(fault))
    since = time.time()
    error = raised(lambda: provider.submit(BATCH_KEY, items(3)))
    assert isinstance(error, MayRetry)
    assert error.usage is not None
    assert not error.usage.known
    found = provider.find(BATCH_KEY, 3, since, known=())
    assert found == (server.batches[0].id if fault in ("lost", "500_accepted") else None)
    assert len(server.batches) == (found is not None)


@pytest.mark.parametrize("model", MODELS)
def test_a_submission_is_undecided_while_it_may_still_arrive(model: str, opening: Opening) -> None:
    provider, _ = opening(model, settle_s=3600.0)
    assert isinstance(raised(lambda: provider.find(BATCH_KEY, 3, time.time(), known=())), Undecided)
    assert provider.find(BATCH_KEY, 3, time.time() - 3601, known=()) is None


def test_anthropics_ended_batches_are_recognised_by_their_custom_ids(opening: Opening) -> None:
    provider, server = opening(ANTHROPIC)
    for key, count in ((OTHER_KEY, 3), (BATCH_KEY, 3), ("c" * 40, 3), (BATCH_KEY, 4)):
        provider.submit(key, items(count, key))
    assert provider.find(BATCH_KEY, 3, time.time(), known=()) == server.batches[1].id
    assert provider.find(BATCH_KEY, 3, time.time(), known={server.batches[1].id}) is None
    assert provider.find(BATCH_KEY, 3, time.time() - 3 * 3600, known=()) is None
    assert provider.find("d" * 40, 3, time.time(), known=()) is None
    server.batches[1].created -= 3 * 3600
    assert provider.find(BATCH_KEY, 3, time.time(), known=()) is None


def test_several_running_batches_of_anthropic_are_undecided(opening: Opening) -> None:
    provider, server = opening(ANTHROPIC, batch_delay_s=60.0)
    since = time.time()
    first = provider.submit(OTHER_KEY, items(3, OTHER_KEY))
    second = provider.submit(BATCH_KEY, items(3))
    assert isinstance(raised(lambda: provider.find(BATCH_KEY, 3, since, known=())), Undecided)
    assert provider.find(BATCH_KEY, 3, since, known={first}) == second
    server.batch_endpoints.delay_s = 0.0
    assert provider.find(BATCH_KEY, 3, since, known=()) == second


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_is_found_on_later_pages_of_the_list(
    model: str, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AnthropicBatches, "page_size", 50)
    provider, server = opening(model)
    since = time.time()
    mine = provider.submit(BATCH_KEY, items(2))
    for _ in range(119):
        provider.submit(OTHER_KEY, items(1, OTHER_KEY))
    assert len(server.batches) == 120
    assert provider.find(BATCH_KEY, 2, since, known=()) == mine
    assert provider.find("e" * 40, 2, since, known=()) is None


@pytest.mark.parametrize("model", MODELS)
def test_a_refused_batch_is_a_wait_or_stops_the_run(model: str, opening: Opening) -> None:
    provider, server = opening(model, batch_faults=Script("429"), retry_after_s=7.0)
    error = raised(lambda: provider.submit(BATCH_KEY, items(2)))
    assert isinstance(error, MustWait)
    assert error.retry_after_s == 7.0
    twins = [BatchItem("x-1", item.prompt) for item in items(2)]
    if model == ANTHROPIC:
        assert isinstance(raised(lambda: provider.submit(BATCH_KEY, twins)), MustStop)
        assert server.batches == []
    else:
        status = provider.poll(provider.submit(BATCH_KEY, twins))
        assert (status.state, type(status.failure)) == ("failed", MustStop)
        assert "line 1" in status.reason
    assert not any(entry.billed for entry in server.books)


def test_a_full_queue_is_waited_for(opening: Opening) -> None:
    provider, _ = opening(OPENAI, batch_faults=Script("queue_full"))
    provider_id = provider.submit(BATCH_KEY, items(2))
    status = provider.poll(provider_id)
    assert (status.state, type(status.failure)) == ("failed", MustWait)
    assert list(provider.results(provider_id)) == []


def test_archived_results_are_a_failure_of_unknown_usage(opening: Opening) -> None:
    provider, server = opening(ANTHROPIC)
    provider_id = provider.submit(BATCH_KEY, items(2))
    server.batches[0].archived = True
    status = provider.poll(provider_id)
    assert (status.state, type(status.failure)) == ("failed", MayRetry)
    assert status.failure is not None
    assert status.failure.usage is not None
    assert not status.failure.usage.known
    assert isinstance(raised(lambda: list(provider.results(provider_id))), MayRetry)


@pytest.mark.parametrize("model", MODELS)
def test_questions_about_batches_bill_nothing(model: str, opening: Opening) -> None:
    provider, _ = opening(model)
    for call in (
        lambda: provider.poll("gone"),
        lambda: list(provider.results("gone")),
        lambda: provider.cancel("gone"),
    ):
        error = raised(call)
        assert isinstance(error, MustStop)
        assert "key it was made with" in str(error)
        assert error.usage is None


@pytest.mark.parametrize("model", MODELS)
def test_a_provider_that_is_down_leaves_nothing_in_doubt(model: str) -> None:
    """Nothing was sent, so nothing can be billed."""
    with ProviderServer() as server:
        provider = open_batches(settings(model, server), settle_s=0.0)
    assert provider is not None
    for call in (
        lambda: provider.submit(BATCH_KEY, items(1)),
        lambda: provider.poll("x"),
        lambda: provider.find(BATCH_KEY, 1, time.time(), known=()),
        lambda: list(provider.results("x")),
    ):
        error = raised(call)
        assert isinstance(error, MayRetry)
        assert error.usage is None
    provider.close()


@pytest.mark.parametrize(
    ("answer", "kind", "in_doubt"),
    [
        (({}, {}), MayRetry, True),
        (error_codes.Failure("x", 502, frozenset(), ""), MayRetry, True),
        (error_codes.Failure("x", 409, frozenset(), ""), MayRetry, True),
        (error_codes.Failure("x", 413, frozenset(), ""), MustStop, False),
        (error_codes.Failure("x", 429, frozenset(), ""), MustWait, False),
        (MayRetry("never left"), MayRetry, False),
    ],
)
def test_which_answers_to_a_submission_leave_it_in_doubt(answer: Any, kind: type[JudgeError], in_doubt: bool) -> None:
    error = raised(lambda: llm_batches.accepted_id(answer))
    assert type(error) is kind
    assert (error.usage is not None and not error.usage.known) == in_doubt


@pytest.mark.parametrize("model", MODELS)
def test_broken_results_are_read_again(model: str, opening: Opening) -> None:
    provider, server = opening(model)
    provider_id = provider.submit(BATCH_KEY, items(5))
    assert provider.poll(provider_id).state == "ended"
    path = server.batch_endpoints.folder / f"{provider_id}-output"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert isinstance(raised(lambda: list(provider.results(provider_id))), MayRetry)
    path.write_bytes(whole)
    assert len(list(provider.results(provider_id))) == 5


def test_openai_results_may_lag_behind_the_batch(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, server = opening(OPENAI)
    provider_id = provider.submit(BATCH_KEY, items(2))
    show = server.batch_endpoints._show
    monkeypatch.setattr(server.batch_endpoints, "_show", lambda batch: {**show(batch), "output_file_id": None})
    assert isinstance(raised(lambda: list(provider.results(provider_id))), MayRetry)


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_survives_a_crash_of_the_provider(model: str, tmp_path: Path) -> None:
    """The server is killed after it accepted a batch. Restarted, it processes the batch once."""
    books, folder = tmp_path / "books.jsonl", tmp_path / "batches"
    command = [sys.executable, "-m", "tests.support.providers.server", "--books", str(books), "--batches", str(folder)]
    ids = []
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        base = url if model == ANTHROPIC else f"{url}/v1"
        provider = open_batches(JudgeSettings(model=model, base_url=base, timeout_s=10.0), settle_s=0.0)
        assert provider is not None
        if not ids:
            ids.append(provider.submit(BATCH_KEY, items(4)))
        else:
            assert provider.find(BATCH_KEY, 4, time.time(), known=()) == ids[0]
            assert len(list(provider.results(ids[0]))) == 4
        provider.close()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    [batch] = read_batches(folder)
    assert len(batch.custom_ids) == 4
    assert sum(entry.billed for entry in read_books(books)) == 4


@pytest.mark.parametrize("model", MODELS)
def test_no_batch_is_submitted_twice_under_random_faults(model: str, opening: Opening) -> None:
    """A careful caller and an unreliable connection: every item is answered, and no batch key is accepted twice."""
    kinds = ("429", "500", "drop", "lost", "500_accepted")
    provider, server = opening(
        model, faults=Faults(0.3, 5, ("500", "item_expired", "item_canceled")), batch_faults=Faults(0.5, 3, kinds)
    )
    pending: Sequence[BatchItem] = items(60, "k" * 16)
    answered: dict[str, Reply] = {}
    known: set[str] = set()
    for round_ in range(40):
        if not pending:
            break
        key = f"{round_:016d}"
        renamed = {f"{key}-{n}": item for n, item in enumerate(pending)}
        sent = [BatchItem(name, item.prompt) for name, item in renamed.items()]
        since, provider_id = time.time(), None
        while provider_id is None:
            try:
                provider_id = provider.submit(key, sent)
            except MustWait:
                continue
            except MayRetry:
                provider_id = provider.find(key, len(sent), since, known)
        known.add(provider_id)
        assert provider.poll(provider_id).state in ("ended", "expired", "cancelled")
        found = dict(provider.results(provider_id))
        answered |= {renamed[name].custom_id: o for name, o in found.items() if isinstance(o, Reply)}
        pending = [item for name, item in renamed.items() if not isinstance(found[name], Reply)]
    assert not pending
    assert len(answered) == 60
    assert len(server.batches) == len({batch.key for batch in server.batches}) == len(known)
    assert sum(entry.billed for entry in server.books) == 60


@pytest.mark.parametrize("model", MODELS)
def test_many_threads_submit_at_once(model: str, opening: Opening) -> None:
    provider, server = opening(model)

    def carry(number: int) -> tuple[str, set[str]]:
        key = f"{number:016d}"
        provider_id = provider.submit(key, items(5, key))
        assert provider.poll(provider_id).state == "ended"
        return key, {name for name, _ in provider.results(provider_id)}

    with ThreadPoolExecutor(8) as pool:
        for key, names in pool.map(carry, range(24)):
            assert names == {item.custom_id for item in items(5, key)}
    assert len({batch.id for batch in server.batches}) == 24
    assert [entry.number for entry in server.books] == list(range(120))


def test_json_lines_are_parsed_one_at_a_time() -> None:
    """Nothing is read ahead, and chunks may end anywhere."""
    lines = [json.dumps({"n": n, "text": "ü\u2028" * n}, ensure_ascii=False) for n in range(20)]
    data = ("\n".join(lines) + "\n\n").encode()
    for size in (1, 7, 1000):
        chunks = [data[start : start + size] for start in range(0, len(data), size)]
        assert [llm_batches.object_in(line)["n"] for line in llm_batches.lines_of(chunks)] == list(range(20))

    def endless() -> Iterator[bytes]:
        yield b'{"n": 1}\n{"n": '
        pytest.fail("read ahead")

    assert next(llm_batches.lines_of(endless())) == b'{"n": 1}'
    with pytest.raises(ValueError, match="JSON object"):
        llm_batches.object_in(b"3")
    with pytest.raises(ValueError, match="a line is longer than 16 MiB"):
        list(llm_batches.lines_of(itertools.repeat(b"x" * 2**20)))


@pytest.mark.parametrize("read", [AnthropicBatches.read_result, OpenAIBatches.read_result])
def test_malformed_result_lines(read: Callable[[Any], tuple[str, Reply | JudgeError]]) -> None:
    with pytest.raises(ValueError, match="custom_id"):
        read({"result": {"type": "succeeded"}, "response": {}})
    for line in ({"result": {"type": "new"}}, {"result": {"type": "succeeded", "message": None}}, {"result": {}}):
        name, outcome = read({"custom_id": "a", "response": {"status_code": 200, "body": {}}, **line})
        assert name == "a"
        assert isinstance(outcome, JudgeError)


def test_batches_are_refused_for_providers_without_a_batch_api() -> None:
    compatible = JudgeSettings(model="openai-compatible/q", base_url="http://127.0.0.1:9/v1")
    for none in (JudgeSettings(), compatible):
        assert open_batches(none) is None
        registry.check_transport(none)
        with pytest.raises(UsageError, match=r'set judge\.transport = "calls"'):
            registry.check_transport(none.model_copy(update={"transport": "batch"}))
    registry.check_transport(JudgeSettings(model=OPENAI, transport="batch"))


def test_malformed_custom_ids_are_refused() -> None:
    for wrong in ("", "a" * 65, "a b", "ü"):
        with pytest.raises(ValueError, match="custom_id"):
            BatchItem(wrong, items(1)[0].prompt)


@pytest.mark.parametrize("model", MODELS)
def test_the_retirement_date_that_the_provider_states(model: str) -> None:
    name, today = model.partition("/")[2], date(2026, 11, 21)
    with ProviderServer() as server:
        judge = settings(model, server)
        assert retirement.retirement_date(judge) is None
        assert retirement.retirement(judge, today) is None
        server.batch_endpoints.retires[name] = "2026-12-01"
        assert retirement.retirement_date(judge) == date(2026, 12, 1)
        assert "retires on 2026-12-01, in 10 days" in str(retirement.retirement(judge, today))
        server.batch_endpoints.retires[name] = "2028-12-01"
        assert retirement.retirement(judge, today) is None
        server.batch_endpoints.retires[name] = "gone"
        assert isinstance(raised(lambda: retirement.retirement(judge, today)), MustStop)
        server.batch_endpoints.retires[name] = "retired 2026-11-01"
        if model == ANTHROPIC:
            assert "is retired since 2026-11-01" in str(raised(lambda: retirement.retirement(judge, today)))


def test_the_announced_date_is_used_if_the_provider_states_none() -> None:
    today = date(2026, 11, 21)
    with ProviderServer() as server:
        announced = settings("openai/gpt-5-mini", server)
        assert retirement.retirement(announced, today) == prices.retirement_note(announced.model, today)
    down = raised(lambda: retirement.retirement_date(announced))
    assert isinstance(down, MayRetry)
    assert down.usage is None
    assert "2026-12-11" in str(retirement.retirement(announced, today))
    assert retirement.retirement(JudgeSettings(), today) is None
