"""The tables of the spec that name a model: the judge's, the explainer's, and the cascade's. `docs/spec.md` is generated from the docstrings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from autointerp.spec.addresses import check_http_url
from autointerp.spec.providers import MODEL_FORMS, PROVIDERS, model_of, provider_of
from autointerp.spec.section import Section, added, setting
from autointerp.spec.servers import SERVERS, JsonForm, ServerName, ThinkingSwitch

_FIXED_FIELDS = frozenset(
    {"model", "messages", "stream", "n", "max_tokens", "max_completion_tokens", "response_format"}
)
"""Fields of a request that `judge.extra_body` may not change: the question, the form of the reply, and what budgets rest on."""


class Judge(Section):
    """A model that explains or scores."""

    model: str = Field("embedded", max_length=128)
    """`anthropic/MODEL`, `openai/MODEL`, `openai-compatible/MODEL` (needs `base_url`), `azure/DEPLOYMENT`, `bedrock/MODEL`, `vertex/MODEL`, a judge of [another package](third-party.md) such as `litellm/PROVIDER/MODEL`, or `embedded`, a baseline that is not an LLM."""
    base_url: str | None = setting(None)
    """Address of an OpenAI-compatible server (vLLM, llama.cpp, Ollama, a gateway), such as `http://127.0.0.1:8080/v1`."""
    key_env: str | None = setting(None, pattern=r"^[A-Z][A-Z0-9_]*$")
    """Environment variable that holds the API key for `base_url`. Default: at a [well-known server](judges.md#chat-completions-servers) its own, such as `OPENROUTER_API_KEY`; `anthropic/` and `openai/` send the provider's key to the provider only."""
    server: ServerName | None = setting(None)
    """The server's make, if `base_url` does not say it: it decides the defaults of the five keys below. With `openrouter`, `deepseek`, `gemini`, `groq` or `together`, `base_url` may be left out."""
    system_role: bool | None = setting(None)
    """Whether the server takes a system message. With `false`, its text goes into the question. Default: found out before the run."""
    json_form: JsonForm | None = setting(None, alias="json")
    """How the server is asked for JSON: by a `schema`, as any JSON `object`, or in the `prompt` alone. Default: found out before the run."""
    thinking_switch: ThinkingSwitch | None = setting(None)
    """How the server is told `thinking`: by `chat_template_kwargs`, `reasoning_effort`, `reasoning` or `thinking` in the request, by `no_think` in the question, or not at all (`none`). Default: by the server and the model's family."""
    max_completion_tokens: bool | None = setting(None)
    """Whether the server takes `max_output_tokens` under this name rather than as `max_tokens`. Default: by the server, else found out before the run."""
    extra_body: dict[str, Any] | None = added(None)
    """Further fields of each request to an OpenAI-compatible server, such as `{ top_k = 1 }` or a gateway's routing."""
    thinking: bool = False
    """Let the model think before it answers. Raise `max_output_tokens` too: thinking counts."""
    temperature: float | None = Field(None, ge=0, le=2)
    """Sampling temperature, for models that accept one. Claude's current API does not."""
    max_output_tokens: int = Field(1024, ge=16, le=128_000)
    """Tokens of one reply at most. They are reserved from the budget and the rate limit before each call."""
    concurrency: int = setting(8, ge=1, le=512)
    """Calls in flight at most, over all workers that share the account. Fewer at first and after a 429."""
    requests_per_minute: int | None = setting(None, ge=1)
    """Requests per minute, over all workers that share the account. Default: as the provider's headers state."""
    input_tokens_per_minute: int | None = setting(None, ge=1)
    """Input tokens per minute, without those read from a cache. Default: as the provider's headers state."""
    output_tokens_per_minute: int | None = setting(None, ge=1)
    """Output tokens per minute; a call counts as `max_output_tokens` until its reply arrives. Default: as the provider's headers state."""
    transport: Literal["calls", "batch"] = setting("calls")
    """`batch` submits questions to the provider in batches: half the price, answered within a day (Anthropic and OpenAI). The first 24 questions of a stage are a batch of their own: if no reply to them is usable, the run stops."""
    timeout_s: float = setting(120.0, gt=0)
    """Seconds to wait for one reply."""
    max_wait_s: float = setting(900.0, ge=0)
    """If a provider asks for a longer pause than this, the run stops with exit code 5 and can be resumed."""
    input_usd_per_mtok: float | None = setting(None, ge=0)
    """Dollars per million input tokens, for models that the price table does not list."""
    output_usd_per_mtok: float | None = setting(None, ge=0)
    """Dollars per million output tokens, for models that the price table does not list."""

    @field_validator("model")
    @classmethod
    def _known_provider(cls, model: str) -> str:
        provider = PROVIDERS.get(provider_of(model))
        if provider is None or bool(model_of(model)) != provider.is_llm:
            raise ValueError(f"use {MODEL_FORMS}")
        return model

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, base_url: str | None) -> str | None:
        return None if base_url is None else check_http_url(base_url)

    @model_validator(mode="after")
    def _base_url_fits(self) -> Judge:
        provider = PROVIDERS[provider_of(self.model)]
        if provider.needs_base_url and not self.address:
            raise ValueError(f"{provider.name} needs base_url, such as http://127.0.0.1:8080/v1")
        if self.base_url and not provider.is_llm:
            raise ValueError(f"base_url has no meaning for the {provider.name} judge: remove it or name a model")
        if self.key_env and not provider.is_llm:
            raise ValueError(f"key_env has no meaning for the {provider.name} judge: remove it or name a model")
        if (self.input_usd_per_mtok is None) != (self.output_usd_per_mtok is None):
            raise ValueError("give both input_usd_per_mtok and output_usd_per_mtok, or neither")
        return self

    @model_validator(mode="after")
    def _server_keys_fit(self) -> Judge:
        names = ("server", "system_role", "json_form", "thinking_switch", "max_completion_tokens", "extra_body")
        given = [name for name in names if getattr(self, name) is not None]
        if given and not PROVIDERS[provider_of(self.model)].needs_base_url:
            key = given[0].removesuffix("_form")
            raise ValueError(f"{key} is for openai-compatible/ models: remove it, or name one")
        if fixed := sorted(_FIXED_FIELDS & (self.extra_body or {}).keys()):
            raise ValueError(f"extra_body may not set {fixed[0]}, which the program sets itself: remove it")
        return self

    @property
    def address(self) -> str:
        """`base_url`, or the only address of the server that the spec names; empty for the provider's own."""
        return self.base_url or (SERVERS[self.server].base_url if self.server else None) or ""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


class Cascade(Section):
    """A second, better judge that grades a sample of the same items. The result is corrected by its grades."""

    judge: Judge
    """The second judge."""
    share: float = Field(0.2, gt=0, le=1)
    """Share of the items that it grades; items on which `judge` is unsure are sampled more often."""
