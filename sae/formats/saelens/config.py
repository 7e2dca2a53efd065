"""What a SAELens `cfg.json` says, in the layout of version 6 (facts about the model under `metadata`) and in those before."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae.dictionary import InputNorm
from sae.errors import DictionaryError
from sae.formats.location import Place, where_to
from sae.formats.readers import read_config, take_whole
from sae.formats.saelens.overrides import CENTRED, NORMS, SCALES
from sae.subject.hook_points import ours, parse

CONFIG, SCALER = "cfg.json", "activation_scaler.json"
INPUT_NORMS: dict[str, InputNorm] = {"none": "none", "layer_norm": "layer_norm", "constant_norm_rescale": "per_token"}
"""SAELens' names of the normalisations that are computed from each token."""
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
"""How the names begin of models with LayerNorm; the others that TransformerLens knows divide by the root mean square."""
_DIVIDED = re.compile(r"blocks\.(\d+)\.ln2\.hook_normalized")
_CENTRED_KINDS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
"""What TransformerLens takes the mean off; heads and neurons it leaves as they are, and a norm's output has none."""


@dataclass(frozen=True)
class Settings:
    """Everything in a config that decides how the tensors are read."""

    architecture: str
    family: str
    """relu, topk, jumprelu, gated or batchtopk."""
    k: int | None
    c: bool
    """Whether b_dec is subtracted from the input."""
    norm: InputNorm
    scale: float
    centred: bool
    rescale: bool
    """Whether pre-activations times the decoder norm are what is selected on."""
    finetuned: bool
    hook_point: str
    hook_point_out: str | None
    sizes: Mapping[str, Any]
    notes: tuple[str, ...]


def understand(config: dict[str, Any], place: Place) -> Settings:
    """Read a config. Raises `DictionaryError`, by name, on what is not supported."""
    file = place.folder / CONFIG
    metadata = config.get("metadata")
    said = {**config, **(metadata if isinstance(metadata, dict) else {})}
    architecture = _architecture(config, file)
    family = _FAMILIES[architecture]
    if said.get("hook_head_index") is not None:
        raise DictionaryError(
            f"{file}: it reads head {said['hook_head_index']!r} alone: dictionaries of one head are not supported"
        )
    names, notes = _names(config, said, ""), list[str]()
    divided = _divided(names, said, place)
    hook_point = place.where([f"resid_mid.{divided}"] if divided else names, file)
    transcodes = "transcoder" in architecture
    norm, scale = _input_norm(config, place, notes)
    if divided and norm == "none":
        norm = "per_token"
        notes.append("its input is divided by its root mean square without the model's epsilon")
    elif divided:
        raise DictionaryError(f"{file}: {names[0]} with normalize_activations of its own is not supported")
    centred = norm != "layer_norm" and _wants_centred(said, hook_point, place)
    if centred and norm == "per_token":
        raise DictionaryError(f"{file}: center_writing_weights with constant_norm_rescale is not supported")
    out = _where_to(_names(config, said, "_out"), hook_point, file, notes) if transcodes else None
    notes += _context(said)
    return Settings(
        architecture=architecture,
        family=family,
        k=_k(config, place, file) if family == "topk" else None,
        c=config.get("apply_b_dec_to_input", True) is True and not transcodes,
        norm=norm,
        scale=scale,
        centred=centred,
        rescale=family in ("topk", "batchtopk") and config.get("rescale_acts_by_decoder_norm") is True,
        finetuned=config.get("finetuning_scaling_factor") is True,
        hook_point=hook_point,
        hook_point_out=out,
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


def _names(config: dict[str, Any], said: dict[str, Any], side: str) -> list[str]:
    """Where it says that it reads, or writes (`_out`), in up to three notations; old files call SAELens' name hook_point."""
    keys = (f"hook_point{side}", f"hook_name{side}", f"hf_hook_name{side}")
    names = [source.get(key) for key in keys for source in (said, config)]
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and name))


def _divided(names: list[str], said: dict[str, Any], place: Place) -> str | None:
    """The layer whose MLP's norm it reads between division and gain, which is no place of its own but one in models with RMSNorm."""
    found = _DIVIDED.fullmatch(names[0]) if names and place.hook_point is None else None
    return found[1] if found and not _has_layer_norm(said) else None


