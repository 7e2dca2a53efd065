"""The spec: errors in one line with key, value and remedy; a hash that knows settings from findings; a copy that runs again."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from autointerp.errors import UsageError
from autointerp.spec.spec import load, parse
from autointerp.spec.template import template

MINIMAL: dict[str, Any] = {"subject": {"model": "a"}, "dictionary": {"path": "b"}, "corpus": {"sources": ["c"]}}


def minimal(**sections: Any) -> dict[str, Any]:
    return MINIMAL | sections


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (minimal(judge={"modle": "embedded"}), ["judge.modle", "'embedded'", "did you mean model?"]),
        (minimal(wrong=1), ["unknown key wrong = 1", "known here", "corpus"]),
        (minimal(harvest={"bins": "ten"}), ["harvest.bins = 'ten'", "integer"]),
        (minimal(harvest={"bins": 1}), ["harvest.bins = 1", "greater than or equal to 2"]),
        (minimal(units={"features": 3.5}), ["units.features = 3.5", "integer"]),
        (minimal(judge={"model": "gpt-9"}), ["judge.model = 'gpt-9'", "anthropic/MODEL"]),
        (minimal(judge={"model": "openai-compatible/x"}), ["judge", "needs base_url"]),
        (
            minimal(judge={"model": "openai-compatible/x", "base_url": "http://[::1"}),
            ["judge.base_url", "not an address"],
        ),
        (
            minimal(judge={"model": "openai-compatible/x", "base_url": "x:8080/v1"}),
            ["judge.base_url", "not an address"],
        ),
        (
            minimal(judge={"model": "openai-compatible/x", "base_url": "https://u:p4ss@h/v1"}),
            ["judge.base_url = 'https://u:***@h/v1'", "password"],
        ),
        (minimal(judge={"model": "openai-compatible/" + "m" * 128}), ["judge.model", "at most 128"]),
        (minimal(judge={"model": "openai/x", "key_env": "gsk_0123456789abcdef"}), ["judge.key_env = '***'"]),
        (minimal(judge={"key_env": "MY_KEY"}), ["key_env has no meaning"]),
        (minimal(judge={"input_usd_per_mtok": 1.0}), ["output_usd_per_mtok"]),
        (minimal(harvest={"window_tokens": 400}), ["window_tokens = 400", "context_tokens = 128", "raise the second"]),
        (
            minimal(dictionary={"path": "b", "hook_point": "resid.3"}),
            ["dictionary.hook_point = 'resid.3'", "resid_post.12", "hook_resid_post"],
        ),
        (
            minimal(corpus={"sources": ["a"], "bos": "maybe"}),
            ["corpus.bos = 'maybe': input should be a valid boolean or 'auto'"],
        ),
        (minimal(name="Has Spaces"), ["name = 'Has Spaces'"]),
        (minimal(studies={"neighbors": {}}), ["unknown key studies.neighbors", "did you mean neighbours?"]),
        (minimal(studies={"neighbours": {"minimun": 5}}), ["studies.neighbours.minimun = 5", "did you mean minimum?"]),
        (minimal(studies={"neighbours": 5}), ["studies.neighbours = 5: write a table"]),
        (
            minimal(studies={"neighbours": {"groups": [3, 60]}}),
            ["studies.neighbours.groups = [3, 60]", "the most first"],
        ),
        (minimal(studies={"find": {}}), ["studies.find: no way to find features: set one of text, on"]),
        (minimal(studies={"find": [{"text": "a"}, {"text": "a", "fdr": 0.1}]}), ["fdr belongs to new, not to text"]),
        (minimal(studies={"steer": {"units": ["1"]}}), ["studies.steer.prompts is missing"]),
        (
            minimal(studies={"steer": {"units": ["1"], "prompts": ["a"], "factors": [200]}}),
            ["studies.steer.factors = 200"],
        ),
        (minimal(studies={"cover": {"lists": ["fish"]}}), ["studies.cover.lists = 'fish'", "'elements'"]),
        (
            minimal(studies={"cover": {"judged": True}}),
            ["studies.cover.judged = true needs an LLM", "embedded is none"],
        ),
        ({"subject": {"model": "a"}}, ["dictionary is missing", "autointerp spec"]),
    ],
)
def test_a_wrong_spec_is_refused_in_one_line(data: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        parse(data)
    message = str(refused.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_settings_do_not_change_the_hash_and_everything_else_does() -> None:
    base = parse(MINIMAL).hash()
    settings = minimal(budget={"usd": 3.0}, judge={"concurrency": 2, "timeout_s": 5.0, "requests_per_minute": 9})
    assert parse(settings).hash() == base
    for change in (
        {"judge": {"model": "anthropic/x"}},
        {"judge": {"max_output_tokens": 99}},
        {"units": {"seed": 1}},
        {"score": {"per_bin": 6}},
        {"report": {"confidence": 0.9}},
    ):
        assert parse(minimal(**change)).hash() != base


def test_the_resolved_spec_reads_back_equal() -> None:
    spec = parse(minimal(units={"neuron_ids": ["3+"]}, explainer={"model": "openai/x"}, budget={"usd": 1.5}))
    assert parse(tomllib.loads(spec.to_toml())) == spec


def test_paths_are_taken_from_the_specs_folder_and_a_moved_copy_finds_them(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "results" / "run"
    for folder in (home / "model", home / "dictionary", copy):
        folder.mkdir(parents=True)
    (home / "text.txt").write_text("words")
    text = (
        '[subject]\nmodel = "model"\n[dictionary]\npath = "owner/name"\n[corpus]\nsources = ["*.txt", "datasets:a/b"]\n'
    )
    (home / "spec.toml").write_text(text)
    spec = load(home / "spec.toml")
    assert Path(spec.subject.model) == home / "model"
    assert spec.dictionary.path == "owner/name"
    assert spec.corpus.sources == (str(home / "*.txt"), "datasets:a/b")
    moved = spec.relative_to(copy).to_toml()
    assert str(tmp_path) not in moved
    (copy / "spec.toml").write_text(moved)
    again = load(copy / "spec.toml")
    assert Path(again.subject.model).resolve() == (home / "model").resolve()
    assert again.dictionary.path == "owner/name"


def test_a_saved_spec_names_files_outside_of_its_project_by_their_whole_path(tmp_path: Path) -> None:
    project, outside = tmp_path / "project", tmp_path / "cache" / "dictionary"
    for folder in (project / "model", outside, project / "results" / "run"):
        folder.mkdir(parents=True)
    spec = parse(
        minimal(
            subject={"model": str(project / "model")},
            dictionary={"path": str(outside)},
            corpus={"sources": [str(tmp_path / "cache" / "*.txt")]},
        )
    )
    saved = spec.relative_to(project / "results" / "run")
    assert saved.subject.model == "../../model"
    assert saved.dictionary.path == str(outside)
    assert saved.corpus.sources == (str(tmp_path / "cache" / "*.txt"),)


@pytest.mark.parametrize(
    ("name", "hook_point"),
    [
        ("resid_post.12", "resid_post.12"),
        ("resid_pre.3", "resid_pre.3"),
        ("blocks.8.hook_resid_pre", "resid_post.7"),
        ("blocks.8.hook_resid_post", "resid_post.8"),
        ("blocks.5.mlp.hook_post", "mlp_act.5"),
        ("model.layers.5", "resid_post.5"),
    ],
)
def test_a_hook_point_may_have_transformer_lens_name(name: str, hook_point: str) -> None:
    spec = parse(minimal(dictionary={"path": "b", "hook_point": name}))
    assert spec.dictionary.hook_point == hook_point
    assert spec.hash() == parse(minimal(dictionary={"path": "b", "hook_point": hook_point})).hash()


def test_overrides_are_toml_values_or_words(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text('[subject]\nmodel = "a"\n[dictionary]\npath = "b"\n[corpus]\nsources = ["c"]\n')
    spec = load(
        path, ["units.features=7", "judge.model=anthropic/claude-haiku-4-5", "corpus.sources=['d']", "budget.usd=2.5"]
    )
    assert (spec.units.features, spec.judge.model, spec.corpus.sources, spec.budget.usd) == (
        7,
        "anthropic/claude-haiku-4-5",
        ("d",),
        2.5,
    )
    for wrong in ("features", "=3", "name.x=1"):
        with pytest.raises(UsageError, match="--set"):
            load(path, ["name=x", wrong])


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"[subject", b"x = 1\x00"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "spec.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"spec\.toml") as refused:
        load(path)
    assert "\n" not in str(refused.value)


def test_the_template_is_a_spec_of_defaults() -> None:
    spec = parse(tomllib.loads(template()))
    assert spec.units == parse(MINIMAL).units
    assert spec.judge == parse(MINIMAL).judge
    assert spec.report == parse(MINIMAL).report


STUDIES = {
    "find": [{"text": "a"}, {"with": ["b", "c"]}],
    "steer": {"units": ["feature-1"], "prompts": ["I"], "factors": [-2, 5]},
    "split": {"dictionaries": ["d"]},
}


def test_studies_are_no_part_of_the_hash_and_are_written_and_read_again() -> None:
    spec = parse(minimal(studies=STUDIES))
    assert spec.hash() == parse(MINIMAL).hash()
    assert parse(tomllib.loads(spec.to_toml())) == spec
    assert [study.study for study in spec.studies.chosen] == ["find", "find", "steer", "split"]
    assert set(tomllib.loads(parse(MINIMAL).to_toml())["studies"]) == {"tokens", "two_sided"}


def test_paths_of_studies_are_those_beside_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "runs" / "run-1").mkdir(parents=True)
    for name in ("mine.toml", "wider"):
        (tmp_path / "specs" / name).touch()
    monkeypatch.chdir(tmp_path)
    written = parse(
        minimal(studies={"cover": {"files": ["mine.toml"]}, "split": {"dictionaries": ["wider", "owner/hub"]}})
    )
    (tmp_path / "specs" / "spec.toml").write_text(written.to_toml(), encoding="utf-8")
    spec = load(Path("specs/spec.toml"))
    assert spec.studies.cover[0].files == ("specs/mine.toml",)
    assert spec.studies.split[0].dictionaries == ("specs/wider", "owner/hub")
    saved = spec.relative_to(Path("runs/run-1"))
    assert saved.studies.cover[0].files == ("../../specs/mine.toml",)
    assert spec.absolute().studies.split[0].dictionaries == (str(tmp_path / "specs" / "wider"), "owner/hub")
