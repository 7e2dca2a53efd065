"""The inputs of `gpu_check.py`: subjects, corpora and dictionaries built from configurations and seeds, and their harvests."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from harvest import peak_mib
from torch.nn.functional import normalize

from sae.corpus.corpus import CONTEXT, Corpus
from sae.dictionary import Dictionary
from sae.formats.load import load_dictionary
from sae.harvest import harvest
from sae.harvest.exemplars import Selection, tables
from sae.harvest.harvest import HarvestPlan, Reading, UnitReader, new_sketch, norm_limit, read_shard
from sae.harvest.sketch import Quota, Sketch
from sae.harvest.units import sample_units
from sae.subject.model import Subject

SELECTION = Selection(bins=5, per_bin=5, top=10, shown_top=20, spread=2, explain_silent=4, silent=8, min_documents=4)
QUOTA = Quota(explain=2, judge=6, silent=64, top=20)


@dataclass(frozen=True)
class Size:
    """A subject (`layers`, `width`), its corpus (`tokens` in contexts of `context`), a dictionary of `latents`, of which `active` are
    active per token, and the number of features, and of signed neurons, that are read."""

    layers: int
    width: int
    vocabulary: int
    tokens: int
    context: int
    latents: int
    active: int
    units: int
    batch_tokens: int

    @property
    def hook_point(self) -> str:
        return f"resid_post.{self.layers // 2}"


@dataclass(frozen=True)
class Scale:
    """Sizes of all checks. `small` is compared with the CPU; `large` is timed, with dictionaries of `latents`."""

    small: Size
    large: Size
    latents: tuple[int, ...]
    timed_features: int
    stretch: int
    rounds: int
    ratio_limit: float
    memory_limit_mib: float
    patience_s: float
    """How long the two processes may take: a limit for hung ones, not a measurement. A test runs on busy machines."""


FULL = Scale(
    small=Size(6, 512, 8192, 65_536, 256, latents=8192, active=32, units=256, batch_tokens=1024),
    large=Size(12, 2048, 32_000, 600_000, 512, latents=16_384, active=32, units=256, batch_tokens=4096),
    latents=(16_384, 262_144), timed_features=4096, stretch=65_536, rounds=5, ratio_limit=2.0, memory_limit_mib=24_576,
    patience_s=100.0,
)  # fmt: skip
TINY = Scale(
    small=Size(2, 32, 200, 8192, 64, latents=64, active=4, units=16, batch_tokens=128),
    large=Size(2, 32, 200, 12_000, 64, latents=128, active=4, units=16, batch_tokens=256),
    latents=(128, 512), timed_features=64, stretch=1024, rounds=2, ratio_limit=float("inf"), memory_limit_mib=float("inf"),
    patience_s=900.0,
)  # fmt: skip


Tables = tuple[pd.DataFrame, pd.DataFrame]
"""Units and exemplars of a harvest."""


Found = tuple[str, bool, dict[str, float | str]]
"""A check's name, whether it passed, and its figures."""


