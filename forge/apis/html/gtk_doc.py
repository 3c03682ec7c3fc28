"""Pages that GTK-Doc made: functions, macros, types, variables, and the properties and signals of objects.

An entry is a ``div.refsect2``. Those that only structure a long text have neither a declaration nor members and are no
API. Names are GObject's own: ``g_file_new_for_path``, ``GtkButton:label`` for a property, ``GtkButton::clicked`` for a
signal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from selectolax.lexbor import LexborNode

from forge.apis.html.declarations import (
    Parameter,
    parameters_schema,
    parse_declaration,
    returns_schema,
    split_at_commas,
)
from forge.apis.html.examples import take_examples
from forge.apis.html.page import Page
from forge.apis.html.text import children_of, code_of, line_of, prose_of, remove
from forge.schema import ApiEntity
from forge.text.markup import first_sentence

_MARK = re.compile(r"content=\"GTK-Doc\b")
_DETECTED_IN = 8192
_OBJECT_MEMBER = re.compile(
    r"The [\"\N{LEFT DOUBLE QUOTATION MARK}](.+?)[\"\N{RIGHT DOUBLE QUOTATION MARK}] "
    r"(property|style property|child property|signal)"
)
_QUOTED = re.compile(r"^\s*[\"\N{LEFT DOUBLE QUOTATION MARK}].*?[\"\N{RIGHT DOUBLE QUOTATION MARK}]\s*")
_CALLED = re.compile(r"(\w+) ?\(\)")
_TYPE = re.compile(r"(?:struct|enum|union|typedef) (\w+)")
_ANNOTATIONS = re.compile(r"\s*((?:\[[^\[\]]*\])+)\s*$")


def detects(page: Page) -> bool:
    return _MARK.search(page.html, 0, _DETECTED_IN) is not None


def entities(page: Page, bare: ApiEntity) -> Iterator[ApiEntity]:
    if 'class="refsect2"' not in page.html:
        return
    remove(page.tree, ("td.listing_lines", "script", "style"))
    overviews = _overviews(page)
    for section in page.tree.css("div.refsect2"):
        if (entity := _entity(section, bare)) is None:
            continue
        overview = overviews.get(entity.name) if entity.entity_type == "type" else None
        if overview is not None:
            text = prose_of(*(child for child in children_of(overview) if child.tag not in {"a", "h2"}))
            own = "" if entity.description in text else entity.description
            description = "\n\n".join(part for part in (text, own) if part)
            entity = replace(entity, entity_type="class", description=description, summary=first_sentence(description))
        yield entity


def _overviews(page: Page) -> dict[str, LexborNode]:
    """The description of each object of the page, by its name."""
    found = {}
    for section in page.tree.css("div.refsect1"):
        name = _anchor(section)
        if name.endswith(".description"):
            found[name.removesuffix(".description")] = section
    return found


def _anchor(section: LexborNode) -> str:
    first = next((child for child in children_of(section) if child.tag == "a"), None)
    return (first.attributes.get("name") or "") if first is not None else ""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What stands apart in an entry; ``text`` are the nodes of its prose."""

    code: str = ""
    text: list[LexborNode] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    returns: str = ""
    members: str = ""


def _parts(section: LexborNode) -> _Parts:
    parts = _Parts()
    for child in children_of(section):
        classes = child.attributes.get("class") or ""
        if child.tag in {"a", "h3"}:
            continue
        if child.tag == "pre" and "programlisting" in classes and not parts.code and not parts.text:
            parts = replace(parts, code=code_of(child))
        elif classes == "refsect3":
            role = _anchor(child).rpartition(".")[2]
            if role == "parameters":
                parts.parameters.update(_rows(child))
            elif role == "returns":
                parts = replace(parts, returns=_annotated(prose_of(*_below_heading(child))))
            elif role == "members":
                parts = replace(parts, members=_members(child))
            else:
                parts.text.append(child)
        else:
            parts.text.append(child)
    return parts


def _below_heading(section: LexborNode) -> list[LexborNode]:
    return [child for child in children_of(section) if child.tag not in {"a", "h3", "h4"}]


def _rows(section: LexborNode) -> Iterator[tuple[str, str]]:
    """Name and description of each parameter, with its annotations: "a string, or NULL. [nullable]"."""
    for row in section.css("tr"):
        name = row.css_first("td.parameter_name")
        if name is None:
            continue
        cells = (row.css_first("td.parameter_description"), row.css_first("td.parameter_annotations"))
        told = [prose_of(cell) for cell in cells if cell is not None]
        yield line_of(name), _annotated(" ".join(part for part in told if part))


