"""Exemplars of conversations say in which message their token stands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.planted_world import world as planted

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.input_cache import InputCache
from autointerp.harvest.inputs import open_inputs
from autointerp.harvest.merge import harvest
from autointerp.harvest.tables import exemplars_of
from autointerp.progress import quiet

TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}"


def write_conversations(world: planted.World, folder: Path) -> Path:
    """The world's texts as conversations of two messages, for its subject with a chat template."""
    shutil.copytree(world.subject, folder / "subject")
    (folder / "subject" / "chat_template.jinja").write_text(TEMPLATE)
    lines = []
    for line in world.corpus.read_text().splitlines():
        words = json.loads(line)["text"].split(" ")
        halves = " ".join(words[:20]), " ".join(words[20:])
        lines.append(
            {"messages": [{"role": r, "content": c} for r, c in zip(("user", "assistant"), halves, strict=True)]}
        )
    (folder / "chats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_exemplars_of_conversations_know_their_message_and_others_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))
    world = planted.make(tmp_path / "world", documents=60)
    folder = write_conversations(world, tmp_path)
    few = {"feature_ids": list(range(4)), "neuron_ids": ["0+"]}
    corpus = {"sources": [str(folder / "chats.jsonl")], "text_field": "messages"}
    controls = {"planted": 1}
    chats = world.spec(subject={"model": str(folder / "subject")}, corpus=corpus, units=few, controls=controls)
    tables = {}
    for name, spec in (("chats", chats), ("texts", world.spec(units=few))):
        inputs = open_inputs(spec, quiet)
        made = harvest(inputs, Artifacts(tmp_path / "artifacts"), quiet)
        tables[name] = pd.concat(pd.read_parquet(file) for file in sorted(made.glob("*exemplars.parquet")))
    table = tables["chats"]
    first = [json.loads(line)["messages"][0]["content"] for line in (folder / "chats.jsonl").read_text().splitlines()]
    # A space is a token, and so is the role before the message.
    ends = [len(inputs.subject.tokenizer(f"user {text} ", add_special_tokens=False).input_ids) for text in first]
    rows = zip(table["document"], table["position"], strict=True)
    expected = ["user 1" if position < ends[document] else "assistant 2" for document, position in rows]
    assert table["turn"].tolist() == expected
    assert set(expected) == {"user 1", "assistant 2"}
    assert tables["texts"]["turn"].isna().all()
    assert len(exemplars_of(table.drop(columns="turn"))) == len(table)  # a harvest of an earlier version


def test_a_worker_reads_conversations_again_when_the_template_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))
    world = planted.make(tmp_path / "world", documents=20)
    folder = write_conversations(world, tmp_path)
    corpus = {"sources": [str(folder / "chats.jsonl")], "text_field": "messages"}
    spec, opened = world.spec(subject={"model": str(folder / "subject")}, corpus=corpus), InputCache()
    before = opened.inputs(spec).corpus
    (folder / "subject" / "chat_template.jinja").write_text(TEMPLATE.replace("m['role']", "'says'"))
    after = opened.inputs(spec).corpus
    assert before.fingerprint != after.fingerprint
