"""Labels all features of an index: chooses units, has them explained, and propagates their explanations to the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from autointerp.calls import consent
from autointerp.errors import BudgetExceeded, UsageError
from autointerp.explorer.index.folder import UNITS, IndexFolder
from autointerp.explorer.label_all import known_labels, outcome
from autointerp.explorer.label_all.known_labels import Known
from autointerp.explorer.label_all.outcome import Outcome
from autointerp.explorer.label_all.propagate import propagate
from autointerp.explorer.labels.fits import checking
from autointerp.explorer.labels.labeller import Labeller
from autointerp.explorer.labels.price import Price, total
from autointerp.explorer.propagation import checks, choice, index_evidence
from autointerp.explorer.propagation.evidence import Evidence
from autointerp.formatting import dollars, plural
from autointerp.ledger.database import Ledger
from autointerp.progress import Progress
from autointerp.spec.spec import Spec
from sae.errors import SaeError
from sae.formats.load import load_dictionary


@dataclass(frozen=True)
class Request:
    """What is asked for: how many features shall have an explanation of their own (None for all), and what is done with the others."""

    units: int | None = None
    share: float | None = None
    everything: bool = False
    propagate: bool = True
    least_probability: float | None = None
    usd: float | None = None
    agreed: bool = False
    dry: bool = False

    def target(self, n_features: int) -> int:
        """Features that shall have an explanation of their own."""
        if self.everything:
            return n_features
        return min(n_features, self.units if self.units is not None else math.ceil((self.share or 0) * n_features))


def label_all(folder: IndexFolder, spec: Spec, ledger: Ledger, request: Request, progress: Progress) -> Outcome | None:
    """Explain and propagate; None after a dry run. The same call continues what was interrupted, and pays for nothing twice.

    Raises `UsageError`, `BudgetExceeded` and `ProviderStopped`; explanations that are there by then are kept.
    """
    labeller = Labeller(folder, spec, ledger, usd=request.usd)
    evidence = _evidence(folder, progress) if request.propagate or not request.everything else None
    before = outcome.load(folder)
    known, planned = known_labels.read(folder), before
    if (target := request.target(folder.about.n_features)) > len(known.rows):
        planned = _planned(folder, evidence, known, before, target)
    to_explain = _unexplained(planned.chosen, known)
    price = labeller.price(to_explain, explain=True, grade=False)
    check_price = (
        _price_of_checks(labeller, spec, ledger, len(known.rows) + len(to_explain)) if request.propagate else None
    )
    _announce(price, check_price, request, progress)
    if request.dry:
        return None
    outcome.save(folder, planned)
    failed: dict[int, str] = {}
    if to_explain:
        failed = dict(labeller.explain(to_explain, progress.update).failed)
    known = known_labels.read(folder)
    if failed:
        progress.note(
            f"{plural(len(failed), 'feature')} of {len(to_explain):,} could not be explained: {next(iter(failed.values()))}"
        )
    if silent := set(_unexplained(to_explain, known)) - set(failed):
        progress.note(
            f"{plural(len(silent), 'feature')} of {len(to_explain):,} got an explanation that says nothing, and {'counts' if len(silent) == 1 else 'count'} as unexplained"
        )
    found = planned.model_copy(
        update={"features": folder.about.n_features, "explained": len(known.rows), "judge": spec.judge.model}
    )
    if request.propagate and evidence is not None:
        checker = _checker(labeller, spec, ledger, request.usd)
        with _told_as_one(request.usd, labeller, checker):
            found = propagate(checker, evidence, known, found, request.least_probability, progress)
    outcome.save(folder, found)
    return found


def _evidence(folder: IndexFolder, progress: Progress) -> Evidence:
    about = folder.about
    directions = None
    try:
        dictionary = load_dictionary(about.dictionary.path, hook_point=about.dictionary.hook_point)
        if dictionary.W_dec.ndim == 2 and dictionary.d_sae == about.n_features:
            directions = dictionary.W_dec.float().cpu().numpy()
    except SaeError as error:
        progress.note(f"without decoder vectors, from the lists of near features alone: {error}")
    return index_evidence.read(folder, directions, progress.update)


def _planned(folder: IndexFolder, evidence: Evidence | None, known: Known, before: Outcome, target: int) -> Outcome:
    """The outcome with further units chosen, as many as are missing beside those that were chosen before."""
    pending = _unexplained(before.chosen, known)
    missing = target - len(known.rows) - len(pending)
    if evidence is None:
        events = folder.table(UNITS, ["events"])["events"].to_numpy()[: folder.about.n_features]
        active = np.setdiff1d(np.flatnonzero(events), known.rows)
        return before.model_copy(update={"chosen": tuple(active.tolist())})
    if missing <= 0:
        return before
    labelled = np.concatenate([known.rows, np.array(before.chosen, dtype=np.int64)])
    chosen = choice.choose(evidence, missing, np.unique(labelled))
    return before.model_copy(
        update={
            "chosen": (*before.chosen, *chosen.rows.tolist()),
            "by_chance": (*before.by_chance, *chosen.rows[chosen.by_chance].tolist()),
        }
    )


def _unexplained(chosen: Sequence[int], known: Known) -> list[int]:
    own = set(known.rows.tolist())
    return [row for row in chosen if row not in own]


def _checker(labeller: Labeller, spec: Spec, ledger: Ledger, usd: float | None) -> Labeller:
    """A labeller that checks pairs, with what is left of the budget."""
    left = None if usd is None else max(0.0, usd - labeller.spent_usd)
    return Labeller(labeller.index, checking(spec), ledger, usd=left)


@contextmanager
def _told_as_one(usd: float | None, *labellers: Labeller) -> Iterator[None]:
    """Name the whole budget in the error of a part of it."""
    try:
        yield
    except BudgetExceeded as error:
        if usd is None or not str(error).startswith("--usd"):
            raise
        spent = dollars(sum(labeller.spent_usd for labeller in labellers))
        raise BudgetExceeded(
            f"--usd = {usd:g} could be exceeded by the next call: {spent} spent; give more, and ask again: what was paid for is kept"
        ) from None


def _price_of_checks(labeller: Labeller, spec: Spec, ledger: Ledger, n_labelled: int) -> Price:
    """The price of the checks of as many labelled units, and of those at units without a label."""
    active = np.flatnonzero(labeller.index.table(UNITS, ["events"])["events"].to_numpy()).tolist() or [0]
    rows = [active[i % len(active)] for i in range(checks.most_checks(n_labelled))]
    return _checker(labeller, spec, ledger, None).price(rows, explain=False, grade=True)


def _announce(price: Price, check_price: Price | None, request: Request, progress: Progress) -> None:
    """Say the price, and ask for consent above a dollar. Raises `UsageError` if the judge cannot be asked."""
    prices = [price, *([check_price] if check_price else [])]
    usd = total([each.usd for each in prices])
    parts = [f"{plural(price.units, 'feature')} to explain by {price.explainer}"]
    if check_price:
        parts.append(
            f"at most {plural(check_price.questions, 'question')} to {check_price.judge} about the fit of explanations"
        )
    cost = "cost unknown: no price for this model" if usd is None else f"about {dollars(usd)}"
    text = f"{', '.join(parts)}: {plural(sum(each.calls for each in prices), 'call')}, {cost}"
    (progress.say if request.dry else progress.note)(text)
    for note in dict.fromkeys(note for each in prices for note in each.notes):
        progress.note(note)
    if request.dry:
        return
    if problem := next((each.problem for each in prices if each.problem), ""):
        raise UsageError(problem)
    consent.require(usd, request.usd, progress, agreed=request.agreed, name="--usd")
