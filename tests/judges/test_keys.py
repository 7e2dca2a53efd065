"""Where keys and prompts are sent, by what local servers receive."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from autointerp.calls.cost_limits import check_judges
from autointerp.errors import UsageError
from autointerp.judges.base import JudgeError, MustStop
from autointerp.judges.providers.keys import key_of
from autointerp.judges.registry import open_judge
from autointerp.messages import MarkedText, Prompt, ScoreMaterial
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.servers import KEYS
from autointerp.spec.spec import Spec, parse

REAL, OTHER = "real-key-of-the-provider", "key-of-the-proxy"
MODELS = ("anthropic/claude-haiku-5-5", "openai/gpt-6-luna", "openai-compatible/qwen")
PROMPT = Prompt("Grade it.", "the secret corpus", {"type": "object"}, 64, ScoreMaterial("", MarkedText(("x",), 0)))


class Listening(ThreadingHTTPServer):
    """A server that keeps the requests, and answers each with a status and headers."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status, self.headers = status, headers
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Listening
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append(f"{self.headers}{body.decode()}")
        key = self.headers.get("x-api-key") or (self.headers["authorization"] or "").removeprefix("Bearer ")
        answer = json.dumps({"error": {"message": f"wrong key {key}", "code": key}}).encode()
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def listening(status: int = 401, **headers: str) -> Iterator[Listening]:
    with Listening(status, headers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def failure(model: str, base_url: str, **changes: str) -> JudgeError:
    """The error in which a question ends."""
    url = base_url if model.startswith("anthropic") else f"{base_url}/v1"
    judge = open_judge(JudgeSettings(model=model, base_url=url, timeout_s=10.0, **changes), None)  # type: ignore[arg-type]
    with pytest.raises(JudgeError) as raised:
        judge.ask(PROMPT)
    judge.close()
    return raised.value


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", REAL)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", REAL)
    monkeypatch.setenv("OPENAI_API_KEY", REAL)
    monkeypatch.setenv("PROXY_KEY", OTHER)


@pytest.mark.parametrize("model", MODELS)
def test_a_key_is_sent_to_another_address_only_if_the_spec_names_its_variable(model: str) -> None:
    with listening() as server:
        error = failure(model, server.url)
        assert "judge.key_env" in str(error)
        failure(model, server.url, key_env="PROXY_KEY")
    without, with_key = server.requests
    assert REAL not in without + with_key
    assert OTHER in with_key


@pytest.mark.parametrize("model", MODELS[:2])
def test_a_remote_address_without_a_key_is_refused_before_anything_is_sent(model: str) -> None:
    with pytest.raises(UsageError, match=r"gateway\.example\.org.*set judge\.key_env") as raised:
        failure(model, "https://gateway.example.org")
    assert len(str(raised.value).splitlines()) == 1


def judged_at(judge: str, explainer: str, **changes: str) -> Spec:
    """A spec with two compatible servers; `changes` are keys of the explainer's table."""
    return parse(
        {
            "subject": {"model": "gpt2"},
            "dictionary": {"path": "d"},
            "corpus": {"sources": ["c.txt"]},
            "judge": {"model": MODELS[2], "base_url": judge},
            "explainer": {"model": MODELS[2], "base_url": explainer} | changes,
        }
    )


def test_one_key_for_two_hosts_is_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = "http://127.0.0.1:8000/v1", "https://gateway.example.org/v1"
    check_judges(judged_at(here, there))  # no key is set
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", REAL)
    with pytest.raises(
        UsageError, match=r"OPENAI_COMPATIBLE_API_KEY would be sent to 127\.0\.0\.1 and to gateway"
    ) as raised:
        check_judges(judged_at(here, there))
    assert REAL not in str(raised.value)
    check_judges(judged_at(here, "http://127.0.0.1:8001/v1"))  # one host
    check_judges(judged_at(here, there, key_env="PROXY_KEY"))


@pytest.mark.parametrize("at", [{"base_url": "https://openrouter.ai/api/v1"}, {"server": "openrouter"}])
def test_a_well_known_server_gets_its_own_key_and_no_other(monkeypatch: pytest.MonkeyPatch, at: dict[str, str]) -> None:
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", REAL)
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    settings = JudgeSettings(model=MODELS[2], **at)  # type: ignore[arg-type]
    with pytest.raises(
        UsageError, match=r"openrouter\.ai/api/v1 needs a key: set OPENROUTER_API_KEY .* judge\.key_env"
    ):
        key_of(settings)
    monkeypatch.setenv("OPENROUTER_API_KEY", OTHER)
    assert key_of(settings) == (OTHER, "OPENROUTER_API_KEY")
    assert key_of(settings.model_copy(update={"key_env": "PROXY_KEY"})) == (OTHER, "PROXY_KEY")


@pytest.mark.parametrize(("host", "variable"), KEYS.items())
def test_a_key_of_the_table_is_sent_to_its_host_only(monkeypatch: pytest.MonkeyPatch, host: str, variable: str) -> None:
    for name in {*KEYS.values(), "OPENAI_COMPATIBLE_API_KEY"}:
        monkeypatch.setenv(name, name)

    def sent(url: str) -> str:
        return key_of(JudgeSettings(model=MODELS[2], base_url=url))[1]

    assert [sent(f"https://{name}/v1") for name in (host, f"eu.{host}")] == [variable, variable]
    others = (f"http://{host}/v1", f"https://{host}.example.org/v1", f"https://not{host}/v1", f"https://a.org/{host}")
    assert {sent(url) for url in others} == {"OPENAI_COMPATIBLE_API_KEY"}


def test_a_named_variable_that_is_not_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROXY_KEY")
    with pytest.raises(UsageError, match="PROXY_KEY"):
        failure(MODELS[2], "http://127.0.0.1:9", key_env="PROXY_KEY")


@pytest.mark.parametrize("model", MODELS)
def test_an_echoed_key_is_in_no_error(model: str) -> None:
    with listening() as server:
        error = failure(model, server.url, key_env="PROXY_KEY")
    assert OTHER not in str(error)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_to_another_server_is_not_followed(model: str, status: int) -> None:
    with ExitStack() as stack:
        other = stack.enter_context(listening())
        server = stack.enter_context(listening(status, location=f"{other.url}/elsewhere"))
        error = failure(model, server.url, key_env="PROXY_KEY")
    assert isinstance(error, MustStop)
    assert "another server" in str(error)
    assert len(server.requests) == 1
    assert other.requests == []


@pytest.mark.parametrize("model", MODELS)
def test_a_redirect_on_the_same_server_is_followed(model: str) -> None:
    with listening(307, location="/v2/elsewhere") as server:
        failure(model, server.url, key_env="PROXY_KEY")
    assert len(server.requests) > 1


@pytest.mark.parametrize("variable", ["ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"])
def test_an_address_in_the_environment_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://[::1")
    model = MODELS[0] if variable.startswith("ANTHROPIC") else MODELS[1]
    with pytest.raises(UsageError, match="address"):
        open_judge(JudgeSettings(model=model), None)  # type: ignore[arg-type]
