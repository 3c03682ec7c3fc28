"""Reference pages of no known generator: entries whose heading is a signature, with prose below.

A heading (``h2`` to ``h6``) or a term (``dt``) counts when all its text is one signature, ``name(parameters)`` or a
C-like declaration, and at least a sentence follows. Anything less sure is left out: a page that only talks about
functions has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from selectolax.lexbor import LexborNode

from forge.apis.html.declarations import parameters_schema, parse_declaration, returns_schema
from forge.apis.html.examples import take_examples
from forge.apis.html.page import Page
from forge.apis.html.python_signatures import Signature, parse_signature, signatures_schema
from forge.apis.html.text import line_of, prose_of, remove
from forge.schema import ApiEntity
from forge.text.markup import first_sentence

MIN_PROSE_CHARACTERS = 20
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_SELECTOR = "h2, h3, h4, h5, h6, dt"
_ENDS = frozenset({*_HEADINGS, "dt"})
_NOT_CONTENT = ("script", "style", "nav", "footer", "a.headerlink", "a.anchor", "button", "[aria-hidden=true]")
_CALL = re.compile(
    r"(?:(?:async |static |public )*(?:function |def |func |fn |method |class |new )?)"
    r"(?P<name>[A-Za-z_$][\w$]*(?:(?:\.|::|->|#|:)[A-Za-z_$][\w$]*)*)"
    r"\((?P<parameters>.*)\)(?:\s*(?:->|\N{RIGHTWARDS ARROW}|=>|:)\s*(?P<returns>[\w.$<>\[\], |]+))?;?"
)
_PARAMETER = re.compile(r"(?:\*{0,2}|&|\.\.\.|\$|@)[A-Za-z_$][\w$.]*\??(?:\.\.\.)?|\.\.\.|\*|/")
# One name, with the words that C puts around it: "Use unboxed types (a GHC extension)" has no such type.
_PLAIN_TYPE = re.compile(
    r"(?:(?:const|static|struct|enum|union|unsigned|signed|long|short|volatile) )*[A-Za-z_][\w:]*(?:<[^()]*>)?"
    r"(?: (?:int|char|long|double|const))*(?: [*&]+(?:const)?| ?\[\d*\])*"
)
_C_WORDS = re.compile(r"[*&<]|\b(?:void|int|char|bool|double|float|long|short|unsigned|const|struct|\w+_t)\b")
_DECLARATION_END = re.compile(r"\)(?: ?(?:const|noexcept|override|final|volatile|&&?|throws [\w., ]+))*\s*;?")
_LANGUAGE_WORDS = frozenset(
    {"if", "for", "while", "switch", "return", "catch", "sizeof", "function", "see", "and", "or", "not", "e.g", "i.e"}
)
_PLAIN_WORDS = frozenset({"a", "an", "and", "or", "the", "of", "optional", "deprecated", "continued", "see", "new"})


def detects(page: Page) -> bool:
    return "(" in page.html and next(_entries(page), None) is not None


def entities(page: Page, bare: ApiEntity) -> Iterator[ApiEntity]:
    remove(page.tree, _NOT_CONTENT)
    for entry in list(_entries(page)):
        examples, nodes = take_examples(entry.below, {re.split(r"\.|::|->|#|:", entry.name)[-1]})
        prose = prose_of(*nodes)
        if len(prose) < MIN_PROSE_CHARACTERS:
            continue
        anchor = (entry.node.attributes.get("id") or "").strip()
        yield replace(
            bare,
            name=entry.name,
            entity_type=entry.kind,
            declaration=line_of(entry.node),
            description=prose,
            summary=first_sentence(prose),
            parameters=entry.parameters,
            returns=entry.returns,
            examples=examples,
            source_uri=f"{bare.source_uri}#{anchor}" if anchor else bare.source_uri,
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    node: LexborNode
    name: str
    kind: str
    parameters: dict[str, object]
    returns: dict[str, object]
    below: list[LexborNode]


def _entries(page: Page) -> Iterator[_Entry]:
    for node in page.tree.css(_SELECTOR):
        text = line_of(node).strip(" \N{PILCROW SIGN}#\N{SECTION SIGN}")
        if "(" not in text or len(text) > 1000:
            continue
        read = _called(text) or _declared(text)
        if read is None or not (node.tag == "dt" or _looks_like_name(read[0]) or node.css_first("code, tt, samp")):
            continue
        below = _below(node)
        if sum(len(line_of(part)) for part in below) >= MIN_PROSE_CHARACTERS:
            yield _Entry(node, *read, below)


def _looks_like_name(name: str) -> bool:
    """Of the heading of a section: "FOLLOW(M)" is more likely a formula."""
    return not name.isupper() or "_" in name


def _called(text: str) -> tuple[str, str, dict[str, object], dict[str, object]] | None:
    """``name(a, b=1, [c])``: no blank before the parenthesis, nothing but names as parameters."""
    match = _CALL.fullmatch(text)
    signature = parse_signature(text) if match else None
    if match is None or signature is None or match["name"] in _LANGUAGE_WORDS:
        return None
    if not _is_balanced(match["parameters"]):  # "match() versus search()"
        return None
    parameters = [parameter for parameter in signature.parameters if parameter.name]
    if any(not _PARAMETER.fullmatch(parameter.name) or parameter.name in _PLAIN_WORDS for parameter in parameters):
        return None
    schema = signatures_schema([Signature(tuple(parameters), "")], {})
    returns = returns_schema((match["returns"] or "").strip())
    return match["name"], "class" if text.startswith(("class ", "new ")) else "function", schema, returns


def _declared(text: str) -> tuple[str, str, dict[str, object], dict[str, object]] | None:
    """``int name (const char *path, int flags);``: typed parameters and a returned type."""
    declaration = parse_declaration(text)
    if declaration is None or not _PLAIN_TYPE.fullmatch(declaration.returns):
        return None
    if not re.fullmatch(r"[\w:~]+", declaration.name) or not _DECLARATION_END.fullmatch(text[text.rfind(")") :]):
        return None
    types = [parameter.type for parameter in declaration.parameters if not parameter.variadic]
    if any(not parameter.name and not parameter.variadic for parameter in declaration.parameters):
        return None
    is_void = re.search(r"\(\s*void\s*\)", text) is not None
    if not (types or is_void) or not all(_PLAIN_TYPE.fullmatch(kind) for kind in types):
        return None
    if not is_void and not any(_C_WORDS.search(kind) for kind in (declaration.returns, *types)):
        return None
    return (
        declaration.name,
        "function",
        parameters_schema(declaration.parameters),
        returns_schema(declaration.returns),
    )


def _is_balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return False
    return depth == 0


def _below(node: LexborNode) -> list[LexborNode]:
    """For a term its definition, which several neighbouring terms may share; for a heading what follows it, up to the
    next."""
    found = []
    following = node.next
    while following is not None:
        tag = following.tag or ""
        if node.tag == "dt":
            if tag == "dd":
                return [following]
            if tag not in {"dt", "-text", "-comment"}:
                return []
        elif tag in _ENDS or (tag in {"section", "div"} and following.css_first(", ".join(_HEADINGS)) is not None):
            break
        elif not tag.startswith("-"):
            found.append(following)
        following = following.next
    return found
