"""Pages that QDoc made (Qt): classes, functions, properties, enumerations, macros.

An entry is a heading (``h3.fn``, ``h3.flags``) and what follows it, up to the next heading; a ``div.fngroup`` has
several headings over one text. C++ functions are told apart by their parameters' types: ``QByteArray::append(char)``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from selectolax.lexbor import LexborNode

from forge.apis.html.declarations import Declaration, parameters_schema, parse_declaration, returns_schema
from forge.apis.html.examples import take_examples
from forge.apis.html.page import Page
from forge.apis.html.text import line_of, prose_of, remove
from forge.schema import ApiEntity
from forge.text.markup import first_sentence

_MARKS = ("<!-- @@@", "<!-- $$$")
_HEADINGS = "h3.fn, h3.flags"
_TITLE = re.compile(r"(?:Obsolete Members for )?([\w:]+)(?: (Class|Struct|Namespace))?")
_NAME_AT_END = re.compile(r"((?:[\w]+(?:<[^<>]*>)?::)*~?\w+)$")
_NOT_CALLED = re.compile(r"(?:\[[^\]]*\] ?)*(enum|flags|typedef|class|struct)\b ?")


def detects(page: Page) -> bool:
    return any(mark in page.html for mark in _MARKS)


def entities(page: Page, bare: ApiEntity) -> Iterator[ApiEntity]:
    remove(page.tree, ("script", "style"))
    owner = _owner(page)
    if owner.kind == "class" and not owner.is_obsolete:
        yield from _class(page, owner, bare)
    groups: list[list[LexborNode]] = []
    for heading in page.tree.css(_HEADINGS):
        # The headings of one group are neighbours, and their text follows the group.
        previous = groups[-1][0] if groups else None
        if previous is not None and _is_grouped(heading) and _same(previous.parent, heading.parent):
            groups[-1].append(heading)
        else:
            groups.append([heading])
    for group in groups:
        yield from _entries(group, owner, bare)


@dataclass(frozen=True, slots=True)
class _Owner:
    """What the page is about. ``name`` is qualified ("QSet::iterator"), ``title`` as the headings have it; both are ""
    for a page of functions. ``kind`` is class, namespace or ""."""

    name: str = ""
    title: str = ""
    kind: str = ""
    is_obsolete: bool = False

    def qualified(self, name: str) -> str:
        """The name in a heading, which leaves out what a nested class lies in."""
        if self.name != self.title and name.startswith(f"{self.title}::"):
            return self.name + name.removeprefix(self.title)
        return name

    def member(self, name: str) -> str:
        return f"{self.name}::{name}" if self.name and "::" not in name else self.qualified(name)


def _owner(page: Page) -> _Owner:
    heading = page.first("h1.title")
    match = _TITLE.fullmatch(line_of(heading)) if heading is not None else None
    if heading is None or match is None:
        return _Owner()
    title, stated = match[1], match[2]
    is_obsolete = line_of(heading).startswith("Obsolete")
    if stated is None and not is_obsolete:
        return _Owner()
    name = title
    subtitle = page.first("span.small-subtitle")
    if subtitle is not None and (full := re.search(r"([\w:]+)::" + re.escape(title) + "$", line_of(subtitle))):
        name = f"{full[1]}::{title}"
    elif is_obsolete:
        name = _outer(page) + title
    return _Owner(name, title, "namespace" if stated == "Namespace" else "class", is_obsolete)


def _outer(page: Page) -> str:
    """``QSet::`` on the page of the obsolete members of QSet::iterator, whose title leaves it out: the name that the
    page's file begins with, as its text writes it."""
    stem = page.path.rpartition("/")[2].removesuffix("-obsolete.html")
    outer, dash, _ = stem.partition("-")
    if not dash:
        return ""
    found = re.search(rf"\b({re.escape(outer)})(?:&lt;|::|<)", page.html, re.IGNORECASE)
    return f"{found[1]}::" if found else ""


def _class(page: Page, owner: _Owner, bare: ApiEntity) -> Iterator[ApiEntity]:
    heading, details = page.first("h1.title"), page.first("div.descr")
    brief = heading.next if heading is not None else None
    while brief is not None and brief.tag != "p":
        if brief.tag in {"h2", "div"}:
            brief = None
            break
        brief = brief.next
    said = prose_of(brief).removesuffix("More...").rstrip() if brief is not None else ""
    detail = prose_of(details).removeprefix("Detailed Description").lstrip() if details is not None else ""
    subtitle = page.first("span.small-subtitle")
    if said or detail:
        yield replace(
            bare,
            name=owner.name,
            entity_type="class",
            summary=first_sentence(said or detail),
            description="\n\n".join(part for part in (said, detail) if part),
            declaration=line_of(subtitle) if subtitle is not None else "",
        )


