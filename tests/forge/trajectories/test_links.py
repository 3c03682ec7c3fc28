from __future__ import annotations

import time
from typing import Any

import pytest

from forge.schema import Step, ToolCall, Trajectory, signature_key
from forge.trajectories.links import LinkKey, entity_keys, offered_keys


def episode(*calls: ToolCall, task: str = "t", environment: str = "", tools: tuple[Any, ...] = ()) -> Trajectory:
    steps = tuple(Step("assistant", calls=(call,)) for call in calls)
    return Trajectory(task, tools, steps, "unknown", None, environment, "MIT", "human", "s", "i")


def python(*code: str, task: str = "t") -> set[str]:
    found = offered_keys(episode(*(ToolCall("python", {"code": one}) for one in code), task=task))
    assert {tool for tool, _ in found} <= {"python"}
    return {key.key for _, key in found if key.method == "path"}


def entity(provider: str, service: str, name: str, *parameters: str) -> set[LinkKey]:
    row = {"provider": provider, "service": service, "name": name, "entity_key": f"{provider}/{service}/{name}"}
    return set(entity_keys({**row, "signature_key": signature_key(name.partition("(")[0], parameters)}))


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("aws ec2 run-instances --count 1", ["aws ec2 runinstances"]),
        ("aws --region eu-west-1 s3api put-object --bucket b", ["aws s3 putobject"]),
        ("x=$(date)\naws deploy get-deployment | jq .", ["aws codedeploy getdeployment"]),
        ("cat file && aws iam get-user", ["aws iam getuser"]),
        ("cat laws ec2 run-instances", []),
        ("echo 1", []),
    ],
)
def test_commands_of_the_aws_command_line(command: str, keys: list[str]) -> None:
    found = offered_keys(episode(ToolCall("shell", {"command": command})))
    assert [key.key for _, key in found if key.method == "command"] == keys


def test_an_aws_operation_answers_to_its_command() -> None:
    assert LinkKey("command", "aws ec2 runinstances") in entity("aws", "ec2", "RunInstances", "MinCount", "MaxCount")


def test_calls_of_a_python_session_are_followed_through_its_imports() -> None:
    assert python("import numpy as np", "x = np.array([1])", "np.linalg.norm(x)") == {
        "numpy.array",
        "numpy.linalg.norm",
    }
    assert python("norm(x)", task="numpy.linalg.norm: Matrix norm.") == {"numpy.linalg.norm"}
    assert python("import json", "%timeit 3", "json.dumps(3)") == {"json.dumps"}, "what is no Python is left out"
    assert python("def f(): pass", "f()", "print(1)") == set()
    assert LinkKey("path", "numpy.linalg.norm") in entity("python", "numpy", "numpy.linalg.norm")


def test_a_signature_needs_two_parameters() -> None:
    tool = {"name": "send_mail", "parameters": {"properties": {"to": {}, "subject": {}, "cc": {}}}}
    found = offered_keys(episode(ToolCall("send_mail", {"to": 1}), tools=(tool,)))
    assert {key for _, key in found} == {LinkKey("signature", "sendmail(cc,subject,to)")}
    assert LinkKey("signature", "sendmail(cc,subject,to)") in entity("x", "mail", "SendMail", "To", "Cc", "Subject")
    assert not offered_keys(episode(ToolCall("search", {"query": "x"})))
    assert {key.method for key in entity("x", "y", "search", "query")} == {"entity"}


def test_the_environment_may_name_the_service() -> None:
    found = offered_keys(episode(ToolCall("getPet", {"id": 1}), environment="pets.org/pets"))
    assert LinkKey("entity", "pets.org/pets/getPet") in {key for _, key in found}
    assert LinkKey("entity", "pets.org/pets/getPet") in entity("pets.org", "pets", "getPet")


def test_the_names_of_places_in_a_path_do_not_matter() -> None:
    found = offered_keys(episode(ToolCall("GET /pets/{petId}", {"petId": 1}), environment="pets.org/pets"))
    assert LinkKey("entity", "pets.org/pets/GET /pets/{}") in {key for _, key in found}


def test_hostile_commands_cost_linear_time() -> None:
    started = time.process_time()
    for command in ("\n" * 100_000 + "aws", "aws --x " * 15_000, "aws " * 25_000):
        offered_keys(episode(ToolCall("shell", {"command": command})))
    assert time.process_time() - started < 2


def test_equal_calls_are_counted() -> None:
    call = ToolCall("shell", {"command": "aws iam get-user"})
    assert list(offered_keys(episode(call, call)).values()) == [2]
