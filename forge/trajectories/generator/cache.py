"""What the endpoint answered and what that cost, in one SQLite file: a run that was killed, or that is run again, pays
nothing twice and counts what was spent before."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from forge.config import ConfigurationError
from forge.schema import canonical_json, content_hash

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS spending (
    key TEXT NOT NULL,
    model TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost REAL NOT NULL,
    is_stated INTEGER NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of requests and answers and their price. ``is_stated``: by the endpoint; else the most that it can be."""

    input_tokens: int
    output_tokens: int
    cost: float
    is_stated: bool = True

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


def request_key(body: dict[str, Any], model: str, prompts: str) -> str:
    """What a request is known by: its body, the model and the version of the prompts."""
    return content_hash(canonical_json(body), model, prompts)


class Cache:
    """Answers by the key of their request, and every charge there was. Each write is one transaction."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`ConfigurationError` when the file is none of ours."""
        self._connection = sqlite3.connect(path, isolation_level=None)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise ConfigurationError(f"{path}: {error}; move it away to begin anew") from None

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def answer(self, key: str) -> bytes | None:
        """The body of the response, as it came."""
        row = self._connection.execute("SELECT payload FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def add(self, key: str, model: str, usage: Usage, payload: bytes | None) -> None:
        """A charge, and the answer that it bought; None for one that is of no use and has to be asked for again."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if payload is not None:
                self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, payload))
            self._connection.execute(
                "INSERT INTO spending VALUES (?, ?, ?, ?, ?, ?)",
                (key, model, usage.input_tokens, usage.output_tokens, usage.cost, int(usage.is_stated)),
            )
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def spent(self) -> Usage:
        """All charges together."""
        row = self._connection.execute(
            "SELECT coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cost), 0.0), "
            "coalesce(min(is_stated), 1) FROM spending"
        ).fetchone()
        return Usage(int(row[0]), int(row[1]), float(row[2]), bool(row[3]))
