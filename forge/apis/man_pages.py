"""Manual pages (roff) below an artifact or a folder -> ApiEntity. An item is one page.

Sections 2 and 3 give one function, macro or variable for each name that the page lists and its SYNOPSIS declares, and
types (3type); sections 1 and 8 give commands. The others document no API. A page under a further name (a symbolic link,
``.so``) is no second entity.

The DESCRIPTION of several functions is cut to what concerns each: subsections and paragraphs that name only others go,
unless the function's own text refers to those ("works like strtol()"). What names none of them is told of all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field

from forge.apis.bare import bare_entity
from forge.apis.c_synopsis import Declared, constants, declared
from forge.apis.property_order import with_order
from forge.apis.roff import Block, ManualPage, read_page, text_of_blocks
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, ApiError, ApiExample, Decision, Item
from forge.stored_files import Problem, StoredFile, StoredFilesOptions, list_stored_files
from forge.text.encoding import UnknownEncodingError, decode
from forge.text.licenses import spdx_of, spdx_of_text
from forge.text.markup import cut, first_sentence

STEP = "parse_apis"
MAX_PAGE_BYTES = 2 * 1024 * 1024
_MAX_NAMES = 200
_MAX_EXAMPLES = 10
_MAX_ERRORS = 200
_MAX_FUNCTIONS = 200
_MAX_GROUPED_BLOCKS = 2000
_MAX_CHARACTERS = 100_000  # of one text of an entity
_LICENSE = re.compile(r"^[.']\\\"[ \t]*SPDX-License-Identifier:[ \t]*(\S.*)$", re.MULTILINE)
_PUBLIC_DOMAIN = re.compile(r"^[.']\\\"[ \t]*%%%LICENSE_START\(PUBLIC_DOMAIN\)", re.MULTILINE)
_COMMENTS = re.compile(r"^[.']\\\"(.*)$", re.MULTILINE)
_INDEX = re.compile(r"\bSee the individual man pages\b")
_VERSION = re.compile(r"\d+(?:\.\d+)+")
_CALLED = re.compile(r"\b(\w+) ?\(\)")
_ERROR_NAME = re.compile(r"[A-Z][A-Z0-9_]+")
_OF_FUNCTIONS = re.compile(r"\(((?:\w+\(\)(?:, (?:and )?| and | or )?)+)(?: only)?\)\s*")
_FLAG = re.compile(r"(?<![\w-])(--?[\w?@#][\w-]*|--?)(?:(?:\[?[= ]|(?=\[))\s*(\[?[^\s,|\[\]=-][^\s,]*))?")
_NAME_DASH = re.compile(r"\s+(?:-{1,2}|\N{EN DASH}|\N{EM DASH}|\N{MINUS SIGN})\s+")


class ManPagesOptions(StoredFilesOptions):
    """Options of a source of type ``man_pages``."""

    service: str = Field("linux", min_length=1, description="the system whose calls and commands the pages are of")
    library: str = Field("libc", min_length=1, description="the library whose functions section 3 is of")
    version: str = Field("", description='of that system; "": what the title line of a page states')
    public_uri: str = Field("", description="what stands before a page's path in stored URIs")


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a page. Raises :class:`ConfigurationError`: see :func:`forge.stored_files.list_stored_files`."""
    return list_stored_files(name, source, settings, source_options(ManPagesOptions, name, source))


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:
    """What one page documents, or a decision: oversized, unknown_encoding, not_a_manual_page ..."""
    options = source_options(ManPagesOptions, item.source, source)
    if PurePosixPath(item.locator["path"]).name != PurePosixPath(item.item_id).name:
        return  # a link to a page that is an item itself
    file = StoredFile(item, options, settings)
    content = file.problem() or file.whole(MAX_PAGE_BYTES)
    if isinstance(content, Problem):
        yield content.decision(item, STEP)
        return
    uri = options.public_uri + file.path.as_posix()
    bare = bare_entity(item, source, uri, service=options.service, version=options.version)
    for found in entities(content, bare, options.library):
        yield found.decision(item, STEP) if isinstance(found, Problem) else found


