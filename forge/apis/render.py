"""ApiEntity -> training texts.

Every entity gives its reference prose; and one further form that teaches another use of the same interface, chosen by
a hash of the entity's key so that it does not change from night to night. Texts are written from what the source
states: values of calls come from its examples, its enumerations, its defaults, else from a placeholder by type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from forge.apis.forms import choice, cli, code_call, function_schema
from forge.apis.reference import reference
from forge.apis.templates import TEMPLATES_HASH
from forge.schema import ApiEntity, Document, content_hash, split_of


def render(entity: ApiEntity, held_out_share: float = 0.01, max_characters: int = 24_000) -> Iterator[Document]:
    """The reference document and at most one further form. Texts have at most ``max_characters`` characters; both are
    in the split of the entity's key."""
    split = split_of(entity.entity_key, held_out_share)
    forms = [("reference", reference(entity, max_characters))]
    name = further_form(entity)
    if name is not None:
        forms.append((name, _FORMS[name](entity, max_characters)))
    for form, text in forms:
        if text:
            yield Document(kind="api_doc", form=form, text=text, split=split, entity_key=entity.entity_key)


def render_version() -> str:
    """A hash of ``RENDER_VERSION`` and of the templates' words."""
    return content_hash(RENDER_VERSION, TEMPLATES_HASH)


RENDER_VERSION = "1"
"""To be raised by hand when the code, not only a template, writes another text for the same entity."""


def further_form(entity: ApiEntity) -> str | None:
    """The second form of an entity; None when its source states too little for one: a call that is made of
    placeholders teaches nothing that the reference does not."""
    suitable: list[str] = []
    properties = entity.parameters.get("properties", {})
    described = sum(1 for schema in properties.values() if schema.get("description"))
    if entity.provider == "python":
        if entity.entity_type == "function" and described:
            suitable.append("function_schema")
        if described > 1 or any(">>>" in example.input for example in entity.examples):
            suitable.append("code_call")
    elif properties or entity.examples:
        suitable += ["function_schema", "code_call"]
        if entity.provider == "aws":
            suitable.append("cli")
    if not suitable:
        return None
    return suitable[choice(entity, "form", len(suitable))]


_FORMS: Mapping[str, Callable[[ApiEntity, int], str]] = {
    "function_schema": function_schema,
    "cli": cli,
    "code_call": code_call,
}
