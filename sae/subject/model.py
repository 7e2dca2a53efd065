"""The subject: a causal language model whose hook points can be read, and overwritten while its loss is measured."""

from __future__ import annotations

import copy
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
from sae.subject.special_tokens import Bos, choose_bos, special_ids

__all__ = ["Subject", "choose_device", "choose_precision", "load_subject", "outline_subject"]

_OWN_WIDTH = ("mlp_act", "attn_z")
"""Kinds of hook point that are not d_model wide."""


class Subject:
    """A loaded causal language model. `run` reads hook points, `width` returns their width.

    `fingerprint` is a sha-256 that identifies weights and tokenizer; `precision` is that of the forward pass.
    `special_ids` are run but never counted; `bos_id`, if not None, is put before each context, and `bos` says why. `headless` names the tensors of the
    output head that the checkpoint lacks, if any: such a model can be read, but has no loss.
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
        bos: Bos | None = None,
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
        self.bos = bos or choose_bos(tokenizer, model.config)
        self.bos_id = self.bos.id
        self.special_ids = special_ids(tokenizer)
        self._factors: dict[int, dict[str, float | None]] = {}

    def with_bos(self, setting: bool | None = None, trained_with: bool | None = None) -> Subject:
        """The same model, with BOS before contexts as `special_tokens.choose_bos` decides. Raises `SubjectError` as it does."""
        bos = choose_bos(self.tokenizer, self.model.config, setting=setting, trained_with=trained_with)
        if bos == self.bos:
            return self
        subject = copy.copy(self)
        subject.bos, subject.bos_id = bos, bos.id
        return subject

    def width(self, hook_point: str) -> int:
        """Width of a hook point: d_model, except for `mlp_act.L` (the number of MLP neurons) and `attn_z.L` (heads x d_head).

        Raises `SubjectError` for a missing layer, an unknown name, neurons of a mixture of experts, and hook points that the model
        does not have. Whether a block adds its sublayers unchanged is checked with the weights, so not for an outline.
        """
        site = self._site(hook_point)
        return hook_modules.input_width(site.module) if parse(hook_point)[0] in _OWN_WIDTH else self.d_model

    def neuron_hook_point(self, hook_point: str) -> str:
        """The hook point of the neurons to compare with: those of the MLP in the same layer."""
        _, layer = parse(hook_point)
        return f"mlp_act.{layer}"

    def run(self, tokens: Tensor, hook_points: Sequence[str]) -> dict[str, Tensor]:
        """Values at each hook point, float32 (B, T, width) on `device`, for token ids (B, T).

        The forward pass stops after the last of them. Padding goes on the right, where it does not affect a causal model.
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

        With `edit`, the pass runs with `edit(value at reads)` as the value at `writes`, by default `reads`: `edit` maps float32
        (B, T, width of reads) to a new tensor (B, T, width of writes). Raises `SubjectError` as `run` does, and without an output
        head.
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
        """Logits (B, vocabulary), float32, of the token after token ids (B, T), and a cache of all tokens read so far.

        With `cache`, the ids continue the tokens that it holds. A model without a cache returns None: give it the whole text each
        time. Raises `SubjectError` without an output head.
        """
        self._need_head()
        options: dict[str, Any] = {} if cache is None else {"past_key_values": cache}
        with self._arithmetic():
            out = self.model(input_ids=tokens.to(self.device), use_cache=True, **options, **self._last_only())
        return out.logits[:, -1].float(), getattr(out, "past_key_values", None)

    def last_logits(self, tokens: Tensor, cache: Any = None) -> Tensor:
        """Logits (B, vocabulary), float32, of the token after token ids (B, T), with their gradients unless these are switched off.

        The pass runs in the precision of the weights, without autocast: effects of single features are smaller than the rounding of
        bfloat16. With `cache`, from `prefix`, the ids continue its tokens. Raises `SubjectError` without an output head.
        """
        self._need_head()
        options: dict[str, Any] = (
            {"use_cache": False} if cache is None else {"past_key_values": cache, "use_cache": True}
        )
        out = self.model(input_ids=tokens.to(self.device), **options, **self._last_only())
        logits: Tensor = out.logits[:, -1].float()
        return logits

    @torch.no_grad()
    def prefix(self, ids: Tensor, rows: int) -> Any:
        """A cache of token ids (T,), repeated for `rows` texts that begin with them, in the precision of `last_logits`.

        None if the model has no cache that can be repeated.
        """
        out = self.model.base_model(input_ids=ids[None].to(self.device), use_cache=True)
        cache = getattr(out, "past_key_values", None)
        repeat = getattr(cache, "batch_repeat_interleave", None)
        if repeat is None:
            return None
        repeat(rows)
        return cache

    def editing(
        self, reads: str, edit: Callable[[Tensor], Tensor], shape: Sequence[int], *, writes: str | None = None
    ) -> AbstractContextManager[None]:
        """Within the block, passes over tokens of `shape` (B, T) run with `edit(value at reads)` as the value at `writes`.

        `writes` is `reads` by default; see `sae.subject.hooks.editing`. Raises `SubjectError` as `width` does.
        """
        kind, layer = parse(writes or reads)
        read_site, write_site = self._site(reads), self._site(writes or reads)
        stream = None
        if kind == "resid_mid":  # a residual connection bypasses the MLP: the block's output has to change as well
            self._site(f"mlp_out.{layer}")
            stream = self.blocks[layer]
        return hooks.editing(read_site, write_site, edit, shape, stream)

    def _last_only(self) -> dict[str, Any]:
        """The argument that asks for the logits of the last position alone, if the model has one."""
        return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(self.model.forward).parameters else {}

    def _need_head(self) -> None:
        if self.headless:
            raise SubjectError(
                f"subject {self.name} lacks {self.headless}, without which it has no predictions and no loss: download it again"
            )

    @torch.no_grad()
    def _read(self, tokens: Tensor, sites: dict[str, Site]) -> dict[str, Tensor]:
        if not sites:
            return {}
        with hooks.reading(sites, tokens.shape) as values, self._arithmetic():
            self.model.base_model(input_ids=tokens.to(self.device), use_cache=False)
        missing = [name for name in sites if name not in values]
        if missing:
            raise SubjectError(
                f"{self.name} did not run {', '.join(missing)} in its forward pass: choose another hook point"
            )
        for name, value in values.items():
            if parse(name)[0] not in _OWN_WIDTH and value.shape[-1] != self.d_model:
                raise SubjectError(
                    f"{name}: {self.name} has {value.shape[-1]} values per token there, not the {self.d_model} of its residual"
                    " stream: choose another model"
                )
        return {name: values[name] for name in sites}

    def _site(self, hook_point: str) -> Site:
        """The site of a hook point, after a check that its sublayer enters the residual stream unchanged. Raises `SubjectError`."""
        kind, layer = parse(hook_point)
        if kind == "embed":
            if layer:
                raise SubjectError(f"hook point {hook_point}: a model has one token embedding: use embed.0")
            return Site("output", self.model.get_input_embeddings())
        if layer >= self.n_layers:
            raise SubjectError(
                f"hook point {hook_point}: {self.name} has no layer {layer}: choose one of 0 to {self.n_layers - 1}"
            )
        block = self.blocks[layer]
        site = hook_modules.find_site(block, hook_point)
        if kind in ("resid_mid", "attn_out", "mlp_out") and self.device.type != "meta":
            if layer not in self._factors:
                self._factors[layer] = self._measure_factors(layer)
            factor = self._factors[layer][kind]
            if factor is None or (factor != 1 and kind != "resid_mid"):
                not_added = "does not stand between two plain additions to"
                reason = not_added if factor is None else f"is multiplied by {factor:.3g} before it is added to"
                raise SubjectError(
                    f"{hook_point}: in {type(block).__name__} this value {reason} the residual stream: choose another hook"
                    f" point, such as resid_post.{layer}"
                )
        return site

    def _measure_factors(self, layer: int) -> dict[str, float | None]:
        """The factors with which a block's sublayers enter the residual stream, from a pass over a few tokens."""
        sites: dict[str, Site] = {}
        for kind in hook_modules.STREAM:
            with suppress(SubjectError):
                sites[f"{kind}.{layer}"] = hook_modules.find_site(self.blocks[layer], f"{kind}.{layer}")
        values = self._read(torch.arange(8)[None] + 1, sites)
        eps = torch.finfo(torch.bfloat16 if self.precision == "bfloat16" else torch.float32).eps
        return hook_modules.residual_factors({parse(name)[0]: value for name, value in values.items()}, eps)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        """The context in which a forward pass runs."""
        if self.precision == "bfloat16" and self.device.type == "cpu":
            # On a CPU, float32 weights under autocast have half the error of bfloat16 weights at the same speed. Each weight is
            # used once per pass, so caching the casts would only cost memory.
            return torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False)
        return nullcontext()


def load_subject(model: str, *, revision: str | None = None, precision: str = "auto", device: str = "auto") -> Subject:
    """Load a hub id, a local folder or a `.gguf` file. Raises `SubjectError`, always one line.

    `precision`: "float32", "bfloat16", or "auto" for bfloat16 if the hardware computes it natively. `device`: "auto"
    (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
    """
    torch_device = choose_device(device)
    chosen_precision = choose_precision(precision, torch_device)
    return _subject(loading.load(model, chosen_precision, torch_device, revision), chosen_precision)


def outline_subject(model: str, *, revision: str | None = None, precision: str = "float32") -> Subject:
    """The subject without its weights, on the meta device: its configuration, widths, tokenizer and fingerprint.

    Raises `SubjectError` as `load_subject` does, except for damaged weights. A `.gguf` file is converted on first use.
    """
    return _subject(loading.load(model, "float32", torch.device("meta"), revision), precision)


def _subject(loaded: loading.Loaded, precision: str) -> Subject:
    return Subject(
        loaded.model,
        loaded.tokenizer,
        name=loaded.name,
        fingerprint=loaded.fingerprint,
        precision=precision,
        headless=loaded.headless,
    )
