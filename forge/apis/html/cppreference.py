"""Pages of cppreference.com: the standard libraries of C and C++.

A page is about one function, class, macro or constant with all its overloads, or about a few that belong together
("std::stoi, std::stol, std::stoll"): each of these has its own declarations and shares the text. Names are the page's
title; operators that share a page stay one entry, named as the page names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from selectolax.lexbor import LexborNode

from forge.apis.html.declarations import (
    Declaration,
    Parameter,
    parameters_schema,
    parse_declaration,
    returns_schema,
    split_at_commas,
)
from forge.apis.html.page import Page
from forge.apis.html.text import children_of, code_of, line_of, prose_of, remove
from forge.schema import ApiEntity, ApiError, ApiExample
from forge.text.markup import first_sentence

_TITLE = re.compile(r"<title>([^<]{1,300}?) - cppreference\.com</title>")
_NOT_CONTENT = (
    "div.t-navbar", "div.t-page-template", "#toc", ".editsection", ".mw-editsection", ".t-template-editlink", "script",
    "div.t-example-live-link", "div.t-image", "div.t-inheritance-diagram", "style", "div.t-member div.t-inherited",
    "div.t-inherited", ".noprint",
)  # fmt: skip
_SECTIONS = frozenset({"h2", "h3"})
_LEFT_OUT = re.compile(r"See also|External links|References|Defect reports|Inherited from .*", re.IGNORECASE)
_IDENTIFIERS = re.compile(r"[\w:~]+(?:, ?[\w:~]+)+")
_MAX_NAMES = 100
_MAX_DECLARATIONS = 500
_MAX_DECLARATION = 20_000
_NESTED = "table table table table table"
_TEMPLATE = re.compile(r"^template\s*<.*?>\s*(?=(?:class|struct|union|enum|using)\b)")
_MARK = re.compile(r"\((?:deprecated|removed) in [^()]+\)")
_EXCEPTION = re.compile(r"\bstd::(?:\w+::)*(?:bad_\w+|\w*_error|\w*exception|out_of_range|invalid_argument|failure)\b")
_NAMESPACES = frozenset(
    {
        "std", "chrono", "filesystem", "experimental", "this_thread", "regex_constants", "pmr", "literals", "rel_ops",
        "placeholders", "execution", "ranges", "numbers", "string_literals", "chrono_literals", "complex_literals",
        "string_view_literals", "parallel", "fundamentals_v1", "detail",
    }
)  # fmt: skip


def detects(page: Page) -> bool:
    return _TITLE.search(page.head) is not None


def entities(page: Page, bare: ApiEntity) -> Iterator[ApiEntity]:
    content = page.first("#mw-content-text") if "t-dcl-begin" in page.html else None
    heading = page.first("#firstHeading")
    if content is None or heading is None:
        return
    remove(content, _NOT_CONTENT)
    if content.css_first(_NESTED) is not None:
        raise ValueError("tables inside of tables")
    title = line_of(heading)
    if "/c/" in f"/{page.path}" and "/cpp/" not in f"/{page.path}":
        bare = replace(bare, provider="c")
    rows = list(islice(_declarations(content), _MAX_DECLARATIONS))
    text = _text(children_of(content))
    names = _names(title)[:_MAX_NAMES]
    for name in names:
        own = [row for row in rows if _declares(row, name)] if len(names) > 1 else rows
        yield _entity(name, own if any(not row.is_header for row in own) else rows, text, bare)


def _names(title: str) -> list[str]:
    title = re.sub(r"\s+\(", "(", title)
    if _IDENTIFIERS.fullmatch(title):
        first, *others = (name.strip() for name in title.split(","))
        scope = first.rpartition("::")[0]
        return [first, *(name if "::" in name or not scope else f"{scope}::{name}" for name in others)]
    parts = split_at_commas(title) if "operator" not in title else [title]
    return (
        parts if len(parts) > 1 and all(re.fullmatch(r"[\w:~]+(?:\([\w: ]*\))?", part) for part in parts) else [title]
    )


# --- declarations ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """One declaration, with its number on the page and since or until when it holds."""

    code: str
    mark: str
    parsed: Declaration | None
    is_header: bool = False

    @property
    def line(self) -> str:
        return f"{self.code}  // {self.mark}" if self.mark else self.code


def _declarations(content: LexborNode) -> Iterator[_Row]:
    """Those at the top of the page; declarations of helpers below its first section are part of the text."""
    for child in children_of(content):
        if child.tag in _SECTIONS:
            return
        for row in child.css("tr") if "t-dcl-begin" in (child.attributes.get("class") or "") else ():
            classes = (row.attributes.get("class") or "").split()
            cells = children_of(row)
            if "t-dsc-header" in classes and cells:
                yield _Row(f"// {line_of(cells[0])}", "", None, is_header=True)
            elif "t-dcl" in classes and cells:
                mark = " ".join(text for text in (line_of(cell) for cell in cells[1:]) if text)
                for code in _codes(cells[0]):
                    parsed = None if code.startswith(("#define", "template<> class")) else parse_declaration(code)
                    yield _Row(code, mark, parsed)


def _codes(cell: LexborNode) -> Iterator[str]:
    """The declarations of a cell, each on one line."""
    for br in cell.css("br"):
        br.replace_with("\n")
    code = ""
    for line in cell.text(deep=True)[:_MAX_DECLARATION].split("\n"):
        code = " ".join(f"{code} {line}".split())
        if code.endswith(";") and code.count("{") == code.count("}"):
            yield code
            code = ""
    if code:
        yield code


def _declares(row: _Row, name: str) -> bool:
    short = name.partition("(")[0].rpartition("::")[2]
    return row.is_header or re.search(rf"(?<![\w~]){re.escape(short)}(?!\w)", row.code) is not None


def _kind(name: str, rows: Sequence[_Row], text: _Text) -> str:
    first = next((_TEMPLATE.sub("", row.code) for row in rows if not row.is_header), "")
    if first.startswith("#define"):
        return "macro"
    if re.match(r"(?:class|struct|union)\b", first):
        return "class"
    if re.match(r"(?:typedef|enum|using)\b", first) or first.startswith("/*"):
        return "type"
    if any(row.parsed is not None for row in rows) or text.parameters:
        parts = name.partition("(")[0].split("::")
        return "method" if len(parts) > 2 and parts[-2] not in _NAMESPACES else "function"
    return "attribute"


def _parameters(rows: Sequence[_Row], told: dict[str, str]) -> dict[str, object]:
    """Of all overloads together; what not every overload asks for is not required."""
    overloads = [row.parsed.parameters for row in rows if row.parsed is not None]
    merged: dict[str, Parameter] = {}
    for parameters in overloads:
        for parameter in parameters:
            if parameter.name or len(overloads) == 1:
                merged.setdefault(parameter.name or f"arg{len(merged) + 1}", parameter)
    schema = parameters_schema(list(merged.values()), told)
    always = {
        name
        for name in merged
        if all(any(p.name == name and p.default is None for p in parameters) for parameters in overloads)
    }
    required = [name for name in schema.get("required", []) if name in always or not merged[name].name]
    schema.pop("required", None)
    return {**schema, "required": required} if required else schema


def _returned(rows: Sequence[_Row]) -> str:
    types = {row.parsed.returns for row in rows if row.parsed is not None}
    return types.pop() if len(types) == 1 else ""


# --- the text --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Text:
    prose: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    returns: str = ""
    errors: tuple[ApiError, ...] = ()
    examples: list[ApiExample] = field(default_factory=list)


def _text(nodes: Sequence[LexborNode]) -> _Text:
    text = _Text()
    heading = ""
    section: list[LexborNode] = []
    for node in nodes:
        if node.tag in _SECTIONS:
            _end_section(heading, section, text)
            heading, section = line_of(node), []
        elif "t-dcl-begin" not in (node.attributes.get("class") or "") or heading:
            section.append(node)
    _end_section(heading, section, text)
    return text


def _end_section(heading: str, nodes: list[LexborNode], text: _Text) -> None:
    if _LEFT_OUT.fullmatch(heading):
        return
    examples = [found for node in nodes if node.tag == "div" and (found := _example(node)) is not None]
    text.examples += examples
    left = [node for node in nodes if "t-example" not in (node.attributes.get("class") or "")]
    if heading.startswith("Parameters"):
        for node in list(left):
            if "t-par-begin" in (node.attributes.get("class") or ""):
                text.parameters.update(_told(node))
                left.remove(node)
                if requirements := [line_of(row).lstrip("- ") for row in node.css("tr.t-par-req")]:
                    text.prose.append("\n".join(["Type requirements", *(f"- {part}" for part in requirements)]))
    said = _prose(left)
    if heading.startswith("Return value"):
        text.returns = "" if said in {"(none)", "(none).", "None", "None."} else said
    elif heading.startswith("Exceptions"):
        if said and said.strip("().").lower() != "none":
            text.errors = tuple(_errors(said))
    elif said:
        text.prose.append(
            f"{heading}\n\n{said}" if heading and not heading.startswith(("Example", "Parameters")) else said
        )


def _errors(said: str) -> Iterator[ApiError]:
    """One for each exception that is listed, else all that is told in one."""
    listed = re.findall(r"^- (std::[\w:]+) (?!- )(.+)$", said, re.MULTILINE)
    if listed and len(listed) == len(said.splitlines()):
        yield from (ApiError(name, text) for name, text in listed)
        return
    names = sorted(set(_EXCEPTION.findall(said)))
    yield ApiError(names[0] if len(names) == 1 else "exception", said)


def _example(node: LexborNode) -> ApiExample | None:
    if "t-example" not in (node.attributes.get("class") or ""):
        return None
    codes = [code_of(pre) for pre in node.css("pre")]
    said = prose_of(*[child for child in children_of(node) if child.tag == "p"]).replace("Possible output:", "")
    told = re.sub(r"\s*\bOutput:\s*$", "", said).strip()
    return ApiExample(told, codes[0], "\n\n".join(codes[1:])) if codes and codes[0] else None


def _told(table: LexborNode) -> Iterator[tuple[str, str]]:
    for row in table.css("tr.t-par"):
        cells = children_of(row)
        if len(cells) > 1:
            said = prose_of(cells[-1])
            yield from ((name.strip(), said) for name in line_of(cells[0]).split(",") if name.strip())


def _prose(nodes: Sequence[LexborNode]) -> str:
    """The text with tables of members as lists."""
    parts: list[str] = []
    run: list[LexborNode] = []
    for node in nodes:
        if node.tag == "table" and "t-dsc-begin" in (node.attributes.get("class") or ""):
            parts += [prose_of(*run), "\n".join(_listed(node))]
            run = []
        else:
            run.append(node)
    return "\n\n".join(part for part in (*parts, prose_of(*run)) if part)


def _listed(table: LexborNode) -> Iterator[str]:
    for row in table.css("tr.t-dsc"):
        cells = children_of(row)
        if len(cells) < 2:
            continue
        lines = cells[0].css_first(".t-lines")
        names = [line_of(line) for line in children_of(lines)] if lines is not None else [line_of(cells[0])]
        remove(cells[1], (".t-mark",))
        yield f"- `{', '.join(name for name in names if name)}`: {line_of(cells[1])}"


def _entity(name: str, rows: Sequence[_Row], text: _Text, bare: ApiEntity) -> ApiEntity:
    kind = _kind(name, rows, text)
    marks = [" ".join(_MARK.findall(row.mark)) for row in rows if not row.is_header]
    paragraphs = list(text.prose)
    if marks and all(marks):  # no overload of it is left
        said = "; ".join(sorted({mark.strip("()").replace(") (", ", ") for mark in marks}))
        paragraphs.insert(0, said[0].upper() + said[1:] + ".")
    description = "\n\n".join(paragraphs)
    is_callable = any(row.parsed is not None for row in rows) and kind in {"function", "method"}
    return replace(
        bare,
        name=name,
        entity_type=kind,
        summary=first_sentence(text.prose[0]) if text.prose else "",
        description=description,
        parameters=_parameters(rows, text.parameters) if is_callable else bare.parameters,
        returns=returns_schema(_returned(rows), text.returns) if is_callable else {},
        errors=text.errors,
        examples=tuple(text.examples),
        declaration="\n".join(row.line for row in rows),
    )
