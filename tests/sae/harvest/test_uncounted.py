"""The mask of counted tokens: that of every window equals the definition, however the harvest is cut, saved and merged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.sae.tiny_dictionaries import D_SAE, D, dictionary
from tokenizers import Tokenizer, models
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from sae.corpus.context_writer import CONTEXT
from sae.corpus.corpus import Corpus
from sae.harvest import harvest
from sae.harvest.exemplars import Selection, tables
from sae.harvest.sketch import Quota, Sketch
from sae.harvest.uncounted import UncountedTokens, counted_mask
from sae.harvest.units import sample_units
from sae.subject.model import Subject

SKIP, SPECIAL, TEMPLATE = 2, 9, [50, 51, 52, 400]
SELECTION = Selection(bins=10, per_bin=2, top=4, shown_top=4, spread=4, explain_silent=4, silent=4, min_documents=2)


@pytest.fixture(scope="module")
def text() -> Corpus:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 40, 60)
    starts = np.cumsum(lengths) - lengths
    rows = np.array([(i, 0, s, n) for i, (s, n) in enumerate(zip(starts, lengths, strict=True))], dtype=CONTEXT)
    tokens = rng.integers(2, 30, lengths.sum()).astype(np.uint32)
    return Corpus(tokens, rows, len(rows), len(tokens), "x", 1, frozenset({SPECIAL}), np.array(TEMPLATE))


@pytest.fixture(scope="module")
def reading(text: Corpus) -> harvest.Reading:
    """A subject in which token 7 has a massive norm, and a dictionary that is active everywhere."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=D, n_layer=2, n_head=2, vocab_size=30, n_positions=64))
    with torch.no_grad():
        model.transformer.wte.weight[7] *= 1000
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    subject = Subject(model, tokenizer, name="gpt2", fingerprint="x", precision="float32")
    units = sample_units(D_SAE, 4 * D, features=20, neurons=20, seed=0)
    plan = harvest.HarvestPlan(units, Quota(2, 3, 6, 4), 16, SKIP, max_norm_ratio=10, seed=0, batch_tokens=128)
    reader = harvest.UnitReader(subject, dictionary("relu"), units)
    return harvest.Reading(reader, plan, harvest.norm_limit(reader, text, plan), harvest.new_sketch(plan))


def read(reading: harvest.Reading, text: Corpus, folder: Path | None = None) -> Sketch:
    """The sketch of the whole text; with a folder, of shards that are saved there, restored and merged last first."""
    parts = []
    for number, shard in enumerate(harvest.shards(text, 1 if folder else 1 << 20, 4)):
        part = replace(reading, sketch=harvest.new_sketch(reading.plan))
        harvest.read_shard([part], text, shard)
        if folder:
            harvest.save(folder / f"{number}.npz", part.sketch, 0.0)
        parts.append(harvest.restore(folder / f"{number}.npz", reading.plan, "cpu")[0] if folder else part.sketch)
    sketch = parts.pop()
    for part in reversed(parts):
        sketch.merge(part)
    return sketch


def exemplars(sketch: Sketch, reading: harvest.Reading, text: Corpus) -> pd.DataFrame:
    names = {"feature": "resid_post.1", "neuron": "mlp_act.1"}
    return tables(sketch, text, reading.plan.units, names, SELECTION, lambda ids: [f" t{i}" for i in ids])[1]


def test_windows_are_masked_and_silent_at_first_positions_special_template_and_massive_tokens(
    reading: harvest.Reading, text: Corpus
) -> None:
    table = exemplars(read(reading, text), reading, text)
    offset = dict(zip(text.contexts["document"].tolist(), text.contexts["offset"].tolist(), strict=True))
    reasons = {"first": 0, "special": 0, "template": 0, "massive": 0}
    for row in table.itertuples():
        start = row.position - row.mark
        for i, (token, a, counted) in enumerate(zip(row.tokens, row.token_activations, row.counted, strict=True)):
            why = {
                "first": start + i < SKIP,
                "special": token == f" t{SPECIAL}",
                "template": offset[row.document] + start + i in TEMPLATE,
                "massive": token == " t7",
            }
            assert counted == (not any(why.values())), (row.exemplar_id, i, why)
            assert counted or a == 0
            for reason, holds in why.items():
                reasons[reason] += holds
        assert row.counted[row.mark]
    assert all(n > 5 for n in reasons.values()), reasons
    assert len(table) > 500


def test_saving_and_merging_shards_changes_no_mask(reading: harvest.Reading, text: Corpus, tmp_path: Path) -> None:
    whole, merged = read(reading, text), read(reading, text, tmp_path)
    assert len(list(tmp_path.iterdir())) > 3
    np.testing.assert_array_equal(whole.uncounted.ordinals(), merged.uncounted.ordinals())
    pd.testing.assert_frame_equal(exemplars(whole, reading, text), exemplars(merged, reading, text), rtol=1e-2)


def test_a_shard_of_an_earlier_version_makes_a_table_of_that_version(reading: harvest.Reading, text: Corpus) -> None:
    old, new = harvest.new_sketch(reading.plan), read(reading, text)
    old.restore({name: array for name, array in new.state().items() if name != "uncounted"})
    assert "counted" not in exemplars(old, reading, text)
    merged = harvest.new_sketch(reading.plan)
    merged.merge(old)
    assert "counted" not in exemplars(merged, reading, text)


@given(st.lists(st.integers(0, 60), unique=True), st.integers(0, 50), st.integers(0, 20), st.integers(1, 5))
def test_a_mask_is_false_at_the_ordinals_that_were_added(ordinals: list[int], first: int, n: int, parts: int) -> None:
    uncounted = UncountedTokens()
    for part in range(parts):
        other = UncountedTokens()
        other.add(torch.tensor(ordinals[part::parts], dtype=torch.int64))
        uncounted.merge(other)
    known = uncounted.ordinals()
    assert known is not None
    assert counted_mask(known, first, n).tolist() == [i not in ordinals for i in range(first, first + n)]
