"""What a measurement has to reach, and whether it did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bar:
    """``limit`` is the most that is allowed, or with ``is_minimum`` the least."""

    name: str
    value: float
    limit: float
    is_minimum: bool = False

    def row(self) -> dict[str, Any]:
        passed = self.value >= self.limit if self.is_minimum else self.value <= self.limit
        return {"name": self.name, "value": round(self.value, 4), "limit": self.limit, "passed": passed}


def bar_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One line for people a bar."""
    for bar in rows:
        yield f"{'passed' if bar['passed'] else 'MISSED'}  {bar['name']}: {bar['value']:,} (bar {bar['limit']:,})"
