"""Python signatures as Sphinx prints them -> parameters: ``open(file, mode='r', *, opener=None) -> IO``, and the older
brackets ``range(start, stop[, step])``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forge.apis.annotations import default_of, schema_of
from forge.apis.property_order import with_order

MAX_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class SignatureParameter:
    """``name`` has its stars; ``is_optional`` is what stands in brackets; ``default`` is None for none."""

    name: str
    annotation: str = ""
    default: str | None = None
    is_optional: bool = False

    @property
    def is_required(self) -> bool:
        return not self.is_optional and self.default is None and not self.name.startswith("*") and self.name != "..."


@dataclass(frozen=True, slots=True)
class Signature:
    """``returns`` is the annotation after the arrow, "" for none."""

    parameters: tuple[SignatureParameter, ...]
    returns: str = ""


def parse_signature(text: str) -> Signature | None:
    """The signature in "name(parameters) -> returns", whatever stands before its parenthesis; None for a text without
    a parenthesis, one that does not close, or over 10,000 characters."""
    text = text.replace("\N{RIGHTWARDS ARROW}", "->").strip()
    opening = text.find("(")
    if opening < 0 or len(text) > MAX_CHARACTERS:
        return None
    pieces, end = _pieces(text, opening + 1)
    if end is None:
        return None
    _, arrow, returns = text[end:].partition("->")
    parameters = [_parameter(piece, is_optional) for piece, is_optional in pieces]
    return Signature(tuple(entry for entry in parameters if entry is not None), returns.strip() if arrow else "")


def _pieces(text: str, start: int) -> tuple[list[tuple[str, bool]], int | None]:
    """The parameters' texts, each with whether it stands in optional brackets, and where the parenthesis closes."""
    pieces: list[tuple[str, bool]] = []
    piece: list[str] = []
    brackets: list[str] = []  # open ones inside a parameter
    optional = 0
    quote = ""
    was_optional = False
    position = start
    while position < len(text):
        character = text[position]
        if quote:
            piece.append(character)
            if character == "\\":
                piece.append(text[position + 1 : position + 2])
                position += 1
            elif character == quote:
                quote = ""
        elif character in "'\"" and (not piece or not piece[-1].isalnum() or piece[-1] in "bru"):
            quote = character
            piece.append(character)
        elif brackets:
            piece.append(character)
            if character in "([{":
                brackets.append(character)
            elif character in ")]}":
                brackets.pop()
        elif character == "[" and (not "".join(piece).strip() or text[position + 1 :].lstrip()[:1] == ","):
            optional += 1
            if not "".join(piece).strip():
                was_optional = True
        elif character in "([{":
            brackets.append(character)
            piece.append(character)
        elif character == "]" and optional:
            optional -= 1
            if not "".join(piece).strip():
                piece.clear()
        elif character in ",)":
            pieces.append(("".join(piece).strip(), was_optional))
            piece.clear()
            was_optional = optional > 0
            if character == ")":
                return pieces, position + 1
        else:
            piece.append(character)
        position += 1
    return pieces, None


def _parameter(text: str, is_optional: bool) -> SignatureParameter | None:
    if text in {"", "*", "/"}:
        return None
    declared, default = _cut_at(text, "=")
    name, annotation = _cut_at(declared, ":")
    name = name.strip()
    plain = name.lstrip("*")
    if not (plain.isidentifier() or name == "..."):
        # "(year, month), ..." and the like: kept as it is written
        name = " ".join(text.split())
        return SignatureParameter(name[:200], "", None, is_optional)
    return SignatureParameter(name, (annotation or "").strip(), default.strip() if default else None, is_optional)


def _cut_at(text: str, mark: str) -> tuple[str, str | None]:
    """The text before and after the first ``mark`` that stands in no brackets and no string."""
    depth = 0
    quote = ""
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == mark and depth == 0:
            return text[:position], text[position + 1 :]
    return text, None


def signatures_schema(signatures: Sequence[Signature], descriptions: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """JSON Schema of a call that is documented by one or more signatures: the parameters of all, in order, of which
    those are required that every signature requires. ``descriptions`` are schemas by plain name."""
    properties: dict[str, Any] = {}
    for signature in sorted(signatures, key=lambda signature: -len(signature.parameters)):
        for entry in signature.parameters:
            if entry.name in properties:
                continue
            schema = dict(descriptions.get(entry.name.lstrip("*"), {}))
            if entry.annotation:
                schema.update(
                    {"x-annotation": entry.annotation} if entry.name.startswith("*") else schema_of(entry.annotation)
                )
            if entry.default is not None:
                schema.update(default_of(entry.default))
            properties[entry.name] = schema
    required = set(properties) if signatures else set()
    for signature in signatures:
        required &= {entry.name for entry in signature.parameters if entry.is_required}
    schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = [name for name in properties if name in required]
    return with_order(schema)
