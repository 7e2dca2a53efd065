"""The subject: a causal language model whose hook points can be read, and written while its loss is measured."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sae.errors import SubjectError
from sae.subject import hook_modules, hooks, loading
from sae.subject.hook_modules import Site
from sae.subject.hook_points import parse
from sae.subject.loading import choose_device, choose_precision

__all__ = ["Subject", "choose_device", "choose_precision", "load_subject", "outline_subject"]

_OWN_WIDTH = ("mlp_act", "attn_z")
"""Those that are not d_model wide."""


class Subject:
    """A loaded causal language model; `run` reads hook points, `width` says how wide they are.

    `fingerprint` is a sha-256 that identifies weights and tokenizer; `precision` is that of the forward pass.
    `special_ids` are run but never counted; `bos_id`, when not None, is put before each context. `headless` names what the
    checkpoint lacks of the output head: all is known of such a model but its loss.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        fingerprint: str,
        precision: str = "float32",
        headless: str | None = None,
    ) -> None:
        self.model = model.train(False)
        self.tokenizer = tokenizer
        self.name = name
        self.fingerprint = fingerprint
        self.precision = precision
        self.headless = headless
        self.device: torch.device = model.device
        config: Any = model.config.get_text_config(decoder=True)
        self.n_layers = int(getattr(config, "num_hidden_layers", 0))
        self.d_model = int(getattr(config, "hidden_size", 0))
        base: Any = model.base_model
        self.blocks = hook_modules.find_blocks(base.get_decoder(), self.n_layers)
        self.bos_id = _bos_id(model, tokenizer)
        self.special_ids = _special_ids(model, tokenizer)
        self._factors: dict[int, dict[str, float | None]] = {}

    def width(self, hook_point: str) -> int:
        """Width of a hook point: d_model, but of `mlp_act.L` the number of MLP neurons, of `attn_z.L` heads x d_head.

        Raises `SubjectError` on a missing layer, an unknown name, on neurons of a mixture of experts, and where the model has
        no such quantity. That a block adds its sublayers as they are is known only once there are weights: not of an outline.
        """
        site = self._site(hook_point)
        return hook_modules.input_width(site.module) if parse(hook_point)[0] in _OWN_WIDTH else self.d_model

    def neuron_hook_point(self, hook_point: str) -> str:
        """The neurons to compare with: those of the MLP in the hook point's own layer."""
        _, layer = parse(hook_point)
        return f"mlp_act.{layer}"

    def run(self, tokens: Tensor, hook_points: Sequence[str]) -> dict[str, Tensor]:
        """Activations of each hook point, float32 (B, T, width) on `device`, for token ids (B, T).

        The pass ends at the last of them. Padding goes on the right, where a causal model cannot see it.
        Raises `SubjectError` as `width` does.
        """
        return self._read(tokens, {name: self._site(name) for name in hook_points})

    @torch.no_grad()
    def losses(
        self,
        tokens: Tensor,
        *,
        reads: str | None = None,
        writes: str | None = None,
        edit: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Cross-entropy in nats of each next token, float32 (B, T - 1), for token ids (B, T).

        With `edit`, the pass runs with `edit(value at reads)` as the value of `writes`, which is `reads` if left out: float32
        (B, T, width of reads) to a new (B, T, width of writes). Raises `SubjectError` as `run` does, and without an output head.
        """
        self._need_head()
        editing: AbstractContextManager[Any] = nullcontext()
        if edit is not None and reads is not None:
            editing = self.editing(reads, edit, tokens.shape, writes=writes)
        tokens = tokens.to(self.device)
        with editing, self._arithmetic():
            logits = self.model(input_ids=tokens, use_cache=False).logits
        rows = [
            functional.cross_entropy(row[:-1].float(), ids[1:], reduction="none")
            for row, ids in zip(logits, tokens, strict=True)
        ]
        return torch.stack(rows)

    @torch.no_grad()
    def next_logits(self, tokens: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Logits (B, vocabulary), float32, of what follows token ids (B, T), and a cache of all that was read.

        With `cache`, the ids go on from what it holds. It is None for models that keep none: give those the whole text each
        time. Raises `SubjectError` without an output head.
        """
        self._need_head()
        known: dict[str, Any] = {} if cache is None else {"past_key_values": cache}
        if "logits_to_keep" in inspect.signature(self.model.forward).parameters:
            known["logits_to_keep"] = 1
        with self._arithmetic():
            out = self.model(input_ids=tokens.to(self.device), use_cache=True, **known)
        return out.logits[:, -1].float(), getattr(out, "past_key_values", None)

    def editing(
        self, reads: str, edit: Callable[[Tensor], Tensor], shape: Sequence[int], *, writes: str | None = None
    ) -> AbstractContextManager[None]:
        """Within the block, passes over tokens of `shape` (B, T) run with `edit(value at reads)` as the value of `writes`.

        `writes` is `reads` if left out; see `sae.hooks.editing`. Raises `SubjectError` as `width` does.
        """
        kind, layer = parse(writes or reads)
        source, place = self._site(reads), self._site(writes or reads)
        stream = None
        if kind == "resid_mid":  # a residual connection goes round the MLP: the block's output has to move as well
            self._site(f"mlp_out.{layer}")
            stream = self.blocks[layer]
        return hooks.editing(source, place, edit, shape, stream)

    def _need_head(self) -> None:
        if self.headless:
            raise SubjectError(
                f"subject {self.name} lacks {self.headless}, without which it predicts nothing and has no loss: download it again"
            )

    @torch.no_grad()
    def _read(self, tokens: Tensor, wanted: dict[str, Site]) -> dict[str, Tensor]:
        if not wanted:
            return {}
        with hooks.reading(wanted, tokens.shape) as values, self._arithmetic():
            self.model.base_model(input_ids=tokens.to(self.device), use_cache=False)
        missing = [name for name in wanted if name not in values]
        if missing:
            raise SubjectError(
                f"{self.name} never ran {', '.join(missing)} in its forward pass: choose another hook point"
            )
        for name, value in values.items():
            if parse(name)[0] not in _OWN_WIDTH and value.shape[-1] != self.d_model:
                raise SubjectError(
                    f"{name}: {self.name} has {value.shape[-1]} values a token there, not the {self.d_model} of its residual"
                    " stream: choose another model"
                )
        return {name: values[name] for name in wanted}

    def _site(self, hook_point: str) -> Site:
        kind, layer = parse(hook_point)
        if layer >= self.n_layers:
            raise SubjectError(
                f"hook point {hook_point}: {self.name} has no layer {layer}: choose one of 0 to {self.n_layers - 1}"
            )
        block = self.blocks[layer]
        site = hook_modules.find_site(block, hook_point)
        if kind in ("resid_mid", "attn_out", "mlp_out") and self.device.type != "meta":
            if layer not in self._factors:
                self._factors[layer] = self._measure(layer)
            factor = self._factors[layer][kind]
            if factor is None or (factor != 1 and kind != "resid_mid"):
                plain = "does not stand between two plain additions to"
                does = plain if factor is None else f"is multiplied by {factor:.3g} before it is added to"
                raise SubjectError(
                    f"{hook_point}: in {type(block).__name__} this value {does} the residual stream: choose another hook"
                    f" point, such as resid_post.{layer}"
                )
        return site

    def _measure(self, layer: int) -> dict[str, float | None]:
        """By what factor the sublayers of a block enter the residual stream, from a pass over a few tokens."""
        wanted: dict[str, Site] = {}
        for kind in hook_modules.STREAM:
            with suppress(SubjectError):
                wanted[f"{kind}.{layer}"] = hook_modules.find_site(self.blocks[layer], f"{kind}.{layer}")
        values = self._read(torch.arange(8)[None] + 1, wanted)
        eps = torch.finfo(torch.bfloat16 if self.precision == "bfloat16" else torch.float32).eps
        return hook_modules.factors({parse(name)[0]: value for name, value in values.items()}, eps)

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
    return _subject(loading.load(model, arithmetic, where, revision), arithmetic)


def outline_subject(model: str, *, revision: str | None = None) -> Subject:
    """A subject as `load_subject` gives it, on the meta device: without its weights all of it is known but what it computes.

    Raises `SubjectError` as `load_subject` does, except for weights that are damaged. A `.gguf` file is converted on first use.
    """
    return _subject(loading.load(model, "float32", torch.device("meta"), revision), "float32")


def _subject(loaded: loading.Loaded, precision: str) -> Subject:
    return Subject(
        loaded.model,
        loaded.tokenizer,
        name=loaded.name,
        fingerprint=loaded.fingerprint,
        precision=precision,
        headless=loaded.headless,
    )


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
