"""A look at what a source would give, before anything is committed: no Spark, no writes.

The preview uses the readers and renderers of the real jobs. It reads items in order until its time is used up, so that
the rejects it shows are all there are in what it read, and takes its documents from as many items as it can.
"""

from __future__ import annotations

import importlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from forge.config import ConfigurationError, Settings, SourceSettings
from forge.preview_pages import preview_pages
from forge.schema import ApiEntity, Decision, Document, Item, Text, Trajectory, Usage, WebPage, split_of

Row = ApiEntity | Usage | Trajectory | Text | WebPage

DEFAULT_DOCUMENTS = 10
DEFAULT_SECONDS = 30.0
_READERS = (
    ("parse_apis", "forge.apis.readers"),
    ("mine_usages", "forge.usages.readers"),
    ("parse_trajectories", "forge.trajectories.readers"),
    ("read_texts", "forge.text.readers"),
)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A document with the item it came from and its licence ("" when none is stated)."""

    item_id: str
    uri: str
    license: str
    document: Document


@dataclass
class Preview:
    """``items`` listed and ``items_read``; rows the readers gave; documents rendered; rejects with their reasons."""

    source: str
    items: int = 0
    items_read: int = 0
    rows: int = 0
    rendered: int = 0
    documents: list[Rendered] = field(default_factory=list)
    rejects: list[Decision] = field(default_factory=list)
    licenses: Counter[str] = field(default_factory=Counter)

    @property
    def rejected_share(self) -> float:
        """Rejected rows and items, of all that were seen: what the source's gate compares with its limit."""
        seen = self.rows + len(self.rejects)
        return len(self.rejects) / seen if seen else 0.0


def reader_modules(source: SourceSettings) -> dict[str, str]:
    """The reader modules that handle a source's type, by job: three for ``files``, none for what is crawled."""
    found: dict[str, str] = {}
    for job, module in _READERS:
        readers: Mapping[str, str] = importlib.import_module(module).READERS
        if source.type in readers:
            found[job] = readers[source.type]
    return found


def listed_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[tuple[str, Item]]:
    """(reader module, item) of everything that the source offers. Raises :class:`ConfigurationError`."""
    for module in reader_modules(source).values():
        for item in importlib.import_module(module).list_items(name, source, settings):
            yield module, item


def preview_source(
    settings: Settings, name: str, documents: int = DEFAULT_DOCUMENTS, seconds: float = DEFAULT_SECONDS
) -> Preview:
    """Read items for at most about ``seconds`` and render ``documents`` of what they hold.

    A web site is crawled for real, a few pages of it. Raises :class:`ConfigurationError` for an unknown source and for
    options that cannot be used.
    """
    source = settings.sources.get(name)
    if source is None:
        raise ConfigurationError(f"no source {name!r}; sources: {', '.join(sorted(settings.sources))}")
    found = Preview(name)
    items: Iterable[tuple[int, Iterator[Row | Decision]]]
    deadline = time.monotonic() + seconds
    if reader_modules(source):
        work = list(listed_items(name, source, settings))
        found.items = len(work)
        per_item = max(1, -(-documents // max(len(work), 1)))
        items = ((per_item, _read(module, item, source, settings)) for module, item in work)
    else:
        found.items = 1
        items = [(documents, preview_pages(name, source, settings))]
    for limit, outcomes in items:
        shown = len(found.documents)
        for outcome in outcomes:
            _take(found, outcome, settings, min(documents, shown + limit))
            if time.monotonic() > deadline:
                return found
        found.items_read += 1
    return found


def _take(found: Preview, outcome: Row | Decision, settings: Settings, limit: int) -> None:
    """Count a row and its documents, and keep one of them while fewer than ``limit`` are kept: the one whose form has
    been shown least."""
    if isinstance(outcome, Decision):
        found.rejects.append(outcome)
        return
    found.rows += 1
    found.licenses[outcome.license or ""] += 1
    rendered = list(_render(outcome, settings))
    found.rejects.extend(result for result in rendered if isinstance(result, Decision))
    made = [result for result in rendered if isinstance(result, Document)]
    found.rendered += len(made)
    if made and len(found.documents) < limit:
        shown = Counter(one.document.form for one in found.documents)
        chosen = min(made, key=lambda document: shown[document.form])
        uri = getattr(outcome, "source_uri", "") or getattr(outcome, "uri", "") or outcome.item_id
        found.documents.append(Rendered(outcome.item_id, uri, outcome.license, chosen))


def _read(module: str, item: Item, source: SourceSettings, settings: Settings) -> Iterator[Any]:
    try:
        yield from importlib.import_module(module).read_item(item, source, settings)
    except Exception as error:  # noqa: BLE001 - as in the job: a bad item never ends a run
        yield Decision(item.source, item.item_id, "read", "reader_failed", f"{type(error).__name__}: {error}")


def _render(row: Row, settings: Settings) -> Iterator[Document | Decision]:
    limits = (settings.corpus.held_out_share, settings.corpus.max_document_characters)
    if isinstance(row, Usage):  # rendered with its API's documentation, which other sources give: here alone
        yield Document("api_doc", "usage", f"{row.path}:\n\n{row.snippet}", split_of(row.path, limits[0]))
        return
    render: Callable[..., Iterator[Document | Decision]]
    if isinstance(row, ApiEntity):
        render = partial(importlib.import_module("forge.apis.render").render, row)
    elif isinstance(row, Trajectory):
        render = partial(importlib.import_module("forge.trajectories.render").render, row)
    else:
        kind = "web" if isinstance(row, WebPage) else row.kind
        render = partial(importlib.import_module("forge.text.render").render_text, row.row(""), kind)
    try:
        yield from render(*limits)
    except Exception as error:  # noqa: BLE001
        yield Decision(row.source, row.item_id, "render", "render_failed", f"{type(error).__name__}: {error}")
