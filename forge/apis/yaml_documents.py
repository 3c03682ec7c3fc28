"""YAML from outside: only plain data, within bounds on size, nesting and aliases."""

from __future__ import annotations

from typing import Any

import yaml

_MAX_BYTES = 16 * 1024 * 1024
_MAX_DEPTH = 100
_MAX_ALIASES = 1000
_MAX_NODES = 2_000_000


def load_yaml(data: bytes) -> Any:
    """One YAML document as plain Python data; dates stay text. Raises ValueError for what is no YAML, for tags that
    name Python objects, and for documents over 16 MiB, 100 levels, 1000 aliases, or 2,000,000 nodes when every alias
    is written out (an alias bomb is refused before it is built)."""
    if len(data) > _MAX_BYTES:
        raise ValueError(f"a YAML document of more than {_MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8")
        _check(text)
        return yaml.load(text, Loader=_PlainLoader)  # noqa: S506  (a subclass of the safe loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())[:300]}") from None


class _PlainLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader without dates: orjson and JSON Schema know none."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _PlainLoader.yaml_implicit_resolvers.items()
}


def _check(text: str) -> None:
    """Reads the events once: nesting, number of aliases, and the size that the document has with every alias
    written out, from the sizes of the anchored nodes."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor and expanded size so far of each open collection
    aliases = total = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        grown = 0
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            grown = sizes.get(str(event.anchor), _MAX_NODES + 1)  # an alias of an open node would be a circle
        elif isinstance(event, yaml.ScalarEvent):
            grown = 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            open_nodes.append((event.anchor, 1))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            anchor, grown = open_nodes.pop()
            if anchor:
                sizes[anchor] = grown
        if grown and open_nodes:
            anchor, size = open_nodes[-1]
            open_nodes[-1] = (anchor, size + grown)
            total = size + grown
        if len(open_nodes) > _MAX_DEPTH or aliases > _MAX_ALIASES or max(total, grown) > _MAX_NODES:
            raise ValueError("a YAML document that is nested, or repeated by aliases, beyond all measure")
