"""Pages that rustdoc made: functions, macros, constants, types and traits with their methods, fields and variants.

What a type gets from a trait or by dereferencing is told at the trait and at the target; every page repeats it, so
only what the type itself (or the trait) defines is read. Names are paths, ``std::vec::Vec::push``; a primitive type and
its methods have no path (``f64::sqrt``). Where several implementations of one type define the same name
(``impl Box<dyn Any>`` and ``impl Box<dyn Any + Send>``), the type is part of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from selectolax.lexbor import LexborNode

from forge.apis.html.page import Page
from forge.apis.html.rust_signatures import parse_rust_signature, rust_schema, rust_type_schema, self_type
from forge.apis.html.text import children_of, code_of, line_of, prose_of, remove
from forge.schema import ApiEntity, ApiError, ApiExample
from forge.text.markup import first_sentence

_MARK = re.compile(r"<meta\s+name=\"generator\"\s+content=\"rustdoc\"")
_ITEM = re.compile(r"(\w+)\.(\w+)\.html")
_TYPES = {
    "fn": "function", "macro": "macro", "attr": "macro", "derive": "macro", "keyword": "macro", "struct": "type",
    "enum": "type", "union": "type", "trait": "type", "traitalias": "type", "type": "type", "primitive": "type",
    "foreigntype": "type", "opaque": "type", "constant": "attribute", "static": "attribute",
}  # fmt: skip
_MEMBER = re.compile(
    r"(?P<kind>method|tymethod|associatedconstant|associatedtype|structfield|variant)\.(?P<name>\w+)(?:-\d+)?"
)
_MEMBER_TYPES = {
    "method": "method", "tymethod": "method", "associatedconstant": "attribute", "associatedtype": "type",
    "structfield": "attribute", "variant": "attribute",
}  # fmt: skip
_NESTED = ".impl-items .impl-items, summary summary, .code-header .code-header, section section section section"
_MEMBERS = ", ".join(f'[id^="{kind}."]' for kind in _MEMBER_TYPES)
_OTHER_TYPE = re.compile(r"(?:&|mut |dyn |'\w+ )*([A-Z]\w*)\b(?!\w*::)")
_NOT_CONTENT = (
    ".notable-traits", ".tooltip", "a.test-arrow", ".rightside", ".out-of-band", "summary.hideme", "button", "script",
    ".emoji", "a.anchor", "a.doc-anchor",
)  # fmt: skip
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_ERROR_SECTIONS = {"errors": "Err", "error": "Err", "panics": "panic", "panic": "panic"}


def detects(page: Page) -> bool:
    return _MARK.search(page.head) is not None


def entities(page: Page, bare: ApiEntity) -> Iterator[ApiEntity]:
    folder, _, file = page.path.rpartition("/")
    item = _ITEM.fullmatch(file)
    if item is None or item[1] not in _TYPES:
        return
    content = page.first("#main-content") or page.first("section.content") or page.first("main")
    if content is None:  # a page that only leads to another
        return
    if content.css_first(_NESTED) is not None:
        raise ValueError("members inside of members")
    kind, name = item[1], _name(folder, item[1], item[2])
    members = list(_members(content, name, kind))
    for part in (content, *(node for member in members for node in member.nodes)):
        if part is not content or not members:
            remove(part, _NOT_CONTENT)
    yield _item(content, kind, replace(bare, name=name))
    shared = Counter((member.kind in {"method", "tymethod"}, member.name) for member in members)
    for member in members:
        alone = shared[(member.kind in {"method", "tymethod"}, member.name)] == 1
        yield _member(member, replace(bare, name=f"{name if alone else member.owner(name)}::{member.name}"))


def _name(folder: str, kind: str, name: str) -> str:
    if kind == "primitive":
        return name
    if kind == "keyword":
        return f"keyword {name}"
    return "::".join([*(part for part in folder.split("/") if part), name]) + ("!" if kind == "macro" else "")


def _item(content: LexborNode, kind: str, bare: ApiEntity) -> ApiEntity:
    declaration = content.css_first(
        ".item-decl pre, pre.item-decl, pre.rust." + ("const" if kind == "constant" else kind)
    )
    declared = ""
    top: list[LexborNode] = []
    for child in children_of(content):
        classes = (child.attributes.get("class") or "").split()
        if child.tag == "details" and "top-doc" in classes:
            top += [node for node in children_of(child) if node.tag != "summary"]
        elif (child.tag in {"span", "div"} and ("item-info" in classes or "stability" in classes)) or (
            child.tag == "div" and classes == ["docblock"]
        ):
            top.append(child)
        elif child.tag == "h2" or child.attributes.get("id"):
            break
    for node in top:
        remove(node, _NOT_CONTENT)
    if declaration is not None:
        declared = _declaration(declaration)
    entity = _described(top, replace(bare, entity_type=_TYPES[kind], declaration=declared))
    return replace(entity, source_uri=bare.source_uri)


@dataclass(frozen=True, slots=True)
class _Member:
    anchor: str
    kind: str
    name: str
    self_type: str
    heading: LexborNode
    nodes: tuple[LexborNode, ...]
    """The heading and the texts."""

    def owner(self, name: str) -> str:
        """The type that this implementation is of, by its path where the path ends with the type's name."""
        bare = name.rpartition("::")[2]
        full = re.sub(rf"(?<![\w:]){re.escape(bare)}(?!\w)", name, self.self_type, count=1) or name
        return full if full.startswith(name) else f"<{full}>"


