"""The field lists of a Sphinx object description: its parameters, its returned value, its errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from selectolax.lexbor import LexborNode

from forge.apis.annotations import schema_of, schema_of_prose
from forge.apis.html.text import children_of, line_of, prose_of
from forge.schema import ApiError

_PARAMETERS = re.compile(r"(?:other |keyword )?(?:parameters?|arguments?|params?|args?)|keyword args", re.IGNORECASE)
_ONE_PARAMETER = re.compile(r"(?:param|parameter|arg|argument|keyword|key)\s+(?:(\S.*)\s+)?([*\w.]+)", re.IGNORECASE)
_RETURNS = re.compile(r"returns?|yields?", re.IGNORECASE)
_RETURN_TYPE = re.compile(r"return type|rtype|yield type|type", re.IGNORECASE)
_RAISES = re.compile(r"raises?|throws?|except(?:ions?)?", re.IGNORECASE)
_DASH = re.compile(r"\s+(?:\N{EN DASH}|\N{EM DASH}|--?)(?:\s+|$)")
_ENTRY_NAME = re.compile(r"\s*(?:- )?`?(\*{0,2}[\w.]+(?:,\s*\*{0,2}[\w.]+)*)`?\s*")


@dataclass(frozen=True, slots=True)
class Fields:
    """``parameters`` are schemas by plain name, ``value`` the schema of what is returned (or of an attribute)."""

    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    value: dict[str, Any] = field(default_factory=dict)
    errors: tuple[ApiError, ...] = ()

    def returns_of(self, annotation: str) -> dict[str, Any]:
        """The returned value: a signature's annotation wins over the type that the fields state."""
        told = {"description": self.value["description"]} if "description" in self.value else {}
        return {**schema_of(annotation), **told} if annotation else self.value


def take_fields(dd: LexborNode) -> Fields:
    """Reads the field lists that lie directly in ``dd`` and takes what was understood out of the tree; other fields
    ("Platform") stay text."""
    fields = Fields()
    errors: list[ApiError] = []
    types: list[str] = []
    for node in children_of(dd):
        classes = (node.attributes.get("class") or "").split()
        if "field-list" not in classes or node.tag not in {"dl", "table"}:
            continue
        left = 0
        for label, body, nodes in list(_pairs(node)):
            if _take(label, body, fields, errors, types):
                for part in nodes:
                    part.decompose()
            else:
                left += 1
        if not left:
            node.decompose()
    if types:
        fields.value.update(schema_of_prose(types[0]))
    return Fields(fields.parameters, fields.value, tuple(errors))


def _pairs(node: LexborNode) -> Iterator[tuple[str, LexborNode, tuple[LexborNode, ...]]]:
    """Label, body and the nodes of each field: of ``dl > dt + dd`` and of ``table > tr > th + td``."""
    if node.tag == "dl":
        label: LexborNode | None = None
        for child in children_of(node):
            if child.tag == "dt":
                label = child
            elif child.tag == "dd" and label is not None:
                yield line_of(label).rstrip(": "), child, (label, child)
                label = None
        return
    for row in node.css("tr"):
        head, body = row.css_first("th"), row.css_first("td")
        if head is not None and body is not None:
            yield line_of(head).rstrip(": "), body, (row,)


def _take(label: str, body: LexborNode, fields: Fields, errors: list[ApiError], types: list[str]) -> bool:
    if _PARAMETERS.fullmatch(label):
        for name, kind, text in _entries(body):
            _add_parameter(fields, name, kind, text)
    elif match := _ONE_PARAMETER.fullmatch(label):
        _add_parameter(fields, match[2], match[1] or "", prose_of(body))
    elif _RETURN_TYPE.fullmatch(label):
        types.append(line_of(body))
    elif _RETURNS.fullmatch(label):
        said = prose_of(body)
        if said:
            fields.value["description"] = said
    elif _RAISES.fullmatch(label):
        errors.extend(ApiError(name, text) for name, _, text in _entries(body))
    else:
        return False
    return True


def _add_parameter(fields: Fields, names: str, kind: str, text: str) -> None:
    for name in names.split(","):
        plain = name.strip().lstrip("*")
        if plain and plain not in fields.parameters:
            schema = schema_of_prose(kind)
            fields.parameters[plain] = {**schema, "description": text} if text else schema


def _entries(body: LexborNode) -> Iterator[tuple[str, str, str]]:
    """Name, type and description of each: ``ul > li`` or one ``p`` of "name (type) - text"; ``dl`` of numpydoc."""
    children = children_of(body)
    lists = [child for child in children if child.tag in {"ul", "ol"}]
    definitions = [child for child in children if child.tag == "dl"]
    if definitions and not lists:
        for node in definitions:
            for label, text, nodes in _pairs(node):
                classifier = nodes[0].css_first(".classifier")
                kind = line_of(classifier) if classifier is not None else ""
                name = label.removesuffix(kind).rstrip(" :")
                yield name, kind.lstrip(": "), prose_of(text)
        return
    parts = [item for node in lists for item in children_of(node)] if lists else [body]
    for part in parts:
        if (entry := _entry(prose_of(part))) is not None:
            yield entry


def _entry(text: str) -> tuple[str, str, str] | None:
    text = text.removeprefix("- ")
    match = _ENTRY_NAME.match(text)
    if match is None:
        return None
    rest = text[match.end() :]
    kind = ""
    if rest.startswith("("):
        depth = 0
        for position, character in enumerate(rest):
            depth += (character == "(") - (character == ")")
            if depth == 0:
                kind, rest = rest[1:position], rest[position + 1 :]
                break
    dash = _DASH.match(" " + rest)
    return match[1], kind.replace("`", ""), (" " + rest)[dash.end() :].strip() if dash else rest.strip()
