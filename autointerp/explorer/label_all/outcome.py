"""`propagation.json` in the folder of an index: which units were chosen to be explained, and what was propagated from them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.propagation.curve import Checked, Point
from autointerp.formatting import percent, plural
from autointerp.places import writing
from sae.files import write_text

FILE = "propagation.json"


class Outcome(BaseModel):
    """What is known of the labels of all features."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    identity: str
    """Identity of the index."""
    chosen: tuple[int, ...] = ()
    """Rows of the units that were chosen to be explained, in the order of their worth."""
    by_chance: tuple[int, ...] = ()
    """Those of them that were drawn by chance."""
    features: int = 0
    """Features of the index."""
    explained: int = 0
    """Features with an explanation of their own."""
    judge: str = ""
    """The judge that says whether an explanation is right."""
    least_probability: float | None = None
    """Least probability of a propagated explanation."""
    point: Point | None = None
    """The point of the curve at this probability."""
    sample: Checked | None = None
    """Checks of propagated explanations, drawn by chance from all of them."""
    curve: tuple[Point, ...] = ()
    """Coverage against risk, from the highest probability to the lowest. Empty before the first propagation, as the three fields above."""

    @property
    def unknown(self) -> int:
        """Features without any explanation."""
        return self.features - self.explained - (self.point.units if self.point else 0)

    def short(self) -> str:
        """The same for a page's head."""
        parts = [f"{self.explained:,} of {plural(self.features, 'feature')} explained"]
        if self.point and self.point.units:
            checked = (
                f"{self.sample.right} of {self.sample.n} checked were"
                if self.sample and self.sample.n
                else "none checked"
            )
            expected = f"{percent(self.point.precision)} expected right, {checked}"
            parts.append(
                f"{self.point.units:,} propagated, each at least {percent(self.point.probability)} probable ({expected})"
            )
        return " \u00b7 ".join([*parts, f"{self.unknown:,} unknown"])

    def sentence(self) -> str:
        """What was labelled, propagated and left unknown."""
        point = self.point
        if point is None or not point.units:
            rest = f"none probable enough to be propagated, {self.unknown:,} unknown"
            return f"{plural(self.features, 'feature')}: {self.explained:,} explained, {rest}"
        sample = self.sample or Checked()
        checked = f"the judge found {sample.right} of {sample.n} right that were drawn by chance [{percent(sample.low)}, {percent(sample.high)}]"
        return (
            f"{plural(self.features, 'feature')}: {self.explained:,} explained, {point.units:,} propagated with a probability of"
            f" {point.probability:.2f} or more ({percent(point.precision)} expected right; {checked}), {self.unknown:,} unknown"
        )


def load(folder: IndexFolder) -> Outcome:
    """The outcome in an index's folder; an empty one if there is none, or if it is of an earlier index in its place."""
    empty = Outcome(identity=folder.about.identity)
    try:
        found = Outcome.model_validate_json((folder.path / FILE).read_bytes())
    except (OSError, ValidationError):
        return empty
    return found if found.identity == empty.identity else empty


def save(folder: IndexFolder, outcome: Outcome) -> None:
    """Write `propagation.json`. Raises `PlaceFailed`."""
    with writing(folder.path):
        write_text(folder.path / FILE, outcome.model_dump_json(indent=1))


def table(points: tuple[Point, ...]) -> list[str]:
    """The curve as lines of text."""
    lines = ["probability  coverage     units  expected right  checked in this band: right"]
    for point in points:
        of = point.checked
        checked = f"{of.right} of {of.n} [{percent(of.low)}, {percent(of.high)}]" if of.n else "-"
        expected = percent(point.precision) if point.precision is not None else "-"
        level = f">= {point.probability:.2f}"
        lines.append(f"{level:>11}  {percent(point.coverage):>8}  {point.units:>8,}  {expected:>14}  {checked}")
    return lines
