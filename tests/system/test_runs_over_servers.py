"""A whole run against each Chat Completions server in the manner of the usual ones, with no more configuration than its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think
from support.providers.manners import MANNERS, moderated
from support.providers.server import ProviderServer

from autointerp.judges import registry
from autointerp.run import Run

pytestmark = pytest.mark.slow
FEW: dict[str, Any] = {"score": {"per_bin": 1}, "controls": {"shuffled": 1, "base_rate": 1}}
SERVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "vllm": ("google/gemma-2-9b-it", {"server": "vllm"}),
    "vllm thinking": ("Qwen/Qwen3-8B", {"server": "vllm"}),
    "vllm with a reasoning parser": ("Qwen/Qwen3-8B", {"server": "vllm", "thinking": True}),
    "llama.cpp": ("gemma-2-2b", {"server": "llama.cpp"}),
    "ollama": ("qwen2.5:7b", {"server": "ollama"}),
    "openrouter": ("qwen/qwen3-32b", {"server": "openrouter"}),
    "deepseek": ("deepseek-chat", {"server": "deepseek"}),
    "gemini": ("gemini-2.5-flash", {"server": "gemini"}),
    "groq": ("llama-3.3-70b-versatile", {"server": "groq"}),
    "together": ("meta-llama/Llama-3.3-70B-Instruct-Turbo", {"server": "together"}),
    "azure": ("gpt-5-mini", {"server": "azure"}),
}


def answer(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The planted judge's answers, to probes and to questions that hold the system text too."""
    if '"reason": "test"' in user:
        return {"reason": "test", "grade": 1}
    return think(system, user if system else user[user.rindex("\n\n<") + 2 :], schema)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def in_process(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    judge = planted.PlantedJudge()
    run, ledger = planted_runs.prepare(world, tmp_path_factory.mktemp("results"), **FEW)
    return planted_runs.carry(run, ledger, registry.Judges(judge, judge))


def carry(world: planted.World, folder: Path, provider: ProviderServer, model: str, **keys: Any) -> tuple[Run, Any]:
    """A run whose judge is asked at a server. Returns it and its summary."""
    judge = {"model": f"openai-compatible/{model}", "base_url": f"{provider.url}/v1", "max_output_tokens": 400, **keys}
    run, ledger = planted_runs.prepare(world, folder, **FEW, judge=judge)
    return run, planted_runs.carry(run, ledger)


@pytest.fixture(autouse=True)
def _quick_retries_and_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autointerp.judges.retry._backoff", lambda state: 0.0)
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", planted_runs.KEY)


@pytest.mark.parametrize("message", ["", "Forbidden"])
def test_inputs_that_a_moderated_model_refuses_are_unscored_and_all_others_are_judged(
    message: str, world: planted.World, tmp_path: Path
) -> None:
    word = planted.strong_word(planted.CONCEPTS[0], 1)
    with ProviderServer(answer, manner=moderated(word, message)) as server:
        run, summary = carry(world, tmp_path, server, "openai/m", server="openrouter")
    judgements = planted_runs.tables(run.folder)["judgements"]
    refused = judgements["reason"].str.contains("flagged for")
    assert 0 < refused.sum() < len(judgements) / 2
    assert set(judgements.loc[refused, "outcome"]) <= {"content_rejected", "no_explanation"}
    assert set(judgements.loc[~refused, "outcome"]) == {"scored"}
    assert summary["judge"] == "openai-compatible/openai/m"


@pytest.mark.parametrize("name", SERVERS)
def test_a_run_over_a_server_gives_the_results_of_the_planted_judge(
    name: str, world: planted.World, in_process: dict[str, Any], tmp_path: Path
) -> None:
    model, keys = SERVERS[name]
    with ProviderServer(answer, manner=MANNERS[name]) as server:
        _, summary = carry(world, tmp_path, server, model, **keys)
    assert summary["headline"] == in_process["headline"]
    assert summary["bins"] == in_process["bins"]
    assert summary["judge"] == f"openai-compatible/{model}"
    cut = [caution for caution in summary["cautions"] if "may have cut them" in caution]
    assert bool(cut) == (name == "ollama")
