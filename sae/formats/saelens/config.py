"""Reads a SAELens `cfg.json`, in the layout of version 6 (facts about the model under `metadata`) and in earlier ones."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae.dictionary import InputNorm
from sae.errors import DictionaryError
from sae.formats.location import NORMED_MODELS, DictionaryLocation, output_hook_point
from sae.formats.readers import get_int, read_config, stated_bos, stated_context
from sae.formats.saelens.overrides import CENTRED, NORMS, SCALES
from sae.subject.hook_points import parse, to_hook_point

CONFIG, SCALER, RUNNER = "cfg.json", "activation_scaler.json", "runner_cfg.json"
INPUT_NORMS: dict[str, InputNorm] = {"none": "none", "layer_norm": "layer_norm", "constant_norm_rescale": "per_token"}
"""Our names of the normalisations that SAELens computes for each token."""
_TRAINING = ("prepend_bos", "context_size", "seqpos_slice", "exclude_special_tokens")
"""Facts about training that `runner_cfg.json`, the training's own settings beside the weights, states if the config does not."""
_FAMILIES = {
    "standard": "relu",
    "topk": "topk",
    "jumprelu": "jumprelu",
    "gated": "gated",
    "batchtopk": "batchtopk",
    "matryoshka_batchtopk": "batchtopk",
    "transcoder": "relu",
    "skip_transcoder": "relu",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
}
_LAYER_NORM = re.compile(
    r"gpt2|distilgpt2|pythia|gpt-neo|gpt-j|opt-|tiny-?stories|phi-[12]|bloom|stablelm|santacoder|gelu-|solu-|attn-only"
)
"""Beginnings of the names of models with LayerNorm. The other models of TransformerLens divide by the root mean square."""
_DIVIDED = re.compile(r"blocks\.(\d+)\.ln2\.hook_normalized")
_SCALED_EMBEDDING = re.compile(r"gemma|bloom", re.IGNORECASE)
"""Models whose embedding TransformerLens multiplies or normalises as block 0 receives it, and to which no positions are added."""
_CENTRED_KINDS = ("embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
"""Hook points whose values TransformerLens centres. Heads and neurons stay unchanged, and a norm's output has no mean."""


@dataclass(frozen=True)
class Settings:
    """The facts of a config that decide how the tensors are read."""

    architecture: str
    family: str
    """relu, topk, jumprelu, gated or batchtopk."""
    k: int | None
    subtracts_b_dec: bool
    norm: InputNorm
    scale: float
    centred: bool
    """Whether each token's mean over its dimensions is subtracted from the input."""
    rescale: bool
    """Whether features are selected by their pre-activation times the decoder norm."""
    finetuned: bool
    hook_point: str
    hook_point_out: str | None
    trained_with_bos: bool | None
    trained_context: int | None
    sizes: Mapping[str, Any]
    notes: tuple[str, ...]


def parse_config(config: dict[str, Any], location: DictionaryLocation) -> Settings:
    """Read a config. Raises `DictionaryError` if a part named in the message is not supported."""
    file = location.folder / CONFIG
    metadata = config.get("metadata")
    facts = {**config, **(metadata if isinstance(metadata, dict) else {})}
    facts |= {name: value for name, value in _runner_facts(location).items() if facts.get(name) is None}
    architecture = _architecture(config, file)
    family = _FAMILIES[architecture]
    head = facts.get("hook_head_index", facts.get("hook_point_head_index"))  # the second is of files before version 6
    if head is not None:
        raise DictionaryError(f"{file}: it reads head {head!r} alone: dictionaries of one head are not supported")
    notes = list[str]()
    names = _places(_names(config, facts, ""), facts, location, notes)
    divided_layer = _divided_layer(names, facts, location)
    hook_point = location.choose_hook_point([f"resid_mid.{divided_layer}"] if divided_layer else names, file)
    is_transcoder = "transcoder" in architecture
    norm, scale = _input_norm(config, location, notes)
    if divided_layer and norm == "none":
        norm = "per_token"
        notes.append("its input is divided by its root mean square, without the model's epsilon")
    elif divided_layer:
        raise DictionaryError(f"{file}: {names[0]} with a normalize_activations of its own is not supported")
    centred = norm != "layer_norm" and _is_centred(facts, hook_point, location)
    if centred and norm == "per_token":
        raise DictionaryError(f"{file}: center_writing_weights with constant_norm_rescale is not supported")
    out = _output(_names(config, facts, "_out"), hook_point, file, notes) if is_transcoder else None
    notes += _training_notes(facts)
    return Settings(
        architecture=architecture,
        family=family,
        k=_k(config, location, file) if family == "topk" else None,
        subtracts_b_dec=config.get("apply_b_dec_to_input", True) is True and not is_transcoder,
        norm=norm,
        scale=scale,
        centred=centred,
        rescale=family in ("topk", "batchtopk") and config.get("rescale_acts_by_decoder_norm") is True,
        finetuned=config.get("finetuning_scaling_factor") is True,
        hook_point=hook_point,
        hook_point_out=out,
        trained_with_bos=stated_bos(facts),
        trained_context=stated_context(facts, "context_size"),
        sizes={name: config[name] for name in ("d_sae", "d_in", "d_out") if config.get(name) is not None},
        notes=tuple(notes),
    )


def _architecture(config: dict[str, Any], file: Path) -> str:
    architecture = config.get("architecture", "standard")
    function = config.get("activation_fn") or config.get("activation_fn_str") or "relu"  # before version 6
    if architecture == "standard" and function == "topk":
        architecture = "topk"
    elif function not in ("relu", "topk"):
        raise DictionaryError(f"{file}: activation_fn {function!r} is not supported: use relu or topk")
    if not isinstance(architecture, str) or architecture not in _FAMILIES:
        raise DictionaryError(f"{file}: architecture {architecture!r} is not supported: use {', '.join(_FAMILIES)}")
    return architecture


def _runner_facts(location: DictionaryLocation) -> dict[str, Any]:
    runner = location.folder / RUNNER
    stated = read_config(runner) if runner.is_file() else {}
    return {name: stated[name] for name in _TRAINING if name in stated}


def _names(config: dict[str, Any], facts: dict[str, Any], side: str) -> list[str]:
    """The names of the hook point that it reads, or writes (`side` = "_out"), in up to three notations. In old files, SAELens' name
    has the key hook_point."""
    keys = (f"hook_point{side}", f"hook_name{side}", f"hf_hook_name{side}")
    names = [source.get(key) for key in keys for source in (facts, config)]
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and name))


