"""What each aid to the explainer is worth: the demo's units explained without any, and with each, and judged on the same exemplars.

    units       units with both explanations judged; `shown` of them have what the aid shows, `changed` another explanation
    with, without   mean grade over those units; `difference` with its 95% interval over units

Run with `python tests/benchmarks/explanations.py [--judge MODEL --base-url URL] [--units N] [--tokens N] [--per-bin N] [--out FOLDER]`. The default judge is
`embedded`, which is no LLM: it reads no words of instruction, and shows only that silent windows of several sorts change its counts. A run in
the same folder goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from autointerp import records
from autointerp.demo import spec as demo_spec
from autointerp.findings import tables
from autointerp.harvest import explainer_windows
from autointerp.ledger.database import Ledger
from autointerp.pipeline import local
from autointerp.pipeline import prepare as preparation
from autointerp.progress import Progress
from autointerp.run import Run
from autointerp.spec.judge_sections import Judge
from autointerp.stats import aid_effects

COMPARED = ("contrast", "neighbours", "logits", "revise")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", default="embedded")
    parser.add_argument("--base-url")
    parser.add_argument("--units", type=int, default=32, help="features, and as many neurons")
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--per-bin", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/explanations"))
    given = parser.parse_args()
    overrides = [
        f"units.features={given.units}", f"units.neurons={given.units}", f"corpus.max_tokens={given.tokens}",
        f"score.per_bin={given.per_bin}", f"explain.compare={list(COMPARED)}", "controls.shuffled=0", "controls.base_rate=0",
        "controls.planted=0", "controls.repeated=0", "controls.random_dictionary=false", "controls.random_subject=false", "studies.tokens=0",
    ]  # fmt: skip
    with Progress() as progress:
        spec = demo_spec.prepare_spec(Judge(model=given.judge, base_url=given.base_url), overrides, progress.update)
        run = preparation.prepare(spec, given.out, progress)
        ledger = Ledger.in_folder(given.out)
        local.execute_run(run, ledger, progress)
    show(run, ledger)


def show(run: Run, ledger: Ledger) -> None:
    """Print a line an aid and kind."""
    frames = tables.of_run(ledger, run)
    effects = aid_effects.effects(frames.main, frames.units, scale=(0, 3), confidence=0.95, resamples=2000, seed=0)
    print("aid         units     n  shown  changed  without  with   difference (95%)")
    for aid in COMPARED:
        shown = {
            u
            for u in run.units
            if explainer_windows.aids_of_unit(run.harvest, run.spec, u).only(
                explainer_windows.requested_aids(run.spec, aid)
            )
            != records.Aids()
        }
        said = frames.explanations
        changed = {u for u in run.units if f"{u}#{aid}" in said and said[f"{u}#{aid}"] != said.get(u)}
        for kind in ("feature", "neuron"):
            found = effects[aid][kind]
            if found["difference"] is None:
                continue
            mine = {u for u, unit in run.units.items() if unit.kind == kind}
            low, high = (f"{v:+.3f}" if v is not None else "?" for v in (found["ci_low"], found["ci_high"]))
            print(
                f"{aid:<10}  {kind:<7}  {found['n_units']:>3}  {len(shown & mine):>5}  {len(changed & mine):>7}"
                f"  {found['without']:>7.3f}  {found['with']:.3f}  {found['difference']:+.3f} ({low} to {high})"
            )


if __name__ == "__main__":
    main()
