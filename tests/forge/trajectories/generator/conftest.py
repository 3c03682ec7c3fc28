"""A real endpoint on loopback. Its model is a set of rules: it reads the tools and the messages of each request and
answers from them, or fails as the test asks."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from forge.schema import ApiEntity, content_hash

Answer = Callable[["_Handler"], None]
_ORDER = ("post", "get", "put", "patch", "delete")


def reply(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: _Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def completion(message: Mapping[str, Any], finish_reason: str = "stop", usage: object = None) -> bytes:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}]}
    return json.dumps({**body, "usage": usage or {"prompt_tokens": 100, "completion_tokens": 20}}).encode()


def calling(*calls: tuple[str, str]) -> bytes:
    """A completion with calls (name, arguments as the text they come in)."""
    listed = [
        {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls)
    ]
    return completion({"content": None, "tool_calls": listed}, "tool_calls")


def error(status: int, **headers: str) -> Answer:
    """A refusal that repeats the caller's key."""
    return reply(b'{"error": {"message": "not now, secret-key"}}', status, **headers)


def endless(handler: _Handler) -> None:
    """A body without a stated length that does not end before the caller hangs up."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 65536)
    except OSError:
        handler.close_connection = True


def hanging(handler: _Handler) -> None:
    """No answer until the test lets go."""
    handler.endpoint.is_hanging.set()
    handler.endpoint.let_go.wait(60)
    handler.close_connection = True


@dataclass
class Endpoint:
    """``faults`` answer the first requests, one each; then the rules do. ``answered`` counts what the rules answered,
    by the request's body; ``mistakes``: the first call of each tool has an argument of the wrong type."""

    port: int = 0
    faults: list[Answer] = field(default_factory=list)
    mistakes: bool = False
    hang_at: int | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    is_hanging: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer_to(self, body: dict[str, Any]) -> Answer:
        with self.lock:
            self.requests.append(body)
            if self.faults:
                return self.faults.pop(0)
            if len(self.requests) == self.hang_at:
                return hanging
            self.answered[content_hash(json.dumps(body, sort_keys=True))] += 1
        return reply(thought_of(body, self.mistakes))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    @property
    def endpoint(self) -> Endpoint:
        return self.server.endpoint  # type: ignore[attr-defined,no-any-return]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.endpoint.headers.append(dict(self.headers))
        if self.path != "/v1/chat/completions":
            reply(b"{}", 404)(self)
            return
        self.endpoint.answer_to(body)(self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


# --- the rules --------------------------------------------------------------------------------------------------------


def thought_of(body: Mapping[str, Any], mistakes: bool = False) -> bytes:
    """What the rules answer to a request."""
    if "tools" not in body:
        return _plan(str(body["messages"][0]["content"]))
    return _act(body, mistakes)


def _plan(prompt: str) -> bytes:
    tools = json.loads(next(line for line in prompt.splitlines() if line.startswith('[{"name"')))
    known = re.search(r"^[\w ]+: (\{.*\})$", prompt, re.MULTILINE)
    names = [tool["name"] for tool in _in_order(tools)]
    values = json.loads(known.group(1)) if known else {}
    task = f"Please go through all of it with {json.dumps(values)}."
    return completion({"content": f"```json\n{json.dumps({'task': task, 'plan': names})}\n```"})


def _in_order(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Created first, deleted last."""

    def place(tool: dict[str, Any]) -> tuple[int, str]:
        verb = tool["name"].split("_")[0]
        return (_ORDER.index(verb) if verb in _ORDER else 1, tool["name"])

    return sorted(tools, key=place)


def _act(body: Mapping[str, Any], mistakes: bool) -> bytes:
    messages = body["messages"]
    results = [json.loads(message["content"]) for message in messages if message["role"] == "tool"]
    failed = [result["error"] for result in results if isinstance(result, dict) and "error" in result]
    done = len(results) - len(failed)
    tools = _in_order([tool["function"] for tool in body["tools"]])
    if done == len(tools) or len(failed) > len(tools):
        return completion({"content": f"Done: {done} of {len(tools)}.", "reasoning_content": "nothing is left"})
    known = json.loads(re.search(r"\{.*\}", messages[1]["content"]).group())  # type: ignore[union-attr]
    for result in results:
        if isinstance(result, dict) and "error" not in result:
            known = {**known, **{name: value for name, value in result.items() if isinstance(value, (str, int))}}
    tool = tools[done]
    arguments = {
        name: _value(name, schema, known)
        for name, schema in tool["parameters"]["properties"].items()
        if name in tool["parameters"].get("required", ())
    }
    is_first = results == [] or not (isinstance(results[-1], dict) and "error" in results[-1])
    if mistakes and is_first and arguments:
        arguments[sorted(arguments)[0]] = {"oops": True}
    return calling((tool["name"], json.dumps(arguments)))


def _value(name: str, schema: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
    value = known.get(name, known.get("id") if name.lower().endswith("id") else None)
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "string")
    if value is not None:
        return str(value) if kind == "string" else value
    return {"integer": 7, "number": 1.5, "boolean": True, "array": [], "object": {}}.get(kind, "rex")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    found = Endpoint()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.endpoint = found  # type: ignore[attr-defined]
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    found.let_go.set()
    server.shutdown()
    server.server_close()
    thread.join(10)


# --- operations -------------------------------------------------------------------------------------------------------

PET = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": "string"},
        "status": {"type": "string", "enum": ["available", "sold"]},
        "createdAt": {"type": "string", "format": "date-time"},
    },
    "required": ["id", "name"],
}
PET_ID = {"type": "integer", "description": "Whose."}


def operation(name: str, parameters: Mapping[str, Any], returns: Mapping[str, Any], **columns: Any) -> ApiEntity:
    """An HTTP operation of a pet shop; ``columns`` replace what it has otherwise."""
    known: dict[str, Any] = {
        "provider": "pets.example",
        "service": "api",
        "version": "1",
        "entity_type": "operation",
        "summary": f"{name} of the shop.",
        "description": "",
        "license": "MIT",
        "source": "specs",
        "item_id": "pets.json",
        "source_uri": f"pets.json#{name}",
    }
    return ApiEntity(name=name, parameters=parameters, returns=returns, **{**known, **columns})


def schema(required: tuple[str, ...] = (), **properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


STATUS = {"type": "string", "enum": ["available", "sold"], "x-in": "query"}
SHOP = (
    operation("POST /pets", schema(("name",), name={"type": "string", "x-in": "body"}, status=STATUS), PET),
    operation("GET /pets/{petId}", schema(("petId",), petId=PET_ID), PET),
    operation(
        "GET /pets",
        schema(status=STATUS, limit={"type": "integer", "minimum": 1, "x-in": "query"}),
        {"type": "object", "properties": {"pets": {"type": "array", "items": PET}, "total": {"type": "integer"},
                                          "nextPageToken": {"type": "string"}}},
    ),
    operation("PATCH /pets/{petId}", schema(("petId",), petId=PET_ID, name={"type": "string", "x-in": "body"}), PET),
    operation("DELETE /pets/{petId}", schema(("petId",), petId=PET_ID), {}),
)  # fmt: skip
