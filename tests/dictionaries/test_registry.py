"""`autointerp dictionaries`: the list that comes with sae-lens, as paths that our loader reads."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.sae import peers

from autointerp.api.inputs import Given
from autointerp.cli.dictionaries import dictionaries
from autointerp.dictionaries import registry, saelens_names
from autointerp.errors import UsageError
from autointerp.nightly import sources
from autointerp.spec.spec import parse
from sae.formats import gemma_scope
from sae.formats.load import ADAPTERS
from sae.formats.location import DictionaryLocation

LIST = """
small-res:
  conversion_func: null
  model: gpt2
  repo_id: someone/small
  saes:
  - {id: blocks.10.hook_resid_pre, path: 10-res_4096, l0: 12.5}
  - {id: blocks.2.hook_resid_pre, path: 2-res_4096, neuronpedia: gpt2/2-res}
small-res-canonical:
  conversion_func: null
  model: gpt2
  repo_id: someone/small
  saes:
  - {id: best, path: 10-res_4096, neuronpedia: gpt2/10-res}
odd:
  conversion_func: homegrown
  model: other
  repo_id: someone/odd
  saes:
  - {id: first, path: 0}
"""


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sae-lens whose code must not be run, with a list of three dictionaries."""
    package = tmp_path / "site" / "sae_lens"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "pretrained_saes.yaml").write_text(LIST)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))
    return package / "pretrained_saes.yaml"


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> list[registry.Entry]:
    """What sae-lens 6.54.12 knows."""
    try:
        monkeypatch.syspath_prepend(peers.install("saelens"))
    except peers.NotToBeHadError as error:
        pytest.skip(str(error))
    return registry.load()


def invoke(*args: str) -> Result:
    return CliRunner().invoke(dictionaries, args, env={"COLUMNS": "300"})


def test_one_dictionary_under_two_names_is_listed_once_and_layers_in_order(listed: Path) -> None:
    two, ten = registry.load()[1:]
    assert (two.path, two.hook_point, two.width, two.l0) == ("someone/small/2-res_4096", "resid_post.1", "4k", None)
    assert (ten.l0, ten.neuronpedia) == (12.5, "gpt2/10-res")
    assert ten.names == ("small-res/blocks.10.hook_resid_pre", "small-res-canonical/best")


def test_the_list_is_parsed_once_and_again_when_it_changes(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = registry.load()
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_parse", None)
        assert registry.load() == first
    (cached,) = (listed.parents[2] / "cache").iterdir()
    cached.write_text("{")
    assert registry.load() == first
    listed.write_text(LIST.replace("gpt2", "gpt3"))
    assert {entry.model for entry in registry.load()} == {"gpt3", "other"}


def test_the_error_for_a_list_of_another_layout_is_one_line(listed: Path) -> None:
    for text in ("release: [1, 2]", "- a", "{", "release: {saes: [{id: 1}]}"):
        listed.write_text(text)
        with pytest.raises(UsageError, match=r"pretrained_saes\.yaml does not have the layout") as caught:
            registry.load()
        assert "\n" not in str(caught.value)


def test_a_dictionary_has_its_page_on_neuronpedia_if_the_list_names_one(
    listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registry.neuronpedia_page("someone/small/10-res_4096") == "https://www.neuronpedia.org/gpt2/10-res"
    assert registry.neuronpedia_page("someone/odd/0") is None
    assert registry.neuronpedia_page("results/mine") is None
    monkeypatch.setattr(registry, "LIBRARY", "no_such_library")
    assert registry.neuronpedia_page("someone/small/10-res_4096") is None


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    sys.path_importer_cache.clear()
    with pytest.raises(UsageError, match=r"pip install 'autointerp-eval\[saelens\]'"):
        registry.load()


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("10-RES", 1),
        ("gpt2", 2),
        ("resid_post.9", 1),
        ("*_4096", 2),
        ("_409?", 0),
        ("gpt2 2-res", 1),
        ("small-res/blocks", 2),
    ],
)
def test_patterns_match_parts_and_globs_of_fields(listed: Path, pattern: str, found: int) -> None:
    assert len(registry.matching(registry.load(), pattern)) == found


def test_collections_lists_and_json_are_printed(listed: Path) -> None:
    collections = invoke()
    assert collections.exit_code == 0
    assert "someone/small  gpt2   2             resid_post" in collections.output
    assert "not read: its format (homegrown) is not supported" in collections.output
    rows = invoke("gpt2").output.splitlines()
    assert rows[1].split() == ["someone/small/2-res_4096", "gpt2", "resid_post.1", "4k", "gpt2/2-res"]
    assert [row["path"] for row in json.loads(invoke("gpt2", "--json").output)] == [row.split()[0] for row in rows[1:]]


