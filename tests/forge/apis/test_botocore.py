"""Service models of botocore's format."""

from __future__ import annotations

import gzip
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from forge.apis import botocore
from forge.apis.botocore import About
from forge.apis.render import render
from forge.config import ConfigurationError, Settings, SourceSettings, load_settings
from forge.ledger import Delta, ledger_delta, ledger_rows
from forge.schema import ApiEntity, Decision, Item

GOLDEN = Path(__file__).parent / "golden" / "botocore"
ABOUT = About("aws", "library", "library", "pkg:pypi/botocore@1.0#library/2020-02-02", "Apache-2.0")
MODEL: dict[str, Any] = orjson.loads((GOLDEN / "library" / "2020-02-02" / "service-2.json").read_bytes())


def _read(model: Any = MODEL, **more: Any) -> tuple[dict[str, ApiEntity], list[Decision]]:
    """``more``: contents of further files, by the first word of their names."""
    files = {"service-2.json": model}
    for name in ("examples-1.json", "paginators-1.json", "waiters-2.json", "service-2.sdk-extras.json"):
        word = "extras" if "extras" in name else name.partition("-")[0]
        if word in more:
            files[name] = more[word]
    contents = {name: value if isinstance(value, bytes) else orjson.dumps(value) for name, value in files.items()}
    rows = list(botocore.entities(contents, ABOUT))
    return {row.name: row for row in rows if isinstance(row, ApiEntity)}, [r for r in rows if isinstance(r, Decision)]


def _changed(**operations: Any) -> dict[str, Any]:
    return {**MODEL, "operations": {**MODEL["operations"], **operations}}


# --- reading ------------------------------------------------------------------------------------------------------


def test_golden() -> None:
    folder = GOLDEN / "library" / "2020-02-02"
    contents = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    expected = yaml.safe_load((GOLDEN / "library.expected.yaml").read_text())
    found = []
    for row in botocore.entities(contents, ABOUT):
        assert isinstance(row, ApiEntity)
        fields = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(row).items()}
        stated = {key: value for key, value in fields.items() if value and key not in {"source", "item_id"}}
        found.append({"entity_key": row.entity_key, **stated})
    assert found == expected


def test_several_tokens_and_the_end_of_pages() -> None:
    pagination = {
        "ListBooks": {
            "more_results": "IsTruncated",
            "output_token": ["NextShelf", "NextBook || Books[-1].Title"],
            "input_token": ["Shelf", "Book"],
            "result_key": ["Books", "Shelves"],
        },
        "GetStatus": {"result_key": "Open"},
    }
    found, decisions = _read(paginators={"pagination": pagination})
    assert decisions == []
    assert found["ListBooks"].description.split("\n\n")[-1] == (
        "Paginated: `NextShelf` and `NextBook || Books[-1].Title` of a response is `Shelf` and `Book` of the next "
        "request while `IsTruncated` is true; results are in `Books` and `Shelves`."
    )
    assert found["GetStatus"].description.endswith("\n\nPaginated; results are in `Open`.")
    assert found["ListBooks"].summary == "Lists the books of a `Shelf`."


