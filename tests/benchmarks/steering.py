"""Seconds of steering: prompts times factors of one feature, each beside a random direction, with damage and risen tokens.

    cpu s     CPU seconds of this process for the whole study
    plain     CPU seconds of the same number of continuations, without any intervention or measurement
    ratio     cpu s / plain

Run with `python tests/benchmarks/steering.py [--subject MODEL --dictionary PATH] [--prompts N] [--tokens N]`; without a subject, a tiny one
is made. The two are run in turn in one process, so that the ratio holds on a busy machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from support.planted_world import world as planted

from autointerp.harvest.input_cache import InputCache
from autointerp.progress import Progress
from autointerp.spec.sections import Dictionary, Subject
from autointerp.studies.folder import StudyFolder
from autointerp.studies.request import Request, Source
from autointerp.studies.steering.study import Steer
from autointerp.studies.workbench import Workbench, opened
from sae.studies.intervention import Row, intervene
from sae.studies.steered_texts import continuations, encode_prompt

FACTORS = (-2.0, -0.5, 0.5, 2.0, 5.0)
HEADER = ("prompts", "continuations", "tokens", "cpu s", "wall s", "plain", "ratio")
OPENINGS = (
    "The best way to", "Last week I went to", "My name is", "In the year 1850 the", "def add(left, right):", "She opened the door and",
    "The recipe calls for two", "According to the report", "When it rains in the city", "He said that music",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject")
    parser.add_argument("--dictionary")
    parser.add_argument("--prompts", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=32)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prompts, unit = OPENINGS[: given.prompts], "0"
        if given.subject is None:
            world = planted.make(Path(folder) / "world", documents=4)
            given.subject, given.dictionary = str(world.subject), str(world.dictionary)
            prompts = tuple(f"filler{i} harbour{i % 5} filler{i + 1}" for i in range(given.prompts))
        request = Request(Subject(model=given.subject), (Source(Dictionary(path=given.dictionary)),))
        subject, studied = opened(request, Progress(quiet=True), InputCache())
        bench = Workbench(request, subject, studied, StudyFolder(Path(folder) / "out"), Progress(quiet=True), "steer")
        unit = str(_active(bench, prompts))
        cpu, wall = time.process_time(), time.perf_counter()
        Steer((unit,), prompts, FACTORS, tokens=given.tokens).carry_out(bench)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        rows = 1 + 2 * len(FACTORS)
        start = time.process_time()
        untouched = intervene(subject, [])
        for prompt in prompts:
            ids = encode_prompt(subject, prompt, given.tokens)
            continuations(subject, untouched, [Row(ids, len(ids))] * rows, given.tokens, None, ends=False)
        plain = time.process_time() - start
    cells = (
        len(prompts),
        rows * len(prompts),
        given.tokens,
        f"{cpu:.1f}",
        f"{wall:.1f}",
        f"{plain:.1f}",
        f"{cpu / plain:.2f}",
    )
    print(f"| {' | '.join(HEADER)} |")
    print(f"|{'---|' * len(HEADER)}")
    print(f"| {' | '.join(map(str, cells))} |")


def _active(bench: Workbench, prompts: tuple[str, ...]) -> int:
    """The feature that is most active in the first prompt, so that its maximum over the prompts is not 0."""
    dictionary = bench.one.dictionary
    ids = torch.tensor([encode_prompt(bench.subject, prompts[0], 1)])
    x = bench.subject.run(ids, [dictionary.hook_point])[dictionary.hook_point][0, 1:]
    return int(dictionary.activations(x).amax(dim=0).argmax())


if __name__ == "__main__":
    main()
