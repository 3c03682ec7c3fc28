"""Perl's documentation (POD, or the manual pages that pod2man makes of it) -> ApiEntity. An item is one document.

perlfunc gives the builtin functions (``push``), perlvar the variables (``$_``), perlapi and perlintern the functions of
the interpreter in C (``av_push``); the page of a module gives what its headings and items call: ``name(arguments)``,
``$object->name(arguments)``, and bare names in sections on functions or methods. Names are qualified by the module:
``List::Util::reduce``. Other documents (tutorials, histories) document no API.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field

from forge.apis.bare import bare_entity
from forge.apis.html.declarations import parameters_schema, parse_declaration, returns_schema, split_at_commas
from forge.apis.pod import read_pod
from forge.apis.property_order import with_order
from forge.apis.roff import Block, Section, read_page, text_of_blocks
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, Decision, Item
from forge.stored_files import Problem, StoredFile, StoredFilesOptions, list_stored_files
from forge.text.encoding import UnknownEncodingError, decode
from forge.text.markup import cut, first_sentence

STEP = "parse_apis"
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
_MAX_CHARACTERS = 100_000  # of one description
_MAX_ENTRIES = 5000  # of one document
_MODULE = re.compile(r"(?:[A-Za-z_]\w*)(?:::\w+)*")
_FUNCTIONS = re.compile(r"function|method|subroutine|constructor|\bapi\b|routine|accessor|exports?\b", re.IGNORECASE)
_NO_FUNCTIONS = re.compile(r"option|attribute|parameter|constant|argument", re.IGNORECASE)
_NO_API = re.compile(
    r"bugs?|caveats?.*|faq|to ?do|limitations?|see also|.*diagnostics?.*|errors.*|.*warnings.*|.*history.*|synopsis"
    r"|.*changes.*|notes?|.*examples?|.*compatib.*|acknowledge?ments|authors?|description of .*",
    re.IGNORECASE,
)
_ROFF = re.compile(r"^\.(?:TH|SH)[ \t]", re.MULTILINE)
_BUILTIN = re.compile(r"(?P<name>-X|[A-Za-z_]\w*)(?P<rest>\W.*)?")
_PLACE = re.compile(r"[A-Z]+\d?")
_VARIABLE = re.compile(r"[$@%]\S.*")
_CALL = re.compile(
    r"(?:[$@%(][\w$@%, ()]{0,80}?\s*=\s*)?"
    r"(?P<owner>(?:\$\w+\s*|[A-Za-z_]\w*(?:::\w+)*)->\s*|(?:[A-Za-z_]\w*::)+|&)?"
    r"(?P<name>[A-Za-z_]\w*)\s*(?P<given>\(.*\))?;?"
)
_REMARK = re.compile(r"\s\(\s*[a-z]\w*\s*\)$")  # "tmpdir (override)"
_PARAMETER = re.compile(r"(?:\\?[$@%&*])?\\?[$@%&*]?[A-Za-z_]\w*(?:\.\.\.)?|\.\.\.")


class PerlPodOptions(StoredFilesOptions):
    """Options of a source of type ``perl_pod``."""

    service: str = Field("perl", min_length=1, description="the distribution that the documents are of")
    version: str = Field("", description="of the distribution")
    public_uri: str = Field("", description="what stands before a document's path in stored URIs")


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a document. Raises :class:`ConfigurationError`: see :func:`forge.stored_files.list_stored_files`."""
    return list_stored_files(name, source, settings, source_options(PerlPodOptions, name, source))


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:
    """What one document documents, or a decision: oversized, unknown_encoding, not_pod ..."""
    options = source_options(PerlPodOptions, item.source, source)
    if PurePosixPath(item.locator["path"]).name != PurePosixPath(item.item_id).name:
        return  # a link to a document that is an item itself
    file = StoredFile(item, options, settings)
    content = file.problem() or file.whole(MAX_DOCUMENT_BYTES)
    if isinstance(content, Problem):
        yield content.decision(item, STEP)
        return
    uri = options.public_uri + file.path.as_posix()
    bare = bare_entity(item, source, uri, provider="perl", service=options.service, version=options.version)
    for found in entities(content, bare):
        yield found.decision(item, STEP) if isinstance(found, Problem) else found


def entities(content: bytes, bare: ApiEntity) -> Iterator[ApiEntity | Problem]:
    """What a document documents, each name once."""
    try:
        text, _ = decode(content)
    except UnknownEncodingError as error:
        yield Problem("", "unknown_encoding", str(error))
        return
    sections = read_page(text).sections if _ROFF.search(text) else read_pod(text)
    if not any(section.title for section in sections):
        yield Problem("", "not_pod", "neither a command of POD nor a section of a manual page")
        return
    title = next((text_of_blocks(section.blocks) for section in sections if section.title.upper() == "NAME"), "")
    module = _MODULE.match(title.strip().strip("`"))
    name = module.group() if module else ""
    if name == "perlfunc":
        yield from _builtins(sections, bare)
    elif name == "perlvar":
        yield from _variables(sections, bare)
    elif name in {"perlapi", "perlintern"}:
        yield from _interpreter(sections, replace(bare, service="perlapi"))
    elif name and not (name.startswith("perl") and "::" not in name):
        yield from _module(name, sections, bare)


