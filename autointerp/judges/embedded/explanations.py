"""Explanations by enrichment: the tokens, preceding words, topics and classes that are over-represented where a unit is active.

Marked tokens are compared with all tokens at which the unit is inactive, and the words of activating windows with those of silent ones. An
explainer sees few silent windows, so both backgrounds get a prior from general word frequencies, after Monroe, Colaresi and Quinn
(2008), "Fightin' Words". A candidate must have a small binomial tail probability; candidates are ranked by their log-likelihood ratio
(Dunning 1993, "Accurate Methods for the Statistics of Surprise and Coincidence").

Of the explainer's aids, all kinds of silent windows join the background, and windows that a draft missed join the activating ones. Logit
effects are ignored: they name tokens that may follow, and no method here uses those.
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
"""Largest binomial tail probability of a candidate under the background."""
TOKEN_PRIOR, WINDOW_PRIOR = 50.0, 10.0
"""Weights of the prior, as numbers of background tokens and background windows."""
NEAR = 6
"""Words on either side of the mark within which a topic word counts as near."""
TERM_COST = 3.0
"""Log-likelihood in nats that each quoted token costs, so that a list does not beat a class merely by its length."""
COHERENT = 0.12
"""Mean cosine from which different words form a category: random words stay below 0.05, animals have 0.18, months 0.33. Some categories
(colours) are missed."""


@dataclass(frozen=True)
class Candidate:
    """An enriched word or class: the windows that have it, and its log-likelihood ratio in nats over all windows."""

    key: str
    windows: frozenset[int]
    gain: float


def explain(material: ExplainMaterial, lexicon: Lexicon) -> str:
    """What the activating windows share, on one line of at most `MAX_CHARS` characters; `NOTHING` if they share nothing."""
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
    """The most informative description of the marked tokens: a few of them, a class, or a category of words. Empty if none is enriched."""
    marks: list[set[str]] = []
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for reading in readings:
        forms = {reading.token.strip()} | ({reading.at[0].text} if len(reading.at) == 1 else set())
        for form in filter(None, forms):
            written[stem(form)][_quotable(form)] += 1
        marks.append({stem(form) for form in forms if form})
    background, background_classes, n_inactive = _inactive(material)
    rates = {
        key: _rate(background[key], n_inactive, lexicon.frequency(key), TOKEN_PRIOR) for keys in marks for key in keys
    }
    tokens = _cover(_enriched(marks, weights, rates), len(readings))
    classes = [set(reading.classes) for reading in readings]
    class_rates = {name: (background_classes[name] + 1) / (n_inactive + 2) for name in set().union(*classes)}
    best = next(iter(_enriched(classes, weights, class_rates)), None)
    quoted = [_most_common(written[token.key]) for token in tokens]
    if best and best.gain > sum(token.gain - TERM_COST for token in tokens):
        inside = [q for q, token in zip(quoted, tokens, strict=True) if token.windows <= best.windows]
        return f"{best.key}, such as {_either(inside[:3])}" if inside else best.key
    covered = set().union(*(token.windows for token in tokens))
    category = _word_category(readings, lexicon) if len(covered) < len(readings) / 2 else ""
    return category or (f"the token {_either(quoted)}" if quoted else "")


def _inactive(material: ExplainMaterial) -> tuple[Counter[str], Counter[str], int]:
    """Counts of the stems and of the classes of the tokens at which the unit is inactive, and the number of these tokens."""
    stems: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    total = 0
    for window, silent in [(w, False) for w in material.activating] + [(w, True) for w in material.silent]:
        for i, token in enumerate(window.tokens):
            if not silent and (i == window.mark or (i < len(window.activation_levels) and window.activation_levels[i])):
                continue
            stems[stem(token)] += 1
            classes.update(token_classes(window.tokens, i))
            total += 1
    return stems, classes, total


def _word_category(readings: Sequence[Reading], lexicon: Lexicon) -> str:
    """Marked words that differ but have similar meanings, such as cities: those closest to their mean vector."""
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
    """The words that are often directly before the mark."""
    previous = [{r.before(1)[-1].stem} if r.before(1) else set() for r in readings]
    pairs: Counter[str] = Counter(w.stem for window in material.silent for w in read(window).words)
    total = sum(pairs.values())
    rates = {key: _rate(pairs[key], total, lexicon.frequency(key), TOKEN_PRIOR) for keys in previous for key in keys}
    frequent = [c for c in _enriched(previous, weights, rates) if len(c.windows) >= max(2, 0.3 * len(readings))]
    return f"often after {_either([_quotable(c.key) for c in frequent[:MAX_BEFORE]])}" if frequent else ""


def _settings(material: ExplainMaterial, weights: Sequence[float]) -> str:
    """A class of whole windows, such as source code, that most activating windows have and silent ones lack."""
    settings = [set(read(window).setting) for window in material.activating]
    silent: Counter[str] = Counter(name for window in material.silent for name in read(window).setting)
    total = len(material.silent)
    rates = {name: _rate(silent[name], total, 0.05, WINDOW_PRIOR) for name in set().union(*settings)}
    frequent = [c for c in _enriched(settings, weights, rates) if len(c.windows) >= 0.6 * len(settings)]
    return f"in {frequent[0].key}" if frequent else ""


def _topics(
    material: ExplainMaterial, readings: Sequence[Reading], weights: Sequence[float], shown: set[str], lexicon: Lexicon
) -> list[str]:
    """Content words of more windows than chance allows, counted once per window, near the mark or anywhere, whichever is more enriched."""
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for reading in readings:
        for word in reading.words:
            written[word.stem][_lower(word.text)] += 1
    candidates: dict[str, float] = {}
    for radius in (NEAR, None):
        present = [_content(reading, radius) - shown for reading in readings]
        silent: Counter[str] = Counter(key for window in material.silent for key in _content(read(window), radius))
        size = sum(len(r.words if radius is None else r.near(radius)) for r in readings) / len(readings)
        rates = {
            # The prior: the chance that a word of this frequency is among `size` words.
            key: _rate(silent[key], len(material.silent), 1 - (1 - lexicon.frequency(key)) ** size, WINDOW_PRIOR)
            for key in set().union(*present)
        }
        least = max(2, 0.2 * len(readings))
        for candidate in _enriched(present, weights, rates, least):
            candidates[candidate.key] = max(candidates.get(candidate.key, 0.0), candidate.gain)
    order = sorted(candidates, key=lambda key: (-candidates[key], key))
    return [_most_common(written[key]) for key in order[:MAX_TOPICS]]


def _content(reading: Reading, radius: int | None) -> set[str]:
    words = reading.words if radius is None else reading.near(radius)
    return {w.stem for w in words if w.lexical and w.stem not in STOP and (len(w.stem) > 2 or not w.text.isascii())}


def _enriched(
    present: Sequence[Iterable[str]], weights: Sequence[float], rates: Mapping[str, float], least: float = 2
) -> list[Candidate]:
    """Candidates in at least `least` windows and with a small binomial tail, largest log-likelihood ratio first.

    `present` holds the words or classes of each window, `weights` the windows' weights by activation, `rates` the share of windows that
    have each word or class under the background.
    """
    windows: dict[str, set[int]] = defaultdict(set)
    for i, keys in enumerate(present):
        for key in keys:
            windows[key].add(i)
    total = sum(weights)
    candidates = []
    for key, having in windows.items():
        rate = min(max(rates[key], 1e-6), 1 - 1e-6)
        share = min(sum(weights[i] for i in having) / total, 1 - 1e-9)
        if len(having) < least or share <= rate or binom.sf(len(having) - 1, len(present), rate) > TAIL:
            continue
        # n times the Kullback-Leibler divergence of the weighted share from the background rate.
        gain = share * math.log(share / rate) + (1 - share) * math.log((1 - share) / (1 - rate))
        candidates.append(Candidate(key, frozenset(having), len(present) * gain))
    return sorted(candidates, key=lambda c: (-c.gain, c.key))


def _cover(candidates: Sequence[Candidate], total: int) -> list[Candidate]:
    """The best candidates that each cover new windows: at least two, and a tenth of `total`."""
    chosen: list[Candidate] = []
    covered: set[int] = set()
    for candidate in candidates:
        if len(candidate.windows - covered) >= max(2, 0.1 * total) and len(chosen) < MAX_TOKENS:
            chosen.append(candidate)
            covered |= candidate.windows
    return chosen


def _rate(count: int, total: int, prior: float, weight: float) -> float:
    """The share `count / total`, smoothed by a prior that weighs as much as `weight` observations."""
    return (count + weight * prior) / (total + weight)


def _phrase(head: str, before: str, settings: str, topics: list[str]) -> str:
    if settings and settings.removeprefix("in ") == head.split(",")[0]:
        settings = ""
    while True:
        about = f"in texts about {', '.join(topics)}" if topics else ""
        text = ", ".join(part for part in (head, before, settings, about) if part)
        if not text:
            return NOTHING
        # The parser of replies would strip a quotation mark at the end.
        text = f"{text} in varied texts" if text.endswith('"') else text
        if len(text) <= MAX_CHARS:
            return text
        if topics:
            topics = topics[:-1]
        elif before or settings:
            before, settings = "", ""
        else:
            return text[: MAX_CHARS - 1] + "…"


def _either(quoted: Sequence[str]) -> str:
    marks = [f'"{text}"' for text in quoted]
    return marks[0] if len(marks) == 1 else f"{', '.join(marks[:-1])} or {marks[-1]}"


def _quotable(text: str) -> str:
    """The text without anything that cannot be quoted: printable, no quotation mark, at most 30 characters."""
    plain = "".join(c if c.isprintable() else " " for c in text).replace('"', "''")
    return " ".join(plain.split())[:30]


def _lower(word: str) -> str:
    return _quotable(word if word.isupper() and len(word) > 1 else word.casefold())


def _most_common(written: Counter[str]) -> str:
    return min(written, key=lambda text: (-written[text], text))
