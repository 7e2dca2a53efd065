"""dictionary_learning folders: `ae.pt`, or `ae_STEP.pt` among the checkpoints, and `config.json` beside it or above.

The config's `trainer.dict_class` names the class, which decides everything else:

    AutoEncoder, AutoEncoderNew      relu; only the first subtracts its bias
    GatedAutoEncoder                 folded to jumprelu
    JumpReluAutoEncoder              jumprelu, nothing subtracted
    AutoEncoderTopK                  topk
    BatchTopKSAE, Matryoshka...      jumprelu with the one threshold that training kept

Linear layers hold `encoder.weight` (d_sae, d_in) and `decoder.weight` (d_in, d_sae); JumpReLU and Matryoshka hold `W_enc` (d_in, d_sae)
and `W_dec` (d_sae, d_in). Normalisation is folded when it saves. Layout: https://github.com/saprmarks/dictionary_learning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.folding import gated
from sae.formats.location import Place
from sae.formats.readers import Tensors, check_sizes, read_config, read_torch, take, tensors_of

CONFIG, WEIGHTS = "config.json", "ae.pt"
PUBLISHER = "dictionary_learning (Marks, Karvonen, Mueller)"
CHECKED = "written by dictionary-learning 0.1.0, all seven classes: encode and decode within 1e-5"
FILES: tuple[str, ...] = (CONFIG, WEIGHTS)

_SITES = {
    "resid_post": "resid_post",
    "resid_pre": "resid_pre",
    "attention_out": "attn_out",
    "attn_out": "attn_out",
    "mlp_out": "mlp_out",
}
_SITE = re.compile(rf"({'|'.join(_SITES)})(?:_layer_?\d+)?")
_NORMED = re.compile(r"gemma-?[23]|olmo-?2", re.IGNORECASE)
"""Models that put a norm after attention and MLP, whose modules' outputs are not what is added."""


