"""What a result depends on, as hashes: the code that is reached by import, and values (settings, inputs)."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

from forge.schema import canonical_json, content_hash

PACKAGES = ("forge", "spark_jobs", "training")
_DATA_SUFFIXES = (".yaml", ".jinja", ".txt")


@lru_cache(maxsize=256)
def code_hash(module: str) -> str:
    """Hash of the source of ``module`` and of every module of ours that it reaches by import, at any depth, imports
    inside functions included. Data files beside a reached module (templates) count too. An edit that cannot change a
    job's result leaves its hash alone, as long as the job does not import the edited module.
    """
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _source_of(name)
        if name in seen or path is None:
            continue
        source = path.read_bytes()
        seen[name] = content_hash(source)
        waiting.extend(_imports_of(source, str(path)))
        for data in sorted(path.parent.iterdir()):
            if data.suffix in _DATA_SUFFIXES:
                seen[f"{name}:{data.name}"] = content_hash(data.read_bytes())
    return content_hash(canonical_json(seen))


def _source_of(name: str) -> Path | None:
    if name.split(".", 1)[0] not in PACKAGES:
        return None
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # `from forge.schema import Item` also asks for forge.schema.Item
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def _imports_of(source: bytes, path: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source, filename=path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def value_hash(value: object) -> str:
    """Hash of settings and other JSON-like values; pydantic models and tuples are taken as their JSON form."""
    return content_hash(canonical_json(_plain(value)))


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
