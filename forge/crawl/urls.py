"""Canonical URIs, and the two spaces that a mirrored site lives in: where it is fetched and what it is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

MAX_URI_CHARACTERS = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
# fmt: off
_NOT_PAGES = frozenset({
    ".7z", ".atom", ".avi", ".bmp", ".bz2", ".css", ".csv", ".deb", ".dmg", ".doc", ".docx", ".eot", ".epub", ".exe",
    ".gif", ".gz", ".ico", ".inv", ".iso", ".jar", ".jpeg", ".jpg", ".js", ".json", ".map", ".mov", ".mp3", ".mp4",
    ".ods", ".odt", ".ogg", ".otf", ".pdf", ".png", ".ppt", ".pptx", ".ps", ".py", ".rar", ".rpm", ".rss", ".svg",
    ".tar", ".tgz", ".tif", ".tiff", ".ttf", ".txt", ".wasm", ".wav", ".webm", ".webp", ".whl", ".woff", ".woff2",
    ".xls", ".xlsx", ".xml", ".xz", ".zip",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class Site:
    """One web site of one source.

    ``public_base`` is the prefix of its canonical URIs and bounds the crawl; ``fetch_base`` is the prefix that it is
    fetched from (equal for a real site; the loopback address for a mirror). Both end with "/". ``shard`` names the unit
    of politeness: the host of a real site, the source of a mirror. ``version`` changes when a mirror's content does.
    """

    source: str
    start: str
    public_base: str
    fetch_base: str
    shard: str
    version: str = ""

    def fetch_url(self, uri: str) -> str:
        return self.fetch_base + uri.removeprefix(self.public_base)

    def canonical_uri(self, fetch_url: str) -> str:
        if fetch_url.startswith(self.fetch_base):
            return self.public_base + fetch_url.removeprefix(self.fetch_base)
        return fetch_url

    def contains(self, uri: str) -> bool:
        return uri.startswith(self.public_base)


def host_of(uri: str) -> str:
    """Host of a URI in lower case, without a port; "" when it has none."""
    try:
        return (urlsplit(uri).hostname or "").lower()
    except ValueError:
        return ""


def canonical_uri(reference: str, base: str = "") -> str | None:
    """The canonical form of a link, or None when it cannot name a page: another scheme than http(s), user information,
    a malformed host, more than 2,048 characters.

    RFC 3986 section 6.2.2: scheme and host in lower case, no default port, escapes of unreserved characters decoded and
    the others in upper case, dot segments removed, no fragment. The query is kept as it is.
    """
    if len(reference) > MAX_URI_CHARACTERS:
        return None
    reference = _CONTROL.sub(lambda match: "" if match[0] in "\t\r\n" else quote(match[0]), reference.strip())
    try:
        parts = urlsplit(urljoin(base, reference) if base else reference)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        return None
    if scheme not in DEFAULT_PORTS or not host or parts.username is not None or parts.password is not None:
        return None
    try:
        host = host.encode("idna").decode("ascii") if not host.isascii() else host.lower()
    except UnicodeError:
        return None
    if ":" in host:
        host = f"[{host}]"
    authority = host if port is None or port == DEFAULT_PORTS[scheme] else f"{host}:{port}"
    path = _remove_dot_segments(_normal_escapes(parts.path) or "/")
    uri = urlunsplit((scheme, authority, path, _normal_escapes(parts.query), ""))
    return uri if len(uri) <= MAX_URI_CHARACTERS else None


def may_be_page(uri: str) -> bool:
    """False for paths whose ending says that they are no HTML (images, archives, style sheets)."""
    name = urlsplit(uri).path.rpartition("/")[2].lower()
    return "." + name.rpartition(".")[2] not in _NOT_PAGES if "." in name else True


def _normal_escapes(text: str) -> str:
    def normal(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return character if character in _UNRESERVED else match[0].upper()

    # "%" stays: it introduces the escapes that are there; a stray one is left for the server to judge.
    return quote(_ESCAPE.sub(normal, text), safe="%/:@!$&'()*+,;=-._~?")


def _remove_dot_segments(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")[1:] if path.startswith("/") else path.split("/")
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
