"""Loads a causal language model of transformers: its files, configuration and weights. Every error is one line.

A model is a hub id, a local folder, or a `.gguf` file. Code shipped with a model is never run, and pickled weights are only
read with `torch.load(weights_only=True)`, and only if there are no safetensors.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import is_offline_mode
from huggingface_hub.utils import logging as hub_logging
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto import modeling_auto as auto
from transformers.utils import logging as model_logging

from sae.errors import SubjectError, one_line
from sae.file_hashes import file_hash
from sae.files import is_local, missing_part
from sae.subject import adapters, gguf
from sae.subject.adapters import Adapter

PRECISIONS = ("float32", "bfloat16")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


class Loaded(NamedTuple):
    """The parts of a subject. `headless` names the tensors of the output head that the checkpoint lacks, if any."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    fingerprint: str
    headless: str | None


def load(model: str, precision: str, device: torch.device, revision: str | None) -> Loaded:
    """Load a hub id, a folder or a `.gguf` file; on the meta device, without reading weights. An adapter is merged into its base.

    Raises `SubjectError`.
    """
    source, name = _locate(model)
    if isinstance(source, Path) and (adapter := adapters.in_folder(source)):
        return _load_adapter(adapter, precision, device)
    try:
        return _load(source, name, precision, device, revision or "main")
    except SubjectError:
        adapter = adapters.on_hub(source, revision or "main") if isinstance(source, str) else None
        if adapter is None:
            raise
    return _load_adapter(adapter, precision, device)


def _load(source: Path | str, name: str, precision: str, device: torch.device, revision: str) -> Loaded:
    if isinstance(source, Path):
        _check_folder(source)
    arguments: dict[str, Any] = {
        "pretrained_model_name_or_path": str(source),
        "revision": revision,
        "trust_remote_code": False,
    }
    headless = None
    with _quiet():
        config = _read("configuration", name, AutoConfig.from_pretrained, **arguments)
        check_causal(config, name)
        tokenizer = _read("tokenizer", name, AutoTokenizer.from_pretrained, **arguments)
        if device.type == "meta":
            loaded = _empty_model(config, name)
        else:
            loaded, headless = _load_model(config, name, precision, device, arguments)
    if isinstance(source, Path):
        fingerprint = folder_fingerprint(source)
    else:
        fingerprint = hub_fingerprint(source, config._commit_hash)
    return Loaded(loaded, tokenizer, name, fingerprint, headless)


def _load_adapter(adapter: Adapter, precision: str, device: torch.device) -> Loaded:
    """The base of an adapter with the adapter merged into it; on the meta device, the base's outline."""
    base = load(adapter.base, precision, device, adapter.revision)
    model, tokenizer = base.model, base.tokenizer
    with _quiet():
        if device.type != "meta":
            model = adapter.merged_into(model)
        if adapter.has_tokenizer:
            read = AutoTokenizer.from_pretrained
            tokenizer = _read(
                "tokenizer",
                adapter.name,
                read,
                pretrained_model_name_or_path=str(adapter.folder),
                trust_remote_code=False,
            )
    return Loaded(model, tokenizer, adapter.name, adapter.fingerprint(base.fingerprint), base.headless)


def _locate(model: str) -> tuple[Path | str, str]:
    """The location of a subject, a folder (a Path) or a hub id (a str), and its name. Raises `SubjectError`."""
    path = check_path(model)
    if path is None:
        return model, model
    if path.is_dir():
        return path, path.absolute().name
    with _quiet():
        return gguf.convert_gguf(path), path.stem


def check_path(model: str) -> Path | None:
    """The folder or .gguf file of a subject on this machine; None for a hub id. Raises `SubjectError`."""
    path = Path(model).expanduser()
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise SubjectError(f"subject {model[:100]} cannot be read: {error.strerror}: check the path") from None
    if is_folder or (is_file and model.endswith(".gguf")):
        return path
    if is_file:
        raise SubjectError(f"subject {model} is a file: give its folder, a .gguf file or a hub id")
    if model.endswith(".gguf") or is_local(model) or not _HUB_ID.fullmatch(model):
        raise SubjectError(f"subject {model} does not exist: check the path, or give a hub id such as owner/name")
    return None


