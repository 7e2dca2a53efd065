"""Holds what a judge's server says of itself against what it is asked, from a run's first questions on.

A context that is smaller than the first question stops the run before anything is spent. Prompts of which the server reads a part, and
a stated rate limit at which the run takes hours, are warnings: they are written to the run's log and shown at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from autointerp.errors import ProviderStopped
from autointerp.formatting import plural
from autointerp.judges.base import JudgeError
from autointerp.judges.cost_model import READ_SHARE, rough_input
from autointerp.judges.server_context import stated_context
from autointerp.ledger import events, jobs
from autointerp.ledger.database import Ledger
from autointerp.messages import Prompt, RateLimits, Reply
from autointerp.spec import judge_sections
from autointerp.spec.providers import PROVIDERS, provider_of

SURE_SHARE = 0.75
"""A question does not fit if more than the context is left of this share of its estimated tokens: tokenizers differ by less."""
CUT_REPLIES = 3
"""After this many prompts that were read in part the warning is given."""
SLOW_PER_MINUTE = 10
"""A rate limit below this many questions a minute is worth a warning."""


class ServerWatch:
    """Watches one judge in one run, from many threads. `notify` shows a warning to the user."""

    def __init__(self, ledger: Ledger, run_id: str, settings: judge_sections.Judge, worker: str = "") -> None:
        self._ledger, self._run_id, self._settings, self._worker = ledger, run_id, settings, worker
        self._is_server = PROVIDERS[provider_of(settings.model)].needs_base_url
        self.notify: Callable[[str], None] = lambda text: None
        self._lock = threading.Lock()
        self._context_is_checked = not self._is_server
        self._n_cut = 0
        """How many prompts were read in part so far."""
        self._rate_is_known = False

    def check_context(self, prompt: Prompt) -> None:
        """Raise `ProviderStopped` if the server states a context that the first question surely exceeds."""
        with self._lock:
            if self._context_is_checked:
                return
            self._context_is_checked = True
            context, sent = stated_context(self._settings), rough_input(prompt)
        if context is not None and SURE_SHARE * sent > context:
            raise ProviderStopped(
                f"{self._settings.model}: its server states a context of {context:,} tokens, and a question has about"
                f" {sent:,}: raise the server's context (vLLM: --max-model-len; llama.cpp: -c; Ollama: OLLAMA_CONTEXT_LENGTH)"
            )

    def note(self, prompt: Prompt, outcome: Reply | JudgeError) -> None:
        """An attempt has ended: warn of a prompt that was cut, and of a rate limit that makes the run slow."""
        if isinstance(outcome, Reply):
            self._note_read(prompt, outcome)
        if outcome.limits is not None:
            self._note_rate(prompt, outcome.limits)

    def _note_read(self, prompt: Prompt, reply: Reply) -> None:
        usage, sent = reply.usage, rough_input(prompt)
        read = usage.input_tokens + usage.cache_write_tokens + usage.cache_read_tokens
        if not self._is_server or not usage.known or read >= READ_SHARE * sent:
            return
        with self._lock:
            self._n_cut += 1
            if self._n_cut != CUT_REPLIES:
                return
        self._warn(
            f"{self._settings.model}: its server says that it read {read:,} tokens of a prompt of about {sent:,}: it may cut"
            " prompts, and the grades then rest on a part of each; raise its context (Ollama: OLLAMA_CONTEXT_LENGTH or num_ctx)"
        )

    def _note_rate(self, prompt: Prompt, stated: RateLimits) -> None:
        own = self._settings
        rates = {
            "requests": stated.requests if own.requests_per_minute is None else None,
            "input_tokens": stated.input_tokens if own.input_tokens_per_minute is None else None,
            "output_tokens": stated.output_tokens if own.output_tokens_per_minute is None else None,
        }
        sizes = {"requests": 1, "input_tokens": rough_input(prompt), "output_tokens": prompt.max_tokens}
        questions = {name: limit / sizes[name] for name, limit in rates.items() if limit is not None}
        name = min(questions, key=lambda name: questions[name], default=None)
        if name is None or questions[name] >= SLOW_PER_MINUTE:
            return
        with self._lock:
            if self._rate_is_known:
                return
            self._rate_is_known = True
        with self._ledger.read() as tx:
            left = jobs.count_questions_left(tx, self._run_id)
        self._warn(
            f"{own.model}: its server states a limit of {plural(rates[name] or 0, name[:-1].replace('_', ' '))} per minute, at which the"
            f" {left:,} questions that are left take about {left / questions[name] / 60:.1f} h: if that is wrong, set"
            f" judge.{name}_per_minute"
        )

    def _warn(self, text: str) -> None:
        with self._ledger.write() as tx:
            events.add(tx, self._run_id, text, level="warning", worker=self._worker)
        self.notify(text)
