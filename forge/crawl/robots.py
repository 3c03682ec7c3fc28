"""robots.txt by RFC 9309, parsed by protego."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

MAX_ROBOTS_BYTES = 512 * 1024
"""RFC 9309 section 2.5 asks for at least 500 KiB; what lies beyond is not parsed."""
MAX_CRAWL_DELAY_SECONDS = 60.0

Access = Literal["rules", "allow_all", "deny_all"]


@dataclass(frozen=True)
class Robots:
    """What a site's robots.txt permits to one crawler. ``reason`` explains "deny_all"."""

    access: Access
    text: str = ""
    reason: str = ""

    @classmethod
    def of_response(cls, status: int | None, body: bytes, reason: str = "") -> Robots:
        """RFC 9309 section 2.3.1: success is parsed; 4xx means "unavailable": everything may be crawled; 5xx, 429 and
        a network error (status None) mean "unreachable": nothing may."""
        if status is None or status >= 500 or status == 429:
            return cls("deny_all", reason=reason or f"robots.txt answered {status}")
        if 200 <= status < 300:
            return cls("rules", text=body[:MAX_ROBOTS_BYTES].decode("utf-8", "replace"))
        return cls("allow_all")

    @cached_property
    def _rules(self) -> Any:
        from protego import Protego

        return Protego.parse(self.text)

    def allows(self, url: str, user_agent: str) -> bool:
        if self.access != "rules":
            return self.access == "allow_all"
        return bool(self._rules.can_fetch(url, product_token(user_agent)))

    def delay_seconds(self, user_agent: str) -> float:
        """Crawl-delay of the site, at most 60 seconds; 0 when it states none or nonsense."""
        if self.access != "rules":
            return 0.0
        delay = self._rules.crawl_delay(product_token(user_agent))
        if delay is None or not math.isfinite(delay) or delay < 0:
            return 0.0
        return min(float(delay), MAX_CRAWL_DELAY_SECONDS)


def product_token(user_agent: str) -> str:
    """The name that robots.txt groups match: what stands before the version ("HephaestusForge/0.1" gives
    "HephaestusForge")."""
    return user_agent.split("/", 1)[0].split(" ", 1)[0]
