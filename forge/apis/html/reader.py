"""Pages of a reference site that a documentation generator made -> ApiEntity. An item is one page.

Each generator has a module with two functions: ``detects(page)`` says, from the generator's own markup, whether the
page is its work; ``entities(page, bare)`` yields what the page documents, each as a copy of ``bare`` (provider,
service, version, licence and origin filled in; ``source_uri`` without a fragment). A page that documents no API (an
index, a tutorial) yields nothing, which is no loss: only what cannot be read is a decision.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Literal

from pydantic import Field

from forge.apis.bare import bare_entity
from forge.apis.html.inventory import InventoryError, read_inventory
from forge.apis.html.page import Page
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, Decision, Item
from forge.stored_files import Problem, StoredFile, StoredFilesOptions, list_stored_files
from forge.text.encoding import UnknownEncodingError, decode

STEP = "parse_apis"
_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,1000}")
MAX_PAGE_BYTES = 16 * 1024 * 1024
"""Of one page: a tree takes up to forty times its text. The largest that was seen, an index, has 13 million."""

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
    service: str = Field(
        min_length=1, description="the library that the site documents; {folder}: the first folder of a page's path"
    )
    version: str = Field("", description="of the library")
    root: str = Field("", description="folder of the site below the artifact or checkout; page paths begin below it")
    public_uri: str = Field("", description="what stands before a page's path in stored URIs")
    generator: Generator | Literal["auto"] = Field("auto", description="auto: by the page's own markup")


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a page. Raises :class:`ConfigurationError`: see :func:`forge.stored_files.list_stored_files`."""
    return list_stored_files(name, source, settings, source_options(HtmlReferenceOptions, name, source))


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:
    """What one page documents, or a decision: oversized, unknown_encoding, too_deeply_nested, malformed_page,
    malformed_inventory. A Sphinx inventory (``objects.inv``) is checked and gives nothing: names without a text."""
    options = source_options(HtmlReferenceOptions, item.source, source)
    file = StoredFile(item, options, settings)
    content = file.problem() or file.whole(MAX_PAGE_BYTES)
    if isinstance(content, Problem):
        yield content.decision(item, STEP)
        return
    path = file.path.as_posix().removeprefix(options.root).lstrip("/")
    service = options.service.replace("{folder}", path.partition("/")[0])
    uri = options.public_uri + path
    bare = bare_entity(item, source, uri, provider=options.provider, service=service, version=options.version)
    for found in entities(content, path, bare, options.generator):
        yield found.decision(item, STEP) if isinstance(found, Problem) else found


def entities(
    content: bytes, path: str, bare: ApiEntity, generator: Generator | Literal["auto"] = "auto"
) -> Iterator[ApiEntity | Problem]:
    """What the page (or inventory) at ``path`` below the site's root documents; a problem, if there is one, is last."""
    if path.endswith("objects.inv"):
        try:
            read_inventory(content)
        except InventoryError as error:
            yield Problem("", "malformed_inventory", str(error))
        return
    try:
        html, _ = decode(content, from_html=True)
    except UnknownEncodingError as error:
        yield Problem("", "unknown_encoding", str(error))
        return
    page = Page(path, html)
    if (refusal := page.refusal()) is not None:
        yield Problem("", *refusal)
        return
    module = generator_of(page, generator)
    if module is None:
        return
    seen: set[str] = set()
    try:
        for entity in module.entities(page, bare):
            # A page that says the same name twice is told once; keys of more than a line are no names.
            if entity.entity_key not in seen and _NAME.fullmatch(entity.name):
                seen.add(entity.entity_key)
                yield entity
    except Exception as error:  # noqa: BLE001  (markup of any shape; what was read of the page before stays)
        yield Problem("", "malformed_page", f"after {len(seen)} entries: {type(error).__name__}: {error}")


def generator_of(page: Page, stated: Generator | Literal["auto"] = "auto") -> ModuleType | None:
    """The module that reads a page: the one that is stated, else the first that detects its own work; None for none."""
    names = GENERATORS if stated == "auto" else (stated,)
    for name in names:
        module = importlib.import_module(f"forge.apis.html.{name}")
        if stated != "auto" or module.detects(page):
            return module
    return None
