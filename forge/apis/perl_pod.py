"""Perl's POD -> ApiEntity: builtin functions (perlfunc), the C interface (perlapi), functions and methods of modules.

* In ``perlfunc`` an item of the alphabetical list is a function; several items that follow one another are its forms.
* In ``perlapi`` and ``perlintern`` an item is a C function or macro; its prototypes stand as code below it.
* In any other file, what stands below a heading such as METHODS or FUNCTIONS, and reads like a call, is an API of the
  module that the NAME section names. Files without such a heading (tutorials, release notes) describe no API, and the
  pages of Perl's own manual ("perlos2") only what they name in full (``Cwd::cwd``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pydantic import Field

from forge.apis.html.declarations import parameters_schema, parse_declaration, returns_schema
from forge.apis.pod import Block, bare, blocks_of, prose
from forge.apis.property_order import with_order
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, ApiExample, Decision, Item
from forge.stored_files import Problem, Size, StoredFile, StoredFilesOptions, list_stored_files
from forge.text.encoding import UnknownEncodingError, decode
from forge.text.markup import cut, first_sentence

STEP = "parse_apis"
MAX_POD_BYTES = 8 * 1024 * 1024
_MAX_ENTRIES = 20_000
_MAX_DESCRIPTION = 20_000
_MAX_EXAMPLE = 2000
_API_SECTION = re.compile(
    r"\b(?:methods?|functions?|subroutines?|routines?|constructors?|accessors?|exports?|interface)\b", re.IGNORECASE
)
_BUILTIN = re.compile(r"(-X|[a-z_]\w*|__\w+__|(?:tr|[msyq]|q[qrwx])(?=/))")
_CALL = re.compile(
    r"(?:(?:my\s+)?[$@%(][\w,\s$@%]*\)?\s*=\s*)?(?P<owner>\$\w+\s*->\s*|[\w:]+\s*->\s*)?(?P<name>[A-Za-z_][\w:]*)\s*"
    r"(?P<arguments>\(.*\)|[$@%&\\].*)?;?$",
    re.DOTALL,
)
_NAME_LINE = re.compile(r"\s*([A-Za-z_][\w:]*)\s+-+\s+")
_PLACE = re.compile(r"[$@%]?\w+")


class PerlPodOptions(StoredFilesOptions):
    """Options of a source of type ``perl_pod``."""

    max_file_bytes: Size = Field(MAX_POD_BYTES, le=MAX_POD_BYTES, description="larger files are rejected")
    service: str = Field("perl", description="the distribution that the files belong to")
    version: str = Field("", description="of the distribution")
    public_uri: str = Field("", description="what a file's path is appended to in the source_uri of its entries")


@dataclass
class _Entry:
    """One documented thing: its headings (several forms of one), and the blocks below them."""

    labels: list[str]
    line: int
    blocks: list[Block] = field(default_factory=list)


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a file. Raises :class:`ConfigurationError` when there is none."""
    return list_stored_files(name, source, settings, source_options(PerlPodOptions, name, source))


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:
    """What one file documents, or why it cannot be read."""
    options = source_options(PerlPodOptions, item.source, source)
    file = StoredFile(item, options, settings)
    content = file.problem() or file.whole(options.max_file_bytes)
    if isinstance(content, Problem):
        yield content.decision(item, STEP)
        return
    try:
        text, _ = decode(content)
    except UnknownEncodingError as error:
        yield Problem("", "unknown_encoding", str(error)).decision(item, STEP)
        return
    origin = ApiEntity(
        provider="perl",
        service=options.service,
        name="",
        version=options.version,
        entity_type="function",
        summary="",
        description="",
        parameters={"type": "object", "properties": {}},
        returns={},
        license=source.license or "",
        source=item.source,
        item_id=item.item_id,
        source_uri=options.public_uri + item.item_id,
    )
    seen: set[str] = set()
    for number, entity in enumerate(entities(text, file.path.stem, origin)):
        if number >= _MAX_ENTRIES:
            yield Decision(item.source, item.item_id, STEP, "too_large", f"more than {_MAX_ENTRIES:,} entries")
            return
        if entity.entity_key not in seen:
            seen.add(entity.entity_key)
            yield entity


