"""Every table of the lake and every object that flows between steps, typed once.

A *row* of a table is a plain ``dict`` whose keys are the names of the table's Arrow schema (:data:`TABLES`). Domain
objects that have behaviour of their own are frozen dataclasses here; ``row()`` turns one into its table row.

Columns that hold structures which differ from row to row (JSON Schemas, tool arguments, recorded examples) are
canonical JSON text: :func:`canonical_json`, keys sorted, no spaces, so that equal values are equal bytes.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
import pyarrow as pa

Kind = Literal["api_doc", "trajectory", "web", "code", "text"]
Domain = Literal["agent", "code", "text"]
Split = Literal["train", "held_out"]
Outcome = Literal["success", "failure", "unknown"]
DocumentOutcome = Literal["success", "recovered", "unknown", "failure"]
Role = Literal["system", "user", "assistant", "tool"]
ItemState = Literal["present", "removed"]

KINDS: tuple[Kind, ...] = ("api_doc", "trajectory", "web", "code", "text")
DOMAINS: tuple[Domain, ...] = ("agent", "code", "text")
DOMAIN_OF_KIND: Mapping[str, Domain] = {
    "api_doc": "agent",
    "trajectory": "agent",
    "web": "agent",  # only retrieved pages stay; `mix` drops the others
    "code": "code",
    "text": "text",
}
CHAT_FORM = "chat_messages"
"""Form of a document whose text is ``canonical_json({"tools": [...], "messages": [...]})``: stage III only."""


def canonical_json(value: object) -> str:
    """JSON text with sorted keys and no spaces: equal values are equal bytes. Non-string keys become strings."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()


def is_deeper_than(value: Any, levels: int) -> bool:
    """Whether objects and lists nest deeper than ``levels``: canonical JSON of such a value could not be written."""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not layer:
            return False
    return True


def content_hash(*parts: str | bytes) -> str:
    """128-bit BLAKE2b of the parts as 32 hex digits. Parts are length-prefixed: ("a", "b") differs from ("ab",)."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def normalised_text(text: str) -> str:
    """Unicode NFKC, lower case, runs of white space as one space: the text that exact deduplication compares."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.lower().split())


def split_of(group: str, held_out_share: float = 0.01) -> Split:
    """The split of a group (entity, task, component): a hash of its name, so it never depends on the other rows."""
    point = int(content_hash("split", group)[:12], 16) / float(1 << 48)
    return "held_out" if point < held_out_share else "train"


def signature_key(name: str, parameter_names: Iterable[str]) -> str:
    """Operation name and sorted parameter names, case and separators folded (D10): ``CreateUser`` and ``create-user``
    agree, as do ``UserName`` and ``user_name``. The same function re-rendered as prose, CLI or code keeps its key.
    """

    def fold(word: str) -> str:
        return "".join(character for character in word.lower() if character.isalnum())

    return fold(name) + "(" + ",".join(sorted({fold(parameter) for parameter in parameter_names} - {""})) + ")"


def without_place_names(name: str) -> str:
    """``GET /pets/{petId}`` as ``GET /pets/{}``; other names as they are."""
    return _PATH_PLACE.sub("{}", name) if "{" in name else name


