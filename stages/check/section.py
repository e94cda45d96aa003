"""What all sections of params.yaml have in common, and the kinds of values in them.

Every key must be there, no other may be, and nothing is converted: `lr: "0.1"` is text and therefore wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

LONGEST_NAME, LONGEST_PATH, LONGEST_KEY = 255, 4000, 100  # bytes; a key becomes a part of names
LEAST, MOST = 1e-12, 1e9  # of numbers that no other bound has
RESERVED_SPLIT = "balanced"  # the size-balanced set, beside which predictions and metrics list the splits


class Section(BaseModel):
    """A mapping of params.yaml whose keys are exactly the fields.

    The context of a validation is a dict that gets the keys of each section by the `id` of the mapping that was read,
    so that a message about an unknown key can name the known ones.
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def note_keys(cls, value: Any, info: ValidationInfo) -> Any:
        """Fills the context and leaves the value as it is."""
        if isinstance(info.context, dict):
            info.context[id(value)] = tuple(cls.model_fields)
        return value


def broken(rule: str, key: str | None = None, value: Any = None, choices: Iterable[str] = ()) -> PydanticCustomError:
    """The error of a validator; `rule` says what a value must be, as in `must be > 0`.

    Args:
        rule: the end of the line that the person reads.
        key: the key at fault, where the validator looks at a whole section.
        value: that key's value.
        choices: names among which the value was perhaps meant to be.
    """
    context = {"rule": rule, "choices": list(choices)}
    return PydanticCustomError("broken", "{rule}", context | ({"key": key, "value": value} if key else {}))


def is_name(value: str) -> str:
    """A name that may stand in file names and dotted keys."""
    if not value or not value.replace("_", "").replace("-", "").isalnum() or not value.isascii():
        raise broken("must be a name of letters, digits, _ and -")
    if len(value) > LONGEST_KEY:
        raise broken(f"must be a name of at most {LONGEST_KEY} letters")
    return value


def is_split(value: str) -> str:
    """The name of a split."""
    if value == RESERVED_SPLIT:
        raise broken("must be another name: it stands for the size-balanced set")
    return is_name(value)


def is_text(value: str) -> str:
    """Text that may be a path: no file system takes a longer name."""
    if len(value.encode(errors="replace")) > LONGEST_PATH or any(
        len(part.encode(errors="replace")) > LONGEST_NAME for part in value.split("/")
    ):
        raise broken(f"must have at most {LONGEST_NAME} bytes between slashes, and {LONGEST_PATH} in all")
    if not value.isprintable():
        raise broken("must hold no line ends and other signs that cannot be printed")
    return value


def is_not_tiny(value: float) -> float:
    """A number that stays one in single precision, also as a divisor."""
    if value < LEAST:
        raise broken(f"must be >= {LEAST:g}")
    return value


def is_absolute(value: str) -> str:
    """An absolute path."""
    if not value.startswith("/"):
        raise broken("must be an absolute path")
    return value


def is_none(value: Any) -> Any:
    """The word none."""
    if value != "none":
        raise broken("must be none or a section of its own")
    return value


def rises(values: list[int]) -> list[int]:
    """Each number is larger than the one before."""
    if any(second <= first for first, second in zip(values, values[1:], strict=False)):
        raise broken("must be increasing")
    return values


def all_different(values: list[str]) -> list[str]:
    """No entry stands twice."""
    if len(set(values)) < len(values):
        raise broken("must not name anything twice")
    return values


def none_or(section: type[Section]) -> Any:
    """The type of a key that is `none` or a section."""
    return Annotated[
        Annotated[Any, AfterValidator(is_none), Tag("none")] | Annotated[section, Tag("section")],
        Discriminator(lambda value: "section" if isinstance(value, dict) else "none"),
    ]


Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(gt=0, le=int(MOST))]
Positive = Annotated[float, Field(gt=0, le=MOST), AfterValidator(is_not_tiny)]
NotNegative = Annotated[float, Field(ge=0, le=MOST)]
Width = Annotated[float, Field(ge=0.1, le=10_000)]  # of a kernel, in pixels or grey levels
Radius = Annotated[int, Field(ge=2, le=64)]
Dilations = Annotated[list[Annotated[int, Field(gt=0, le=1024)]], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1), AfterValidator(is_text)]
Name = Annotated[str, AfterValidator(is_name)]
SplitName = Annotated[str, AfterValidator(is_split)]
AbsolutePath = Annotated[str, AfterValidator(is_absolute)]
Scale = Annotated[float, Field(ge=0.05, le=20)]
Scales = Annotated[list[Scale], Field(min_length=1)]
