"""One call, written the way that people of its ecosystem write it."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from collections.abc import Callable, Mapping, Sequence
from keyword import iskeyword
from typing import Any
from urllib.parse import quote, urlencode

from forge.apis.calls import (
    Call,
    Ecosystem,
    Variable,
    base_url,
    cli_words,
    ecosystem,
    method_name,
    snake_case,
    value_of,
    variable_name,
)
from forge.apis.property_order import in_order
from forge.apis.templates import templates
from forge.schema import ApiEntity

_WIDTH = 88
_MAX_SELECTED = 6
_MAX_BODY_FIELDS = 2
_MAX_NAME_CHARACTERS = 64  # of a function, in the APIs of most models
_PLACE = re.compile(r"\{([^{}/]*)\}")
_GRAPHQL_SCALARS = frozenset({"string", "integer", "number", "boolean"})


def function_name(entity: ApiEntity) -> str:
    """The name a model calls: "s3.PutObject", "requests.get", "get_pets_pet_id" for ``GET /pets/{petId}``."""
    kind = ecosystem(entity)
    if kind == "aws":
        return f"{entity.service}.{entity.name}"
    if kind == "graphql":
        return entity.name.partition(" ")[2]
    if kind == "grpc":
        return entity.name.replace("/", ".")
    if kind == "http":
        return _path_name(entity.name)
    return snake_case(entity.name) if " " in entity.name or "/" in entity.name else entity.name


def _path_name(name: str) -> str:
    """Method and path in words; of a long path the end."""
    method, _, path = name.partition(" ")
    words = [snake_case(part) for part in path.split("/") if part]
    while len(words) > 1 and sum(map(len, words)) + len(words) + len(method) > _MAX_NAME_CHARACTERS:
        words.pop(0)
    return "_".join([method.lower(), *words])


def json_call(entity: ApiEntity, call: Call) -> str:
    """``{"name": ..., "arguments": {...}}``; "" when a value is not stated."""
    if not call.is_stated:
        return ""
    return json.dumps({"name": function_name(entity), "arguments": call.arguments}, ensure_ascii=False)


def python_call(entity: ApiEntity, call: Call) -> str:
    """The call as Python source: through the usual client of AWS, Google or HTTP, else by the dotted name. What is not
    stated is a variable. "" for what Python does not call this way."""
    writer = {
        "aws": _boto3_call,
        "google": _google_call,
        "http": _requests_call,
        "python": _dotted_call,
    }.get(ecosystem(entity))
    return writer(entity, call) if writer is not None else ""


def _boto3_call(entity: ApiEntity, call: Call) -> str:
    target = f"response = client.{method_name(entity)}"
    return f'import boto3\n\nclient = boto3.client("{entity.service}")\n{_called(target, _keywords(call.arguments))}'


def _google_call(entity: ApiEntity, call: Call) -> str:
    """``service.files().get(fileId=...).execute()``, by googleapiclient's own rules for names."""
    # The first word of an id is the API's name, mostly: "webmasters.sites.get" is a method of "searchconsole".
    *resources, method = entity.name.split(".")[1:] or [entity.name]
    path = "".join(f".{_google_word(part)}()" for part in resources)
    sent = {name: schema for name, schema in in_order(entity.parameters).items() if schema.get("x-in") == "body"}
    body = {name: value for name, value in call.arguments.items() if name in sent}
    if not body and not call.recorded:
        body = {name: value_of(schema, name) for name, schema in list(sent.items())[:_MAX_BODY_FIELDS]}
    arguments = {_google_word(name): value for name, value in call.arguments.items() if name not in sent}
    if body:
        arguments["body"] = body["body"] if set(sent) == {"body"} else body
    head = f'from googleapiclient.discovery import build\n\nservice = build("{entity.service}", "{entity.version}")\n'
    return f"{head}{_called(f'response = service{path}.{_google_word(method)}', _keywords(arguments))}.execute()"


def _google_word(name: str) -> str:
    word = re.sub(r"\W", "_", name)
    return f"{word}_" if iskeyword(word) or word == "body" else word


def _dotted_call(entity: ApiEntity, call: Call) -> str:
    """A method is called on an object named after its class."""
    owner, _, name = entity.name.rpartition(".")
    kind = owner.rpartition(".")[2]
    arguments = _keywords(call.arguments)
    if entity.entity_type == "method":
        instance = variable_name(kind)
        return f"# {instance} is an instance of {owner}\n" + _called(f"result = {instance}.{name}", arguments)
    result = "instance" if entity.entity_type == "class" else "result"
    if kind[:1].isupper():  # a class inside a class
        outer, _, kind = owner.rpartition(".")
        return (f"from {outer} import {kind}\n\n" if outer else "") + _called(f"{result} = {kind}.{name}", arguments)
    return (f"from {owner} import {name}\n\n" if owner else "") + _called(f"{result} = {name}", arguments)


