"""Names are counted as ` Name ` in whole documents, as they are spelled."""

from __future__ import annotations

from pathlib import Path

from support.sae.corpora import TOKENIZER, opened

from sae.corpus.name_counts import name_counts


def test_names_between_spaces_are_counted_across_contexts(tmp_path: Path) -> None:
    texts = {
        "a.txt": "the iron lead iron iron mine, iron. An Iron age of iron\nand iron",
        "b.txt": "iron in Waltham Forest and Waltham Forest today in Forest Gate",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    corpus = opened(tmp_path / "a.txt", tmp_path / "b.txt", context_tokens=9)
    assert len(corpus.contexts) > 8
    names = ["iron", "Iron", "lead", "Waltham Forest", "Forest", "gold"]
    assert name_counts(corpus, TOKENIZER, names) == [3, 1, 1, 2, 3, 0]
