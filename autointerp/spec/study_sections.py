"""Studies that a spec names, a table `[studies.NAME]` each, with the settings of the command NAME."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import not_
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from autointerp.spec.section import Section, setting

PATHS = ("dictionaries", "files", "file", "rubric", "new")
"""Keys of studies that hold paths: a string or a list."""
FIND_WAYS: dict[str, tuple[str, ...]] = {
    "text": ("at",),
    "on": ("off",),
    "with": ("without",),
    "prompt": ("target", "against"),
    "like": (),
    "words": (),
    "meaning": (),
    "new": ("tokens", "fdr"),
}
"""The ways to find features, each with the keys that belong to it."""
Texts = Annotated[tuple[str, ...], Field(strict=False)]


class Study(Section):
    """A study of the run's dictionary."""

    study: ClassVar[str]
    """Name of the study and of its command."""
    dictionaries: Texts = ()
    """Further dictionaries of the subject, beside the run's."""
    hook_point: str | None = None
    """Hook point of each of `dictionaries`, if its files do not state it."""

    @property
    def asks_judge(self) -> bool:
        """Whether the run's judge is asked."""
        return False

    def settings(self) -> dict[str, Any]:
        """The settings by which the registry makes the study."""
        return self.model_dump(by_alias=True, exclude={*Study.model_fields, "judged"})

    def with_paths(self, change: Callable[[str], str]) -> Self:
        """The same study with every path changed."""
        values = {key: value for key in PATHS if (value := getattr(self, key, None))}
        changed = {k: change(v) if isinstance(v, str) else tuple(map(change, v)) for k, v in values.items()}
        return self.model_copy(update=changed)


class JudgedStudy(Study):
    """A study in which a judge may be asked."""

    judged: bool = False
    """Ask the run's judge, under the run's budget."""

    @property
    def asks_judge(self) -> bool:
        return self.judged


class RubricStudy(JudgedStudy):
    """A study whose judge has a rubric of its own."""

    rubric: str | None = None
    """File of the judge's rubric. Default: that of the program."""

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"rubric": Path(self.rubric) if self.rubric else None}


class Find(Study):
    """Features found in one way, which one of `text`, `on`, `with`, `prompt`, `like`, `words`, `meaning` and `new` chooses: see [finding features](finding-features.md)."""

    study: ClassVar[str] = "find"
    text: str | None = Field(None, min_length=1)
    """Features that are most active in this text."""
    at: str | None = None
    """With `text`: only at the tokens of this passage of it."""
    on: Texts = ()
    """Features that are active in all of these texts."""
    off: Texts = ()
    """With `on`: and in none of these."""
    with_: Texts = Field((), alias="with")
    """Features that tell these texts from others."""
    without: Texts = ()
    """With `with`: the other texts."""
    prompt: str | None = Field(None, min_length=1)
    """Features that lead from this prompt to the token `target`, by attribution."""
    target: str | None = None
    """With `prompt`: the answer, mostly with a space before it."""
    against: str | None = None
    """With `prompt`: a token whose logit is subtracted. Default: the mean logit."""
    like: str | None = None
    """Neighbours of a feature, such as `"641"`, by decoder cosine."""
    words: str | None = None
    """Features whose explanations have all these words."""
    meaning: str | None = None
    """Features whose explanations mean something like this."""
    new: Texts = ()
    """Files of text on which features fire more or less often than on the run's."""
    tokens: int | None = Field(None, ge=1)
    """With `new`: tokens read of each corpus. Default: 100,000."""
    fdr: float | None = Field(None, gt=0, lt=1)
    """With `new`: expected share of false discoveries. Default: 0.05."""
    seed: int = Field(0, ge=0)
    """Seed of the folds of `with`, and of the documents of `new`."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [name for name, value in self.settings().items() if value not in (None, ()) and name != "seed"]
        ways = [name for name in given if name in FIND_WAYS]
        if len(ways) != 1:
            problem = f"{' and '.join(ways)} exclude each other" if ways else "no way to find features"
            raise ValueError(f"{problem}: set one of {', '.join(FIND_WAYS)}")
        if strange := [name for name in given if name not in (ways[0], *FIND_WAYS[ways[0]])]:
            belongs = next(way for way, names in FIND_WAYS.items() if strange[0] in names)
            raise ValueError(f"{strange[0]} belongs to {belongs}, not to {ways[0]}: remove one of them")
        if self.prompt and not self.target:
            raise ValueError("prompt needs an answer: set target to its token")
        return self


class Steer(RubricStudy):
    """Prompts continued while units are set to multiples of their maxima: see [steering](steering.md)."""

    study: ClassVar[str] = "steer"
    units: Texts = Field(min_length=1)
    """Features and neurons, each as `UNIT[=FACTOR][@POSITIONS]`; all are set at once."""
    prompts: Texts = Field(min_length=1)
    """Prompts to continue."""
    factors: tuple[Annotated[float, Field(ge=-100, le=100)], ...] = Field(
        (-2.0, -0.5, 0.5, 2.0, 5.0), strict=False, min_length=1
    )
    """Multiples of the units' maxima, usually from -10 to 10."""
    added: bool = False
    """Add to the activations instead of setting them."""
    chat: bool = False
    """Send each prompt as a user's message, in the subject's chat template."""
    tokens: int = Field(32, ge=1, le=2048)
    """Tokens of each continuation."""
    seed: int | None = Field(None, ge=0)
    """Draw tokens with this seed. Default: take the most likely token."""
    positive: Texts = ()
    """Texts with a concept, for the few-shot and the probe's direction."""
    negative: Texts = ()
    """Texts without the concept."""
    expected: str = ""
    """What steering should bring, for the judge. Default: the units' explanations."""

    @model_validator(mode="after")
    def _both_sides(self) -> Self:
        if bool(self.positive) != bool(self.negative):
            raise ValueError("positive and negative come together: set both, or neither")
        return self