def entities(content: bytes, bare: ApiEntity, library: str = "libc") -> Iterator[ApiEntity | Problem]:
    """What a page documents. ``bare`` has what the page does not say; the rest is filled in, with ``library`` as the
    service of section 3."""
    try:
        text, _ = decode(content)
    except UnknownEncodingError as error:
        yield Problem("", "unknown_encoding", str(error))
        return
    page = read_page(text)
    if page.alias_of:
        return
    if not page.sections or not page.section:
        yield Problem("", "not_a_manual_page", "no title line with a section, or no section heading")
        return
    version = _VERSION.search(page.source)
    base = replace(
        bare,
        license=bare.license or _license(text),
        version=bare.version or (version.group() if version else ""),
    )
    number, kind = page.section[0], page.section[1:]
    if number in "23" and kind != "pm":
        base = replace(base, provider="c", service=library if number == "3" else base.service)
        yield from _types(page, base) if kind == "type" else _functions(page, base)
    elif number in "18":
        yield from _commands(page, replace(base, provider="shell"))


def _text(blocks: Sequence[Block]) -> str:
    return cut(text_of_blocks(blocks), _MAX_CHARACTERS)


def _license(text: str) -> str:
    """What the comments of a page state."""
    if match := _LICENSE.search(text):
        return spdx_of(match[1].strip())
    if _PUBLIC_DOMAIN.search(text):
        return "LicenseRef-public-domain"
    return spdx_of_text("\n".join(_COMMENTS.findall(text[:20_000])))


def _names(page: ManualPage) -> tuple[list[str], str]:
    """The names that the page is about, and what it says of them in a line."""
    told = " ".join(_text(page.blocks("NAME")).replace("\n", " , ").split())
    head, *said = _NAME_DASH.split(told, maxsplit=1)
    names = [name.strip().removesuffix("()") for name in head.split(",")]
    return [name for name in names if re.fullmatch(r"[^\s()]+", name)][:_MAX_NAMES], first_sentence(" ".join(said))


# --- functions ------------------------------------------------------------------------------------------------------


def _functions(page: ManualPage, base: ApiEntity) -> Iterator[ApiEntity]:
    names, summary = _names(page)
    if _INDEX.search(_text(page.blocks("DESCRIPTION"))):
        return
    together = page.blocks("SYNOPSIS AND DESCRIPTION")
    if together:
        yield from _described_in_turn(together, replace(base, summary=summary))
        return
    synopsis = page.blocks("SYNOPSIS")
    found = _of_page(names, declared(synopsis))
    found |= {entry.name: entry for entry in constants(synopsis, [name for name in names if name not in found])}
    others = frozenset(found)
    description = _Shared.between(others, page.blocks("DESCRIPTION"))
    returned = _Shared.between(others, page.blocks("RETURN VALUE", "RETURN VALUES"))
    for name, entry in islice(found.items(), _MAX_FUNCTIONS):
        yield _entity(
            replace(base, summary=summary),
            entry,
            description.concerning(name),
            _text(returned.concerning(name)),
            errors=tuple(_errors(name, page.blocks("ERRORS"))),
            examples=tuple(_examples(page, name if len(others) > 1 else "")),
        )


def _entity(base: ApiEntity, entry: Declared, blocks: Sequence[Block], returned: str = "", **more: Any) -> ApiEntity:
    return replace(
        base,
        name=entry.name,
        entity_type=entry.kind,
        description=_text(blocks),
        declaration="\n".join(entry.forms),
        parameters=entry.schema(),
        returns=entry.result(returned if entry.kind != "attribute" else ""),
        **more,
    )


