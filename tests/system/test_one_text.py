"""A corpus of one or two long texts gives a report; a corpus of too little text is refused before anything is read through the subject."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.planted_world import judged_runs
from support.planted_world import world as planted

from autointerp.spec.spec import Spec
from sae.errors import CorpusError


def spec_of(folder: Path, *, files: int, documents: int) -> Spec:
    """A run over the text of a planted world's documents, joined to as many text files."""
    world = planted.make(folder / "world", documents=documents)
    texts = [json.loads(line)["text"] for line in world.corpus.read_text().splitlines()]
    for number in range(files):
        (folder / f"{number}.txt").write_text(" ".join(texts[number::files]))
    sources: dict[str, Any] = {"sources": [str(folder / "*.txt")]}
    return judged_runs.spec(world, "one-text", corpus=sources, controls={"planted": 0})


@pytest.mark.parametrize("files", [1, 2])
def test_one_or_two_long_texts_are_a_corpus(tmp_path: Path, files: int) -> None:
    run, ledger = judged_runs.open_(spec_of(tmp_path, files=files, documents=150), tmp_path / "results")
    summary = judged_runs.carry(run, ledger, planted.PlantedJudge())
    for kind in ("feature", "neuron"):
        assert summary["denominator"][kind]["scored"] == summary["denominator"][kind]["sampled"]
    assert summary["headline"]["difference"] is not None
    assert summary["corpus"]["contents"]["cut"] == files
    assert any("pieces of" in caution for caution in summary["cautions"])
    explained, judged = (
        {(e.document, e.position) for own in run.exemplars.values() for e in own if e.role in roles}
        for roles in (("explain_top", "explain_spread", "explain_quiet"), ("score", "quiet"))
    )
    assert not {document for document, _ in explained} & {document for document, _ in judged}


def test_a_text_that_is_too_short_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"1 document .* name more files in corpus\.sources"):
        judged_runs.open_(spec_of(tmp_path, files=1, documents=5), tmp_path / "results")
