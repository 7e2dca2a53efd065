"""Readings and continuations of a planted subject, against the plain equations, and their names in an index."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support import live_model
from support.hostile_text import WORDS
from support.planted_world import world as planted

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import ABOUT, IndexFolder
from autointerp.explorer.live import limits, ranking
from autointerp.explorer.live.continuing import CONTROL, PLAIN, STEERED, N, continued
from autointerp.explorer.live.inputs import open_model
from autointerp.explorer.live.model import LiveModel
from autointerp.explorer.live.questions import Continue, Reading, Source
from autointerp.explorer.live.reading import read
from autointerp.explorer.search.query import Query
from autointerp.explorer.search.reader import Reader
from sae.errors import SaeError, SubjectError
from sae.harvest.units import UnitKey
from sae.studies.intervention import Row, Target, intervene
from sae.studies.steered_texts import continuations, encode_prompt
from sae.subject.token_text import token_texts

pytestmark = pytest.mark.usefixtures("one_thread")
TEXT = "filler1 harbour4 filler2 orchard3 nearglacier1 harbour2"
ORCHARD = planted.CONCEPTS.index("orchard")
TEMPLATE = "{% for m in messages %}filler5 {{ m['content'] }} filler6{% endfor %}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"), documents=20)


@pytest.fixture(scope="module")
def index(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> IndexFolder:
    return live_model.index(world, tmp_path_factory.mktemp("index"), neurons=True)


@pytest.fixture(scope="module")
def model(index: IndexFolder) -> LiveModel:
    return live_model.model(index)


def last(model: LiveModel, **job: object) -> dict[str, str]:
    """The whole texts of a continuation."""
    texts: dict[str, str] = {}
    for part in continued(model, Continue.model_validate({"text": TEXT, "values": {}, "tokens": 6} | job)):
        part.pop(N, None)
        assert all(text.startswith(texts.get(name, "")) for name, text in part.items())
        texts |= part
    return texts


def test_a_reading_is_what_the_dictionary_says_at_the_tokens_that_count(model: LiveModel) -> None:
    [part] = read(model, Reading(text=TEXT, units=("neuron-0+", "neuron-0-", "feature-3")))
    ids = torch.tensor([model.subject.tokenizer(TEXT, add_special_tokens=False)["input_ids"]])
    x = model.subject.run(ids, [model.dictionary.hook_point])[model.dictionary.hook_point][0]
    expected = model.dictionary.activations(x)
    assert "".join(part["tokens"]).strip() == TEXT
    assert part["counted"] == [False] + [True] * (len(x) - 1)  # the first position is never evidence
    expected[0] = 0
    found = torch.zeros_like(expected)
    for place, (features, values) in enumerate(part["active"]):
        assert values == sorted(values, reverse=True)
        found[place, features] = torch.tensor(values)
    assert torch.allclose(found, expected, rtol=1e-4)
    assert set(part["units"]) == {"neuron-0+", "neuron-0-"}
    m = model.subject.run(ids, ["mlp_act.0"])["mlp_act.0"][0][1:, 0]
    assert part["units"]["neuron-0+"][1:] == pytest.approx(m.relu().tolist(), rel=1e-4)
    assert part["units"]["neuron-0-"][1:] == pytest.approx((-m).relu().tolist(), rel=1e-4)


def test_a_text_is_read_up_to_the_limit_and_hostile_or_empty_ones_too(model: LiveModel) -> None:
    [long] = read(model, Reading(text="harbour1 " * 400))
    assert (len(long["tokens"]), long["n_cut"] > 0) == (min(limits.TOKENS, 256), True)
    assert next(read(model, Reading(text="")))["tokens"] == []
    for word in WORDS:
        [part] = read(model, Reading(text=word))
        assert len(part["tokens"]) == len(part["active"]) == len(part["counted"])
        json.dumps(part, ensure_ascii=False).encode()


def test_a_units_own_words_are_found_in_the_index(model: LiveModel, index: IndexFolder) -> None:
    reader = Reader(index)
    parts = [next(read(model, Reading(text=text, units=("neuron-1+",)))) for text in (TEXT, "filler1 harbour4 filler3")]
    shown = ranking.shown(reader, parts[0], ["feature-7", "neuron-1+"])
    units = {unit["unit_id"]: unit for unit in shown["units"]}
    orchard = units[f"feature-{ORCHARD}"]
    place = shown["tokens"].index(" orchard3")
    assert orchard["at"][0] == [place]
    assert orchard["share"] == pytest.approx(orchard["at"][1][0] / orchard["maximum"], rel=1e-3)
    assert orchard["row"] in shown["top"][place]
    assert shown["top"][0] == []
    assert units["feature-7"]["share"] == 0  # chosen, and not active
    assert units["neuron-1+"]["kind"] == "neuron"
    firing = ranking.firing(reader, *parts)
    rows = reader.find(Query(fires=TEXT, without="filler1 harbour4 filler3", sort="match"), firing)
    assert ORCHARD in rows
    assert planted.CONCEPTS.index("harbour") not in rows
    shares = dict(zip(firing.rows.tolist(), firing.shares.tolist(), strict=True))
    assert [shares[row] for row in rows.tolist()] == sorted((shares[row] for row in rows.tolist()), reverse=True)
    with pytest.raises(UsageError, match="on the page of the search alone"):
        reader.find(Query(fires=TEXT))


def test_continuations_are_those_of_a_steering_study(model: LiveModel) -> None:
    subject, ids = model.subject, encode_prompt(model.subject, TEXT, 6)
    target = Target(model.dictionary, UnitKey("feature", ORCHARD, ""), 40.0)
    rows = [Row(ids, len(ids)), Row(ids, len(ids), 1.0)]
    added = continuations(subject, intervene(subject, [target]), rows, 6, 3, ends=False)
    expected = ["".join(token_texts(subject.tokenizer, row)) for row in added]
    texts = last(model, values={f"feature-{ORCHARD}": 40.0}, control=True, seed=3, temperature=1.0)
    assert [texts[PLAIN], texts[STEERED]] == expected
    assert expected[0] != expected[1]
    assert texts[CONTROL] not in ("", texts[STEERED])


def test_a_finished_plain_continuation_is_shown_at_once(model: LiveModel) -> None:
    job = Continue(text=TEXT, values={"feature-1": 3.0}, tokens=5, seed=7, temperature=1.0)
    before = list(continued(model, job))
    parts = list(continued(model, job.model_copy(update={"values": {"feature-1": -3.0}})))
    assert parts[0] == {PLAIN: before[-1][PLAIN]}
    assert all(PLAIN not in part for part in parts[1:])
    assert list(continued(model, job))[-1][STEERED] == before[-1][STEERED]  # the seed decides


def test_temperature_and_seed_decide_what_is_drawn(model: LiveModel) -> None:
    cold = {last(model, seed=seed)[PLAIN] for seed in range(3)}
    warm = {last(model, seed=seed, temperature=2.0)[PLAIN] for seed in range(3)}
    assert (len(cold), len(warm)) == (1, 3)


def test_a_message_is_put_into_the_chat_template(model: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SubjectError, match="has no chat template"):
        next(read(model, Reading(text=TEXT, chat=True)))
    monkeypatch.setattr(model.subject.tokenizer, "chat_template", TEMPLATE)
    assert model.about.chat
    [part] = read(model, Reading(text=TEXT, chat=True))
    assert "".join(part["tokens"]).strip() == f"filler5 {TEXT} filler6"
    assert last(model, chat=True)[PLAIN]


def test_what_cannot_be_continued_is_refused_with_the_reason(model: LiveModel) -> None:
    refusals: dict[str, dict[str, object]] = {
        "is too short": {"text": ""},
        "do not fit": {"text": "harbour1 " * 255},
        "does not exist": {"values": {"feature-999": 1.0}},
        "is set twice": {"values": {"neuron-1+": 1.0, "neuron-1-": 1.0}},
    }
    for said, job in refusals.items():
        with pytest.raises((SaeError, UsageError), match=said):
            last(model, **job)


def test_the_spec_of_a_run_names_the_model_and_says_what_counts(
    index: IndexFolder, world: planted.World, tmp_path: Path
) -> None:
    (tmp_path / "spec.toml").write_text(
        f'name = "x"\n[subject]\nmodel = {json.dumps(str(world.subject))}\n[dictionary]\npath = {json.dumps(str(world.dictionary))}\n'
        '[corpus]\nsources = ["moved.jsonl"]\nbos = false\n[harvest]\nskip_positions = 3\n'
    )
    opened = open_model(Source(index=str(index.path), run=str(tmp_path)))
    [part] = read(opened, Reading(text=TEXT))
    assert part["counted"][:4] == [False, False, False, True]


def test_a_dictionary_that_is_not_that_of_the_index_is_refused(index: IndexFolder, tmp_path: Path) -> None:
    shutil.copytree(index.path, tmp_path, dirs_exist_ok=True)
    about = json.loads((index.path / ABOUT).read_text())
    moved = about["dictionary"] | {"path": str(tmp_path / "moved")}
    for changes, said in (({"n_features": 7}, "make the index again"), ({"dictionary": moved}, "moved")):
        (tmp_path / ABOUT).write_text(json.dumps(about | changes))
        with pytest.raises((SaeError, UsageError), match=said):
            open_model(Source(index=str(tmp_path), run=None))


def test_events_without_a_known_maximum_have_the_whole_share(index: IndexFolder) -> None:
    columns = Reader(index).columns
    columns.numbers["maximum"] = np.zeros(len(columns))
    events = ranking.Events(columns, [((2, 1), (3.0, 1.0)), ((2,), (4.0,))])
    rows, shares = events.largest()
    assert (rows.tolist(), shares.tolist()) == ([1, 2], [1.0, 1.0])