def _places(names: list[str], facts: dict[str, Any], location: DictionaryLocation, notes: list[str]) -> list[str]:
    """The names, with those replaced whose place depends on the library or the model. Raises `DictionaryError` for a place that the
    config leaves open, if the user has not named it."""
    if location.hook_point is not None or not names:
        return names
    file, name, model = location.folder / CONFIG, names[0], str(facts.get("model_name", ""))
    if name.endswith(".hook_mlp_in") and facts.get("model_class_name") == "TransformerBridge":
        layer = name.split(".")[1]
        raise DictionaryError(
            f"{file} reads {name} of a TransformerBridge, which stands before the norm in some versions and after it in others: set"
            f" dictionary.hook_point = resid_mid.{layer} or mlp_in.{layer}"
        )
    if name.endswith((".attn.hook_out", ".mlp.hook_out")) and NORMED_MODELS.search(model):
        raise DictionaryError(
            f"{file} reads {name} of {model} before the norm that follows it, which is not a supported hook point"
            " (set dictionary.hook_point only if the name is wrong)"
        )
    if name == "hook_embed" and _SCALED_EMBEDDING.search(model):
        notes.append("TransformerLens' hook_embed of this model is the embedding as scaled or normalised for block 0")
        return ["resid_pre.0"]
    return names


def _divided_layer(names: list[str], facts: dict[str, Any], location: DictionaryLocation) -> str | None:
    """The layer, if it reads the norm before an MLP between division and gain. In models with RMSNorm that equals resid_mid,
    normalised per token; in others it is not a hook point."""
    match = _DIVIDED.fullmatch(names[0]) if names and location.hook_point is None else None
    return match[1] if match and not _has_layer_norm(facts) else None


