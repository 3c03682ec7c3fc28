"""Links of an HTML page, in document order."""

from __future__ import annotations

from forge.crawl.urls import canonical_uri, may_be_page

MAX_LINKS = 20_000
HTML_MEDIA_TYPES = frozenset({"text/html", "application/xhtml+xml"})


def page_links(body: bytes, media_type: str, uri: str) -> list[str]:
    """Canonical URIs of the pages that an HTML page links to, each once; [] for other media types.

    The first ``base`` element counts, fragments do not; links that end like an image or an archive are left out.
    """
    if media_type not in HTML_MEDIA_TYPES or not body:
        return []
    from selectolax.lexbor import LexborHTMLParser

    # The bytes between the quotes of a link are ASCII in all but broken pages, whatever the page's encoding.
    tree = LexborHTMLParser(body.decode("utf-8", "replace"))
    base = uri
    base_element = tree.css_first("base[href]")
    if base_element is not None:
        base = canonical_uri(base_element.attributes.get("href") or "", uri) or uri
    links: dict[str, None] = {}
    for element in tree.css("a[href], area[href]"):
        link = canonical_uri(element.attributes.get("href") or "", base)
        if link is not None and link not in links and may_be_page(link):
            links[link] = None
            if len(links) >= MAX_LINKS:
                break
    return list(links)