def test_one_bad_operation_is_one_decision_and_the_others_go_on() -> None:
    model = _changed(
        A={"input": {"shape": "Missing"}}, B=3, C={"errors": 3}, D={"input": {"shape": "Book"}, "documentation": 3},
        E={"output": {"shape": "E"}}, F={"input": ["x"]},
    )  # fmt: skip
    model["shapes"] = {**MODEL["shapes"], "E": {"type": "structure", "members": {"x" * 600: {"shape": "Name"}}}}
    found, decisions = _read(model)
    assert list(found) == ["D", "GetStatus", "ListBooks"]
    assert [decision.item_id for decision in decisions] == [f"library#{name}" for name in "ABCEF"]
    assert {decision.reason for decision in decisions} == {"malformed_operation"}
    assert decisions[0].detail == f"{ABOUT.uri}/service-2.json: A: KeyError: 'Missing'"


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (b"", "malformed_spec"),
        (b'{"operations": 3}', "malformed_spec"),
        (b"[]", "malformed_spec"),
        ({**MODEL, "shapes": []}, "malformed_spec"),
        ({**MODEL, "metadata": None}, "malformed_spec"),
        ({**MODEL, "operations": {}}, "no_operations"),
        ({**MODEL, "operations": {str(number): {} for number in range(20_001)}}, "malformed_spec"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "malformed_spec"),
        (orjson.dumps(MODEL).replace(b"5", b"NaN").replace(b"64", b"NaN"), "malformed_spec"),
        (b" " * (16 * 1024 * 1024) + b"{}", "oversized"),
        (_changed(A={"documentation": "<i>" * 300_000}), "too_large"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_decision(model: Any, reason: str) -> None:
    found, decisions = _read(model)
    assert found == {}
    assert [(decision.item_id, decision.reason) for decision in decisions] == [("library", reason)]
    assert decisions[0].detail.startswith(f"{ABOUT.uri}/service-2.json: ")


@pytest.mark.parametrize("name", ["examples", "paginators", "waiters", "extras"])
@pytest.mark.parametrize("content", [b"{", b"[]", {"examples": 3, "pagination": {"a": 3}, "waiters": {"x": {}}}])
def test_a_bad_extra_file_is_one_decision_and_the_operations_stay(name: str, content: Any) -> None:
    found, decisions = _read(**{name: content})
    assert list(found) == ["GetStatus", "ListBooks"]
    if name == "extras" and isinstance(content, dict):
        assert decisions == []  # it adds nothing
        return
    (decision,) = decisions
    assert decision.reason == "malformed_spec"
    assert decision.item_id.startswith("library#")
    assert name in decision.item_id


def test_byte_order_marks_and_duplicate_keys() -> None:
    content = orjson.dumps(MODEL)
    for marked in (b"\xef\xbb\xbf" + content, content.decode().encode("utf-16")):
        assert _read(marked) == _read(content)
    found, decisions = _read(content.replace(b'"min":1,', b'"min":0,"min":1,'))
    assert found == _read(content)[0]
    assert [decision.reason for decision in decisions] == ["duplicate_keys"]
    assert "'min'" in decisions[0].detail


def test_control_characters_stay_outside() -> None:
    dirty = "a\x00b\x1bc\u2028d\x85e"
    operation = {
        "documentation": dirty,
        "http": {"method": dirty, "requestUri": dirty},
        "input": {"shape": "Dirty"},
        "auth": [dirty],
        "errors": [{"shape": dirty}],
    }
    model = _changed(**{dirty: operation})
    member = {"shape": "Values", "documentation": dirty}
    model["shapes"] = {
        **MODEL["shapes"],
        dirty: {"type": "structure"},
        "Dirty": {"type": "structure", "members": {dirty: member}, "required": [dirty]},
        "Values": {"type": "string", "enum": [dirty], "pattern": dirty},
    }
    more = {"examples": {dirty: [{"description": dirty, "input": {"a": dirty}}]}}
    found, decisions = _read(model, examples=more)
    assert decisions == []
    (entity,) = (entity for name, entity in found.items() if name.startswith("a"))
    written = str(asdict(entity))
    assert not [code for code in ("\\x00", "\\x1b", "\\u2028", "\\x85") if code in written]
    assert entity.parameters["required"] == list(entity.parameters["properties"])


def test_huge_schemas_are_bounded() -> None:
    """A model of 0.5 MB whose operations would state 2 GB: all take the same thousand members."""
    members = {f"m{number}": {"shape": "S", "documentation": "x" * 300} for number in range(1000)}
    shapes = {"Wide": {"type": "structure", "members": members}, "S": {"type": "string"}}
    operations = {f"O{number}": {"input": {"shape": "Wide"}} for number in range(5000)}
    began = time.process_time()
    found, decisions = _read({"operations": operations, "shapes": shapes, "metadata": {}})
    assert [decision.reason for decision in decisions] == ["too_large"]
    assert 200 < len(found) < 400
    assert time.process_time() - began < 10


KEYS = [
    "type", "members", "shape", "documentation", "required", "enum", "min", "max", "key", "value", "member", "input",
    "output", "errors", "http", "deprecated", "auth", "union", "document", "pattern", "delay", "operation",
    "result_key",
]  # fmt: skip
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.sampled_from(["Fuzzed", "Name", "structure", "list", "map", "ListBooks"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, JSON, JSON, JSON)
def test_any_json_gives_rows_and_never_an_exception(operation: Any, shape: Any, member: Any, extra: Any) -> None:
    model = _changed(A=operation, B={"input": {"shape": "Fuzzed"}}, C={"output": {"shape": "Holder"}})
    holder = {"type": "structure", "members": {"x": member, "y": {"shape": "Fuzzed"}}}
    model["shapes"] = {**MODEL["shapes"], "Fuzzed": shape, "Holder": holder}
    more = {
        "examples": {"ListBooks": extra},
        "pagination": {"ListBooks": extra},
        "waiters": {"W": extra},
        "merge": extra,
    }
    found, decisions = _read(model, examples=more, paginators=more, waiters=more, extras={})
    assert "ListBooks" in found
    assert len(found) + len([decision for decision in decisions if decision.reason == "malformed_operation"]) == 5
    for entity in found.values():
        entity.row("night")
    for entity in _read(extras=more)[0].values():
        entity.row("night")


@given(st.data())
def test_mutated_models_never_raise(data: st.DataObject) -> None:
    content = bytearray(orjson.dumps(MODEL))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = min(len(content), start + data.draw(st.integers(0, 40)))
        content[start:stop] = data.draw(st.binary(max_size=6) | st.sampled_from([b"{", b"]", b"null", b"1e999"]))
    for entity in _read(bytes(content))[0].values():
        entity.row("night")


# --- listing ------------------------------------------------------------------------------------------------------


def _write(root: Path, services: Mapping[str, Any], level: int = 9, modified: int = 0) -> Path:
    """A folder of models: "thing/2020-02-02" -> model. ``level`` and ``modified`` change how they are packed."""
    for name, model in services.items():
        folder = root / name
        folder.mkdir(parents=True)
        packed = gzip.compress(orjson.dumps(model), compresslevel=level, mtime=modified)
        (folder / "service-2.json.gz").write_bytes(packed)
    return root


def _source(models: Path, **options: object) -> SourceSettings:
    return SourceSettings(type="botocore", license="Apache-2.0", options={"folder": str(models), **options})


def _items(models: Path, settings: Settings, **options: object) -> dict[str, Item]:
    return {item.item_id: item for item in botocore.list_items("aws", _source(models, **options), settings)}


def _entities(models: Path, settings: Settings, **options: object) -> list[ApiEntity]:
    rows = [
        row
        for item in _items(models, settings, **options).values()
        for row in botocore.read_item(item, _source(models, **options), settings)
    ]
    assert all(isinstance(row, ApiEntity) for row in rows)
    return [row for row in rows if isinstance(row, ApiEntity)]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = _write(tmp_path / "data", {"thing/2019-01-01": MODEL, "thing/2020-02-02": MODEL, "other/2020-01-01": MODEL})
    (root / "empty" / "2020-01-01").mkdir(parents=True)
    (root / "_retry.json").write_bytes(b"{}")
    return root


def test_items_are_services_at_their_latest_version(models: Path, settings: Settings) -> None:
    items = _items(models, settings)
    assert list(items) == ["other", "thing"]
    assert "2020-02-02" in items["thing"].locator["folder"]
    assert list(_items(models, settings, services=["t*"])) == ["thing"]
    assert list(_items(models, settings, denied=["t*", "o*"])) == []


def test_all_versions_are_items_that_share_their_keys(models: Path, settings: Settings) -> None:
    items = _items(models, settings, versions="all")
    assert list(items) == ["other@2020-01-01", "thing@2019-01-01", "thing@2020-02-02"]
    assert len({item.content_hash for item in items.values()}) == 3
    found = _entities(models, settings, versions="all", services=["thing"])
    assert Counter(entity.entity_key for entity in found) == {"aws/thing/GetStatus": 2, "aws/thing/ListBooks": 2}
    assert {entity.item_id for entity in found} == {"thing@2019-01-01", "thing@2020-02-02"}


def test_wrong_options_are_refused(models: Path, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="service"):
        _items(models, settings, service=["s3"])
    with pytest.raises(ConfigurationError, match="versions"):
        _items(models, settings, versions="newest")


def test_every_file_that_is_read_and_no_other_changes_an_item(models: Path, settings: Settings) -> None:
    before = _items(models, settings)
    folder = models / "thing" / "2020-02-02"
    (folder / "endpoint-rule-set-1.json.gz").write_bytes(b"x")
    assert _items(models, settings) == before
    seen = {before["thing"].content_hash}
    for name in ("examples-1.json", "paginators-1.json", "waiters-2.json", "service-2.sdk-extras.json"):
        (folder / name).write_bytes(b"{}")
        after = _items(models, settings)
        assert after["thing"].content_hash not in seen
        assert after["other"] == before["other"]
        seen.add(after["thing"].content_hash)


@pytest.mark.parametrize(
    "damage", [lambda packed: packed[:-40], lambda packed: packed[:20] + b"\x00" * 40, lambda _: b""]
)
def test_a_damaged_model_is_one_decision(models: Path, settings: Settings, damage: Any) -> None:
    path = models / "thing" / "2020-02-02" / "service-2.json.gz"
    path.write_bytes(damage(path.read_bytes()))
    item = _items(models, settings)["thing"]
    rows = list(botocore.read_item(item, _source(models), settings))
    assert [(type(row), row.item_id) for row in rows] == [(Decision, "thing")]
    assert str(models) not in str(rows[0]).replace(f"file:#{models}", "")


# --- from one release of botocore to the next ---------------------------------------------------------------------


def _delta(before: Path, after: Path, settings: Settings) -> Delta:
    nothing = ledger_rows(Delta((), (), 0), "parse_apis", "2026-01-01")
    first = ledger_delta(nothing, _items(before, settings).values())
    return ledger_delta(ledger_rows(first, "parse_apis", "2026-01-01"), _items(after, settings).values())


@pytest.fixture
def releases(tmp_path: Path) -> tuple[Path, Path]:
    """Two releases, packed at different times: "thing" says something else of ListBooks, "new" comes, "old" goes."""
    described = {**MODEL["operations"]["ListBooks"], "documentation": "<p>Lists all books.</p>"}
    same = {"same/2020-01-01": MODEL, "also/2020-01-01": MODEL}
    before = _write(tmp_path / "before", {**same, "thing/2020-02-02": MODEL, "old/2020-01-01": MODEL})
    changed = {**same, "thing/2020-02-02": _changed(ListBooks=described), "new/2021-01-01": MODEL}
    return before, _write(tmp_path / "after", changed, level=1, modified=1_800_000_000)


def test_only_changed_services_are_read_again(releases: tuple[Path, Path], settings: Settings) -> None:
    delta = _delta(*releases, settings)
    assert [item.item_id for item in delta.changed] == ["new", "thing"]
    assert delta.removed == (("aws", "old"),)
    assert delta.unchanged == 2


def test_only_changed_operations_give_new_documents(releases: tuple[Path, Path], settings: Settings) -> None:
    """The service is read again as a whole; what its other operations say is the same text with the same id."""
    before, after = (
        {entity.entity_key: {document.doc_id for document in render(entity)} for entity in _entities(folder, settings)}
        for folder in releases
    )
    assert after["aws/thing/GetStatus"] == before["aws/thing/GetStatus"] != set()
    assert not after["aws/thing/ListBooks"] & before["aws/thing/ListBooks"]


# --- the installed models -----------------------------------------------------------------------------------------


def _raw_operations(folder: str) -> dict[str, Any]:
    return dict(orjson.loads(gzip.decompress((Path(folder) / "service-2.json.gz").read_bytes()))["operations"])


PROTOCOLS = {
    "rest-json": "lambda", "json": "dynamodb", "query": "sts", "rest-xml": "s3", "ec2": "ec2",
    "smithy-rpc-v2-cbor": "arc-region-switch",
}  # fmt: skip


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_every_operation_of_every_protocol(protocol: str) -> None:
    settings = load_settings("demo", environment={})
    source = SourceSettings(type="botocore", license="Apache-2.0", options={"services": [PROTOCOLS[protocol]]})
    (item,) = botocore.list_items("aws", source, settings)
    raw = _raw_operations(item.locator["folder"])
    model = orjson.loads(gzip.decompress((Path(item.locator["folder"]) / "service-2.json.gz").read_bytes()))
    assert protocol in {model["metadata"]["protocol"], *model["metadata"].get("protocols", ())}
    rows = list(botocore.read_item(item, source, settings))
    found = {row.name: row for row in rows if isinstance(row, ApiEntity)}
    assert sorted(found) == sorted(raw)
    assert len(rows) == len(raw)
    for name, operation in raw.items():
        shape = model["shapes"][operation["input"]["shape"]] if "input" in operation else {}
        parameters = found[name].parameters
        members = shape.get("members", {})
        assert [name for name in parameters["properties"] if name in members] == list(members)
        assert set(parameters["properties"]) - set(members) <= {"SourceRegion"}  # of service-2.sdk-extras.json
        assert shape.get("required", []) == parameters.get("required", [])
        assert found[name].declaration == f"{operation['http']['method']} {operation['http']['requestUri']}"


@pytest.mark.slow
def test_every_operation_of_all_versions() -> None:
    settings = load_settings("demo", environment={})
    source = SourceSettings(type="botocore", license="Apache-2.0", options={"versions": "all"})
    began = time.process_time()
    found: Counter[str] = Counter()
    items = list(botocore.list_items("aws", source, settings))
    for item in items:
        for row in botocore.read_item(item, source, settings):
            assert isinstance(row, ApiEntity)
            found[item.item_id] += 1
    assert time.process_time() - began < 30
    assert found == {item.item_id: len(_raw_operations(item.locator["folder"])) for item in items}
