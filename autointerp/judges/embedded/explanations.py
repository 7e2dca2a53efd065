"""Explanations by enrichment: which tokens, preceding words, topics and surface classes are over-represented where a unit is active.

The marked tokens are compared with all tokens at which the unit is cold, and the words of activating windows with those of quiet ones. Since
an explainer sees few quiet windows, both backgrounds get a prior from general word frequencies, after Monroe, Colaresi and Quinn
(2008), "Fightin' Words". A candidate needs a small binomial tail; among those, the log-likelihood ratio decides (Dunning 1993,
"Accurate Methods for the Statistics of Surprise and Coincidence").

Of the aids that an explainer may be given, silent windows of every sort join the background, and missed ones those that are explained. What
a direction does to the logits is passed over: it names tokens that follow, and nothing here can tell what those mean.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom

from autointerp.judges.embedded.explanation_parser import NOTHING, STOP
from autointerp.judges.embedded.token_classes import Reading, read, stem, token_classes
from autointerp.judges.embedded.word_vectors import Lexicon
from autointerp.messages import ExplainMaterial

MAX_CHARS = 300
MAX_TOKENS, MAX_TOPICS, MAX_BEFORE = 4, 5, 2
TAIL = 1e-3
"""A candidate must be this improbable under the background."""
TOKEN_PRIOR, WINDOW_PRIOR = 50.0, 10.0
"""How many background tokens, and background windows, the general word frequencies are worth."""
NEAR = 6
TERM_COST = 3.0
"""Log-likelihood that each quoted token must earn, so that a list never beats a class by its length."""
COHERENT = 0.12
"""Mean cosine from which different words are of one sort: random ones stay below 0.05, animals have 0.18, months 0.33. Some sorts (colours) are missed."""


@dataclass(frozen=True)
class Found:
    """One enriched candidate: the windows that have it, and its log-likelihood ratio in nats over all windows."""

    key: str
    windows: frozenset[int]
    gain: float


def explain(material: ExplainMaterial, lexicon: Lexicon) -> str:
    """A short text, at most 300 characters on one line, of what the activating windows share; `NOTHING` if they share nothing."""
    material = replace(
        material,
        activating=material.activating + material.missed,
        silent=material.silent + material.contrast + material.neighbours + material.mistaken,
    )
    if not material.activating:
        return NOTHING
    readings = [read(window) for window in material.activating]
    weights = [
        (5 + (window.activation_levels[window.mark] if window.activation_levels else 5)) / 15
        for window in material.activating
    ]
    head = _tokens_or_class(material, readings, weights, lexicon)
    before = _before(material, readings, weights, lexicon)
    settings = _settings(material, weights)
    shown = {stem(word) for word in head.split('"')[1::2]}
    topics = _topics(material, readings, weights, shown, lexicon)
    return _phrase(head, before, settings, topics)


def _tokens_or_class(
    material: ExplainMaterial, readings: Sequence[Reading], weights: Sequence[float], lexicon: Lexicon
) -> str:
    """Whichever says more of the marked tokens: a few of them, a class, or a sort of word. Empty when none is enriched."""
    marks: list[set[str]] = []
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for reading in readings:
        forms = {reading.token.strip()} | ({reading.at[0].text} if len(reading.at) == 1 else set())
        for form in filter(None, forms):
            written[stem(form)][_quotable(form)] += 1
        marks.append({stem(form) for form in forms if form})
    background, cold_classes, cold = _cold(material)
    rates = {key: _rate(background[key], cold, lexicon.frequency(key), TOKEN_PRIOR) for keys in marks for key in keys}
    tokens = _cover(_enriched(marks, weights, rates), len(readings))
    classes = [set(reading.classes) for reading in readings]
    class_rates = {name: (cold_classes[name] + 1) / (cold + 2) for name in set().union(*classes)}
    best = next(iter(_enriched(classes, weights, class_rates)), None)
    quoted = [_most_common(written[found.key]) for found in tokens]
    if best and best.gain > sum(found.gain - TERM_COST for found in tokens):
        inside = [q for q, found in zip(quoted, tokens, strict=True) if found.windows <= best.windows]
        return f"{best.key}, such as {_either(inside[:3])}" if inside else best.key
    covered = set().union(*(found.windows for found in tokens))
    sort = _sort_of_word(readings, lexicon) if len(covered) < len(readings) / 2 else ""
    return sort or (f"the token {_either(quoted)}" if quoted else "")


def _cold(material: ExplainMaterial) -> tuple[Counter[str], Counter[str], int]:
    """Stems and classes of the tokens at which the unit is cold, and how many those are."""
    stems: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    total = 0
    for window, quiet in [(w, False) for w in material.activating] + [(w, True) for w in material.silent]:
        for i, token in enumerate(window.tokens):
            if not quiet and (i == window.mark or (i < len(window.activation_levels) and window.activation_levels[i])):
                continue
            stems[stem(token)] += 1
            classes.update(token_classes(window.tokens, i))
            total += 1
    return stems, classes, total


def _sort_of_word(readings: Sequence[Reading], lexicon: Lexicon) -> str:
    """Marked words that all differ but mean similar things, such as cities: those closest to their mean."""
    words = list(
        dict.fromkeys(r.at[0].text for r in readings if len(r.at) == 1 and r.at[0].lexical and len(r.at[0].text) > 2)
    )
    distinct = list({stem(word): word for word in words if stem(word) not in STOP}.values())
    if len(distinct) < max(4, 0.5 * len(readings)):
        return ""
    vectors = np.stack([lexicon.word(word) for word in distinct])
    cosines = vectors @ vectors.T
    mean = float((cosines.sum() - np.trace(cosines)) / (len(distinct) * (len(distinct) - 1)))
    if mean < COHERENT:
        return ""
    order = np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable")
    return f"words such as {_either([_quotable(distinct[i]) for i in order[:MAX_TOKENS]])}"


def _before(material: ExplainMaterial, readings: Sequence[Reading], weights: Sequence[float], lexicon: Lexicon) -> str:
    """Words that often stand right before the mark."""
    previous = [{r.before(1)[-1].stem} if r.before(1) else set() for r in readings]
    pairs: Counter[str] = Counter(w.stem for window in material.silent for w in read(window).words)
    total = sum(pairs.values())
    rates = {key: _rate(pairs[key], total, lexicon.frequency(key), TOKEN_PRIOR) for keys in previous for key in keys}
    found = [f for f in _enriched(previous, weights, rates) if len(f.windows) >= max(2, 0.3 * len(readings))]
    return f"often after {_either([_quotable(f.key) for f in found[:MAX_BEFORE]])}" if found else ""


def _settings(material: ExplainMaterial, weights: Sequence[float]) -> str:
    """A class of whole windows, such as source code, that most activating windows have and quiet ones lack."""
    settings = [set(read(window).setting) for window in material.activating]
    quiet: Counter[str] = Counter(name for window in material.silent for name in read(window).setting)
    total = len(material.silent)
    rates = {name: _rate(quiet[name], total, 0.05, WINDOW_PRIOR) for name in set().union(*settings)}
    found = [f for f in _enriched(settings, weights, rates) if len(f.windows) >= 0.6 * len(settings)]
    return f"in {found[0].key}" if found else ""


def _topics(
    material: ExplainMaterial, readings: Sequence[Reading], weights: Sequence[float], shown: set[str], lexicon: Lexicon
) -> list[str]:
    """Content words of more windows than chance allows, counted once a window; near the mark counts more if it is rarer."""
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for reading in readings:
        for word in reading.words:
            written[word.stem][_lower(word.text)] += 1
    candidates: dict[str, float] = {}
    for radius in (NEAR, None):
        present = [_content(reading, radius) - shown for reading in readings]
        quiet: Counter[str] = Counter(key for window in material.silent for key in _content(read(window), radius))
        size = sum(len(r.words if radius is None else r.near(radius)) for r in readings) / len(readings)
        rates = {
            key: _rate(quiet[key], len(material.silent), 1 - (1 - lexicon.frequency(key)) ** size, WINDOW_PRIOR)
            for key in set().union(*present)
        }
        least = max(2, 0.2 * len(readings))
        for found in _enriched(present, weights, rates, least):
            candidates[found.key] = max(candidates.get(found.key, 0.0), found.gain)
    order = sorted(candidates, key=lambda key: (-candidates[key], key))
    return [_most_common(written[key]) for key in order[:MAX_TOPICS]]


def _content(reading: Reading, radius: int | None) -> set[str]:
    words = reading.words if radius is None else reading.near(radius)
    return {w.stem for w in words if w.lexical and w.stem not in STOP and (len(w.stem) > 2 or not w.text.isascii())}


def _enriched(
    present: Sequence[Iterable[str]], weights: Sequence[float], rates: Mapping[str, float], least: float = 2
) -> list[Found]:
    """Candidates of at least `least` windows and a small binomial tail, largest log-likelihood ratio (heat-weighted) first."""
    windows: dict[str, set[int]] = defaultdict(set)
    for i, keys in enumerate(present):
        for key in keys:
            windows[key].add(i)
    total = sum(weights)
    found = []
    for key, having in windows.items():
        rate = min(max(rates[key], 1e-6), 1 - 1e-6)
        share = min(sum(weights[i] for i in having) / total, 1 - 1e-9)
        if len(having) < least or share <= rate or binom.sf(len(having) - 1, len(present), rate) > TAIL:
            continue
        gain = share * math.log(share / rate) + (1 - share) * math.log((1 - share) / (1 - rate))
        found.append(Found(key, frozenset(having), len(present) * gain))
    return sorted(found, key=lambda f: (-f.gain, f.key))


def _cover(found: Sequence[Found], total: int) -> list[Found]:
    """The best candidates that each add windows of their own: at least two, and a tenth of all."""
    chosen: list[Found] = []
    covered: set[int] = set()
    for candidate in found:
        if len(candidate.windows - covered) >= max(2, 0.1 * total) and len(chosen) < MAX_TOKENS:
            chosen.append(candidate)
            covered |= candidate.windows
    return chosen


def _rate(count: int, total: int, prior: float, worth: float) -> float:
    return (count + worth * prior) / (total + worth)


def _phrase(head: str, before: str, settings: str, topics: list[str]) -> str:
    if settings and settings.removeprefix("in ") == head.split(",")[0]:
        settings = ""
    while True:
        about = f"in texts about {', '.join(topics)}" if topics else ""
        said = ", ".join(part for part in (head, before, settings, about) if part)
        if not said:
            return NOTHING
        # A text that ends in a quotation mark would lose it where replies are trimmed.
        said = f"{said} in varied texts" if said.endswith('"') else said
        if len(said) <= MAX_CHARS:
            return said
        if topics:
            topics = topics[:-1]
        elif before or settings:
            before, settings = "", ""
        else:
            return said[: MAX_CHARS - 1] + "…"


def _either(quoted: Sequence[str]) -> str:
    marks = [f'"{text}"' for text in quoted]
    return marks[0] if len(marks) == 1 else f"{', '.join(marks[:-1])} or {marks[-1]}"


def _quotable(text: str) -> str:
    """The text as it can stand between quotation marks: printable, no quotation mark, at most 30 characters."""
    plain = "".join(c if c.isprintable() else " " for c in text).replace('"', "''")
    return " ".join(plain.split())[:30]


def _lower(word: str) -> str:
    return _quotable(word if word.isupper() and len(word) > 1 else word.casefold())


def _most_common(written: Counter[str]) -> str:
    return min(written, key=lambda text: (-written[text], text))
