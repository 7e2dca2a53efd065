"""Neighbours of planted directions: exact lists, the planted groups with their names, held-out members, and the map."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from support.providers.server import ProviderServer
from torch.nn.functional import normalize

from autointerp.errors import UsageError
from autointerp.progress import Progress
from autointerp.spec.judge_sections import Judge
from autointerp.studies.finding import Finding
from autointerp.studies.folder import StudyFolder
from autointerp.studies.judging import Asking, DryRun
from autointerp.studies.neighbours.study import Neighbours
from autointerp.studies.workbench import Studied, Workbench
from sae.dictionary import Dictionary

TOPICS = {
    "food": {"fruit": "apples pears plums cherries", "bread": "loaves flour bakers crust"},
    "music": {"violins": "bows strings fiddles orchestra", "drums": "rhythm sticks beats cymbals"},
    "law": {"courts": "judges trials juries verdict", "taxes": "income revenue deductions tariffs"},
}
MEMBERS, WIDTH = 12, 64
LOOSE = 40
"""Features in random directions, without explanations."""
CHILDREN = [(parent, child, words.split()) for parent, of in TOPICS.items() for child, words in of.items()]


def planted(*, seed: int = 0, few: int = 0) -> Studied:
    """A dictionary of two levels of groups in random order, explained by their topics, and loose features.

    The last group has only `few` members, if given.
    """
    generator = torch.Generator().manual_seed(seed)
    parents = {p: normalize(torch.randn(WIDTH, generator=generator), dim=0) for p in TOPICS}
    rows, texts = [], []
    for place, (parent, child, words) in enumerate(CHILDREN):
        centre = normalize(parents[parent] + normalize(torch.randn(WIDTH, generator=generator), dim=0), dim=0)
        for member in range(few if few and place == len(CHILDREN) - 1 else MEMBERS):
            aside = normalize(torch.randn(WIDTH, generator=generator), dim=0)
            rows.append(normalize(centre + 0.6 * aside, dim=0))
            texts.append(f"{parent}: words about {child}, such as {words[member % 4]} or {words[(member + 1) % 4]}")
    rows += list(torch.randn(LOOSE, WIDTH, generator=generator))
    texts += [""] * LOOSE
    order = torch.randperm(len(rows), generator=generator)
    decoder = torch.stack(rows)[order]
    explanations = {f"feature-{new}": texts[old] for new, old in enumerate(order.tolist()) if texts[old]}
    dictionary = Dictionary(
        W_enc=decoder, b_enc=torch.zeros(len(decoder)), W_dec=decoder, b_dec=torch.zeros(WIDTH), activation="relu",
        hook_point="resid_post.0", path="planted",
    )  # fmt: skip
    return Studied("resid_post.0", dictionary, explanations)


def bench_of(folder: Path, *studied: Studied, asking: Asking | None = None) -> Workbench:
    subject = cast(Any, SimpleNamespace(device=torch.device("cpu")))
    request, progress = cast(Any, None), Progress(quiet=True)
    return Workbench(request, subject, studied, StudyFolder(folder), progress, "neighbours", asking)


def frame(finding: Finding, name: str) -> pd.DataFrame:
    return next(listing.frame for listing in finding.listings if listing.name == name)


def topic_of(explanation: str) -> str:
    return explanation.partition("about ")[2].partition(",")[0]


@pytest.fixture(scope="module")
def studied() -> Studied:
    return planted()


@pytest.fixture(scope="module")
def finding(studied: Studied, tmp_path_factory: pytest.TempPathFactory) -> Finding:
    return Neighbours(groups=(6, 3)).carry_out(bench_of(tmp_path_factory.mktemp("study"), studied))


def test_every_feature_has_its_nearest_list(finding: Finding, studied: Studied) -> None:
    rows = normalize(studied.dictionary.W_dec, dim=1)
    cosines = (rows @ rows.T).fill_diagonal_(-2.0)
    listed = frame(finding, "neighbours")
    assert len(listed) == 10 * len(rows)
    for number, own in enumerate(cosines):
        nearest = listed[listed["unit"] == f"feature-{number}"]
        assert nearest["neighbour"].tolist() == [f"feature-{i}" for i in own.topk(10)[1].tolist()]
        assert nearest["cosine"].tolist() == pytest.approx(own.topk(10)[0].tolist(), abs=1e-5)


def test_the_planted_groups_are_found_on_both_levels(finding: Finding) -> None:
    members = frame(finding, "members")
    assert (members["group"] != "").all()
    assert len(members) == MEMBERS * len(CHILDREN), "features without an explanation are not grouped"
    assert members.groupby("group")["explanation"].agg(lambda of: len(set(map(topic_of, of)))).eq(1).all()
    parents = members.assign(top=members["group"].str.split(".").str[0])
    assert parents.groupby("top")["explanation"].agg(lambda of: len({t.partition(":")[0] for t in of})).eq(1).all()
    assert finding.values["groups"] == 6
    assert finding.values["levels"] == 2
    assert any("which lie within" in sentence and "larger ones" in sentence for sentence in finding.sentences)


def test_without_a_judge_groups_are_called_by_the_words_that_set_them_apart(finding: Finding) -> None:
    groups, members = frame(finding, "groups"), frame(finding, "members")
    for row in groups.to_dict("records"):
        of = members[members["group"].str.startswith(row["group"])]["explanation"]
        common = topic_of(of.iloc[0]) if row["level"] == 2 else of.iloc[0].partition(":")[0]
        assert common in row["name"].split(", ")
        assert not {"words", "about", "such"} & set(row["name"].split(", ")), "every explanation has these"
    assert any("no judge was given" in sentence for sentence in finding.sentences)


def test_names_are_tested_on_members_that_they_were_made_without(finding: Finding) -> None:
    members = frame(finding, "members")
    assert members.groupby("group")["held_out"].sum().eq(2).all()
    assert finding.values["assigned"] == 12
    assert finding.values["assignment_chance"] == pytest.approx(1 / 6)
    assert finding.values["assignment"] >= 0.9


def test_names_that_have_nothing_to_do_with_directions_are_assigned_by_chance(tmp_path: Path) -> None:
    studied = planted()
    units = list(studied.explanations)
    shuffled = np.random.default_rng(0).permutation([studied.explanations[unit] for unit in units])
    mixed = Studied(studied.name, studied.dictionary, dict(zip(units, shuffled.tolist(), strict=True)))
    found = Neighbours(groups=(6, 3), map="none").carry_out(bench_of(tmp_path, mixed))
    assert found.values["assignment_low"] <= 1 / 6


def test_groups_below_the_minimum_are_dissolved(tmp_path: Path) -> None:
    found = Neighbours(groups=(6,), minimum=5, map="none").carry_out(bench_of(tmp_path, planted(few=4)))
    assert found.values["groups"] == 5
    assert found.values["ungrouped"] == 4
    alone = frame(found, "members").query("group == ''")
    assert {topic_of(text) for text in alone["explanation"]} == {"taxes"}


def test_it_is_said_if_no_group_is_large_enough(tmp_path: Path) -> None:
    found = Neighbours(groups=(60,), minimum=12, map="none").carry_out(bench_of(tmp_path, planted()))
    assert "There are no groups of at least 12 features." in found.sentences
    assert [listing.name for listing in found.listings] == ["closest", "neighbours"]


def test_a_chosen_features_neighbourhood_is_listed_and_labelled(studied: Studied, tmp_path: Path) -> None:
    unit = next(unit for unit, text in studied.explanations.items() if "fruit" in text)
    found = Neighbours(units=(unit,), nearest=5).carry_out(bench_of(tmp_path, studied))
    listed = frame(found, "neighbours")
    assert set(listed["unit"]) == {unit}
    assert len(listed) == 5
    assert all("fruit" in text for text in listed["neighbour_explanation"])
    [picture] = found.pictures
    assert all(f">{name} food: words" in picture.svg for name in [unit, *listed["neighbour"]])
    assert any(f"Nearest to {unit} (food" in sentence for sentence in found.sentences)


def test_features_of_several_dictionaries_are_compared_with_each_other(tmp_path: Path) -> None:
    one, other = planted(), planted()
    both = (Studied("a", one.dictionary, one.explanations), Studied("b", other.dictionary))
    found = Neighbours(nearest=1, map="none", groups=(0,)).carry_out(bench_of(tmp_path, *both))
    listed = frame(found, "neighbours")
    assert (
        listed["unit"].str.replace("a:", "c:").str.replace("b:", "a:").str.replace("c:", "b:").tolist()
        == listed["neighbour"].tolist()
    )
    assert any("100% of features the nearest one is in another dictionary" in sentence for sentence in found.sentences)
    assert len(frame(found, "closest")) == len(listed) // 2, "a pair stands once"


def test_a_dictionary_without_explanations_has_groups_called_after_their_central_features(
    studied: Studied, tmp_path: Path
) -> None:
    found = Neighbours(map="none").carry_out(bench_of(tmp_path, Studied("x", studied.dictionary)))
    assert frame(found, "groups")["name"].str.fullmatch(r"around feature-\d+").all()
    assert found.values["assignment"] is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"units": ("feature-9999",)}, "does not exist"),
        ({"units": ("nothing",)}, "is unknown"),
        ({"map": "sphere"}, "--map 'sphere' is unknown"),
        ({"map": "umap"}, r"pip install 'autointerp-eval\[map\]'"),
    ],
)
def test_wrong_settings_are_one_line(
    settings: dict[str, Any], words: str, studied: Studied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UsageError, match=words) as raised:
        Neighbours(**settings).carry_out(bench_of(tmp_path, studied))
    assert "\n" not in str(raised.value)


def test_umap_lays_out_the_map_where_it_is_installed(studied: Studied, tmp_path: Path) -> None:
    pytest.importorskip("umap")
    [picture] = Neighbours(map="umap").carry_out(bench_of(tmp_path, studied)).pictures
    assert "UMAP" in picture.caption


def test_the_map_says_how_it_was_made_and_shows_a_sample_of_many_features(tmp_path: Path) -> None:
    decoder = torch.randn(3200, 4, generator=torch.Generator().manual_seed(0))
    dictionary = Dictionary(
        W_enc=decoder, b_enc=torch.zeros(3200), W_dec=decoder, b_dec=torch.zeros(4), activation="relu",
        hook_point="resid_post.0", path="wide",
    )  # fmt: skip
    found = Neighbours(groups=(0,), nearest=1).carry_out(bench_of(tmp_path, Studied("x", dictionary)))
    [picture] = found.pictures
    assert picture.svg.count("h0") == len(frame(found, "points")) == 3000
    assert "3,000 of 3,200 features, a random sample" in picture.caption
    assert "(PCA)" in picture.caption


def brain(system: str, user: str, schema: Any) -> dict[str, Any]:
    """A judge that names a group by the topic of most of its members, and finds the group with a feature's topic."""
    if "choice" in schema["properties"]:
        topic = topic_of(user)
        return {"choice": next(int(n) for n, name in re.findall(r"(\d+)\. the (\w+)", user) if name == topic)}
    topics = [topic_of(line) for line in user.partition("</text>")[0].splitlines()[1:]]
    return {"name": f"the {max(sorted(set(topics)), key=topics.count)}"}