def _has_layer_norm(said: dict[str, Any]) -> bool:
    return _LAYER_NORM.match(str(said.get("model_name", "")).rpartition("/")[2].lower()) is not None


def _where_to(names: list[str], hook_point: str, file: Path, notes: list[str]) -> str:
    """Where a transcoder's output belongs: as named, else the output of the MLP whose input it reads."""
    if names:
        return where_to(next(filter(ours, names), names[0]), file)
    kind, layer = parse(hook_point)
    if kind not in ("mlp_in", "resid_mid"):
        raise DictionaryError(f"{file} does not say where its output belongs: add hook_name_out to its metadata")
    notes.append("its output is taken for the MLP's, which the file does not say")
    return f"mlp_out.{layer}"


def _wants_centred(said: dict[str, Any], hook_point: str, place: Place) -> bool:
    """Whether TransformerLens fed it a residual stream minus its mean, which it does to models with LayerNorm only."""
    if parse(hook_point)[0] not in _CENTRED_KINDS:
        return False
    if _repository(place) in CENTRED:
        return True
    kwargs = said.get("model_from_pretrained_kwargs")
    return isinstance(kwargs, dict) and kwargs.get("center_writing_weights") is True and _has_layer_norm(said)


def _input_norm(config: dict[str, Any], place: Place, notes: list[str]) -> tuple[InputNorm, float]:
    repository = _repository(place)
    name = NORMS.get(repository, config.get("normalize_activations"))
    if repository in NORMS:
        notes.append(f"normalised by {name}, as its publisher says elsewhere")
    if name is None or name is False:
        name = "none"
    if name is True or name == "expected_average_only_in":
        return _scale(place, notes)
    if not isinstance(name, str) or name not in INPUT_NORMS:
        known = ", ".join((*INPUT_NORMS, "expected_average_only_in"))
        raise DictionaryError(
            f"{place.folder / CONFIG}: normalize_activations = {name!r} is not supported: use one of {known}"
        )
    return INPUT_NORMS[name], 1.0


def _scale(place: Place, notes: list[str]) -> tuple[InputNorm, float]:
    """The factor on the input, folded into the weights when a training ends; beside them only in mid-training."""
    scaler = place.folder / SCALER
    factor = (
        read_config(scaler).get("scaling_factor")
        if scaler.is_file()
        else SCALES.get(place.name.partition(":")[0].strip("/"))
    )
    if factor is None:
        notes.append("expected_average_only_in is taken as folded into the weights, for no factor lies beside them")
        return "none", 1.0
    if not isinstance(factor, (int, float)) or not math.isfinite(factor) or factor <= 0:
        raise DictionaryError(f"{scaler}: scaling_factor = {factor!r} is not a positive number")
    return "scale", float(factor)


def _repository(place: Place) -> str:
    """`owner/name` of a hub id; what it gives of a local path fits none."""
    return "/".join(place.name.split("/")[:2])


def _k(config: dict[str, Any], place: Place, file: Path) -> int:
    if place.k is not None:
        return place.k
    kwargs = config.get("activation_fn_kwargs")
    found = {**(kwargs if isinstance(kwargs, dict) else {}), **config}
    if "k" not in found:
        raise DictionaryError(f"{file} does not say k, the number of features active a token: set dictionary.k")
    return take_whole(found, "k", file)


def _context(said: dict[str, Any]) -> list[str]:
    """What it was trained on, which decides how far its readings can be compared."""
    notes = []
    if isinstance(bos := said.get("prepend_bos"), bool):
        notes.append(f"trained with{'' if bos else 'out'} a BOS token in front of each context")
    if isinstance(size := said.get("context_size"), int):
        notes.append(f"trained on contexts of {size} tokens")
    if said.get("seqpos_slice") not in (None, [None], [None, None], [None, None, None]):
        notes.append(f"trained on positions {said['seqpos_slice']} only")
    if said.get("exclude_special_tokens"):
        notes.append("trained without the activations of special tokens")
    return notes