def entities(text: str, stem: str, origin: ApiEntity) -> Iterator[ApiEntity]:
    """What a file documents, in its order. ``stem`` is its name without suffix; ``origin`` says where it lies."""
    blocks = list(blocks_of(text))
    if stem == "perlfunc":
        for entry in _items(blocks, after="Alphabetical Listing of Perl Functions"):
            yield from _builtin(entry, origin)
    elif stem in {"perlapi", "perlintern"}:
        for entry in _items(blocks):
            yield from _c_functions(entry, replace(origin, provider="c"))
    else:
        module = _module(blocks)
        if module:
            for entry in _calls(blocks):
                yield from _method(entry, module, origin)


def _items(blocks: list[Block], after: str = "") -> Iterator[_Entry]:
    """The items of the outermost lists; items that follow one another without a text between them are one entry."""
    depth, begun = 0, not after
    entry: _Entry | None = None
    for block in blocks:
        if block.kind == "command" and block.command.startswith("head"):
            begun = begun or bare(block.text).startswith(after)
            depth = 0
        if not begun:
            continue
        if block.kind == "command" and block.command == "over":
            depth += 1
        elif block.kind == "command" and block.command == "back":
            depth = max(0, depth - 1)
            if depth == 0 and entry is not None:
                yield entry
                entry = None
        elif block.kind == "command" and block.command == "item" and depth == 1:
            if entry is not None and entry.blocks:
                yield entry
                entry = None
            entry = entry or _Entry([], block.line)
            entry.labels.append(block.text)
        elif entry is not None:
            entry.blocks.append(block)
    if entry is not None:
        yield entry


def _calls(blocks: list[Block]) -> Iterator[_Entry]:
    """Items and lower headings below a heading that says that calls follow."""
    level, entry = 0, None
    inside_list = 0
    for block in blocks:
        if block.kind == "command" and block.command.startswith("head"):
            here = int(block.command[4:5] or 1)
            if entry is not None and (not level or here <= level + 1):
                yield entry
                entry = None
            if not level or here <= level:
                level = here if _API_SECTION.search(bare(block.text)) else 0
                inside_list = 0
            elif _CALL.match(bare(block.text)):
                entry = _Entry([block.text], block.line)
            continue
        if block.kind == "command" and block.command in {"over", "back"}:
            inside_list = max(0, inside_list + (1 if block.command == "over" else -1))
            continue
        if level and block.kind == "command" and block.command == "item" and inside_list == 1 and _is_call(block.text):
            if entry is not None and (entry.blocks or entry.labels[0] != block.text):
                yield entry
            entry = _Entry([block.text], block.line)
        elif entry is not None:
            entry.blocks.append(block)
    if entry is not None:
        yield entry


def _is_call(text: str) -> bool:
    """``name(ARGS)``, ``$object->name``, ``name`` in code; a bullet or a sentence is none."""
    label = bare(text)
    match = _CALL.match(label)
    return match is not None and (bool(match["owner"]) or bool(match["arguments"]) or text.strip().startswith("C<"))


def _module(blocks: list[Block]) -> str:
    """The module that the NAME section names ("Some::Module - does something"); "" when there is none."""
    for number, block in enumerate(blocks):
        if block.kind == "command" and block.command == "head1" and bare(block.text).upper() == "NAME":
            following = blocks[number + 1 : number + 2]
            match = _NAME_LINE.match(bare(following[0].text) + " ") if following else None
            return match[1] if match else ""
    return ""


