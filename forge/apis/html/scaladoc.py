"""Pages that scaladoc made (that of Scala 2.11): classes, traits and objects, and what each of them defines itself.

A page repeats every member that its type inherits; those are told on the page of the type that defines them. Names are
those of scaladoc's links: ``scala.Option#flatMap((A) ⇒ Option[B])`` for a member of a class or trait,
``scala.Option.apply(A)`` for one of an object or package, ``scala.Some(A)`` for a constructor, ``scala.Option$`` for an
object. Methods have the types of their parameters in parentheses, since they are overloaded by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from selectolax.lexbor import LexborNode

from forge.apis.html.page import Page
from forge.apis.html.text import children_of, line_of, prose_of
from forge.apis.property_order import with_order
from forge.schema import ApiEntity, ApiError
from forge.text.markup import first_sentence

_MARKS = ("lib/template.css", 'id="template"')
_MEMBERS = "div#template div.members > ol > li"
_OBJECTS = frozenset({"object", "case object", "package", "package object"})
_TYPES = frozenset({"trait", "type"})
_VALUES = frozenset({"val", "var", "lazy val"})
_MEMBER_KINDS = _VALUES | {"def", "new", "type"}
_TOLD = frozenset({"Note", "Since", "Deprecated", "Migration", "Example", "To do", "Self Type"})
_JSON_TYPES = {
    "Boolean": "boolean", "Int": "integer", "Long": "integer", "Short": "integer", "Byte": "integer",
    "BigInt": "integer", "Double": "number", "Float": "number", "String": "string",
}  # fmt: skip
_EXCEPTION = re.compile(r"(?P<name>[A-Z][\w.]*)(?:\s+-\s+|\s+|$)(?P<text>.*)", re.DOTALL)
_IN_FRAGMENTS = "!$&'()*+,;=:@/?-._~"


def detects(page: Page) -> bool:
    return all(mark in page.html for mark in _MARKS)


def entities(page: Page, bare: ApiEntity) -> Iterator[ApiEntity]:
    """The type of the page first (not a package: it is no API of its own), then what it defines."""
    signature = page.first("#signature")
    name = _qualified_name(page)
    if signature is None or not name:
        return
    kind = _kind(signature)
    if kind not in {"package", "package object"}:
        yield _entity(
            replace(bare, name=f"{name}$" if kind in _OBJECTS else name, entity_type=_entity_type(kind)),
            signature,
            page.first("#comment"),
        )
    separator = "." if kind in _OBJECTS else "#"
    for item in page.tree.css(_MEMBERS):
        defined = item.attributes.get("name") or ""
        if not defined.startswith((f"{name}#", f"{name}.")) or _is_of_companion(item):
            continue
        if (entity := _member(item, name, separator, bare)) is not None:
            yield entity


def _is_of_companion(item: LexborNode) -> bool:
    """Whether an object inherits the member from the trait or class of its own name: what a page defines itself is
    linked to that same page."""
    for label in item.css("dl.attributes > dt"):
        if line_of(label) == "Definition Classes":
            body = next((child for child in _after(label) if child.tag == "dd"), None)
            link = body.css_first("a") if body is not None else None
            return link is not None and bool(link.attributes.get("href"))
    return False


def _after(node: LexborNode) -> Iterator[LexborNode]:
    following = node.next
    while following is not None:
        yield following
        following = following.next


def _qualified_name(page: Page) -> str:
    heading = page.first("#definition > h1")
    if heading is None:
        return ""
    owner = page.first("#definition > #owner")
    # A package object is called like its package.
    return ".".join(part for part in (line_of(owner) if owner is not None else "", line_of(heading)) if part)


def _kind(signature: LexborNode) -> str:
    node = signature.css_first(".kind")
    return line_of(node) if node is not None else ""


def _entity_type(kind: str) -> str:
    if kind in _TYPES:
        return "type"
    if kind in _VALUES:
        return "attribute"
    return "method" if kind in {"def", "new"} else "class"


def _member(item: LexborNode, owner: str, separator: str, bare: ApiEntity) -> ApiEntity | None:
    """None for what is private, what has no signature, and a type that has a page of its own."""
    signature = item.css_first("h4.signature")
    symbol = signature.css_first(".symbol > .name") if signature is not None else None
    if signature is None or symbol is None:
        return None
    modifier = signature.css_first(".modifier")
    if modifier is not None and re.search(r"\bprivate\b", line_of(modifier)):
        return None
    kind = _kind(signature)
    if kind not in _MEMBER_KINDS:
        return None
    lists = list(_parameter_lists(signature))
    name = owner if kind == "new" else f"{owner}{separator}{line_of(symbol)}"
    types = "".join(f"({'implicit ' if each.is_implicit else ''}{', '.join(each.types.values())})" for each in lists)
    anchor = item.css_first("a[id]")
    identity = (anchor.attributes.get("id") or "") if anchor is not None else ""
    return _entity(
        replace(
            bare,
            name=name + types,
            entity_type=_entity_type(kind),
            source_uri=f"{bare.source_uri}#{quote(identity, safe=_IN_FRAGMENTS)}" if identity else bare.source_uri,
        ),
        signature,
        item.css_first("div.fullcomment") or item.css_first("p.shortcomment"),
        lists,
    )


# --- the signature --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ParameterList:
    """One pair of parentheses: types by name, and the defaults of some."""

    types: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)
    is_implicit: bool = False


def _parameter_lists(signature: LexborNode) -> Iterator[_ParameterList]:
    for node in signature.css(".symbol > .params"):
        found = _ParameterList(is_implicit=node.css_first("span.implicit") is not None)
        for child in children_of(node):
            name = (child.attributes.get("name") or "").strip()
            if child.tag == "span" and name:
                kind, _, default = line_of(child).removeprefix(f"{name}:").strip().partition(" = ")
                found.types[name] = kind.strip()
                if default:
                    found.defaults[name] = default
        yield found


def _schema(lists: list[_ParameterList], told: dict[str, str]) -> dict[str, object]:
    properties: dict[str, dict[str, object]] = {}
    required: list[str] = []
    for each in lists:
        for name, kind in each.types.items():
            schema: dict[str, object] = _type_schema(kind)
            if description := told.get(name, ""):
                schema["description"] = description
            if name in each.defaults:
                schema["x-default"] = each.defaults[name]
            if each.is_implicit:
                schema["x-implicit"] = True
            elif name not in each.defaults and not kind.endswith("*") and name not in required:
                required.append(name)
            properties[name] = schema
    found: dict[str, object] = {"type": "object", "properties": properties}
    if required:
        found["required"] = required
    return with_order(found)


def _type_schema(kind: str) -> dict[str, object]:
    schema: dict[str, object] = {"type": _JSON_TYPES[kind]} if kind in _JSON_TYPES else {}
    return {**schema, "x-type": kind} if kind else schema


# --- the text -------------------------------------------------------------------------------------------------------


def _entity(
    base: ApiEntity, signature: LexborNode, comment: LexborNode | None, lists: list[_ParameterList] | None = None
) -> ApiEntity:
    told = _comment(comment)
    result = signature.css_first(".symbol > .result")
    kind = line_of(result).removeprefix(":").strip() if result is not None else ""
    returns: dict[str, object] = {}
    if base.entity_type in {"method", "attribute"}:
        returns = _type_schema(kind) if kind != "Unit" else {}
        if told.returns:
            returns["description"] = told.returns
    return replace(
        base,
        declaration=line_of(signature),
        summary=first_sentence(told.text or told.returns),
        description="\n\n".join(part for part in (told.text, *told.remarks) if part),
        parameters=_schema(lists or [], told.parameters),
        returns=returns,
        errors=tuple(told.errors),
    )


@dataclass(slots=True)
class _Comment:
    text: str = ""
    returns: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    errors: list[ApiError] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def _comment(node: LexborNode | None) -> _Comment:
    found = _Comment()
    if node is None:
        return found
    if node.tag == "p":
        found.text = prose_of(node)
        return found
    said = [child for child in children_of(node) if child.tag == "div" and "comment" in _classes(child)]
    found.text = prose_of(*said)
    types: list[str] = []
    for label, role, body in _labelled(node):
        text = prose_of(body)
        if role == "param":
            found.parameters[label] = text
        elif role == "tparam" and text:
            types.append(f"`{label}` - {text}")
        elif label == "returns":
            found.returns = text
        elif label == "Exceptions thrown":
            found.errors.extend(_errors(body))
        elif label in _TOLD and text:
            found.remarks.append(f"{label}: {text}")
    if types:
        found.remarks.insert(0, "\n- ".join(["Type parameters:", *types]))
    return found


def _classes(node: LexborNode) -> list[str]:
    return (node.attributes.get("class") or "").split()


def _labelled(node: LexborNode) -> Iterator[tuple[str, str, LexborNode]]:
    """Label, role ("param", "tparam" or "") and body of each entry of the comment's lists."""
    for group in children_of(node):
        if group.tag != "dl":
            continue
        label, role = "", ""
        for child in children_of(group):
            if child.tag == "dt":
                label, role = line_of(child).rstrip(":"), " ".join(_classes(child))
            elif child.tag == "dd" and label:
                yield label, role, child


def _errors(body: LexborNode) -> Iterator[ApiError]:
    for node in body.css("span.cmt"):
        text = prose_of(node).replace("`", "")
        if match := _EXCEPTION.match(text):
            yield ApiError(match["name"], match["text"].strip())