@dataclass(frozen=True, slots=True)
class ApiExample:
    """One worked example: what it shows, the input and what came back, as JSON text or plain text."""

    description: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class ApiError:
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class ApiEntity:
    """One callable API at one version.

    ``parameters`` is a JSON Schema object ``{"type": "object", "properties": {...}, "required": [...]}``; ``returns``
    is a JSON Schema, or ``{}`` when the source states none. ``entity_type`` is operation, function, class, method,
    attribute, type, macro, tool or command. ``license`` is an SPDX expression, or "" when none is stated.
    ``declaration`` is the interface as the source itself writes it (``public static List<E> of(E e1)``), "" where there
    is no such text. ``mirror`` names the repetition that this text was read from ("ghes-3.9"), "" for the API itself.
    """

    provider: str
    service: str
    name: str
    version: str
    entity_type: str
    summary: str
    description: str
    parameters: Mapping[str, Any]
    returns: Mapping[str, Any]
    license: str
    source: str
    item_id: str
    source_uri: str
    errors: Sequence[ApiError] = ()
    examples: Sequence[ApiExample] = ()
    auth: str = ""
    declaration: str = ""
    mirror: str = ""

    @property
    def entity_key(self) -> str:
        """provider/service/name, without the version: versions and mirrors of one API share it (D2). What a path
        template calls its places does not matter: ``GET /pets/{id}`` and ``GET /pets/{petId}`` are one operation."""
        return f"{self.provider}/{self.service}/{without_place_names(self.name)}"

    @property
    def signature_key(self) -> str:
        """Of the bare name: what stands in parentheses only tells overloads apart."""
        return signature_key(self.name.partition("(")[0], self.parameters.get("properties", {}))

    def row(self, partition_key: str) -> dict[str, Any]:
        return {
            "entity_key": self.entity_key,
            "signature_key": self.signature_key,
            "provider": self.provider,
            "service": self.service,
            "name": self.name,
            "version": self.version,
            "entity_type": self.entity_type,
            "summary": self.summary,
            "description": self.description,
            "parameters": canonical_json(self.parameters),
            "returns": canonical_json(self.returns),
            "errors": [{"name": error.name, "description": error.description} for error in self.errors],
            "examples": [
                {"description": example.description, "input": example.input, "output": example.output}
                for example in self.examples
            ],
            "auth": self.auth,
            "declaration": self.declaration,
            "mirror": self.mirror,
            "license": self.license,
            "source": self.source,
            "item_id": self.item_id,
            "source_uri": self.source_uri,
            "partition_key": partition_key,
        }


_PATH_PLACE = re.compile(r"\{[^{}/]*\}")


def entity_from_row(row: Mapping[str, Any]) -> ApiEntity:
    """The inverse of :meth:`ApiEntity.row`."""
    return ApiEntity(
        provider=row["provider"],
        service=row["service"],
        name=row["name"],
        version=row["version"],
        entity_type=row["entity_type"],
        summary=row["summary"],
        description=row["description"],
        parameters=orjson.loads(row["parameters"]),
        returns=orjson.loads(row["returns"]),
        license=row["license"],
        source=row["source"],
        item_id=row["item_id"],
        source_uri=row["source_uri"],
        errors=tuple(ApiError(error["name"], error["description"]) for error in row["errors"]),
        examples=tuple(ApiExample(item["description"], item["input"], item["output"]) for item in row["examples"]),
        auth=row["auth"],
        declaration=row["declaration"],
        mirror=row["mirror"],
    )


@dataclass(frozen=True, slots=True)
class Usage:
    """One call of an API in real code. ``path`` is the shortest public dotted name of what is called, ``names`` are all
    public names that it is known by, ``path`` first: one of them is its entity's. ``snippet`` is Python source that
    stands alone, ``calls`` every resolved path in it, sorted. A lower ``score`` is a clearer snippet."""

    path: str
    names: Sequence[str]
    snippet: str
    calls: Sequence[str]
    score: float
    license: str
    source: str
    item_id: str
    source_uri: str

    def row(self, partition_key: str) -> dict[str, Any]:
        return {
            "path": self.path,
            "names": list(self.names),
            "snippet": self.snippet,
            "calls": list(self.calls),
            "score": self.score,
            "license": self.license,
            "source": self.source,
            "item_id": self.item_id,
            "source_uri": self.source_uri,
            "partition_key": partition_key,
        }


