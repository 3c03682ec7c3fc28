"""ApiEntity -> training texts.

Every entity gives its reference prose; one further form that teaches another use of the same interface, chosen by a
hash of the entity's key so that it does not change from night to night; and, where the source shows or states a call,
a question with that call. Texts are written from what the source states: values of calls come from its examples, its
enumerations, its defaults; code names a variable where it states none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from forge.apis.calls import ecosystem
from forge.apis.forms import choice, cli, code_call, code_examples, function_schema
from forge.apis.questions import question
from forge.apis.reference import reference
from forge.apis.templates import templates_hash
from forge.schema import ApiEntity, Document, content_hash, split_of

Writer = Callable[[ApiEntity, int], str]


def render(entity: ApiEntity, held_out_share: float = 0.01, max_characters: int = 24_000) -> Iterator[Document]:
    """The reference document, at most one further form, and a question where the source offers one. Texts have at most
    ``max_characters`` characters; all are in the split of the entity's key."""
    split = split_of(entity.entity_key, held_out_share)
    forms = [("reference", reference(entity, max_characters)), further_form(entity, max_characters)]
    forms.append(("question", question(entity, max_characters)))
    for form, text in forms:
        if text:
            yield Document(kind="api_doc", form=form, text=text, split=split, entity_key=entity.entity_key)


def render_version() -> str:
    """A hash of ``RENDER_VERSION`` and of the templates' words."""
    return content_hash(RENDER_VERSION, templates_hash())


RENDER_VERSION = "2"
"""To be raised by hand when the code, not only a template, writes another text for the same entity."""


def further_form(entity: ApiEntity, max_characters: int = 24_000) -> tuple[str, str]:
    """The second form of an entity and its text, ("", "") when its source states too little for one: a call that is
    made of placeholders teaches nothing that the reference does not. A form that gives no text passes its turn on."""
    suitable = _suitable(entity)
    first = choice(entity, "form", len(suitable)) if suitable else 0
    for name in suitable[first:] + suitable[:first]:
        if text := _FORMS[name](entity, max_characters):
            return name, text
    return "", ""


def _suitable(entity: ApiEntity) -> list[str]:
    properties = entity.parameters.get("properties", {})
    described = sum(1 for schema in properties.values() if schema.get("description"))
    kind = ecosystem(entity)
    if kind in {"shell", "other"}:
        return ["code_call"] if code_examples(entity) else []
    if kind == "python":
        callable_alone = entity.entity_type == "function" and described
        calls = described > 1 or code_examples(entity)
        return ["function_schema"] * bool(callable_alone) + ["code_call"] * bool(calls)
    if kind == "tool":
        return ["function_schema"] if described else []
    forms = ["function_schema"] if described else []
    if properties or entity.examples:
        forms += ["code_call", "cli"] if kind == "aws" else ["code_call"]
    return forms


_FORMS: Mapping[str, Writer] = {
    "function_schema": function_schema,
    "cli": cli,
    "code_call": code_call,
}