def _members(content: LexborNode, name: str, kind: str) -> Iterator[_Member]:
    """What the page's item defines itself: fields and variants, what a trait asks for, inherent implementations."""
    for child in children_of(content):
        classes = (child.attributes.get("class") or "").split()
        anchor = child.attributes.get("id") or ""
        if anchor == "implementations-list":
            for block in children_of(child):
                heading = block.css_first("section.impl h3, .impl .code-header, h3.impl")
                text = self_type(_heading_text(heading)) if heading is not None else ""
                if (of := _OTHER_TYPE.match(text)) is not None and of[1] != name.rpartition("::")[2]:
                    continue  # ``impl Box<T, Global>`` on the page of Global
                for items in block.css(".impl-items"):
                    yield from _members_of(items, text)
        elif ("methods" in classes and kind in {"trait", "traitalias"}) or "variants" in classes:
            yield from _members_of(child, "")
        elif anchor.startswith(("structfield.", "variant.")):
            if (member := _as_member(child, "")) is not None:
                yield member
        elif child.tag == "details" and "non-exhaustive" not in classes and child.css_first("[id^='variant.']"):
            yield from _members_of(child, "")


def _members_of(holder: LexborNode, owner: str) -> Iterator[_Member]:
    for node in holder.css(_MEMBERS):
        if (member := _as_member(node, owner)) is not None:
            yield member


def _as_member(node: LexborNode, owner: str) -> _Member | None:
    anchor = node.attributes.get("id") or ""
    match = _MEMBER.fullmatch(anchor)
    if match is None:
        return None
    heading = node.css_first(".code-header") or node.css_first("h4") or node
    texts: list[LexborNode] = []
    holder = node
    while holder.parent is not None and holder.parent.tag == "summary":
        texts += _texts_after(holder)
        holder = holder.parent
    texts += _texts_after(holder)
    return _Member(anchor, match["kind"], match["name"], owner, heading, (node, *texts))


def _texts_after(node: LexborNode) -> list[LexborNode]:
    """The blocks of text that directly follow a heading."""
    found = []
    following = node.next
    while following is not None:
        classes = (following.attributes.get("class") or "").split() if following.tag != "-text" else []
        if following.tag != "-text" and not {"docblock", "item-info", "stability"} & set(classes):
            break
        if classes:
            found.append(following)
        following = following.next
    return found


def _member(member: _Member, bare: ApiEntity) -> ApiEntity:
    entity = _described(
        member.nodes[1:],
        replace(
            bare,
            entity_type=_MEMBER_TYPES[member.kind],
            declaration=_heading_text(member.heading),
            source_uri=f"{bare.source_uri}#{member.anchor}",
        ),
    )
    if member.kind == "structfield":
        _, colon, kind = entity.declaration.partition(": ")
        entity = replace(entity, returns=rust_type_schema(kind) if colon else {})
    elif member.kind == "associatedconstant" and (match := re.search(r": ([^=]+?)(?: =|$)", entity.declaration)):
        entity = replace(entity, returns=rust_type_schema(match[1]))
    return entity


def _heading_text(heading: LexborNode) -> str:
    for br in heading.css("br"):
        br.replace_with(" ")
    return line_of(heading)


def _declaration(pre: LexborNode) -> str:
    remove(pre, (*_NOT_CONTENT, "summary"))
    for br in pre.css("br"):
        br.replace_with("\n")
    return code_of(pre)


@dataclass(slots=True)
class _Text:
    """A text being sorted: prose, the texts of its error sections, its examples."""

    prose: list[LexborNode] = field(default_factory=list)
    errors: dict[str, list[LexborNode]] = field(default_factory=dict)
    examples: list[ApiExample] = field(default_factory=list)
    pending: list[LexborNode] = field(default_factory=list)
    """What stands before the next example and tells about it."""


def _described(nodes: Sequence[LexborNode], bare: ApiEntity) -> ApiEntity:
    text, notes = _Text(), []
    for node in nodes:
        classes = (node.attributes.get("class") or "").split()
        if "docblock" in classes:
            _sort(node, text)
        else:
            notes.append(line_of(node))
    description = "\n\n".join(part for part in (prose_of(*text.prose), *notes) if part)
    entity = replace(
        bare,
        summary=first_sentence(description),
        description=description,
        errors=tuple(ApiError(name, prose_of(*parts)) for name, parts in text.errors.items()),
        examples=tuple(text.examples),
    )
    signature = parse_rust_signature(bare.declaration) if bare.entity_type in {"function", "method"} else None
    if signature is None:
        return entity
    return replace(entity, parameters=rust_schema(signature), returns=rust_type_schema(signature.returns))


def _sort(docblock: LexborNode, text: _Text) -> None:
    section = ""
    for child in children_of(docblock):
        if child.tag in _HEADINGS:
            _end_examples(text)
            section = line_of(child).lower().strip("§ :")
            if section not in _ERROR_SECTIONS and not _is_example_section(section):
                text.prose.append(child)
        elif section in _ERROR_SECTIONS:
            text.errors.setdefault(_ERROR_SECTIONS[section], []).append(child)
        elif _is_example_section(section):
            code = child if child.tag == "pre" else child.css_first("pre.rust, pre.rust-example-rendered")
            if code is not None and (child.tag == "pre" or "example-wrap" in (child.attributes.get("class") or "")):
                text.examples.append(ApiExample(prose_of(*text.pending), code_of(code), ""))
                text.pending.clear()
            else:
                text.pending.append(child)
        else:
            text.prose.append(child)
    _end_examples(text)


def _is_example_section(section: str) -> bool:
    return section in {"example", "examples"}


def _end_examples(text: _Text) -> None:
    """What follows the last example is no example's text: it stays prose."""
    text.prose += text.pending
    text.pending.clear()
