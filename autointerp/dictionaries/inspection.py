"""The results of `autointerp inspect`: how a dictionary's files are read, and how much of a subject it explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

import sae.dictionary as sae
from autointerp.dictionaries.saelens_names import path_of, resolved
from autointerp.errors import UsageError
from autointerp.findings.inputs import Fit
from autointerp.harvest.input_paths import check_paths
from autointerp.harvest.inputs import open_corpus, open_dictionary, open_subject, with_bos
from autointerp.harvest.makers.dictionary_checks import as_json
from autointerp.progress import OnProgress
from autointerp.report import tables
from autointerp.report.escape import visible
from autointerp.spec.sections import Corpus, Dictionary, Subject
from autointerp.spec.spec import load
from autointerp.spec.toml_files import wrong_key
from sae.analysis.fit_check import check_fit
from sae.cache import cache_dir
from sae.subject import model
from sae.subject.capacity import n_positions, n_token_ids

TOKENS = 8192


@dataclass(frozen=True)
class InspectRequest:
    """A dictionary to inspect, and a subject and corpus to measure it on, both or neither.

    `seed`, `skip_positions` and `max_norm_ratio` are those of a spec, or their defaults.
    """

    dictionary: Dictionary
    subject: Subject | None = None
    corpus: Corpus | None = None
    seed: int = 0
    skip_positions: int = 1
    max_norm_ratio: float = 10.0
    from_spec: bool = False
    """Whether a spec sets the context; otherwise it is shortened to the subject's positions."""


def request_of(
    path: str, subject: str | None, corpus: Sequence[str], overrides: Mapping[str, Any], tokens: int = TOKENS
) -> InspectRequest:
    """The request of a command line. `path` is a dictionary, or a spec, whose subject and corpus are then used.

    `overrides` are fields of the dictionary; those that are None are ignored. Raises `UsageError` for a corpus without a subject,
    or a subject without text to measure on.
    """
    overridden = {name: value for name, value in overrides.items() if value is not None}
    if path.endswith(".toml") and Path(path).is_file():
        spec = load(Path(path), [f"dictionary.{name}={value!r}" for name, value in overridden.items()])
        sampling = spec.units.seed, spec.harvest.skip_positions, spec.harvest.max_norm_ratio
        request = InspectRequest(resolved(spec).dictionary, spec.subject, spec.corpus, *sampling)
    else:
        request = InspectRequest(_dictionary({"path": path_of(path)} | overridden))
    subject_ = Subject(model=subject) if subject else request.subject
    corpus_ = Corpus(sources=tuple(corpus), max_tokens=_corpus_tokens(tokens)) if corpus else request.corpus
    if subject_ and not corpus_:
        corpus_ = _demo_text(tokens)
    if corpus_ and not subject_:
        raise UsageError("--corpus needs --subject: name the model to measure the dictionary on")
    return replace(request, subject=subject_, corpus=corpus_, from_spec=corpus_ is request.corpus)


def _dictionary(fields: dict[str, Any]) -> Dictionary:
    try:
        return Dictionary.model_validate(fields)
    except ValidationError as error:
        raise UsageError(wrong_key(error, Dictionary, "dictionary")) from None


def _demo_text(tokens: int) -> Corpus:
    """The text of the demo, if it has been run."""
    files = sorted((cache_dir() / "demo").glob("text-*/*.jsonl"))
    if not files:
        raise UsageError("--subject needs text to measure on: give --corpus FILE, or run `autointerp demo` once")
    newest = max(path.parent for path in files)
    sources = tuple(str(path) for path in files if path.parent == newest)
    return Corpus(sources=sources, max_tokens=_corpus_tokens(tokens))


def _corpus_tokens(tokens: int) -> int:
    """Tokens of the corpus to read for a varied sample of `tokens`. They come from the beginnings of its sources in turn."""
    return max(1000, 8 * tokens)


def inspect(request: InspectRequest, tokens: int, on_progress: OnProgress) -> dict[str, Any]:
    """Inspect a dictionary. Returns JSON values: `dictionary`, and with a subject also `subject` and `check`. Raises `SaeError`."""
    check_paths(request.dictionary, request.subject, request.corpus)
    dictionary = open_dictionary(request.dictionary, on_progress)
    results: dict[str, Any] = {"dictionary": describe(dictionary)}
    if request.subject is None or request.corpus is None:
        return results
    subject = with_bos(open_subject(request.subject, on_progress), request.corpus, dictionary)
    dictionary.check_fits(subject.width(dictionary.hook_point), subject.name)
    section = request.corpus if request.from_spec else _within_positions(request.corpus, subject)
    corpus = open_corpus(section, subject, on_progress)
    check = check_fit(
        subject,
        dictionary,
        corpus,
        tokens=tokens,
        seed=request.seed,
        skip_positions=request.skip_positions,
        max_norm_ratio=request.max_norm_ratio,
        progress=partial(on_progress, "checking the dictionary"),
    )
    results["subject"] = {
        "name": subject.name,
        "precision": subject.precision,
        "bos": subject.bos.statement,
        "n_tokens": len(subject.tokenizer),
        "n_embeddings": n_token_ids(subject),
    }
    return results | {"check": as_json(check)}


