"""dictionary_learning folders: `ae.pt`, or a checkpoint `ae_STEP.pt`, with `config.json` in its folder or the one above.

The config's `trainer.dict_class` names the class, which decides everything else:

    AutoEncoder, AutoEncoderNew      relu; only the first subtracts its bias
    GatedAutoEncoder                 folded to jumprelu
    JumpReluAutoEncoder              jumprelu, nothing subtracted
    AutoEncoderTopK                  topk
    BatchTopKSAE, Matryoshka...      jumprelu with the single threshold that training kept

Linear layers hold `encoder.weight` (d_sae, d_in) and `decoder.weight` (d_in, d_sae); JumpReLU and Matryoshka hold `W_enc` (d_in, d_sae)
and `W_dec` (d_sae, d_in). The library folds normalisation when it saves. Layout: https://github.com/saprmarks/dictionary_learning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.folding import fold_gate
from sae.formats.location import NORMED_MODELS, DictionaryLocation
from sae.formats.readers import (
    Tensors,
    check_sizes,
    get_tensor,
    read_config,
    read_torch,
    real_tensors,
    stated_bos,
    stated_context,
)

CONFIG, WEIGHTS = "config.json", "ae.pt"
PUBLISHER = "dictionary_learning (Marks, Karvonen, Mueller)"
CHECKED = "files written by dictionary-learning 0.1.0: all seven classes, encode and decode"
FILES: tuple[str, ...] = (CONFIG, WEIGHTS, "ae_{n}.pt")

_SITES = {
    "resid_post": "resid_post",
    "resid_pre": "resid_pre",
    "attention_out": "attn_out",
    "attn_out": "attn_out",
    "mlp_out": "mlp_out",
}
_SITE = re.compile(rf"({'|'.join(_SITES)})(?:_layer_?\d+)?")


def matches(location: DictionaryLocation) -> bool:
    """Whether it is of this format."""
    return _file(location) is not None


def load(location: DictionaryLocation) -> Dictionary:
    """Read it. Raises `DictionaryError` if it is damaged, or if a part named in the message is not supported."""
    file = _file(location)
    assert file is not None
    config_file = next((above / CONFIG for above in list(file.parents)[:2] if (above / CONFIG).is_file()), None)
    config = {} if config_file is None else read_config(config_file)
    trainer = _table(config, "trainer")
    tensors = _tensors(read_torch(file), file)
    kind = _class(trainer, tensors, file)
    W_enc, W_dec, b_dec = _weights(kind, tensors, file)
    check_sizes(trainer, {"activation_dim": W_enc.shape[1], "dict_size": W_enc.shape[0]}, file, CONFIG)
    threshold: Tensor | None = None
    buffer = _table(config, "buffer")
    k, notes = None, []
    if kind == "GatedAutoEncoder":
        parts = [_of_length(get_tensor(tensors, name, 1, file), name, len(W_enc), file) for name in _GATES]
        W_enc, b_enc, threshold = fold_gate(W_enc, *parts)
        notes.append("the gate is folded into a threshold")
    else:
        b_enc = get_tensor(tensors, "b_enc" if "b_enc" in tensors else "encoder.bias", 1, file)
    if kind == "AutoEncoderTopK" or (kind in _BATCHED and "threshold" not in tensors):
        k = _k(location, trainer, tensors, file)
        if location.k is None and trainer.get("k") not in (None, k):
            notes.append(f"{CONFIG} says k = {trainer['k']}, which is not used")
        if kind in _BATCHED:
            notes.append(f"no threshold is stored: read as TopK of each token with k = {k}, not of a batch")
    elif kind in _BATCHED:
        stored = get_tensor(tensors, "threshold", 0, file)
        if stored < 0:
            notes.append("training never set the threshold: every positive value counts as active")
        threshold = stored.clamp_min(0).expand(len(W_enc))
    elif kind == "JumpReluAutoEncoder":
        # Its encoder applies the threshold and then takes the positive part, so a negative threshold is equivalent to 0.
        threshold = get_tensor(tensors, "threshold", 1, file).clamp_min(0)
    return Dictionary(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec,
        b_dec=b_dec,
        activation="topk" if k else "relu" if threshold is None else "jumprelu",
        threshold=threshold,
        k=k,
        apply_b_dec_to_input=kind not in ("AutoEncoderNew", "JumpReluAutoEncoder"),
        hook_point=_hook_point(location, config, config_file or file),
        # With special tokens, BOS is put there if the tokenizer does so by itself, as it is here if nothing is stated.
        trained_with_bos=False if stated_bos(buffer, "add_special_tokens") is False else None,
        trained_context=stated_context(buffer, "ctx_len"),
        architecture=kind,
        path=str(file.parent if file.name == WEIGHTS else file),
        format="dictionary_learning",
        notes=tuple(notes),
    )


_GATES = ("gate_bias", "r_mag", "mag_bias")
_BATCHED = ("BatchTopKSAE", "MatryoshkaBatchTopKSAE")
_PARAMETERS = ("JumpReluAutoEncoder", "MatryoshkaBatchTopKSAE")
_CLASSES = ("AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "AutoEncoderTopK", *_BATCHED, "JumpReluAutoEncoder")


def _file(location: DictionaryLocation) -> Path | None:
    return location.folder / WEIGHTS if location.has_files(WEIGHTS) else location.find_file("ae_*.pt")


def _table(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = config.get(name)
    return table if isinstance(table, dict) else {}


def _tensors(content: Mapping[str, Any], file: Path) -> Tensors:
    """The file's real tensors, and k. The group sizes, integers like k, are left out."""
    tensors = real_tensors({name: v for name, v in content.items() if name not in ("k", "group_sizes")}, file)
    if isinstance(content.get("k"), Tensor):
        tensors["k"] = content["k"]
    return tensors


