"""Web pages, code files and general texts as training documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forge.schema import Decision, Document, split_of

_FORMS = {"web": "page", "code": "file", "text": "article"}


def render_text(
    row: Mapping[str, Any], kind: str, held_out_share: float, max_characters: int
) -> Iterator[Document | Decision]:
    """A row of `web_pages` or `texts` as one document: the title as a heading, then the text; code stays as it is.

    A text longer than ``max_characters`` is rejected (`too_long`): cutting code or prose at a number of characters
    would teach broken ends.
    """
    body = row["text"]
    if kind != "code":
        title = (row["title"] or "").strip()
        body = body.strip()
        if title and not body.startswith(title):
            body = f"{title}\n\n{body}"
    if not body.strip():
        yield Decision(row["source"], row["item_id"], "render", "empty_text")
    elif len(body) > max_characters:
        yield Decision(row["source"], row["item_id"], "render", "too_long", f"{len(body):,} characters")
    else:
        yield Document(kind, _FORMS[kind], body, split_of(row["uri"], held_out_share))  # type: ignore[arg-type]
