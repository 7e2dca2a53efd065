"""Carries out the paper's checks with the program's own studies, and writes their figures.

    attribution   correlation of attribution, and of activation, with the effect of ablation, over all active pairs of each prompt
    neurons       the share of features that no neuron of the layers before resembles
    concepts      the number of features that answer to a concept, in each size

`python -m autointerp.demo.paper.checks FOLDER FIGURES` trains the dictionaries of `training.toml` into FOLDER unless they are there,
carries out what is not kept there yet, and writes the file FIGURES, from which `docs/generate.py` makes a page.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from autointerp.demo.assets import DemoAssets, prepare
from autointerp.demo.paper import neurons
from autointerp.demo.paper.costs import Costs
from autointerp.demo.paper.machine import machine
from autointerp.demo.training import train_on_demo
from autointerp.errors import AutointerpError
from autointerp.json_values import plain
from autointerp.progress import Progress
from autointerp.studies.command import carry_out
from autointerp.studies.conduct import Outcome
from autointerp.studies.given import Given
from sae.errors import SaeError
from sae.files import write_text

ALL = 1 << 20
"""Ablations of a prompt: more than it has active pairs."""
SHOWN = 3
"""Features of a concept that are named, the strongest first."""
FILES = Path(__file__).parent


def main(folder: Path, figures: Path) -> int:
    """Write the figures. Returns the exit code."""
    with Progress() as progress:
        found = carry_out_checks(folder.absolute(), prepare(progress.update), progress)
    write_text(figures, json.dumps(plain(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    print(figures)
    return 0


def carry_out_checks(folder: Path, assets: DemoAssets, progress: Progress, files: Path = FILES) -> dict[str, Any]:
    """The figures of all checks as JSON values, from what is kept in `folder` as far as it is there.

    `files` is the folder of `training.toml` and `checks.toml`.
    """
    costs = Costs(folder / "costs.json")
    checks = tomllib.loads((files / "checks.toml").read_text(encoding="utf-8"))
    with costs.of("training"):
        reports = train_on_demo(files / "training.toml", assets, folder / "dictionaries", progress.update)
    given = Given(
        subject=str(assets.model), dictionaries=tuple(map(str, reports)), corpus=tuple(map(str, assets.corpus_files)),
        results=folder,
    )  # fmt: skip
    with costs.of("attribution"):
        attribution = [_attributed(given, path, each, progress) for path in reports for each in checks["prompts"]]
    with costs.of("concepts"):
        concepts = [_concept(given, reports, each, assets, progress) for each in checks["concepts"]]
    with costs.of("neurons"):
        correlations = [neurons.kept(path, given, progress) for path in reports]
    return {
        "dictionaries": [{"name": path.name, **asdict(report)} for path, report in reports.items()],
        "attribution": attribution,
        "concepts": concepts,
        "neurons": correlations,
        "costs": costs.parts,
        "machine": machine(),
    }


def _attributed(given: Given, dictionary: Path, check: dict[str, str], progress: Progress) -> dict[str, Any]:
    """`autointerp attribute` with all active pairs ablated, and as small a graph as there can be: it plays no part."""
    outcome = _study(
        replace(given, dictionaries=(str(dictionary),)), "attribute", {**check, "ablations": ALL, "nodes": 1}, progress
    )
    values = outcome.values["values"]
    [agreement] = values["dictionaries"].values()
    return {"dictionary": dictionary.name, **check, "difference": values["difference"], **agreement}


def _concept(
    given: Given, dictionaries: Iterable[Path], check: dict[str, Any], assets: DemoAssets, progress: Progress
) -> dict[str, Any]:
    """`autointerp find --on --off` in all dictionaries, and how often the text names the concept."""
    texts = {side: tuple(check[side]) for side in ("on", "off")}
    outcome = _study(given, "find", texts, progress)
    features = pd.read_parquet(outcome.folder / "features.parquet")
    found = [
        {
            "dictionary": path.name,
            "features": listed["listed"],
            "first": features[features["dictionary"] == name]
            .head(SHOWN)[["unit_id", "score", "context"]]
            .to_dict("records"),
        }
        for path, (name, listed) in zip(dictionaries, outcome.values["values"]["dictionaries"].items(), strict=True)
    ]
    counts = {f"n_{side}": len(own) for side, own in texts.items()}
    return {"concept": check["name"], "occurrences": _occurrences(assets, check["name"]), **counts, "found": found}


def _study(given: Given, name: str, settings: dict[str, Any], progress: Progress) -> Outcome:
    outcome = carry_out(given, name, settings, progress)
    assert outcome is not None, "no dry run was asked for"
    return outcome


def _occurrences(assets: DemoAssets, name: str) -> int:
    """How often the demo's text has a name."""
    return sum(
        json.loads(line)["text"].count(name)
        for path in assets.corpus_files
        for line in path.read_text(encoding="utf-8").splitlines()
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m autointerp.demo.paper.checks FOLDER FIGURES")
    try:
        raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2])))
    except (AutointerpError, SaeError) as error:
        raise SystemExit(str(error)) from None