def _of_page(names: Sequence[str], found: dict[str, Declared]) -> dict[str, Declared]:
    """What the page is about. One on a use of a function, as ioctl_fat(2) is on one of ioctl(), is about that use."""
    general = [entry for name, entry in found.items() if names and all(other.startswith(f"{name}_") for other in names)]
    if not general or set(names) & set(found):
        return found
    forms = tuple(form for entry in found.values() for form in entry.forms)
    return {name: replace(general[0], name=name, forms=forms) for name in names}


def _described_in_turn(blocks: Sequence[Block], base: ApiEntity) -> Iterator[ApiEntity]:
    """Of a section where each declaration is followed by its description."""
    entries: list[Declared] = []
    body: list[Block] = []
    for block in (*blocks, Block("heading", "")):
        found = declared([block]) if block.kind == "code" and block.level == 0 else {}
        if not found and block.kind != "heading" and block.level > 0:
            body.append(replace(block, level=block.level - 1))
            continue
        for entry in entries:
            said = _text(body)
            yield replace(_entity(base, entry, body), summary=first_sentence(said) or base.summary)
        entries, body = list(found.values()), []


@dataclass(frozen=True, slots=True)
class _Group:
    """A paragraph with what it introduces. ``named`` are the functions of the page that it names, ``under`` those that
    its subsection is called after."""

    under: frozenset[str]
    named: frozenset[str]
    blocks: list[Block]

    @property
    def of(self) -> frozenset[str]:
        return self.under or self.named


@dataclass(frozen=True, slots=True)
class _Shared:
    """The text that the functions of a page share; without groups when it is not to be divided."""

    blocks: Sequence[Block]
    groups: Sequence[_Group] = ()

    @classmethod
    def between(cls, names: Set[str], blocks: Sequence[Block]) -> _Shared:
        total = 0
        for count, block in enumerate(blocks, start=1):
            total += len(block.text)
            if total > _MAX_CHARACTERS:
                return cls(blocks[:count])
        return cls(
            blocks, list(_groups(blocks, names)) if len(names) > 1 and len(blocks) <= _MAX_GROUPED_BLOCKS else ()
        )

    def concerning(self, name: str) -> Sequence[Block]:
        """The blocks that concern one of the functions; all, when none would be left."""
        own = {name}
        for group in self.groups:  # what its own text refers to
            if name in group.of:
                own |= group.named
        kept = [block for group in self.groups if not group.of or group.of & own for block in group.blocks]
        if not any(block.kind != "heading" for block in kept):
            return self.blocks
        return [
            block
            for position, block in enumerate(kept)
            if block.kind != "heading" or (position + 1 < len(kept) and kept[position + 1].kind != "heading")
        ]


def _groups(blocks: Sequence[Block], names: Set[str]) -> Iterator[_Group]:
    under: frozenset[str] = frozenset()
    group: _Group | None = None
    for block in blocks:
        if block.kind == "heading":
            if group is not None:
                yield group
            under = frozenset(re.findall(r"\w+", block.text)) & names
            yield _Group(under, frozenset(), [block])
            group = None
            continue
        named = frozenset(_CALLED.findall(f"{block.tag} {block.text}")) & names
        is_introduced = block.level > 0 or block.kind != "paragraph"
        if group is not None and is_introduced and not (block.kind == "item" and named):
            group.blocks.append(block)
        else:
            if group is not None:
                yield group
            group = _Group(under, named, [block])
    if group is not None:
        yield group


def _errors(name: str, blocks: Sequence[Block]) -> Iterator[ApiError]:
    """The items of ERRORS. One that begins with "(openat())" is only of that function."""
    found: list[tuple[str, list[Block]]] = []
    for block in blocks:
        if block.kind == "item":
            found.append((block.tag, [Block("paragraph", block.text)]))
        elif found and block.level > 0:
            found[-1][1].append(replace(block, level=block.level - 1))
    for tag, body in found[:_MAX_ERRORS]:
        text = _text(body)
        of = _OF_FUNCTIONS.match(text)
        if of is not None and name not in _CALLED.findall(of[1]):
            continue
        for error in _ERROR_NAME.findall(tag.partition("(")[0]):
            yield ApiError(error, text[of.end() :] if of else text)


