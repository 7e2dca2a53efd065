"""The table of error answers: which one waits, is retried, leaves its item unscored or stops the run.

The first row that matches counts. Within a row every given condition must hold: one of the statuses, one of the codes, the wording of
the message. Wording is used where providers have no code of their own or send a misleading one. The comment above a row is its evidence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Action = Literal["wait", "retry", "stop", "too_long", "content_rejected", "provider_error"]
"""`too_long`, `content_rejected` and `provider_error` are outcomes of the item alone."""

_ACCOUNT = "settle it with the provider, then run the same command again"
_KEY = "check the API key"
_MODEL = "check judge.model: it may be misspelt, retired or not open to this account"
_PARAMETER = "change judge.model, judge.thinking or judge.temperature"


@dataclass(frozen=True)
class Row:
    """What one family of error answers means. `statuses` of None match any status, also none; so do `codes` and `wording`."""

    action: Action
    statuses: frozenset[int | None] | None = None
    codes: frozenset[str] | None = None
    wording: re.Pattern[str] | None = None
    advice: str = ""
    """What a person has to do, for `stop`."""
    may_be_billed: bool = False
    """Whether the provider may have made an answer, and bill it, although it never arrived."""

    def matches(self, status: int | None, codes: frozenset[str], message: str) -> bool:
        """Whether an error answer belongs to this row."""
        return (
            (self.statuses is None or status in self.statuses)
            and (self.codes is None or bool(self.codes & codes))
            and (self.wording is None or bool(self.wording.search(message)))
        )


def _row(
    action: Action,
    statuses: tuple[int | None, ...] = (),
    codes: str = "",
    wording: str = "",
    advice: str = "",
    *,
    may_be_billed: bool = False,
) -> Row:
    return Row(
        action,
        frozenset(statuses) or None,
        frozenset(codes.split()) or None,
        re.compile(wording, re.IGNORECASE) if wording else None,
        advice,
        may_be_billed,
    )


ROWS: tuple[Row, ...] = (
    # RFC 9110 section 15.5.14. Groq sends it with code rate_limit_exceeded to a question above its tokens per minute
    # (continue #10218, gpt-researcher #985, koassistant #106): waiting cannot help.
    _row("too_long", (413,)),
    # OpenAI: "max_tokens is too large: 8192. This model supports at most 4096 completion tokens": a setting, the same for every item.
    _row("stop", (400, 422), "", r"max_(completion_|output_)?tokens['`]? is too large|max_(completion_|output_)?tokens.{0,80}at most \d+ completion",
         "lower judge.max_output_tokens"),
    # OpenAI's and Groq's answer to one question above the tokens per minute, with status 429 and code rate_limit_exceeded; Anthropic:
    # "prompt is too long"; OpenAI and vLLM: "maximum context length"; llama.cpp (400 or 500): "exceeds the available context size";
    # TGI (422): "`inputs` tokens + `max_new_tokens` must be <= 4096"; Bedrock: "Input is too long"; Mistral: "Prompt contains 40000
    # tokens ..., too large for model with 32768 maximum context length"; Together (403, support.together.ai article 1067567273): "must be
    # less than the context length of the model being queried".
    _row("too_long", (), "",
         r"prompt is too long|(maximum|model'?s?) context (length|window)|exceeds? the (available )?context|request too large|too large for model"
         r"|(input|prompt|message)s? (is|are) too (long|large)|inputs?`? tokens \+ |context_length_exceeded|context length of the model"),
    # OpenAI's and llama.cpp's codes, Anthropic's type; `string_above_max_length` is OpenAI's for one field.
    _row("too_long", (), "context_length_exceeded string_above_max_length request_too_large request_body_too_large_after_decoding"
         " exceed_context_size_error"),
    # OpenAI's and Anthropic's codes of a rejected prompt, Azure's `innererror.code`, DashScope's `data_inspection_failed`.
    _row("content_rejected", (), "content_policy_violation content_filter invalid_prompt bio_policy misalignment_policy_violation"
         " ResponsibleAIPolicyViolation data_inspection_failed DataInspectionFailed moderation_blocked PROHIBITED_CONTENT"),
    # OpenRouter's moderation is a 403 whose code says nothing: "... requires moderation on .... Your input was flagged for ...", with the
    # reasons in `metadata`.
    # Azure: "The response was filtered due to the prompt triggering Azure OpenAI's content management policy"; Anthropic (400): "Output
    # blocked by content filtering policy"; Moonshot (400): "The request was rejected because it was considered high risk"; OpenAI
    # (400): "rejected as a result of our safety system".
    _row("content_rejected", (400, 403, 422, 451, 500), "",
         r"was flagged|content (management|filtering|moderation) (policy|system)|(blocked|rejected|filtered) (by|due to|as a result of|because).{0,60}"
         r"(content|safety|high risk|inappropriate)|inappropriate content"),
    # Credentials. Gemini's compatible endpoint sends 400 INVALID_ARGUMENT with "API key not valid".
    _row("stop", (), "authentication_error invalid_api_key account_deactivated", "", _KEY),
    _row("stop", (400, 403), "", r"api key (is )?(not valid|invalid|expired)", _KEY),
    _row("stop", (), "permission_error", "", "check what the API key may do"),
    _row("stop", (), "sandbox_egress_restricted", "", "run it from a network that may reach the provider"),
    # OpenAI's code; Gemini (400 FAILED_PRECONDITION): "User location is not supported for the API use".
    _row("stop", (), "unsupported_country_region_territory", "", "the provider does not serve this country"),
    _row("stop", (), "", r"(user )?location is not supported", "the provider does not serve this country"),
    # Money. A spend limit is also a 429: Anthropic sends it with `rate_limit_error` beside its own code, so money comes before rates.
    _row("stop", (), "billing_error insufficient_quota billing_hard_limit_reached billing_not_active enforced_spend_limit_reached"
         " contract_spend_limit_reached linked_organization_billing_unavailable linked_organization_spend_limit_reached"
         " user_profile_billing_not_authorized user_profile_not_billable organization_on_hold cmek_key_disabled"
         " cmek_key_network_blocked", "", _ACCOUNT),
    # Anthropic (400): "Your credit balance is too low"; OpenRouter and DeepSeek (402): "Insufficient credits", "Insufficient Balance";
    # xAI (429): "used all available credits or reached its monthly spending limit"; Zhipu (429, code 1113) and one-api (403) in Chinese.
    _row("stop", (), "", r"credit balance is too low|insufficient (credits?|balance|funds)|used all available credits|余额不足|额度不足", _ACCOUNT),
    # The model, or a setting that it does not accept. OpenRouter (400): "x is not a valid model ID".
    _row("stop", (), "model_not_found not_found_error", "", _MODEL),
    _row("stop", (400, 422), "", r"not a valid model|model .{0,100}(does not exist|not found)", _MODEL),
    _row("stop", (), "unsupported_parameter unsupported_value unknown_parameter", "", _PARAMETER),
    _row("stop", (400, 422), "", r"thinking\.type|thinking.{0,40}not supported", _PARAMETER),
    # Rates and overload: Anthropic's, OpenAI's and Gemini's codes; 429 (RFC 6585), 529 (Anthropic), 498 (Groq: flex capacity).
    _row("wait", (), "ramp_limit_exceeded rate_limit_error rate_limit_exceeded overloaded_error slow_down cmek_context_unavailable"
         " cmek_key_unreachable RESOURCE_EXHAUSTED"),
    _row("wait", (429, 498, 529)),
    # llama.cpp answers 503 "Loading model" until the weights are in memory, which takes minutes.
    _row("wait", (503,), "", r"loading model|model is (currently )?loading"),
    # A request body that was cut off in transit: Anthropic's 400 "not valid JSON: unexpected end of data".
    _row("retry", (400,), "", r"not valid json.*unexpected end"),
    # RFC 9110: request timeout, conflict, too early; 499 is nginx's for a client that hung up.
    _row("retry", (408, 409, 425, 499)),
    _row("stop", (401,), "", "", _KEY),
    _row("stop", (402,), "", "", _ACCOUNT),
    _row("stop", (403,), "", "", "check what the API key may do"),
    _row("stop", (404,), "", "", _MODEL),
    # A gateway that lost its upstream: 502 and 504 (RFC 9110), Cloudflare's 520 and 524. The upstream may answer and bill all the same.
    _row("retry", (502, 504, 520, 524), may_be_billed=True),
    # Other failures of the server, and errors without a status in the body of a 200.
    _row("retry", (None, *range(500, 600))),
)  # fmt: skip
_THE_ITEM = Row("provider_error")
"""Everything else: the request itself is refused, and others may not be."""
_RATE = re.compile(r"limit:?\s*(\d{1,15}),\s*(?:used:?\s*\d+,\s*)?requested:?\s*(\d{1,15})", re.IGNORECASE)


def row_of(status: int | None, codes: frozenset[str], message: str) -> Row:
    """The row of an error answer. A question that alone exceeds the stated limit of tokens per minute is too long."""
    rate = _RATE.search(message)
    if rate and int(rate[2]) > int(rate[1]):
        return Row("too_long")
    return next((row for row in ROWS if row.matches(status, codes, message)), _THE_ITEM)