def _members(section: LexborNode) -> str:
    """The members of a structure or enumeration, one a line."""
    lines = ["Members:"]
    for row in section.css("tr"):
        cells = row.css("td")
        said = [_annotated(prose_of(cell)) for cell in cells[1:]]
        lines.append(": ".join(part for part in (line_of(cells[0]) if cells else "", " ".join(said).strip()) if part))
    return "\n- ".join(line.replace("\n", "\n  ") for line in lines if line)


def _annotated(text: str) -> str:
    """Annotations as one bracket: "[out][optional]" -> "[out, optional]"."""
    match = _ANNOTATIONS.search(text)
    if match is None:
        return text.strip()
    said = text[: match.start()].rstrip()
    return f"{said} [{match[1].strip('[]').replace('][', ', ')}]".strip()


def _entity(section: LexborNode, bare: ApiEntity) -> ApiEntity | None:
    """None for a section that is no entry of the reference."""
    heading_node = next((child for child in children_of(section) if child.tag == "h3"), None)
    if heading_node is None:
        return None
    heading, anchor = line_of(heading_node), _anchor(section)
    called = _CALLED.fullmatch(heading)
    parts = _parts(section)
    if not anchor or not (parts.code or parts.members or _TYPE.fullmatch(heading)):
        return None
    named = _named(heading, anchor, parts)
    if named is None:
        return None
    name, kind = named
    examples, left = take_examples(parts.text, {called[1]} if called else set())
    prose = "\n\n".join(part for part in (prose_of(*left), parts.members) if part)
    paragraph = next((node for node in left if node.tag == "p"), None)
    base = replace(
        bare,
        name=name,
        entity_type=kind,
        declaration=parts.code,
        description=prose,
        summary=first_sentence(prose if paragraph is None else prose_of(paragraph)),
        examples=examples,
        source_uri=f"{bare.source_uri}#{anchor}",
    )
    return _with_call(base, parts, is_called=called is not None)


def _named(heading: str, anchor: str, parts: _Parts) -> tuple[str, str] | None:
    """Name and entity type, by heading and declaration; None where the heading names nothing."""
    if member := _OBJECT_MEMBER.fullmatch(heading):
        owner, kind = anchor.partition("-")[0], member[2]
        if kind == "signal":
            return f"{owner}::{member[1]}", "attribute"
        return f"{owner}:{member[1]}" + ("" if kind == "property" else f" ({kind})"), "attribute"
    is_macro = parts.code.startswith("#define")
    if called := _CALLED.fullmatch(heading):
        is_type = re.search(r"\(\s*\*\s*" + re.escape(called[1]), parts.code) is not None
        return called[1], "macro" if is_macro else "type" if is_type else "function"
    if stated := _TYPE.fullmatch(heading):
        return stated[1], "type"
    if not heading.isidentifier():
        return None
    if is_macro:
        return heading, "macro"
    return heading, "type" if re.match(r"(?:typedef|struct|union|enum)\b", parts.code) else "attribute"


def _with_call(base: ApiEntity, parts: _Parts, is_called: bool) -> ApiEntity:
    if base.entity_type == "macro":
        names = split_at_commas(parts.code.partition("(")[2].partition(")")[0]) if is_called else []
        parameters = [Parameter(name, "", None, name == "...") for name in names]
        return replace(
            base,
            parameters=parameters_schema(parameters, parts.parameters),
            returns={"description": parts.returns} if parts.returns else {},
        )
    if is_called or "::" in base.name:
        declaration = parse_declaration(parts.code)
        if declaration is not None:
            return replace(
                base,
                parameters=parameters_schema(declaration.parameters, parts.parameters),
                returns=returns_schema(declaration.returns, parts.returns),
            )
    if base.entity_type == "attribute" and ":" in base.name:  # a property: its name in quotes, then its type
        kind = re.sub(
            r"^\s*[\"\N{LEFT DOUBLE QUOTATION MARK}].*?[\"\N{RIGHT DOUBLE QUOTATION MARK}]\s*", "", parts.code
        )
        return replace(base, returns=returns_schema(" ".join(kind.split())))
    return base
