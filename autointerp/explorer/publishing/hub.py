"""The Hugging Face Hub: a published folder as a static Space, which is a live page, and an index as a dataset."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import ABOUT, CLUSTERS, EXAMPLES, LABELS, MAP, UNITS
from autointerp.explorer.publishing.folder import MARKER
from autointerp.explorer.publishing.published import Published, PublishedLibrary
from autointerp.explorer.publishing.run_files import spec_of
from autointerp.explorer.search.columns import PROPAGATED
from autointerp.explorer.search.reader import Reader
from autointerp.exports import hub, tracking
from autointerp.exports.card import fact_table, with_metadata
from autointerp.findings.summary import read_summary
from autointerp.report.escape import markdown as escaped

_CONFIGS = {"units": UNITS, "examples": EXAMPLES, "explanations": LABELS}
_ON_THE_HUB = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_TAGS = ["autointerp", "interpretability", "sparse-autoencoder"]
_OF_A_SPACE = """\
# {name}

Every feature of the dictionary with its explanation, examples and neighbours, made with autointerp: open the page above.

{facts}

The excerpts are of the corpus and are under its terms.
"""
_OF_A_DATASET = """\
# {name}

{verdict}Every feature of a trained dictionary: how often and how strongly it is active, its strongest examples and a sample of every
activation bin, the tokens that it promotes, the features like it, and its explanation, if it has one.

{facts}

## Files

- `units.parquet`: one row for each feature or neuron
- `examples.parquet`: one row for each example, with the activation at each token
- `labels.parquet`: explanations and grades

```python
from datasets import load_dataset

units = load_dataset("{repo}", "units", split="train").to_pandas()
```

To look at them in a browser:

```sh
hf download {repo} --repo-type dataset --local-dir index
autointerp explore index
```

The excerpts are of the corpus ({corpus}) and are under its terms.
"""


def check_name(option: str, repo: str | None) -> None:
    """Raise `UsageError` for a name that is not OWNER/NAME."""
    if repo is not None and (repo.count("/") != 1 or not all(repo.split("/"))):
        raise UsageError(f"{option} {repo} is not OWNER/NAME: write it like me/my-dictionary")


def push_space(
    repo: str, folder: Path, names: Iterable[str], indexes: Sequence[Published], results: Path, *, public: bool
) -> str:
    """Make a static Space of a published folder, its pages last. Returns its address."""
    library = PublishedLibrary(results, indexes)
    reader = library.reader(None)
    ordered = sorted({*names, MARKER}, key=lambda name: (name.endswith(".html"), name))
    metadata = {
        "title": reader.about.name,
        "sdk": "static",
        "pinned": False,
        "tags": _TAGS,
        **_models(indexes, results),
    }
    body = _OF_A_SPACE.format(name=escaped(reader.about.name), facts=fact_table(_facts(reader)))
    files: dict[str, Path | bytes] = {"README.md": with_metadata(metadata, body).encode()}
    return hub.upload(repo, hub.SPACE, files | {name: folder / name for name in ordered}, "Publish", public=public)


def push_dataset(repo: str, index: Published, results: Path, *, public: bool) -> str:
    """Make a dataset of an index, which `autointerp explore` opens. Returns its address."""
    reader = PublishedLibrary(results, [index]).reader(None)
    about = reader.about
    present = {name: file for name, file in _CONFIGS.items() if reader.folder.has(file)}
    configs = [
        {"config_name": name, "data_files": file, **({"default": True} if name == "units" else {})}
        for name, file in present.items()
    ]
    metadata = {"pretty_name": about.name, "tags": _TAGS, "configs": configs}
    body = _OF_A_DATASET.format(
        name=escaped(about.name), repo=repo, corpus=escaped(about.corpus), facts=fact_table(_facts(reader)),
        verdict=_verdict(index, results),
    )  # fmt: skip
    files: dict[str, Path | bytes] = {"README.md": with_metadata(metadata, body).encode()}
    files |= {
        name: reader.folder.path / name for name in (UNITS, EXAMPLES, LABELS, MAP, CLUSTERS) if reader.folder.has(name)
    }
    files[ABOUT] = about.model_dump_json().encode()  # last: a folder with it is complete
    return hub.upload(repo, hub.DATASET, files, f"Index of {about.name}", public=public)


def _facts(reader: Reader) -> list[tuple[str, str]]:
    about, columns = reader.about, reader.columns
    labels = columns.labels
    graded = int(np.sum(~np.isnan(columns.numbers["grade"])))
    propagated = labels["source"].to_pylist().count(PROPAGATED)
    judges = sorted({judge for judge in labels["judge"].to_pylist() if judge})
    return [
        ("model", about.subject.name),
        ("dictionary", f"{about.dictionary.path}, {about.dictionary.architecture}"),
        ("hook point", about.dictionary.hook_point),
        ("features", f"{about.n_features:,}"),
        *([("neurons", f"{about.n_neurons:,}")] if about.n_neurons else []),
        ("corpus", about.corpus),
        ("tokens", f"{about.n_tokens:,} of {about.n_documents:,} documents"),
        ("examples", f"{pq.read_metadata(reader.folder.path / EXAMPLES).num_rows:,}"),
        (
            "explained",
            f"{len(columns.explained_rows):,}" + (f", of which {propagated:,} propagated" if propagated else ""),
        ),
        ("graded", f"{graded:,}" + (f" by {', '.join(judges)}" if judges else "")),
    ]


def _verdict(index: Published, results: Path) -> str:
    """The result of the run of an index, as a paragraph."""
    if index.run is not None:
        with suppress(UsageError):
            return escaped(tracking.verdict(read_summary(results / index.run))) + "\n\n"
    return ""


def _models(indexes: Sequence[Published], results: Path) -> Mapping[str, Any]:
    """The models of the hub that the indexes are of, as a Space's metadata names them."""
    named = [spec_of(results / each.run).get("subject", {}).get("model", "") for each in indexes if each.run]
    models = sorted({model for model in named if _ON_THE_HUB.fullmatch(model) and not Path(model).exists()})
    return {"models": models} if models else {}
