"""What `autointerp inspect` finds of a dictionary: how its files were understood, and what it explains of a subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import sae.dictionary as sae
from autointerp.errors import UsageError
from autointerp.findings.inputs import Fit
from autointerp.harvest import dictionary_checks
from autointerp.harvest.inputs import open_corpus, open_dictionary, open_subject
from autointerp.progress import Tell
from autointerp.report import tables
from autointerp.report.escape import visible
from autointerp.spec.sections import Corpus, Dictionary, Subject
from autointerp.spec.spec import load
from autointerp.spec.toml_files import wrong_key
from sae.analysis import fit_check
from sae.cache import cache_dir

TOKENS = 8192


@dataclass(frozen=True)
class Asked:
    """What is to be looked at: a dictionary, and a subject over a corpus to measure it on, both or neither.

    `seed`, `skip_positions` and `max_norm_ratio` are those of a spec, or its defaults.
    """

    dictionary: Dictionary
    subject: Subject | None = None
    corpus: Corpus | None = None
    seed: int = 0
    skip_positions: int = 1
    max_norm_ratio: float = 10.0


def asked(
    path: str, subject: str | None, corpus: Sequence[str], overrides: Mapping[str, Any], tokens: int = TOKENS
) -> Asked:
    """What the command line asks for. `path` is a dictionary or a spec, whose subject and corpus are then used.

    `overrides` are fields of the dictionary; None is none. Raises `UsageError` for a subject without a corpus, and the reverse.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if path.endswith(".toml") and Path(path).is_file():
        spec = load(Path(path), [f"dictionary.{name}={value!r}" for name, value in given.items()])
        sampling = spec.units.seed, spec.harvest.skip_positions, spec.harvest.max_norm_ratio
        here = Asked(spec.dictionary, spec.subject, spec.corpus, *sampling)
    else:
        here = Asked(_dictionary({"path": path} | given))
    subject_ = Subject(model=subject) if subject else here.subject
    corpus_ = Corpus(sources=tuple(corpus), max_tokens=_enough(tokens)) if corpus else here.corpus
    if subject_ and not corpus_:
        corpus_ = _demo_text(tokens)
    if corpus_ and not subject_:
        raise UsageError("--corpus is of no use without --subject: name the model to measure the dictionary on")
    return replace(here, subject=subject_, corpus=corpus_)


def _dictionary(given: dict[str, Any]) -> Dictionary:
    try:
        return Dictionary.model_validate(given)
    except ValidationError as error:
        raise UsageError(wrong_key(error, Dictionary, "dictionary")) from None


def _demo_text(tokens: int) -> Corpus:
    """The demo's text, where it was made already."""
    files = sorted((cache_dir() / "demo").glob("text-*/*.jsonl"))
    if not files:
        raise UsageError("--subject needs text to measure on: give --corpus FILE, or run `autointerp demo` once")
    newest = max(path.parent for path in files)
    return Corpus(sources=tuple(str(path) for path in files if path.parent == newest), max_tokens=_enough(tokens))


def _enough(tokens: int) -> int:
    """Tokens of the corpus to read, from the beginnings of its sources in turns, for a varied sample of `tokens`."""
    return max(1000, 8 * tokens)


def inspect(asked: Asked, tokens: int, tell: Tell) -> dict[str, Any]:
    """Everything found, as JSON values: `dictionary`, and with a subject `subject` and `check`. Raises `SaeError`."""
    dictionary = open_dictionary(asked.dictionary, tell)
    found: dict[str, Any] = {"dictionary": understood(dictionary)}
    if asked.subject is None or asked.corpus is None:
        return found
    subject = open_subject(asked.subject, tell)
    dictionary.check_fits(subject.width(dictionary.hook_point), subject.name)
    corpus = open_corpus(asked.corpus, subject, tell)
    tell("checking the dictionary", 0, 0)
    measured = fit_check.check(
        subject,
        dictionary,
        corpus,
        tokens=tokens,
        seed=asked.seed,
        skip_positions=asked.skip_positions,
        max_norm_ratio=asked.max_norm_ratio,
    )
    found["subject"] = {"name": subject.name, "precision": subject.precision}
    return found | {"check": dictionary_checks.as_json(measured)}