def _class(trainer: Mapping[str, Any], tensors: Tensors, file: Path) -> str:
    kind = trainer.get("dict_class")
    if kind is None:
        kind = _class_by_names(tensors, file)
    if "crosscoder" in str(kind).lower():
        raise DictionaryError(
            f"{file} is a crosscoder, which reads several layers or models at once: that is not supported"
        )
    if kind not in _CLASSES:
        raise DictionaryError(f"{file}: dict_class {kind!r} is not supported: use one of {', '.join(_CLASSES)}")
    return str(kind)


def _class_by_names(tensors: Tensors, file: Path) -> str:
    """The class of weights without a config. TopK and batch-wise TopK cannot be told apart, because their tensors have the same
    names."""
    if "r_mag" in tensors:
        return "GatedAutoEncoder"
    if "W_enc" in tensors:
        return "MatryoshkaBatchTopKSAE" if "k" in tensors else "JumpReluAutoEncoder"
    if "b_dec" in tensors:
        raise DictionaryError(f"{file} may be TopK or batch-wise TopK: put its training's {CONFIG} beside it")
    return "AutoEncoder" if "bias" in tensors else "AutoEncoderNew"


def _weights(kind: str, tensors: Tensors, file: Path) -> tuple[Tensor, Tensor, Tensor]:
    if kind in _PARAMETERS:
        W_enc, W_dec = get_tensor(tensors, "W_enc", 2, file).T, get_tensor(tensors, "W_dec", 2, file)
    else:
        W_enc, W_dec = get_tensor(tensors, "encoder.weight", 2, file), get_tensor(tensors, "decoder.weight", 2, file).T
    bias = {"AutoEncoder": "bias", "AutoEncoderNew": "decoder.bias", "GatedAutoEncoder": "decoder_bias"}
    return W_enc, W_dec, get_tensor(tensors, bias.get(kind, "b_dec"), 1, file)


def _of_length(tensor: Tensor, name: str, length: int, file: Path) -> Tensor:
    if len(tensor) != length:
        raise DictionaryError(f"{file}: {name} has {len(tensor)} entries, not {length}: the file is damaged")
    return tensor


def _k(location: DictionaryLocation, trainer: Mapping[str, Any], tensors: Tensors, file: Path) -> int:
    stored = int(tensors["k"]) if "k" in tensors and tensors["k"].numel() == 1 else trainer.get("k")
    k = location.k if location.k is not None else stored
    if not isinstance(k, int) or isinstance(k, bool):
        raise DictionaryError(f"{file} does not say k, the number of active features per token: set dictionary.k")
    return k


def _hook_point(location: DictionaryLocation, config: Mapping[str, Any], source: Path) -> str:
    trainer, io = _table(config, "trainer"), _table(config, "buffer").get("io", "out")
    name, layer = trainer.get("submodule_name"), trainer.get("layer")
    if not isinstance(name, str) or not isinstance(layer, int):
        return location.choose_hook_point([], source)
    if io not in ("in", "out") and location.hook_point is None:
        raise DictionaryError(f"{source}: io = {io!r} (a transcoder) is not supported: use a plain sparse autoencoder")
    site = _SITE.fullmatch(name)
    if site and io == "in" and location.hook_point is None:
        raise DictionaryError(
            f"{source} says that it reads the input (io = 'in') of {name}, which is the name of an output: set dictionary.hook_point"
        )
    module = name + (".input" if io == "in" else "")
    hook_point = location.choose_hook_point([f"{_SITES[site[1]]}.{layer}" if site else module], source)
    model = str(trainer.get("lm_name", ""))
    if location.hook_point is None and hook_point.startswith(("mlp_out", "attn_out")) and NORMED_MODELS.search(model):
        raise DictionaryError(
            f"{source} reads {name} of {model} before the norm that follows it, which is not a supported hook point"
            " (set dictionary.hook_point only if the name is wrong)"
        )
    return hook_point
