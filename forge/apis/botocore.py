"""AWS operations from botocore's service models, whatever protocol they speak.

botocore ships one folder a service, one sub-folder a dated API version, and in it ``service-2.json`` (operations and
shapes, documented in HTML fragments; ``service-2.sdk-extras.json`` adds members), ``examples-1.json``,
``paginators-1.json`` and ``waiters-2.json``, each perhaps gzipped. An item is one service at its latest version, or
one dated version of it. Nothing of botocore is imported: the models are data.
"""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from forge.apis.botocore_shapes import ShapeExpander
from forge.apis.descriptions import plain_text
from forge.apis.json_documents import MAX_JSON_BYTES, JsonDocumentError, json_object
from forge.apis.property_order import with_order
from forge.artifacts import artifact_path
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, ApiError, ApiExample, Decision, Item, canonical_json, content_hash
from forge.text.licenses import license_of_distribution
from forge.text.markup import cut, first_sentence

STEP = "parse_apis"
READER_VERSION = "2"
"""Part of every content hash: raise it when this module makes something else of the same model."""

_MODEL, _EXTRAS = "service-2.json", "service-2.sdk-extras.json"
_EXAMPLES, _PAGINATORS, _WAITERS = "examples-1.json", "paginators-1.json", "waiters-2.json"
_READ = (_MODEL, _EXTRAS, _EXAMPLES, _PAGINATORS, _WAITERS)
_MAX_OPERATIONS = 20_000
_MAX_CHARACTERS = 100_000_000
"""Of all schemas of one item. A small model can state huge ones: every operation takes the same shape of a thousand
members. The largest real item has 3 million."""
_MAX_ERROR_DESCRIPTION = 600
_MAX_EXAMPLE_CHARACTERS = 20_000
_NOT_UNDERSTOOD = (LookupError, TypeError, AttributeError, ValueError)


