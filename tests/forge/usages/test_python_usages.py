"""Usages from the code of an installed distribution."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from forge.config import Settings, SourceSettings
from forge.schema import Decision, Item, Usage
from forge.usages import python_usages
from forge.usages.python_usages import session_of
from forge.usages.readers import READERS

FILES = {
    "shop/__init__.py": '''"""A shop."""
from shop._core import Basket, price
''',
    "shop/_core.py": '''class Basket:
    """A basket.

    >>> basket = Basket()
    >>> basket.add("tea")
    1
    """
    def add(self, item):
        """Adds.

        >>> price("tea")
        3
        """
        return self._add(item)
def price(item, currency="EUR"):
    """Says the price."""
CURRENCIES = ["EUR", "USD"]
def convert(amount):
    """Converts.

    >>> price("tea", CURRENCIES[1])
    4
    """
''',
    "shop/tests/test_core.py": """import json
from shop import Basket, price
def test_price():
    assert price("tea", currency="EUR") == 3
def test_basket():
    basket = Basket()
    basket.add(json.dumps(["tea"]))
""",
    "shop/broken.py": "def (",
    "shop/_vendor/other.py": "import shop\\nshop.price('vendored')\\n",
    "shop/api_pb2.py": "import shop\\nshop.price('generated')\\n",
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    information = tmp_path / "Shop-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: Shop\nVersion: 1.2\nLicense-Expression: MIT\n")
    record = [f"{path},sha256=x{len(text)},{len(text)}" for path, text in FILES.items()]
    (information / "RECORD").write_text("\n".join([*record, "Shop-1.2.dist-info/RECORD,,", "../bin/shop.py,,3"]) + "\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    python_usages.libraries_of.cache_clear()
    return tmp_path


def _settings() -> Settings:
    return Settings.model_validate({"profile": "demo", "corpus": {"mix": {"allowed_licenses": ["MIT"]}}})


def _source(**options: Any) -> SourceSettings:
    return SourceSettings(type="python_usages", options={"packages": ["shop"], **options})


def _read(source: SourceSettings) -> tuple[list[Item], list[Usage], list[Decision]]:
    settings = _settings()
    items = list(python_usages.list_items("usages", source, settings))
    found = [outcome for item in items for outcome in python_usages.read_item(item, source, settings)]
    usages = [outcome for outcome in found if isinstance(outcome, Usage)]
    return items, usages, [outcome for outcome in found if isinstance(outcome, Decision)]


def test_the_reader_is_registered() -> None:
    assert READERS["python_usages"] == python_usages.__name__


@pytest.mark.usefixtures("installed")
def test_calls_of_tests_and_doctests_become_usages() -> None:
    items, usages, decisions = _read(_source())
    assert [item.item_id for item in items] == ["shop"]
    by_path: dict[str, list[str]] = {}
    for usage in usages:
        by_path.setdefault(usage.path, []).append(usage.snippet)
        assert usage.license == "MIT"
        assert usage.path in usage.names
        assert usage.path in usage.calls
    assert by_path["shop.price"] == [
        'from shop import price\n\nprice("tea")\n# 3',
        'from shop import price\n\nassert price("tea", currency="EUR") == 3',
        'from shop import price\n\nCURRENCIES = ["EUR", "USD"]\nprice("tea", CURRENCIES[1])\n# 4',
    ]
    assert by_path["shop.Basket.add"] == [
        'from shop import Basket\n\nbasket = Basket()\nbasket.add("tea")\n# 1',
        'import json\nfrom shop import Basket\n\nbasket = Basket()\nbasket.add(json.dumps(["tea"]))',
    ]
    assert "json.dumps" in by_path
    (uri,) = {usage.source_uri for usage in usages if "assert" in usage.snippet}
    assert uri == "pkg:pypi/shop@1.2#shop/tests/test_core.py"
    assert [decision.item_id for decision in decisions] == ["shop#shop/broken.py"]
    assert decisions[0].reason == "malformed_source"
    assert "shop/broken.py" in decisions[0].detail


@pytest.mark.usefixtures("installed")
def test_an_example_of_a_docstring_is_no_usage_of_what_it_documents() -> None:
    _, usages, _ = _read(_source())
    assert "from shop import Basket\n\nbasket = Basket()" in [u.snippet for u in usages if u.path == "shop.Basket"]
    shown = [usage for usage in usages if usage.path == "shop.Basket" and "shop/_core.py" in usage.source_uri]
    assert shown == []


@pytest.mark.usefixtures("installed")
def test_a_bound_takes_tests_first_and_the_fewest_usages() -> None:
    size = len(FILES["shop/tests/test_core.py"])
    _, usages, _ = _read(_source(max_bytes=size))
    assert {usage.source_uri.rpartition("#")[2] for usage in usages} == {"shop/tests/test_core.py"}
    _, usages, _ = _read(_source(max_usages=1))
    paths = [usage.path for usage in usages]
    assert len(paths) == len(set(paths))


def test_hashes_follow_files_and_versions(installed: Path) -> None:
    def digest() -> str:
        return next(iter(python_usages.list_items("usages", _source(), _settings()))).content_hash

    before = digest()
    record = installed / "Shop-1.2.dist-info" / "RECORD"
    record.write_text(record.read_text().replace("sha256=x", "sha256=y"))
    assert digest() != before


@pytest.mark.usefixtures("installed")
def test_code_under_another_licence_is_not_read() -> None:
    source = SourceSettings(type="python_usages", license="GPL-3.0-only", options={"packages": ["shop"]})
    assert list(python_usages.list_items("usages", source, _settings())) == []


def test_sessions() -> None:
    typed = ">>> x = [1,\n...      2]\n>>> x\n[1, 2]\n>>> print(x)\na\nb\nc\nd\n"  # four lines are too many to show
    assert session_of(typed) == ("x = [1,\n     2]\nx\nprint(x)", {3: "[1, 2]"})
    failing = ">>> 1 / 0\nTraceback (most recent call last):\nZeroDivisionError: x\n>>> 1\n1\n"
    assert session_of(failing) == ("1", {1: "1"})
    assert session_of(">>>x") is None
    assert session_of("no prompt") is None
