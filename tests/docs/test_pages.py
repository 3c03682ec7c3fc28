"""The documentation says what the code says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from forge.config import Settings, SourceType
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


def _nested(info: FieldInfo) -> type[BaseModel] | None:
    kinds = [info.annotation, *getattr(info.annotation, "__args__", ())]
    found = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return found[0] if found else None


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if isinstance(value, (BaseModel, tuple, dict)) and len(str(value)) > 60:
        return "see forge/config.py"
    return "none" if value is None else f"`{value}`"


def _settings_tables(model: type[BaseModel] = Settings, path: str = "") -> Iterator[str]:
    rows, below = [], []
    for name, info in model.model_fields.items():
        nested = _nested(info)
        if nested is not None:
            one_each = "" if info.annotation is nested else ".<name>"
            below.append((nested, f"{path}.{name}{one_each}".lstrip(".")))
        elif name != "profile":
            rows.append(f"| `{name}` | {_default(info)} | {(info.description or '').replace('|', '/')} |")
    if rows:
        yield "\n".join([f"### {path or 'top level'}", "", "| key | default | meaning |", "|---|---|---|", *rows])
    for nested, deeper in below:
        yield from _settings_tables(nested, deeper)


def test_the_configuration_page_lists_every_setting_with_its_default() -> None:
    page = DOCS / "configuration.md"
    text = page.read_text()
    start = text.index("tests/docs/test_pages.py -->\n") + len("tests/docs/test_pages.py -->\n")
    stop = text.index("<!-- end -->")
    wanted = "\n" + "\n\n".join(_settings_tables()) + "\n\n"
    if os.environ.get("UPDATE_DOCS"):
        page.write_text(text[:start] + wanted + text[stop:])
        return
    assert text[start:stop] == wanted, "run: UPDATE_DOCS=1 pytest tests/docs/test_pages.py"


def test_the_configuration_page_names_every_source_type() -> None:
    table = (DOCS / "configuration.md").read_text().split("## Source types", 1)[1].split("## Every setting")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, flags=re.MULTILINE)) == set(get_args(SourceType))