def _described(entry: _Entry, origin: ApiEntity, name: str) -> ApiEntity:
    text = cut(prose(entry.blocks), _MAX_DESCRIPTION)
    code = next((block for block in entry.blocks if block.kind == "verbatim"), None)
    shown = prose([code]) if code is not None else ""
    paragraphs = [block for block in entry.blocks if block.kind == "paragraph"]
    return replace(
        origin,
        name=name,
        summary=first_sentence(prose(paragraphs[:1])),
        description=text,
        examples=(ApiExample("", shown, ""),)
        if shown and name.rpartition("::")[2] in shown and len(shown) < _MAX_EXAMPLE
        else (),
        source_uri=f"{origin.source_uri}#{name}",
    )


def _builtin(entry: _Entry, origin: ApiEntity) -> Iterator[ApiEntity]:
    """``binmode FILEHANDLE, LAYER`` and its shorter forms."""
    forms: dict[str, list[str]] = {}
    for label in entry.labels:
        form = bare(label)
        if match := _BUILTIN.match(form):
            forms.setdefault(match[1], []).append(form)
    for name, written in forms.items():
        longest = max(written, key=len)
        places = list(dict.fromkeys(re.findall(r"\b[A-Z][A-Z0-9_]*\b", longest.removeprefix(name))))
        always = [place for place in places if all(re.search(rf"\b{place}\b", form) for form in written)]
        yield replace(
            _described(entry, origin, name),
            parameters=_schema(places, always),
            declaration="\n".join(written),
        )


def _c_functions(entry: _Entry, origin: ApiEntity) -> Iterator[ApiEntity]:
    """Each item with the prototypes that name it."""
    code = "\n\n".join(prose([block]) for block in entry.blocks if block.kind == "verbatim")
    told = [block for block in entry.blocks if block.kind != "verbatim" or "(" not in block.text]
    for label in entry.labels:
        name = bare(label)
        if not label.startswith("C<") or not re.fullmatch(r"\w+", name):
            continue  # lists of topics have plain labels
        prototype = _prototype(code, name)
        declared = parse_declaration(prototype) if prototype else None
        found = replace(
            _described(_Entry([label], entry.line, told), origin, name),
            entity_type="macro" if name.isupper() else "function",
            declaration=prototype,
        )
        if declared is not None:
            found = replace(
                found, parameters=parameters_schema(declared.parameters), returns=returns_schema(declared.returns)
            )
        yield found


def _prototype(code: str, name: str) -> str:
    """The declaration of a name among prototypes that may run over several lines."""
    lines: list[str] = []
    for line in code.split("\n"):
        if not lines:
            if re.search(rf"\b{re.escape(name)}\s*(?:\(|$)", line):
                lines.append(line)
        elif line[:1].isspace() and "(" in lines[0]:
            lines.append(line)
        else:
            break
        if lines and "(" in lines[0] and "".join(lines).count("(") <= "".join(lines).count(")"):
            break
    return " ".join(" ".join(lines).split())


def _method(entry: _Entry, module: str, origin: ApiEntity) -> Iterator[ApiEntity]:
    label = bare(entry.labels[0])
    match = _CALL.match(label)
    if match is None:
        return
    name = match["name"]
    if "::" not in name and module.startswith("perl"):
        return
    arguments = (match["arguments"] or "").strip()
    inner = arguments[1:-1] if arguments.startswith("(") and arguments.endswith(")") else arguments
    required, _, optional = inner.partition("[")
    always = [place for place in _PLACE.findall(required) if place]
    places = [*always, *(place for place in _PLACE.findall(optional) if place)]
    yield replace(
        _described(entry, origin, name if "::" in name else f"{module}::{name}"),
        entity_type="method" if match["owner"] else "function",
        parameters=_schema(list(dict.fromkeys(places)), list(dict.fromkeys(always))),
        declaration=label,
    )


def _schema(places: list[str], required: list[str]) -> dict[str, object]:
    schema: dict[str, object] = {"type": "object", "properties": {place: {} for place in places}}
    if required:
        schema["required"] = required
    return with_order(schema)