def asking(server: ProviderServer, folder: Path, **options: Any) -> Asking:
    keys = {"model": "openai-compatible/small", "base_url": f"{server.url}/v1", "system_role": True, "json": "schema"}
    return Asking(Judge.model_validate(keys), folder, **options)


def test_a_judge_names_groups_and_is_tested_with_its_names(studied: Studied, tmp_path: Path) -> None:
    with ProviderServer(brain=brain) as server:
        bench = bench_of(tmp_path / "study", studied, asking=asking(server, tmp_path))
        found = Neighbours(groups=(6, 3), map="none").carry_out(bench)
        assert len(server.books) == 9 + 12
    names = frame(found, "groups").query("level == 2")["name"]
    assert sorted(names) == sorted(f"the {child}" for _, child, _ in CHILDREN)
    assert found.values["assignment"] == 1.0
    assert any("named by the judge" in sentence for sentence in found.sentences)


def test_a_dry_run_forecasts_names_and_assignments(
    studied: Studied, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProviderServer(brain=brain) as server:
        bench = bench_of(tmp_path / "study", studied, asking=asking(server, tmp_path, dry=True))
        bench.progress = Progress()
        with pytest.raises(DryRun):
            Neighbours(groups=(6, 3), map="none").carry_out(bench)
        assert server.books == []
    assert "21 questions" in capsys.readouterr().out
