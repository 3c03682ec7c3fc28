"""Pages that Haddock made: functions, types, classes with their methods, constructors and fields of Haskell modules.

Names are ``Module.name``. A page repeats what its module exports from others and says where that is defined: it then
has the name of the module that defines it, so all pages that tell it tell one entity. Modules that are made to be
exported by others (``Data.Map.Internal``, those below ``GHC``) do not give names that anybody uses: what comes from
them has the name of the page's own module. The package is the one that defines it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from selectolax.lexbor import LexborNode

from forge.apis.html.examples import take_examples
from forge.apis.html.haskell_types import haskell_schema, haskell_type_schema, split_type
from forge.apis.html.page import Page
from forge.apis.html.text import children_of, line_of, prose_of, remove
from forge.schema import ApiEntity, ApiExample
from forge.text.markup import first_sentence

_MARK = re.compile(r"haddock-(?:bundle|util)(?:\.min)?\.js|<div id=\"package-header\">")
_MODULE = re.compile(r"[A-Z][\w']*(?:-[A-Z][\w']*)*\.html")
_SOURCE = re.compile(r"(?:\.\./(?P<package>[\w.-]+)/)?src/(?P<module>[\w%.'-]+)\.html")
_PACKAGE = re.compile(r"(?P<name>[A-Za-z][\w-]*?)(?:-(?P<version>\d+(?:\.\d+)*))?(?::|$)")
_INSIDE = re.compile(r"\b(?:Internals?|Base|Imp|Common|Private|Old\w+|Prim)\b")
_MAX_NAMES = 50
_NESTED = "div.top div.top, table table table table, a.def a.def, .src .src"
_TOLD_ELSEWHERE = (".subs.instances", ".subs.minimal", "#synopsis", "#table-of-contents")
_SIGNATURE_NOISE = ("a.link", "a.selflink", "span.rightedge", "span.fixity")
_TYPE_KEYWORDS = frozenset({"data", "newtype", "type", "class", "type family", "data family", "data instance"})
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_COST = re.compile(r"O\([^.\n]{1,80}\)\.\s+(?=\S)")
_MATHS = re.compile(r"\\\((.{1,200}?)\\\)")


def detects(page: Page) -> bool:
    return _MARK.search(page.head) is not None


def entities(page: Page, bare: ApiEntity) -> Iterator[ApiEntity]:
    if not _MODULE.fullmatch(page.path.rpartition("/")[2]) or 'class="def"' not in page.html:
        return
    interface = page.first("#interface")
    if interface is None:
        return
    module = page.path.rpartition("/")[2].removesuffix(".html").replace("-", ".")
    caption = page.first("#package-header .caption")
    home = _Home(module, line_of(caption).split(":")[0] if caption is not None else "")
    remove(interface, _TOLD_ELSEWHERE)
    if interface.css_first(_NESTED) is not None:
        raise ValueError("definitions inside of definitions")
    for top in interface.css("div.top"):
        yield from _top(top, home, bare)


@dataclass(frozen=True, slots=True)
class _Home:
    """Where something is defined: its module and its package with the version ("base-4.15.1.0"), "" if unknown."""

    module: str
    package: str

    def filled(self, bare: ApiEntity) -> ApiEntity:
        match = _PACKAGE.match(self.package)
        if match is None:
            return bare
        return replace(bare, service=match["name"], version=match["version"] or bare.version)


@dataclass(frozen=True, slots=True)
class _Declared:
    """One heading: the names that it declares (mostly one) with their ids, its text, where its source is."""

    keyword: str
    names: tuple[tuple[str, str], ...]
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """A heading with the texts that belong to it."""

    kind: str
    declared: _Declared
    docs: tuple[LexborNode, ...]
    arguments: LexborNode | None = None


def _top(top: LexborNode, page: _Home, bare: ApiEntity) -> Iterator[ApiEntity]:
    children = children_of(top)
    entry = next(_in_sequence(children, "top"), None)
    if entry is None:  # what another module exports as a whole
        return
    home = _home(page, entry.declared.source)
    bare = home.filled(bare)
    members = [member for child in children if _is(child, "subs") for member in _members(child)]
    shown = _with_constructors(entry.declared.text, members)
    entry = replace(entry, declared=replace(entry.declared, text=shown))
    types = {name for name, anchor in entry.declared.names if anchor.startswith("t:")}
    for found in (entry, *members):
        yield from _entities(found, home.module, types, bare)


def _home(page: _Home, source: str) -> _Home:
    match = _SOURCE.match(source)
    if match is None:
        return page
    home = _Home(unquote(match["module"]).replace("-", "."), match["package"] or page.package)
    if home.module == page.module:
        return home
    is_inside = _INSIDE.search(home.module) or (home.module.startswith("GHC.") and not page.module.startswith("GHC."))
    return page if is_inside else home


def _is(node: LexborNode, *names: str) -> bool:
    return set(names) <= set((node.attributes.get("class") or "").split())


def _declared(heading: LexborNode) -> _Declared:
    """Takes the links out of the heading, then reads it."""
    keyword, link = heading.css_first(".keyword"), heading.css_first("a.link")
    source = (link.attributes.get("href") or "") if link is not None else ""
    names = tuple(
        (_plain(line_of(node)), node.attributes.get("id") or "") for node in heading.css("a.def")[:_MAX_NAMES]
    )
    fixity = " ".join(line_of(node) for node in heading.css("span.fixity"))
    remove(heading, _SIGNATURE_NOISE)
    text = line_of(heading) + (f"\n{fixity}" if fixity else "")
    return _Declared(line_of(keyword) if keyword is not None else "", names, text, source)


def _plain(name: str) -> str:
    """An operator without its parentheses: a qualified one is written ``Data.List.++``."""
    return name[1:-1] if name.startswith("(") and name.endswith(")") and name[1:-1].strip("(), ") else name


def _in_sequence(children: Sequence[LexborNode], kind: str) -> Iterator[_Entry]:
    """Headings and their texts that stand one after another."""
    entry: _Entry | None = None
    for child in children:
        if child.tag == "p" and _is(child, "src"):
            if entry is not None:
                yield entry
            declared = _declared(child)
            entry = _Entry(kind, declared, ()) if declared.names else None
        elif entry is not None and _is(child, "doc"):
            entry = replace(entry, docs=(*entry.docs, child))
        elif entry is not None and _is(child, "subs", "arguments"):
            entry = replace(entry, arguments=child)
    if entry is not None:
        yield entry


def _members(subs: LexborNode) -> Iterator[_Entry]:
    """What a list below a type or class declares."""
    if _is(subs, "methods"):
        yield from _in_sequence(children_of(subs), "method")
    elif _is(subs, "associated-types"):
        yield from _in_sequence(children_of(subs), "type")
    elif _is(subs, "constructors") or _is(subs, "bundled-patterns"):
        yield from _in_sequence(children_of(subs), "constructor")
        for table in (child for child in children_of(subs) if child.tag == "table"):
            yield from _in_table(table)
    elif _is(subs, "fields"):
        for item in (item for child in children_of(subs) if child.tag == "ul" for item in children_of(child)):
            heading = next((child for child in children_of(item) if _is(child, "src")), None)
            if heading is not None and (declared := _declared(heading)).names:
                yield _Entry("field", declared, tuple(child for child in children_of(item) if _is(child, "doc")))


def _in_table(table: LexborNode) -> Iterator[_Entry]:
    entry: _Entry | None = None
    for row in table.css("tr"):
        cells = children_of(row)
        if cells and _is(cells[0], "src") and cells[0].css_first("a.def") is not None:
            if entry is not None:
                yield entry
            entry = _Entry("constructor", _declared(cells[0]), tuple(cells[1:2]))
        elif cells and entry is not None:
            for subs in children_of(cells[0]):
                if _is(subs, "subs", "arguments"):
                    entry = replace(entry, arguments=subs)
                elif _is(subs, "subs", "fields"):
                    yield entry
                    entry = None
                    yield from _members(subs)
                    break
    if entry is not None:
        yield entry


def _with_constructors(text: str, members: Sequence[_Entry]) -> str:
    """The declaration of a type with its constructors and their fields, as in source code."""
    shown: list[str] = []
    for member in members:
        if member.kind == "constructor":
            shown.append(member.declared.text)
        elif member.kind == "field" and shown:
            shown[-1] = shown[-1].removesuffix(" }") + (", " if shown[-1].endswith(" }") else " { ")
            shown[-1] += member.declared.text + " }"
    if not shown:
        return text
    if any(" :: " in part.partition("{")[0] for part in shown):
        return "\n  ".join([text, *shown])
    return "\n  ".join([text, "= " + shown[0], *("| " + part for part in shown[1:])])


def _entities(entry: _Entry, module: str, types: set[str], bare: ApiEntity) -> Iterator[ApiEntity]:
    declared = entry.declared
    entity_type = {"method": "method", "type": "type", "field": "attribute"}.get(entry.kind, "function")
    if declared.keyword in _TYPE_KEYWORDS or (declared.names and declared.names[0][1].startswith("t:")):
        entity_type = "type"
    declaration, arguments, result = declared.text, _arguments(entry), ("", "")
    if entry.arguments is not None:
        declaration = "\n  ".join([declared.text, *(line_of(row) for row in entry.arguments.css("td.src"))])
    if arguments:
        result = arguments.pop()
    short_names = frozenset(name for name, _ in declared.names)
    description, examples = _text(entry.docs, short_names)
    for name, anchor in declared.names:
        # A constructor may well be called as its type is: types and values have namespaces of their own.
        is_namesake = entry.kind == "constructor" and name in types
        yield replace(
            bare,
            name=f"{module}.{name}" + (" (constructor)" if is_namesake else ""),
            entity_type=entity_type,
            summary=first_sentence(_COST.sub("", description)),
            description=description,
            parameters=haskell_schema(arguments) if entity_type != "type" else bare.parameters,
            returns=_returns(result) if entity_type != "type" else {},
            declaration=declaration,
            examples=examples,
            source_uri=f"{bare.source_uri}#{anchor}",
        )


def _arguments(entry: _Entry) -> list[tuple[str, str]]:
    """Type and description of each argument and, last, of the result; [] where the page has no type."""
    if entry.arguments is None:
        _, colon, kind = entry.declared.text.partition("\n")[0].partition(" :: ")
        return [(part, "") for part in split_type(kind)] if colon else []
    found: list[tuple[str, str]] = []
    for row in entry.arguments.css("tr"):
        cells = children_of(row)
        if not cells or not _is(cells[0], "src"):
            continue
        text = line_of(cells[0])
        arrow = re.match(r"(::|=>|->|\u2237|\u21d2|\u2192)?\s*", text)
        if arrow is not None and arrow[1] in {"=>", "\u21d2"}:
            found.clear()  # what stood before is asked of types
        kind = " -> ".join(split_type(text[arrow.end() :] if arrow is not None else text))
        found.append((kind, prose_of(cells[1]) if len(cells) > 1 and not _is(cells[1], "empty") else ""))
    return found


def _returns(result: tuple[str, str]) -> dict[str, object]:
    kind, description = result
    schema = haskell_type_schema(kind)
    return {**schema, "description": description} if description else schema


def _text(docs: Sequence[LexborNode], names: frozenset[str]) -> tuple[str, tuple[ApiExample, ...]]:
    nodes: list[LexborNode] = []
    for doc in docs:
        if _is(doc, "empty"):
            continue
        remove(doc, ("summary",))
        for child in children_of(doc):  # details are parts that a reader may unfold
            nodes += children_of(child) if child.tag == "details" else [child]
    sessions = frozenset(name for name in names if name.isidentifier())
    first = nodes[:1] if nodes and nodes[0].tag == "p" else []  # what it does in brief
    examples, left = take_examples(nodes[len(first) :], sessions)
    left = [*first, *left]
    kept = [
        node
        for number, node in enumerate(left)
        if not (node.tag in _HEADINGS and (number + 1 == len(left) or left[number + 1].tag in _HEADINGS))
    ]
    return _maths(prose_of(*kept)), tuple(replace(each, description=_maths(each.description)) for each in examples)


def _maths(text: str) -> str:
    """Formulas without the marks of TeX that stand for nothing."""
    if "\\(" not in text:
        return text
    return _MATHS.sub(lambda match: match[1].replace("\\mathcal{O}", "O").replace("\\log", "log").strip(), text)