def choose_device(device: str) -> torch.device:
    """The device of that name, or for "auto" the best available one. Raises `SubjectError` if it is not available."""
    mps = torch.backends.mps.is_available()
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise SubjectError(f"device {device!r} is not known: use auto, cpu, cuda, cuda:1 or mps") from None
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    available = (
        chosen.type == "cpu" or (chosen.type == "cuda" and (chosen.index or 0) < gpus) or (chosen.type == "mps" and mps)
    )
    if not available:
        raise SubjectError(f"device {device!r} is not on this machine ({gpus} CUDA devices): use auto or cpu")
    return chosen


def choose_precision(precision: str, device: torch.device) -> str:
    """ "float32" or "bfloat16"; for "auto", bfloat16 if `device` computes it natively. Raises `SubjectError`."""
    if precision in PRECISIONS:
        return precision
    if precision != "auto":
        raise SubjectError(f"precision {precision!r} is not known: use auto, float32 or bfloat16")
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and _cpu_has_bfloat16()
    return "bfloat16" if native else "float32"


def _cpu_has_bfloat16() -> bool:
    probe = getattr(torch.cpu, "get_capabilities", None)
    capabilities: dict[str, Any] = probe() if probe else {}
    return any(capabilities.get(name) is True for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _load_model(
    config: Any, name: str, precision: str, device: torch.device, arguments: dict[str, Any]
) -> tuple[Any, str | None]:
    dtype = torch.bfloat16 if precision == "bfloat16" and device.type != "cpu" else torch.float32
    load, quantised = AutoModelForCausalLM.from_pretrained, _is_quantised(config, name, device)
    # bitsandbytes packs weights on the GPU as they are read, and cannot move them.
    placed = {"device_map": {"": device}} if quantised else {}
    model, report = _read(
        "weights", name, load, config=config, dtype=dtype, output_loading_info=True, **placed, **arguments
    )
    headless = _check_complete(report, model, name)
    return model if quantised else _read("weights", name, model.to, device=device), headless


def _is_quantised(config: Any, name: str, device: torch.device) -> bool:
    """Whether the weights are quantised for bitsandbytes, which computes on CUDA only. Raises `SubjectError` for another device."""
    stated = getattr(config, "quantization_config", None)
    method = stated.get("quant_method") if isinstance(stated, dict) else getattr(stated, "quant_method", None)
    if "bitsandbytes" not in str(method).lower():
        return False
    if device.type != "cuda":
        raise SubjectError(
            f"subject {name} is quantised for bitsandbytes, which needs a CUDA GPU, and not {device.type}: use the model that was"
            " quantised, in float32 or bfloat16, or a machine with a GPU"
        )
    return True


def _empty_model(config: Any, name: str) -> Any:
    with torch.device("meta"):
        return _read("configuration", name, AutoModelForCausalLM.from_config, config=config, trust_remote_code=False)


_MEANINGS = {
    "Weights only load failed": "damaged, or pickled code, which is never run: save them as safetensors at their source",
    "ignore_mismatched_sizes": "their shapes are not those in config.json: download both again",
    "trust_remote_code": "they come with code of their own, which is never run: use a model whose architecture transformers has",
    "does not recognize this architecture": "this version of transformers does not have its architecture: update transformers",
    "bitsandbytes": "they are quantised for bitsandbytes, which is not installed or does not work here: `pip install bitsandbytes`",
    "gptq": "they are quantised by GPTQ: use the model that was quantised, in float32 or bfloat16",
    "awq": "they are quantised by AWQ: use the model that was quantised, in float32 or bfloat16",
    "sentencepiece": "it needs the package sentencepiece: `pip install sentencepiece`, or save the tokenizer as tokenizer.json",
    "protobuf": "it needs the package protobuf: `pip install protobuf`, or save the tokenizer as tokenizer.json",
    "tiktoken": "it needs the package tiktoken: `pip install tiktoken`, or save the tokenizer as tokenizer.json",
    "deserializing header": "a file of safetensors is damaged or only in part here: download it again",
}
"""Our wording of third-party errors whose own advice is unsafe, unclear or not for users of this program, by a part of their text."""
MOST_CONFIG_BYTES = 64 << 20
"""Largest config.json that is read."""
_LFS = b"version https://git-lfs"


def _read(part: str, name: str, load: Callable[..., Any], **arguments: Any) -> Any:
    """Call `load` for a part of the subject `name`, turning every error of the libraries into a `SubjectError` of one line."""
    try:
        return load(**arguments)
    except Exception as error:
        text = one_line(error, most=1000)
        if re.search(
            r"couldn't connect|offline mode|cannot find the requested files|cannot find an appropriate cached",
            text,
            re.I,
        ):
            offline = "HF_HUB_OFFLINE is set" if is_offline_mode() else "is the network up?"
            missing = missing_part(name)
            raise SubjectError(
                f"subject {name} is not on this machine{f' ({missing})' if missing else ''}, and the hub cannot be reached ({offline})"
            ) from None
        if "not a valid model identifier" in text or "401" in text or "Repository Not Found" in text:
            raise SubjectError(
                f"subject {name} is neither a local folder nor a readable model on the hub: check the name; gated models need"
                " `hf auth login`"
            ) from None
        if "out of memory" in text.lower():
            raise SubjectError(
                f"subject {name} does not fit into memory: choose a smaller model or subject.device = cpu"
            ) from None
        for excerpt, meaning in _MEANINGS.items():
            text = meaning if excerpt.lower() in text.lower() else text
        raise SubjectError(f"subject {name}: its {part} cannot be read: {text[:200] or type(error).__name__}") from None


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise SubjectError(f"subject {folder} has no config.json: give a folder in transformers' layout")
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise SubjectError(
            f"subject {folder} has no tokenizer ({', '.join(_TOKENIZER_FILES[:3])}): save the tokenizer beside the model"
        )
    if not _weight_files(folder):
        raise SubjectError(
            f"subject {folder} has no weights (*.safetensors or pytorch_model*.bin): save the model there"
        )
    if (size := (folder / "config.json").stat().st_size) > MOST_CONFIG_BYTES:
        raise SubjectError(
            f"subject {folder}: config.json has {size:,} bytes, at most {MOST_CONFIG_BYTES:,} are read: save it again"
        )
    for file in (folder / "config.json", *_weight_files(folder)):
        with file.open("rb") as stream:
            if stream.read(len(_LFS)) == _LFS:
                raise SubjectError(
                    f"subject {folder}: {file.name} is a pointer of Git LFS, not the file: run `git lfs pull` in its repository"
                )


def check_causal(config: Any, name: str) -> None:
    """Raise `SubjectError` unless, in a model with this configuration, each token depends only on itself and earlier ones."""
    known = config.model_type in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    bidirectional = config.model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(
        config, "is_decoder", False
    )
    bidirectional |= config.model_type == "xlnet"  # without a permutation mask, each token attends to all others
    if not known or bidirectional or getattr(config, "is_encoder_decoder", False):
        raise SubjectError(
            f"subject {name} ({config.model_type}) is not a causal language model: choose one, such as a Llama or GPT-2"
        )


def _check_complete(report: dict[str, Any], model: Any, name: str) -> str | None:
    """Names of the missing tensors of the output head, if any. transformers fills missing tensors with random numbers.

    Only the head may be missing, because it is needed for losses alone. Raises `SubjectError` if any other tensor is.
    """
    head = tuple(f"{path}." for path, module in model.named_modules() if module is model.get_output_embeddings())
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(head))
    if missing:
        raise SubjectError(
            f"subject {name} lacks {len(missing)} of its tensors, such as {missing[0]}: download it again"
        )
    return ", ".join(sorted(report["missing_keys"])) or None


def _weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def hub_fingerprint(name: str, commit: str | None) -> str:
    """The fingerprint of a model on the hub, whose commit determines every file."""
    return hashlib.sha256(json.dumps(["hub", name, commit]).encode()).hexdigest()


def folder_fingerprint(folder: Path) -> str:
    """The fingerprint of a model in a folder: the hash of its configuration, tokenizer and weights."""
    parts: list[list[str]] = []
    named = [folder / name for name in ("config.json", *_TOKENIZER_FILES, "merges.txt", "tokenizer_config.json")]
    for file in [f for f in named if f.is_file()] + _weight_files(folder):
        parts.append([file.name, file_hash(file)])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Within the block, keep progress bars, warnings and the hub's messages about retries off the terminal."""
    logging: Any = model_logging
    hub: Any = hub_logging
    verbosity, bars, hub_verbosity = logging.get_verbosity(), logging.is_progress_bar_enabled(), hub.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        hub.set_verbosity(hub_verbosity)
        if bars:
            logging.enable_progress_bar()
