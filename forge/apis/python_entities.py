"""One object of griffe's tree -> ApiEntity: its docstring and its signature put together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from forge.apis.annotations import default_of, schema_of, schema_of_prose
from forge.apis.docstring_sections import Described, Sections, sections_of
from forge.apis.property_order import with_order
from forge.apis.python_exports import is_public
from forge.schema import ApiEntity
from forge.text.markup import cut, first_sentence


def described_entity(described: Any, bare: ApiEntity) -> ApiEntity:
    """``bare`` (where the object comes from, its public name and entity type) with what a documented griffe function
    or class says of itself."""
    sections = sections_of(described.docstring)
    kind = bare.entity_type
    call = described
    documented = sections.parameters
    if kind == "class":
        call = described.members.get("__init__")
        if call is not None and not call.is_alias and call.docstring is not None and not documented:
            documented = sections_of(call.docstring).parameters
    signature = _signature(call, kind, described)
    return replace(
        bare,
        summary=first_sentence(sections.text) or _summary_of(bare.name, kind),
        description=sections.text,
        parameters=_parameters(signature, documented, open_ended=signature is None),
        returns={} if kind == "class" else _returns(call, sections),
        errors=sections.errors,
        examples=sections.examples,
    )


def _summary_of(path: str, kind: str) -> str:
    return f"The {kind} {path.rsplit('.', 1)[-1]}."


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str  # "*args" and "**kwargs" with their stars
    annotation: str
    default: str | None

    @property
    def variadic(self) -> bool:
        return self.name.startswith("*")


def _signature(call: Any, kind: str, owner: Any) -> list[_Parameter] | None:
    """The parameters a caller gives; None when the class inherits its constructor from elsewhere."""
    if call is None or call.is_alias or call.kind.value != "function":
        if kind == "class" and any("dataclass" in str(decorator.value) for decorator in owner.decorators):
            return [
                _Parameter(name, str(member.annotation), None if member.value is None else str(member.value))
                for name, member in owner.members.items()
                if not member.is_alias
                and member.kind.value == "attribute"
                and member.annotation is not None
                and is_public(name)
            ]
        return None
    parameters = list(call.parameters)
    if (
        kind in {"class", "method"}
        and "staticmethod" not in call.labels
        and parameters
        and parameters[0].name in {"self", "cls", "mcs", "klass"}
    ):
        parameters = parameters[1:]
    stars = {"variadic positional": "*", "variadic keyword": "**"}
    return [
        _Parameter(
            stars.get(entry.kind.value if entry.kind else "", "") + entry.name,
            str(entry.annotation or ""),
            None if entry.default is None or (entry.kind and entry.kind.value in stars) else str(entry.default),
        )
        for entry in parameters
        if is_public(entry.name) or entry.default is None
    ]


def _parameters(
    signature: Sequence[_Parameter] | None, documented: Sequence[Described], open_ended: bool
) -> dict[str, Any]:
    """JSON Schema of the call. Documented names that the signature lacks are added when it can take them."""
    told: dict[str, Described] = {}
    for entry in documented:
        for part in re.split(r"\s*,\s*", entry.name):
            if part:
                told.setdefault(part.lstrip("*\\"), entry)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in signature or ():
        plain = parameter.name.lstrip("*")
        properties[parameter.name] = _property(parameter, told.pop(plain, None))
        if parameter.default is None and not parameter.variadic:
            required.append(parameter.name)
    if open_ended or any(name.startswith("**") for name in properties):
        for plain, entry in told.items():
            if plain.isidentifier():
                properties[plain] = {**_property(_Parameter(plain, "", None), entry), "x-extra": True}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if open_ended:
        schema["additionalProperties"] = True
    return with_order(schema)


def _property(parameter: _Parameter, entry: Described | None) -> dict[str, Any]:
    schema = {} if parameter.variadic else schema_of(parameter.annotation)
    if parameter.variadic and parameter.annotation:
        schema = {"x-annotation": parameter.annotation}
    if entry is not None:
        if not schema and entry.annotation:
            schema = schema_of_prose(entry.annotation)
        if entry.description:
            schema["description"] = cut(entry.description, 4000)
    if parameter.default is not None:
        schema.update(default_of(parameter.default))
    return schema


def _returns(call: Any, sections: Sections) -> dict[str, Any]:
    annotation = str(call.returns or "") if call is not None else ""
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
