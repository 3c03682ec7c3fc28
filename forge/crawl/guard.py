"""Which addresses the crawler may talk to: the public internet, and private hosts that the configuration names.

The check sits where the socket is made, after name resolution, so that neither a literal address nor a name that
resolves to one (nor one that changes its answer between check and use) gets through. Checking names alone does not do:
a resolver guard let ``http://127.0.0.1`` and ``http://[::ffff:127.0.0.1]`` pass.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from forge.crawl.urls import DEFAULT_PORTS

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class RefusedAddressError(OSError):
    """The name resolved to an address outside the public internet."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public unicast internet.

    IPv4 addresses inside IPv6 ones (mapped, 6to4, Teredo, NAT64) are judged as what they lead to. Multicast is refused
    although Python calls most of it global.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64:
            inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        embedded = [each for each in inner if each is not None]
        if embedded:
            return all(is_public(str(each)) for each in embedded)
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


def is_private_host_allowed(url: str, private_hosts: Collection[str]) -> bool:
    """Whether the URL's own host, or host and port, stands in the allowlist: the name as written, not what it resolves
    to, so that a public name which resolves to an allowed private address stays refused."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    return host in private_hosts or f"{host}:{port}" in private_hosts


def refusal(url: str, private_hosts: Collection[str]) -> str | None:
    """Why a URL must not be requested, or None: "bad_url" (scheme, user information, port) or "private_address" (a
    literal address outside the public internet that is not allowed)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "bad_url"
    if parts.scheme not in DEFAULT_PORTS or not host or parts.username is not None:
        return "bad_url"
    if is_private_host_allowed(url, private_hosts):
        return None
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if host == "localhost" or host.endswith(".localhost"):
            return "private_address"
    else:
        if not is_public(host):
            return "private_address"
    if port is not None and port not in DEFAULT_PORTS.values():
        return "bad_url"
    return None


class SocketGuard:
    """A ``socket_factory`` for :class:`aiohttp.TCPConnector` that refuses addresses outside the public internet.

    ``refused`` keeps the last address that was refused, because aiohttp folds the error into its own.
    """

    def __init__(self, private_allowed: bool) -> None:
        self.private_allowed = private_allowed
        self.refused: str | None = None

    def reset(self) -> None:
        """Forget what was refused before."""
        self.refused = None

    def __call__(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, location = address
        if not self.private_allowed and not is_public(str(location[0])):
            self.refused = str(location[0])
            raise RefusedAddressError(f"{location[0]} is not a public address")
        return socket.socket(family=family, type=kind, proto=protocol)
