"""Docstrings of distributions that lie in a folder."""

from __future__ import annotations

import ast
import sysconfig
import tempfile
import warnings
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from forge.apis import docstrings
from forge.config import ConfigurationError, Settings, SourceSettings, load_settings
from forge.schema import ApiEntity, Decision, Item

FILES = {
    "shop/__init__.py": '''"""The shop."""
from ._basket import Basket, _hidden
from .prices import *
from .prices import tax as vat
''',
    "shop/_basket.py": '''
from dataclasses import dataclass

class Basket(dict):
    """A basket.

    Args:
        size (int): how many fit
    """

    def __init__(self, size: int, *, label: str | None = None, _debug=False):
        """Make it."""

    def add(self, item: "Item", count: int = 1) -> bool:
        """Adds an item.

        :param item: what to add
        :raises KeyError: when it is full
        """

    def undocumented(self): ...

    def _private(self):
        """Not shown."""

    @property
    def total(self):
        """What all of it costs."""

    class Line:
        """One line."""

def _hidden():
    """Not shown."""

def unexported():
    """Not shown either."""
''',
    "shop/prices.py": '''
from dataclasses import dataclass
__all__ = ["price", "Offer", "tax"]

def price(item, *factors: float, currency="EUR", **options):
    """Says the price.

    Parameters
    ----------
    item : str
        What is sold.
    rounded : bool
        Whether to round; one of the options.

    Returns
    -------
    float
        The price.

    Examples
    --------
    >>> price("tea")
    1.5
    """

def tax(amount: float) -> float:
    """The tax."""

def helper():
    """Public by its module, not exported."""

@dataclass
class Offer:
    """An offer."""

    name: str
    percent: float = 1.0
    _seen: int = 0
''',
    "shop/broken.py": '"""x"""\ndef broken(:\n    """Doc."""\n',
    "shop/binary.py": '"""x"""\n\0',
    "shop/tests/test_it.py": 'def test_it():\n    """Not read."""\n',
    "shop/_vendor/other.py": 'def other():\n    """Not read."""\n',
    "../evil.py": 'def evil():\n    """Outside."""\n',
}


def _distribution(site: Path, name: str, files: dict[str, str], version: str = "1.0", **metadata: str) -> None:
    info = f"{name}-{version}.dist-info"
    (site / info).mkdir(parents=True)
    extra = "".join(f"{key}: {value}\n" for key, value in metadata.items())
    (site / info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n{extra}"
    )
    for path, code in files.items():
        if ".." not in path:
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(code)
    lines = [f"{path},sha256={hash_of(code)},{len(code)}" for path, code in files.items()]
    (site / info / "RECORD").write_text("\n".join([*lines, f"{info}/RECORD,,", ""]))


def hash_of(code: str) -> str:
    return str(len(code)) + code[-5:].strip().replace(",", ".").replace('"', "")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    _distribution(folder, "shop", FILES)
    _distribution(folder, "No_Thanks", {"no_thanks.py": 'def f():\n    """F."""\n'})
    return folder


def _source(site: Path, **options: object) -> SourceSettings:
    return SourceSettings(type="python_packages", options={"folder": str(site), "denied": ["no.thanks"], **options})


def _read(site: Path, settings: Settings, **options: object) -> tuple[list[Item], dict[str, ApiEntity], list[Decision]]:
    source = _source(site, **options)
    items = list(docstrings.list_items("py", source, settings))
    rows = [row for item in items for row in docstrings.read_item(item, source, settings)]
    entities = [row for row in rows if isinstance(row, ApiEntity)]
    assert len({entity.entity_key for entity in entities}) == len(entities)
    return items, {entity.name: entity for entity in entities}, [row for row in rows if isinstance(row, Decision)]


def test_public_documented_callables_by_their_public_path(site: Path, settings: Settings) -> None:
    items, entities, decisions = _read(site, settings)
    assert [item.item_id for item in items] == ["shop"]
    assert {name: entity.entity_type for name, entity in entities.items()} == {
        "shop.Basket": "class",
        "shop.Basket.Line": "class",
        "shop.Basket.add": "method",
        "shop.Basket.total": "attribute",
        "shop.Offer": "class",
        "shop.price": "function",
        "shop.prices.helper": "function",
        "shop.tax": "function",
    }
    assert sorted((entry.item_id, entry.reason) for entry in decisions) == [
        ("shop#shop.binary", "malformed_source"),
        ("shop#shop.broken", "malformed_source"),
    ]
    assert all(str(site) not in entry.detail for entry in decisions)


