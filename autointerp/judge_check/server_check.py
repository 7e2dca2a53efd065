"""What a Chat Completions server can do: its probe, and three questions about its replies. `autointerp judges check URL` prints it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from autointerp.calls import server_probe
from autointerp.calls.caller import Caller
from autointerp.errors import ProviderStopped
from autointerp.findings.server_cautions import is_same_model
from autointerp.judges import cost_model
from autointerp.judges.base import Judge, JudgeError, MustStop
from autointerp.judges.registry import open_judge
from autointerp.judges.request_form import RequestForm, server_of
from autointerp.judges.server_context import stated_context
from autointerp.ledger import runs
from autointerp.ledger.budgets import Limits
from autointerp.ledger.database import Ledger
from autointerp.messages import MarkedText, Prompt, ScoreMaterial
from autointerp.prompts import single_grade
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import model_of

LONG_WORDS = 6000
"""Words of the long question. Prompts of a run rarely have more tokens; Ollama's usual context has 4096."""
_MATERIAL = ScoreMaterial("words about cats", MarkedText(("the ", "cat", " sat"), 1))


def check_server(settings: JudgeSettings) -> Iterator[tuple[str, str]]:
    """What the server is and does, as pairs of a name and a sentence. Asks anew each time, and keeps nothing.

    Raises `UsageError` and `ProviderStopped`.
    """
    scale = rubric.load("specificity")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="autointerp-"))
        ledger = Ledger.in_folder(Path(folder))
        stack.callback(ledger.close)
        with ledger.write() as tx:
            runs.register(tx, run_id="check", name="check", spec_hash="", spec="")
        judge = open_judge(settings, scale)
        stack.callback(judge.close)
        server = server_of(settings)
        yield "server", f"{settings.address} ({server.name if server else 'not one that is known by its address'})"
        context = stated_context(settings)
        yield "context", f"{context:,} tokens" if context else "not stated"
        caller = Caller(ledger, "check", judge, settings, Limits(None))
        line = server_probe.settle_patiently(caller, settings)
        yield "probe", line.partition(": ")[2] if line else "none needed: the spec and the table of servers decide all"
        if isinstance(judge, server_probe.FormedJudge):
            yield from _form(judge.form)
        yield from _replies(judge, single_grade.prompt(scale, _MATERIAL, settings.max_output_tokens))
        digit = single_grade.prompt(scale, _MATERIAL, settings.max_output_tokens, "logprobs")
        yield "logprobs", _logprobs(judge, digit)


def _form(form: RequestForm) -> Iterator[tuple[str, str]]:
    yield "system role", "yes" if form.system_role else "no: its text goes into the question"
    yield "JSON", {"schema": "by schema", "object": "as an object", "prompt": "in words only"}[form.json]
    yield "limit", "max_completion_tokens" if form.max_completion_tokens else "max_tokens"
    yield "temperature", "yes" if form.temperature else "no: the model's own"
    yield "thinking", "not switched" if form.thinking_switch == "none" else f"switched by {form.thinking_switch}"


def _replies(judge: Judge, prompt: Prompt) -> Iterator[tuple[str, str]]:
    """Which model answers, and how much of a long question the server reads."""
    words = " ".join(f"word{number % 10}" for number in range(LONG_WORDS))
    long = Prompt(f"{prompt.system}\n{words}", prompt.user, prompt.schema, prompt.max_tokens, prompt.material)
    try:
        served = judge.ask(prompt).served_model
        same = is_same_model(model_of(judge.name), served)
        yield "model", (served or "not named") if same else f"{served}, although {model_of(judge.name)} was asked"
        usage = judge.ask(long).usage
    except MustStop as error:
        raise ProviderStopped(f"{judge.name}: {error}") from None
    except JudgeError as error:
        yield "replies", f"a question was not answered: {error}"
        return
    sent = cost_model.rough_input(long)
    read = usage.input_tokens + usage.cache_write_tokens + usage.cache_read_tokens
    verdict = ": it cuts prompts; raise its context" if 0 < read < cost_model.READ_SHARE * sent else ""
    yield (
        "tokens",
        f"read {read:,} of about {sent:,} sent{verdict}" if usage.known and read else "usage is not reported",
    )


def _logprobs(judge: Judge, prompt: Prompt) -> str:
    try:
        reply = judge.ask(prompt)
    except JudgeError as error:
        return f"no ({error})"
    return "yes: score.ask = logprobs works" if reply.probabilities else "no: use score.ask = grade or reason"
