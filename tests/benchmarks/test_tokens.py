"""The token benchmark over a planted run, counted by a server whose tokens are words: delphi's own prompts beside ours."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.locations import ROOT
from support.planted_world import judged_runs
from support.planted_world.judged_runs import Judge
from support.sae import peers


class Words(BaseHTTPRequestHandler):
    """A chat template that adds two words a message, and a tokenizer that splits at spaces."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/apply-template":
            answer: dict[str, object] = {"prompt": " ".join(f"[ {m['content']} ]" for m in body["messages"])}
        else:
            answer = {"tokens": body["content"].split()}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Words)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_the_benchmark_of_tokens_counts_prompts(url: str, tmp_path: Path) -> None:
    try:
        peers.install("delphi")
    except peers.NotToBeHadError as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))
    run, ledger = judged_runs.open_(
        judged_runs.spec(judged_runs.make(tmp_path / "world"), "tokens"), tmp_path / "results"
    )
    judged_runs.carry(run, ledger, Judge())
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / "tokens.py"), str(run.folder), "--url", url]
    done = subprocess.run(
        [*command, "--units", "3", "--accuracy", "0.8", "0.9"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    first, *at_width = (table(part) for part in done.stdout.split("At delphi's half-width")[:3])
    delphi = first["delphi's defaults"]
    assert delphi[0] == "41"
    widths = [1.959964 * math.sqrt(p * (1 - p) / 200) / 0.5 for p in (0.8, 0.9)]
    assert delphi[3] == ", ".join(f"{width:.3f}" for width in widths)
    whole = number(delphi[1]) + number(delphi[2])
    for rows in at_width:
        assert rows.keys() == first.keys() - {"delphi's defaults"}
        assert len({items for items, *_ in rows.values()}) == 1, "every recipe takes as many items for the same width"
        for _, _, tokens, fewer in rows.values():
            assert number(fewer) == pytest.approx(whole / number(tokens), abs=0.06)
        ordered = [
            number(rows[name][2]) for name in ("grade, per_call 10", "reason, per_call 10", "reason, per_call 1")
        ]
        assert ordered == sorted(ordered)
    few, many = (number(rows["reason, per_call 1"][0]) for rows in at_width)
    assert many / few == pytest.approx((widths[0] / widths[1]) ** 2, rel=0.05)


def table(part: str) -> dict[str, list[str]]:
    """The cells of the first table, by row."""
    lines = [line for line in part.split("Adaptive")[0].splitlines() if line.startswith("|") and "---" not in line][1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


def number(text: str) -> float:
    return float(text.replace(",", ""))