def test_what_an_entity_says(site: Path, settings: Settings) -> None:
    entities = _read(site, settings)[1]
    price = entities["shop.price"]
    assert (price.entity_key, price.version, price.license) == ("python/shop/shop.price", "1.0", "MIT")
    assert price.source_uri == "pkg:pypi/shop@1.0#shop/prices.py"
    assert price.summary == price.description == "Says the price."
    assert price.parameters == {
        "type": "object",
        "properties": {
            "item": {"type": "string", "x-type": "str", "description": "What is sold."},
            "*factors": {"x-annotation": "float"},
            "currency": {"default": "EUR"},
            "**options": {},
            "rounded": {
                "type": "boolean",
                "x-type": "bool",
                "x-extra": True,
                "description": "Whether to round; one of the options.",
            },
        },
        "required": ["item"],
        "x-order": ["item", "*factors", "currency", "**options", "rounded"],
    }
    assert price.returns == {"type": "number", "x-type": "float", "description": "The price."}
    assert [(example.input, example.output) for example in price.examples] == [('>>> price("tea")', "1.5")]
    basket = entities["shop.Basket"].parameters
    assert basket["required"] == ["size"]
    assert basket["properties"] == {
        "size": {"type": "integer", "description": "how many fit"},
        "label": {"type": ["string", "null"], "default": None},
    }
    add = entities["shop.Basket.add"]
    assert add.parameters["properties"]["item"] == {"x-annotation": "Item", "description": "what to add"}
    assert add.returns == {"type": "boolean"}
    assert [error.name for error in add.errors] == ["KeyError"]
    offer = entities["shop.Offer"].parameters
    assert (list(offer["properties"]), offer["required"]) == (["name", "percent"], ["name"])
    assert entities["shop.Basket.Line"].parameters["additionalProperties"] is True


def test_the_hash_follows_the_record(site: Path, settings: Settings) -> None:
    before = _read(site, settings)[0][0]
    assert _read(site, settings)[0][0].content_hash == before.content_hash
    record = site / "shop-1.0.dist-info" / "RECORD"
    record.write_text(record.read_text().replace("sha256=", "sha256=0", 1))
    assert _read(site, settings)[0][0].content_hash != before.content_hash


def test_a_large_distribution_is_divided(site: Path, settings: Settings) -> None:
    code = 'def {0}():\n    """Function {0}."""\n'
    paths = [
        "big/__init__.py",
        "big/top.py",
        "big/nn/__init__.py",
        "big/nn/layers.py",
        "big/fx/graph.py",
        "aside/one.py",
    ]
    paths += [f"big/models/{name}/model.py" for name in ("ant", "bee", "bat")]
    files = {path: code.format("f" + str(number)) for number, path in enumerate(paths)}
    files["big/models/bee/model.py"] *= 9
    _distribution(site, "big", files)
    whole = _read(site, settings, packages=["big"])
    divided = _read(site, settings, packages=["big"], split_bytes=80)
    assert [item.item_id for item in whole[0]] == ["big"]
    assert [item.item_id for item in divided[0]] == [
        "big", "big/aside", "big/fx", "big/models/a*", "big/models/b*", "big/nn",
    ]  # fmt: skip
    assert sorted(whole[1]) == sorted(divided[1])
    assert len(divided[1]) == len(paths)
    assert len({item.content_hash for item in divided[0]}) == 1


def test_deep_nesting_is_one_decision(site: Path, settings: Settings) -> None:
    _distribution(
        site, "deep", {"deep.py": '"""x"""\nx = ' + "(" * 5000 + ")" * 5000, "fine.py": 'def f():\n    """F."""\n'}
    )
    _, entities, decisions = _read(site, settings, packages=["deep"])
    assert [entry.item_id for entry in decisions] == ["deep#deep"]
    assert list(entities) == ["fine.f"]


def test_chosen_modules_and_versions_in_paths(site: Path, settings: Settings) -> None:
    code = 'class Client:\n    def get(self):\n        """Gets {0}."""\n'
    _distribution(
        site,
        "sdk",
        {
            "sdk/vm/v20170312/vm_client.py": code.format("old"),
            "sdk/vm/v20200101/vm_client.py": code.format("new"),
            "sdk/vm/v20200101/models.py": code.format("a model"),
            "sdk/test_lab_client.py": code.format("a laboratory for tests"),
        },
    )
    source = _source(site, packages=["sdk"], modules=["sdk.*_client"], version_part=r"v\d{8}")
    (item,) = docstrings.list_items("py", source, settings)
    found = [row for row in docstrings.read_item(item, source, settings) if isinstance(row, ApiEntity)]
    assert [(entity.name, entity.version, entity.summary) for entity in found] == [
        ("sdk.test_lab_client.Client.get", "1.0", "Gets a laboratory for tests."),
        ("sdk.vm.vm_client.Client.get", "v20170312", "Gets old."),
        ("sdk.vm.vm_client.Client.get", "v20200101", "Gets new."),
    ]
    assert len({entity.entity_key for entity in found}) == 2


def test_a_version_part_that_is_no_pattern_is_refused(site: Path, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="version_part"):
        list(docstrings.list_items("py", _source(site, version_part="("), settings))


