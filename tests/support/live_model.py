"""A planted subject with its dictionary, and its index, for tests that ask a model."""

from __future__ import annotations

from pathlib import Path

from support.planted_world import world as planted

from autointerp.explorer.index.build import build
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.live.inputs import open_model
from autointerp.explorer.live.model import LiveModel
from autointerp.explorer.live.questions import Source
from autointerp.progress import Progress
from autointerp.studies.given import Given


def index(world: planted.World, folder: Path, *, neurons: bool = False) -> IndexFolder:
    """The index of a world, of no run."""
    inputs = Given(
        subject=str(world.subject), dictionaries=(str(world.dictionary),), corpus=(str(world.corpus),), out=folder, quiet=True
    )  # fmt: skip
    with Progress(quiet=True) as progress:
        return build(inputs, progress, neurons=neurons)


def model(folder: IndexFolder) -> LiveModel:
    """The model of an index, in this process."""
    return open_model(Source(index=str(folder.path), run=None))
