"""What `autointerp explain` works on: the index that is meant, and the spec whose judge is asked."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from autointerp.errors import UsageError
from autointerp.explorer.command import find_index
from autointerp.explorer.index.folder import IndexFolder
from autointerp.spec.judge_sections import Judge
from autointerp.spec.spec import Spec, load
from autointerp.spec.toml_files import wrong_key


def index_and_spec(name: str | None, results: Path, judge: str | None) -> tuple[IndexFolder, Spec]:
    """The index that a command line means, and the spec of its run, with another model in place of explainer and judge if one is given.

    Raises `UsageError`.
    """
    path, run = find_index(name, results)
    if path is None:
        raise UsageError(f"{run} has no index: make it with `autointerp index {run}`")
    folder = IndexFolder(path)
    if folder.about.run is None:
        raise UsageError(f"{path} is of no run, whose judge could be asked: give a run")
    spec_file = results / Path(folder.about.run).name / "spec.toml"
    if not spec_file.is_file():
        raise UsageError(
            f"{path} is the index of {folder.about.run}, which is not in {results}: name its results folder with --results"
        )
    spec = load(spec_file)
    if judge is None:
        return folder, spec
    try:
        settings = Judge.model_validate({"model": judge})
    except ValidationError as error:
        raise UsageError(wrong_key(error, Judge, "--judge")) from None
    return folder, spec.model_copy(update={"judge": settings, "explainer": None})
