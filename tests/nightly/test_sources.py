"""What a source finds, which names are versions of one dictionary, and how far apart two decoders are."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import UsageError
from autointerp.nightly.lineage import lineage_of, version_of
from autointerp.nightly.sources import Source, discover, in_folder, in_registry, on_hub
from autointerp.nightly.versions import change_between, sketch


@pytest.mark.parametrize(
    ("path", "lineage", "version"),
    [
        ("sae-v12", "sae", (12,)),
        ("sae@3", "sae", (3,)),
        ("sae-step1000", "sae", (1000,)),
        ("sae_epoch2", "sae", (2,)),
        ("sae-2026-11-20", "sae", (2026, 11, 20)),
        ("sae_20261120T2359", "sae", (20261120, 2359)),
        ("sae-v1.2", "sae", (1, 2)),
        ("layer-12-v2-step100", "layer-12", (2, 100)),
        ("runs/layer_12/checkpoint-500", "runs/layer_12", (500,)),
        ("2026-11-20/layer_12", "layer_12", (2026, 11, 20)),
        ("v3", "v3", (3,)),
        ("layer_12/width_16k", "layer_12/width_16k", ()),
        ("conv2", "conv2", ()),
        ("sae-12345678", "sae-12345678", ()),
    ],
)
def test_the_version_is_the_last_part_of_a_name(path: str, lineage: str, version: tuple[int, ...]) -> None:
    assert lineage_of(path.split("/")) == lineage
    assert version_of(path) == version


def place(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("cfg.json", "sae_weights.safetensors"):
        (folder / name).write_text("x")
    return folder


def test_a_folder_source_lists_every_possible_dictionary(tmp_path: Path) -> None:
    place(tmp_path / "saes" / "a-v1")
    place(tmp_path / "saes" / "half", "cfg.json")
    place(tmp_path / "saes" / "pickled", "weights.pt")
    place(tmp_path / "saes" / "notes", "README.md")
    (tmp_path / "saes" / "list.txt").write_text("x")
    found = {Path(c.path).name: c for c in in_folder(str(tmp_path / "saes" / "*"))}
    assert sorted(found) == ["a-v1", "half", "pickled"]
    assert found["a-v1"].lineage == "saes/a"
    by_file = list(in_folder(str(tmp_path / "saes" / "**" / "sae_weights.safetensors")))
    assert [(c.path, c.lineage, c.key) for c in by_file] == [
        (found["a-v1"].path, found["a-v1"].lineage, found["a-v1"].key)
    ]
    [alone] = in_folder(str(tmp_path / "saes" / "a-v1"))
    assert alone.key == found["a-v1"].key
    os.utime(tmp_path / "saes" / "a-v1" / "cfg.json", (1, 1))
    assert next(in_folder(str(tmp_path / "saes" / "a-v1"))).key != alone.key
    with pytest.raises(UsageError, match="is not a folder"):
        list(in_folder(str(tmp_path / "gone" / "*")))


def test_a_registry_names_lineages_and_says_how_to_read(tmp_path: Path) -> None:
    place(tmp_path / "x" / "one")
    entries = [{"name": "resid", "path": "x/one", "hook_point": "resid_post.3"}, {"name": "gone", "path": "x/two"}]
    as_json, as_toml = tmp_path / "r.json", tmp_path / "r.toml"
    as_json.write_text(json.dumps(entries[:1]))
    as_toml.write_text('[[dictionaries]]\nname = "resid"\npath = "x/one"\nhook_point = "resid_post.3"\n')
    assert list(in_registry(as_json)) == list(in_registry(as_toml))
    [one] = in_registry(as_json)
    assert (one.lineage, one.path, one.hook_point) == ("resid", str(tmp_path / "x" / "one"), "resid_post.3")
    as_toml.write_text('[[dictionaries]]\nname = "resid"\npaths = "x/one"\n')
    with pytest.raises(UsageError, match=r"registry .*r.toml: .*(path is missing|unknown key)"):
        list(in_registry(as_toml))
    as_json.write_text("[")
    sources = [Source(registry=str(as_json)), Source(folder=str(tmp_path / "x" / "*"))]
    found, failed = discover(sources)
    assert [c.path for c in found] == [one.path], "one source that fails does not hide the others"
    assert len(failed) == 1
    assert "is not valid JSON" in failed[0]


class Hub:
    """What of the hub's client is used, over repositories with their files."""

    def __init__(self, repositories: dict[str, list[str]]) -> None:
        self.repositories = repositories

    def list_models(self, *, author: str, search: str | None, full: bool) -> list[Any]:
        day = datetime(2026, 11, 20, tzinfo=UTC)
        names = [n for n in self.repositories if fnmatchcase(n, f"{author}/*{search or ''}*")]
        return [SimpleNamespace(id=name, sha=f"commit-of-{name}", last_modified=day) for name in names]

    def list_repo_files(self, name: str, *, revision: str) -> list[str]:
        assert revision == f"commit-of-{name}"
        return self.repositories[name]


