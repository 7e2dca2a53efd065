"""Missing files are named before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from autointerp.harvest.inputs import identify, open_inputs
from autointerp.progress import quiet
from autointerp.spec.spec import Spec, parse
from sae.errors import SaeError


def spec_of(subject: Path | str, dictionary: Path | str, source: Path | str) -> Spec:
    return parse(
        {
            "subject": {"model": str(subject)},
            "dictionary": {"path": str(dictionary)},
            "corpus": {"sources": [str(source)]},
        }
    )


def error_of(spec: Spec) -> str:
    with pytest.raises(SaeError) as raised:
        open_inputs(spec, quiet)
    with pytest.raises(SaeError) as again:
        identify(spec, quiet)
    assert str(raised.value) == str(again.value)
    return str(raised.value)


def test_a_missing_corpus_is_named_before_dictionary_and_subject_are_read(tmp_path: Path) -> None:
    for name in ("model", "dictionary"):  # empty, so reading either would fail
        (tmp_path / name).mkdir()
    said = error_of(spec_of(tmp_path / "model", tmp_path / "dictionary", tmp_path / "texts.jsonl"))
    assert said == f"corpus source {tmp_path / 'texts.jsonl'} matches no file: check the path"


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    said = error_of(spec_of("../model", tmp_path / "dictionary", "~/nowhere/*.txt"))
    for words in ("subject ../model does not exist", f"dictionary {tmp_path / 'dictionary'} does not exist", "nowhere"):
        assert words in said
    assert "\n" not in said


def test_a_missing_part_of_a_folder_is_not_called_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("saes/layer_7/k64", "models/big"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "texts.txt").write_text("words")
    said = error_of(spec_of("models/small", "saes/layer_7/k32", "texts.txt"))
    assert said.startswith("dictionary saes/layer_7/k32 is not on this machine (saes/layer_7 has no k32)")
    assert said.endswith("check the path")
