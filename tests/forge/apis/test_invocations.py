"""One call in the words of its ecosystem."""

from __future__ import annotations

import ast
import json
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.calls import Call, Variable, call_of
from forge.apis.invocations import (
    aws_command,
    curl_call,
    function_name,
    graphql_call,
    grpc_command,
    json_call,
    literal,
    python_call,
)
from forge.schema import ApiEntity


def _entity(name: str, provider: str = "aws", **fields: Any) -> ApiEntity:
    stated: dict[str, Any] = {
        "service": "s3", "version": "v1", "entity_type": "operation", "summary": "", "description": "",
        "parameters": {}, "returns": {}, "license": "MIT", "source": "s", "item_id": "i", "source_uri": "u",
    }  # fmt: skip
    return ApiEntity(**{**stated, "name": name, "provider": provider, **fields})


THING = {"properties": {"Name": {"type": "string"}}, "required": ["Name"]}
PETS = {
    "properties": {
        "petId": {"type": "string"},
        "limit": {"x-in": "query"},
        "X-Trace": {"x-in": "header"},
        "kind": {"enum": ["cat"]},
    }
}


@pytest.mark.parametrize(
    ("entity", "source"),
    [
        (
            _entity("PutThing", parameters=THING),
            'import boto3\n\nclient = boto3.client("s3")\nresponse = client.put_thing(Name=name)',
        ),
        (
            _entity("a.b.load", "python", entity_type="function", parameters=THING),
            "from a.b import load\n\nresult = load(Name=name)",
        ),
        (
            _entity("a.Box.load", "python", entity_type="method", parameters=THING),
            "# box is an instance of a.Box\nresult = box.load(Name=name)",
        ),
        (
            _entity("a.Box.Lid", "python", entity_type="class", parameters=THING),
            "from a import Box\n\ninstance = Box.Lid(Name=name)",
        ),
        (
            _entity("GET /things/{Name}", "p", parameters=THING),
            'import requests\n\nresponse = requests.get(f"{base_url}/things/{name}")',
        ),
        (
            _entity("GET /things/{Name}", "p", parameters=THING, declaration="GET https://{region}.p/v2/things/{Name}"),
            'import requests\n\nresponse = requests.get(f"https://{region}.p/v2/things/{name}")',
        ),
        (
            _entity("drive.files.import", "google", parameters=THING, service="drive", version="v3"),
            """from googleapiclient.discovery import build

service = build("drive", "v3")
response = service.files().import_(Name=name).execute()""",
        ),
    ],
)
def test_python(entity: ApiEntity, source: str) -> None:
    call = call_of(entity)
    assert call is not None
    written = python_call(entity, call)
    assert written == source
    ast.parse(written)


def test_a_body_of_google() -> None:
    parameters = {"properties": {"fileId": {"x-in": "path"}, "name": {"x-in": "body"}}}
    entity = _entity("drive.files.update", "google", parameters=parameters)
    written = python_call(entity, Call({"fileId": "a", "name": "b"}))
    assert written.endswith('response = service.files().update(fileId="a", body={"name": "b"}).execute()')
    written = python_call(entity, Call({"fileId": Variable("fileId")}))
    assert written.endswith('response = service.files().update(fileId=file_id, body={"name": name}).execute()')
    whole = replace(entity, parameters={"properties": {"body": {"x-in": "body", "type": "string"}}})
    assert python_call(whole, Call({"body": "b"})).endswith('response = service.files().update(body="b").execute()')


def test_http_with_values() -> None:
    entity = _entity("POST /pets/{petId}#adopt", "p", parameters=PETS)
    call = Call({"petId": "a b", "limit": 2, "X-Trace": "t", "kind": "cat"})
    assert python_call(entity, call) == (
        "import requests\n\n"
        "response = requests.post(\n"
        '    f"{base_url}/pets/a%20b",\n'
        '    params={"limit": 2},\n'
        '    headers={"X-Trace": "t"},\n'
        '    json={"kind": "cat"},\n'
        ")"
    )
    assert curl_call(entity, call) == (
        'curl -X POST "$BASE_URL/pets/a%20b?limit=2" \\\n'
        "    -H 'X-Trace: t' \\\n"
        '    -H "Content-Type: application/json" \\\n'
        '    -d \'{"kind": "cat"}\''
    )
    assert curl_call(entity, Call({"petId": Variable("petId")})) == ""


def test_aws_command_names_options_and_the_command_of_s3() -> None:
    call = Call({"Bucket": "it's", "Tags": ["a", "b"], "Nested": {"A": [1]}, "DryRun": False})
    written = aws_command(_entity("PutObject"), call)
    assert shlex.split(written.replace("\\\n", " ")) == [
        "aws", "s3api", "put-object", "--bucket", "it's", "--tags", "a", "b", "--nested", '{"A": [1]}', "--no-dry-run",
    ]  # fmt: skip


def test_grpc_and_graphql() -> None:
    method = _entity("shop.v1.Pets/GetPet", "grpc")
    assert grpc_command(method, Call({"name": Variable("name")})) == (
        'grpcurl -d \'{"name": "<name>"}\' "$HOST" shop.v1.Pets/GetPet'
    )
    kinds = _entity("shop.v1.Pets/Watch", "grpc", parameters={"properties": {"kinds": {"type": "array"}}})
    assert '{"kinds": ["<kinds>"]}' in grpc_command(kinds, Call({"kinds": Variable("kinds")}))
    query = _entity(
        "query user",
        "shop",
        parameters={"properties": {"login": {"type": "string", "x-type": "String!"}}},
        returns={"properties": {"id": {"type": "string"}, "posts": {"type": "array", "items": {}}}},
    )
    assert graphql_call(query, Call({"login": "ann"})) == (
        'query User($login: String!) {\n  user(login: $login) {\n    id\n  }\n}\n\n{\n  "login": "ann"\n}'
    )
    nested = replace(query, parameters={}, returns={"properties": {"user": query.returns}})
    assert graphql_call(nested, Call({})) == "query User {\n  user {\n    user {\n      id\n    }\n  }\n}"
    assert graphql_call(_entity("query user", "shop"), Call({})) == ""  # nothing says which fields there are


@pytest.mark.parametrize(
    ("entity", "name"),
    [
        (_entity("PutObject"), "s3.PutObject"),
        (_entity("GET /pets/{petId}", "p"), "get_pets_pet_id"),
        (
            _entity("GET /" + "/".join(f"part{n}" for n in range(20)), "p"),
            "get_part12_part13_part14_part15_part16_part17_part18_part19",
        ),
        (_entity("shop.v1.Pets/GetPet", "grpc"), "shop.v1.Pets.GetPet"),
        (_entity("mutation addPet", "shop"), "addPet"),
        (_entity("drive.files.get", "google"), "drive.files.get"),
    ],
)
def test_function_names(entity: ApiEntity, name: str) -> None:
    assert function_name(entity) == name


def test_json_calls_only_say_what_is_stated() -> None:
    assert json.loads(json_call(_entity("PutObject"), Call({"a": [1]}))) == {
        "name": "s3.PutObject",
        "arguments": {"a": [1]},
    }
    assert json_call(_entity("PutObject"), Call({"a": [Variable("b")]})) == ""


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_literals_are_the_value(value: Any) -> None:
    assert ast.literal_eval(literal(value)) == value
