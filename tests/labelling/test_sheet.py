"""The sample of items and its probabilities, sheets, and `autointerp label` with files and in a terminal."""

from __future__ import annotations

import csv
import io
import os
import pty
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.results import labels as labelled
from support.results.labels import RUN, scores
from support.results.summaries import HOSTILE
from support.services.ledger_worker import run_concurrently

from autointerp.cli.main import main
from autointerp.errors import UsageError
from autointerp.labelling import csv_file
from autointerp.labelling.sample import LEAST, Judged, allocate, extend
from autointerp.labelling.sheet import Agreement
from autointerp.labelling.terminal import Terminal
from autointerp.ledger import labels, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.labels import ItemKey

SIZES = st.dictionaries(
    st.sampled_from([f"main/{kind}/{g}" for kind in ("feature", "neuron") for g in range(4)] + ["shuffled", "planted"]),
    st.integers(1, 60),
    min_size=1,
)


def population(sizes: dict[str, int], prefix: str = "") -> list[Judged]:
    """Items with strata of these sizes."""
    found = []
    for stratum, size in sizes.items():
        group, *rest = stratum.split("/")
        kind, score = (rest[0], int(rest[1])) if rest else (group if group == "planted" else "feature", 1)
        arm = group if group in ("shuffled", "base_rate") else "main"
        found += [Judged(ItemKey(f"{prefix}{stratum}:{i}", arm, "unit"), "unit", kind, score) for i in range(size)]
    return found


@given(SIZES, st.integers(0, 500))
def test_a_larger_sample_takes_no_item_from_a_stratum(sizes: dict[str, int], n: int) -> None:
    smaller, larger = allocate(sizes, n), allocate(sizes, n + 1)
    assert sum(smaller.values()) == min(n, sum(sizes.values()))
    assert all(0 <= smaller[h] <= larger[h] <= sizes[h] for h in sizes)
    if n >= sum(min(LEAST, size) for size in sizes.values()):
        assert all(smaller[h] >= min(LEAST, sizes[h]) for h in sizes)


@given(SIZES, st.integers(24, 200), st.integers(0, 100))
def test_an_extended_sample_contains_the_smaller_and_equals_one_drawn_at_once(
    sizes: dict[str, int], n: int, more: int
) -> None:
    items = population(sizes)
    first = extend(items, [], n, "seed")
    both = extend(items, first, n + more, "seed")
    assert [(item.number, item.key) for item in both[: len(first)]] == [(item.number, item.key) for item in first]
    assert [item.number for item in both] == list(range(1, len(both) + 1))
    at_once_ = extend(items, [], n + more, "seed")
    assert {(item.key, item.stratum, item.probability) for item in both} == {
        (item.key, item.stratum, item.probability) for item in at_once_
    }
    taken = Counter(item.stratum for item in both)
    assert all(item.probability == taken[item.stratum] / sizes[item.stratum] for item in both)
    assert sum(1 / item.probability for item in both) == pytest.approx(len(items))


def test_items_are_drawn_as_often_as_their_probability_says() -> None:
    sizes = {"main/feature/0": 40, "main/feature/3": 9, "main/neuron/0": 25, "shuffled": 12}
    items, seeds = population(sizes), 1500
    drawn: Counter[ItemKey] = Counter()
    for seed in range(seeds):
        # In two steps, as if the rater later asked for more items.
        sample = extend(items, extend(items, [], 12, str(seed)), 24, str(seed))
        drawn.update(item.key for item in sample)
    said = {item.stratum: item.probability for item in sample}
    assert said.keys() == sizes.keys()
    for item in items:
        p = said[item.stratum]
        assert abs(drawn[item.key] / seeds - p) <= 4.5 * (p * (1 - p) / seeds) ** 0.5, item.key


