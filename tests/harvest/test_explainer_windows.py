"""Aids to the explainer over the planted world: contrast windows, neighbours, directions and logit effects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.planted_world import layered
from support.planted_world import world as planted
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from autointerp import records
from autointerp.harvest import explainer_windows
from autointerp.harvest.inputs import open_inputs
from autointerp.harvest.makers import explainer_windows as makers
from autointerp.pipeline import prepare as preparation
from autointerp.progress import Progress, quiet
from autointerp.records import Exemplar
from autointerp.run import Run
from autointerp.stats import aid_effects
from sae.analysis import directions
from sae.analysis import explainer_windows as sae_windows
from sae.analysis.directions import final_norm, logit_effects, nearest, nearest_within
from sae.analysis.unit_probe import ContextActivations, read_contexts
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.formats.load import load_dictionary
from sae.harvest.harvest import UnitReader
from sae.harvest.token_positions import EXPLAIN, split_of
from sae.harvest.units import UnitKey
from sae.subject.model import Subject, load_subject
from sae.subject.token_text import token_texts

pytestmark = pytest.mark.usefixtures("one_thread")

ALL = {"compare": ["contrast", "neighbours", "logits", "revise"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("aids") / "world", documents=200)


@pytest.fixture(scope="module")
def run(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> Run:
    # Neurons of a gated MLP fire, if weakly, at nearly every word; features answer to their words alone.
    spec = world.spec(explain=ALL, score={"per_bin": 1}, dictionary={"check": False})
    with Progress(quiet=True) as progress:
        return preparation.prepare(spec, tmp_path_factory.mktemp("results"), progress)


def found(run: Run) -> dict[str, records.Aids]:
    return {
        u: explainer_windows.aids_of_unit(run.harvest, run.spec, u) for u in run.units if run.units[u].kind != "planted"
    }


def fires(world: planted.World, unit_id: str, word: str) -> bool:
    return planted.loudness(word)[0] in world.answers(unit_id)


def words(exemplar: Exemplar) -> list[str]:
    return [token.strip() for token in exemplar.tokens]


# Windows


def test_windows_are_silent_or_active_as_their_role_says(run: Run, world: planted.World) -> None:
    counts = {"contrast": 0, "neighbours": 0, "active": 0, "silent": 0}
    for unit_id, mine in found(run).items():
        if not unit_id.startswith("feature"):
            continue
        for window in (*mine.contrast, *mine.neighbours, *mine.held_out):
            assert len(window.tokens) == run.spec.harvest.window_tokens
            truth = [fires(world, unit_id, word) for word in words(window)]
            shown = [a > 0 for a in window.token_activations]
            # The first word of a context fires without being counted.
            assert all(t or not s for t, s in zip(truth, shown, strict=True))
            assert shown[window.mark] == truth[window.mark] == (window.activation > 0)
        counts["contrast"] += len(mine.contrast)
        counts["neighbours"] += len(mine.neighbours)
        for window in (*mine.contrast, *mine.neighbours):
            assert window.activation == 0
        active = [window for window in mine.held_out if window.activation > 0]
        counts["active"] += len(active)
        counts["silent"] += len(mine.held_out) - len(active)
    assert counts["contrast"] == 0, "a feature fires at all its words: none of them is a contrast"
    assert counts["neighbours"] > 20
    assert counts["active"] == 6 * len(world.features)
    assert counts["silent"] == 6 * len(world.features)


def test_windows_come_from_the_explaining_split_and_from_different_documents(run: Run) -> None:
    keys = open_inputs(run.spec, quiet).corpus.keys
    assert keys is not None
    for unit_id, mine in found(run).items():
        windows = [*mine.contrast, *mine.neighbours, *mine.held_out]
        documents = [window.document for window in windows]
        assert len(set(documents)) == len(documents)
        assert (split_of(torch.from_numpy(keys[documents]), run.spec.units.seed) == EXPLAIN).all()
        explained = {e.document for e in run.exemplars[unit_id] if e.role.startswith("explain")}
        judged = {e.document for e in run.exemplars[unit_id] if e.role in ("score", "quiet")}
        assert not set(documents) & (explained | judged)


def test_neighbours_share_a_concept(run: Run, world: planted.World) -> None:
    for unit_id in (f"feature-{i}" for i in range(len(world.features))):
        sharing = {
            f"feature-{i}"
            for i, other in enumerate(world.features)
            if f"feature-{i}" != unit_id and set(other) & set(world.answers(unit_id))
        }
        # At most eight are listed, and noise features share filler words with few.
        assert set(run.neighbours[unit_id]) == sharing or len(sharing) > makers.NEAREST
        for window in explainer_windows.aids_of_unit(run.harvest, run.spec, unit_id).neighbours:
            assert any(fires(world, other, words(window)[window.mark]) for other in sharing)


def test_only_requested_aids_are_made_and_shown(run: Run, world: planted.World) -> None:
    unit_id = next(unit_id for unit_id, near in run.neighbours.items() if near)
    everything = explainer_windows.aids_of_unit(run.harvest, run.spec, unit_id)
    assert everything.only(explainer_windows.requested_aids(run.spec)) == records.Aids()
    shown = everything.only(explainer_windows.requested_aids(run.spec, "neighbours"))
    assert shown.neighbours
    assert shown == records.Aids(neighbours=everything.neighbours)
    assert explainer_windows.names(world.spec()) == ()
    assert explainer_windows.names(world.spec(score={"also": ["intruder"]}))
    assert explainer_windows.names(world.spec(explain={"contrast": 5})) == explainer_windows.names(
        world.spec(explain={"compare": ["contrast"]})
    )
    assert explainer_windows.aids_of_unit(run.harvest, world.spec(), unit_id) == records.Aids()


@dataclass(frozen=True)
class Read:
    """A subject whose units answer to more than the word at hand, and all that they do in a small corpus."""

    corpus: Corpus
    reader: UnitReader
    seen: list[ContextActivations]
    exemplars: pd.DataFrame
    subject: Subject

    @property
    def maximum(self) -> list[float]:
        return np.max([seen.activations.max(axis=1) for seen in self.seen], axis=0).tolist()

    def texts(self, ids: np.ndarray) -> list[str]:
        return token_texts(self.subject.tokenizer, ids.tolist())

    def windows(self, **wanted: int) -> pd.DataFrame:
        want = sae_windows.WindowCounts(**{"contrast": 0, "neighbours": 0, "held": 0} | wanted)
        reading = sae_windows.WindowSettings(window=16, bins=10, skip_positions=1, norm_limit=math.inf, seed=0)
        near = [[3, 2], [2], [1, 3]]
        return sae_windows.find_windows(
            self.reader, self.corpus, self.texts, near, self.maximum[:3], self.exemplars, want, reading
        )

    def at(self, row: Any) -> tuple[ContextActivations, int]:
        """The context that a window comes from, and its mark's place there."""
        contexts = self.corpus.contexts
        (number,) = np.flatnonzero(
            (contexts["document"] == row.document)
            & (contexts["position"] <= row.position)
            & (row.position < contexts["position"] + contexts["length"])
        )
        return self.seen[number], row.position - int(contexts["position"][number])


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Read:
    made = layered.make(tmp_path_factory.mktemp("deep"))
    subject = made.subject()
    corpus = made.corpus(subject)
    x = layered.values(subject, corpus, "resid_post.2")
    dictionary = layered.principal(x, "resid_post.2", rank=4)
    reader = UnitReader(subject, dictionary, [UnitKey("feature", i, "") for i in (0, 5, 2, 1)])
    seen = read_contexts(reader, corpus, range(len(corpus.contexts)))
    rows = []
    for unit in range(3):
        for number, context in enumerate(corpus.contexts):
            mark = int(seen[number].activations[unit].argmax())
            if (
                len(rows) < 6 * (unit + 1)
                and split_of(torch.from_numpy(corpus.document_keys([number])), 0)[0] == EXPLAIN
            ):
                activation = float(seen[number].activations[unit, mark])
                place = context["document"], context["position"] + mark, activation
                rows.append((reader.units[unit].unit_id, "explain_top", *place))
    return Read(
        corpus,
        reader,
        seen,
        pd.DataFrame(rows, columns=["unit_id", "role", "document", "position", "activation"]),
        subject,
    )


