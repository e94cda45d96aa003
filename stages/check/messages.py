"""pydantic's errors as lines that name the key, what it must be and what it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

LONGEST = 80  # characters of a value in a message

RULES = {
    "greater_than": "must be > {gt}",
    "greater_than_equal": "must be >= {ge}",
    "less_than": "must be < {lt}",
    "less_than_equal": "must be <= {le}",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be {expected_tags}",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "list_type": "must be a list",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "dict_type": "must be a section",
    "model_type": "must be a section",
    "model_attributes_type": "must be a section",
    "broken": "{rule}",
}


def did_you_mean(word: Any, choices: Iterable[Any]) -> str:
    """The end of a message: the choice that is spelled most alike, or nothing."""
    close = get_close_matches(str(word), [str(choice) for choice in choices], 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def show(value: Any) -> str:
    """A value much as params.yaml has it, shortened."""
    if isinstance(value, Mapping):
        return "a section"
    if value is None:
        return "empty"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def holds(value: Any, key: Any) -> bool:
    """Whether a mapping has the key or a list the index."""
    if isinstance(value, Mapping):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and key < len(value)


def locate(tree: Any, location: tuple[int | str, ...]) -> tuple[list[str | int], Any]:
    """The keys of the value that an error is about, and the mapping or list that holds it.

    pydantic's locations also name members of unions, `[key]` and missing keys; what the file does not hold is left out.
    """
    keys: list[str | int] = []
    holder = value = tree
    for step in location:
        if holds(value, step):
            keys.append(step)
            holder, value = value, value[step]
    return keys, holder


def dotted(keys: Iterable[str | int]) -> str:
    """Keys as one text: `recipes.shapes.cam.scales[1]`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")


def fault_line(error: Mapping[str, Any], tree: Mapping[str, Any], sections: Mapping[int, tuple[str, ...]]) -> str:
    """One line for one of pydantic's errors.

    Args:
        error: an entry of `ValidationError.errors()`.
        tree: what was validated.
        sections: the keys of each section by the `id` of its mapping, as `Section` notes them.
    """
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    keys, holder = locate(tree, error["loc"])
    if kind == "extra_forbidden":
        known = sections[id(holder)]
        where = dotted(keys[:-1]) or "the top level"
        allowed = ", ".join(known) or "none"
        return f"unknown key {keys[-1]!r} in {where}; allowed: {allowed}{did_you_mean(keys[-1], known)}"
    if kind == "missing":
        return f"{dotted([*keys, error['loc'][-1]])}: is missing"
    if kind == "union_tag_not_found":
        return f"{dotted([*keys, *quoted(context['discriminator'])])}: is missing"
    if kind == "union_tag_invalid":
        keys, value = [*keys, *quoted(context["discriminator"])], context["tag"]
    if "key" in context:
        keys, value = [*keys, context["key"]], context["value"]
    choices = context.get("choices") or quoted(context.get("expected") or context.get("expected_tags") or "")
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    of_key = "the key " if error["loc"][-1] == "[key]" else ""
    return f"{dotted(keys)}: {of_key}{rule_of(kind, error)}, is {show(value)}{hint}"


def rule_of(kind: str, error: Mapping[str, Any]) -> str:
    """What a value must be; pydantic's own words for a kind of error that `RULES` does not have."""
    context = {key: f"{value:g}" if isinstance(value, float) else value for key, value in error.get("ctx", {}).items()}
    return RULES[kind].format(**context) if kind in RULES else error["msg"]


def quoted(text: str) -> list[str]:
    """The words in single quotes of a text."""
    return text.split("'")[1::2]


def fault_lines(error: ValidationError, tree: Mapping[str, Any], sections: Mapping[int, tuple[str, ...]]) -> list[str]:
    """A line per error, in the order of the file's schema."""
    return [fault_line(entry, tree, sections) for entry in error.errors(include_url=False)]
