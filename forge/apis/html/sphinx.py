"""Pages that Sphinx made: object descriptions of the Python, C, C++ and JavaScript domains, in its older and newer
markup (``dl.py.function > dt.sig``; before version 2 ``dl.function > dt``).

One entity an id: several headings over one text are several names of it, a heading without an id is a further signature
of the one above it. What a class's text holds of its members' own descriptions is theirs alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from selectolax.lexbor import LexborNode

from forge.apis.html.declarations import parameters_schema, parse_declaration, returns_schema
from forge.apis.html.examples import take_examples
from forge.apis.html.page import Page
from forge.apis.html.python_signatures import parse_signature, signatures_schema
from forge.apis.html.sphinx_fields import Fields, take_fields
from forge.apis.html.text import children_of, line_of, prose_of, remove
from forge.schema import ApiEntity, ApiExample
from forge.text.markup import first_sentence

_MARKS = re.compile(
    r"documentation_options|DOCUMENTATION_OPTIONS|_static/(?:doctools\.js|sphinx_highlight\.js|pygments\.css)|"
    r"content=\"Docutils"
)
_DETECTED_IN = 20_000
_NOT_CONTENT = (
    "a.headerlink", "a.paramlink", ".viewcode-link", ".viewcode-back", "script", "style", "button", "a.viewcode-link",
)  # fmt: skip

_TYPES = {
    "function": "function", "decorator": "function", "method": "method", "classmethod": "method",
    "staticmethod": "method", "abstractmethod": "method", "decoratormethod": "method", "coroutinefunction": "function",
    "coroutinemethod": "method", "class": "class", "exception": "class", "attribute": "attribute", "data": "attribute",
    "property": "attribute", "macro": "macro", "type": "type", "struct": "type", "union": "type", "enum": "type",
    "enum-class": "type", "enum-struct": "type", "alias": "type", "concept": "type", "member": "attribute",
    "var": "attribute", "enumerator": "attribute",
}  # fmt: skip
_DOMAINS = {"py": "", "c": "c", "cpp": "cpp", "js": "javascript"}  # "": the provider of the site
_CALLABLE = frozenset({"function", "method", "class", "macro"})


def detects(page: Page) -> bool:
    return _MARKS.search(page.html, 0, _DETECTED_IN) is not None


def entities(page: Page, bare: ApiEntity) -> Iterator[ApiEntity]:
    if "<dl" not in page.html:
        return
    remove(page.tree, _NOT_CONTENT)
    modules = _modules(page)
    described = [(node, stated) for node in page.tree.css("dl") if (stated := _kind(node)) is not None]
    found: list[list[ApiEntity]] = []
    for node, (domain, kind) in reversed(described):
        # Members come after their class: each is read, then taken out of the text of what holds it.
        found.append(list(_read(node, domain, kind, bare, modules)))
        node.decompose()
    for group in reversed(found):
        yield from group


def _kind(node: LexborNode) -> tuple[str, str] | None:
    """Domain and type of an object description; None for any other definition list."""
    classes = (node.attributes.get("class") or "").split()
    if len(classes) > 1 and classes[0] in _DOMAINS and classes[1] in _TYPES:
        return classes[0], classes[1]
    if classes and classes[0] in _TYPES and (len(classes) == 1 or classes[1] not in _TYPES):
        return "", classes[0]
    return None


@dataclass(frozen=True, slots=True)
class _Heading:
    """One ``dt``: the ids of its object (mostly one) and its signatures."""

    anchor: str
    name: str
    signatures: tuple[str, ...]


def _modules(page: Page) -> tuple[str, ...]:
    """The modules that are described here and whose names begin with an underscore, which ids cannot; not ``_thread``
    where ``thread`` is described, too."""
    names = {(node.attributes.get("id") or "").removeprefix("module-") for node in page.tree.css("[id^=module-]")}
    return tuple(sorted(name for name in names if name.startswith("_") and name.lstrip("_") not in names))


def _read(node: LexborNode, domain: str, kind: str, bare: ApiEntity, modules: tuple[str, ...]) -> Iterator[ApiEntity]:
    headings: list[_Heading] = []
    for child in children_of(node):
        if child.tag == "dt":
            _add_heading(headings, child, domain, modules)
        elif child.tag == "dd" and headings:
            yield from _described(headings, child, domain, kind, bare)
            headings = []
    if headings:
        yield from _described(headings, None, domain, kind, bare)


def _add_heading(headings: list[_Heading], dt: LexborNode, domain: str, modules: tuple[str, ...]) -> None:
    text = line_of(dt)
    anchor = (dt.attributes.get("id") or "").strip()
    if anchor:
        headings.append(_Heading(anchor, _name(dt, anchor, domain, modules), (text,)))
    elif headings:
        last = headings[-1]
        headings[-1] = replace(last, signatures=(*last.signatures, text))


def _name(dt: LexborNode, anchor: str, domain: str, modules: tuple[str, ...]) -> str:
    """The full name, as users write it. Ids of Python objects are the names, but for underscores at their beginning;
    those of C have a prefix, those of C++ are mangled."""
    written = "".join(line_of(part) for part in dt.css(".descclassname, .descname"))
    if domain == "cpp" or anchor.startswith("_CPP"):
        return _demangled(anchor) or written or anchor
    if written.startswith("_") and written.lstrip("_") == anchor:
        return written
    for module in modules:
        if anchor.startswith(module.lstrip("_") + "."):
            return module + anchor.removeprefix(module.lstrip("_"))
    return anchor.removeprefix("c.")


_MANGLED = re.compile(r"_CPPv\d+(?=[IN\dK])")


def _demangled(anchor: str) -> str:
    """``_CPPv4N3foo3barEi`` -> foo::bar; "" for what has templates or operators in its name."""
    match = _MANGLED.match(anchor)
    if match is None:
        return ""
    rest = anchor[match.end() :].removeprefix("N").removeprefix("K")
    parts: list[str] = []
    while length := re.match(r"\d{1,3}", rest):
        size = int(length.group())
        parts.append(rest[length.end() : length.end() + size])
        rest = rest[length.end() + size :]
        if not anchor[match.end() :].startswith("N"):
            break
    return "::".join(parts) if all(part.isidentifier() for part in parts) else ""


def _described(
    headings: Sequence[_Heading], dd: LexborNode | None, domain: str, kind: str, bare: ApiEntity
) -> Iterator[ApiEntity]:
    """One entity a name, all with the same text."""
    fields = Fields()
    prose = summary = ""
    examples: tuple[ApiExample, ...] = ()
    if dd is not None:
        fields = take_fields(dd)
        bare_names = {heading.name.replace("::", ".").rpartition(".")[2] for heading in headings}
        examples, left = take_examples(children_of(dd), bare_names)
        paragraph = next((child for child in left if child.tag == "p"), None)
        prose = prose_of(dd)
        summary = first_sentence(prose if paragraph is None else prose_of(paragraph))
    for heading in headings:
        language = domain or ("c" if heading.anchor.startswith("c.") else "py")
        base = replace(
            bare,
            provider=_DOMAINS[language] or bare.provider,
            name=heading.name,
            entity_type=_TYPES[kind],
            declaration="\n".join(heading.signatures),
            description=prose,
            summary=summary,
            errors=fields.errors,
            examples=examples,
            source_uri=f"{bare.source_uri}#{heading.anchor}",
        )
        yield _typed(base, heading, fields) if language in {"c", "cpp"} else _called(base, heading, fields)


def _called(base: ApiEntity, heading: _Heading, fields: Fields) -> ApiEntity:
    """Of Python (and JavaScript): with the call that the signatures describe."""
    if base.entity_type not in _CALLABLE:
        return replace(base, returns=fields.value)
    signatures = [found for text in heading.signatures if (found := parse_signature(text)) is not None]
    annotation = next((signature.returns for signature in signatures if signature.returns), "")
    parameters = signatures_schema(signatures, fields.parameters)
    if not signatures and fields.parameters:
        parameters = {"type": "object", "properties": dict(fields.parameters)}
    return replace(base, parameters=parameters, returns=fields.returns_of(annotation))


def _typed(base: ApiEntity, heading: _Heading, fields: Fields) -> ApiEntity:
    """Of C and C++: the declaration's types are the source's own."""
    declaration = parse_declaration(heading.signatures[0]) if base.entity_type in _CALLABLE - {"class"} else None
    if declaration is None:
        return replace(base, returns=fields.value)
    told = {name: str(schema.get("description", "")) for name, schema in fields.parameters.items()}
    description = str(fields.value.get("description", ""))
    return replace(
        base,
        name=base.name + (declaration.overload if base.provider == "cpp" else ""),
        parameters=parameters_schema(declaration.parameters, told),
        returns=returns_schema(declaration.returns, description),
    )
