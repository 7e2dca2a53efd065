"""The providers of judges, one row each. A new provider takes a row here and a module in `autointerp/judges/providers/`, or is an entry
point of another package (`autointerp.spec.third_party`).

Everything that differs between providers and is data stands in this table; their protocols stand in their modules, which are imported
only when a judge is opened, because the SDKs take more than a second to import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, Literal

from autointerp.spec import third_party
from autointerp.spec.addresses import is_own_address
from autointerp.spec.servers import key_variable_at


@dataclass(frozen=True)
class RateHeaders:
    """The headers in which a provider states an account's limits per minute; `{}` in a header's name stands for the limit's name."""

    limit: str
    """Header with the size of a limit."""
    remaining: str
    """Header with what is left of it."""
    reset: str
    """Header that says when it is full again."""
    reset_is: Literal["duration", "time"]
    """Whether `reset` holds a duration (`1m30s`) or a point in time (RFC 3339)."""
    requests: str = "requests"
    input_tokens: str = "tokens"
    output_tokens: str = "tokens"
    """Names of the limits. A provider that limits input and output tokens together has the same name for both."""


@dataclass(frozen=True)
class Provider:
    """What the program has to know about a provider before it opens it."""

    name: str
    """What stands before the first `/` of `judge.model`."""
    judge: str
    """`module:class` of its judge (`autointerp.judges.base.Judge`)."""
    batches: str | None = None
    """`module:class` of its batch API (`autointerp.judges.batch_api.BatchProvider`); None if it has none."""
    is_llm: bool = True
    """False for a baseline: it runs in this process and takes neither a model's name nor an address nor a key."""
    keys: tuple[str, ...] = ()
    """Environment variables of its API key, the usual one first."""
    own_host: str = ""
    """Host of its API. Its keys are sent to this host and its subdomains only; empty: to every `base_url` that has no key of its own."""
    needs_key: bool = True
    needs_base_url: bool = False
    price_table: str | None = None
    """Name of its table in `autointerp/judges/prices.toml`; None if its prices are not listed."""
    rate_headers: RateHeaders | None = None
    states_retirement: bool = False
    """Whether its API says when a model retires."""
    entry_point: EntryPoint | None = None
    """That of the judge, if another package brings it."""
    in_memory: bool = False
    """Whether its judges are objects of a Python program, which a spec can name and not open."""

    @property
    def form(self) -> str:
        """How `judge.model` names a judge of this provider."""
        return f"{self.name}/MODEL" if self.is_llm else self.name

    def keys_for(self, address: str) -> tuple[str, ...]:
        """The environment variables whose keys may be sent to an address; an empty one is the provider's own.

        At a Chat Completions server that has a variable of its own, it is the only one.
        """
        if self.needs_base_url and (variable := key_variable_at(address)):
            return (variable,)
        return self.keys if not (self.own_host and address) or is_own_address(address, self.own_host) else ()

    def key_variable(self, address: str, key_env: str | None) -> str:
        """The environment variable whose key is sent to an address; empty if none is set, or none may be sent there."""
        names = (key_env,) if key_env else self.keys_for(address)
        return next((name for name in names if os.environ.get(name)), "")


_ANTHROPIC_HEADERS = RateHeaders(
    limit="anthropic-ratelimit-{}-limit",
    remaining="anthropic-ratelimit-{}-remaining",
    reset="anthropic-ratelimit-{}-reset",
    reset_is="time",
    input_tokens="input-tokens",
    output_tokens="output-tokens",
)
_OPENAI_HEADERS = RateHeaders(
    limit="x-ratelimit-limit-{}",
    remaining="x-ratelimit-remaining-{}",
    reset="x-ratelimit-reset-{}",
    reset_is="duration",
)

