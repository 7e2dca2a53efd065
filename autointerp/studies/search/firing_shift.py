"""The study `find --new`: features whose firing rate on new text leaves the interval of the known text's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from autointerp.formatting import percent, plural
from autointerp.harvest.inputs import open_corpus
from autointerp.studies.finding import Finding, Listing
from autointerp.studies.request import with_sources
from autointerp.studies.search.contexts import described
from autointerp.studies.search.rate_changes import LEAST_DOCUMENTS, rate_changes
from autointerp.studies.workbench import Studied, Workbench
from sae.corpus.corpus import Corpus
from sae.studies.firing_rates import FiringSums, firing_sums

_COLUMNS = {
    "explanation": "explanation",
    "rate": "rate on known text",
    "low": "from",
    "high": "to",
    "new_rate": "rate on new text",
    "times": "times as often",
    "q": "q",
    "context": "strongest context in the run",
}


@dataclass(frozen=True)
class FiringShift:
    """Features that fire more or less often on new text. Memory is that of a batch of tokens and of eight numbers a feature."""

    name: ClassVar[str] = "find"
    version: ClassVar[int] = 2
    reads_text: ClassVar[bool] = True
    new: tuple[str, ...]
    """Sources of the new text, as `corpus.sources` names them."""
    files: str
    """Hash of the sizes and times of their files."""
    tokens: int = 100_000
    """Tokens that are read of each corpus."""
    fdr: float = 0.05
    """Expected share of features called changed that are not."""
    confidence: float = 0.95
    seed: int = 0

    def carry_out(self, bench: Workbench) -> Finding:
        """The finding. Raises `UsageError` and `SaeError`; each corpus's sums are kept."""
        corpora = {"known": bench.corpus, "new": self._new(bench)}
        frames, sentences, figures = [], [], {}
        for number, studied in enumerate(bench.studied):
            sums = {
                side: self._sums(bench, studied, corpus, f"{side}-{number}-{corpus.fingerprint[:8]}")
                for side, corpus in corpora.items()
            }
            table = rate_changes(sums["known"], sums["new"], fdr=self.fdr, confidence=self.confidence)
            tested, changed = int(table["p"].notna().sum()), int(table["changed"].sum())
            more = int((table["changed"] & (table["new_rate"] > table["rate"])).sum())
            sentences.append(
                f"{plural(changed, 'feature')} of {studied.name} fire at another rate on the new text, {more:,} of them more often: of"
                f" {tested:,} tested, at a false discovery rate of {percent(self.fdr)}, over {sums['known'].documents:,} known and"
                f" {sums['new'].documents:,} new documents."
            )
            figures[studied.name] = {"tested": tested, "changed": changed, "more_often": more}
            frames.append(_found(table, studied))
        frame = pd.concat(frames, ignore_index=True).sort_values("p", kind="stable", ignore_index=True)
        several = {"dictionary": "dictionary"} if len(bench.studied) > 1 else {}
        title = "Features whose firing changes on new text"
        return Finding(
            title,
            tuple(sentences),
            (Listing("features", f"{title}, the surest first", frame, {"unit_id": "feature", **several, **_COLUMNS}),),
            values={"dictionaries": figures},
            cautions=(
                f"Features that fire in fewer than {LEAST_DOCUMENTS} documents are not tested. A change says that the texts differ, and"
                " not that the model does.",
            ),
        )

    def _new(self, bench: Workbench) -> Corpus:
        """The new text, in contexts as long as the known one's."""
        return open_corpus(with_sources(bench.request.corpus, self.new), bench.subject, bench.progress.update)

    def _sums(self, bench: Workbench, studied: Studied, corpus: Corpus, part: str) -> FiringSums:
        def measure() -> dict[str, np.ndarray]:
            sums = firing_sums(
                bench.subject, studied.dictionary, corpus, tokens=self.tokens, seed=self.seed,
                progress=lambda done, total: bench.progress.update(f"reading {part.partition('-')[0]} text", done, total),
            )  # fmt: skip
            return {name: np.asarray(value) for name, value in vars(sums).items()}

        kept = bench.folder.kept_arrays(part, measure)
        documents, tokens = int(kept.pop("documents")), int(kept.pop("tokens"))
        return FiringSums(documents=documents, tokens=tokens, tokens_squared=float(kept.pop("tokens_squared")), **kept)


def _found(table: pd.DataFrame, studied: Studied) -> pd.DataFrame:
    """The changed features with what is known of them, the smallest p first."""
    changed = table[table["changed"]].sort_values("p", kind="stable")
    changed = changed.assign(
        feature=changed.index, times=changed["new_rate"] / changed["rate"].where(changed["rate"] > 0)
    )
    return described(changed, studied)
