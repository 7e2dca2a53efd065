"""How two indexes relate: the same dictionary, two dictionaries whose features can be matched, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ValidationError

from autointerp.explorer.comparison.schema import Relation
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.index.schema import About

RESULTS = "summary.json"


class _Input(BaseModel):
    fingerprint: str


class Results(BaseModel):
    """The facts of a run's `summary.json` that are needed here. The model of the whole file takes two seconds to import."""

    judge: str
    explainer: str
    subject: _Input
    dictionary: _Input


@dataclass(frozen=True)
class Side:
    """An index, with the results of its run if it lies in the folder of one."""

    folder: IndexFolder

    @property
    def about(self) -> About:
        """What the index is of."""
        return self.folder.about

    @property
    def run(self) -> Path | None:
        """The folder of the run in whose folder the index is."""
        parent = self.folder.path.resolve().parent
        return parent if (parent / RESULTS).is_file() else None

    @cached_property
    def summary(self) -> Results | None:
        """Facts of the run; None without a run, or if they cannot be read."""
        try:
            return Results.model_validate_json((self.run / RESULTS).read_bytes()) if self.run else None
        except (OSError, ValidationError):
            return None

    @property
    def subject(self) -> str:
        """Hash of the subject's weights as the index or else its run states it; empty if neither does."""
        return self.about.subject.fingerprint or (self.summary.subject.fingerprint if self.summary else "")

    @property
    def dictionary(self) -> str:
        """The same of the dictionary."""
        return self.about.dictionary.fingerprint or (self.summary.dictionary.fingerprint if self.summary else "")


def relation_of(a: Side, b: Side) -> tuple[Relation, str]:
    """The relation of two indexes and a sentence about it, as far as it can be told without the weights: two dictionaries of one subject
    can be matched if their decoder vectors have one width."""
    one, other = a.about, b.about
    if _same_dictionary(a, b):
        subjects = "" if same_subject(a, b) else f", on two subjects: {one.subject.name} and {other.subject.name}"
        return "same", f"One dictionary in two indexes{subjects}: each feature is compared with itself."
    if not same_subject(a, b):
        return "apart", (
            f"The dictionaries are of two subjects, {one.subject.name} and {other.subject.name}, so their decoder vectors"
            " lie in different spaces: only distributions are compared."
        )
    points = one.dictionary.hook_point, other.dictionary.hook_point
    where = f"at {points[0]}" if points[0] == points[1] else f"at {points[0]} and at {points[1]}"
    return (
        "space",
        f"Two dictionaries of one subject, {where}: features are matched by the cosine of their decoder vectors.",
    )


def same_tokens(a: Side, b: Side) -> bool:
    """Whether two indexes counted the same tokens: of one subject and one corpus, and as many in as many documents."""
    one, other = a.about, b.about
    return same_subject(a, b) and (one.corpus, one.n_tokens, one.n_documents) == (
        other.corpus,
        other.n_tokens,
        other.n_documents,
    )


def same_subject(a: Side, b: Side) -> bool:
    """Whether two indexes are of one language model, by the hash of its weights if both state it, else by its name."""
    return a.subject == b.subject if a.subject and b.subject else a.about.subject.name == b.about.subject.name


def _same_dictionary(a: Side, b: Side) -> bool:
    one, other = a.about.dictionary, b.about.dictionary
    if (one.hook_point, one.d_sae) != (other.hook_point, other.d_sae):
        return False
    return a.dictionary == b.dictionary if a.dictionary and b.dictionary else _place(one.path) == _place(other.path)


def _place(path: str) -> str:
    """A path without detours; the id of a dictionary on the hub as it is."""
    return str(Path(path).resolve()) if Path(path).exists() else path
