"""The subject: a causal language model whose hook points can be read.

Models come from transformers: a hub id, a local folder, or a `.gguf` file. Code shipped with a model is never run, and
pickled weights are only read with `torch.load(weights_only=True)`, and only where there are no safetensors.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sae import gguf, hooks
from sae.errors import SubjectError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PRECISIONS = ("float32", "bfloat16")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


class Subject:
    """A loaded causal language model; `run` reads hook points, `width` says how wide they are.

    `fingerprint` is a sha-256 that identifies weights and tokenizer; `precision` is that of the forward pass.
    `special_ids` are run but never counted; `bos_id`, when not None, is put before each context.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        fingerprint: str,
        precision: str = "float32",
    ) -> None:
        config = model.config.get_text_config()
        self.model = model.train(False)
        self.tokenizer = tokenizer
        self.name = name
        self.fingerprint = fingerprint
        self.precision = precision
        self.device: torch.device = model.device
        self.n_layers = int(config.num_hidden_layers)
        self.d_model = int(config.hidden_size)
        self.blocks = hooks.find_blocks(model.base_model, self.n_layers)
        self.bos_id = _bos_id(model, tokenizer)
        self.special_ids = _special_ids(model, tokenizer)

    def width(self, hook_point: str) -> int:
        """Width of a hook point: d_model for `resid_post.L`, the number of MLP neurons for `mlp_act.L`.

        Raises `SubjectError` on a missing layer, an unknown name, and on neurons of a mixture of experts.
        """
        side, module = self._site(hook_point)
        return self.d_model if side == "output" else hooks.input_width(module)

    def neuron_hook_point(self, hook_point: str) -> str:
        """The neurons to compare with: the MLP that feeds `resid_post.L` is `mlp_act.L`."""
        _, layer = hooks.parse(hook_point)
        return f"mlp_act.{layer}"

    @torch.no_grad()
    def run(self, tokens: Tensor, hook_points: Sequence[str]) -> dict[str, Tensor]:
        """Activations of each hook point, float32 (B, T, width) on `device`, for token ids (B, T).

        The pass ends at the last of them. Padding goes on the right, where a causal model cannot see it.
        Raises `SubjectError` as `width` does.
        """
        sites = {name: self._site(name) for name in hook_points}
        if not sites:
            return {}
        with hooks.reading(sites, tokens.shape) as values, self._arithmetic():
            self.model.base_model(input_ids=tokens.to(self.device), use_cache=False)
        missing = [name for name in sites if name not in values]
        if missing:
            raise SubjectError(
                f"{self.name} never ran {', '.join(missing)} in its forward pass: choose another hook point"
            )
        return values

    def _site(self, hook_point: str) -> tuple[str, nn.Module]:
        kind, layer = hooks.parse(hook_point)
        if layer >= self.n_layers:
            raise SubjectError(
                f"hook point {hook_point}: {self.name} has no layer {layer}: choose one of 0 to {self.n_layers - 1}"
            )
        block = self.blocks[layer]
        return ("output", block) if kind == "resid_post" else ("input", hooks.down_projection(block, hook_point))

    def _arithmetic(self) -> AbstractContextManager[Any]:
        if self.precision == "bfloat16" and self.device.type == "cpu":
            # float32 weights under autocast err half as much as bfloat16 weights, and are as fast on CPUs. Each weight is
            # used once a pass, so that keeping the casts would only cost memory.
            return torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False)
        return nullcontext()


def load_subject(model: str, *, revision: str | None = None, precision: str = "auto", device: str = "auto") -> Subject:
    """Load a hub id, a local folder or a `.gguf` file. Raises `SubjectError`, always one line.

    `precision`: "float32", "bfloat16", or "auto" for bfloat16 where the hardware computes it natively. `device`: "auto"
    (a GPU when there is one), "cpu", "cuda", "cuda:1", "mps".
    """
    where = choose_device(device)
    arithmetic = choose_precision(precision, where)
    source, name = _locate(model)
    return _load(source, name, arithmetic, where, revision)


def outline_subject(model: str, *, revision: str | None = None) -> Subject:
    """A subject as `load_subject` gives it, on the meta device: without its weights all of it is known but what it computes.

    Raises `SubjectError` as `load_subject` does, except for weights that are damaged. A `.gguf` file is converted on first use.
    """
    source, name = _locate(model)
    return _load(source, name, "float32", torch.device("meta"), revision)


def _locate(model: str) -> tuple[Path | str, str]:
    """Where a subject lies, a folder (a Path) or on the hub (a str), and its name. Raises `SubjectError`."""
    path = Path(model).expanduser()
    if model.endswith(".gguf") and path.is_file():
        with _quiet():
            return gguf.unpack(path), path.stem
    if path.is_dir():
        return path, path.absolute().name
    if path.exists():
        raise SubjectError(f"subject {model} is a file: give its folder, a .gguf file or a hub id")
    if model.endswith(".gguf") or not _HUB_ID.fullmatch(model):
        raise SubjectError(f"subject {model} does not exist: check the path, or give a hub id such as owner/name")
    return model, model


def choose_device(device: str) -> torch.device:
    """The device named, or for "auto" the best there is. Raises `SubjectError` when it is not there."""
    mps = torch.backends.mps.is_available()
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise SubjectError(f"device {device!r} is not known: use auto, cpu, cuda, cuda:1 or mps") from None
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    present = (
        chosen.type == "cpu" or (chosen.type == "cuda" and (chosen.index or 0) < gpus) or (chosen.type == "mps" and mps)
    )
    if not present:
        raise SubjectError(f"device {device!r} is not on this machine ({gpus} CUDA devices): use auto or cpu")
    return chosen


