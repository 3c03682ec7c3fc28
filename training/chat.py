"""One chat rendering for stage III and for evaluation: tools in the system text, calls as a Python call list.

A chat document is ``{"tools": [...], "messages": [...]}``. Tools are functions or OpenAI tools; messages carry calls as
``calls`` ([{name, arguments}]) or as OpenAI's ``tool_calls``. The checkpoint's own chat template lays out the turns;
ours (:data:`CHATML`) stands in where there is none. The same text is used for every checkpoint, so that losses and
accuracies compare; its hash (:func:`prompt_hash`) stands beside every figure. Rendered text names only the control
tokens that the template wrote (:mod:`training.control_tokens`), whatever the messages say.
"""

from __future__ import annotations

import bisect
import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from forge.config import ConfigurationError
from forge.schema import canonical_json, content_hash
from training.control_tokens import (
    Encoded,
    control_tokens,
    encode_rendered,
    encode_text,
    has_reserved_character,
    set_aside,
)

RENDERING_VERSION = "3"
MAX_ASSISTANT_TURNS = 128
"""Finding a turn renders the conversation up to it: a longer one is cropped after this many."""

TOOLS_HEAD = "You can call these functions:"
TOOLS_TAIL = (
    "To call functions, end your answer with a line that is a Python list of calls: [name(argument=value, ...), ...]. "
    "Use only the functions and arguments above."
)
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class NotAChat(ValueError):
    """The document is no chat that can be trained on; the message is a snake_case reason."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of rendered text. ``is_target``: the assistant wrote it, the loss counts it."""

    text: str
    is_target: bool


@dataclass(frozen=True, slots=True)
class TokenisedChat:
    """``loss_spans`` are half-open ranges of ``input_ids`` that the loss counts."""

    input_ids: tuple[int, ...]
    loss_spans: tuple[tuple[int, int], ...]
    cropped_tokens: int
    dropped_tools: int


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """What a template writes behind an assistant's text, up to and with its first control token ``token_id``. Without
    one, ``text`` is "" and nothing tells a model to stop."""

    text: str
    token_id: int | None


def chat_template_of(tokenizer: Any) -> str:
    """The tokenizer's template (of several the one named ``default``), or :data:`CHATML`."""
    template = tokenizer.chat_template
    if isinstance(template, Mapping):
        template = template.get("default")
    return template or CHATML


def with_chat_template(tokenizer: Any) -> Any:
    """The tokenizer, with the template that it is trained with here: an exported model has to carry it."""
    tokenizer.chat_template = chat_template_of(tokenizer)
    return tokenizer


def prompt_hash(tokenizer: Any) -> str:
    """Hash of everything that decides how a chat is rendered."""
    tokens = [tokenizer.bos_token or "", tokenizer.eos_token or ""]  # templates write them
    return content_hash(RENDERING_VERSION, TOOLS_HEAD, TOOLS_TAIL, chat_template_of(tokenizer), *tokens)


def turn_end(tokenizer: Any) -> TurnEnd:
    """The end of an assistant's turn, as the template writes it; raises :class:`NotAChat` when it refuses a chat."""
    probe = "An answer."
    rendered = _apply(tokenizer, [{"role": "user", "content": "?"}, {"role": "assistant", "content": probe}])
    _, _, tail = rendered.rpartition(probe)
    controls = control_tokens(tokenizer)
    found = controls.pattern.search(tail)
    return TurnEnd(tail[: found.end()], controls.ids[found[0]]) if found else TurnEnd("", None)


def stop_token(tokenizer: Any) -> int:
    """The token that ends an assistant's turn and at which generation has to stop.

    Raises :class:`forge.config.ConfigurationError` when a model could not learn from this template when to stop.
    """
    try:
        token_id = turn_end(tokenizer).token_id
    except NotAChat as reason:
        raise ConfigurationError(
            f"training.base_model: its chat template does not render a question and an answer ({reason})"
        ) from None
    if token_id is None:
        raise ConfigurationError(
            "training.base_model: its chat template ends an answer with no control token of the tokenizer, a model "
            "trained on it would not know when to stop; add one (our template, where it has none, writes <|im_end|>)"
        )
    return token_id


def render_call(name: str, arguments: Mapping[str, Any]) -> str:
    """``name(a=1, b='x')``; argument names that are no Python identifiers go through ``**{...}``."""

    def is_plain(key: str) -> bool:
        return key.isidentifier() and key.isascii() and not keyword.iskeyword(key)

    plain = [f"{key}={value!r}" for key, value in arguments.items() if is_plain(key)]
    other = {key: value for key, value in arguments.items() if not is_plain(key)}
    return f"{name}({', '.join([*plain, f'**{other!r}'] if other else plain)})"


