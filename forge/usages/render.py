"""An API and its usages in real code -> training texts, both ways: documentation to code, and code to documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from forge.apis.forms import opening
from forge.apis.reference import python_signature
from forge.apis.templates import heading
from forge.schema import ApiEntity, Document, Usage, split_of
from forge.text.markup import cut, first_sentence

DOC_TO_CODE = "doc_to_code"
CODE_TO_DOC = "code_to_doc"
USAGE_FORMS = (DOC_TO_CODE, CODE_TO_DOC)
_MAX_DESCRIPTION_CHARACTERS = 1500
_MAX_SUMMARY_CHARACTERS = 300
_MAX_SIGNATURE_CHARACTERS = 200
_ASIDES = re.compile(r"\n\n(?:Notes|See Also|References|Warns|Other Parameters):\n")


@dataclass(frozen=True, slots=True)
class UsageDocument:
    """A text with what it was made of: ``license`` is that of the entity and of the usages, joined by AND."""

    document: Document
    license: str
    usages: tuple[Usage, ...]


def render_usages(
    entity: ApiEntity,
    usages: Sequence[Usage],
    summaries: Mapping[str, str] | None = None,
    held_out_share: float = 0.01,
    max_characters: int = 24_000,
) -> Iterator[UsageDocument]:
    """The two forms, in the split of the entity's key; nothing without usages. ``usages`` are the chosen ones, clearest
    first (:func:`forge.usages.select.chosen_usages`). ``summaries``: public path -> what that API does, for the other
    calls of a snippet; the entity's own is known."""
    if not usages:
        return
    split = split_of(entity.entity_key, held_out_share)
    texts = (
        (DOC_TO_CODE, _doc_to_code(entity, usages), tuple(usages)),
        (CODE_TO_DOC, _code_to_doc(entity, usages[0], summaries or {}), tuple(usages[:1])),
    )
    for form, text, shown in texts:
        if text:
            document = Document("api_doc", form, cut(text, max_characters), split, entity.entity_key)
            licenses = sorted({entity.license, *(usage.license for usage in shown)})
            yield UsageDocument(document, joined_license(*licenses), shown)


def _doc_to_code(entity: ApiEntity, usages: Sequence[Usage]) -> str:
    """Signature and what it does, then how others use it."""
    described = cut(_ASIDES.split(entity.description)[0], _MAX_DESCRIPTION_CHARACTERS) or entity.summary
    blocks = [_signature(entity), described, heading("usage"), *(usage.snippet for usage in usages)]
    return "\n\n".join(block for block in blocks if block)


def _code_to_doc(entity: ApiEntity, usage: Usage, summaries: Mapping[str, str]) -> str:
    """A snippet, then each documented API that it calls and what that does, in the order of their first call."""
    told = {entity.name: entity.summary} | {
        path: summaries[path] for path in usage.calls if path not in {entity.name, *usage.names} and summaries.get(path)
    }
    if not entity.summary:
        return ""
    order = sorted(told, key=lambda path: (_position(usage.snippet, path), path))
    lines = []
    for path in order:
        shown = _signature(entity, one_line=True) if path == entity.name else path
        lines.append(f"- {shown}: {first_sentence(told[path], _MAX_SUMMARY_CHARACTERS)}")
    return "\n\n".join([usage.snippet, opening(entity, "code_to_doc"), "\n".join(lines)])


def _position(snippet: str, path: str) -> int:
    """Where a path's last name is called first; behind everything when it is not written out."""
    found = snippet.rfind(path.rpartition(".")[2] + "(")
    return found if found >= 0 else len(snippet)


def _signature(entity: ApiEntity, one_line: bool = False) -> str:
    if entity.declaration and entity.name in entity.declaration:
        return " ".join(entity.declaration.split()) if one_line else entity.declaration
    signature = python_signature(entity, width=10_000 if one_line else 100)
    if one_line and len(signature) > _MAX_SIGNATURE_CHARACTERS:
        signature = f"{entity.name}(...)"
    return ("class " if entity.entity_type == "class" else "") + signature


@lru_cache(maxsize=4096)
def joined_license(*expressions: str) -> str:
    """All licences at once, as one simplified SPDX expression: "MIT" and "Apache-2.0 OR MIT" is "MIT". "" as
    soon as one of them is not known or no licence expression."""
    from license_expression import ExpressionError, combine_expressions, get_spdx_licensing

    if not all(expressions):
        return ""
    try:
        joined = combine_expressions(list(expressions), relation="AND", unique=True, licensing=get_spdx_licensing())
        return str(joined.simplify())
    except ExpressionError:
        return ""