def _has_layer_norm(facts: dict[str, Any]) -> bool:
    return _LAYER_NORM.match(str(facts.get("model_name", "")).rpartition("/")[2].lower()) is not None


def _output(names: list[str], hook_point: str, file: Path, notes: list[str]) -> str:
    """The hook point that a transcoder writes to: the one named, or else the output of the MLP whose input it reads."""
    if names:
        return output_hook_point(next(filter(to_hook_point, names), names[0]), file)
    kind, layer = parse(hook_point)
    if kind not in ("mlp_in", "resid_mid"):
        raise DictionaryError(f"{file} does not say which hook point it writes: add hook_name_out to its metadata")
    notes.append("its output is assumed to be the MLP's, which the file does not say")
    return f"mlp_out.{layer}"


def _is_centred(facts: dict[str, Any], hook_point: str, location: DictionaryLocation) -> bool:
    """Whether it was trained on TransformerLens' centred residual stream, which only models with LayerNorm have."""
    if parse(hook_point)[0] not in _CENTRED_KINDS:
        return False
    if _repository(location) in CENTRED:
        return True
    kwargs = facts.get("model_from_pretrained_kwargs")
    return isinstance(kwargs, dict) and kwargs.get("center_writing_weights") is True and _has_layer_norm(facts)


def _input_norm(config: dict[str, Any], location: DictionaryLocation, notes: list[str]) -> tuple[InputNorm, float]:
    repository = _repository(location)
    name = NORMS.get(repository, config.get("normalize_activations"))
    if repository in NORMS:
        notes.append(f"normalised by {name}, which its publisher states elsewhere")
    if name is None or name is False:
        name = "none"
    if name is True or name == "expected_average_only_in":
        return _scale(location, notes)
    if not isinstance(name, str) or name not in INPUT_NORMS:
        known = ", ".join((*INPUT_NORMS, "expected_average_only_in"))
        raise DictionaryError(
            f"{location.folder / CONFIG}: normalize_activations = {name!r} is not supported: use one of {known}"
        )
    return INPUT_NORMS[name], 1.0


def _scale(location: DictionaryLocation, notes: list[str]) -> tuple[InputNorm, float]:
    """The factor on the input. SAELens folds it into the weights when a training ends; only checkpoints have it in a file."""
    scaler = location.folder / SCALER
    factor = (
        read_config(scaler).get("scaling_factor")
        if scaler.is_file()
        else SCALES.get(location.name.partition(":")[0].strip("/"))
    )
    if factor is None:
        notes.append(
            "expected_average_only_in is assumed to be folded into the weights, because there is no file with a factor"
        )
        return "none", 1.0
    if not isinstance(factor, (int, float)) or not math.isfinite(factor) or factor <= 0:
        raise DictionaryError(f"{scaler}: scaling_factor = {factor!r} is not a positive number")
    return "scale", float(factor)


def _repository(location: DictionaryLocation) -> str:
    """`owner/name` of a hub id. For a local path it returns something that equals no repository."""
    return "/".join(location.name.split("/")[:2])


def _k(config: dict[str, Any], location: DictionaryLocation, file: Path) -> int:
    if location.k is not None:
        return location.k
    kwargs = config.get("activation_fn_kwargs")
    fields = {**(kwargs if isinstance(kwargs, dict) else {}), **config}
    if "k" not in fields:
        raise DictionaryError(f"{file} does not say k, the number of active features per token: set dictionary.k")
    return get_int(fields, "k", file)


def _training_notes(facts: dict[str, Any]) -> list[str]:
    """Notes on the tokens that it was trained on."""
    notes = []
    if facts.get("seqpos_slice") not in (None, [None], [None, None], [None, None, None]):
        notes.append(f"trained on positions {facts['seqpos_slice']} only")
    if facts.get("exclude_special_tokens"):
        notes.append("trained without the activations of special tokens")
    return notes
