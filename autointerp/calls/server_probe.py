"""Finds out, before a run's first question, how its server wants to be asked, and keeps the result with the run.

A probe is a tiny question in the form that the spec and the table of servers give. If the server refuses a part of it, the question is
asked again without that part. Probes are ordinary calls: in the ledger, within the budget and the rate limit. A run that is resumed,
and all workers of a run, use the form that was found first.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol, runtime_checkable

from autointerp.calls.answers import Answer
from autointerp.calls.caller import Caller, Postponed
from autointerp.errors import ProviderStopped
from autointerp.formatting import plural
from autointerp.hashing import content_hash
from autointerp.judges import refusals
from autointerp.judges.request_form import RequestForm, form_of, is_certain
from autointerp.ledger import calls, events, runs
from autointerp.ledger.jobs import Job
from autointerp.messages import MarkedText, Prompt, ScoreMaterial
from autointerp.prompts.replies import read_object
from autointerp.records import Outcome
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import PROVIDERS, provider_of

JOB = Job("probe-server", "probe-server")
"""The job of the probes' calls. It is not a row of `jobs`."""
MOST_PROBES = 6
"""Forms that are tried. Two or three are usual; a server that refuses them all gets the first one."""
_SYSTEM = "Answer with one JSON object."
_SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "description": "one word"},
        "grade": {"type": "integer", "enum": [0, 1]},
    },
    "required": ["reason", "grade"],
    "additionalProperties": False,
}


@runtime_checkable
class FormedJudge(Protocol):
    """A judge whose requests have a form that depends on its server."""

    form: RequestForm
    form_is_settled: bool
    settling: threading.Lock


def most_calls(settings: JudgeSettings) -> int:
    """The most calls that are spent on probing a judge's server; 0 if the spec or its address says how it is asked."""
    is_server = PROVIDERS[provider_of(settings.model)].needs_base_url
    return MOST_PROBES if is_server and not is_certain(settings) else 0


def settle(caller: Caller, settings: JudgeSettings) -> str | None:
    """Settle the form in which the caller's judge is asked; the line to show if a probe was made now.

    Raises what `Caller.ask` raises, and `ProviderStopped` if the server refuses a key that the spec sets.
    """
    judge = caller.judge
    if not isinstance(judge, FormedJudge) or judge.form_is_settled:
        return None
    with judge.settling:
        if judge.form_is_settled:
            return None
        key, line = _server_key(settings), None
        kept = _kept(caller, key)
        if kept is None:
            line = _probe(caller, judge, settings)
            with caller.ledger.write() as tx:
                if runs.keep_server_form(tx, caller.run_id, key, judge.form.to_json()):
                    events.add(tx, caller.run_id, line, worker=caller.worker)
            kept = _kept(caller, key)
        judge.form = RequestForm(**kept) if kept else judge.form
        judge.form_is_settled = True
        return line


def settle_patiently(caller: Caller, settings: JudgeSettings) -> str | None:
    """The same as `settle`, but waits as long as the provider asks for."""
    while True:
        try:
            return settle(caller, settings)
        except Postponed as pause:
            caller.limiter.sleep(pause.seconds)


def _kept(caller: Caller, key: str) -> dict[str, Any] | None:
    with caller.ledger.read() as tx:
        return runs.server_form(tx, caller.run_id, key)


def _server_key(settings: JudgeSettings) -> str:
    """Hash of everything that decides what a probe would find."""
    form = form_of(settings).to_json()
    return content_hash([settings.model, settings.address, settings.thinking, settings.extra_body, form])[:16]


def _probe(caller: Caller, judge: FormedJudge, settings: JudgeSettings) -> str:
    """Give the judge the first form that its server accepts. The line says what was found, and the calls spent on it."""
    before = _calls_made(caller)
    first, findings = judge.form, list[str]()
    accepted: RequestForm | None = None
    for _ in range(MOST_PROBES):
        answer, error = _ask(caller, judge, settings)
        if answer is not None and answer.outcome is not Outcome.PROVIDER_ERROR:
            accepted = accepted or judge.form
            change = refusals.weaker_json(judge.form, settings) if answer.outcome is Outcome.PARSE_FAILURE else None
            if change is None:
                accepted = judge.form if answer.outcome is not Outcome.PARSE_FAILURE else accepted
                findings += _remarks(answer, settings)
                break
            findings.append(
                f"its reply was no JSON ({answer.reason[:60]}), so {change.finding.removeprefix('it takes ')}"
            )
        else:
            reason = answer.reason if answer is not None else str(error)
            change = refusals.simpler(judge.form, settings, reason)
            if change is None:
                _stop_if_set_in_spec(caller, settings, reason)
                if error is not None:
                    raise error
                findings.append(f"it did not answer: {reason}")
                accepted = accepted or judge.form  # what it refused until then stays left out
                break
            findings.append(change.finding)
        judge.form = change.form
    judge.form = accepted or first
    made = _calls_made(caller) - before
    finding = "; ".join(findings) or "it takes system role and JSON schema"
    return f"{settings.model}: probed with {plural(made, 'call')}: {finding}"


def _ask(
    caller: Caller, judge: FormedJudge, settings: JudgeSettings
) -> tuple[Answer[dict[str, Any]] | None, ProviderStopped | None]:
    """The answer to a probe in the judge's present form, or the error that would stop the run."""
    # The server and the form are named in the question, so that its answer is reused only for the same two.
    number = content_hash([settings.address, judge.form.to_json(), settings.thinking])[:8]
    question = f'Question {number}. Answer with the JSON object {{"reason": "test", "grade": 1}}.'
    prompt = Prompt(
        _SYSTEM, question, _SCHEMA, settings.max_output_tokens, ScoreMaterial("a test", MarkedText(("test",), 0))
    )
    try:
        return caller.ask(prompt, read_object, JOB, 0), None
    except ProviderStopped as error:
        return None, error


def _remarks(answer: Answer[dict[str, Any]], settings: JudgeSettings) -> list[str]:
    if answer.outcome is Outcome.TOO_LONG:
        return [
            f"a question of a line is too long for it ({answer.reason}): lower judge.max_output_tokens ="
            f" {settings.max_output_tokens}, or raise the server's context"
        ]
    if answer.outcome is Outcome.TRUNCATED:
        return [f"its reply did not end within judge.max_output_tokens = {settings.max_output_tokens}: raise it"]
    if answer.outcome is Outcome.PARSE_FAILURE:
        return [f"its replies are no JSON in any form: {answer.reason[:80]}"]
    return []


def _stop_if_set_in_spec(caller: Caller, settings: JudgeSettings, error: str) -> None:
    key = refusals.set_in_spec(settings, error)
    if key is not None:
        raise ProviderStopped(
            f"{caller.judge.name}: {error}: the server refuses judge.{key} as it is set: remove the key"
        )


def _calls_made(caller: Caller) -> int:
    with caller.ledger.read() as tx:
        return calls.attempts_of(tx, caller.run_id, JOB.job_key)