def test_contrast_windows_contain_the_unit_s_words_where_it_is_silent(deep: Read) -> None:
    found = deep.windows(contrast=5)
    assert 10 < len(found) <= 15
    for row in found.itertuples():
        unit = [key.unit_id for key in deep.reader.units].index(row.unit_id)
        seen, mark = deep.at(row)
        mine = deep.exemplars.loc[deep.exemplars["unit_id"] == row.unit_id]
        words = {int(at.ids[place]) for at, place in map(deep.at, mine.itertuples())}
        assert int(seen.ids[mark]) in words
        assert seen.activations[unit, mark] == 0 == row.activation == row.token_activations[row.mark]
        assert row.tokens[row.mark] == deep.texts(seen.ids[mark : mark + 1])[0]
        first = mark - row.mark
        assert row.token_activations == pytest.approx(seen.activations[unit, first : first + 16].tolist(), abs=1e-3)


def test_a_neighbour_window_is_marked_where_the_neighbour_is_active_and_the_unit_silent(deep: Read) -> None:
    found = deep.windows(neighbours=4)
    assert len(found) == 12
    for row in found.itertuples():
        unit = [key.unit_id for key in deep.reader.units].index(row.unit_id)
        seen, mark = deep.at(row)
        near = [[3, 2], [2], [1, 3]][unit]
        assert seen.activations[unit, mark] == 0
        assert max(seen.activations[other, mark] for other in near) > 0