def render_calls(calls: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    return "[" + ", ".join(render_call(name, arguments) for name, arguments in calls) + "]"


def system_text(tools: Sequence[Mapping[str, Any]], own_text: str = "") -> str:
    """The system turn: the conversation's own system text, then the tools, one canonical JSON object a line."""
    parts = [own_text.strip()] if own_text.strip() else []
    if tools:
        parts.append("\n".join([TOOLS_HEAD, *(canonical_json(dict(tool)) for tool in tools), TOOLS_TAIL]))
    return "\n\n".join(parts)


def prompt_text(tokenizer: Any, tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]]) -> str:
    """The rendered conversation up to where the assistant answers; for :func:`encode_rendered`."""
    return _apply(tokenizer, plain_messages(tools, messages), add_generation_prompt=True)


def prompt_ids(tokenizer: Any, tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]]) -> list[int]:
    return encode_rendered(tokenizer, prompt_text(tokenizer, tools, messages)).ids


def plain_messages(tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages of role and text only, with ``loss`` where it is false. Neighbouring system messages at the start become
    one, with the tools in it."""
    own, rest = [], list(messages)
    while rest and rest[0].get("role") == "system":
        own.append(_text_of(rest.pop(0).get("content")))
    plain: list[dict[str, Any]] = []
    system = system_text(tools, "\n\n".join(own))
    if system:
        plain.append({"role": "system", "content": system})
    for message in rest:
        role = message.get("role")
        if role not in ("system", "user", "assistant", "tool"):
            raise NotAChat("unknown_role")
        parts = [text for key in ("thought", "content") if (text := _text_of(message.get(key)))]
        calls = _calls_of(message)
        if calls:
            parts.append(render_calls(calls))
        if message.get("error"):
            parts.append(f"Error: {message['error']}")
        silent = {"loss": False} if message.get("loss") is False else {}
        plain.append({"role": str(role), "content": "\n".join(parts), **silent})
    return plain


def _text_of(content: object) -> str:
    """A string, or OpenAI's parts of content if all of them are text, a line each."""
    if content is None:
        return ""
    if isinstance(content, list) and all(
        isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)
        for part in content
    ):
        return "\n".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise NotAChat("content_not_text")
    return content


def _function_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The function of an OpenAI tool ``{"type": "function", "function": {...}}``; any other tool as it is."""
    function = tool.get("function")
    return function if isinstance(function, Mapping) else tool


def _calls_of(message: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    calls = message.get("calls") or message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise NotAChat("bad_calls")
    return [_call_of(call) for call in calls]


def _call_of(call: object) -> tuple[str, Mapping[str, Any]]:
    if isinstance(call, Mapping) and isinstance(call.get("function"), Mapping):
        call = call["function"]
    if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
        raise NotAChat("bad_call")
    arguments = call.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            raise NotAChat("bad_call") from None
    if not isinstance(arguments, Mapping):
        raise NotAChat("bad_call")
    return call["name"], arguments


def _apply(tokenizer: Any, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = False) -> str:
    return _render(tokenizer, _set_aside(tokenizer, messages), add_generation_prompt=add_generation_prompt)


def _set_aside(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages without a control token in their texts."""
    if any(has_reserved_character(message["content"]) for message in messages):
        raise NotAChat("reserved_character")
    return [{**message, "content": set_aside(tokenizer, message["content"])} for message in messages]


def _render(tokenizer: Any, messages: list[dict[str, Any]], *, add_generation_prompt: bool = False) -> str:
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(
                messages,
                chat_template=chat_template_of(tokenizer),
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
            )
        )
    except TemplateError:
        raise NotAChat("template_refuses") from None


def segments(tokenizer: Any, messages: Sequence[Mapping[str, Any]], max_characters: int | None = None) -> list[Segment]:
    """The rendered conversation cut where the assistant starts and stops writing.

    Found by rendering each prefix, so that it holds for any template that only appends; for another one
    :class:`NotAChat` says ``template_not_incremental``. What ends the turn is part of what the assistant writes. Turns
    that start beyond ``max_characters`` are not looked for, and what follows :data:`MAX_ASSISTANT_TURNS` is left out.
    """
    given = _set_aside(tokenizer, messages)
    whole = _render(tokenizer, given)
    end = turn_end(tokenizer).text
    found: list[Segment] = []
    position = turns = 0
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        if turns == MAX_ASSISTANT_TURNS:
            whole = whole[:position]
            break
        after = _render(tokenizer, given[: number + 1])
        before = (
            _render(tokenizer, given[:number], add_generation_prompt=True) if number else _opening(tokenizer, after)
        )
        if not whole.startswith(before) or not whole.startswith(after) or not position <= len(before) <= len(after):
            raise NotAChat("template_not_incremental")
        written = after[len(before) :]
        if end and end in written:
            written = written[: written.rindex(end) + len(end)]
        found += [Segment(whole[position : len(before)], False), Segment(written, message.get("loss") is not False)]
        position = len(before) + len(written)
        turns += 1
        if max_characters is not None and position >= max_characters:
            break
    found.append(Segment(whole[position:], False))
    return [segment for segment in found if segment.text]