def _keywords(arguments: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}={literal(value, 4 + len(name))}"
        for name, value in arguments.items()
        if name.isidentifier() and not iskeyword(name)
    ]


def _called(target: str, arguments: Sequence[str]) -> str:
    inline = f"{target}({', '.join(arguments)})"
    if len(inline) <= _WIDTH and "\n" not in inline:
        return inline
    return (
        f"{target}(\n"
        + "".join(f"    {argument.replace(chr(10), chr(10) + '    ')},\n" for argument in arguments)
        + ")"
    )


def literal(value: Any, margin: int = 0) -> str:
    """A value as Python source, over several lines when it is wider than the page."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value:
        return repr(value)
    if isinstance(value, dict):
        parts = [f"{json.dumps(str(key), ensure_ascii=False)}: {literal(inner, 4)}" for key, inner in value.items()]
    else:
        parts = [literal(inner, 4) for inner in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    inline = f"{opening}{', '.join(parts)}{closing}"
    if len(inline) + margin <= _WIDTH - 4 and "\n" not in inline:
        return inline
    return f"{opening}\n{_indented(parts)}{closing}"


def _indented(parts: Sequence[str]) -> str:
    laid_out = (part.replace("\n", "\n    ") for part in parts)  # not textwrap.indent: it knows further line ends
    return "".join(f"    {part},\n" for part in laid_out)


def _http_parts(entity: ApiEntity, call: Call) -> tuple[str, str, dict[str, dict[str, Any]], Any]:
    """Method, path template, what goes into params, headers, cookies and json; and a body that is no object."""
    method, _, path = entity.name.partition("#")[0].partition(" ")
    groups: dict[str, dict[str, Any]] = {"params": {}, "headers": {}, "cookies": {}, "json": {}}
    places = {"query": "params", "header": "headers", "cookie": "cookies"}
    properties = entity.parameters.get("properties", {})
    in_path = set(_PLACE.findall(path))
    body: Any = None
    for name, value in call.arguments.items():
        place = properties.get(name, {}).get("x-in", "")
        if name in in_path:
            continue
        if name == "body" and not place:
            body = value
        else:
            groups[places.get(place, "json" if method not in {"GET", "HEAD"} else "params")][name] = value
    return method, path, groups, body


def _requests_call(entity: ApiEntity, call: Call) -> str:
    method, path, groups, body = _http_parts(entity, call)

    def place(name: str) -> str:
        value = call.arguments.get(name, Variable(name))
        if isinstance(value, Variable | dict | list):
            return "{" + variable_name(name) + "}"
        return _braced(quote(_plain(value), safe=""))

    pieces = _PLACE.split(path)  # every second one is the name of a place
    url = "".join(place(piece) if number % 2 else _braced(piece) for number, piece in enumerate(pieces))
    base = "".join(place(piece) if number % 2 else piece for number, piece in enumerate(_PLACE.split(base_url(entity))))
    address = json.dumps((base or "{base_url}") + url, ensure_ascii=False)
    arguments = [f"f{address}" if "{" in address else address]
    arguments += [f"{group}={literal(values, 4 + len(group))}" for group, values in groups.items() if values]
    if body is not None and not groups["json"]:
        arguments.append(f"json={literal(body, 8)}")
    return "import requests\n\n" + _called(f"response = requests.{method.lower()}", arguments)


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def curl_call(entity: ApiEntity, call: Call) -> str:
    """A curl command; "" when a value is not stated."""
    if not call.is_stated:
        return ""
    method, path, groups, body = _http_parts(entity, call)
    filled = _PLACE.sub(lambda match: quote(_plain(call.arguments.get(match.group(1), "")), safe=""), path)
    query = urlencode({name: _plain(value) for name, value in groups["params"].items()})
    address = (base_url(entity) or "$BASE_URL") + filled + (f"?{query}" if query else "")
    quoted = '"' + re.sub(r'(["\\`])', r"\\\1", address) + '"'
    words = [f"curl {quoted}" if method == "GET" else f"curl -X {method} {quoted}"]
    words += [f"-H {shlex.quote(f'{name}: {_plain(value)}')}" for name, value in groups["headers"].items()]
    words += [f"-b {shlex.quote(f'{name}={_plain(value)}')}" for name, value in groups["cookies"].items()]
    sent = groups["json"] or body
    if sent is not None and sent != {}:
        words.append('-H "Content-Type: application/json"')
        words.append(f"-d {shlex.quote(json.dumps(sent, ensure_ascii=False))}")
    return over_lines(words)


def aws_command_name(entity: ApiEntity) -> str:
    service = templates().aws_commands.get(entity.service, entity.service)
    return f"aws {service} {method_name(entity, '-')}"


def aws_command(entity: ApiEntity, call: Call) -> str:
    """A command of the AWS command line; "" when a value is not stated."""
    if not call.is_stated:
        return ""
    return over_lines([aws_command_name(entity), *(_option(name, value) for name, value in call.arguments.items())])


def _option(name: str, value: object) -> str:
    option = f"--{cli_words(name)}"
    if isinstance(value, bool):
        return option if value else f"--no-{cli_words(name)}"
    if isinstance(value, list) and value and all(type(item) in {str, int} for item in value):
        return f"{option} " + " ".join(shlex.quote(str(item)) for item in value)
    if isinstance(value, dict | list):
        return f"{option} {shlex.quote(json.dumps(value, ensure_ascii=False))}"
    return f"{option} {shlex.quote(str(value))}"


def over_lines(words: Sequence[str], margin: str = "") -> str:
    """A command, continued with a backslash when it is long: each option on a line of its own."""
    line = margin + " ".join(words)
    if len(line) <= 100:
        return line
    return margin + words[0] + "".join(f" \\\n{margin}    {word}" for word in words[1:])


def grpc_command(entity: ApiEntity, call: Call) -> str:
    """A grpcurl command. What is not stated stands in angle brackets, as grpcurl's users write it."""
    properties = entity.parameters.get("properties", {})
    arguments = {
        name: [value] if isinstance(value, Variable) and properties.get(name, {}).get("type") == "array" else value
        for name, value in call.arguments.items()
    }
    message = json.dumps(_bracketed(arguments), ensure_ascii=False)
    return over_lines(["grpcurl", f"-d {shlex.quote(message)}", '"$HOST"', entity.name])


