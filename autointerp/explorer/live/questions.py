"""What the pages ask of a model, and what is sent to its process: typed, and within the limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from autointerp.errors import UsageError
from autointerp.explorer.live import limits

UnitId = Annotated[str, Field(pattern=r"^(feature-\d{1,9}|neuron-\d{1,9}[+-])$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _OfText(_Frozen):
    text: str
    chat: bool = False
    """Whether the text is a user's message in the subject's chat template."""

    @field_validator("text")
    @classmethod
    def _not_long(cls, text: str) -> str:
        if len(text) > limits.CHARACTERS:
            raise ValueError(f"it has {len(text):,} characters: give at most {limits.CHARACTERS:,}")
        return text


class Reading(_OfText):
    """Which features are active at each token of a text, and the activations of `units` too, which may be neurons."""

    do: Literal["read"] = "read"
    units: tuple[UnitId, ...] = Field((), max_length=limits.UNITS, strict=False)


class Setting(_Frozen):
    """A unit that is set to `factor` times its maximum."""

    unit: UnitId
    factor: float = Field(ge=-limits.FACTOR, le=limits.FACTOR, allow_inf_nan=False)


class _Sampled(_OfText):
    tokens: int = Field(40, ge=1, le=limits.NEW_TOKENS)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    temperature: float = Field(0.0, ge=0, le=limits.TEMPERATURE, allow_inf_nan=False)
    control: bool = False
    """Whether a random direction of the same norm is written too, beside the units."""


class Continuing(_Sampled):
    """How a text continues while units are set, beside its continuation without."""

    units: tuple[Setting, ...] = Field((), max_length=limits.UNITS, strict=False)

    @field_validator("units")
    @classmethod
    def _distinct(cls, units: tuple[Setting, ...]) -> tuple[Setting, ...]:
        if len({each.unit for each in units}) < len(units):
            raise ValueError("a unit is named twice: name each once")
        return units

    def job(self, maxima: Mapping[str, float]) -> Continue:
        """The job, given the units' maxima. Raises `UsageError` for a unit that the index has never seen active."""
        values = {}
        for each in self.units:
            maximum = maxima[each.unit]
            if not maximum > 0:
                raise UsageError(
                    f"{each.unit} is never active in the corpus of the index, so that no factor changes it: choose another"
                )
            values[each.unit] = each.factor * maximum
        return Continue(**self.model_dump(exclude={"units"}), values=values)


class Continue(_Sampled):
    """A continuation as the model's process is asked for it: `values` are the activations that units are set to."""

    do: Literal["continue"] = "continue"
    values: dict[UnitId, float]


class Cancel(_Frozen):
    """Ends another job. It has no answer."""

    do: Literal["cancel"] = "cancel"


class Source(_Frozen):
    """Where the index is whose subject and dictionary are opened."""

    index: str
    run: str | None
    """The folder of its run, if it has one."""

    @property
    def name(self) -> str:
        """The name of the run, or of the index's folder."""
        return Path(self.run or self.index).name


class Ready(_Frozen):
    """What is known of a model once it is open."""

    chat: bool
    """Whether the subject has a chat template."""
    precision: str
    device: str


class Numbered(_Frozen):
    """A job with its number, which its answers bear."""

    number: int
    job: Annotated[Reading | Continue | Cancel, Field(discriminator="do")]


class Answer(_Frozen):
    """A line from the model's process: a part of the answer to a job, its end, or an error in one sentence."""

    number: int
    part: dict[str, Any] | None = None
    error: str | None = None
    done: bool = False


Q = TypeVar("Q", bound=BaseModel)


def read_question(kind: type[Q], body: bytes) -> Q:
    """A question from a request's body. Raises `UsageError`, which names the first field that is wrong."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "the request"
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{name}: {message[:1].lower()}{message[1:]}") from None