class Attribute(Study):
    """Features that carry a difference of logits after a prompt: see [attribution](attribution.md)."""

    study: ClassVar[str] = "attribute"
    prompt: str = Field(min_length=1)
    """The prompt."""
    target: str = Field(min_length=1)
    """The token whose logit is explained, mostly with a space before it."""
    against: str | None = None
    """A token whose logit is subtracted. Default: the mean logit."""
    ablations: int = Field(64, ge=0)
    """Pairs of a feature and a position that are ablated in each dictionary."""
    nodes: int = Field(12, ge=1)
    """Features of each dictionary in the graph, at most."""
    share: float = Field(0.01, ge=0, le=1)
    """Smallest share of the contributions to a node that an edge of the graph has."""
    seed: int = Field(0, ge=0)
    """Seed of the random groups that the graph is compared with."""


class Neighbours(JudgedStudy):
    """Features that write in like directions, a map, and named groups: see [neighbours](neighbours.md)."""

    study: ClassVar[str] = "neighbours"
    units: Texts = ()
    """List the neighbours of these features only. Default: of all."""
    nearest: int = Field(10, ge=1, le=1000)
    """Neighbours of each feature."""
    map: Literal["pca", "umap", "none"] = "pca"
    """Layout of the map; umap needs umap-learn."""
    groups: tuple[Annotated[int, Field(ge=0)], ...] = Field((), strict=False)
    """Groups on each level, the most first, such as `[60, 8]`; `[0]` for none. Default: by the number of features."""
    minimum: int = Field(5, ge=3)
    """Features of a group at least."""
    seed: int = Field(0, ge=0)
    """Seed of what is drawn at random."""

    @field_validator("groups")
    @classmethod
    def _most_first(cls, groups: tuple[int, ...]) -> tuple[int, ...]:
        if list(groups) != sorted(groups, reverse=True) or (len(groups) > 1 and 0 in groups):
            raise ValueError("write numbers of groups, the most first, such as [60, 8], or [0] for none")
        return groups


class Split(JudgedStudy):
    """How features split, which are found again, and what absorbs them, in the run's dictionary and others of its place: see [splitting](splitting.md)."""

    study: ClassVar[str] = "split"
    dictionaries: Texts = Field(min_length=1)
    """The other dictionaries, of other sizes or seeds."""
    tokens: int = Field(100_000, ge=1)
    """Tokens of the corpus that are read."""
    cosine: float = Field(0.7, ge=0, le=1)
    """Smallest decoder cosine of a feature with the one in another dictionary in which it is found again."""
    child_cosine: float = Field(0.4, ge=0, le=1)
    """Smallest decoder cosine of a child with its parent."""
    asked: int = Field(100, ge=0)
    """Questions to the judge about absorbed tokens, at most."""
    seed: int = Field(0, ge=0)
    """Seed of the sample of tokens."""


class Cover(RubricStudy):
    """Concepts of lists for which the dictionary has features, against the concepts' frequency: see [completeness](completeness.md)."""

    study: ClassVar[str] = "cover"
    lists: tuple[Literal["animals", "boroughs", "elements", "foods"], ...] = Field((), strict=False)
    """Lists of concepts. Default: all four, unless `files` is set."""
    files: Texts = ()
    """TOML files with lists of your own."""
    top: int = Field(5, ge=1, le=100)
    """Most active features of a concept that are looked at."""
    others: int = Field(2, ge=0)
    """Other concepts of the list on which a specific feature may fire."""
    rate: float = Field(0.001, ge=0, le=1)
    """Share of the text's tokens on which a specific feature may fire."""
    tokens: int = Field(200_000, ge=1)
    """Tokens on which a feature has to fire to be alive."""
    seed: int = Field(0, ge=0)
    """Draws these tokens."""

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"files": tuple(map(Path, self.files))}


class Categories(Study):
    """Features that respond to safety and other categories, and how general features are: see [categories](categories.md)."""

    study: ClassVar[str] = "categories"
    chosen: Texts = ()
    """Names of categories. Default: all."""
    file: str | None = None
    """A TOML file of your categories in place of the built-in ones."""
    fdr: float = Field(0.05, gt=0, lt=1)
    """Expected share of features called found that are not, in each category."""


def _listed(value: Any) -> Any:
    if not isinstance(value, Mapping | list | tuple):
        raise ValueError("write a table, as [studies.NAME], or several, each as [[studies.NAME]]")
    return [value] if isinstance(value, Mapping) else value


class _TableOrTables:
    """The JSON schema of one table or a list of tables."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        tables = handler(schema)
        return {"anyOf": [tables["items"], tables]}


S = TypeVar("S", bound=Study)
Several = Annotated[tuple[S, ...], BeforeValidator(_listed), _TableOrTables()]
"""A study once, as a table, or several times with other settings, as a list of tables."""
KINDS: dict[str, type[Study]] = {
    kind.study: kind for kind in (Find, Steer, Attribute, Neighbours, Split, Cover, Categories)
}
"""The studies by name, in the order in which a run carries them out."""


def study() -> Any:
    """The field of a study, which is no part of the hash, and is not written if it is empty."""
    return setting((), strict=False, exclude_if=not_)
