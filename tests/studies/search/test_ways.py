"""Every way to find features puts the planted feature first."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from support.planted_world import circuits
from support.planted_world import lexicon_world as searched
from support.planted_world import world as planted

from autointerp.errors import UsageError
from autointerp.harvest.input_cache import InputCache
from autointerp.progress import Progress
from autointerp.studies.folder import StudyFolder
from autointerp.studies.given import Given
from autointerp.studies.request import request_of
from autointerp.studies.search import study
from autointerp.studies.search.other_ways import ByAttribution, ByMeaning, ByNeighbour, ByWords
from autointerp.studies.search.text_ways import BySets, ByText, ByTexts
from autointerp.studies.search.way import Way
from autointerp.studies.workbench import Workbench, opened

pytestmark = pytest.mark.usefixtures("one_thread")
CASES = range(20)
EXPLANATIONS = {
    "feature-0": "the word harbour, in texts about ports and ships",
    "feature-1": "the word orchard, in texts about fruit trees",
    "feature-2": "the word furnace, in texts about metal and heat",
    "feature-3": "the word glacier, in texts about ice and mountains",
    "feature-4": "the word theatre, in texts about plays and actors",
    "feature-5": "the word monsoon, in texts about rain and weather",
    "feature-6": "the word bakery, in texts about bread and cakes",
    "feature-7": "the word quarry, in texts about stone and digging",
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    world = searched.make(tmp_path_factory.mktemp("searched"))
    made = bench_of(Given(subject=str(world.subject), dictionaries=(str(world.dictionary),)))
    return replace(made, studied=(replace(made.one, explanations=EXPLANATIONS),))


def bench_of(given: Given) -> Workbench:
    with Progress(quiet=True) as progress:
        request = request_of(given)
        subject, studied = opened(request, progress, InputCache())
        return Workbench(request, subject, studied, StudyFolder(Path()), progress, "find")


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> tuple[circuits.Circuits, Workbench]:
    world = circuits.make(tmp_path_factory.mktemp("circuits"))
    return world, bench_of(Given(subject=str(world.subject), dictionaries=(str(world.dictionaries[2]),)))


def first(bench: Workbench, way: Way) -> int:
    frame = way.find(bench, bench.one).frame
    return int(frame["feature"].iloc[0]) if len(frame) else -1


def word(rng: random.Random, concept: int) -> str:
    return planted.strong_word(planted.CONCEPTS[concept], rng.randrange(planted.STRONG))


def text_with(rng: random.Random, concept: int, others: tuple[int, ...] = ()) -> str:
    """Fillers with a weak word of the concept, and strong words of others."""
    words = [searched.fillers(rng, 3), planted.weak_word(planted.CONCEPTS[concept], rng.randrange(2, 5))]
    return " ".join([*words, *(word(rng, other) for other in others), searched.fillers(rng, 3)])


def share_first(bench: Workbench, ways: list[tuple[Way, int]]) -> float:
    return sum(first(bench, way) == concept for way, concept in ways) / len(ways)


def test_at_a_passage_of_a_text(bench: Workbench) -> None:
    ways: list[tuple[Way, int]] = []
    for case in CASES:
        rng, concept = random.Random(case), case % 8
        text = text_with(rng, concept, others=((concept + 1) % 8,))
        passage = next(w for w in text.split() if w.startswith("near"))
        ways.append((ByText(text, passage), concept))
    assert share_first(bench, ways) >= 0.95


def test_anywhere_in_a_text(bench: Workbench) -> None:
    # The strongest strong word has an activation of 0.95, a filler has up to 1.
    quiet = [name for name in searched.TAUGHT[8:] if planted.loudness(name)[1] < 0.5]
    ways: list[tuple[Way, int]] = []
    for case in CASES:
        rng, concept = random.Random(case), case % 8
        ways.append((ByText(" ".join([*rng.sample(quiet, 4), word(rng, concept), *rng.sample(quiet, 2)])), concept))
    assert share_first(bench, ways) >= 0.95


def test_in_all_of_these_texts_and_none_of_those(bench: Workbench) -> None:
    ways: list[tuple[Way, int]] = []
    for case in CASES:
        rng, concept, shared = random.Random(case), case % 8, (case + 3) % 8
        on = tuple(text_with(rng, concept, others=(shared,)) for _ in range(3))
        off = tuple(text_with(rng, shared, others=((case + 5) % 8,)) for _ in range(2))
        ways.append((ByTexts(on, off), concept))
    assert share_first(bench, ways) >= 0.95


def test_by_a_classifier_of_two_sets(bench: Workbench) -> None:
    ways: list[tuple[Way, int]] = []
    for case in CASES[:5]:
        rng, concept, shared = random.Random(case), case % 8, (case + 3) % 8
        sides = [tuple(text_with(rng, c, others=(shared,)) for _ in range(8)) for c in (concept, (case + 5) % 8)]
        ways.append((BySets(sides[0], (*sides[1][:4], *(searched.fillers(rng, 8) for _ in range(4)))), concept))
    found = [way.find(bench, bench.one) for way, _ in ways]
    assert sum(int(f.frame["feature"].iloc[0]) == c for f, (_, c) in zip(found, ways, strict=True)) == 5
    assert all(f.figures["held_out_auroc"] >= 0.9 for f in found)


def test_sets_that_do_not_differ_are_told_apart_no_better_than_by_chance(bench: Workbench) -> None:
    rng = random.Random(1)
    texts = [text_with(rng, case % 8) for case in range(24)]
    found = BySets(tuple(texts[:12]), tuple(texts[12:])).find(bench, bench.one)
    assert found.figures["held_out_auroc"] < 0.8
    assert "AUROC" in found.sentence


def test_by_attribution_to_a_difference_of_logits(answering: tuple[circuits.Circuits, Workbench]) -> None:
    world, bench = answering
    ways: list[tuple[Way, int]] = []
    for case in CASES:
        whole, other = case % circuits.WHOLES, (case + 1) % circuits.WHOLES
        prompt = world.prompt(whole, random.Random(case), also=other)
        ways.append((ByAttribution(prompt, f"answer{whole}", f"answer{other}"), whole))
    assert share_first(bench, ways) >= 0.95


def test_neighbours_come_by_cosine_and_without_the_feature_itself(bench: Workbench) -> None:
    own = bench.one
    W_dec = own.dictionary.W_dec.clone()
    for feature in range(8):
        W_dec[(feature + 20)] = W_dec[feature] + 0.3 * W_dec[feature + 40]
    crowded = replace(own, dictionary=replace(own.dictionary, W_dec=W_dec))
    with_twins = replace(bench, studied=(crowded,))
    for feature in range(8):
        assert first(with_twins, ByNeighbour(str(feature))) == feature + 20
    assert feature not in set(ByNeighbour(str(feature)).find(with_twins, crowded).frame["feature"])


def test_words_of_explanations(bench: Workbench) -> None:
    for feature, concept in enumerate(planted.CONCEPTS):
        assert first(bench, ByWords(f"the {concept}")) == feature
    assert len(ByWords("text").find(bench, bench.one).frame) == 8


def test_meanings_of_explanations(bench: Workbench) -> None:
    asked = [
        "a boat at the dock",
        "apples and pears",
        "molten iron",
        "frozen snow",
        "a stage drama",
        "a storm",
        "baking",
        "rocks",
    ]
    right = [first(bench, ByMeaning(text)) == feature for feature, text in enumerate(asked)]
    assert sum(right) >= 0.95 * len(right)


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (ByText("filler1 filler2", "harbour0"), "does not occur"),
        (ByText("filler1 filler2", "filler1"), "neither the first of the text"),
        (ByText(""), "no token that counts"),
        (ByText(" ".join(["filler1"] * 600)), "shorten"),
        (BySets(("filler1 filler2",), ("filler3 filler4",)), "5 or more on each side"),
        (ByNeighbour("900"), "does not exist"),
        (ByNeighbour("neuron-3+"), "name a feature"),
        (ByWords("-"), "has no word"),
        (ByMeaning("?"), "has no word"),
    ],
)
def test_wrong_settings_are_one_line(bench: Workbench, way: Way, words: str) -> None:
    with pytest.raises(UsageError, match=words) as raised:
        way.find(bench, bench.one)
    assert "\n" not in str(raised.value)


def test_new_text_that_was_edited_is_another_study(tmp_path: Path) -> None:
    new = tmp_path / "new.txt"
    new.write_text("before")
    before = study.find(new=(str(new),))
    assert study.find(new=(str(new),)) == before
    new.write_text("after it was edited")
    assert study.find(new=(str(new),)) != before