def understood(dictionary: sae.Dictionary) -> dict[str, Any]:
    """How a dictionary's files were read, as JSON values."""
    norms = dictionary.decoder_norm
    threshold = dictionary.threshold
    return {
        "path": dictionary.path,
        "format": dictionary.format,
        "architecture": dictionary.architecture or dictionary.activation,
        "activation": dictionary.activation,
        "k": dictionary.k,
        "threshold": None if threshold is None else _spread(threshold.float()),
        "d_in": dictionary.d_in,
        "d_sae": dictionary.d_sae,
        "d_out": dictionary.d_out,
        "hook_point": dictionary.hook_point,
        "hook_point_out": dictionary.hook_point_out,
        "input_norm": dictionary.input_norm,
        "input_scale": dictionary.input_scale,
        "subtracts_b_dec": dictionary.apply_b_dec_to_input,
        "skip_connection": dictionary.W_skip is not None,
        "decoder_norm": _spread(norms),
        "notes": list(dictionary.notes),
    }


def _spread(values: Any) -> dict[str, float]:
    return {"min": float(values.min()), "median": float(values.median()), "max": float(values.max())}


def lines(found: Mapping[str, Any]) -> list[str]:
    """What was found as aligned text, a fact a line, the verdict last."""
    pairs = _understood_pairs(found["dictionary"])
    if "check" in found:
        subject = found["subject"]
        pairs.append(("", ""))
        pairs.append(("subject", f"{subject['name']} ({subject['precision']})"))
        pairs += tables.check_pairs(Fit.model_validate(found["check"]))
    width = max(len(name) for name, _ in pairs) + 2
    said = [f"{name:<{width}}{visible(value)}".rstrip() for name, value in pairs]
    if "check" in found:
        check = found["check"]
        said += [
            "",
            visible(check["said"]) or f"{check['verdict']} {found['dictionary']['hook_point']} of {subject['name']}",
        ]
    return said


def _understood_pairs(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = [
        ("dictionary", about["path"]),
        ("format", about["format"] or "not known"),
        ("architecture", about["architecture"]),
        ("features", f"{about['d_sae']:,} on {about['d_in']:,} dimensions"),
        ("reads", about["hook_point"]),
    ]
    if about["hook_point_out"]:
        pairs.append(("writes", f"{about['hook_point_out']}, {about['d_out']:,} dimensions"))
    pairs.append(("activation", _activation(about)))
    norms = {"none": "none", "scale": f"times {about['input_scale']:.4g}", "layer_norm": "layer norm"}
    pairs.append(("input norm", norms.get(about["input_norm"], "each token scaled to norm sqrt(d)")))
    pairs.append(("decoder bias", "subtracted from the input" if about["subtracts_b_dec"] else "not subtracted"))
    if about["skip_connection"]:
        pairs.append(("skip connection", "yes"))
    pairs.append(("decoder norms", _said_spread(about["decoder_norm"])))
    return pairs + [("note" if i == 0 else "", note) for i, note in enumerate(about["notes"])]


def _activation(about: Mapping[str, Any]) -> str:
    if about["k"] is not None:
        what = "groups" if about["activation"] == "groupmax" else "active a token"
        return f"{about['activation']}, {about['k']:,} {what}"
    if about["threshold"] is not None:
        return f"{about['activation']}, thresholds {_said_spread(about['threshold'])}"
    return str(about["activation"])


def _said_spread(spread: Mapping[str, float]) -> str:
    return f"{spread['min']:.4g} to {spread['max']:.4g}, median {spread['median']:.4g}"
