"""LiteLLM and inspect_ai as judges: replies, usage and errors, against the tests' server."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import third_party as other
from support.locations import ROOT
from support.packages import needed
from support.providers.grading import PROMPT
from support.providers.server import Faults, ProviderServer, Script

from autointerp.errors import UsageError
from autointerp.judges.base import ItemFailed, Judge, JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.registry import open_judge
from autointerp.messages import Usage
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.third_party import JUDGES

# The libraries' own code uses what their dependencies warn about.
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
MODELS = {"litellm": "litellm/openai/qwen", "inspect": "inspect/openai-api/tests/qwen"}
PACKAGES = {"litellm": "litellm", "inspect": "inspect_ai"}
Asking = Callable[..., tuple[Judge, ProviderServer]]


@pytest.fixture(params=MODELS)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A model of each package, offered by the entry points of pyproject.toml, whether this checkout is installed or not."""
    needed(PACKAGES[request.param])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = {JUDGES: project["entry-points"][JUDGES]}
    other.install(tmp_path_factory.mktemp("site"), monkeypatch, points, name="as-installed")
    monkeypatch.setenv("MY_KEY", "sk-test-12345678")
    yield MODELS[request.param]
    monkeypatch.undo()
    other.forget()


@pytest.fixture
def asking(model: str) -> Iterator[Asking]:
    opened: list[Callable[[], object]] = []

    def build(*faults: str | None, **changes: Any) -> tuple[Judge, ProviderServer]:
        server = ProviderServer(faults=Script(*faults) if faults else Faults(0.0, 0)).start()
        settings = JudgeSettings(
            model=model, base_url=f"{server.url}/v1", key_env="MY_KEY", **{"timeout_s": 10.0, **changes}
        )
        judge = open_judge(settings, None)  # type: ignore[arg-type]
        opened.extend((judge.close, server.stop))
        return judge, server

    yield build
    for close in opened:
        close()


def test_a_reply_has_the_usage_that_the_server_billed(asking: Asking, model: str) -> None:
    judge, server = asking()
    reply = judge.ask(PROMPT)
    [entry] = server.books
    assert reply.stop == "complete"
    assert '"grade":' in reply.text
    assert reply.usage == Usage(entry.input_tokens, entry.output_tokens)
    assert (judge.name, judge.is_llm) == (model, True)
    assert judge.identity()["model"] == model.partition("/")[2]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [("429", MustWait), ("500", MayRetry), ("401", MustStop), ("404_model", MustStop), ("too_long", ItemFailed)],
)
def test_errors_have_the_outcomes_of_the_table_after_one_attempt(
    asking: Asking, fault: str, outcome: type[JudgeError]
) -> None:
    judge, server = asking(fault, None)
    with pytest.raises(outcome) as failed:
        judge.ask(PROMPT)
    assert len(server.books) == 1
    assert "sk-test-12345678" not in str(failed.value)
    assert judge.ask(PROMPT).stop == "complete"


def test_a_cut_off_reply_is_truncated(asking: Asking) -> None:
    judge, _ = asking("truncated")
    assert judge.ask(PROMPT).stop == "truncated"


def test_an_unknown_provider_and_a_missing_key_are_refused_in_one_line(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = model.partition("/")[0]
    for settings in (
        JudgeSettings(model=f"{prefix}/no-such-provider/x"),
        JudgeSettings(model=model, base_url="http://127.0.0.1:9/v1", key_env="NOT_SET"),
    ):
        with pytest.raises(UsageError) as refused:
            open_judge(settings, None)  # type: ignore[arg-type]
        assert "\n" not in str(refused.value)
