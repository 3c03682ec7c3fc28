"""The tags of javadoc as its pages show them: a definition list "Parameters:", "Returns:", "Throws:", "Since:" ..."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from selectolax.lexbor import LexborNode

from forge.apis.html.text import children_of, line_of
from forge.schema import ApiError
from forge.text.markup import text_of

# What only says where else something stands.
_NO_TEXT = frozenset(
    {
        "all implemented interfaces", "all superinterfaces", "all known implementing classes",
        "all known subinterfaces", "direct known subclasses", "enclosing class", "enclosing interface", "overrides",
        "see also", "serialversionuid", "specified by", "author", "module graph", "version",
    }
)  # fmt: skip
_NAMED = re.compile(r"`?(?P<name>[^\s`]+)`?(?:\s+-\s+|\s+|$)(?P<text>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Notes:
    """``parameters`` are descriptions by name; ``text`` holds what is no part of a call: "Since: 1.5"."""

    parameters: dict[str, str] = field(default_factory=dict)
    returns: str = ""
    errors: tuple[ApiError, ...] = ()
    text: str = ""


def read_notes(body: Sequence[LexborNode]) -> Notes:
    """Of the lists among the elements that describe a type or member."""
    parameters: dict[str, str] = {}
    returns = ""
    errors: list[ApiError] = []
    texts: list[str] = []
    for label, entries in _labelled(body):
        folded = label.lower().rstrip(":")
        if folded in _NO_TEXT:
            continue
        said = [text for entry in entries if (text := _text(entry))]
        if folded == "parameters":
            parameters.update((name, text) for name, text in map(_named, said) if name and text)
        elif folded == "returns":
            returns = " ".join(said)
        elif folded in {"throws", "exceptions"}:
            errors.extend(ApiError(name, text) for name, text in map(_named, said) if name)
        elif said:
            texts.append(f"{label} {said[0]}" if len(said) == 1 else "\n- ".join([label, *said]))
    return Notes(parameters, returns, tuple(errors), "\n\n".join(texts))


def _labelled(body: Sequence[LexborNode]) -> Iterator[tuple[str, list[LexborNode]]]:
    for node in body:
        if node.tag != "dl":
            continue
        label, entries = "", list[LexborNode]()
        for child in children_of(node):
            if child.tag == "dd":
                entries.append(child)
            elif child.tag == "dt":
                if label:
                    yield label, entries
                label, entries = line_of(child), []
        if label:
            yield label, entries


def _text(entry: LexborNode) -> str:
    # In an element of its own: the first node of a fragment has its siblings' text too (selectolax 1.0.2), and nearly
    # every entry begins with <code>.
    return text_of(f"<div>{entry.inner_html}</div>")


def _named(text: str) -> tuple[str, str]:
    """``(name, description)`` of "`index` - where it stands"."""
    match = _NAMED.match(text)
    return (match["name"], match["text"].strip()) if match else ("", "")
