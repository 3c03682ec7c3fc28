"""Pages of a reference site that a documentation generator made -> ApiEntity. An item is one page.

Each generator has a module with two functions: ``detects(page)`` says, from the generator's own markup, whether the
page is its work; ``entities(page, bare)`` yields what the page documents, each as a copy of ``bare`` (provider,
service, version, licence and origin filled in; ``source_uri`` without a fragment). A page that documents no API (an
index, a tutorial) yields nothing, which is no loss: only what cannot be read is a decision.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Literal

from pydantic import Field

from forge.apis.html.page import Page
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, Decision, Item
from forge.stored_files import Problem, StoredFile, StoredFilesOptions, list_stored_files
from forge.text.encoding import UnknownEncodingError, decode
from forge.text.html import MAX_NESTED_TAGS, nesting

STEP = "parse_apis"
MAX_PAGE_BYTES = 32 * 1024 * 1024

Generator = Literal[
    "sphinx", "javadoc", "rustdoc", "doxygen", "gtk_doc", "haddock", "scaladoc", "cppreference", "qdoc", "generic"
]
GENERATORS: tuple[Generator, ...] = (
    "sphinx",
    "javadoc",
    "rustdoc",
    "doxygen",
    "gtk_doc",
    "haddock",
    "scaladoc",
    "cppreference",
    "qdoc",
    "generic",
)
"""In the order of detection; ``generic`` takes what no other knows."""


class HtmlReferenceOptions(StoredFilesOptions):
    """Options of a source of type ``html_reference``."""

    provider: str = Field(min_length=1, description="the language or system: python, java, rust, c, cpp, haskell ...")
    service: str = Field(min_length=1, description="the library that the site documents")
    version: str = Field("", description="of the library")
    root: str = Field("", description="folder of the site below the artifact or checkout; page paths begin below it")
    public_uri: str = Field("", description="what stands before a page's path in stored URIs")
    generator: Generator | Literal["auto"] = Field("auto", description="auto: by the page's own markup")


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a page. Raises :class:`ConfigurationError`: see :func:`forge.stored_files.list_stored_files`."""
    return list_stored_files(name, source, settings, source_options(HtmlReferenceOptions, name, source))


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:
    """What one page documents, or a decision: oversized, unknown_encoding, too_deeply_nested, malformed_page."""
    options = source_options(HtmlReferenceOptions, item.source, source)
    file = StoredFile(item, options, settings)
    content = file.problem() or file.whole(MAX_PAGE_BYTES)
    if isinstance(content, Problem):
        yield content.decision(item, STEP)
        return
    try:
        html, _ = decode(content, from_html=True)
    except UnknownEncodingError as error:
        yield Problem("", "unknown_encoding", str(error)).decision(item, STEP)
        return
    if (depth := nesting(html)) > MAX_NESTED_TAGS:
        detail = f"elements nested {depth} deep, at most {MAX_NESTED_TAGS} are parsed"
        yield Problem("", "too_deeply_nested", detail).decision(item, STEP)
        return
    path = item.item_id.removeprefix(options.root).lstrip("/")
    page = Page(path, html)
    bare = ApiEntity(
        provider=options.provider,
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
        source_uri=options.public_uri + path,
    )
    found = generator_of(page, options.generator)
    if found is not None:
        yield from found.entities(page, bare)


def generator_of(page: Page, stated: Generator | Literal["auto"] = "auto") -> ModuleType | None:
    """The module that reads a page: the one that is stated, else the first that detects its own work; None for none."""
    names = GENERATORS if stated == "auto" else (stated,)
    for name in names:
        module = importlib.import_module(f"forge.apis.html.{name}")
        if stated != "auto" or module.detects(page):
            return module
    return None