def choose_precision(precision: str, device: torch.device) -> str:
    """ "float32" or "bfloat16"; for "auto", bfloat16 where `device` computes it natively. Raises `SubjectError`."""
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


def _load(source: Path | str, name: str, precision: str, device: torch.device, revision: str | None) -> Subject:
    """Load from a folder (a Path) or from the hub (a str); onto the meta device without reading weights."""
    from transformers import AutoConfig, AutoTokenizer

    if isinstance(source, Path):
        _check_folder(source)
    where: dict[str, Any] = {
        "pretrained_model_name_or_path": str(source),
        "revision": revision or "main",
        "trust_remote_code": False,
    }
    with _quiet():
        config = _reading("configuration", name, AutoConfig.from_pretrained, **where)
        _check_causal(config, name)
        tokenizer = _reading("tokenizer", name, AutoTokenizer.from_pretrained, **where)
        if device.type == "meta":
            model = _empty_model(config, name)
        else:
            model = _loaded_model(config, name, precision, device, where)
    if isinstance(source, Path):
        fingerprint = _folder_fingerprint(source)
    else:  # a commit fixes every file of the repository
        fingerprint = hashlib.sha256(json.dumps(["hub", source, config._commit_hash]).encode()).hexdigest()
    return Subject(model, tokenizer, name=name, fingerprint=fingerprint, precision=precision)


def _loaded_model(config: Any, name: str, precision: str, device: torch.device, where: dict[str, Any]) -> Any:
    from transformers import AutoModelForCausalLM

    weights = torch.bfloat16 if precision == "bfloat16" and device.type != "cpu" else torch.float32
    load = AutoModelForCausalLM.from_pretrained
    model, report = _reading("weights", name, load, config=config, dtype=weights, output_loading_info=True, **where)
    _check_complete(report, model, name)
    return _reading("weights", name, model.to, device=device)


def _empty_model(config: Any, name: str) -> Any:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return _reading("configuration", name, AutoModelForCausalLM.from_config, config=config, trust_remote_code=False)


_MEANINGS = {
    "Weights only load failed": "damaged, or pickled code, which is never run: save them as safetensors where they come from",
    "ignore_mismatched_sizes": "their shapes are not those that config.json gives: download both again",
}
"""What some third-party errors mean, where their own advice is unsafe or names nothing."""


def _reading(what: str, name: str, load: Callable[..., Any], **arguments: Any) -> Any:
    """Call `load`, turning whatever the third-party readers raise into one line."""
    from huggingface_hub import is_offline_mode

    try:
        return load(**arguments)
    except Exception as error:
        text = " ".join(str(error).split())
        if re.search(
            r"couldn't connect|offline mode|cannot find the requested files|cannot find an appropriate cached",
            text,
            re.I,
        ):
            offline = "HF_HUB_OFFLINE is set" if is_offline_mode() else "is the network up?"
            raise SubjectError(
                f"subject {name} is not on this machine and the hub cannot be reached ({offline})"
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
        for sign, meaning in _MEANINGS.items():
            text = meaning if sign in text else text
        raise SubjectError(f"subject {name}: its {what} cannot be read: {text[:200] or type(error).__name__}") from None


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


def _check_causal(config: Any, name: str) -> None:
    from transformers.models.auto import modeling_auto as auto

    known = config.model_type in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    bidirectional = config.model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(
        config, "is_decoder", False
    )
    if not known or bidirectional or getattr(config, "is_encoder_decoder", False):
        raise SubjectError(
            f"subject {name} ({config.model_type}) is not a causal language model: choose one, such as a Llama or GPT-2"
        )


def _check_complete(report: dict[str, Any], model: Any, name: str) -> None:
    """transformers fills missing tensors with random numbers; only the output head, which is never run, may be absent."""
    head = tuple(f"{path}." for path, module in model.named_modules() if module is model.get_output_embeddings())
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(head))
    if missing:
        raise SubjectError(
            f"subject {name} lacks {len(missing)} of its tensors, such as {missing[0]}: download it again"
        )


def _weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def _folder_fingerprint(folder: Path) -> str:
    parts: list[list[str]] = []
    named = [folder / name for name in ("config.json", *_TOKENIZER_FILES, "merges.txt", "tokenizer_config.json")]
    for file in [f for f in named if f.is_file()] + _weight_files(folder):
        with file.open("rb") as stream:
            parts.append([file.name, hashlib.file_digest(stream, "sha256").hexdigest()])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _bos_id(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id to put before each context: what the tokenizer itself adds; Gemma was never trained without it."""
    bos = tokenizer.bos_token_id
    if not isinstance(bos, int):
        return None
    adds = tokenizer("a").input_ids[:1] == [bos] or bool(getattr(tokenizer, "add_bos_token", False))
    return bos if adds or model.config.model_type.startswith("gemma") else None


def _special_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    ids = {int(i) for i in tokenizer.all_special_ids}
    ids |= {int(i) for i, token in getattr(tokenizer, "added_tokens_decoder", {}).items() if token.special}
    config = model.config.get_text_config()
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = getattr(config, name, None)
        ids |= set(value) if isinstance(value, (list, tuple)) else {value} if isinstance(value, int) else set()
    return frozenset(ids)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars, warnings and the hub's notes on its retries off the terminal while loading."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as model_logging

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
