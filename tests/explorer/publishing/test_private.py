"""Texts that are published name no folder of this machine and no server of a judge, and keep everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from autointerp.explorer.publishing.private import Private

SPEC = {
    "subject": {"model": "/srv/models/tiny.gguf"},
    "dictionary": {"path": "../saes/layer 3"},
    "judge": {"base_url": "http://10.0.0.7:8080/v1"},
    "corpus": {"sources": ["~/texts/news.jsonl", "org/data", "https://example.org/a.jsonl"]},
}


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("model = '/srv/models/tiny.gguf', precision", "model = 'tiny.gguf', precision"),
        ("<td>../saes/layer 3</td>", "<td>layer 3</td>"),
        ("~/texts/news.jsonl, org/data", "news.jsonl, org/data"),
        ("https://example.org/a.jsonl", "https://example.org/a.jsonl"),
        ("--results /data/runs/demo-1/index --to x", "--results index --to x"),
        ('{"out":"/data/runs"}', '{"out":"runs"}'),
        ("http://10.0.0.7:8080/v1/chat answered 500", "(a server)/chat answered 500"),
        ("no route to 10.0.0.7:8080, http://10.0.0.8", "no route to (a server), http://10.0.0.8"),
        ("1/2 of </p> a/b /elsewhere", "1/2 of </p> a/b /elsewhere"),
    ],
)
def test_of_a_path_the_last_name_is_left_and_of_a_server_nothing(text: str, published: str) -> None:
    assert Private(SPEC, Path("/data/runs")).without(text) == published


def test_the_home_folder_is_not_named() -> None:
    assert Private({}).without(f"read {Path.home()}/.cache/x.bin and {Path.home()}/") == "read x.bin and ~"
