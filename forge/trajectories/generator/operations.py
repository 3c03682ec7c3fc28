"""What an operation does to which kind of object, as its name and its parameters tell it.

``GET /pets/{petId}``, ``GetPet``, ``pets.get`` and ``get_pet`` all get a "pet", named by one parameter. What cannot be
told is "other": the mock answers it from its schema alone, without any state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from forge.apis.calls import ecosystem, snake_case
from forge.apis.property_order import in_order
from forge.schema import ApiEntity
from forge.trajectories.generator.schemas import type_of

Action = Literal["create", "get", "list", "update", "put", "delete", "other"]
"""``put`` creates what does not exist yet."""

_VERBS: Mapping[Action, tuple[str, ...]] = {
    "create": ("create", "add", "insert", "register", "new", "make", "allocate", "upload"),
    "get": ("get", "describe", "read", "fetch", "retrieve", "show", "view", "lookup"),
    "list": ("list", "search", "query", "scan", "find", "browse", "enumerate"),
    "update": ("update", "modify", "patch", "edit", "change", "rename"),
    "put": ("put", "set", "replace", "upsert"),
    "delete": ("delete", "remove", "destroy", "deregister", "terminate", "drop"),
}
_ACTION_OF_VERB: Mapping[str, Action] = {verb: action for action, verbs in _VERBS.items() for verb in verbs}
_SEVERAL = frozenset({"batch", "bulk", "multi"})
_METHODS: Mapping[str, Action] = {"PUT": "update", "PATCH": "update", "DELETE": "delete"}
_PLACE = re.compile(r"\{([^{}/]*)\}")
_VERSION = re.compile(r"v\d+")
_OF_A_NOUN = ("id", "name", "", "identifier", "arn", "key", "slug", "uuid")
_OF_ANYTHING = ("id", "name", "identifier", "key", "arn", "slug", "uuid")


@dataclass(frozen=True, slots=True)
class Operation:
    """``resource`` is equal for the operations of one kind of object; ``noun`` is what people call one, ``is_plural``
    whether the name speaks of several. ``identity`` is the parameter that names the object, None where there is none (a
    setting of its owner, or we cannot tell); ``owners`` are those that name what it belongs to."""

    action: Action
    resource: str
    noun: str
    is_plural: bool = False
    identity: str | None = None
    owners: tuple[str, ...] = ()


def fold(name: str) -> str:
    """Case and separators do not tell names apart: ``petId``, ``pet_id`` and ``PetID`` are one."""
    return "".join(character for character in name.lower() if character.isalnum())


def singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word


def by_name(entity: ApiEntity) -> Operation:
    """Action, resource and noun by the name alone: what choosing operations needs."""
    kind = ecosystem(entity)
    if kind == "http":
        return _of_path(entity)
    if kind == "google":
        *scope, method = entity.name.split(".")
        action, rest = _verb_first(_words(method))
        words = rest or (_words(scope[-1]) if scope else [])
        return Operation(action, ".".join([*scope, *rest]), _noun(words), _is_plural(words))
    name = entity.name.rpartition("/")[2] if kind == "grpc" else entity.name.rpartition(" ")[2]
    action, words = _verb_anywhere(_words(name))
    if action == "other" and entity.name.startswith("query "):
        action = "get"
    return Operation(action, _noun(words), _noun(words), _is_plural(words))


def operation_of(entity: ApiEntity) -> Operation:
    """By the name, the parameters and the shape of the result, which are plain schemas
    (:mod:`forge.trajectories.generator.schemas`)."""
    found = by_name(entity)
    kind = ecosystem(entity)
    properties = in_order(entity.parameters)
    required = set(entity.parameters.get("required", ()))
    identity: str | None = None
    owners: tuple[str, ...] = ()
    if kind == "http":
        places = [place for place in _PLACE.findall(_path(entity)) if place in properties]
        if places and _path(entity).rstrip("/").endswith(f"{{{places[-1]}}}"):
            identity = places.pop()
        owners = tuple(places)
    elif found.action in {"get", "update", "put", "delete"}:
        scalars = [
            name for name in properties if name in required and type_of(properties[name]) in {"string", "integer"}
        ]
        if kind == "google":
            places = [name for name in scalars if "x-in" not in properties[name]]
            identity, owners = (places[-1], tuple(places[:-1])) if places else (None, ())
        else:
            # put_policy(policy=...) states the policy, get_policy(policy=...) names it.
            ends = [end for end in _OF_A_NOUN if end or found.action in {"get", "delete"}]
            identity = _naming(found.noun, scalars, ends)
    action = found.action
    if action in {"get", "list"} and identity is None:
        place = list_property(entity.returns)
        says_list = kind != "http" and action == "list"
        lists = place is not None and (place == "" or says_list or found.is_plural)
        action = "list" if lists else "get"
    return replace(found, action=action, identity=identity, owners=owners)


def _path(entity: ApiEntity) -> str:
    return entity.name.partition(" ")[2].partition("#")[0]


def _of_path(entity: ApiEntity) -> Operation:
    method = entity.name.partition(" ")[0]
    parts = [part for part in _path(entity).split("/") if part]
    by_identity = bool(parts) and bool(_PLACE.fullmatch(parts[-1]))
    fixed = parts[:-1] if by_identity else parts
    last = _words(_PLACE.sub("", fixed[-1])) if fixed else []
    resource = "/" + "/".join(_PLACE.sub("{}", part) for part in fixed)
    verb = _ACTION_OF_VERB.get(last[0]) if last and len(fixed) > 1 else None
    if method == "POST" and verb is not None and not by_identity:  # /pets/search
        words = _words(_PLACE.sub("", fixed[-2]))
        return Operation(verb, resource.rpartition("/")[0], _noun(words), _is_plural(words))
    action: Action = _METHODS.get(method, "other")
    if method == "GET":
        action = "get" if by_identity else "list"
    elif method == "POST":
        told = _verb_first(_words(str(entity.parameters.get("x-operation-id") or "")))[0]
        creates = told == "create" or (told == "other" and _is_plural(last))
        action = "update" if by_identity else "create" if creates else "other"
    return Operation(action, resource, _noun(last), _is_plural(last))


def _words(name: str) -> list[str]:
    words = [word for word in snake_case(name).split("_") if word]
    return words[:-1] if len(words) > 1 and _VERSION.fullmatch(words[-1]) else words


def _noun(words: Sequence[str]) -> str:
    return "_".join([*words[:-1], *(singular(word) for word in words[-1:])])


def _is_plural(words: Sequence[str]) -> bool:
    return bool(words) and singular(words[-1]) != words[-1]


def _verb_first(words: list[str]) -> tuple[Action, list[str]]:
    if words and words[0] in _ACTION_OF_VERB:
        return _ACTION_OF_VERB[words[0]], words[1:]
    return "other", words


def _verb_anywhere(words: list[str]) -> tuple[Action, list[str]]:
    """The first verb and the words after it; those before it where it stands last. ``github_create_issue``."""
    if _SEVERAL.isdisjoint(words):
        for place, word in enumerate(words):
            if word in _ACTION_OF_VERB:
                return _ACTION_OF_VERB[word], words[place + 1 :] or words[:place]
    return "other", words


def _naming(noun: str, names: Iterable[str], ends: Sequence[str]) -> str | None:
    """The parameter that names an object called so."""
    folded = {fold(name): name for name in reversed(list(names))}
    tail = noun.rpartition("_")[2]
    wanted = [fold(owner) + end for owner in (noun, tail) if owner for end in ends] + list(_OF_ANYTHING)
    return next((folded[name] for name in wanted if name in folded), None)


def list_property(schema: Mapping[str, Any]) -> str | None:
    """The property of a result that lists things, the largest ones first: objects before words. "" where the result
    itself is a list, None where nothing is."""
    if type_of(schema) == "array":
        return ""
    arrays = {name: node.get("items", {}) for name, node in in_order(schema).items() if type_of(node) == "array"}
    ranked = sorted(arrays, key=lambda name: 0 if "properties" in arrays[name] else 1)
    return ranked[0] if ranked else None