def test_later_judged_items_join_the_sample_and_existing_ones_stay() -> None:
    sizes = {"main/feature/0": 30, "main/feature/3": 30}
    first = extend(population(sizes), [], 10, "seed")
    grown = population(sizes) + population(sizes, prefix="later ")
    both = extend(grown, first, 10, "seed")
    assert [item.key for item in both[:10]] == [item.key for item in first]
    taken = Counter(item.stratum for item in both)
    assert all(item.probability == taken[item.stratum] / 60 for item in both)
    assert any(item.exemplar_id.startswith("later") for item in both)
    # No lower random number was skipped: the sample still has the lowest of each stratum.
    assert {item.key for item in both} <= {item.key for item in extend(grown, [], len(both) + 20, "seed")}
    gone = extend(population({"main/feature/0": 30, "main/feature/3": 30})[1:], first, 10, "seed")
    assert [item.key for item in gone[:10]] == [item.key for item in first]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = labelled.make(tmp_path, planted=2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Results with a sample of 50 items that must stay without labels."""
    results = tmp_path_factory.mktemp("results")
    made = labelled.make(results)
    labelled.sheet(made, results, n=50)
    made.close()
    yield results
    with closing(Ledger.in_folder(results)) as ledger:
        assert scores(ledger) == {}


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    url = request.getfixturevalue("postgres_service").ledger() if request.param == "postgresql" else None
    made = labelled.make(tmp_path, url=url)
    yield made
    made.close()


def test_labels_are_rows_in_either_database(either: Ledger, tmp_path: Path) -> None:
    anna, ben = (labelled.sheet(either, tmp_path, rater, 40) for rater in ("anna", "ben"))
    anna.set({item.number: place % 4 for place, item in enumerate(anna.items)})
    ben.set({1: None, 2: 3})
    ben.set({2: 0})
    ben.undo(1)
    ben.undo(1)
    assert {number: label.score for number, label in anna.labels().items()} == scores(either)
    assert scores(either, "ben") == {2: 0}
    assert scores(either) == {item.number: place % 4 for place, item in enumerate(anna.items)}
    with either.read() as tx:
        rows, sample = labels.of_run(tx, RUN), labels.items(tx, RUN)
    assert len(rows) == 41
    assert list(rows[0]) == ["number", "exemplar_id", "unit_id", "arm", "explanation_unit_id", "stratum", "probability", "rater", "score"]  # fmt: skip
    of = {item.number: item for item in sample}
    assert all(of[row["number"]].stratum == row["stratum"] and 0 < row["probability"] <= 1 for row in rows)


def test_raters_who_start_at_once_share_one_sample_and_lose_no_label(either: Ledger, tmp_path: Path) -> None:
    sheets = run_concurrently(
        [lambda name=name: labelled.sheet(either, tmp_path, name, 50) for name in ("a", "b", "c")]
    )
    assert len({frozenset(sheet.items) for sheet in sheets}) == 1
    assert len({sheet.items for sheet in sheets}) == 3
    for number in sheets[0].numbers:
        run_concurrently([partial(sheet.set, {number: 1}) for sheet in (*sheets, sheets[0])])
    assert [len(scores(either, name)) for name in "abc"] == [50, 50, 50]


def test_the_sample_is_mostly_main_and_has_every_grade_of_each_kind(ledger: Ledger, tmp_path: Path) -> None:
    labelled.sheet(ledger, tmp_path)
    with ledger.read() as tx:
        sample, judged = labels.items(tx, RUN), labels.judged(tx, RUN)
    assert len(sample) == 100
    of = Counter(item.stratum.split("/")[0] for item in sample)
    assert of["main"] >= 75
    assert all(of[arm] >= LEAST for arm in ("shuffled", "base_rate", "planted"))
    grades = Counter((item.stratum.split("/")[1], judged[item.key][1]) for item in sample if item.stratum[0] == "m")
    assert all(grades[kind, grade] >= LEAST for kind in ("feature", "neuron") for grade in range(4))


def test_opening_a_sheet_again_keeps_its_items_and_more_items_are_added(ledger: Ledger, tmp_path: Path) -> None:
    first = labelled.sheet(ledger, tmp_path, n=50)
    first.set(dict.fromkeys(first.numbers, 2))
    again = labelled.sheet(ledger, tmp_path)
    assert again.items == first.items
    assert labelled.sheet(ledger, tmp_path, n=40).items == first.items
    more = labelled.sheet(ledger, tmp_path, n=70)
    assert set(first.items) < set(more.items)
    assert len(more.items) == 70
    assert more.labels().keys() == first.numbers


def test_the_agreement_is_known_only_when_every_item_is_done(ledger: Ledger, tmp_path: Path) -> None:
    sheet = labelled.sheet(ledger, tmp_path, n=50)
    with ledger.read() as tx:
        judged, sample = labels.judged(tx, RUN), labels.items(tx, RUN)
    truth = {item.number: judged[item.key][1] for item in sample}
    sheet.set({number: min(3, grade + 1) for number, grade in truth.items() if number > 2})
    assert sheet.agreement() is None
    sheet.set({1: None, 2: 3 - truth[2]})
    found = sheet.agreement()
    assert isinstance(found, Agreement)
    assert found.n == 49
    assert found.exact == sum(grade == 3 for number, grade in truth.items() if number > 2)
    assert found.within_one == 48 + (abs(3 - 2 * truth[2]) <= 1)
    assert sum(map(sum, found.table)) == 49


def test_an_exported_file_hides_grades_and_is_read_back(ledger: Ledger, tmp_path: Path) -> None:
    sheet, file = labelled.sheet(ledger, tmp_path, n=50), tmp_path / "out.csv"
    csv_file.write(sheet, file)
    rows = list(csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline="")))
    assert [int(row["number"]) for row in rows] == [item.number for item in sheet.items]
    assert {row["score"] for row in rows} == {""}
    assert all("<<" in row["text"] for row in rows)
    assert "feature-" not in file.read_text("utf-8-sig")
    for place, row in enumerate(rows[:40]):
        row["score"] = "s" if place % 10 == 0 else f"{place % 4}.0"
    for separator in ",;\t":
        back = tmp_path / f"back{ord(separator)}.csv"
        with back.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, rows[0], delimiter=separator)
            writer.writeheader()
            writer.writerows(rows)
        assert csv_file.read(sheet, back) == {
            int(row["number"]): None if place % 10 == 0 else place % 4 for place, row in enumerate(rows[:40])
        }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1,4,", ["line 3", "'4'", "0 to 3"]),
        ("1,-1,", ["line 3", "'-1'"]),
        ("1,2.5,", ["line 3", "'2.5'"]),
        ("77,1,", ["line 3", "'77'"]),
        ("x,1,", ["line 3", "'x'"]),
        (f"1,2,{RUN}x", ["line 3", f"{RUN}x"]),
        ("2,2,", ["line 3", "item 2 has two scores"]),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_and_leaves_no_label(
    untouched: Path, tmp_path: Path, line: str, words: list[str]
) -> None:
    (tmp_path / "in.csv").write_text(f"number,score,run\n2,1,\n{line}\n")
    told = invoke("label", RUN, "--results", untouched, "--rater", "anna", "--import", tmp_path / "in.csv")
    assert told.exit_code == 2
    assert len(told.stderr.strip().splitlines()) == 1
    assert [word for word in words if word not in told.stderr] == []


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_files_are_exported_and_imported_by_the_command(ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    given = ("label", RUN, "--results", tmp_path, "--rater", "anna")
    assert invoke(*given, "--items", 50, "--export", file).exit_code == 0
    refused = invoke(*given, "--export", file)
    assert refused.exit_code == 2
    assert "already exists" in refused.stderr
    text = file.read_text("utf-8-sig").replace(f",,{RUN}", f",3,{RUN}")
    file.write_text(text)
    said = invoke(*given, "--import", file)
    assert said.exit_code == 0, said.stderr
    assert scores(ledger) == dict.fromkeys(range(1, 51), 3)
    assert f"{RUN}: anna has graded 50 of 50 items" in said.output
    assert f"next: autointerp report {RUN} --results {tmp_path}" in said.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], ["no run nothing"]),
        ([RUN, "--rater", "  "], ["--rater", "1 to 64"]),
        ([RUN, "--rater", "a\x1bb"], ["--rater"]),
        ([RUN, "--rater", "x" * 65], ["--rater"]),
        ([RUN, "--terminal"], ["--terminal needs a terminal"]),
        ([RUN, "--terminal", "--port", "9000"], ["--terminal and --port exclude each other"]),
        ([RUN, "--export", "nowhere/x.csv"], ["nowhere/x.csv cannot be written"]),
        ([RUN, "--import", "nowhere/x.csv"], ["nowhere/x.csv cannot be read"]),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_2(untouched: Path, arguments: list[str], words: list[str]) -> None:
    told = invoke("label", *arguments, "--results", untouched)
    assert told.exit_code == 2
    assert len(told.stderr.strip().splitlines()) == 1
    assert [word for word in words if word not in told.stderr] == []


def test_too_few_items_for_every_group_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    told = invoke("label", RUN, "--results", tmp_path, "--items", 5)
    assert told.exit_code == 2
    assert "--items 5 is too few" in told.stderr
    assert "ask for 22 or more" in told.stderr
    assert len(labelled.sheet(ledger, tmp_path, n=22).items) == 22


def test_a_running_run_cannot_be_labelled(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.write() as tx:
        runs.set_state(tx, RUN, "running")
    with pytest.raises(UsageError, match="has not finished"):
        labelled.sheet(ledger, tmp_path)


@pytest.fixture
def terminal(ledger: Ledger, tmp_path: Path) -> tuple[Terminal, io.StringIO]:
    shown = io.StringIO()
    sheet = labelled.sheet(ledger, tmp_path, n=50)
    return Terminal(sheet, Console(file=shown, width=80, force_terminal=True, highlight=False)), shown


def test_keys_in_the_terminal_grade_skip_undo_and_move(
    terminal: tuple[Terminal, io.StringIO], ledger: Ledger, tmp_path: Path
) -> None:
    at, _ = terminal
    order = [item.number for item in at.sheet.items]
    for key in ("2", "9", "x", "s", "\x1b[D", "3", "1", "u", "\x1b[D", "\x1b[D", "\x1b[D", "0", "\x7f"):
        at.press(key)
    assert scores(ledger) == {order[0]: 2, order[1]: 3}
    for _ in range(2):
        at.press("u")
    assert scores(ledger) == {order[0]: 2}
    again = Terminal(labelled.sheet(ledger, tmp_path), at.console)
    assert again.at == 1
    for _ in order:
        again.press("1")
    assert scores(ledger) == dict.fromkeys(order, 1) | {order[0]: 2}
    again.press("\x1b[C")
    assert again.at == 50


def test_a_terminal_shows_hostile_text_as_text(tmp_path: Path) -> None:
    ledger = labelled.make(tmp_path, hostile=True)
    shown = io.StringIO()
    sheet = labelled.sheet(ledger, tmp_path, n=50)
    at = Terminal(sheet, Console(file=shown, width=80, highlight=False))
    for item in sheet.items:
        at._show_item(item)
    assert not set("\x1b\x07\x00\u202e\u2028\u200b") & set(shown.getvalue())
    assert HOSTILE[0] in shown.getvalue()
    ledger.close()


def test_labelling_in_a_real_terminal(ledger: Ledger, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "autointerp", "label", RUN, "--results", str(tmp_path), "--rater", "anna"]
    mine, theirs = pty.openpty()
    sitting = subprocess.Popen(
        [*command, "--items", "50", "--terminal"], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE
    )
    os.close(theirs)
    seen = b""
    # Several keys at once, as if typed ahead of the screen.
    for place, key in ((1, b"3"), (2, b"1us1"), (4, b"q")):
        while f"Item {place} of 50".encode() not in seen:
            seen += os.read(mine, 4096)
        os.write(mine, key)
    with suppress(OSError):  # raised at the end of a terminal whose other side is closed
        while os.read(mine, 4096):
            pass
    os.close(mine)
    assert sitting.communicate(timeout=60)[1] == b""
    assert sitting.returncode == 0
    assert sorted(map(str, scores(ledger).values())) == ["1", "3", "None"]