@dataclass(slots=True)
class _Entry:
    """One or more terms over one text."""

    tags: list[str]
    blocks: list[Block] = field(default_factory=list)

    @property
    def text(self) -> str:
        return cut(text_of_blocks(self.blocks), _MAX_CHARACTERS)


def _items(blocks: Sequence[Block], level: int = 0) -> list[_Entry]:
    """The items of a level with what follows them; those without a text share that of the next one. Headings and
    paragraphs of a higher level end an item."""
    entries: list[_Entry] = []
    is_open = False
    for block in blocks:
        if block.kind == "item" and block.level == level:
            if not (is_open and not entries[-1].blocks):
                entries.append(_Entry([]))
            entries[-1].tags.append(block.tag)
            if block.text:
                entries[-1].blocks.append(Block("paragraph", block.text))
            is_open = True
        elif block.kind == "heading" or block.level <= level:
            is_open = False
        elif is_open:
            entries[-1].blocks.append(replace(block, level=block.level - level - 1))
    return entries[:_MAX_ENTRIES]


# --- perlfunc, perlvar, perlapi -------------------------------------------------------------------------------------


def _builtins(sections: Sequence[Section], bare: ApiEntity) -> Iterator[ApiEntity]:
    """One entity a name; one that is told in several places (``do BLOCK``, ``do EXPR``) has all of their texts."""
    blocks = [block for section in sections for block in section.blocks]
    start = next((place for place, block in enumerate(blocks) if "Alphabetical Listing" in block.text), None)
    told: dict[str, list[tuple[list[str], str]]] = {}
    for entry in _items(blocks[start + 1 :] if start is not None else []):
        forms: dict[str, list[str]] = {}
        for tag in entry.tags:
            if match := _BUILTIN.fullmatch(tag):
                forms.setdefault(match["name"], []).append(tag)
        for name, tags in forms.items():
            told.setdefault(name, []).append((tags, entry.text))
    for name, parts in told.items():
        tags = [tag for forms, _ in parts for tag in forms]
        texts = [text for _, text in parts]
        if len(parts) > 1:
            texts = ["\n\n".join(["\n".join(forms), text]).rstrip() for forms, text in parts]
        yield replace(
            bare,
            name=name,
            declaration="\n".join(tags),
            summary=first_sentence(next((text for _, text in parts if text), "")),
            description=cut("\n\n".join(dict.fromkeys(text for text in texts if text)), _MAX_CHARACTERS),
            parameters=_places(name, tags),
        )


def _places(name: str, forms: Sequence[str]) -> dict[str, Any]:
    """``ARRAY`` and ``LIST`` of "push ARRAY,LIST"; required is what every form has."""
    found = [list(dict.fromkeys(_PLACE.findall(form.removeprefix(name)))) for form in forms]
    longest = max(found, key=len, default=[])
    schema: dict[str, Any] = {"type": "object", "properties": {place: {} for place in longest}}
    if required := [place for place in longest if all(place in places for places in found)]:
        schema["required"] = required
    return with_order(schema)


def _variables(sections: Sequence[Section], bare: ApiEntity) -> Iterator[ApiEntity]:
    """One entity a variable, by the last of its names: ``$_`` of ``$ARG``, ``$_``."""
    seen: set[str] = set()
    for section in sections:
        for entry in _items(section.blocks):
            names = [tag for tag in entry.tags if _VARIABLE.fullmatch(tag)]
            # Braces in a name mean a place in a path to keys of entities: ${^MATCH} is called $^MATCH.
            name = re.sub(r"[{}]", "", names[-1]) if names else ""
            if name and entry.text and name not in seen:
                seen.add(name)
                yield _described(replace(bare, name=name, entity_type="attribute"), entry)


def _interpreter(sections: Sequence[Section], bare: ApiEntity) -> Iterator[ApiEntity]:
    """Functions and macros in C: the code in an item is the declaration of those of its names that it declares."""
    seen: set[str] = set()
    for section in sections:
        for entry in _items(section.blocks):
            code = "\n".join(block.text for block in entry.blocks if block.kind == "code")
            body = [block for block in entry.blocks if block.kind != "code"]
            for tag in entry.tags:
                if not tag.isidentifier() or tag in seen or not entry.blocks:
                    continue
                seen.add(tag)
                yield _in_c(replace(bare, name=tag), code, body, entry)