def usage_from_row(row: Mapping[str, Any]) -> Usage:
    """The inverse of :meth:`Usage.row`."""
    return Usage(
        path=row["path"],
        names=tuple(row["names"]),
        snippet=row["snippet"],
        calls=tuple(row["calls"]),
        score=row["score"],
        license=row["license"],
        source=row["source"],
        item_id=row["item_id"],
        source_uri=row["source_uri"],
    )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool. ``call_id`` is None where the source gives none; ``arguments`` is never a string."""

    name: str
    arguments: Mapping[str, Any]
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of an episode.

    ``role`` is system, user, assistant or tool. ``content`` is what was said; for role tool it is the observation, and
    ``answers`` names the ``call_id`` that it answers. ``error`` is the environment's error message, if it gave one.
    ``loss`` is whether the source trains on what the assistant does here. What a source does not state is None, never
    invented.
    """

    role: Role
    content: str | None = None
    thought: str | None = None
    calls: Sequence[ToolCall] = ()
    answers: str | None = None
    error: str | None = None
    loss: bool | None = None


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode of an agent in an environment. ``tools`` are JSON Schema function descriptions (name, description,
    parameters). ``generator`` says what produced the actions: "ground_truth", "simulator_gold", "simulator_bot",
    "human", a model; it, ``environment`` and ``license`` are empty where nobody states them. ``episode`` names the
    record inside the item: its own id, else its number."""

    task: str
    tools: Sequence[Mapping[str, Any]]
    steps: Sequence[Step]
    outcome: Outcome
    reward: float | None
    environment: str
    license: str
    generator: str
    source: str
    item_id: str
    episode: str = ""

    @property
    def trajectory_id(self) -> str:
        """Hash of what happened (task, tools, steps), not of where it was found or of what trains."""
        steps = [
            [step.role, step.content, step.thought, step.answers, step.error]
            + [[call.name, call.arguments, call.call_id] for call in step.calls]
            for step in self.steps
        ]
        return content_hash(canonical_json([self.task, list(self.tools), steps]))

    def row(self, partition_key: str) -> dict[str, Any]:
        return {
            "trajectory_id": self.trajectory_id,
            "task": self.task,
            "tools": [canonical_json(tool) for tool in self.tools],
            "steps": [_step_row(step) for step in self.steps],
            "outcome": self.outcome,
            "reward": self.reward,
            "environment": self.environment,
            "license": self.license,
            "generator": self.generator,
            "source": self.source,
            "item_id": self.item_id,
            "episode": self.episode,
            "partition_key": partition_key,
        }


def _step_row(step: Step) -> dict[str, Any]:
    return {
        "role": step.role,
        "content": step.content,
        "thought": step.thought,
        "calls": [
            {"name": call.name, "arguments": canonical_json(call.arguments), "call_id": call.call_id}
            for call in step.calls
        ],
        "answers": step.answers,
        "error": step.error,
        "loss": step.loss,
    }


def trajectory_from_row(row: Mapping[str, Any]) -> Trajectory:
    """The inverse of :meth:`Trajectory.row`."""
    return Trajectory(
        task=row["task"],
        tools=tuple(orjson.loads(tool) for tool in row["tools"]),
        steps=tuple(
            Step(
                role=step["role"],
                content=step["content"],
                thought=step["thought"],
                calls=tuple(
                    ToolCall(call["name"], orjson.loads(call["arguments"]), call["call_id"]) for call in step["calls"]
                ),
                answers=step["answers"],
                error=step["error"],
                loss=step["loss"],
            )
            for step in row["steps"]
        ),
        outcome=row["outcome"],
        reward=row["reward"],
        environment=row["environment"],
        license=row["license"],
        generator=row["generator"],
        source=row["source"],
        item_id=row["item_id"],
        episode=row["episode"],
    )


@dataclass(frozen=True, slots=True)
class WebPage:
    """The readable text of one fetched page."""

    uri: str
    title: str
    text: str
    license: str
    language: str
    source: str
    item_id: str
    content_sha256: str

    def row(self, partition_key: str) -> dict[str, Any]:
        return {
            "uri": self.uri,
            "title": self.title,
            "text": self.text,
            "license": self.license,
            "language": self.language,
            "source": self.source,
            "item_id": self.item_id,
            "content_sha256": self.content_sha256,
            "partition_key": partition_key,
        }


@dataclass(frozen=True, slots=True)
class Text:
    """A code file (kind "code") or a piece of general text (kind "text")."""

    kind: Kind
    uri: str
    title: str
    text: str
    license: str
    language: str
    source: str
    item_id: str

    def row(self, partition_key: str) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "uri": self.uri,
            "title": self.title,
            "text": self.text,
            "license": self.license,
            "language": self.language,
            "source": self.source,
            "item_id": self.item_id,
            "partition_key": partition_key,
        }


@dataclass(frozen=True, slots=True)
class Document:
    """One training text. ``entity_key`` is None for what does not describe one API. ``split`` is decided by the group
    that the text belongs to (entity, task, page), before any model sees it. ``outcome`` is that of the episode that a
    trajectory's text tells, None for other kinds. ``identity`` is what makes two texts the same where their words are
    not the measure: episodes that differ in ids and times only."""

    kind: Kind
    form: str
    text: str
    split: Split
    entity_key: str | None = None
    outcome: DocumentOutcome | None = None
    identity: str | None = None

    @property
    def doc_id(self) -> str:
        """128-bit hash of the exact text: indentation is meaning in Python."""
        return content_hash(self.text)

    @property
    def text_key(self) -> str:
        """Equal for exact duplicates (`deduplicate`): of one form, the same ``identity``, or else the same words."""
        return content_hash(normalised_text(self.text) if self.identity is None else f"{self.form} {self.identity}")

    def row(self, partition_key: str) -> dict[str, Any]:
        return {
            "doc_id": self.doc_id,
            "text_key": self.text_key,
            "kind": self.kind,
            "form": self.form,
            "entity_key": self.entity_key,
            "split": self.split,
            "outcome": self.outcome,
            "text": self.text,
            "characters": len(self.text),
            "partition_key": partition_key,
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """Why an item (``doc_id`` None) or a document was dropped. ``reason`` is a snake_case word that reports count by;
    ``detail`` is for people and is cut to 500 characters."""

    source: str
    item_id: str
    step: str
    reason: str
    detail: str = ""
    doc_id: str | None = None
    score: float | None = None

    def row(self, partition_key: str) -> dict[str, Any]:
        return {
            "source": self.source,
            "item_id": self.item_id,
            "doc_id": self.doc_id,
            "step": self.step,
            "reason": self.reason,
            "score": self.score,
            "detail": self.detail[:500],
            "partition_key": partition_key,
        }


@dataclass(frozen=True, slots=True)
class Item:
    """One unit that a source offers: a service model, a package, an episode file, a page.

    ``content_hash`` changes when, and only when, what a reader would make of the item may change. ``locator`` is what
    the source's reader needs to open it; it stays inside one run and is not stored.
    """

    source: str
    item_id: str
    content_hash: str
    locator: Mapping[str, str] = field(default_factory=dict)


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


_TEXT, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()
_CALL = pa.struct([("name", _TEXT), ("arguments", _TEXT), ("call_id", _TEXT)])
_STEP = pa.struct(
    [
        ("role", _TEXT),
        ("content", _TEXT),
        ("thought", _TEXT),
        ("calls", pa.list_(_CALL)),
        ("answers", _TEXT),
        ("error", _TEXT),
        ("loss", pa.bool_()),
    ]
)
_USAGE: Mapping[str, pa.DataType] = {
    "path": _TEXT,
    "names": pa.list_(_TEXT),
    "snippet": _TEXT,
    "calls": pa.list_(_TEXT),
    "score": _FLOAT,
    "license": _TEXT,
    "source": _TEXT,
    "item_id": _TEXT,
    "source_uri": _TEXT,
}

TABLES: Mapping[str, pa.Schema] = {
    "fetches": _schema(
        source=_TEXT,
        item_id=_TEXT,
        url=_TEXT,
        host=_TEXT,
        round=_INT,
        status=_INT,
        media_type=_TEXT,
        etag=_TEXT,
        last_modified=_TEXT,
        content_sha256=_TEXT,
        body_bytes=_INT,
        warc_uri=_TEXT,
        warc_offset=_INT,
        error=_TEXT,
        fetched_at=_TEXT,
        partition_key=_TEXT,
    ),
    "source_items": _schema(
        source=_TEXT, item_id=_TEXT, content_hash=_TEXT, state=_TEXT, step=_TEXT, partition_key=_TEXT
    ),
    "api_entities": _schema(
        entity_key=_TEXT,
        signature_key=_TEXT,
        provider=_TEXT,
        service=_TEXT,
        name=_TEXT,
        version=_TEXT,
        entity_type=_TEXT,
        summary=_TEXT,
        description=_TEXT,
        parameters=_TEXT,
        returns=_TEXT,
        errors=pa.list_(pa.struct([("name", _TEXT), ("description", _TEXT)])),
        examples=pa.list_(pa.struct([("description", _TEXT), ("input", _TEXT), ("output", _TEXT)])),
        auth=_TEXT,
        declaration=_TEXT,
        mirror=_TEXT,
        license=_TEXT,
        source=_TEXT,
        item_id=_TEXT,
        source_uri=_TEXT,
        partition_key=_TEXT,
    ),
    "entity_versions": _schema(
        entity_key=_TEXT,
        version=_TEXT,
        source=_TEXT,
        item_id=_TEXT,
        source_uri=_TEXT,
        versions=pa.list_(pa.struct([("version", _TEXT), ("mirror", _TEXT), ("source", _TEXT), ("license", _TEXT)])),
        state=_TEXT,
        partition_key=_TEXT,
    ),
    "usages": _schema(**_USAGE, partition_key=_TEXT),
    "api_usages": _schema(
        entity_key=_TEXT,
        entity=_TEXT,
        usages=pa.list_(pa.struct(list(_USAGE.items()))),
        summaries=_TEXT,
        license=_TEXT,
        source=_TEXT,
        item_id=_TEXT,
        source_uri=_TEXT,
        partition_key=_TEXT,
    ),
    "trajectories": _schema(
        trajectory_id=_TEXT,
        task=_TEXT,
        tools=pa.list_(_TEXT),
        steps=pa.list_(_STEP),
        outcome=_TEXT,
        reward=_FLOAT,
        environment=_TEXT,
        license=_TEXT,
        generator=_TEXT,
        source=_TEXT,
        item_id=_TEXT,
        episode=_TEXT,
        partition_key=_TEXT,
    ),
    "call_links": _schema(
        trajectory_id=_TEXT, tool=_TEXT, entity_key=_TEXT, method=_TEXT, calls=_INT, partition_key=_TEXT
    ),
    "web_pages": _schema(
        uri=_TEXT,
        title=_TEXT,
        text=_TEXT,
        license=_TEXT,
        language=_TEXT,
        source=_TEXT,
        item_id=_TEXT,
        content_sha256=_TEXT,
        partition_key=_TEXT,
    ),
    "texts": _schema(
        kind=_TEXT,
        uri=_TEXT,
        title=_TEXT,
        text=_TEXT,
        license=_TEXT,
        language=_TEXT,
        source=_TEXT,
        item_id=_TEXT,
        partition_key=_TEXT,
    ),
    "documents": _schema(
        doc_id=_TEXT,
        text_key=_TEXT,
        kind=_TEXT,
        form=_TEXT,
        entity_key=_TEXT,
        split=_TEXT,
        outcome=_TEXT,
        text=_TEXT,
        characters=_INT,
        partition_key=_TEXT,
    ),
    "document_sources": _schema(
        doc_id=_TEXT, source=_TEXT, item_id=_TEXT, uri=_TEXT, license=_TEXT, partition_key=_TEXT
    ),
    "signals": _schema(
        doc_id=_TEXT,
        tokens=_INT,
        language=_TEXT,
        language_score=_FLOAT,
        quality=pa.list_(pa.struct([("name", _TEXT), ("value", _FLOAT)])),
        quality_failures=pa.list_(_TEXT),
        agent_score=_FLOAT,
        model_hash=_TEXT,
        pii_spans=pa.list_(pa.struct([("start", _INT), ("end", _INT), ("kind", _TEXT)])),
        secrets=_INT,
        partition_key=_TEXT,
    ),
    "duplicates": _schema(
        doc_id=_TEXT, component_id=_TEXT, survivor_id=_TEXT, method=_TEXT, jaccard=_FLOAT, partition_key=_TEXT
    ),
    "neighbours": _schema(seed_id=_TEXT, doc_id=_TEXT, score=_FLOAT, rank=_INT, partition_key=_TEXT),
    "contamination": _schema(
        doc_id=_TEXT, benchmark=_TEXT, item=_TEXT, method=_TEXT, evidence=_TEXT, partition_key=_TEXT
    ),
    "decisions": _schema(
        source=_TEXT,
        item_id=_TEXT,
        doc_id=_TEXT,
        step=_TEXT,
        reason=_TEXT,
        score=_FLOAT,
        detail=_TEXT,
        partition_key=_TEXT,
    ),
    "corpus": _schema(
        doc_id=_TEXT,
        kind=_TEXT,
        form=_TEXT,
        domain=_TEXT,
        stages=pa.list_(_TEXT),
        split=_TEXT,
        outcome=_TEXT,
        entity_key=_TEXT,
        source=_TEXT,
        license=_TEXT,
        text=_TEXT,
        tokens=_INT,
        weight=_FLOAT,
        partition_key=_TEXT,
    ),
    "packed": _schema(
        sequence_id=_INT,
        stage=_TEXT,
        domain=_TEXT,
        input_ids=pa.list_(pa.int32()),
        doc_ids=pa.list_(_TEXT),
        document_offsets=pa.list_(pa.int32()),
        loss_spans=pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32())])),
        partition_key=_TEXT,
    ),
    "audits": _schema(
        gate=_TEXT, value=_FLOAT, limit=_TEXT, passed=pa.bool_(), detail=_TEXT, versions=_TEXT, partition_key=_TEXT
    ),
    "releases": _schema(
        release_id=_TEXT,
        parent=_TEXT,
        created_at=_TEXT,
        partition_key=_TEXT,
        run_id=_TEXT,
        versions=_TEXT,
        files=pa.list_(
            pa.struct([("path", _TEXT), ("sha256", _TEXT), ("size_bytes", _INT), ("rows", _INT), ("tokens", _INT)])
        ),
        recipe=_TEXT,
        configuration_hash=_TEXT,
        code_hash=_TEXT,
        gates=_TEXT,
        report=_TEXT,
    ),
    "models": _schema(
        name=_TEXT,
        model_hash=_TEXT,
        uri=_TEXT,
        size_bytes=_INT,
        metrics=_TEXT,
        inputs=_TEXT,
        created_at=_TEXT,
        partition_key=_TEXT,
    ),
    "removals": _schema(
        request_id=_TEXT, selector=_TEXT, value=_TEXT, reason=_TEXT, requested_at=_TEXT, partition_key=_TEXT
    ),
    "evaluations": _schema(
        run_id=_TEXT,
        release_id=_TEXT,
        checkpoint=_TEXT,
        stage=_TEXT,
        benchmark=_TEXT,
        category=_TEXT,
        metric=_TEXT,
        value=_FLOAT,
        low=_FLOAT,
        high=_FLOAT,
        items=_INT,
        leaves_out=_TEXT,
        prompt_hash=_TEXT,
        detail=_TEXT,
        created_at=_TEXT,
        partition_key=_TEXT,
    ),
}
"""Arrow schema of each table. All columns are nullable in Arrow; docs/tables.md says which never are null."""

SIDE_TABLES = ("decisions", "source_items")
"""Tables to which several steps write, each its own ``step`` slice of a night."""


def table_of(name: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as an Arrow table of table ``name``. Raises KeyError for an unknown table, ArrowInvalid for a bad value."""
    return pa.Table.from_pylist(list(rows), schema=TABLES[name])
