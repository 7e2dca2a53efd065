"""Cautions about what a judge's server says of itself."""

from __future__ import annotations

import pytest

from autointerp.findings.server_cautions import cautions, is_same_model
from autointerp.judges.cost_model import FRAME_TOKENS, rough_tokens
from autointerp.ledger.calls import ServedCall

JUDGE = "openai-compatible/qwen2.5:7b"


def call(read: float | int, words: int = 500, served: str = "qwen2.5:7b") -> ServedCall:
    """A call whose server read a share of the estimated tokens, or a number of them."""
    user = "word " * words
    sent = rough_tokens("system") + rough_tokens(user) + FRAME_TOKENS
    return ServedCall(JUDGE, served, "system", user, round(read * sent) if isinstance(read, float) else read)


@pytest.mark.parametrize("share", [0.6, 0.9, 1.1, 2.0])
def test_another_tokenizer_is_no_reason_for_a_caution(share: float) -> None:
    assert list(cautions(JUDGE, [call(share, words) for words in range(400, 500, 10)])) == []


def test_a_server_that_reads_half_of_the_prompt_is_cautioned_about() -> None:
    [said] = cautions(JUDGE, [call(0.9, 100), call(0.3, 2000), call(0.3, 2000)])
    assert "in 2 of 3 calls" in said
    assert "OLLAMA_CONTEXT_LENGTH" in said


def test_prompts_of_different_lengths_that_fill_a_context_are_cautioned_about() -> None:
    sent = [call(2048, words) for words in (2100, 2200, 2300)]
    [said] = cautions(JUDGE, [call(0.9, 100), *sent])
    assert "read 2,048 tokens" in said
    assert "in 3 of 4 calls" in said


def test_prompts_of_one_length_that_fill_no_context_are_not() -> None:
    assert list(cautions(JUDGE, [call(2000, 2100)] * 3)) == []


def test_another_model_than_the_one_asked_is_named() -> None:
    [said] = cautions(JUDGE, [call(0.9), call(0.9, served="llama-3.1-8b")])
    assert "llama-3.1-8b answered" in said


@pytest.mark.parametrize(
    ("asked", "served", "same"),
    [
        ("qwen2.5", "qwen2.5:latest", True),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct", True),
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("llama3", "/models/llama3.gguf", True),
        ("gemini-2.5-flash", "models/gemini-2.5-flash", True),
        ("m", "", True),
        ("qwen2.5-7b", "qwen2.5-14b", False),
        ("anthropic/claude-sonnet-4", "openai/gpt-4o", False),
    ],
)
def test_names_of_one_model_may_differ_in_date_tag_path_and_case(asked: str, served: str, same: bool) -> None:
    assert is_same_model(asked, served) is same