def test_the_hub_is_searched_by_pattern_and_pinned_to_a_commit() -> None:
    hub = Hub(
        {
            "acme/sae-v1": ["cfg.json", "sae_weights.safetensors"],
            "acme/sae-v2": ["cfg.json", "sae_weights.safetensors"],
            "acme/not-sae-v3": ["cfg.json"],
            "other/sae-v1": [],
            "acme/scope": [
                "README.md",
                "layer_1/width_16k/params.npz",
                "layer_2/width_16k/params.npz",
                "layer_2/x.txt",
            ],
        }
    )
    found = list(on_hub("acme/sae-*", hub))
    assert [(c.path, c.lineage, c.revision) for c in found] == [
        (f"acme/sae-v{i}", "acme/sae", f"commit-of-acme/sae-v{i}") for i in (1, 2)
    ]
    assert not any(c.is_local for c in found)
    inside = list(on_hub("acme/scope/layer_*/width_16k", hub))
    assert [c.path for c in inside] == [f"acme/scope/layer_{i}/width_16k" for i in (1, 2)]


def test_an_unreachable_hub_is_reported_in_one_line() -> None:
    found, failed = discover([Source(hub="acme/sae-*")])
    assert found == []
    assert len(failed) == 1
    assert "hub = 'acme/sae-*'" in failed[0]
    assert "\n" not in failed[0]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            OSError("connection refused by peer"),
            "the hub cannot be reached: connection refused by peer: check the network",
        ),
        (RuntimeError("429 Client Error: Too Many Requests"), "the hub limits your requests: wait some minutes"),
        (
            RuntimeError("401 Client Error. (RepositoryNotFoundError)"),
            "check the name; private ones need `hf auth login`",
        ),
    ],
)
def test_an_error_of_the_hub_is_told_with_the_remedy(error: Exception, advice: str) -> None:
    class Hub:
        def list_models(self, **_: Any) -> Any:
            raise error

    with pytest.raises(UsageError, match=advice):
        list(on_hub("acme/sae-*", Hub()))


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 90), st.floats(0.001, 10))
def test_sketches_keep_distances(seed: int, rows: int, columns: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    before = rng.normal(size=(rows, columns)).astype(np.float32)
    for moved in (
        rng.normal(size=before.shape),
        np.eye(rows, columns),
        rng.random(before.shape) * (rng.random(rows) < 0.2)[:, None],
    ):
        now = before + (scale * moved).astype(np.float32)
        truth = float(np.linalg.norm(now - before) / np.linalg.norm(before))
        # Both norms carry an error of 1.6 percent; five of their common deviation.
        assert change_between(sketch(before), sketch(now)) == pytest.approx(truth, rel=0.12, abs=1e-6)
    assert change_between(sketch(before), sketch(before)) == 0.0


def test_a_change_in_a_single_row_or_column_of_a_large_decoder_is_seen() -> None:
    before = np.random.default_rng(0).normal(size=(4096, 96)).astype(np.float32)
    for place_ in (np.s_[17, :], np.s_[:, 5], np.s_[::2039, :]):
        now = before.copy()
        now[place_] += 3.0
        truth = float(np.linalg.norm(now - before) / np.linalg.norm(before))
        assert change_between(sketch(before), sketch(now)) == pytest.approx(truth, rel=0.1)