def _is_grouped(heading: LexborNode) -> bool:
    return "fngroupitem" in (heading.attributes.get("class") or "").split()


def _same(first: LexborNode | None, second: LexborNode | None) -> bool:
    return first is not None and second is not None and first.mem_id == second.mem_id


def _entries(group: list[LexborNode], owner: _Owner, bare: ApiEntity) -> Iterator[ApiEntity]:
    first = group[0]
    start = first.parent if _is_grouped(first) and first.parent is not None else first
    named = [entity for heading in group if (entity := _named(heading, owner, bare)) is not None]
    bare_names = {re.split(r"::|\(", entity.name.partition("(")[0])[-1] for entity in named} - {""}
    examples, nodes = take_examples(_following(start), bare_names)
    prose = prose_of(*nodes)
    paragraph = next((node for node in nodes if node.tag == "p" and not _is_remark(node)), None)
    summary = first_sentence(prose if paragraph is None else prose_of(paragraph))
    for entity in named:
        yield replace(entity, description=prose, summary=summary, examples=examples)


def _is_remark(node: LexborNode) -> bool:
    """Of a paragraph that says only how the entry is related to another."""
    return re.match(r"(?:This is an overloaded function|This function overloads|See also)", line_of(node)) is not None


def _following(start: LexborNode) -> list[LexborNode]:
    """The elements after a heading, up to the next one."""
    found = []
    node = start.next
    while node is not None:
        tag = node.tag or ""
        if tag in {"h1", "h2", "h3"} or (tag == "div" and "fngroup" in (node.attributes.get("class") or "")):
            break
        if not tag.startswith("-"):
            found.append(node)
        node = node.next
    return found


def _named(heading: LexborNode, owner: _Owner, bare: ApiEntity) -> ApiEntity | None:
    """The entry without its text; None where the heading names nothing."""
    anchor = (heading.attributes.get("id") or "").strip()
    text = line_of(heading)
    base = replace(bare, declaration=text, source_uri=f"{bare.source_uri}#{anchor}" if anchor else bare.source_uri)
    if anchor.endswith("-prop"):
        name, _, kind = text.partition(" : ")
        returns = returns_schema(kind.strip())
        return replace(base, name=owner.member(name.strip()), entity_type="attribute", returns=returns)
    if stated := _NOT_CALLED.match(text):
        # "enum Qt::AlignmentFlag" and, on a second line, "flags Qt::Alignment": the enumeration is the entry
        found = _NAME_AT_END.search(text if len(heading.css("span.name")) < 2 else text.partition("flags ")[0].rstrip())
        if found is None:
            return None
        kind = "class" if stated[1] in {"class", "struct"} else "type"
        return replace(base, name=owner.qualified(found[1]), entity_type=kind)
    if "(" in text and (declaration := parse_declaration(text)) is not None:
        return _callable(base, declaration, owner)
    found = _NAME_AT_END.search(text)
    if found is None:
        return None
    before = " ".join(text[: found.start()].split())
    if "::" in found[1]:
        return replace(base, name=owner.qualified(found[1]), entity_type="attribute", returns=returns_schema(before))
    return replace(base, name=found[1], entity_type="type" if before == "[alias]" else "macro")


def _callable(base: ApiEntity, declaration: Declaration, owner: _Owner) -> ApiEntity:
    name = owner.qualified(declaration.name)
    if "::" not in name and not declaration.returns and not name.startswith("operator"):
        # A macro: its parameters have no types.
        parameters = tuple(
            replace(parameter, name=parameter.type, type="") if not parameter.name else parameter
            for parameter in declaration.parameters
        )
        return replace(base, name=name, entity_type="macro", parameters=parameters_schema(parameters))
    return replace(
        base,
        name=name + declaration.overload,
        entity_type="method" if owner.kind == "class" and name.startswith(f"{owner.name}::") else "function",
        parameters=parameters_schema(declaration.parameters),
        returns=returns_schema(declaration.returns),
    )
