"""The tables of the spec, one class each: fields, defaults and limits. `docs/spec.md` is generated from the docstrings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field, field_validator

from autointerp.spec import study_sections, third_party
from autointerp.spec.section import Section, added, changed, setting
from autointerp.spec.study_sections import Several, Study, study
from sae.errors import SubjectError
from sae.formats.names import NAMES as FORMATS
from sae.subject import hook_points

SCORER_NAMES = (
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
    "contrastive_written",
    "distinction",
)
"""Names of the program's own other evaluations, as in `scorers/registry.py`; packages may offer more."""


class Subject(Section):
    """The language model that the dictionary was trained on."""

    model: str = Field(min_length=1)
    """A hub id, a local folder in transformers' layout, or a `.gguf` file. A LoRA adapter is merged into its base as both are loaded (`pip install peft`); models quantised for bitsandbytes need a CUDA GPU."""
    revision: str | None = None
    """Branch, tag or commit on the hub. Pin it: a branch can move."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the forward pass. `auto` is bfloat16 if the hardware computes it natively, else float32."""
    device: str = setting("auto")
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`. `auto` uses a GPU if there is one."""


class Dictionary(Section):
    """The trained dictionary under evaluation."""

    path: str = Field(min_length=1)
    """A folder or file, on the hub `owner/name` or `owner/name/folder/inside`, or SAELens' `release/id` if `sae-lens` is installed."""
    format: str = "auto"
    """Format of the weights. `auto` recognises it by the files."""
    hook_point: str | None = None
    """Hook point that the dictionary reads, such as `resid_post.12`, or TransformerLens' name for it. Default: as the dictionary's own config states."""
    k: int | None = Field(None, ge=1)
    """Active features per token, for TopK dictionaries whose files do not state it."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    check: bool = setting(True)
    """Stop if the dictionary explains nothing of the subject's activations. With `false` the run continues, and the report says so."""

    @field_validator("format")
    @classmethod
    def _known_format(cls, format: str) -> str:
        return known_format(format)

    @field_validator("hook_point")
    @classmethod
    def _known_hook_point(cls, hook_point: str | None) -> str | None:
        return None if hook_point is None else known_hook_point(hook_point)


class Corpus(Section):
    """The text on which activations are measured."""

    sources: tuple[str, ...] = Field(min_length=1, strict=False)
    """Files or globs, folders written by `Dataset.save_to_disk`, or names in the `datasets` library as `datasets:owner/name`. Text, code, JSON, JSONL, CSV, TSV, Parquet and Arrow files, each optionally `.gz`, `.zst`, `.bz2` or `.xz`, are recognised by their content: see [corpora](corpora.md)."""
    text_field: str = "text"
    """The column that holds the documents in all sources but plain text: text, token ids of the subject's tokenizer (`input_ids`), or conversations (`messages`)."""
    count_template: bool = added(False)
    """Count the tokens of the subject's chat template in conversations, such as role names and turn ends. By default they are run and not counted."""
    split: str = "train"
    """The split of `datasets` sources and of folders written by `save_to_disk`."""
    context_tokens: int = Field(128, ge=16, le=131072)
    """Tokens in one context, BOS included. Documents are cut into contexts of this length; no context spans two documents. The paper does not state its length; 128 is that of public dashboards."""
    bos: bool | Literal["auto"] = added("auto")
    """Put BOS before each context. `auto` does as the dictionary's files state, and if they do not, as the subject's tokenizer does by itself. BOS is never counted."""
    max_tokens: int = Field(1_000_000, ge=1000)
    """Stop reading after this many tokens. The paper's maxima come from far larger scans: use more for publication."""


class Units(Section):
    """The features and neurons that are evaluated: a uniform sample without replacement, or a list."""

    features: int = Field(100, ge=1)
    """Features to sample. 100 follows Scaling Monosemanticity, "Features vs. Neurons"."""
    neurons: int = Field(100, ge=0)
    """Neurons to sample from the MLP before the dictionary's hook point. Positive and negative activations count as two units."""
    feature_ids: tuple[int, ...] | None = Field(None, strict=False)
    """Evaluate exactly these features instead of a sample."""
    neuron_ids: tuple[str, ...] | None = Field(None, strict=False)
    """Evaluate exactly these neurons, such as `"17+"` or `"903-"`, instead of a sample."""
    seed: int = Field(0, ge=0)
    """Seed of the samples of units and exemplars."""


class Harvest(Section):
    """How exemplars are sampled from the activations."""

    bins: int = Field(10, ge=2, le=20)
    """Activation bins of equal width on (0, max] of each unit. Scaling Monosemanticity plots such bins without stating their number."""
    window_tokens: int = Field(48, ge=8, le=512)
    """Tokens in an exemplar's window. The position of the marked token varies between exemplars."""
    top: int = Field(16, ge=1, le=200)
    """Top exemplars kept for each unit, at most one from a context."""
    skip_positions: int = Field(1, ge=0)
    """Positions at the start of each context, after BOS, whose activations are not counted: they are massive."""
    max_norm_ratio: float = Field(10.0, gt=1)
    """Tokens whose norm exceeds this multiple of the median norm are not counted. SmolLM2's first position has 150 times the median."""
    batch_tokens: int = setting(4096, ge=128)
    """Tokens in one forward pass."""
    shard_tokens: int = setting(1 << 18, ge=1024)
    """Tokens in one shard, the share of the corpus that a worker takes at a time; rounded to blocks of 32 batches, at least one. An
    interrupted harvest repeats no more than half a minute of reading, or one batch if that takes longer."""


class Studies(Section):
    """Measurements without a judge: of the whole dictionary (density, correlation with neurons, rounding of weak activations), and of units. Tables in it name studies that follow the report."""

    tokens: int = Field(65_536, ge=0)
    """Tokens to measure on, sampled by the seed; 0 skips the measurements. Features that are silent on all of them count as dead: more tokens find rarer features."""
    two_sided: bool = added(False)
    """Also measure, for each unit of the sample, what makes it fire and what it makes the subject say: see [two sides of a unit](explanations.md#two-sides-of-a-unit). About 2 seconds a unit for a subject of 135 million parameters on two cores."""
    find: Several[study_sections.Find] = study()
    """Find features in one way."""
    steer: Several[study_sections.Steer] = study()
    """Steer prompts with units."""
    attribute: Several[study_sections.Attribute] = study()
    """Attribute an answer to features."""
    neighbours: Several[study_sections.Neighbours] = study()
    """Map features and name their groups."""
    split: Several[study_sections.Split] = study()
    """Compare dictionaries: splitting, stability, absorption."""
    cover: Several[study_sections.Cover] = study()
    """Count the concepts that have features."""
    categories: Several[study_sections.Categories] = study()
    """Find features of safety and other categories, and how general features are."""

    @property
    def chosen(self) -> list[Study]:
        """The studies in the order in which they are carried out."""
        return [study for name in study_sections.KINDS for study in getattr(self, name)]

    def with_paths(self, change: Callable[[str], str]) -> Studies:
        """The same section with every path of its studies changed."""
        changed = {
            name: tuple(each.with_paths(change) for each in getattr(self, name)) for name in study_sections.KINDS
        }
        return self.model_copy(update=changed)


class Explain(Section):
    """How the explainer is asked for a unit's explanation."""

    top: int = Field(8, ge=1, le=50)
    """Strongest exemplars shown to the explainer."""
    spread: int = Field(8, ge=0, le=50)
    """Exemplars shown from all lower bins, so that the explanation covers more than the strongest activations."""
    quiet: int = Field(5, ge=0, le=50)
    """Windows shown in which the unit is not active. Towards Monosemanticity shows 5 random ones."""
    max_chars: int = Field(300, ge=40, le=2000)
    """Characters in an explanation at most; longer ones are rejected."""
    contrast: int = Field(0, ge=0, le=20)
    """Silent windows shown that contain words of activating ones: counterexamples."""
    neighbours: int = Field(0, ge=0, le=20)
    """Silent windows shown in which features with a similar decoder direction are active: hard negatives."""
    logits: int = Field(0, ge=0, le=50)
    """Tokens shown whose logits the unit's output direction raises most, and as many that it lowers most."""
    revise: bool = False
    """Test each explanation on other windows, and let the explainer revise it once from those that it gets wrong."""
    compare: tuple[Literal["contrast", "neighbours", "logits", "revise"], ...] = Field((), strict=False)
    """Aids whose effect is measured: for each, a second explanation is made with it and judged on the same exemplars."""
    given: str | None = added(None, alias="from")
    """A file of explanations to judge instead of asking an explainer: CSV with `unit_id` (or `feature`) and `explanation`, JSON of texts by unit, or Neuronpedia's JSON. Units are sampled from those in the file, unless it has all that would be sampled anyway."""
    min_exemplars: int = Field(8, ge=1)
    """A unit that is active in fewer documents than this is barely active: reported and counted, but not explained."""


class Score(Section):
    """How explanations are graded."""

    rubric: str = "specificity"
    """A rubric's name in `rubrics/`, or the path of a rubric file."""
    per_bin: int = Field(5, ge=1, le=200)
    """Exemplars judged in each activation bin of each unit. The paper judges about 1000 per feature, which is 100 here."""
    repeats: int = Field(1, ge=1, le=20)
    """Times each exemplar is judged. `controls.repeated` measures the judge's noise at lower cost."""
    ask: Literal["reason", "grade", "logprobs"] = "reason"
    """The judge's reply: a short reason and then the grade, the grade alone, or the probabilities of all grades, whose mean is the score (Chat Completions servers return them)."""
    per_call: int = Field(1, ge=1, le=50)
    """Items in one question. More is cheaper, because the instructions are sent once. Items of all units, bins and arms are mixed."""
    also: tuple[str, ...] = Field((), strict=False, json_schema_extra={"examples": [list(SCORER_NAMES)]})
    """Names of other evaluations of the same units, those of installed packages included: see `autointerp scorers`."""

    @field_validator("also")
    @classmethod
    def _known_scorers(cls, also: tuple[str, ...]) -> tuple[str, ...]:
        known = (
            (*SCORER_NAMES, *third_party.offered(third_party.SCORERS))
            if set(also) - set(SCORER_NAMES)
            else SCORER_NAMES
        )
        if unknown := [name for name in also if name not in known]:
            raise ValueError(f"{unknown[0]!r} is not an evaluation: use some of {', '.join(known)}")
        return also


class Controls(Section):
    """Control items that show how far the judge can be relied on. The judge cannot tell them from the others."""

    shuffled: int = Field(5, ge=0, le=200)
    """Exemplars of each unit that are judged with another unit's explanation: the floor."""
    base_rate: int = Field(5, ge=0, le=200)
    """Windows in which the unit is silent, judged with its own explanation: the grade that a vague explanation earns anywhere."""
    neighbours: int = added(10, before=0, ge=0, le=50)
    """Windows of each unit in which one of the 10 nearest units of the whole dictionary or layer is strongly active and the unit itself is silent at the mark, judged with its own explanation: an explanation that is too broad fits them too. They also feed the evaluation `distinction`; 0 leaves out both. A run that was begun before this key existed continues without."""
    planted: int = Field(6, ge=0, le=12)
    """Synthetic units, defined by word lists and patterns, whose true explanation is known: the ceiling, and the judge's own errors."""
    repeated: int = Field(20, ge=0, le=1000)
    """Items, sampled over all units and bins, that are judged `repeats` times: the judge's noise."""
    repeats: int = Field(3, ge=2, le=20)
    """Times each of the `repeated` items is judged."""
    random_dictionary: bool | Literal["small"] = changed("small", before=False)
    """Also evaluate features of a dictionary of the same shape whose weights are random: `small` for up to 16 of them, read from about 130,000 tokens and judged on 2 exemplars a bin; `true` for up to 32, read from the whole corpus and judged as other units are; `false` for none. `small` is left out, with its reason in the report, if it cannot be made."""
    random_subject: bool | Literal["small"] = changed("small", before=False)
    """Also evaluate the dictionary's features over a subject of the same shape whose weights are random, as many and in the same way. It needs the subject's memory a second time. A run that was begun when both were `false` by default continues without."""
    basis_directions: bool = added(False)
    """Also evaluate basis directions of the values that the dictionary reads, such as the residual stream: up to 32 of its dimensions, each with one sign."""
    random_directions: bool = added(False)
    """Also evaluate up to 32 random directions of the values that the dictionary reads."""


class Adaptive(Section):
    """Adaptive sampling: half-widths of intervals at which judging stops. Without any of them everything is judged in one round."""

    unit: float | None = Field(None, gt=0)
    """Target half-width for a unit's mean grade."""
    bin: float | None = Field(None, gt=0)
    """Target half-width for the mean grade of a bin over all units of a kind."""
    run: float | None = Field(None, gt=0)
    """Target half-width for the difference between features and neurons."""
    per_round: int = Field(1, ge=1, le=50)
    """Exemplars judged per bin and unit before the intervals are computed again."""


class Budget(Section):
    """The most that a run may spend."""

    usd: float | None = setting(None, ge=0)
    """Dollars at most, a hard limit: a call that could exceed it is not made. Raise it and run again to continue."""


class Report(Section):
    """Which reading is the headline, its conditions, and how its interval is computed."""

    headline: Literal["bin_uniform", "frequency", "equal_rarity"] = added("bin_uniform")
    """The reading that is the headline: all bins of (0, max] equally, as in the paper's plots; bins by their events; or levels of rarity equally, so that features and neurons are read at equally rare activations. All three are in every report: see [concepts](concepts.md#three-readings). Corrections by other graders and adaptive sampling are about the bin-uniform one."""
    max_unscored_share: float = Field(0.1, ge=0, le=1)
    """The headline is withheld if a larger share of the judgements is unscored."""
    min_units: int = Field(5, ge=2)
    """The headline is withheld if fewer features or fewer neurons than this have a score."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence level of all intervals."""
    resamples: int = Field(2000, ge=200)
    """Bootstrap resamples for each interval of a mean or a difference of means."""


def known_format(name: str) -> str:
    """The name, if it is `auto` or one of a file format. Raises `ValueError`."""
    if name not in ("auto", *FORMATS):
        raise ValueError(f"use auto, {', '.join(FORMATS)}")
    return name


def known_hook_point(name: str) -> str:
    """Our name of a hook point, given under it, TransformerLens' name or as a module path. Raises `ValueError`."""
    try:
        return hook_points.named(name)
    except SubjectError as error:
        raise ValueError(str(error)) from None