def matches(place: Place) -> bool:
    """Whether it is of this format."""
    return _file(place) is not None


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError` on what is damaged and, by name, on what is not supported."""
    file = _file(place)
    assert file is not None
    config_file = next((above / CONFIG for above in list(file.parents)[:2] if (above / CONFIG).is_file()), None)
    config = {} if config_file is None else read_config(config_file)
    trainer = _part(config, "trainer")
    tensors = _named(read_torch(file), file)
    kind = _class(trainer, tensors, file)
    W_enc, W_dec, b_dec = _weights(kind, tensors, file)
    check_sizes(trainer, {"activation_dim": W_enc.shape[1], "dict_size": W_enc.shape[0]}, file, CONFIG)
    threshold: Tensor | None = None
    k, notes = None, []
    if kind == "GatedAutoEncoder":
        parts = [_of_length(take(tensors, name, 1, file), name, len(W_enc), file) for name in _GATES]
        W_enc, b_enc, threshold = gated(W_enc, *parts)
        notes.append("the gate is folded into a threshold")
    else:
        b_enc = take(tensors, "b_enc" if "b_enc" in tensors else "encoder.bias", 1, file)
    if kind == "AutoEncoderTopK" or (kind in _BATCHED and "threshold" not in tensors):
        k = _k(place, trainer, tensors, file)
        if kind in _BATCHED:
            notes.append(f"no threshold is stored: read as the {k} largest of each token, not of a batch")
    elif kind in _BATCHED:
        stored = take(tensors, "threshold", 0, file)
        if stored < 0:
            notes.append("training never set the threshold: every positive value counts as active")
        threshold = stored.clamp_min(0).expand(len(W_enc))
    elif kind == "JumpReluAutoEncoder":
        # Its encoder gates and then takes the positive part, for which a negative threshold is the same as 0.
        threshold = take(tensors, "threshold", 1, file).clamp_min(0)
    return Dictionary(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec,
        b_dec=b_dec,
        activation="topk" if k else "relu" if threshold is None else "jumprelu",
        threshold=threshold,
        k=k,
        apply_b_dec_to_input=kind not in ("AutoEncoderNew", "JumpReluAutoEncoder"),
        hook_point=_hook_point(place, config, config_file or file),
        architecture=kind,
        path=str(file.parent if file.name == WEIGHTS else file),
        format="dictionary_learning",
        notes=tuple(notes),
    )


_GATES = ("gate_bias", "r_mag", "mag_bias")
_BATCHED = ("BatchTopKSAE", "MatryoshkaBatchTopKSAE")
_PARAMETERS = ("JumpReluAutoEncoder", "MatryoshkaBatchTopKSAE")
_CLASSES = ("AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "AutoEncoderTopK", *_BATCHED, "JumpReluAutoEncoder")


def _file(place: Place) -> Path | None:
    return place.folder / WEIGHTS if place.has(WEIGHTS) else place.only("ae_*.pt")


def _part(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}


def _named(held: Mapping[str, Any], file: Path) -> Tensors:
    """Its real tensors; k and the group sizes are whole numbers, of which k stays."""
    whole = {name: value for name, value in held.items() if name not in ("k", "group_sizes")}
    tensors = tensors_of(whole, file)
    if isinstance(held.get("k"), Tensor):
        tensors["k"] = held["k"]
    return tensors


def _class(trainer: Mapping[str, Any], tensors: Tensors, file: Path) -> str:
    kind = trainer.get("dict_class")
    if kind is None:
        kind = _class_by_names(tensors, file)
    if "crosscoder" in str(kind).lower():
        raise DictionaryError(f"{file} is a crosscoder, which reads several layers or models at once: not supported")
    if kind not in _CLASSES:
        raise DictionaryError(f"{file}: dict_class {kind!r} is not supported: use one of {', '.join(_CLASSES)}")
    return str(kind)


def _class_by_names(tensors: Tensors, file: Path) -> str:
    """For weights that lost their config. TopK and batch-wise TopK have the same names."""
    if "r_mag" in tensors:
        return "GatedAutoEncoder"
    if "W_enc" in tensors:
        return "MatryoshkaBatchTopKSAE" if "k" in tensors else "JumpReluAutoEncoder"
    if "b_dec" in tensors:
        raise DictionaryError(f"{file} may be TopK or batch-wise TopK: put the {CONFIG} of its training beside it")
    return "AutoEncoder" if "bias" in tensors else "AutoEncoderNew"


def _weights(kind: str, tensors: Tensors, file: Path) -> tuple[Tensor, Tensor, Tensor]:
    if kind in _PARAMETERS:
        W_enc, W_dec = take(tensors, "W_enc", 2, file).T, take(tensors, "W_dec", 2, file)
    else:
        W_enc, W_dec = take(tensors, "encoder.weight", 2, file), take(tensors, "decoder.weight", 2, file).T
    bias = {"AutoEncoder": "bias", "AutoEncoderNew": "decoder.bias", "GatedAutoEncoder": "decoder_bias"}
    return W_enc, W_dec, take(tensors, bias.get(kind, "b_dec"), 1, file)


def _of_length(tensor: Tensor, name: str, length: int, file: Path) -> Tensor:
    if len(tensor) != length:
        raise DictionaryError(f"{file}: {name} has {len(tensor)} entries, not {length}: the file is damaged")
    return tensor


def _k(place: Place, trainer: Mapping[str, Any], tensors: Tensors, file: Path) -> int:
    stored = int(tensors["k"]) if "k" in tensors and tensors["k"].numel() == 1 else trainer.get("k")
    k = place.k if place.k is not None else stored
    if not isinstance(k, int) or isinstance(k, bool):
        raise DictionaryError(f"{file} does not say k, the number of features active a token: set dictionary.k")
    return k


def _hook_point(place: Place, config: Mapping[str, Any], source: Path) -> str:
    trainer, io = _part(config, "trainer"), _part(config, "buffer").get("io", "out")
    name, layer = trainer.get("submodule_name"), trainer.get("layer")
    if not isinstance(name, str) or not isinstance(layer, int):
        return place.where([], source)
    if io not in ("in", "out") and place.hook_point is None:
        raise DictionaryError(f"{source}: io = {io!r} (a transcoder) is not supported: use a plain sparse autoencoder")
    site = _SITE.fullmatch(name)
    where = place.where([f"{_SITES[site[1]]}.{layer}" if site else name + (".input" if io == "in" else "")], source)
    model = str(trainer.get("lm_name", ""))
    if place.hook_point is None and where.startswith(("mlp_out", "attn_out")) and _NORMED.search(model):
        raise DictionaryError(
            f"{source} reads {name} of {model} before the norm that follows it, which is none of our hook points"
            " (set dictionary.hook_point only if the name is wrong)"
        )
    return where