_ROWS = (
    Provider(
        name="anthropic",
        judge="autointerp.judges.providers.anthropic:AnthropicJudge",
        batches="autointerp.judges.providers.anthropic_batches:AnthropicBatches",
        keys=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        own_host="api.anthropic.com",
        price_table="anthropic",
        rate_headers=_ANTHROPIC_HEADERS,
        states_retirement=True,
    ),
    Provider(
        name="openai",
        judge="autointerp.judges.providers.openai:OpenAIJudge",
        batches="autointerp.judges.providers.openai_batches:OpenAIBatches",
        keys=("OPENAI_API_KEY",),
        own_host="api.openai.com",
        price_table="openai",
        rate_headers=_OPENAI_HEADERS,
        states_retirement=True,
    ),
    Provider(
        name="openai-compatible",
        judge="autointerp.judges.providers.openai_compatible:CompatibleJudge",
        keys=("OPENAI_COMPATIBLE_API_KEY",),
        needs_key=False,
        needs_base_url=True,
        rate_headers=_OPENAI_HEADERS,
    ),
    Provider(
        name="azure",
        judge="autointerp.judges.providers.azure:AzureJudge",
        keys=("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"),
        own_host="azure.com",
        rate_headers=_OPENAI_HEADERS,
    ),
    Provider(
        name="bedrock",
        judge="autointerp.judges.providers.anthropic_clouds:BedrockJudge",
        keys=("AWS_BEARER_TOKEN_BEDROCK",),
        own_host="amazonaws.com",
        needs_key=False,
        price_table="anthropic",
    ),
    Provider(
        name="vertex",
        judge="autointerp.judges.providers.anthropic_clouds:VertexJudge",
        own_host="googleapis.com",
        needs_key=False,
        price_table="anthropic",
    ),
    Provider(
        name="python",
        judge="autointerp.judges.called:CalledJudge",
        needs_key=False,
        in_memory=True,
    ),
    Provider(
        name="embedded",
        judge="autointerp.judges.embedded.judge:EmbeddedJudge",
        is_llm=False,
        needs_key=False,
    ),
)


class _Providers(Mapping[str, Provider]):
    """The rows of the table, and after them the judges of other packages. The first look-up of another name finds these."""

    def __init__(self, rows: Iterable[Provider]) -> None:
        self._own = {row.name: row for row in rows}

    def __getitem__(self, name: str) -> Provider:
        if name in self._own:
            return self._own[name]
        point = third_party.offered(third_party.JUDGES)[name]
        return Provider(name, point.value, entry_point=point, needs_key=False)

    def __iter__(self) -> Iterator[str]:
        others = third_party.offered(third_party.JUDGES)
        return iter((*self._own, *(name for name in others if name not in self._own)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


PROVIDERS: Mapping[str, Provider] = _Providers(_ROWS)
"""Every provider by its name, those of other packages included."""

_NAMED = tuple(row.form for row in _ROWS if not row.in_memory)
MODEL_FORMS = ", ".join(_NAMED[:-1]) + f" or {_NAMED[-1]}"
"""What `judge.model` may look like, for messages."""


def provider_of(model: str) -> str:
    """The provider's name in `provider/model`."""
    return model.partition("/")[0]


def model_of(model: str) -> str:
    """The provider's own name of the model in `provider/model`."""
    return model.partition("/")[2]


_CLOUD_NAME = re.compile(r"^(?:[\w-]+\.)?anthropic\.|-v\d+(?::\d+)?$")
"""What Bedrock puts before and after Anthropic's name of a model."""


def anthropic_name(model: str) -> str:
    """Anthropic's own name of a Claude model, of which clouds have names like `us.anthropic.claude-x-20251001-v1:0` and `claude-x@20251001`."""
    return _CLOUD_NAME.sub("", model_of(model)).replace("@", "-")


def is_llm(model: str) -> bool:
    """Whether `provider/model` is a language model. An unknown provider does not count as one."""
    provider = PROVIDERS.get(provider_of(model))
    return provider is not None and provider.is_llm


def is_baseline(model: str) -> bool:
    """Whether `provider/model` is a judge of this program that is not a language model."""
    return provider_of(model) in PROVIDERS and not is_llm(model)


def judge_facts(judge: str, explainer: str) -> dict[str, Any]:
    """The summary's fields about who judged and who explained, both given as `provider/model`."""
    return {
        "judge": judge,
        "judge_is_llm": is_llm(judge),
        "explainer": explainer,
        "explainer_is_llm": is_llm(explainer),
    }