def _within_positions(section: Corpus, subject: model.Subject) -> Corpus:
    limit = n_positions(subject)
    return section.model_copy(update={"context_tokens": min(section.context_tokens, limit)}) if limit else section


def describe(dictionary: sae.Dictionary) -> dict[str, Any]:
    """How a dictionary's files were read, as JSON values."""
    norms = dictionary.decoder_norm
    threshold = dictionary.threshold
    return {
        "path": dictionary.path,
        "format": dictionary.format,
        "architecture": dictionary.architecture or dictionary.activation,
        "activation": dictionary.activation,
        "k": dictionary.k,
        "threshold": None if threshold is None else _range(threshold.float()),
        "d_in": dictionary.d_in,
        "d_sae": dictionary.d_sae,
        "d_out": dictionary.d_out,
        "hook_point": dictionary.hook_point,
        "hook_point_out": dictionary.hook_point_out,
        "input_norm": dictionary.input_norm,
        "input_scale": dictionary.input_scale,
        "subtracts_b_dec": dictionary.apply_b_dec_to_input,
        "skip_connection": dictionary.W_skip is not None,
        "decoder_norm": _range(norms),
        "trained_with_bos": dictionary.trained_with_bos,
        "trained_context": dictionary.trained_context,
        "notes": list(dictionary.notes),
    }


def _range(values: Tensor) -> dict[str, float]:
    return {"min": float(values.min()), "median": float(values.median()), "max": float(values.max())}


def lines(results: Mapping[str, Any]) -> list[str]:
    """The results of `inspect` as aligned text, one fact per line, the verdict last."""
    pairs = _dictionary_pairs(results["dictionary"])
    if "check" in results:
        subject = results["subject"]
        pairs.append(("", ""))
        pairs.append(("subject", f"{subject['name']} ({subject['precision']})"))
        pairs.append(("BOS", subject["bos"]))
        pairs.append(("vocabulary", f"{subject['n_tokens']:,} tokens, {subject['n_embeddings']:,} embeddings"))
        pairs += tables.check_pairs(Fit.model_validate(results["check"]))
    width = max(len(name) for name, _ in pairs) + 2
    text = [f"{name:<{width}}{visible(value)}".rstrip() for name, value in pairs]
    if "check" in results:
        check = results["check"]
        text += [
            "",
            visible(check["said"]) or f"{check['verdict']} {results['dictionary']['hook_point']} of {subject['name']}",
        ]
    return text


def _dictionary_pairs(description: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = [
        ("dictionary", description["path"]),
        ("format", description["format"] or "not known"),
        ("architecture", description["architecture"]),
        ("features", f"{description['d_sae']:,} on {description['d_in']:,} dimensions"),
        ("reads", description["hook_point"]),
    ]
    if description["hook_point_out"]:
        pairs.append(("writes", f"{description['hook_point_out']}, {description['d_out']:,} dimensions"))
    pairs.append(("activation", _activation(description)))
    norms = {"none": "none", "scale": f"times {description['input_scale']:.4g}", "layer_norm": "layer norm"}
    pairs.append(("input norm", norms.get(description["input_norm"], "each token scaled to norm sqrt(d)")))
    subtracted = description["subtracts_b_dec"]
    pairs.append(("decoder bias", "subtracted from the input" if subtracted else "not subtracted"))
    if description["skip_connection"]:
        pairs.append(("skip connection", "yes"))
    pairs.append(("decoder norms", _range_text(description["decoder_norm"])))
    with_bos, context = description["trained_with_bos"], description["trained_context"]
    pairs.append(("trained with BOS", {None: "not stated", True: "yes", False: "no"}[with_bos]))
    pairs.append(("trained context", f"{context:,} tokens" if context else "not stated"))
    return pairs + [("note" if i == 0 else "", note) for i, note in enumerate(description["notes"])]


def _activation(description: Mapping[str, Any]) -> str:
    activation = str(description["activation"])
    if description["k"] is not None:
        counted = "groups" if activation == "groupmax" else "active per token"
        return f"{activation}, {description['k']:,} {counted}"
    if description["threshold"] is not None:
        return f"{activation}, thresholds {_range_text(description['threshold'])}"
    return activation


def _range_text(range_: Mapping[str, float]) -> str:
    return f"{range_['min']:.4g} to {range_['max']:.4g}, median {range_['median']:.4g}"
