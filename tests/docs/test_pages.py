"""The documentation says what the code says."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from forge.apis import readers as apis
from forge.config import Settings, SourceType
from forge.schema import TABLES
from forge.text import readers as text
from forge.trajectories import readers as trajectories
from forge.usages import readers as usages

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


SETTINGS = ("<!-- generated from forge/config.py: UPDATE_DOCS=1 pytest tests/docs/test_pages.py -->\n", "<!-- end -->")
OPTIONS = (
    "<!-- generated from the option models: UPDATE_DOCS=1 pytest tests/docs/test_pages.py -->\n",
    "<!-- end of options -->",
)


def _check_generated(marks: tuple[str, str], tables: Iterable[str]) -> None:
    page = DOCS / "configuration.md"
    before, rest = page.read_text().split(marks[0], 1)
    found, after = rest.split(marks[1], 1)
    wanted = "\n" + "\n\n".join(tables) + "\n\n"
    if os.environ.get("UPDATE_DOCS"):
        page.write_text(before + marks[0] + wanted + marks[1] + after)
        return
    assert found == wanted, "run: UPDATE_DOCS=1 pytest tests/docs/test_pages.py"


def test_the_configuration_page_lists_every_setting_with_its_default() -> None:
    _check_generated(SETTINGS, _settings_tables())


def _option_models() -> Iterator[tuple[str, type[BaseModel]]]:
    """(source type, model of its options) of every type that has a model."""
    modules = {"website": "forge.crawl.sites"}
    for readers in (apis.READERS, trajectories.READERS, text.READERS, usages.READERS):
        modules |= {kind: module for kind, module in readers.items() if kind != "files"}
    modules["files"] = "forge.files"
    for kind in get_args(SourceType):
        module = importlib.import_module(modules[kind]) if kind in modules else None
        models = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.__name__
            and value.__name__.endswith("Options")
        ] if module else []  # fmt: skip
        assert len(models) < 2, f"{kind}: {models}"
        if models:
            yield kind, models[0]


def _option_tables() -> Iterator[str]:
    for kind, model in _option_models():
        rows = []
        for name, info in model.model_fields.items():
            assert info.description, f"options of type {kind}: {name} has no description"
            rows.append(f"| `{name}` | {_default(info)} | {info.description.replace('|', '/')} |")
        yield "\n".join([f"### options of `{kind}`", "", "| key | default | meaning |", "|---|---|---|", *rows])


def test_the_configuration_page_lists_the_options_of_every_source_type() -> None:
    _check_generated(OPTIONS, _option_tables())


def test_the_configuration_page_names_every_source_type() -> None:
    table = (DOCS / "configuration.md").read_text().split("## Source types", 1)[1].split(OPTIONS[0])[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, flags=re.MULTILINE)) == set(get_args(SourceType))