def test_held_out_windows_are_half_active_and_all_units_share_one_read(
    deep: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = deep.windows(contrast=3, neighbours=3, held=8)
    assert (found.groupby(["unit_id", "role"]).size().unstack() == [3, 8, 3]).all().all()
    held = found.loc[found["role"] == "held"]
    assert (held["activation"] > 0).groupby(held["unit_id"]).sum().tolist() == [4, 4, 4]
    again = deep.windows(contrast=3, neighbours=3, held=8)
    assert again.equals(found)
    read: list[int] = []
    original = sae_windows.read_contexts

    def counting(reader: UnitReader, corpus: Corpus, rows: list[int], **options: Any) -> list[ContextActivations]:
        read.extend(rows)
        return original(reader, corpus, rows, **options)

    monkeypatch.setattr(sae_windows, "read_contexts", counting)
    monkeypatch.setattr(sae_windows, "_VALUES", 1)
    assert len(deep.windows(contrast=3, neighbours=3, held=8)) == len(found), "however few contexts are held at a time"
    assert len(set(read)) == len(read)
    monkeypatch.setattr(sae_windows, "TOKENS", 512)
    read.clear()
    deep.windows(contrast=3, neighbours=3, held=8)
    assert 0 < int(deep.corpus.contexts["length"][read].sum()) <= 512


# Directions


def neighbours_by_hand(rows: torch.Tensor, place: int, n: int) -> list[int]:
    unit = torch.nn.functional.normalize(rows, dim=1)
    cosines = unit @ unit[place]
    cosines[place] = -1
    order = cosines.argsort(descending=True)[:n]
    return [int(i) for i in order if cosines[i] > 1e-6]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 40), st.integers(1, 6), st.booleans())
def test_nearest_units_equal_those_of_the_whole_cosine_matrix(seed: int, n_rows: int, n: int, signed: bool) -> None:
    rows = torch.randn(n_rows, 4, generator=torch.Generator().manual_seed(seed))
    whole = torch.stack([rows, -rows], dim=1).flatten(0, 1) if signed else rows
    places = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))[:5]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directions, "_ELEMENTS", 24)
        close = directions._nearest(rows, places, n, signed, torch.device("cpu"))
    for place, near in zip(places.tolist(), close, strict=True):
        assert near == neighbours_by_hand(whole, place, n)


