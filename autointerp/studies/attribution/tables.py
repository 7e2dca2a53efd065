"""The tables of an attribution: pairs of a feature and a position, their ablation, errors, and the graph's nodes and edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from autointerp.studies.finding import Listing
from autointerp.studies.workbench import Studied
from sae.studies.attribution.circuit import ERROR, FIRST, Circuit, Node
from sae.studies.attribution.gradients import Totals
from sae.subject.model import Subject
from sae.subject.token_text import token_texts

_PLACE = {"name": "feature", "token": "at"}
_EXPLAINED = {"explanation": "explanation"}


@dataclass(frozen=True)
class Names:
    """The names of dictionaries, tokens and nodes."""

    studied: Sequence[Studied]
    tokens: Sequence[str]
    target: str

    def token(self, position: int) -> str:
        """A token with its position, such as `5 " alone"`."""
        return f"{position} {self.tokens[position]!r}"

    def unit(self, number: int, feature: int) -> str:
        """A feature's name, with that of its dictionary if there are several."""
        name = "error" if feature == ERROR else f"feature-{feature}"
        return f"{self.studied[number].name}:{name}" if len(self.studied) > 1 else name

    def node(self, node: Node | None) -> str:
        """A node's name; None is the difference of logits."""
        return (
            f"logit of {self.target!r}" if node is None else f"{self.unit(*node[::2])} at {self.token(node.position)}"
        )

    def explanation(self, number: int, feature: int) -> str:
        """A feature's explanation, or an empty text."""
        return self.studied[number].explanation(f"feature-{feature}")


def token_names(subject: Subject, ids: Tensor) -> list[str]:
    """The text of each token."""
    return token_texts(subject.tokenizer, ids.tolist())


def pairs(names: Names, totals: Totals) -> pd.DataFrame:
    """A row for each active feature and position from the second on: `number` of the dictionary, activation and attribution."""
    frames = []
    for number, (active, gradient) in enumerate(zip(totals.active, totals.gradients, strict=True)):
        frame = pd.DataFrame(
            {
                "number": number,
                "dictionary": names.studied[number].name,
                "position": active.position.cpu().numpy(),
                "feature": active.feature.cpu().numpy(),
                "activation": active.activations.cpu().numpy(),
                "attribution": active.dot(gradient)[0].cpu().numpy(),
            }
        )
        frames.append(frame[frame["position"] >= FIRST])
    frame = pd.concat(frames, ignore_index=True)
    return _named(names, frame).sort_values("attribution", ascending=False, kind="stable", ignore_index=True)


def attribution(frame: pd.DataFrame) -> Listing:
    """All pairs."""
    shown = _PLACE | {"activation": "activation", "attribution": "attribution"} | _EXPLAINED
    return Listing("attribution", "Gradient times activation, in logits", frame.drop(columns="number"), shown)


def ablation(frame: pd.DataFrame) -> Listing:
    """The ablated pairs."""
    shown = _PLACE | {"ablation": "ablation", "attribution": "attribution", "activation": "activation"} | _EXPLAINED
    caption = "Fall of the difference of logits when a feature is silent at one position"
    return Listing("ablation", caption, frame.drop(columns="number"), shown)


def errors(names: Names, totals: Totals) -> Listing:
    """What each dictionary leaves out at each token, by attribution."""
    rows = [
        {
            "dictionary": names.studied[number].name,
            "position": position,
            "token": names.token(position),
            "attribution": value,
        }
        for number, (active, gradient) in enumerate(zip(totals.active, totals.gradients, strict=True))
        for position, value in enumerate(active.dot(gradient)[1].tolist())
        if position >= FIRST
    ]
    frame = pd.DataFrame(rows).sort_values("attribution", ascending=False, kind="stable", key=abs, ignore_index=True)
    shown = {"dictionary": "dictionary", "token": "at", "attribution": "attribution"}
    return Listing("errors", "Attribution of what the dictionaries leave out, in logits", frame, shown, rows=10)


def nodes(names: Names, circuit: Circuit) -> Listing:
    """The graph's nodes."""
    frame = pd.DataFrame(
        [(*node, value) for node, value in circuit.nodes.items()],
        columns=["number", "position", "feature", "attribution"],
    )
    frame.insert(0, "dictionary", [names.studied[number].name for number in frame["number"]])
    frame = _named(names, frame).drop(columns="number")
    return Listing("nodes", "Nodes of the graph", frame, _PLACE | {"attribution": "attribution"} | _EXPLAINED, rows=60)


def edges(names: Names, circuit: Circuit) -> Listing:
    """The graph's edges, the largest in logits first."""
    columns = ["source", "target", "contribution", "logits", "share"]
    rows = [(names.node(e.source), names.node(e.target), e.contribution, e.logits, e.share) for e in circuit.edges]
    frame = pd.DataFrame(rows, columns=columns).sort_values(
        "logits", ascending=False, kind="stable", key=abs, ignore_index=True
    )
    shown = {"source": "from", "target": "to", "logits": "in logits", "share": "share of all contributions"}
    return Listing("edges", "Edges of the graph", frame, shown)


def _named(names: Names, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the names of features and tokens, and explanations."""
    places = list(zip(frame["number"], frame["feature"], strict=True))
    return frame.assign(
        name=[names.unit(number, feature) for number, feature in places],
        token=[names.token(position) for position in frame["position"]],
        explanation=[names.explanation(number, feature) for number, feature in places],
    )