def test_a_file_too_large_to_parse_is_one_decision(site: Path, settings: Settings) -> None:
    files = {
        "huge/data.py": "x = [" + "1," * 600_000 + "]\n'''d'''\n",
        "huge/text.py": 'def f():\n    """F.\n' + "words " * 300_000 + '"""\n',
        "huge/more.py": "#" * 4_000_001,
    }
    _distribution(site, "huge", files)
    _, entities, decisions = _read(site, settings, packages=["huge"])
    assert list(entities) == ["huge.text.f"]
    assert [(entry.item_id, entry.reason) for entry in decisions] == [
        ("huge#huge.data", "malformed_source"),
        ("huge#huge.more", "malformed_source"),
    ]
    assert "huge/data.py: ValueError: the file has more than 1,000,000 tokens of code" in decisions[0].detail


@settings_of_hypothesis(max_examples=40)
@given(st.binary(max_size=60), st.integers(0, len(FILES["shop/prices.py"])))
def test_bytes_of_any_kind_are_read_or_rejected(piece: bytes, place: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site, settings = Path(folder), load_settings("demo", environment={})
        _distribution(site, "shop", {"shop/prices.py": ""})
        code = FILES["shop/prices.py"].encode()
        (site / "shop" / "prices.py").write_bytes(code[:place] + piece + code[place:])
        source = _source(site)
        (item,) = docstrings.list_items("py", source, settings)
        rows = list(docstrings.read_item(item, source, settings))
        assert rows
        for row in rows:
            assert isinstance(row, Decision) or orjson.dumps(row.row("2026-01-01"))


NOT_READ = {
    "tests", "test", "conftest", "_vendor", "vendor", "vendored", "_vendored", "third_party", "extern", "externals",
}  # fmt: skip


def _documented(root: Path, folder: str) -> dict[tuple[str, str], bool]:
    """(file, path inside it) of every documented function, class and method, by ``ast`` alone, and whether it is
    public: no part of its file's path and of its own path begins with an underscore. Definitions inside of functions
    do not count. Test and vendored folders are left out."""
    found: dict[tuple[str, str], bool] = {}
    for path in sorted((root / folder).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if any(part in NOT_READ or part.startswith("test_") or part.endswith(("_test", "_tests")) for part in parts):
            continue
        is_public = not any(part.startswith("_") and part != "__init__" for part in parts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes
            tree = ast.parse(path.read_bytes())
        queue: list[tuple[ast.AST, str, bool]] = [(tree, "", is_public)]
        while queue:
            node, prefix, shown = queue.pop()
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    inner = shown and not child.name.startswith("_")
                    if (ast.get_docstring(child) or "").strip():
                        key = (str(path.relative_to(root)), prefix + child.name)
                        found[key] = found.get(key, False) or inner
                    if isinstance(child, ast.ClassDef):
                        queue.append((child, f"{prefix}{child.name}.", inner))
                elif isinstance(child, ast.stmt | ast.excepthandler):
                    queue.append((child, prefix, shown))
    return found


@pytest.mark.parametrize("name", ["requests", "networkx", pytest.param("sqlalchemy", marks=pytest.mark.slow)])
def test_all_that_ast_counts_is_found_and_no_callable_is_invented(settings: Settings, name: str) -> None:
    source = SourceSettings(type="python_packages", options={"packages": [name]})
    items = list(docstrings.list_items("py", source, settings))
    rows = [row for item in items for row in docstrings.read_item(item, source, settings)]
    entities = [row for row in rows if isinstance(row, ApiEntity)]
    counted = _documented(Path(sysconfig.get_path("purelib")), name)
    tails = set()  # the path inside the module is the end of the public path
    for entity in entities:
        parts = entity.name.split(".")
        file = entity.source_uri.partition("#")[2]
        tails.update((file, ".".join(parts[start:])) for start in range(1, len(parts)))
    public = [key for key, is_public in counted.items() if is_public]
    missing = [key for key in public if key not in tails]
    assert len(public) > 100
    assert len(missing) <= 0.01 * len(public), missing[:20]
    invented = [
        entity.name
        for entity in entities
        if entity.entity_type in {"function", "method"}
        and not any(
            (entity.source_uri.partition("#")[2], ".".join(entity.name.split(".")[-length:])) in counted
            for length in range(1, 5)
        )
    ]
    assert invented == []


@pytest.mark.parametrize("name", ["requests", "packaging"])
def test_installed_distributions(settings: Settings, name: str) -> None:
    source = SourceSettings(type="python_packages", options={"packages": [name]})
    rows: list[Any] = [
        row
        for item in docstrings.list_items("py", source, settings)
        for row in docstrings.read_item(item, source, settings)
    ]
    assert len(rows) > 50
    assert all(isinstance(row, ApiEntity) and row.license for row in rows)