def _in_c(base: ApiEntity, code: str, body: list[Block], entry: _Entry) -> ApiEntity:
    lines = re.split(r"\n(?=\s{0,4}\S)", code)
    own = next((line for line in lines if re.search(rf"\b{re.escape(base.name)}\b", line)), "")
    declaration = parse_declaration(own) if "(" in own else None
    found = replace(
        _described(base, replace(entry, blocks=body)),
        declaration=" ".join(own.split()),
        entity_type="function" if declaration else "macro",
    )
    if declaration is None:
        return found
    parameters = parameters_schema(declaration.parameters)
    return replace(found, parameters=parameters, returns=returns_schema(declaration.returns))


def _described(base: ApiEntity, entry: _Entry) -> ApiEntity:
    text = entry.text
    prose = next((block.text for block in entry.blocks if block.kind != "code" and block.text), text)
    return replace(
        base,
        description=text,
        summary=first_sentence(prose),
        declaration=base.declaration or "\n".join(dict.fromkeys(entry.tags)),
    )


# --- modules --------------------------------------------------------------------------------------------------------


def _module(module: str, sections: Sequence[Section], bare: ApiEntity) -> Iterator[ApiEntity]:
    found: dict[str, ApiEntity] = {}
    for section in sections:
        if _NO_API.fullmatch(section.title):
            continue
        for heading, blocks in _parts(section):
            title = f"{section.title} {heading}"
            tells = _FUNCTIONS.search(title) is not None and not _NO_FUNCTIONS.search(heading or section.title)
            entries = _items(blocks)
            if heading and (entity := _called(module, heading, tells and heading[:1].islower(), title, bare)):
                entries = [_Entry([heading], blocks)]
            for entry in entries:
                for tag in entry.tags:
                    entity = _called(module, tag, tells and " " not in tag, title, bare)
                    if entity is None or not entry.blocks or len(found) >= _MAX_ENTRIES:
                        continue
                    entity = _described(entity, _Entry([tag], entry.blocks))
                    known = found.get(entity.name)
                    if known is None:
                        found[entity.name] = entity
                    elif entity.declaration not in known.declaration.split("\n"):
                        forms = f"{known.declaration}\n{entity.declaration}"
                        text = known.description
                        if entity.description not in text and len(text) < _MAX_CHARACTERS:
                            text = f"{text}\n\n{entity.description}"
                        found[entity.name] = replace(known, declaration=forms, description=text)
    yield from found.values()


def _parts(section: Section) -> Iterator[tuple[str, list[Block]]]:
    """What stands under each subheading of a section; first, what stands before them."""
    heading: str = ""
    blocks: list[Block] = []
    for block in section.blocks:
        if block.kind == "heading":
            yield heading, blocks
            heading, blocks = block.text, []
        else:
            blocks.append(block)
    yield heading, blocks


def _called(module: str, tag: str, may_be_bare: bool, title: str, bare: ApiEntity) -> ApiEntity | None:
    """The function or method that a heading or term calls; None where it is another kind of text. A bare name counts
    where functions are told, unless it is a constant's or a word with a capital."""
    form = tag[:500].replace("`", "").strip('" ')
    match = _CALL.fullmatch(form)
    if match is None:
        return None
    owner, name, given = match["owner"] or "", match["name"], match["given"]
    if given is not None and _REMARK.search(form):
        given = None
    if given is None and "->" not in owner and not (may_be_bare and (name.islower() or owner.endswith("::"))):
        return None
    parameters = _parameters(given)
    if parameters is None:  # "(see below)", "new (and improved)"
        return None
    qualified = owner.rstrip(":").strip() if owner.endswith("::") else module
    is_method = "->" in owner or "method" in title.lower()
    return replace(
        bare,
        name=f"{qualified}::{name}",
        entity_type="method" if is_method else "function",
        declaration=form,
        parameters=parameters,
    )


def _parameters(given: str | None) -> dict[str, Any] | None:
    """Of what stands in parentheses; those in brackets may be left out. None where that is no list of parameters."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    text = (given or "()").strip()[1:-1]
    first_optional = text.find("[")
    for part in split_at_commas(text.replace("[", " ").replace("]", " ").replace("{", " ").replace("}", " ")):
        name = re.split(r"\s*=>?\s*", part.strip(), maxsplit=1)[0].strip("'\" ")
        if not name or re.fullmatch(r"[\d.\"'\s|]*", name):
            continue
        if not _PARAMETER.fullmatch(name):
            if not re.search(r"[$@%\"'|&\\]", name):
                return None
            continue
        properties[name] = {}
        if first_optional < 0 or text.find(name) < first_optional:
            required.append(name)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return with_order(schema)
