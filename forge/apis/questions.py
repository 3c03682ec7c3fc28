"""A task in words, and the call that solves it: made only of what the source records or states."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from forge.apis.calls import Call, api_of, call_of, ecosystem, recorded_call
from forge.apis.forms import as_code, choice, code_examples, opening, title_of
from forge.apis.invocations import WAYS
from forge.apis.property_order import in_order
from forge.apis.templates import heading, templates
from forge.schema import ApiEntity, ApiExample
from forge.text.markup import cut, first_sentence

_MAX_VALUES_CHARACTERS = 1500
_MAX_TASK_CHARACTERS = 300
_MIN_TASK_WORDS = 3
_MAX_CODE_LINES = 30

_PLACEHOLDER = re.compile(
    r"string|text|value|<.*>|\{.*\}|\.\.\.|x{3,}|(?:my_?)?your[_ -].*|.*[_-]here|todo|[0-]{8,}|undefined|null|none",
    re.IGNORECASE | re.DOTALL,
)
"""What people and generators write where a value should stand."""

_LEAD_IN = re.compile(
    r"(?:the|this)(?: following)?(?: code| sample| cli)*(?: examples?| commands?| operations?| requests?| snippets?)+"
    r"(?: (?:shows?|demonstrates?|illustrates?)(?: you)? how to| (?:shows?|demonstrates?))?:? ",
    re.IGNORECASE,
)
_SECOND_VERB = re.compile(r"\b((?:and|or) (?:then )?)(\w+s)(?= (?:an?|the|its|their|all|any|it|one)\b)")
_NOT_A_TASK = re.compile(r"(?:note|important|warning|deprecated|see|example|returns|todo)\b[:.]", re.IGNORECASE)


def question(entity: ApiEntity, max_characters: int = 24_000) -> str:
    """A task from the summary or from what an example shows; the values that a caller is given; the call in one of the
    ecosystem's ways; the response where the source has one. "" where the source gives no example and does not state the
    values of a call, or says too little for a task."""
    if ecosystem(entity) in {"python", "shell", "other"}:
        example = next((one for one in code_examples(entity) if one.output or one.description), None)
        return "" if example is None else cut(_from_code(entity, example), max_characters)
    call = recorded_call(entity) or call_of(entity)
    if call is None or not call.is_stated or not _is_meaningful(entity, call):
        return ""
    ways = WAYS.get(ecosystem(entity), ())
    written = ways[choice(entity, "way", len(ways))](entity, call) if ways else ""
    task = task_of(entity, call.description)
    values = _values(call)
    if not written or not task or len(values) > _MAX_VALUES_CHARACTERS:
        return ""
    blocks = [_opening(entity, task) + (f"\n{values}" if values else ""), written]
    if call.response:
        blocks.append(f"{heading('response')}\n{call.response}")
    text = "\n\n".join(blocks)
    return text if len(text) <= max_characters else ""


def _from_code(entity: ApiEntity, example: ApiExample) -> str:
    task = task_of(entity, "")
    code = as_code(example) if ">>>" in example.input else example.input.strip("\n")
    if not task or code.count("\n") >= _MAX_CODE_LINES:
        return ""
    said = " ".join(example.description.split())
    joined = f"{task.rstrip('.')}, with" if is_imperative(task) else f"{task} Use"
    with_name = f"{joined} {title_of(entity)}."
    blocks = [_opening(entity, with_name) + (f"\n{cut(said, 600)}" if said else ""), code]
    if ">>>" not in example.input and example.output:
        blocks.append(f"{heading('output')}\n{example.output}")
    return "\n\n".join(blocks)


def _opening(entity: ApiEntity, task: str) -> str:
    """The task; of an operation with whose it is, because a path or a name alone could be anybody's."""
    if not is_imperative(task) or task[1:2].isupper():  # "All users ..." is no continuation of "How do I"
        return task
    api = api_of(entity) if ecosystem(entity) in {"aws", "google", "http", "graphql"} else ""
    request = task[:1].lower() + task[1:].rstrip(".:")
    return opening(entity, "question_of_api" if api else "question", task=task, request=request, api=api)


def _is_meaningful(entity: ApiEntity, call: Call) -> bool:
    """A recorded call with real values; else one whose every argument is described."""
    if any(_PLACEHOLDER.fullmatch(text) for text in _texts(list(call.arguments.values()))):
        return False
    if call.recorded:
        return True
    properties = in_order(entity.parameters)
    return bool(call.arguments) and all(properties.get(name, {}).get("description") for name in call.arguments)


def _texts(values: list[Any]) -> Iterator[str]:
    """All strings in some values, at any depth."""
    stack = values
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            stack.extend(value.values() if isinstance(value, dict) else value)


def _values(call: Call) -> str:
    """One line a value; those that are long, of several lines, or nested as JSON."""
    lines = []
    for name, value in call.arguments.items():
        plain = isinstance(value, str) and value == " ".join(value.split()) and value
        lines.append(f"- {name}: {value if plain else json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines)


def task_of(entity: ApiEntity, shown: str) -> str:
    """What somebody wants done: what the example shows, else the summary; "Deletes a pet." becomes "Delete a pet.".
    "" when neither says it."""
    for text in (_LEAD_IN.sub("", " ".join(shown.split()), count=1), entity.summary):
        sentence = first_sentence(text, _MAX_TASK_CHARACTERS).rstrip(":")
        if len(sentence.split()) >= _MIN_TASK_WORDS and not _NOT_A_TASK.match(sentence) and "..." not in sentence:
            task = imperative(sentence)
            return task if task.endswith((".", "?", "!")) else f"{task}."
    return ""


def imperative(sentence: str) -> str:
    """``Deletes a pet.`` -> ``Delete a pet.`` A sentence that begins with no known verb stays as it is."""
    first, space, rest = sentence.partition(" ")
    verb = _verb_forms().get(first.lower())
    if verb is None:
        return sentence[:1].upper() + sentence[1:]
    return verb.capitalize() + space + _SECOND_VERB.sub(_base_form, rest)


def _base_form(match: re.Match[str]) -> str:
    return match.group(1) + _verb_forms().get(match.group(2).lower(), match.group(2))


def is_imperative(sentence: str) -> bool:
    return sentence.partition(" ")[0].lower() in templates().verbs


@lru_cache(maxsize=1)
def _verb_forms() -> dict[str, str]:
    """Third person and base form -> base form."""
    forms: dict[str, str] = {}
    for verb in templates().verbs:
        if verb.endswith("y") and verb[-2] not in "aeiou":
            third = f"{verb[:-1]}ies"
        else:
            third = f"{verb}es" if verb.endswith(("s", "sh", "ch", "x", "z", "o")) else f"{verb}s"
        forms |= {verb: verb, third: verb}
    return forms
