"""The study `attribute`: gradient times activation, ablation, and the graph of one prompt, as in *Scaling Monosemanticity*,
"Features as Computational Intermediates"."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pandas as pd

from autointerp.errors import UsageError
from autointerp.studies.attribution import agreement, drawing, prose, tables
from autointerp.studies.attribution.interchange import Interchange, random_groups, supporting
from autointerp.studies.finding import Finding
from autointerp.studies.workbench import Studied, Workbench
from sae.studies.attribution.ablation import Place, differences_without
from sae.studies.attribution.circuit import Circuit, trace
from sae.studies.attribution.gradients import LogitDifference, Totals, total_gradients
from sae.studies.attribution.prompt import prompt_ids, token_id
from sae.studies.attribution.splicing import check_attributable, depth

DRAWS = 20
"""Random groups of features with which the graph's are compared."""


@dataclass(frozen=True)
class Attribute:
    """Settings of an attribution. Memory is that of the subject's pass with gradients, whatever the number of features."""

    name: ClassVar[str] = "attribute"
    version: ClassVar[int] = 2
    reads_text: ClassVar[bool] = False
    prompt: str
    target: str
    """A text of one token."""
    against: str | None = None
    """Another one, whose logit is subtracted; by default the mean logit is."""
    ablations: int = 64
    """Pairs of a feature and a position of each dictionary that are ablated: half of them those with the largest attributions, half
    those with the largest activations."""
    nodes: int = 12
    """Features of each dictionary in the graph, at most; errors are a third as many."""
    share: float = 0.01
    """Edges of a smaller share of all contributions to a node are left out of the graph."""
    seed: int = 0

    def carry_out(self, bench: Workbench) -> Finding:
        """The finding. Raises `UsageError` for dictionaries of one place, and `SaeError` for those that cannot be attributed."""
        studied = _in_order(bench.studied)
        subject, dictionaries = bench.subject, [each.dictionary.to(bench.subject.device) for each in studied]
        ids = prompt_ids(subject, self.prompt)
        difference = LogitDifference(
            token_id(subject, self.target), None if self.against is None else token_id(subject, self.against)
        )
        bench.progress.update("gradients", 0, 1)
        totals = total_gradients(subject, dictionaries, ids, difference)
        bench.progress.update("gradients", 1, 1)
        names = tables.Names(studied, tables.token_names(subject, ids), self.target)
        pairs = tables.pairs(names, totals)
        ablated = self._ablated(bench, totals, pairs)
        agreements = [
            agreement.of(ablated[ablated["number"] == number], int((pairs["number"] == number).sum()))
            for number in range(len(studied))
        ]
        circuit = trace(
            subject, totals, nodes=self.nodes, share=self.share,
            progress=lambda done, total: bench.progress.update("edges", done, total),
        )  # fmt: skip
        interchange = self._interchange(bench, totals, circuit)
        return Finding(
            title=f"Attribution of “{self.target}” after “{self.prompt}”",
            sentences=tuple(
                prose.sentences(self.target, self.against, names, totals, agreements, circuit, interchange)
            ),
            listings=(
                tables.attribution(pairs),
                tables.ablation(ablated),
                tables.nodes(names, circuit),
                tables.edges(names, circuit),
                tables.errors(names, totals),
            ),
            pictures=(drawing.picture(names, circuit),) if circuit.nodes else (),
            cautions=tuple(prose.cautions(names, agreements)),
            values={
                "difference": totals.value,
                "dictionaries": {each.name: asdict(found) for each, found in zip(studied, agreements, strict=True)},
                "interchange": None if interchange is None else asdict(interchange),
            },
        )

    def _ablated(self, bench: Workbench, totals: Totals, pairs: pd.DataFrame) -> pd.DataFrame:
        """The chosen pairs with the effects of their ablation, which are kept for each dictionary."""
        frames = []
        for number in range(len(totals.active)):
            chosen = agreement.chosen(pairs[pairs["number"] == number], self.ablations)
            groups = [
                [Place(number, p, f)]
                for p, f in zip(chosen["position"].tolist(), chosen["feature"].tolist(), strict=True)
            ]
            effects = _effects(f"ablation-{number + 1}", bench, totals, groups)
            frames.append(chosen.assign(ablation=effects))
        return pd.concat(frames, ignore_index=True).sort_values("ablation", ascending=False, kind="stable")

    def _interchange(self, bench: Workbench, totals: Totals, circuit: Circuit) -> Interchange | None:
        """The effect of the graph's supporting features together, and of random groups; None if there are too few other features."""
        group = supporting(circuit)
        draws = random_groups(totals.active, group, DRAWS, self.seed)
        if not group or not draws:
            return None
        own, *others = _effects("interchange", bench, totals, [group, *draws])
        return Interchange(len(group), float(own), tuple(map(float, others)))


def _effects(part: str, bench: Workbench, totals: Totals, groups: list[list[Place]]) -> np.ndarray:
    """How much the silence of each group lowers the difference of logits, kept under the name of the part."""

    def progress(done: int, total: int) -> None:
        bench.progress.update(part.replace("-", " "), done, total)

    def measure() -> dict[str, np.ndarray]:
        return {"effect": totals.value - differences_without(bench.subject, totals, groups, progress).numpy()}

    return bench.folder.kept_arrays(part, measure)["effect"]


def _in_order(studied: tuple[Studied, ...]) -> list[Studied]:
    """The dictionaries from the first layer to the last. Raises `UsageError` for two of one place, and `DictionaryError`."""
    for each in studied:
        check_attributable(each.dictionary)
    ordered = sorted(studied, key=lambda each: depth(each.dictionary))
    for one, other in pairwise(ordered):
        if depth(one.dictionary) == depth(other.dictionary):
            raise UsageError(
                f"{one.name} and {other.name} both stand for {one.dictionary.reconstructed_hook_point}: give one dictionary a place"
            )
    return ordered
