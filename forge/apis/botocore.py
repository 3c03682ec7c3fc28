"""AWS operations from botocore's service models.

botocore ships one folder a service, one sub-folder a dated API version, and in it ``service-2.json.gz`` (operations
and shapes, documented in HTML fragments) and ``examples-1.json``. An item is one service at its latest version.
Nothing of botocore is imported: the models are data.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections import deque
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from forge.apis.property_order import with_order
from forge.artifacts import artifact_path
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, ApiError, ApiExample, Decision, Item, canonical_json, content_hash
from forge.text.licenses import license_of_distribution
from forge.text.markup import cut, first_sentence, text_of

STEP = "parse_apis"
READER_VERSION = "1"
"""Part of every content hash: raise it when this module makes something else of the same model."""

_MAX_MODEL_BYTES = 100_000_000  # the largest model (ec2) has 9 MB
_MAX_DEPTH = 4
_MAX_SCHEMA_NODES = 160
_MAX_ENUM = 100
_MAX_NESTED_DESCRIPTION = 300
_MAX_DESCRIPTION = 6000


class BotocoreOptions(BaseModel):
    """Options of a source of type ``botocore``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    services: tuple[str, ...] = Field(("*",), description="patterns of service folder names that are read")
    denied: tuple[str, ...] = Field((), description="patterns of service folder names that are left out")
    folder: str | None = Field(
        None, description="another folder of service models; below the artifact where one is named"
    )


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a service: its latest version by folder name. Raises FileNotFoundError when there are no models."""
    options = source_options(BotocoreOptions, name, source)
    root, package = _data_folder(source, options, settings)
    stated = source.license or (license_of_distribution(distribution("botocore")) if package else "")
    for folder in sorted(root.iterdir()):
        service = folder.name
        if not folder.is_dir() or not any(fnmatchcase(service, pattern) for pattern in options.services):
            continue
        if any(fnmatchcase(service, pattern) for pattern in options.denied):
            continue
        models = sorted(folder.glob("*/service-2.json*"), key=lambda path: (path.parent.name, path.name))
        models = [path for path in models if path.name in {"service-2.json", "service-2.json.gz"}]
        if not models:
            continue
        model = models[-1]
        examples = model.parent / "examples-1.json"
        yield Item(
            source=name,
            item_id=service,
            content_hash=content_hash(
                READER_VERSION,
                model.parent.name,
                stated,
                model.read_bytes(),
                examples.read_bytes() if examples.is_file() else b"",
            ),
            locator={
                "model": str(model),
                "uri": f"{package or 'file:'}#{model.relative_to(root).as_posix()}",
                "license": stated,
            },
        )


def _data_folder(source: SourceSettings, options: BotocoreOptions, settings: Settings) -> tuple[Path, str]:
    """The folder of models, and the package URL that documents are traced to ("" when it is no package)."""
    if source.artifact is not None:
        base = artifact_path(settings, source.artifact)
        if base is None:
            raise FileNotFoundError(f"artifact {source.artifact!r} is not unpacked")
        pinned = settings.artifacts[source.artifact]
        return base / (options.folder or "botocore/data"), f"pkg:pypi/{pinned.package}@{pinned.version}"
    if options.folder is not None:
        return Path(options.folder), ""
    specification = importlib.util.find_spec("botocore")
    if specification is None or not specification.submodule_search_locations:
        raise FileNotFoundError("botocore is not installed")
    try:
        package = f"pkg:pypi/botocore@{distribution('botocore').version}"
    except PackageNotFoundError:
        package = "pkg:pypi/botocore"
    return Path(specification.submodule_search_locations[0]) / "data", package


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:  # noqa: ARG001
    """Every operation of one service, by name; a :class:`Decision` for what is not understood."""
    path = Path(item.locator["model"])
    try:
        model = _load(path)
        operations, shapes = model["operations"], model["shapes"]
        version = str(model["metadata"].get("apiVersion", path.parent.name))
        names = sorted(operations)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield Decision(item.source, item.item_id, STEP, "malformed_spec", f"{type(error).__name__}: {error}")
        return
    examples = _examples(path.parent / "examples-1.json")
    expander = SchemaExpander(shapes)
    for name in names:
        try:
            yield _entity(name, operations[name], expander, examples.get(name, ()), item, version, model["metadata"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            yield Decision(
                item.source, f"{item.item_id}#{name}", STEP, "malformed_operation", f"{type(error).__name__}: {error}"
            )


def _load(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        data = stream.read(_MAX_MODEL_BYTES + 1)
    if len(data) > _MAX_MODEL_BYTES:
        raise ValueError(f"the model has more than {_MAX_MODEL_BYTES} bytes")
    model = orjson.loads(data)
    if not isinstance(model, dict):
        raise TypeError("the model is no JSON object")
    return model


def _examples(path: Path) -> dict[str, tuple[ApiExample, ...]]:
    """Worked examples by operation; none when the file is absent or not understood (examples are an extra)."""
    try:
        stored = orjson.loads(path.read_bytes()).get("examples", {})
        return {
            operation: tuple(
                ApiExample(
                    description=text_of(entry.get("description") or entry.get("title") or ""),
                    input=canonical_json(entry.get("input", {})),
                    output=canonical_json(entry["output"]) if entry.get("output") else "",
                )
                for entry in entries
            )
            for operation, entries in stored.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _entity(
    name: str,
    operation: Mapping[str, Any],
    expander: SchemaExpander,
    examples: tuple[ApiExample, ...],
    item: Item,
    version: str,
    metadata: Mapping[str, Any],
) -> ApiEntity:
    description = text_of(operation.get("documentation") or "")
    if operation.get("deprecated"):
        reason = text_of(operation.get("deprecatedMessage") or "")
        description = f"Deprecated{': ' + reason if reason else '.'}\n\n{description}".rstrip()
    inputs, outputs = operation.get("input"), operation.get("output")
    parameters = expander.expand(inputs["shape"]) if inputs else {}
    parameters = {"type": "object", "properties": {}, **parameters}
    parameters.pop("description", None)
    parameters = with_order(parameters)
    errors = tuple(
        ApiError(error["shape"], cut(expander.documentation(error["shape"]), 600))
        for error in operation.get("errors", ())
    )
    return ApiEntity(
        provider="aws",
        service=item.item_id,
        name=name,
        version=version,
        entity_type="operation",
        summary=first_sentence(text_of(operation.get("documentation") or "")),
        description=description,
        parameters=parameters,
        returns=expander.expand(outputs["shape"]) if outputs else {},
        license=item.locator["license"],
        source=item.source,
        item_id=item.item_id,
        source_uri=f"{item.locator['uri']}/{name}",
        errors=errors,
        examples=examples,
        auth=_auth(operation, metadata),
    )


def _auth(operation: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """ "none", or the schemes that sign a request, as the model names them: "sigv4"."""
    schemes = operation.get("auth") or metadata.get("auth") or [metadata.get("signatureVersion", "")]
    names = [str(scheme).rsplit("#", 1)[-1] for scheme in schemes]
    if operation.get("authtype") == "none" or names == ["noAuth"]:
        return "none"
    return " or ".join(name for name in names if name)


class SchemaExpander:
    """Turns named shapes into self-contained JSON Schemas.

    Breadth first, so that the size bound cuts the deepest levels and never a parameter of the operation itself:
    at most 4 levels and 160 sub-schemas a shape (every member of the first level is always there); a shape inside
    itself is cut. What is cut keeps its type and, as "title", its shape's name. Descriptions below the first level
    are shortened to their first sentence.
    """

    def __init__(self, shapes: Mapping[str, Mapping[str, Any]]) -> None:
        self._shapes = shapes

    def documentation(self, shape_name: str) -> str:
        shape = self._shapes.get(shape_name, {})
        return text_of(shape.get("documentation") or "")

    def expand(self, shape_name: str) -> dict[str, Any]:
        """The JSON Schema of one shape. Raises KeyError for an unknown shape."""
        root: dict[str, Any] = {}
        nodes = 0
        queue: deque[tuple[str, dict[str, Any], tuple[str, ...]]] = deque([(shape_name, root, ())])
        while queue:
            name, schema, inside = queue.popleft()
            shape = self._shapes[name]
            children = self._fill(name, shape, schema, inside, room=nodes < _MAX_SCHEMA_NODES)
            nodes += len(children)
            queue.extend((child, node, (*inside, name)) for child, node in children)
        return root

    def _fill(
        self, name: str, shape: Mapping[str, Any], schema: dict[str, Any], inside: tuple[str, ...], room: bool
    ) -> list[tuple[str, dict[str, Any]]]:
        """Writes one shape into ``schema``; gives the schemas that are still to be filled, with their shapes."""
        kind = shape["type"]
        if kind not in {"structure", "list", "map"}:
            _fill_scalar(shape, schema)
            return []
        open_ended = name in inside or len(inside) >= 2 * _MAX_DEPTH or (not room and bool(inside))
        level = sum(1 for outer in inside if self._shapes[outer]["type"] == "structure")
        open_ended = open_ended or level >= _MAX_DEPTH
        children: list[tuple[str, dict[str, Any]]] = []
        if kind == "list":
            schema["type"] = "array"
            if open_ended:
                schema["title"] = name
            else:
                schema["items"] = {}
                children.append((shape["member"]["shape"], schema["items"]))
            for bound, keyword in (("min", "minItems"), ("max", "maxItems")):
                if bound in shape:
                    schema[keyword] = shape[bound]
            return children
        schema["type"] = "object"
        if open_ended:
            schema["title"] = name
        elif kind == "map":
            schema["additionalProperties"] = {}
            children.append((shape["value"]["shape"], schema["additionalProperties"]))
            keys = self._shapes[shape["key"]["shape"]]
            if keys.get("enum"):
                schema["propertyNames"] = {"enum": list(keys["enum"][:_MAX_ENUM])}
        elif not shape.get("document"):
            properties: dict[str, Any] = {}
            for member, reference in shape.get("members", {}).items():
                node: dict[str, Any] = {}
                text = reference.get("documentation") or self._shapes[reference["shape"]].get("documentation") or ""
                if description := text_of(text):
                    node["description"] = _shortened(description, level)
                if reference.get("deprecated"):
                    node["deprecated"] = True
                properties[member] = node
                children.append((reference["shape"], node))
            schema["properties"] = properties
            if shape.get("required"):
                schema["required"] = list(shape["required"])
            if shape.get("union"):
                schema["minProperties"] = schema["maxProperties"] = 1
        return children


def _shortened(description: str, level: int) -> str:
    return cut(description, _MAX_DESCRIPTION) if level == 0 else first_sentence(description, _MAX_NESTED_DESCRIPTION)


_SCALARS: Mapping[str, Mapping[str, str]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "long": {"type": "integer"},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "boolean": {"type": "boolean"},
    "timestamp": {"type": "string", "format": "date-time"},
    "blob": {"type": "string", "format": "byte"},
}


def _fill_scalar(shape: Mapping[str, Any], schema: dict[str, Any]) -> None:
    kind = shape["type"]
    schema.update(_SCALARS.get(kind, {"type": "string"}))
    if kind == "string":
        if shape.get("enum"):
            schema["enum"] = list(shape["enum"][:_MAX_ENUM])
            return
        pattern = shape.get("pattern", "")
        if 0 < len(pattern) <= 200:
            schema["pattern"] = pattern
    bounds = ("minLength", "maxLength") if kind in {"string", "blob"} else ("minimum", "maximum")
    if kind in {"string", "blob", "integer", "long", "float", "double"}:
        for bound, keyword in zip(("min", "max"), bounds, strict=True):
            if bound in shape:
                schema[keyword] = shape[bound]
