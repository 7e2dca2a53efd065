"""The three LLM providers through their SDKs over HTTP: replies, errors, token counts and requests."""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.locations import ROOT
from support.providers.protocols import tokens
from support.providers.server import FINAL, TRANSIENT, Faults, ProviderServer, Script, read_books

from autointerp.errors import UsageError
from autointerp.judges import error_codes, retry
from autointerp.judges.base import ItemFailed, Judge, JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.prompt_caching import min_cacheable_tokens
from autointerp.judges.providers.anthropic import read_message, thinking
from autointerp.judges.providers.openai import lowest_effort, read_response
from autointerp.judges.providers.openai_compatible import read_completion
from autointerp.judges.rate_headers import retry_after
from autointerp.judges.registry import no_probabilities, open_judge
from autointerp.messages import MarkedText, Prompt, Reply, ScoreMaterial, Usage
from autointerp.prompts import grouped_grades, single_grade
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import provider_of

MODELS = ("anthropic/claude-haiku-5-5", "openai/gpt-6-luna", "openai-compatible/qwen")
KEY = "sk-test-12345678"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "grade": {"type": "integer", "enum": [0, 1, 2, 3]}},
    "required": ["reason", "grade"],
    "additionalProperties": False,
}
Asking = Callable[..., tuple[Judge, ProviderServer]]


def prompt(text: str = "the cat sat", system: str = "Grade it.", max_tokens: int = 256) -> Prompt:
    return Prompt(system, text, SCHEMA, max_tokens, ScoreMaterial("cats", MarkedText(("cat",), 0)))


