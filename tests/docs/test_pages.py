"""The documentation says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from forge.config import Settings
from forge.schema import TABLES

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_table_page_names_every_table_and_column_and_no_other() -> None:
    sections = re.split(r"^## ", (DOCS / "tables.md").read_text(), flags=re.MULTILINE)[1:]
    found = {section.splitlines()[0].strip(): section for section in sections}
    assert set(found) == set(TABLES)
    for table, schema in TABLES.items():
        columns_part = "".join(re.split(r"Writers?: [^.]*\.", found[table])[1:])
        named = set(re.findall(r"`([a-z_0-9]+)`", columns_part))
        assert set(schema.names) <= named, f"{table}: missing {sorted(set(schema.names) - named)}"


def _sections() -> list[tuple[str, type[BaseModel]]]:
    found: list[tuple[str, type[BaseModel]]] = [("settings", Settings)]
    waiting = [Settings]
    while waiting:
        for name, info in waiting.pop().model_fields.items():
            kinds = [info.annotation, *getattr(info.annotation, "__args__", ())]
            for kind in kinds:
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    found.append((name, kind))
                    waiting.append(kind)
    return found


@pytest.mark.parametrize(("name", "model"), _sections(), ids=lambda value: value if isinstance(value, str) else "")
def test_the_configuration_page_names_every_setting(name: str, model: type[BaseModel]) -> None:
    page = (DOCS / "configuration.md").read_text()
    missing = [key for key in model.model_fields if f"`{key}`" not in page]
    assert not missing, f"{name}: docs/configuration.md does not name {missing}"