def tiny(kind: str, tokenizer: object) -> Subject:
    """A random model whose final norm has a gain of its own."""
    torch.manual_seed(1)
    size = len(tokenizer)  # type: ignore[arg-type]
    if kind == "gpt2":
        config = GPT2Config(vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=32)
        config.bos_token_id = config.eos_token_id = None
        model = GPT2LMHeadModel(config)
        norm = model.transformer.ln_f
    else:
        llama = LlamaConfig(
            vocab_size=size, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=32, bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
        model = LlamaForCausalLM(llama)
        norm = model.model.norm
    with torch.no_grad():
        norm.weight.copy_(torch.rand(16) + 0.5)
        if getattr(norm, "bias", None) is not None:
            norm.bias.copy_(torch.randn(16))
        model.get_output_embeddings().weight.copy_(torch.randn(size, 16))
    return Subject(model, tokenizer, name=kind, fingerprint="x")


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def subject(request: pytest.FixtureRequest, world: planted.World) -> Subject:
    return tiny(request.param, load_subject(str(world.subject), precision="float32", device="cpu").tokenizer)


def dictionary_at(hook_point: str, width: int = 16) -> Dictionary:
    torch.manual_seed(2)
    return Dictionary(
        W_enc=torch.randn(40, width), b_enc=torch.zeros(40), W_dec=torch.randn(40, width), b_dec=torch.zeros(width),
        activation="relu", hook_point=hook_point,
    )  # fmt: skip


def test_the_final_norm_is_measured_at_its_output(subject: Subject) -> None:
    norm = final_norm(subject)
    assert norm is not None
    layer = subject.model.transformer.ln_f if subject.name == "gpt2" else subject.model.model.norm
    assert norm.gain.allclose(layer.weight, atol=1e-4)
    assert norm.centres == (subject.name == "gpt2")


@torch.no_grad()
def change(subject: Subject, direction: torch.Tensor) -> torch.Tensor:
    """How a direction at the end of the last block moves the logits, less what it does to the norm's scale: by differences."""
    torch.manual_seed(3)
    layer = subject.model.transformer.ln_f if subject.name == "gpt2" else subject.model.model.norm
    x = torch.randn(16) * 3
    centred = x - x.mean() if subject.name == "gpt2" else x
    sideways = direction - direction.mean() if subject.name == "gpt2" else direction
    sideways = sideways - centred * (sideways @ centred) / (centred @ centred)
    moved = [layer((x + sign * 1e-2 * sideways)[None])[0] for sign in (1, -1)]
    logits = subject.model.get_output_embeddings()(moved[0] - moved[1])
    return logits - logits.mean()


def test_logit_effects_equal_those_of_the_model(subject: Subject) -> None:
    """Where a direction does not touch the scale that a token has, its effect is the model's own."""
    torch.manual_seed(3)
    x = torch.randn(16) * 3
    centred = x - x.mean() if subject.name == "gpt2" else x
    dictionary = dictionary_at("resid_post.1")
    with torch.no_grad():
        rows = dictionary.W_dec
        rows.copy_(rows - (rows @ centred)[:, None] * centred / (centred @ centred))
    units = [UnitKey("feature", i, "") for i in (5, 0, 33)]
    texts = [token_texts(subject.tokenizer, [i])[0] for i in range(len(subject.tokenizer))]
    for unit, effects in zip(units, logit_effects(subject, dictionary, units, 6), strict=True):
        assert effects is not None
        true = change(subject, dictionary.W_dec[unit.index])
        for sign, tokens in ((1, effects.raised), (-1, effects.lowered)):
            order = (sign * true).argsort(descending=True).tolist()
            named = [texts[i] for i in order if i not in subject.special_ids and "\ufffd" not in texts[i]]
            assert list(tokens) == named[:6]


def test_a_neuron_s_direction_is_the_vector_that_it_adds_and_its_signs_are_opposite(subject: Subject) -> None:
    dictionary = dictionary_at("resid_post.1")
    block = subject.blocks[1]
    projection = block.mlp.c_proj if subject.name == "gpt2" else block.mlp.down_proj
    with torch.no_grad():
        one = torch.zeros(projection.weight.numel() // 16)
        rest = projection(one[None])[0]
        one[7] = 1.0
        written = projection(one[None])[0] - rest
    rows = directions.neuron_directions(subject, "mlp_act.1")
    assert rows[7].allclose(written, atol=1e-6)
    up, down = logit_effects(subject, dictionary, [UnitKey("neuron", 7, s) for s in "+-"], 5)
    assert up is not None
    assert down is not None
    assert (up.raised, up.lowered) == (down.lowered, down.raised)
    units = [UnitKey("neuron", 7, "+"), UnitKey("neuron", 7, "-")]
    assert UnitKey("neuron", 7, "-") not in nearest(subject, dictionary, units, 3)[0]
    assert nearest_within(subject, dictionary, units, 3) == [[], []], "a neuron's signs are as far apart as can be"


def test_features_of_mlp_neurons_are_projected_and_other_hook_points_have_no_effects(subject: Subject) -> None:
    width = subject.width("mlp_act.1")
    (unit,) = units = [UnitKey("feature", 3, "")]
    hidden = dictionary_at("mlp_act.1", width)
    written = hidden.W_dec[3] @ directions.neuron_directions(subject, "mlp_act.1")
    same = dictionary_at("resid_post.1")
    with torch.no_grad():
        same.W_dec[3].copy_(written)
    assert logit_effects(subject, hidden, units, 4) == logit_effects(subject, same, units, 4)
    assert logit_effects(subject, dictionary_at("mlp_in.1"), [unit], 4) == [None]
    subject.headless = "its head"
    try:
        assert logit_effects(subject, same, units, 4) == [None]
    finally:
        subject.headless = None


def test_logit_effects_in_the_planted_world_name_its_words(world: planted.World) -> None:
    """An output head that says once more what is read makes a concept's strongest words likeliest."""
    subject = load_subject(str(world.subject), precision="float32", device="cpu")
    with torch.no_grad():
        head = subject.model.model.embed_tokens.weight.clone()
        head[:, 0] = 0
        subject.model.lm_head.weight.copy_(head)
    (effects,) = logit_effects(subject, load_dictionary(str(world.dictionary)), [UnitKey("feature", 2, "")], 3)
    assert effects is not None
    assert effects.raised == tuple(f" furnace{i}" for i in (4, 3, 2))


# Effects


def judgements(rows: list[tuple[str, str, str, int, int | None]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["unit_id", "exemplar_id", "aid", "bin", "score"])
    frame["arm"] = np.where(frame["aid"] == "", "main", "variant")
    frame["explanation_unit_id"] = frame["unit_id"] + np.where(frame["aid"] == "", "", "#" + frame["aid"])
    frame["score"] = frame["score"].astype("Int64")
    frame["outcome"] = np.where(frame["score"].isna(), "refusal", "scored")
    return frame


def test_an_effect_is_the_mean_over_units_of_paired_differences() -> None:
    rows: list[tuple[str, str, str, int, int | None]] = []
    for number, gain in enumerate((1, 1, 0, 2)):
        unit = f"feature-{number}"
        for bin_ in (1, 2):
            rows += [(unit, f"{unit}@{bin_}.{i}", "", bin_, 1) for i in range(2)]
            rows += [(unit, f"{unit}@{bin_}.{i}", "logits", bin_, 1 + gain) for i in range(2)]
    rows += [("neuron-0+", "neuron-0+@1.0", "", 1, 3), ("neuron-0+", "neuron-0+@1.0", "logits", 1, None)]
    rows += [("feature-0", "feature-0@9.9", "", 2, 3)]  # judged without the aid alone
    units = pd.DataFrame({"unit_id": [f"feature-{i}" for i in range(4)] + ["neuron-0+"]})
    units["kind"] = units["unit_id"].str.partition("-")[0]
    (effect,) = aid_effects.effects(
        judgements(rows), units, scale=(0, 3), confidence=0.95, resamples=500, seed=0
    ).values()
    assert effect["all"]["difference"] == pytest.approx(1)
    assert effect["all"]["with"] == pytest.approx(2)
    assert effect["all"]["without"] == pytest.approx(1)
    assert effect["all"]["ci_low"] < 1 < effect["all"]["ci_high"]
    assert effect["feature"]["n_units"] == 4
    assert effect["neuron"] == dict.fromkeys(("difference", "ci_low", "ci_high", "with", "without")) | {
        "why": "no unit has a value",
        "n_units": 0,
    }
    assert effect["n_unscored"] == 1


def test_a_unit_counts_once_for_any_number_of_exemplars() -> None:
    rows: list[tuple[str, str, str, int, int | None]] = []
    for unit, n, gain in (("feature-0", 20, 0), ("feature-1", 1, 3)):
        for i in range(n):
            rows += [(unit, f"{unit}@{i}", "", 1, 0), (unit, f"{unit}@{i}", "contrast", 1, gain)]
    units = pd.DataFrame({"unit_id": ["feature-0", "feature-1"], "kind": ["feature"] * 2})
    found = aid_effects.effects(judgements(rows), units, scale=(0, 3), confidence=0.95, resamples=500, seed=0)
    assert found["contrast"]["all"]["difference"] == pytest.approx(1.5)
    assert found["contrast"]["all"]["ci_low"] is None, "two units have no interval"
    assert aid_effects.effects(judgements(rows[:0]), units, scale=(0, 3), confidence=0.95, resamples=500, seed=0) == {}
