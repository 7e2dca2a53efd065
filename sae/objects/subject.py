"""A subject from a model in memory: one of transformers, or one that nnsight, nnterp or TransformerLens wraps around it.

Its fingerprint is that of the folder or hub commit that it was loaded from, if weights, configuration and tokenizer still equal the files
there, so that it shares harvests with a spec that names them. Otherwise it is a hash of the three.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sae.errors import SubjectError
from sae.objects.calls import evaluating
from sae.subject import loading
from sae.subject.loading import choose_precision
from sae.subject.model import Subject

_PRECISIONS = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
_NOT_COMPUTED = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")
"""Keys of a configuration that do not decide activations."""
_CHUNK = 1 << 22
"""Elements of a tensor that are hashed together."""


class Named(NamedTuple):
    """A subject, and the name by which a spec can load it again: a folder, a hub id, or `object:CLASS` if there is none."""

    subject: Subject
    source: str


def subject_of(model: Any, tokenizer: Any = None, *, precision: str = "auto") -> Named:
    """The subject of a model in memory, which is used as it is: neither moved nor converted.

    `tokenizer`: that of transformers; by default the one that the wrapper holds. `precision`: as `load_subject`, for a model in
    float32 on a CPU; elsewhere it is the model's own. Raises `SubjectError`.
    """
    inner = _unwrapped(model)
    name = type(inner).__name__
    tokenizer = getattr(model, "tokenizer", None) if tokenizer is None else tokenizer
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        given = "" if tokenizer is None else f", not a {type(tokenizer).__name__}"
        raise SubjectError(f"model {name} comes without a tokenizer: give tokenizer=, one of transformers{given}")
    loading.check_causal(inner.config, name)
    if inner.dtype not in _PRECISIONS:
        raise SubjectError(
            f"model {name} is in {str(inner.dtype).removeprefix('torch.')}: convert it with .float() or .bfloat16()"
        )
    used = _PRECISIONS[inner.dtype]
    if inner.device.type == "cpu" and used == "float32":
        used = choose_precision(precision, inner.device)
    elif precision not in ("auto", used):
        raise SubjectError(
            f"model {name} is in {used}, but subject.precision = {precision}: convert the model, or leave it out"
        )
    stored = _stored(inner, tokenizer)
    fingerprint = stored[1] if stored else _content(inner, tokenizer)
    source = stored[0] if stored else f"object:{name}"
    shown = Path(source).name if stored and Path(source).is_dir() else source.removeprefix("object:")
    return Named(Subject(inner, tokenizer, name=shown, fingerprint=fingerprint, precision=used), source)


def _unwrapped(model: Any) -> PreTrainedModel:
    """The model of transformers inside a wrapper, with its weights loaded. Raises `SubjectError` if there is none."""
    if getattr(model, "dispatched", True) is False:  # nnsight loads weights when they are first needed
        model.dispatch()
    for inner in (
        model,
        getattr(model, "_module", None),
        getattr(model, "_model", None),
        getattr(model, "original_model", None),
    ):
        if isinstance(inner, PreTrainedModel):
            return _without_bridge(inner)
    if hasattr(model, "hook_dict") and hasattr(model, "run_with_hooks"):
        raise SubjectError(
            f"model is a {type(model).__name__}, which computes with TransformerLens' own modules: give the model of transformers that it"
            " was made from, or a TransformerBridge"
        )
    raise SubjectError(
        f"model is a {type(model).__name__}: give a model of transformers, one that nnsight, nnterp or TransformerLens wraps around it, a"
        " folder or a hub id"
    )


_BRIDGE = "._original_component"
"""What TransformerLens' TransformerBridge puts into the names of a model's tensors, whose modules it replaces by its own."""


@torch.no_grad()
def _without_bridge(model: PreTrainedModel) -> PreTrainedModel:
    """The model with modules of transformers and the same weights, which are shared, if TransformerLens has replaced its modules.

    Raises `SubjectError` if the two compute different values, as after TransformerLens' processing of weights.
    """
    state = model.state_dict()
    if not any(_BRIDGE in name for name in state):
        return model
    blank: Any = type(model)(model.config)
    plain: PreTrainedModel = blank.to(device=model.device, dtype=model.dtype)
    loaded = plain.load_state_dict(
        {name.replace(_BRIDGE, ""): t for name, t in state.items()}, strict=False, assign=True
    )
    plain.tie_weights()
    ids = torch.arange(1, 9, device=model.device)[None]
    with evaluating(model), evaluating(plain):
        same = not loaded.missing_keys and torch.allclose(
            model(input_ids=ids, use_cache=False).logits,
            plain(input_ids=ids, use_cache=False).logits,
            rtol=1e-3,
            atol=1e-3,
        )
    if not same:
        raise SubjectError(
            f"model {type(model).__name__} in a TransformerBridge computes other values than transformers does with its weights: give the"
            " model of transformers"
        )
    plain.config._commit_hash = getattr(model.config, "_commit_hash", None)
    return plain


def _content(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """sha-256, in hex, of configuration, tokenizer and weights."""
    digest = hashlib.sha256(json.dumps([_config(model.config), _vocabulary(tokenizer)], sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        for chunk in torch.split(tensor.detach().reshape(-1), _CHUNK):
            digest.update(chunk.cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _stored(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str] | None:
    """Source and fingerprint of the files that the model was loaded from, if it still equals them; None otherwise."""
    source, commit = str(model.config.name_or_path or ""), getattr(model.config, "_commit_hash", None)
    if not source or (model.dtype is not torch.float32 and model.device.type == "cpu"):
        return None  # files are read in float32 there
    folder = Path(source)
    if not folder.is_dir():
        cached = try_to_load_from_cache(source, "config.json", revision=commit) if commit else None
        folder = Path(cached).parent if isinstance(cached, str) else folder
    try:
        same = _equals_files(model, tokenizer, folder) if folder.is_dir() else False
    except (OSError, ValueError, SafetensorError):
        return None
    if not same:
        return None
    local = Path(source).is_dir()
    return source, loading.folder_fingerprint(folder) if local else loading.hub_fingerprint(source, commit)


def _equals_files(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> bool:
    """Whether weights, configuration and tokenizer are those of a folder with safetensors."""
    if _config(AutoConfig.from_pretrained(folder)) != _config(model.config):
        return False
    if _vocabulary(AutoTokenizer.from_pretrained(folder)) != _vocabulary(tokenizer):
        return False
    state = dict(model.state_dict())
    seen: set[int] = set()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                if name not in state or not _equal(state[name], tensors.get_tensor(name)):
                    return False
                seen.add(state[name].data_ptr())
    return bool(seen) and all(tensor.data_ptr() in seen for tensor in state.values())


def _equal(tensor: Tensor, stored: Tensor) -> bool:
    return tensor.shape == stored.shape and torch.equal(tensor.detach().cpu(), stored.to(tensor.dtype))


def _config(config: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in values.items() if key not in _NOT_COMPUTED}


def _vocabulary(tokenizer: PreTrainedTokenizerBase) -> Any:
    """Everything that decides the ids of a text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = json.loads(backend.to_str()) if backend is not None else tokenizer.get_vocab()
    # Padding and truncation are settings of the last call, and no part of the tokenizer.
    words = {key: value for key, value in words.items() if key not in ("padding", "truncation")}
    return [words, tokenizer.bos_token_id, tokenizer.eos_token_id]
