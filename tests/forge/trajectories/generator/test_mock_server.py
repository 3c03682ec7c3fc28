"""The mock keeps what it is told, refuses what its schemas do not allow, and never raises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.config import load_settings
from forge.schema import ApiEntity, ApiError, ApiExample, Step, ToolCall, Trajectory
from forge.trajectories.checks import check
from forge.trajectories.generator.entities import source_entities
from forge.trajectories.generator.mock_server import INITIAL_OBJECTS, MAX_OBJECTS, MockServer, Response
from forge.trajectories.generator.responses import Values
from forge.trajectories.generator.tasks import choose, tools_of
from tests.forge.trajectories.generator.conftest import SHOP, operation, schema


def server(*entities: ApiEntity, seed: str = "a") -> MockServer:
    return MockServer(tools_of(entities or SHOP), seed)


def value(response: Response) -> Any:
    assert response.error is None, response
    return json.loads(response.content)


def message(response: Response) -> str:
    found = json.loads(response.content)["error"]
    assert found["code"] == response.status
    assert response.error == f"{found['code']} {found['type']}: {found['message']}"
    return f"{response.status} {found['type']}: {found['message']}"


def test_the_life_of_an_object() -> None:
    shop = server()
    made = value(shop.call("post_pets", {"name": "Rex", "status": "sold"}))
    assert (made["name"], made["status"]) == ("Rex", "sold")
    assert value(shop.call("get_pets_pet_id", {"petId": made["id"]})) == made
    assert made in value(shop.call("get_pets", {}))["pets"]
    changed = value(shop.call("patch_pets_pet_id", {"petId": made["id"], "name": "Max"}))
    assert changed == {**made, "name": "Max"}
    assert value(shop.call("get_pets_pet_id", {"petId": made["id"]})) == changed
    assert value(shop.call("delete_pets_pet_id", {"petId": made["id"]})) == {}
    gone = message(shop.call("get_pets_pet_id", {"petId": made["id"]}))
    assert gone == f"404 not_found: pet '{made['id']}' does not exist"
    assert made["id"] not in [each["id"] for each in value(shop.call("get_pets", {}))["pets"]]


def test_lists_are_filtered_and_cut() -> None:
    shop = server()
    for number in range(3):
        shop.call("post_pets", {"name": f"pet {number}", "status": "sold"})
    sold = value(shop.call("get_pets", {"status": "sold"}))["pets"]
    assert {each["status"] for each in sold} == {"sold"}
    assert len(sold) >= 3
    found = value(shop.call("get_pets", {"limit": 2}))
    assert (len(found["pets"]), found["total"]) == (2, 2)
    assert "nextPageToken" not in found, "there is one page"


def test_what_exists_at_first_is_told_and_can_be_got() -> None:
    shop = server()
    objects = [json.loads(line.removeprefix("pet: ")) for line in shop.objects()]
    assert len(objects) == INITIAL_OBJECTS
    for each in objects:
        assert value(shop.call("get_pets_pet_id", {"petId": each["petId"]}))["name"] == each["name"]


def test_equal_objects_have_identifiers_of_their_own() -> None:
    shop = server()
    made = [value(shop.call("post_pets", {"name": "Rex"}))["id"] for _ in range(20)]
    assert len(set(made)) == 20


def test_there_is_an_end_to_what_can_be_created() -> None:
    shop = server()
    found = [shop.call("post_pets", {"name": str(number)}).status for number in range(MAX_OBJECTS + 5)]
    assert found.count(200) == MAX_OBJECTS - INITIAL_OBJECTS
    assert set(found) == {200, 400}


@pytest.mark.parametrize(
    ("tool", "arguments", "problem"),
    [
        ("post_pets", {}, "missing required parameter 'name'"),
        ("post_pets", {"name": 3}, "'name' must be of type string, not integer"),
        ("post_pets", {"name": None}, "'name' must be of type string, not null"),
        ("post_pets", {"name": "x", "status": "lost"}, "'status' must be one of: available, sold (given: 'lost')"),
        ("post_pets", {"name": "x", "colour": "red"}, "unknown parameter 'colour'"),
        ("post_pets", {"colour": 1}, "unknown parameter 'colour'; missing required parameter 'name'"),
        ("get_pets", {"limit": 0}, "'limit': 0 is less than the minimum of 1"),
        ("get_pets", {"limit": True}, "'limit' must be of type integer, not boolean"),
        ("post_pets", {"name": "x" * 30_000}, "the arguments are longer than 20000 characters"),
    ],
)
def test_arguments_that_the_schema_does_not_allow(tool: str, arguments: Mapping[str, Any], problem: str) -> None:
    assert message(server().call(tool, arguments)) == f"400 invalid_request: {problem}"


def test_alternatives_are_told() -> None:
    either = {**schema(a={"type": "string"}, b={"type": "string"}), "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}
    found = server(operation("either", either, {}, entity_type="tool"))
    assert message(found.call("either", {})) == (
        "400 invalid_request: the arguments fit no alternative: "
        "missing required parameter 'a' / missing required parameter 'b'"
    )
    assert found.call("either", {"b": "x"}).status == 200


def test_a_tool_that_is_none() -> None:
    assert message(server().call("rm", {})).startswith("404 unknown_tool: there is no tool 'rm'; tools: delete_pets")


def test_what_belongs_to_another_owner_is_not_there() -> None:
    owner = {"type": "string"}
    item = schema(("id",), id={"type": "integer"}, title={"type": "string"})
    desk = server(
        operation("POST /users/{user}/notes", schema(("user",), user=owner, title=owner), item),
        operation("GET /users/{user}/notes/{id}", schema(("user", "id"), user=owner, id={"type": "integer"}), item),
        operation("GET /users/{user}/notes", schema(("user",), user=owner), {"type": "array", "items": item}),
    )
    made = value(desk.call("post_users_user_notes", {"user": "ann", "title": "milk"}))
    assert value(desk.call("get_users_user_notes_id", {"user": "ann", "id": made["id"]})) == made
    assert desk.call("get_users_user_notes_id", {"user": "bob", "id": made["id"]}).status == 404
    assert value(desk.call("get_users_user_notes", {"user": "ann"})) == [made]
    assert value(desk.call("get_users_user_notes", {"user": "bob"})) == []


def aws(name: str, parameters: Mapping[str, Any], returns: Mapping[str, Any], **columns: Any) -> ApiEntity:
    return operation(name, parameters, returns, provider="aws", service="dynamodb", **columns)


def test_objects_that_callers_name_and_results_that_wrap_them() -> None:
    name = {"type": "string", "minLength": 3}
    table = schema(TableName=name, TableStatus={"type": "string", "enum": ["ACTIVE"]}, ItemCount={"type": "integer"})
    exists = ApiError("ResourceInUseException", "The table exists.")
    missing = ApiError("ResourceNotFoundException", "No such table.")
    found = server(
        aws("CreateTable", schema(("TableName",), TableName=name), schema(TableDescription=table), errors=(exists,)),
        aws("DescribeTable", schema(("TableName",), TableName=name), schema(Table=table), errors=(missing,)),
        aws("ListTables", schema(), schema(TableNames={"type": "array", "items": {"type": "string"}},
                                           LastEvaluatedTableName=name)),
        aws("DeleteTable", schema(("TableName",), TableName=name), schema(TableDescription=table)),
    )  # fmt: skip
    made = value(found.call("dynamodb_CreateTable", {"TableName": "orders"}))
    assert made["TableDescription"]["TableName"] == "orders"
    got = value(found.call("dynamodb_DescribeTable", {"TableName": "orders"}))
    assert got["Table"] == made["TableDescription"], "one object, whatever the result calls it"
    listed = value(found.call("dynamodb_ListTables", {}))
    assert set(listed) == {"TableNames"}
    assert listed["TableNames"][-1] == "orders"
    again = message(found.call("dynamodb_CreateTable", {"TableName": "orders"}))
    assert again == "409 ResourceInUseException: table 'orders' already exists"
    unknown = message(found.call("dynamodb_DescribeTable", {"TableName": "nothing"}))
    assert unknown == "404 ResourceNotFoundException: table 'nothing' does not exist"


def test_identifiers_have_the_form_that_the_parameter_asks_for() -> None:
    name = {"type": "string", "pattern": "^projects/[^/]+/queues/[^/]+$"}
    queue = schema(name={"type": "string"}, state={"type": "string", "enum": ["RUNNING"]})
    columns = {"provider": "google", "service": "cloudtasks"}
    found = server(
        operation("cloudtasks.queues.get", schema(("name",), name=name), queue, **columns),
        operation("cloudtasks.queues.list", schema(), schema(queues={"type": "array", "items": queue}), **columns),
    )
    for each in value(found.call("cloudtasks_queues_list", {}))["queues"]:
        projects, project, queues, last = each["name"].split("/")
        assert (projects, queues) == ("projects", "queues")
        assert project
        assert last
        assert value(found.call("cloudtasks_queues_get", {"name": each["name"]})) == each


def test_a_create_without_a_result_tells_the_identifier() -> None:
    found = server(operation("POST /pets", schema(("name",), name={"type": "string"}), {}), SHOP[1])
    made = value(found.call("post_pets", {"name": "Rex"}))
    assert value(found.call("get_pets_pet_id", {"petId": made["id"]}))["name"] == "Rex"


def test_settings_without_an_identifier_are_kept() -> None:
    name = {"type": "string"}
    found = server(
        aws("PutBucketPolicy", schema(("Bucket", "Policy"), Bucket=name, Policy=name), {}),
        aws("GetBucketPolicy", schema(("Bucket",), Bucket=name), schema(Policy=name)),
    )
    first = value(found.call("dynamodb_GetBucketPolicy", {"Bucket": "b"}))["Policy"]
    found.call("dynamodb_PutBucketPolicy", {"Bucket": "b", "Policy": "allow all"})
    assert value(found.call("dynamodb_GetBucketPolicy", {"Bucket": "b"})) == {"Policy": "allow all"}
    assert value(found.call("dynamodb_GetBucketPolicy", {"Bucket": "c"}))["Policy"] != "allow all"
    assert first != "allow all"


def test_a_call_that_the_source_records_gives_the_recorded_answer() -> None:
    example = ApiExample("adds", '{"a": 1, "b": 2}', '{"sum": 3}')
    number = {"type": "integer"}
    found = server(
        operation("POST /add", schema(("a", "b"), a=number, b=number), schema(sum=number), examples=(example,))
    )
    assert value(found.call("post_add", {"a": 1, "b": 2})) == {"sum": 3}
    assert set(value(found.call("post_add", {"a": 1, "b": 3}))) == {"sum"}


def test_the_plan_is_done_when_its_tools_succeeded_in_its_order() -> None:
    shop = server()
    assert not shop.has_done([])
    shop.call("post_pets", {"name": 3})
    assert not shop.has_done(["post_pets"])
    shop.call("post_pets", {"name": "Rex"})
    shop.call("get_pets", {})
    assert shop.has_done(["post_pets", "get_pets"])
    assert shop.has_done(["get_pets"])
    assert not shop.has_done(["get_pets", "post_pets"])
    assert not shop.has_done(["get_pets", "get_pets"])


def test_another_seed_is_another_world_and_the_same_seed_the_same() -> None:
    assert server(seed="a").objects() == server(seed="a").objects() != server(seed="b").objects()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(["name", "petId", "status", "limit", "x"])
calls = st.lists(
    st.tuples(st.sampled_from([*tools_of(SHOP), "nothing"]), st.dictionaries(_NAMES, json_values | st.just("sold"))),
    max_size=12,
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(calls)
def test_any_calls_are_answered_the_same_twice(found: list[tuple[str, dict[str, Any]]]) -> None:
    one, two = server(), server()
    for name, arguments in found:
        response = one.call(name, arguments)
        assert response == two.call(name, arguments)
        assert (response.status == 200) == (response.error is None)
        json.loads(response.content)
    assert one.objects() == two.objects()


_WORDS = st.sampled_from(["type", "properties", "required", "items", "enum", "minimum", "maximum", "minLength",
                          "maxLength", "minItems", "example", "default", "const", "oneOf", "format", "pattern",
                          "additionalProperties", "nullable", "id", "x-order"])  # fmt: skip
odd_schemas = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5)
    | st.sampled_from(["string", "integer", "number", "object", "array", "null", "uuid", "^a/[^/]+$"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.dictionaries(_WORDS, odd_schemas, max_size=6), st.dictionaries(_WORDS, odd_schemas, max_size=6), json_values)
def test_no_schema_makes_it_raise(parameters: dict[str, Any], returns: dict[str, Any], argument: Any) -> None:
    names = ("POST /pets", "GET /pets/{id}", "GET /pets", "PUT /pets/{id}")
    odd = [operation(name, {"type": "object", "properties": {"id": parameters}}, returns) for name in names]
    found = server(*odd)
    for name in tools_of(odd):
        for arguments in ({}, {"id": argument}):
            json.loads(found.call(name, arguments).content)


def test_real_operations_accept_what_their_schemas_allow_and_the_checks_agree() -> None:
    """Over botocore's own service models: a call of made values is accepted, and no check rejects what was accepted."""
    settings = load_settings("demo", environment={})
    aws_models = settings.sources["aws_service_models"]
    few = aws_models.model_copy(update={"options": {"services": ["sqs", "dynamodb", "ecr"]}})
    entities = source_entities(settings.model_copy(update={"sources": {"few": few}}), "few")
    accepted = objects = 0
    sets = list(choose(entities, 60, 5, 7))
    assert len(sets) == 60
    for number, chosen in enumerate(sets):
        tools = tools_of(chosen)
        found = MockServer(tools, str(number))
        objects += len(found.objects())
        for name, (_, tool) in tools.items():
            parameters = tool["parameters"]
            made = Values(f"{number}").object({**parameters, "properties": {
                each: node for each, node in parameters["properties"].items() if each in parameters.get("required", ())
            }}, 0)  # fmt: skip
            response = found.call(name, made)
            assert response.status in {200, 404, 409}, (name, made, response)
            accepted += response.status == 200
            steps = (
                Step("user", "Do."),
                Step("assistant", calls=(ToolCall(name, made),)),
                Step("tool", response.content),
            )
            episode = Trajectory("Do.", (tool,), steps, "unknown", None, "mock/x", "", "m", "s", "i")
            assert response.status != 200 or check(episode) is None
    assert accepted > 60
    assert objects > 20
