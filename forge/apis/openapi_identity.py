"""Whose API a specification describes, and what its operations are called: the same in every version and mirror."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from forge.apis.descriptions import plain_text
from forge.text.markup import cut

Naming = Literal["path", "aws", "google"]

_VERSION = re.compile(r"(?<=.)[-_. ](?:v\d+(?:[._-]\d+)*|\d+(?:\.\d+)+)(?:[._-]?(?:alpha|beta)\d*)?$", re.IGNORECASE)
"""At the end of a name: "-v71", " 1.2.0", ".v2", "_v1beta1"."""
_DATED = re.compile(r"(?<=[a-z])\d{4}_\d{2}_\d{2}$")

_BOTOCORE_FOLDERS = {
    "AWSMigrationHub": "mgh",
    "elasticfilesystem": "efs",
    "elasticloadbalancing": "elb",
    "elasticloadbalancingv2": "elbv2",
    "elasticmapreduce": "emr",
    "email": "ses",
    "entitlement.marketplace": "marketplace-entitlement",
    "eventbridge": "events",
    "models.lex.v2": "lexv2-models",
    "monitoring": "cloudwatch",
    "mturk-requester": "mturk",
    "resource-explorer": "resource-explorer-2",
    "runtime.lex": "lex-runtime",
    "runtime.lex.v2": "lexv2-runtime",
    "runtime.sagemaker": "sagemaker-runtime",
    "states": "stepfunctions",
    "streams.dynamodb": "dynamodbstreams",
}
"""Where the directory's name of an AWS service is not botocore's folder (compared by the names of operations)."""

_DISCOVERY_NAMES = {"my-business": "mybusiness", "shoppingcontent": "content", "sql": "sqladmin"}
"""Where the directory's name of a Google API is not its discovery document's."""


class Mirror(BaseModel):
    """What a specification repeats: the options' ``mirrors`` map patterns of ``provider:service`` to these."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: str = Field(pattern=r"^[^:]+:[^:]+$", description="provider:service of the API itself; service *: as it is")
    names: Naming = Field("path", description="operations are called: path (method and path), aws, google (their ids)")
    label: str = Field("", description="what the mirror is called; empty: its service")


@dataclass(frozen=True, slots=True)
class Identity:
    provider: str
    service: str
    mirror: str
    names: Naming

    def name_of(self, method: str, path: str, operation: Mapping[str, Any]) -> str:
        """What a user calls the operation: ``GET /pets/{id}``, ``PutObject``, ``drive.files.get``."""
        stated = operation.get("operationId")
        if self.names == "google" and isinstance(stated, str) and stated.strip():
            return _word(stated)
        if self.names == "aws":
            own = operation.get("x-aws-operation-name")
            if isinstance(own, str) and own.strip():
                stated = own
            if isinstance(stated, str) and stated.strip():
                return _DATED.sub("", _word(stated).removeprefix(f"{method.upper()}_"))
        return f"{method.upper()} {' '.join(plain_text(path).split())}"


def identity_of(document: Mapping[str, Any], information: Mapping[str, Any], mirrors: Mapping[str, Mirror]) -> Identity:
    """Provider ("" when the document names none) and service of a document, and what it mirrors.

    The provider is ``info.x-providerName``, else the host of the first server. The service is ``info.x-serviceName``
    without a version at its end; else "api" where the provider has a name of its own, else the title without one.
    """
    stated = _word(information.get("x-providerName"))
    provider = stated or _host(document)
    service = _word(information.get("x-serviceName"))
    mirrored = _mirror_of(f"{provider}:{service}", mirrors)
    if mirrored is not None:
        original, kept = mirrored.of.split(":")
        if kept == "*":
            kept = _service(service, information, stated)
            if mirrored.names == "aws":
                kept = _BOTOCORE_FOLDERS.get(service, service or kept)
            elif mirrored.names == "google":
                kept = _DISCOVERY_NAMES.get(service, service or kept)
        return Identity(original, kept, mirrored.label or service or provider, mirrored.names)
    return Identity(provider, _service(service, information, stated), "", "path")


def _mirror_of(name: str, mirrors: Mapping[str, Mirror]) -> Mirror | None:
    return next((mirror for pattern, mirror in mirrors.items() if fnmatchcase(name, pattern)), None)


def _service(stated: str, information: Mapping[str, Any], provider: str) -> str:
    if stated:
        return _VERSION.sub("", stated)
    if provider:
        return "api"
    return _VERSION.sub("", _word(information.get("title"))).strip() or "api"


def _host(document: Mapping[str, Any]) -> str:
    servers = document.get("servers")
    urls = [
        str(server.get("url") or "")
        for server in (servers if isinstance(servers, list) else ())
        if isinstance(server, dict)
    ]
    for url in [f"//{document.get('host') or ''}", *urls]:
        try:
            host = urlsplit(url).hostname
        except ValueError:
            continue
        if host:
            return _word(host)
    return ""


def _word(stated: object) -> str:
    """One line that can stand in a key: white space folded, "/" as "-"."""
    text = " ".join(plain_text(str(stated)).split()) if isinstance(stated, str | int | float) else ""
    return cut(text, 200).replace("/", "-")
