"""The spec's tables, one class each: fields, defaults, limits, and the docstrings that `docs/spec.md` is made from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sae.formats.names import NAMES as FORMATS
from sae.subject.hook_points import PATTERN

ScorerName = Literal[
    "detection",
    "fuzzing",
    "simulation",
    "embedding",
    "intruder",
    "contrastive",
    "sort",
    "clarity",
    "responsiveness",
    "faithfulness",
    "sensitivity",
]
"""The other evaluations, by the names under which `scorers/registry.py` holds them."""

PROVIDERS = ("anthropic", "openai", "openai-compatible", "embedded")


def _setting(default: Any, **constraints: Any) -> Any:
    """A field that decides how a run is carried out and not what it finds."""
    return Field(default, json_schema_extra={"setting": True}, **constraints)


class Section(BaseModel):
    """Base of the spec's tables: unknown keys are errors, values are not coerced, and field docstrings are the reference."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Subject(Section):
    """The language model whose insides are studied."""

    model: str = Field(min_length=1)
    """A hub id, a local folder in transformers' layout, or a `.gguf` file."""
    revision: str | None = None
    """Branch, tag or commit on the hub. Pin it: a branch can move."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the forward pass. `auto` is bfloat16 where the hardware computes it natively, else float32."""
    device: str = _setting("auto")
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`. `auto` takes a GPU when there is one."""


class Dictionary(Section):
    """The trained dictionary under evaluation."""

    path: str = Field(min_length=1)
    """A folder or file, or on the hub `owner/name` or `owner/name/folder/inside`."""
    format: str = "auto"
    """How the weights are stored, by the format's name. `auto` looks at which files there are."""
    hook_point: str | None = Field(None, pattern=rf"^{PATTERN}$")
    """Where it reads the subject, such as `resid_post.12`. Left out: what the dictionary's own config says."""
    k: int | None = Field(None, ge=1)
    """Features active on a token, for TopK dictionaries whose files do not say."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    check: bool = _setting(True)
    """Refuse a dictionary that explains nothing of the subject. `false` goes on all the same, and the report says so."""

    @field_validator("format")
    @classmethod
    def _known_format(cls, format: str) -> str:
        return known_format(format)


class Corpus(Section):
    """The text over which units are read."""

    sources: tuple[str, ...] = Field(min_length=1, strict=False)
    """Files or globs (`.txt`, `.md`, code, `.jsonl`, `.parquet`, `.csv`, each optionally `.gz` or `.zst`), or names in the `datasets` library as `datasets:owner/name`."""
    text_field: str = "text"
    """The column that holds the text in JSONL, Parquet, CSV and `datasets` sources."""
    split: str = "train"
    """The split of `datasets` sources."""
    context_tokens: int = Field(128, ge=16, le=131072)
    """Tokens in one context: documents are cut into contexts of this length, and none spans two documents. The paper gives none; 128 is what public dashboards use."""
    max_tokens: int = Field(1_000_000, ge=1000)
    """Stop reading after this many tokens. The paper's maxima come from far larger scans: raise it for publication."""


class Units(Section):
    """Which features and neurons are sampled, uniformly and without replacement."""

    features: int = Field(100, ge=1)
    """Features to sample. 100 follows Scaling Monosemanticity, "Features vs. Neurons"."""
    neurons: int = Field(100, ge=0)
    """Neurons to sample, each sign a unit of its own, from the MLP that feeds the dictionary's hook point."""
    feature_ids: tuple[int, ...] | None = Field(None, strict=False)
    """Evaluate exactly these features instead of a sample."""
    neuron_ids: tuple[str, ...] | None = Field(None, strict=False)
    """Evaluate exactly these neurons, such as `"17+"` or `"903-"`, instead of a sample."""
    seed: int = Field(0, ge=0)
    """Decides which units and which exemplars are drawn. The same seed gives the same sample."""


class Harvest(Section):
    """How exemplars are taken from the activations."""

    bins: int = Field(10, ge=2, le=20)
    """Activation bins of equal width on (0, max] of each unit. Scaling Monosemanticity plots such bins without giving their number."""
    window_tokens: int = Field(48, ge=8, le=512)
    """Tokens in an exemplar's window. The marked token's place within it varies from exemplar to exemplar."""
    top: int = Field(16, ge=1, le=200)
    """Top exemplars kept a unit, at most one a context."""
    skip_positions: int = Field(1, ge=0)
    """Positions at the start of each context that are run but never counted, besides BOS: they carry massive activations."""
    max_norm_ratio: float = Field(10.0, gt=1)
    """Tokens whose norm exceeds this many times the median norm are run but never counted. SmolLM2's first position has 150 times the median."""
    batch_tokens: int = _setting(4096, ge=128)
    """Tokens in one forward pass."""
    shard_tokens: int = _setting(1 << 18, ge=1024)
    """Tokens in one shard: what an interrupted harvest loses at most, and what one worker of a fleet takes at a time."""


class Studies(Section):
    """What is measured of the whole dictionary beside its sampled features: density, correlation with neurons, rounding."""

    tokens: int = Field(65_536, ge=0)
    """Tokens read for it, drawn by the seed; 0 leaves it out. Features silent on them are called dead: more tokens find rarer ones."""


class Explain(Section):
    """How a unit's explanation is made."""

    top: int = Field(8, ge=1, le=50)
    """Strongest exemplars shown to the explainer."""
    spread: int = Field(8, ge=0, le=50)
    """Exemplars shown from across the lower bins, so that the explanation covers more than the top."""
    quiet: int = Field(5, ge=0, le=50)
    """Windows shown in which the unit does not fire. Towards Monosemanticity shows 5 random ones."""
    max_chars: int = Field(300, ge=40, le=2000)
    """A longer explanation is refused."""
    contrast: int = Field(0, ge=0, le=20)
    """Silent windows shown that hold the words of activating ones: what the unit is not."""
    neighbours: int = Field(0, ge=0, le=20)
    """Silent windows shown in which features of nearly the same decoder direction fire: hard negatives."""
    logits: int = Field(0, ge=0, le=50)
    """Tokens shown that the unit's output direction makes likeliest, and as many that it makes least likely."""
    revise: bool = False
    """Test each explanation on windows that it was not made from, and let the explainer mend it once by those it gets wrong."""
    compare: tuple[Literal["contrast", "neighbours", "logits", "revise"], ...] = Field((), strict=False)
    """Aids whose effect is measured: for each a second explanation is made with it, stored, and judged on the same exemplars."""
    min_exemplars: int = Field(8, ge=1)
    """A unit with fewer documents in which it fires is barely active: reported and counted, but not explained."""


class Score(Section):
    """How explanations are graded."""

    rubric: str = "specificity"
    """A rubric's name in `rubrics/`, or the path of a rubric file."""
    per_bin: int = Field(5, ge=1, le=200)
    """Exemplars judged in each activation bin of each unit. The paper judges about 1000 a feature: 100 here."""
    repeats: int = Field(1, ge=1, le=20)
    """Times each exemplar is judged. `controls.repeated` measures the judge's noise for less."""
    ask: Literal["reason", "grade", "logprobs"] = "reason"
    """What a judge is asked for: a short reason and then the grade, the grade alone, or the grade with the probabilities of all, whose mean is then the score (servers of Chat Completions give them)."""
    per_call: int = Field(1, ge=1, le=50)
    """Items in one question: cheaper, since instructions are sent once. Items of all units, bins and arms are mixed."""
    also: tuple[ScorerName, ...] = Field((), strict=False)
    """Other evaluations of the same units, by name: see `autointerp scorers`."""


class Controls(Section):
    """What is judged beside the result to tell what the result is worth. A judge cannot tell these items from the others."""

    shuffled: int = Field(5, ge=0, le=200)
    """Exemplars of each unit judged under another unit's explanation: the floor."""
    base_rate: int = Field(5, ge=0, le=200)
    """Windows in which the unit is silent, judged under its own explanation: how easily the explanation is earned."""
    planted: int = Field(6, ge=0, le=12)
    """Synthetic units, defined by word lists and patterns, whose true explanation is known: the ceiling, and the judge's own errors."""
    repeated: int = Field(20, ge=0, le=1000)
    """Items, drawn over all units and bins, that are judged `repeats` times in all: the judge's noise."""
    repeats: int = Field(3, ge=2, le=20)
    """Times that each of the `repeated` items is judged."""
    random_dictionary: bool = False
    """Also evaluate features of a dictionary of the same shape whose weights are random."""
    random_subject: bool = False
    """Also evaluate the dictionary's features over a subject of the same shape whose weights are random."""


class Adaptive(Section):
    """When enough has been judged: half-widths of intervals at which sampling stops. All left out: everything is judged at once."""

    unit: float | None = Field(None, gt=0)
    """A unit's mean is known to this half-width."""
    bin: float | None = Field(None, gt=0)
    """The mean of a bin over all units of a kind is known to this half-width."""
    run: float | None = Field(None, gt=0)
    """The difference of features and neurons is known to this half-width."""
    per_round: int = Field(1, ge=1, le=50)
    """Exemplars a bin and unit that are judged before the intervals are looked at again."""


class Judge(Section):
    """A model that explains or scores."""

    model: str = "embedded"
    """`anthropic/MODEL`, `openai/MODEL`, `openai-compatible/MODEL` (needs `base_url`), or `embedded`, a baseline that is not an LLM."""
    base_url: str | None = _setting(None)
    """Where an OpenAI-compatible server listens (vLLM, llama.cpp, Ollama, a gateway), such as `http://127.0.0.1:8080/v1`."""
    thinking: bool = False
    """Let the model think before it answers. Raise `max_output_tokens` with it: thinking counts."""
    temperature: float | None = Field(None, ge=0, le=2)
    """Sampling temperature, only where the provider still takes one. Claude's current API does not."""
    max_output_tokens: int = Field(1024, ge=16, le=128_000)
    """Ceiling of one reply. It is reserved from the budget and the rate limit before each call."""
    concurrency: int = _setting(8, ge=1, le=512)
    """Calls in flight at once at most, over all workers that share the account. Fewer at first and after a 429."""
    requests_per_minute: int | None = _setting(None, ge=1)
    """Requests in any minute, over all workers that share the account. Left out: what the provider's headers say."""
    input_tokens_per_minute: int | None = _setting(None, ge=1)
    """Input tokens in any minute, those read from a cache not counted. Left out: what the provider's headers say."""
    output_tokens_per_minute: int | None = _setting(None, ge=1)
    """Output tokens in any minute; `max_output_tokens` until a reply is there. Left out: what the provider's headers say."""
    transport: Literal["calls", "batch"] = _setting("calls")
    """`batch` hands questions to the provider in batches: half the price, answered within a day. Anthropic and OpenAI take them."""
    timeout_s: float = _setting(120.0, gt=0)
    """Seconds to wait for one reply."""
    max_wait_s: float = _setting(900.0, ge=0)
    """When a provider asks for a longer pause than this, the run stops with exit 5 and can be resumed."""
    input_usd_per_mtok: float | None = _setting(None, ge=0)
    """Dollars a million input tokens, for models that the price table does not list."""
    output_usd_per_mtok: float | None = _setting(None, ge=0)
    """Dollars a million output tokens, for models that the price table does not list."""

    @field_validator("model")
    @classmethod
    def _known_provider(cls, model: str) -> str:
        provider, _, name = model.partition("/")
        if provider not in PROVIDERS or (provider != "embedded" and not name) or (provider == "embedded" and name):
            raise ValueError("use anthropic/MODEL, openai/MODEL, openai-compatible/MODEL or embedded")
        return model

    @model_validator(mode="after")
    def _base_url_fits(self) -> Judge:
        compatible = self.model.startswith("openai-compatible/")
        if compatible and not self.base_url:
            raise ValueError("openai-compatible needs base_url, such as http://127.0.0.1:8080/v1")
        if self.base_url and self.model == "embedded":
            raise ValueError("base_url has no meaning for the embedded judge: remove it or name a model")
        if (self.input_usd_per_mtok is None) != (self.output_usd_per_mtok is None):
            raise ValueError("give both input_usd_per_mtok and output_usd_per_mtok, or neither")
        return self


class Cascade(Section):
    """A second, better judge that grades again a sample of what `judge` graded, and by which the result is corrected."""

    judge: Judge
    """Who grades again."""
    share: float = Field(0.2, gt=0, le=1)
    """Share of the items that it grades, drawn more often where `judge` is unsure."""


class Budget(Section):
    """What a run may spend."""

    usd: float | None = _setting(None, ge=0)
    """Dollars at most, a hard stop: a call that could exceed it is not made. Raise it and run again to go on."""


class Report(Section):
    """When a result is good enough to be a headline."""

    max_unscored_share: float = Field(0.1, ge=0, le=1)
    """The headline is withheld when a larger share of the judgements is unscored."""
    min_units: int = Field(5, ge=2)
    """The headline is withheld when fewer features or fewer neurons than this have a score."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Level of all intervals."""
    resamples: int = Field(2000, ge=200)
    """Bootstrap resamples behind each interval."""


def known_format(name: str) -> str:
    """The name, if it is `auto` or one of a file format. Raises `ValueError`."""
    if name not in ("auto", *FORMATS):
        raise ValueError(f"use auto, {', '.join(FORMATS)}")
    return name