class BotocoreOptions(BaseModel):
    """Options of a source of type ``botocore``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    services: tuple[str, ...] = Field(("*",), description="patterns of service folder names that are read")
    denied: tuple[str, ...] = Field((), description="patterns of service folder names that are left out")
    folder: str | None = Field(
        None, description="another folder of service models; below the artifact where one is named"
    )
    versions: Literal["latest", "all"] = Field(
        "latest", description="latest: an item is a service; all: every dated version of it, as service@date"
    )


# --- listing ------------------------------------------------------------------------------------------------------


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a service (its latest version by folder name) or a dated version, by name. Raises FileNotFoundError
    when there are no models.

    The content hash is of the unpacked files that are read, and of nothing else: botocore packs every model anew in
    every release, and its own version number says nothing about a service.
    """
    options = source_options(BotocoreOptions, name, source)
    root, package = _data_folder(source, options, settings)
    stated = source.license or (license_of_distribution(distribution("botocore")) if package else "")
    for service in sorted(root.iterdir()):
        if not service.is_dir() or not any(fnmatchcase(service.name, pattern) for pattern in options.services):
            continue
        if any(fnmatchcase(service.name, pattern) for pattern in options.denied):
            continue
        dated = [folder for folder in sorted(service.iterdir()) if _stored(folder, _MODEL) is not None]
        for folder in dated if options.versions == "all" else dated[-1:]:
            hashes = [_hash_of(path) if (path := _stored(folder, file)) is not None else "" for file in _READ]
            yield Item(
                source=name,
                item_id=service.name if options.versions == "latest" else f"{service.name}@{folder.name}",
                content_hash=content_hash(READER_VERSION, folder.name, stated, *hashes),
                locator={
                    "folder": str(folder),
                    "service": service.name,
                    "uri": f"{package or 'file:'}#{service.name}/{folder.name}",
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


def _stored(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _hash_of(path: Path) -> str:
    status = path.stat()
    return _hash_of_file(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=20_000)  # a run lists twice: once for the fingerprint, once to read
def _hash_of_file(path: Path, size: int, modified_ns: int) -> str:  # noqa: ARG001 - part of the cache's key
    try:
        return content_hash(_content(path))
    except (OSError, EOFError, zlib.error) as error:  # what reading it will say, too
        return f"unreadable-{type(error).__name__}-{size}"


def _content(path: Path) -> bytes:
    """The unpacked bytes, at most one more than are read."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        return stream.read(MAX_JSON_BYTES + 1)


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class About:
    """What all operations of one item share. ``uri`` is the folder of the version."""

    source: str
    item_id: str
    service: str
    uri: str
    license: str


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:  # noqa: ARG001
    """Every operation of one service, by name; a :class:`Decision` for what is not understood."""
    folder = Path(item.locator["folder"])
    about = About(item.source, item.item_id, item.locator["service"], item.locator["uri"], item.locator["license"])
    contents: dict[str, bytes] = {}
    for name in _READ:
        path = _stored(folder, name)
        try:
            if path is not None:
                contents[name] = _content(path)
        except (OSError, EOFError, zlib.error) as error:
            reason = "truncated_container" if isinstance(error, EOFError) else "unreadable_file"
            yield _problem(about, name, reason, type(error).__name__)  # its message may hold an absolute path
    if _MODEL in contents:
        yield from entities(contents, about)


def entities(contents: Mapping[str, bytes], about: About) -> Iterator[ApiEntity | Decision]:
    """The operations of one version from the unpacked files of its folder, by file name (``service-2.json`` must be
    there). A file that adds to the model and is not understood is one decision, and the operations go on without it.
    """
    files: dict[str, dict[str, Any]] = {}
    for name, content in contents.items():
        try:
            files[name], repeated = json_object(content)
        except JsonDocumentError as error:
            yield _problem(about, name, error.reason, str(error))
            continue
        if repeated:
            told = ", ".join(repr(key[:100]) for key in repeated[:5])
            yield _problem(about, name, "duplicate_keys", f"keys that stand twice, the last one counts: {told}")
    if _MODEL not in files:
        return
    try:
        model = _merged(files[_MODEL], files.get(_EXTRAS, {}).get("merge", {}))
        operations, shapes, metadata = model["operations"], model["shapes"], model["metadata"]
        if not all(isinstance(part, dict) for part in (operations, shapes, metadata)):
            raise TypeError("operations, shapes and metadata are objects")
        if len(operations) > _MAX_OPERATIONS:
            raise ValueError(f"{len(operations):,} operations, at most {_MAX_OPERATIONS:,} are read")
    except _NOT_UNDERSTOOD as error:
        yield _problem(about, _MODEL, "malformed_spec", f"{type(error).__name__}: {error}")
        return
    examples, problems = _of_operations(files, _EXAMPLES, _examples, about)
    paginated, more = _of_operations(files, _PAGINATORS, _pagination, about)
    polled, most = _of_operations(files, _WAITERS, _waiters, about)
    yield from (*problems, *more, *most)
    expander = ShapeExpander(shapes)
    version = _text(metadata.get("apiVersion"))
    if not operations:
        yield _problem(about, _MODEL, "no_operations", "the model describes no operation")
    for name in sorted(operations):
        if expander.written > _MAX_CHARACTERS:
            yield _problem(about, _MODEL, "too_large", f"more than {_MAX_CHARACTERS:,} characters before {name}")
            return
        notes = [note for note in (paginated.get(name), polled.get(name)) if note]
        try:
            entity = _entity(name, operations[name], expander, about, version, metadata, notes)
        except _NOT_UNDERSTOOD as error:
            detail = f"{name[:200]}: {type(error).__name__}: {error}"
            yield _problem(about, _MODEL, "malformed_operation", detail, name[:200])
            continue
        yield replace(entity, examples=examples[name]) if name in examples else entity


_Stated = TypeVar("_Stated")


def _of_operations(
    files: Mapping[str, dict[str, Any]],
    name: str,
    read: Callable[[Mapping[str, Any]], dict[str, _Stated]],
    about: About,
) -> tuple[dict[str, _Stated], list[Decision]]:
    """What a file says of each operation; nothing and a decision when it is not understood."""
    if name not in files:
        return {}, []
    try:
        return read(files[name]), []
    except _NOT_UNDERSTOOD as error:
        return {}, [_problem(about, name, "malformed_spec", f"{type(error).__name__}: {error}")]


def _problem(about: About, file: str, reason: str, detail: str, part: str = "") -> Decision:
    place = part or ("" if file == _MODEL else file)
    item_id = f"{about.item_id}#{plain_text(place)}" if place else about.item_id
    return Decision(about.source, item_id, STEP, reason, plain_text(f"{about.uri}/{file}: {detail}"))


def _merged(model: dict[str, Any], extras: Any, levels: int = 8) -> dict[str, Any]:
    """The model with what ``*.sdk-extras.json`` adds to it, the way botocore's loader does it."""
    if not isinstance(extras, dict) or not extras or levels == 0:
        return model
    merged = dict(model)
    for key, value in extras.items():
        stated = merged.get(key)
        merged[key] = (
            _merged(stated, value, levels - 1) if isinstance(stated, dict) and isinstance(value, dict) else value
        )
    return merged


def _examples(file: Mapping[str, Any]) -> dict[str, tuple[ApiExample, ...]]:
    """Worked examples by operation."""
    text = ShapeExpander({}).text
    found: dict[str, tuple[ApiExample, ...]] = {}
    for operation, entries in file.get("examples", {}).items():
        shown = [
            ApiExample(
                description=text(entry.get("description")) or text(entry.get("title")),
                input=plain_text(canonical_json(entry.get("input") or {})),
                output=plain_text(canonical_json(entry["output"])) if entry.get("output") else "",
            )
            for entry in entries
        ]
        found[operation] = tuple(
            example for example in shown if len(example.input) + len(example.output) <= _MAX_EXAMPLE_CHARACTERS
        )
    return found


def _pagination(file: Mapping[str, Any]) -> dict[str, str]:
    """How an operation is asked for the next page, as one paragraph."""
    found: dict[str, str] = {}
    for operation, entry in file.get("pagination", {}).items():
        given, taken, results = (_quoted(entry.get(key)) for key in ("output_token", "input_token", "result_key"))
        parts = (
            [f"Paginated: {given} of a response is {taken} of the next request"] if given and taken else ["Paginated"]
        )
        if more := _quoted(entry.get("more_results")):
            parts[0] += f" while {more} is true"
        if results:
            parts.append(f"results are in {results}")
        if limit := _quoted(entry.get("limit_key")):
            parts.append(f"{limit} limits a page")
        found[operation] = "; ".join(parts) + "."
    return found


def _quoted(stated: object) -> str:
    """The names of members, in backticks."""
    names = stated if isinstance(stated, list) else [stated]
    return " and ".join(f"`{plain_text(name)}`" for name in names if isinstance(name, str) and 0 < len(name) <= 200)


def _waiters(file: Mapping[str, Any]) -> dict[str, str]:
    """The waiters that ask an operation again and again, as one paragraph."""
    told: dict[str, list[str]] = {}
    for name, entry in sorted(file.get("waiters", {}).items()):
        delay, attempts = entry["delay"], entry["maxAttempts"]
        if not isinstance(delay, int) or not isinstance(attempts, int):
            raise TypeError(f"waiter {name[:100]!r}: delay and maxAttempts are numbers")
        times = f"every {delay} seconds, at most {attempts} times"
        told.setdefault(entry["operation"], []).append(f"`{plain_text(cut(name, 200))}` ({times})")
    return {operation: f"Polled by waiters: {', '.join(waiters)}." for operation, waiters in told.items()}


def _entity(
    name: str,
    operation: Mapping[str, Any],
    expander: ShapeExpander,
    about: About,
    version: str,
    metadata: Mapping[str, Any],
    notes: Iterable[str],
) -> ApiEntity:
    if not name.strip() or len(name) > 200:
        raise ValueError(f"a name of {len(name):,} characters")
    documentation = expander.text(operation.get("documentation"))
    paragraphs = [documentation, *notes]
    if operation.get("deprecated"):
        reason = expander.text(operation.get("deprecatedMessage"))
        paragraphs.insert(0, f"Deprecated: {reason}" if reason else "Deprecated.")
    inputs, outputs, errors = operation.get("input"), operation.get("output"), operation.get("errors") or ()
    parameters = expander.expand(inputs["shape"]) if inputs else {}
    parameters = {"type": "object", "properties": {}, **parameters}
    parameters.pop("description", None)
    return ApiEntity(
        provider="aws",
        service=about.service,
        name=plain_text(name),
        version=version,
        entity_type="operation",
        summary=first_sentence(documentation),
        description="\n\n".join(paragraph for paragraph in paragraphs if paragraph),
        parameters=with_order(parameters),
        returns=expander.expand(outputs["shape"]) if outputs else {},
        license=about.license,
        source=about.source,
        item_id=about.item_id,
        source_uri=plain_text(f"{about.uri}/{_MODEL}/{name}"),
        errors=tuple(
            ApiError(plain_text(error["shape"]), cut(expander.documentation(error["shape"]), _MAX_ERROR_DESCRIPTION))
            for error in errors
        ),
        auth=_auth(operation, metadata),
        declaration=_declaration(operation.get("http")),
    )


def _declaration(http: object) -> str:
    """Method and path: "POST /2015-03-31/functions"."""
    if not isinstance(http, dict):
        return ""
    words = [http.get("method"), http.get("requestUri")]
    return plain_text(cut(" ".join(word for word in words if isinstance(word, str)), 500)).strip()


def _auth(operation: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """ "none", or the schemes that sign a request, as the model names them: "sigv4"."""
    schemes = operation.get("auth") or metadata.get("auth") or [metadata.get("signatureVersion", "")]
    names = [_text(scheme).rsplit("#", 1)[-1] for scheme in schemes]
    if operation.get("authtype") == "none" or names == ["noAuth"]:
        return "none"
    return " or ".join(name for name in names[:10] if name)


def _text(stated: object) -> str:
    return plain_text(cut(stated, 100)) if isinstance(stated, str) else ""