def _bracketed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bracketed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_bracketed(inner) for inner in value]
    return f"<{value.name}>" if isinstance(value, Variable) else value


def graphql_call(entity: ApiEntity, call: Call) -> str:
    """An operation with variables that selects plain fields of the result, and the variables' values below it where
    they are stated. "" when the source does not say which fields there are."""
    kind, _, field = entity.name.partition(" ")
    types = {
        name: str(schema.get("x-type") or schema.get("x-annotation") or "")
        for name, schema in in_order(entity.parameters).items()
        if name in call.arguments
    }
    if set(types) != set(call.arguments) or not all(types.values()):
        return ""
    selection = _selection(entity.returns)
    if selection is None:
        return ""
    declared = ", ".join(f"${name}: {kind_}" for name, kind_ in types.items())
    passed = ", ".join(f"{name}: ${name}" for name in types)
    operation = field[:1].upper() + field[1:]
    head = f"{kind} {operation}" + (f"({declared})" if declared else "")
    inner = f"  {field}" + (f"({passed})" if passed else "")
    body = f"{inner} {{\n{textwrap.indent(chr(10).join(selection), '    ')}\n  }}" if selection else inner
    document = f"{head} {{\n{body}\n}}"
    if call.arguments and call.is_stated:
        document += f"\n\n{json.dumps(call.arguments, ensure_ascii=False, indent=2)}"
    return document


def _selection(returns: Mapping[str, Any], depth: int = 2) -> list[str] | None:
    """Lines that select a result's plain fields, or those of its first object where it has none itself; [] for a result
    that is plain; None when that is not known."""
    for _ in range(3):
        if isinstance(returns.get("items"), Mapping):
            returns = returns["items"]
    properties = in_order(returns)
    if not properties:
        return [] if _is_plain(returns) else None
    plain = [name for name, node in properties.items() if _is_plain(node)]
    if plain or depth <= 1:
        return plain[:_MAX_SELECTED] or None
    for name, node in properties.items():
        if inner := _selection(node, depth - 1):
            return [f"{name} {{", *(f"  {line}" for line in inner), "}"]
    return None


def _is_plain(node: Mapping[str, Any]) -> bool:
    kind = node.get("type")
    kinds = set(kind) - {"null"} if isinstance(kind, list) else {kind}
    return (bool(kinds) and kinds <= _GRAPHQL_SCALARS) or "enum" in node


Writer = Callable[[ApiEntity, Call], str]
WAYS: Mapping[Ecosystem, tuple[Writer, ...]] = {
    "aws": (python_call, aws_command, json_call),
    "google": (python_call, json_call),
    "http": (python_call, curl_call, json_call),
    "graphql": (graphql_call,),
    "grpc": (grpc_command, json_call),
    "tool": (json_call,),
    "python": (python_call,),
}
"""The ways in which a call of each ecosystem is written; the first is the one of its own programmers."""