def settings(model: str, server: ProviderServer, **changes: Any) -> JudgeSettings:
    url = server.url if model.startswith("anthropic") else f"{server.url}/v1"
    return JudgeSettings(model=model, base_url=url, **{"timeout_s": 10.0, **changes})


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_COMPATIBLE_API_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Opens a judge against a server with the given faults."""
    opened: list[Any] = []

    def build(
        model: str, *faults: str | None, server: dict[str, Any] | None = None, **changes: Any
    ) -> tuple[Judge, ProviderServer]:
        provider = ProviderServer(faults=Script(*faults), **(server or {})).start()
        judge = open_judge(settings(model, provider, **changes), None)  # type: ignore[arg-type]
        opened.extend((judge.close, provider.stop))
        return judge, provider

    yield build
    for close in opened:
        close()


def test_a_reply_has_the_usage_that_the_server_billed(model: str, asking: Asking) -> None:
    judge, server = asking(model)
    reply = judge.ask(prompt())
    [entry] = server.books
    assert reply.stop == "complete"
    assert reply.text == '{"reason": "decided by hash", "grade": 3}'
    assert reply.usage == Usage(entry.input_tokens, entry.output_tokens)
    assert reply.served_model == model.partition("/")[2]
    assert reply.request_id == "req_0"
    assert judge.name == model
    assert judge.is_llm


def test_counted_tokens_equal_billed_tokens(model: str, asking: Asking) -> None:
    judge, server = asking(model)
    counted = judge.count_tokens(prompt("a longer question, with 12 words and 漢字 in it"))
    judge.ask(prompt("a longer question, with 12 words and 漢字 in it"))
    expected = None if model.startswith("openai-compatible") else server.books[-1].input_tokens
    assert counted == expected


def test_cached_tokens_are_counted_apart(model: str, asking: Asking) -> None:
    judge, server = asking(model, server={"cache_from_tokens": 50})
    system = "Grade what you see by the rubric. " * 20
    usages = [judge.ask(prompt(f"case {i}", system)).usage for i in range(2)]
    size = tokens(system)
    assert [usage.cache_write_tokens for usage in usages] == [size, 0]
    assert [usage.cache_read_tokens for usage in usages] == [0, size]
    assert [usage.input_tokens for usage in usages] == [entry.input_tokens for entry in server.books]


def test_a_missing_usage_is_unknown(asking: Asking) -> None:
    judge, _ = asking(MODELS[2], server={"report_usage": False})
    assert judge.ask(prompt()).usage == Usage(known=False)


@pytest.mark.parametrize(
    ("fault", "stop"), [("truncated", "truncated"), ("refusal", "refusal"), ("invalid_json", "complete")]
)
def test_replies_say_why_they_ended(model: str, asking: Asking, fault: str, stop: str) -> None:
    judge, server = asking(model, fault)
    reply = judge.ask(prompt())
    assert reply.stop == stop
    assert reply.usage.output_tokens == server.books[0].output_tokens > 0
    assert "cannot help" in reply.text or fault != "refusal"


ERRORS: dict[str, tuple[type[JudgeError], str | None]] = {
    "429": (MustWait, None),
    "429_seconds": (MustWait, None),
    "429_date": (MustWait, None),
    "429_reset": (MustWait, None),
    "429_long": (MustWait, None),
    "ramp_limit": (MustWait, None),
    "overloaded": (MustWait, None),
    "overloaded_body": (MustWait, None),
    "500": (MayRetry, None),
    "503": (MayRetry, None),
    "drop": (MayRetry, None),
    "drop_body": (MayRetry, None),
    "not_json": (MayRetry, None),
    "slow": (MayRetry, None),
    "trickle": (MayRetry, None),
    "content_policy": (ItemFailed, "content_rejected"),
    "too_long": (ItemFailed, "too_long"),
    "413": (ItemFailed, "too_long"),
    "400": (ItemFailed, "provider_error"),
    "insufficient_quota": (MustStop, None),
    "spend_limit": (MustStop, None),
    "contract_limit": (MustStop, None),
    "on_hold": (MustStop, None),
    "401": (MustStop, None),
    "402": (MustStop, None),
    "403": (MustStop, None),
    "404_model": (MustStop, None),
    "unsupported": (MustStop, None),
}


@pytest.mark.parametrize("fault", ERRORS)
def test_every_error_becomes_a_judge_error_without_the_sdk(model: str, asking: Asking, fault: str) -> None:
    slow = fault in ("slow", "trickle")
    judge, server = asking(model, fault, server={"slow_s": 1.5}, timeout_s=0.3 if slow else 10.0)
    with pytest.raises(JudgeError) as caught:
        judge.ask(prompt())
    error = caught.value
    kind, reason = ERRORS[fault]
    assert type(error) is kind
    assert getattr(error, "reason", None) == reason
    assert len(server.books) == 1, "the SDK tried again on its own"
    assert "\n" not in str(error)
    assert KEY not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
    assert all(value is None or isinstance(value, int | float | str | Usage) for value in vars(error).values())


@pytest.mark.parametrize(
    ("fault", "low", "high"),
    [("429_seconds", 20, 20), ("429_date", 18, 21), ("429_reset", 18, 20), ("429_long", 3600, 3600)],
)
def test_the_wait_is_read_from_the_headers(model: str, asking: Asking, fault: str, low: float, high: float) -> None:
    judge, _ = asking(model, fault, server={"retry_after_s": 20})
    with pytest.raises(MustWait) as caught:
        judge.ask(prompt())
    assert caught.value.retry_after_s is not None
    assert low <= caught.value.retry_after_s <= high


def test_a_judge_can_be_asked_again_after_each_fault(model: str, asking: Asking) -> None:
    judge, server = asking(model, *TRANSIENT)
    for _ in TRANSIENT:
        with pytest.raises((MustWait, MayRetry)):
            judge.ask(prompt())
    assert judge.ask(prompt()).stop == "complete"
    assert [entry.attempt for entry in server.books] == list(range(len(TRANSIENT) + 1))


def test_a_server_that_cannot_be_reached_may_be_retried(model: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        judge = open_judge(JudgeSettings(model=model, base_url=url), None)  # type: ignore[arg-type]
        with pytest.raises(MayRetry, match=r"connection to .* failed"):
            judge.ask(prompt())
        judge.close()


def test_text_that_is_not_unicode_fails_only_its_item(model: str, asking: Asking) -> None:
    judge, _ = asking(model)
    with pytest.raises(ItemFailed, match="UTF-8"):
        judge.ask(prompt("half a character \ud800"))
    assert judge.ask(prompt()).stop == "complete"


def test_after_faults_and_retries_in_many_threads_client_and_server_counted_the_same_tokens(model: str) -> None:
    """Each question ends once, for the reason that the server gave last, and every delivered reply was counted."""
    kinds = tuple(kind for kind in TRANSIENT + FINAL if kind not in ("429_date",))
    with ProviderServer(faults=Faults(0.3, seed=3, kinds=kinds), retry_after_s=0.01) as server:
        judge = open_judge(settings(model, server), None)  # type: ignore[arg-type]

        def ask(number: int) -> tuple[list[Usage], str]:
            spent: list[Usage] = []

            def note(_: int, outcome: Reply | JudgeError) -> None:
                if outcome.usage is not None and outcome.usage.known:
                    spent.append(outcome.usage)

            try:
                reply = retry.with_retries(
                    lambda: judge.ask(prompt(f"case {number}")), attempts=9, on_attempt=note, sleep=_no_sleep
                )
            except ItemFailed as error:
                return spent, error.reason
            return spent, reply.stop

        with ThreadPoolExecutor(16) as pool:
            ended = list(pool.map(ask, range(150)))
        judge.close()
        books = server.books
    spent = [usage for usages, _ in ended for usage in usages]
    delivered = [entry for entry in books if entry.delivered]
    assert len(spent) == len(delivered)
    assert sum(usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens for usage in spent) == sum(
        entry.input_tokens + entry.cache_read_tokens + entry.cache_write_tokens for entry in delivered
    )
    assert sum(usage.output_tokens for usage in spent) == sum(entry.output_tokens for entry in delivered)
    last = {entry.body_hash: entry for entry in books}
    assert len(last) == 150
    expected = {None: "complete", "invalid_json": "complete", "out_of_range": "complete"}
    expected |= {"truncated": "truncated", "refusal": "refusal", "413": "too_long", "too_long": "too_long"}
    expected |= {"content_policy": "content_rejected", "400": "provider_error"}
    assert sorted(stop for _, stop in ended) == sorted(expected[entry.fault] for entry in last.values())


def test_the_request_to_anthropic(asking: Asking) -> None:
    judge, server = asking("anthropic/claude-sonnet-5-5")
    judge.ask(prompt(max_tokens=99))
    [body] = server.bodies
    assert body["thinking"] == {"type": "between_tools"}
    assert body["system"] == [{"type": "text", "text": "Grade it.", "cache_control": {"type": "ephemeral"}}]
    assert body["max_tokens"] == 99
    assert body["output_config"]["format"]["schema"]["properties"]["grade"]["enum"] == [0, 1, 2, 3]
    assert "temperature" not in body


def test_the_request_to_openai(asking: Asking) -> None:
    judge, server = asking("openai/gpt-6.1-sol", temperature=0.5)
    judge.ask(prompt(max_tokens=99))
    [body] = server.bodies
    assert body["store"] is False
    assert body["reasoning"] == {"effort": "low"}
    assert (body["temperature"], body["max_output_tokens"]) == (0.5, 99)
    assert body["text"]["format"] == {"type": "json_schema", "name": "reply", "strict": True, "schema": SCHEMA}


def test_the_request_to_compatible_servers(asking: Asking) -> None:
    judge, server = asking(MODELS[2])
    judge.ask(prompt(max_tokens=99))
    [body] = server.bodies
    assert (body["temperature"], body["max_tokens"]) == (0.0, 99)
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA


def digit(text: str = "the cat sat") -> Prompt:
    return Prompt("Grade it.", text, {"enum": [0, 1, 2, 3]}, 16, prompt().material, ("0", "1", "2", "3"))


@pytest.mark.parametrize("model", MODELS[1:])
def test_a_digit_has_the_probabilities_of_all_choices(model: str, asking: Asking) -> None:
    judge, server = asking(model)
    reply = judge.ask(digit())
    assert reply.stop == "complete"
    assert reply.probabilities is not None
    assert {int(name): round(p, 2) for name, p in reply.probabilities.items()} == {
        grade: 0.7 if str(grade) == reply.text else 0.08 for grade in range(4)
    }
    [body] = server.bodies
    assert body["top_logprobs"] == 20
    assert not body.keys() & {"response_format", "text"}, "the digit is requested without a schema"
    limit = body.get("max_tokens", body.get("max_output_tokens"))
    assert limit == (1 if "messages" in body else 16)


def test_a_server_without_probabilities_stops_the_run(asking: Asking) -> None:
    judge, server = asking(MODELS[2], server={"report_logprobs": False})
    with pytest.raises(MustStop, match=r"set score\.ask to grade") as stopped:
        judge.ask(digit())
    assert stopped.value.usage == Usage(server.books[0].input_tokens, server.books[0].output_tokens)
    assert judge.ask(prompt()).probabilities is None


@pytest.mark.parametrize(
    ("model", "thinking", "why"),
    [
        ("anthropic/claude-haiku-5-5", False, "Claude's API"),
        ("openai/gpt-6-luna", False, None),
        ("openai/gpt-6-luna", True, "reasons"),
        ("openai/gpt-6.1-sol", False, "reasons"),
        ("openai/gpt-4.1", False, None),
        ("embedded", False, None),
    ],
)
def test_models_without_probabilities_have_a_reason(model: str, thinking: bool, why: str | None) -> None:
    reason = no_probabilities(JudgeSettings(model=model, thinking=thinking))
    assert reason is None if why is None else why in str(reason)


QUESTIONS: dict[str, Callable[[int], Prompt]] = {
    "reason": lambda n: single_grade.prompt(RULES, _item(n), 99),
    "grade": lambda n: single_grade.prompt(RULES, _item(n), 99, "grade"),
    "together": lambda n: grouped_grades.prompt(RULES, [_item(n), _item(-n)], 99),
}
RULES = rubric.load("specificity")


def _item(number: int) -> ScoreMaterial:
    return ScoreMaterial(f"numbers such as {number}", MarkedText((f" {number}",), 0))


@pytest.mark.parametrize("way", QUESTIONS)
@pytest.mark.parametrize("model", [*MODELS, "openai/gpt-5.4"])
def test_the_instructions_of_a_real_question_are_read_from_the_cache(model: str, way: str, asking: Asking) -> None:
    """Like the vendors, the test server caches from 1,024 tokens on, and for GPT-5.6 and later only up to a breakpoint."""
    judge, _ = asking(model, server={"cache_from_tokens": 1024})
    first, *others = [judge.ask(QUESTIONS[way](number)) for number in range(4)]
    size = tokens(QUESTIONS[way](0).system)
    assert (first.usage.cache_write_tokens, first.usage.cache_read_tokens) == (size, 0)
    assert {(reply.usage.cache_write_tokens, reply.usage.cache_read_tokens) for reply in others} == {(0, size)}
    assert all(reply.usage.input_tokens < size for reply in others)


@pytest.mark.parametrize(("model", "least"), [("openai/gpt-6-luna", 1024), ("anthropic/claude-opus-5", 512), (MODELS[0], None),
    ("anthropic/claude-haiku-4-5-20251001", 4096), ("openai-compatible/m", None)])  # fmt: skip
def test_the_shortest_instructions_that_a_model_caches(model: str, least: int | None) -> None:
    assert min_cacheable_tokens(model) == least


@pytest.mark.parametrize(
    ("model", "wanted", "sent"),
    [
        ("claude-haiku-5-5", False, {"type": "disabled"}),
        ("claude-haiku-5-5", True, {"type": "adaptive"}),
        ("claude-haiku-4-5-20251001", True, {"type": "enabled", "budget_tokens": 4096}),
        ("claude-opus-5-5", True, {"type": "adaptive"}),
    ],
)
def test_thinking_has_the_form_that_the_model_accepts(model: str, wanted: bool, sent: dict[str, Any]) -> None:
    assert thinking(model, wanted, 8192) == sent


@pytest.mark.parametrize(
    ("model", "effort"),
    [
        ("gpt-6-luna", "none"), ("gpt-6-astra", "low"), ("gpt-6.1-terra", "low"), ("gpt-5.4-mini", "none"),
        ("gpt-5-nano-2025-08-07", "minimal"), ("gpt-5-chat-latest", None), ("gpt-4o", None), ("o3", "low"), ("new-model", None),
    ],
)  # fmt: skip
def test_lowest_effort(model: str, effort: str | None) -> None:
    assert lowest_effort(model) == effort


@pytest.mark.parametrize(
    ("changes", "needle"),
    [
        ({"model": "anthropic/claude-haiku-5-5", "temperature": 0.0}, "temperature"),
        ({"model": "anthropic/claude-opus-5-5"}, "always thinks"),
        ({"model": "anthropic/claude-haiku-4-5", "thinking": True}, "max_output_tokens"),
    ],
)
def test_settings_that_a_model_does_not_accept_are_refused(changes: dict[str, Any], needle: str) -> None:
    with pytest.raises(UsageError, match=needle):
        open_judge(JudgeSettings(**changes), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("model", "variable"), [(MODELS[0], "ANTHROPIC_API_KEY"), (MODELS[1], "OPENAI_API_KEY")])
def test_a_missing_key_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch, model: str, variable: str) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(UsageError, match=f"set {variable}"):
        open_judge(JudgeSettings(model=model), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("model", "variable"), [(MODELS[0], "ANTHROPIC_BASE_URL"), (MODELS[1], "OPENAI_BASE_URL")])
def test_the_sdks_base_url_variables_are_respected(monkeypatch: pytest.MonkeyPatch, model: str, variable: str) -> None:
    with ProviderServer() as server:
        monkeypatch.setenv(variable, str(settings(model, server).base_url))
        judge = open_judge(JudgeSettings(model=model), None)  # type: ignore[arg-type]
        assert judge.ask(prompt()).stop == "complete"
        judge.close()
        assert len(server.books) == 1


def test_the_identity_holds_no_key_and_no_setting_of_execution(model: str, asking: Asking) -> None:
    judge, server = asking(model)
    other = open_judge(settings(model, server, timeout_s=3.0, concurrency=2, max_output_tokens=99), None)  # type: ignore[arg-type]
    assert judge.identity() == other.identity()
    assert KEY not in str(judge.identity())
    assert judge.identity()["provider"] == provider_of(model)
    other.close()


@pytest.mark.parametrize(
    ("status", "codes", "message", "kind", "reason"),
    [
        (400, {"invalid_request_error"}, "Your credit balance is too low", MustStop, None),
        (400, {"invalid_request_error"}, "body is not valid JSON: unexpected end of data", MayRetry, None),
        (400, {"BadRequestError"}, "This model's maximum context length is 4096 tokens", ItemFailed, "too_long"),
        (400, {"exceed_context_size_error"}, "", ItemFailed, "too_long"),
        (400, {"content_filter"}, "", ItemFailed, "content_rejected"),
        (402, {"linked_organization_spend_limit_reached"}, "", MustStop, None),
        (408, set(), "", MayRetry, None),
        (409, set(), "", MayRetry, None),
        (422, set(), "", ItemFailed, "provider_error"),
        (504, {"timeout_error"}, "", MayRetry, None),
        (503, {"cmek_context_unavailable"}, "", MustWait, None),
        (None, {"server_error"}, "", MayRetry, None),
        (None, {"bio_policy"}, "", ItemFailed, "content_rejected"),
        (403, {"rate_limit_exceeded", "billing_not_active"}, "", MustStop, None),
    ],
)
def test_the_outcome_of_each_status_and_code(
    status: int | None, codes: set[str], message: str, kind: type[JudgeError], reason: str | None
) -> None:
    error = error_codes.outcome_of(error_codes.Failure("p", status, frozenset(codes), message))
    assert type(error) is kind
    assert getattr(error, "reason", None) == reason


def test_error_messages_are_one_short_line_without_secrets() -> None:
    failure = error_codes.Failure("p", 401, frozenset(), "bad\nkey sk-ant-abc123456 \x1b[31m " + "x" * 500)
    line = str(error_codes.outcome_of(failure))
    assert "sk-ant" not in line
    assert line.isprintable()
    assert len(line) < 400


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:17:10 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "99999999"}, None),
        ({"x-ratelimit-reset-requests": "1m30s", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "120ms", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-tokens": "6m",
          "x-ratelimit-remaining-tokens": "900"}, 0.12),
        ({"anthropic-ratelimit-input-tokens-reset": "1970-01-01T00:17:00Z", "retry-after": "3"}, 3.0),
        ({"anthropic-ratelimit-input-tokens-reset": "1970-01-01T00:17:00Z"}, 20.0),
    ],
)  # fmt: skip
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=lambda: 1000.0) == seconds


@pytest.mark.parametrize("read", [read_message, read_response, read_completion])
@pytest.mark.parametrize(
    "body",
    [
        {}, {"content": None}, {"content": ["x"], "usage": {"input_tokens": None}}, {"output": [None]}, {"choices": []},
        {"choices": [None]}, {"error": "text"}, {"error": {"code": 7}}, {"usage": [], "stop_reason": "new", "status": "queued"},
    ],
)  # fmt: skip
def test_malformed_bodies_are_errors(read: Callable[..., Reply | JudgeError], body: dict[str, Any]) -> None:
    assert isinstance(read(body, {}), JudgeError)


def test_the_test_server_as_a_process_writes_its_books_to_a_file(tmp_path: Path) -> None:
    """The kill tests use it like this: a process of its own that prints its URL, and books that are complete after a kill."""
    books = tmp_path / "books.jsonl"
    command = [
        sys.executable,
        "-m",
        "tests.support.providers.server",
        "--books",
        str(books),
        "--faults",
        "1",
        "--kinds",
        "refusal",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        judge = open_judge(JudgeSettings(model=MODELS[2], base_url=f"{url}/v1"), None)  # type: ignore[arg-type]
        usages = [judge.ask(prompt(f"case {number}")).usage for number in range(3)]
        judge.close()
        process.kill()
    entries = read_books(books)
    assert [entry.fault for entry in entries] == ["refusal"] * 3
    assert [(entry.input_tokens, entry.output_tokens) for entry in entries] == [
        (usage.input_tokens, usage.output_tokens) for usage in usages
    ]
    assert all(entry.billed and entry.delivered for entry in entries)


def test_no_sdk_is_imported_with_the_package() -> None:
    code = (
        "import sys, autointerp.judges, autointerp.judges.base, autointerp.judges.prices, autointerp.judges.error_codes;"
        "print(sorted({'anthropic', 'openai', 'httpx2', 'torch', 'tenacity'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _no_sleep(_: float) -> None:
    """The waits are tested in test_retry."""