def tokenizer(vocabulary: int) -> Any:
    """A tokenizer of the words w0, w1, ..."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(vocabulary)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words)


def subject(size: Size, device: str, precision: str = "float32", *, built_on: str = "cpu") -> Subject:
    """A Llama of random weights on a device, the same in every process where `built_on` is the same.

    On a GPU, bfloat16 means weights in bfloat16, as when a subject is loaded.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = max(2, size.width // 64)
    config = LlamaConfig(
        num_hidden_layers=size.layers, hidden_size=size.width, intermediate_size=4 * size.width, vocab_size=size.vocabulary,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=1024, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(built_on):
        model: Any = LlamaForCausalLM(config)
        torch.nn.init.normal_(model.model.embed_tokens.weight, std=0.5)
    rounded = precision == "bfloat16" and torch.device(device).type != "cpu"
    model = model.to(device=device, dtype=torch.bfloat16 if rounded else torch.float32)
    return Subject(model, tokenizer(size.vocabulary), name="random", fingerprint="random", precision=precision)


def corpus(size: Size) -> Corpus:
    """Tokens drawn by Zipf's law, packed into contexts, four of which are a document."""
    tokens = (np.random.default_rng(0).zipf(1.2, size.tokens) % size.vocabulary).astype(np.uint32)
    starts = np.arange(0, size.tokens - size.context + 1, size.context)
    rows = [(i // 4, size.context * (i % 4), start, size.context) for i, start in enumerate(starts)]
    contexts = np.array(rows, dtype=CONTEXT)
    return Corpus(tokens, contexts, len(contexts), size.tokens, "random", None, frozenset())


@torch.inference_mode()
def dictionary(size: Size, kind: str, of: Subject, text: Corpus) -> Dictionary:
    """A dictionary on the CPU, as one that is read from a file; its features are directions of single tokens, `active` of them active
    per token. `kind`: relu, jumprelu, topk, groupmax."""
    rows = np.arange(min(len(text.contexts), 16_384 // size.context))
    x = of.run(torch.as_tensor(text.batch(rows)[0]), [size.hook_point])[size.hook_point].flatten(0, 1)
    mean = x.mean(dim=0)
    generator = torch.Generator(x.device).manual_seed(0)
    drawn = torch.randint(len(x), (size.latents,), generator=generator, device=x.device)
    W = normalize(x[drawn] - mean, dim=1)
    W = normalize(W + 0.05 * torch.randn(W.shape, generator=generator, device=x.device), dim=1)
    n = max(1, round(len(x) * size.active / size.latents))
    parts = W.split(max(1, (1 << 28) // len(x)))
    floor = torch.cat([((x - mean) @ part.T).topk(n, dim=0).values[-1] for part in parts])
    floor = floor.clamp(min=0) * 0.99  # no token lies on a threshold, where rounding would decide
    W, mean, floor = W.cpu(), mean.cpu(), floor.cpu()
    b_enc = -floor if kind == "relu" else torch.zeros(size.latents)
    activation: Any = kind
    return Dictionary(
        W_enc=W, W_dec=W, b_dec=mean, b_enc=b_enc, activation=activation, hook_point=size.hook_point, apply_b_dec_to_input=True,
        threshold=floor if kind == "jumprelu" else None, k=size.active if kind in ("topk", "groupmax") else None,
    )  # fmt: skip


def write_batchtopk(folder: Path, like: Dictionary, size: Size) -> None:
    """Write a batch-wise TopK in dictionary_learning's layout with the weights of a jumprelu."""
    folder.mkdir()
    assert like.threshold is not None
    tensors = {
        "encoder.weight": like.W_enc, "encoder.bias": like.b_enc, "decoder.weight": like.W_dec.T.contiguous(),
        "b_dec": like.b_dec, "threshold": like.threshold.median(), "k": torch.tensor(size.active),
    }  # fmt: skip
    torch.save(tensors, folder / "ae.pt")
    trainer = {"dict_class": "BatchTopKSAE", "k": size.active, "activation_dim": like.d_in, "dict_size": like.d_sae}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer}))


def plan(size: Size, of: Subject, latents: int, *, features: int | None = None) -> HarvestPlan:
    """A plan that reads `features` of the dictionary's features, by default the size's number, and as many signed neurons."""
    n_mlp = of.width(of.neuron_hook_point(size.hook_point))
    read = min(latents, size.units if features is None else features)
    units = sample_units(latents, n_mlp, features=read, neurons=min(size.units, 2 * n_mlp), seed=0)
    return HarvestPlan(units, QUOTA, 48, skip_positions=1, max_norm_ratio=10.0, seed=0, batch_tokens=size.batch_tokens)


class World:
    """The inputs of all checks, on the CPU and on the device."""

    def __init__(self, device: str, scale: Scale) -> None:
        self.device, self.scale, self.size = device, scale, scale.small
        self.text = corpus(self.size)
        self.folder = tempfile.TemporaryDirectory(prefix="gpu-check-")
        self._dictionaries: dict[str, Dictionary] = {}
        self._expected: dict[str, Tables] = {}

    @cached_property
    def reference(self) -> Subject:
        """The subject on the CPU, in float32."""
        return subject(self.size, "cpu")

    def dictionary(self, kind: str) -> Dictionary:
        """One dictionary of each kind, made from the subject's values on the CPU."""
        if kind not in self._dictionaries:
            if kind == "batchtopk":
                folder = Path(self.folder.name) / kind
                write_batchtopk(folder, self.dictionary("jumprelu"), self.size)
                made = self.read_batchtopk(folder)
            else:
                made = dictionary(self.size, kind, self.reference, self.text)
            self._dictionaries[kind] = made
        return self._dictionaries[kind]

    def read_batchtopk(self, folder: Path) -> Dictionary:
        return load_dictionary(str(folder), hook_point=self.size.hook_point)

    def expected(self, kind: str) -> Tables:
        """The tables of the CPU's harvest in float32."""
        if kind not in self._expected:
            self._expected[kind] = exemplars(self, self.reference, self.dictionary(kind))
        return self._expected[kind]

    def harvest(self, of: Subject, read: Dictionary) -> tuple[Sketch, HarvestPlan]:
        """A sketch of the whole corpus."""
        reading = start(of, read, self.text, plan(self.size, of, read.d_sae))
        for shard in self.shards():
            read_shard([reading], self.text, shard)
        return reading.sketch, reading.plan

    def shards(self) -> list[harvest.Shard]:
        return harvest.shards(self.text, 1, self.size.batch_tokens)

    def harvest_part(self, file: Path) -> None:
        """Harvest every second shard from number N on, N.npz being the file, with the batch-wise TopK beside it. Save the sketch."""
        read = self.read_batchtopk(file.parent / "batchtopk")
        of = subject(self.size, self.device)
        reading = start(of, read, self.text, plan(self.size, of, read.d_sae))
        for shard in self.shards()[int(file.stem) :: 2]:
            read_shard([reading], self.text, shard)
        harvest.save(file, reading.sketch, 0.0)
        print(memory_mib(of.device))


def start(of: Subject, read: Dictionary, text: Corpus, settings: HarvestPlan) -> Reading:
    reader = UnitReader(of, read, settings.units)
    return Reading(reader, settings, norm_limit(reader, text, settings), new_sketch(settings, of.device))


def memory_mib(device: torch.device) -> float:
    """Peak memory of this process, in MiB: reserved on a GPU, or resident."""
    return torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else peak_mib()


def exemplars(world: World, of: Subject, read: Dictionary) -> Tables:
    """The tables of units and exemplars of a harvest. Texts are left out."""
    sketch, settings = world.harvest(of, read)
    hook_points = {"feature": read.hook_point, "neuron": of.neuron_hook_point(read.hook_point)}
    return tables(sketch, world.text, settings.units, hook_points, SELECTION, lambda ids: [f"w{i}" for i in ids])
