"""One documented Python object -> ApiEntity: its docstring and its signature put together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from forge.apis.annotations import default_of, schema_of, schema_of_prose
from forge.apis.docstring_sections import Described, Sections, sections_of
from forge.apis.property_order import with_order
from forge.apis.python_objects import Parameter, PythonObject
from forge.schema import ApiEntity
from forge.text.markup import cut, first_sentence

_NAMES = re.compile(r"\s*,\s*")


def described_entity(described: PythonObject, bare: ApiEntity) -> ApiEntity:
    """``bare`` (where the object comes from and its public name) with what a documented object says of itself."""
    sections = sections_of(described.docstring)
    errors, examples = sections.errors, sections.examples
    documented = sections.parameters
    if described.kind == "class" and described.constructor_docstring not in {"", described.docstring}:
        constructor = sections_of(described.constructor_docstring)
        documented = documented or constructor.parameters
        errors, examples = errors or constructor.errors, examples or constructor.examples
    return replace(
        bare,
        entity_type=described.kind,
        summary=first_sentence(sections.text),
        description=sections.text,
        parameters=_parameters(described.parameters, documented),
        returns={} if described.kind == "class" else _returns(described.returns, sections),
        errors=errors,
        examples=examples,
        declaration=described.declaration,
    )


def _parameters(signature: Sequence[Parameter] | None, documented: Sequence[Described]) -> dict[str, Any]:
    """JSON Schema of the call. Documented names that the signature lacks are added when it can take them."""
    open_ended = signature is None
    told: dict[str, Described] = {}
    for entry in documented:
        for part in _NAMES.split(entry.name):
            if part:
                told.setdefault(part.lstrip("*\\"), entry)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in signature or ():
        plain = parameter.name.lstrip("*")
        properties[parameter.name] = _property(parameter, told.pop(plain, None))
        if parameter.default is None and not parameter.is_variadic:
            required.append(parameter.name)
    if open_ended or any(name.startswith("**") for name in properties):
        for plain, entry in told.items():
            if plain.isidentifier():
                properties[plain] = {**_property(Parameter(plain), entry), "x-extra": True}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if open_ended:
        schema["additionalProperties"] = True
    return with_order(schema)


def _property(parameter: Parameter, entry: Described | None) -> dict[str, Any]:
    schema = {} if parameter.is_variadic else schema_of(parameter.annotation)
    if parameter.is_variadic and parameter.annotation:
        schema = {"x-annotation": parameter.annotation}
    if entry is not None:
        if not schema and entry.annotation:
            schema = schema_of_prose(entry.annotation)
        if entry.description:
            schema["description"] = cut(entry.description, 4000)
    if parameter.default:
        schema.update(default_of(parameter.default))
    return schema


def _returns(annotation: str, sections: Sections) -> dict[str, Any]:
    described = [entry for entry in sections.returns if entry.description or entry.annotation]
    if len(described) > 1:
        values = [
            {
                **({"title": entry.name} if entry.name else {}),
                **schema_of_prose(entry.annotation),
                "description": entry.description,
            }
            for entry in described
        ]
        stated = {"x-annotation": annotation} if annotation else {"x-type": ""}
        return {"type": "array", "prefixItems": values, **stated}
    schema = schema_of(annotation)
    if described:
        entry = described[0]
        schema = schema or schema_of_prose(entry.annotation)
        text = f"{entry.name}: {entry.description}" if entry.name and entry.description else entry.description
        if text:
            schema["description"] = cut(("Yields: " if sections.yields else "") + text, 4000)
    return schema