def _opening(tokenizer: Any, rendered: str) -> str:
    """What stands before the text of an assistant who speaks first, whom no prompt asks: its header is known from the
    prompt of another conversation."""
    question = [{"role": "user", "content": "?"}]
    asked = _apply(tokenizer, question)
    prompt = _apply(tokenizer, question, add_generation_prompt=True)
    header = prompt[len(asked) :] if prompt.startswith(asked) else ""
    if not header or rendered.count(header) != 1:
        raise NotAChat("starts_with_assistant")
    return rendered[: rendered.index(header) + len(header)]


def tokenise_chat(tokenizer: Any, text: str, max_tokens: int) -> TokenisedChat:
    """Token ids and loss spans of a chat document, at most ``max_tokens`` long.

    A conversation that is too long first loses tools that it never calls, from the end; what is still too long is
    cropped at the end and counted. Raises :class:`NotAChat` with the reason when nothing is left to learn from.
    """
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise NotAChat("not_json") from None
    tools, messages = (document.get("tools"), document.get("messages")) if isinstance(document, dict) else (None, None)
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages) or not messages:
        raise NotAChat("no_messages")
    if not isinstance(tools or [], list) or not all(isinstance(tool, dict) for tool in tools or []):
        raise NotAChat("bad_tools")
    tools = [_function_of(tool) for tool in tools or []]
    encoded = _encode(tokenizer, tools, messages)
    dropped = 0
    if len(encoded.ids) > max_tokens and tools:
        kept = _tools_that_fit(tokenizer, tools, messages, len(encoded.ids) - max_tokens)
        dropped, tools = len(tools) - len(kept), kept
        encoded = _encode(tokenizer, tools, messages)
    max_characters = encoded.offsets[max_tokens][1] if len(encoded.ids) > max_tokens else None
    tokens, targets = _with_targets(tokenizer, segments(tokenizer, plain_messages(tools, messages), max_characters))
    cropped = max(len(tokens), len(encoded.ids)) - min(len(tokens), max_tokens)
    tokens, targets = tokens[:max_tokens], targets[:max_tokens]
    if not any(targets):
        raise NotAChat("no_assistant_tokens")
    return TokenisedChat(tuple(tokens), _spans(targets), cropped, dropped)


def _encode(tokenizer: Any, tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]]) -> Encoded:
    return encode_rendered(tokenizer, _apply(tokenizer, plain_messages(tools, messages)))


def _with_targets(tokenizer: Any, found: Sequence[Segment]) -> tuple[list[int], list[bool]]:
    """Ids of the whole text, and which of them start where the assistant writes."""
    starts: list[int] = []
    position = 0
    for segment in found:
        starts.append(position)
        position += len(segment.text)
    cuts = [start for start, segment in zip(starts, found, strict=True) if segment.is_target]
    encoded = encode_rendered(tokenizer, "".join(segment.text for segment in found), cuts)
    targets = [found[bisect.bisect_right(starts, start) - 1].is_target for start, _ in encoded.offsets]
    return encoded.ids, targets


def _tools_that_fit(
    tokenizer: Any, tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]], excess_tokens: int
) -> list[Mapping[str, Any]]:
    called = {name for message in messages for name, _ in _calls_of(message)}
    kept = list(tools)
    for tool in reversed(tools):
        if excess_tokens <= 0:
            break
        if tool.get("name") not in called:
            kept.remove(tool)
            excess_tokens -= len(encode_text(tokenizer, canonical_json(dict(tool))).ids)
    return kept


def _spans(targets: Sequence[bool]) -> tuple[tuple[int, int], ...]:
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for position, target in enumerate([*targets, False]):
        if target and start is None:
            start = position
        elif not target and start is not None:
            spans.append((start, position))
            start = None
    return tuple((max(start, 1), end) for start, end in spans if end > max(start, 1))