def test_a_single_match_is_described_with_its_lines_for_a_spec(listed: Path) -> None:
    text = invoke("10-res").output
    assert "https://www.neuronpedia.org/gpt2/10-res" in text
    assert tomllib.loads(text[text.index("[dictionary]") :]) == {"dictionary": {"path": "someone/small/10-res_4096"}}
    unread = invoke("odd").output
    assert "not read" in unread
    assert "[dictionary]" not in unread


def test_the_error_for_no_match_is_one_line(listed: Path) -> None:
    result = invoke("llama")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "'llama'" in result.stderr


def test_several_words_need_no_quotes(listed: Path) -> None:
    assert invoke("gpt2", "2-res").output == invoke("gpt2 2-res").output
    assert "someone/small/2-res_4096" in invoke("gpt2", "2-res").output
    assert invoke("gpt2", "llama").exit_code == 2


def test_a_spec_may_name_a_dictionary_as_saelens_does(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {
        "small-res/blocks.10.hook_resid_pre": "someone/small/10-res_4096",
        "small-res-canonical/best": "someone/small/10-res_4096",
        "someone/small/10-res_4096": "someone/small/10-res_4096",
        "someone/other": "someone/other",
    }
    assert {name: saelens_names.path_of(name) for name in names} == names
    spec = parse(
        {
            "subject": {"model": "a"},
            "dictionary": {"path": "small-res/blocks.2.hook_resid_pre"},
            "corpus": {"sources": ["c"]},
        }
    )
    assert saelens_names.resolved(spec).dictionary.path == "someone/small/2-res_4096"
    with pytest.raises(UsageError, match=r"odd/first of SAELens cannot be read: its format \(homegrown\)"):
        saelens_names.path_of("odd/first")
    (tmp_path / "small-res-canonical" / "best").mkdir(parents=True)  # a folder of that name comes first
    assert saelens_names.path_of("small-res-canonical/best") == "small-res-canonical/best"


def test_the_api_takes_saelens_name_of_a_dictionary(listed: Path) -> None:
    table = Given("a", "small-res-canonical/best").dictionary_table("blocks.10.hook_resid_pre")
    assert table == {"path": "someone/small/10-res_4096", "hook_point": "blocks.10.hook_resid_pre"}


def test_a_nightly_registry_takes_saelens_name_of_a_dictionary(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def commit_of(path: str, revision: str | None) -> tuple[str, float]:
        asked.append(path)
        return "abc", 0.0

    monkeypatch.setattr(sources, "_commit", commit_of)
    (tmp_path / "r.json").write_text(json.dumps([{"name": "resid", "path": "small-res/blocks.2.hook_resid_pre"}]))
    [candidate] = sources.in_registry(tmp_path / "r.json")
    assert [candidate.path] == asked == ["someone/small/2-res_4096"]


def test_without_the_library_names_are_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    sys.path_importer_cache.clear()
    assert saelens_names.path_of("small-res-canonical/best") == "small-res-canonical/best"


# The real list


def test_every_conversion_has_one_of_our_formats_or_a_reason(real: list[registry.Entry]) -> None:
    assert len(real) > 13_000
    assert set(registry.FORMATS.values()) <= set(ADAPTERS)
    unread = {entry.unread for entry in real if entry.unread}
    assert unread == set(registry._UNREAD.values()), "every other conversion is read"
    assert sum(entry.unread is not None for entry in real) == 15


def test_every_path_is_a_hub_id(real: list[registry.Entry]) -> None:
    from sae.formats.locate import _HUB_PATH

    assert [entry.path for entry in real if not (entry.unread or _HUB_PATH.fullmatch(entry.path))] == []


def test_hook_points_are_known_unless_only_the_files_state_them(real: list[registry.Entry]) -> None:
    unknown = {entry.format for entry in real if entry.hook_point is None}
    assert unknown == {"circuit_tracer", None}


def test_hook_points_are_those_that_the_loader_finds(real: list[registry.Entry]) -> None:
    gemma = [entry for entry in real if entry.format == "gemma_scope"]
    for entry in gemma:
        location = DictionaryLocation(Path("/nowhere"), entry.path)
        assert gemma_scope._hook_point(gemma_scope._site(location), location) == [entry.hook_point]
    assert len(gemma) > 2_000


def test_widths_are_sensible(real: list[registry.Entry]) -> None:
    widths = {entry.width for entry in real if entry.width}
    assert {"16k", "32k", "131k", "1m", "768"} <= widths
    assert widths <= {
        *(f"{n}k" for n in (1, 3, 4, 6, 12, 16, 24, 32, 48, 64, 65, 80, 96, 128, 131, 262, 524)),
        "768",
        "1m",
    }