def _examples(page: ManualPage, called: str = "") -> Iterator[ApiExample]:
    """The code of EXAMPLES under the paragraph before it; of several functions only what calls this one."""
    before = ""
    count = 0
    for block in page.blocks("EXAMPLES", "EXAMPLE"):
        if block.kind != "code":
            before = block.text
            continue
        if count < _MAX_EXAMPLES and (not called or re.search(rf"\b{re.escape(called)}\s*\(", block.text)):
            yield ApiExample(cut(before, 1000), block.text, "")
            count += 1
        before = ""


# --- types ----------------------------------------------------------------------------------------------------------


def _types(page: ManualPage, base: ApiEntity) -> Iterator[ApiEntity]:
    names, summary = _names(page)
    synopsis = page.blocks("SYNOPSIS")
    code = "\n".join(block.text for block in synopsis[: _until_requirements(synopsis)])[:_MAX_CHARACTERS]
    for name in names:
        tagged = re.search(rf"\b(struct|union|enum)\s+{re.escape(name)}\s*\{{", code)
        yield replace(
            base,
            name=f"{tagged[1]} {name}" if tagged else name,
            entity_type="type",
            summary=summary,
            description=_text(page.blocks("DESCRIPTION")),
            declaration=code,
        )


def _until_requirements(blocks: Sequence[Block]) -> int:
    return next((place for place, block in enumerate(blocks) if "Feature Test Macro" in block.text), len(blocks))


# --- commands -------------------------------------------------------------------------------------------------------


def _commands(page: ManualPage, base: ApiEntity) -> Iterator[ApiEntity]:
    names, summary = _names(page)
    synopsis = _text(page.blocks("SYNOPSIS"))
    blocks = [*page.blocks("DESCRIPTION"), *page.blocks("OPTIONS")]
    options, rest = _options(blocks)
    for name in names:
        if name == "intro" or not (synopsis or options):
            continue
        yield replace(
            base,
            name=name,
            entity_type="command",
            summary=summary,
            description=_text(rest),
            declaration=synopsis,
            parameters=options,
            returns={"description": status} if (status := _text(page.blocks("EXIT STATUS"))) else {},
            examples=tuple(_examples(page)),
        )


def _options(blocks: Sequence[Block]) -> tuple[dict[str, Any], list[Block]]:
    """The options that items describe, as properties by their longest name, and the blocks that are no such items."""
    properties: dict[str, Any] = {}
    rest: list[Block] = []
    body: list[Block] = []
    level = -1
    for block in blocks:
        option = _option(block.tag) if block.kind == "item" and block.tag.startswith("-") else None
        if option is not None:
            name, schema = option
            body = [Block("paragraph", block.text)] if block.text else []
            properties.setdefault(name, (schema, body))
            level = block.level
        elif level >= 0 and block.level > level:
            body.append(replace(block, level=block.level - level - 1))
        else:
            level = -1
            rest.append(block)
    for name, (schema, told) in properties.items():
        if text := _text(told):
            schema["description"] = text
        properties[name] = schema
    return with_order({"type": "object", "properties": properties}), rest


def _option(tag: str) -> tuple[str, dict[str, Any]] | None:
    """``-o outputfile, --output=outputfile`` is an option ``--output`` of a value and with the alias ``-o``."""
    found = [(match[1], (match[2] or "").strip("[]")) for match in _FLAG.finditer(tag[:500])]
    if not found:
        return None
    names = [name for name, _ in found]
    name = max(names, key=len)
    value = next((value for _, value in found if value), "")
    schema: dict[str, Any] = {"type": "string", "x-type": value} if value else {"type": "boolean"}
    if aliases := [other for other in dict.fromkeys(names) if other != name]:
        schema["x-aliases"] = aliases
    return name, schema
