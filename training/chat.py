"""One chat rendering for stage III and for evaluation: tools in the system text, calls as a Python call list.

A chat document is ``{"tools": [...], "messages": [...]}``. Tools are functions or OpenAI tools; messages carry calls as
``calls`` ([{name, arguments}]) or as OpenAI's ``tool_calls``. The checkpoint's own chat template lays out the turns;
ours (:data:`CHATML`) stands in where there is none. The same text is used for every checkpoint, so that losses and
accuracies compare; its hash (:func:`prompt_hash`) stands beside every figure.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from forge.schema import canonical_json, content_hash

RENDERING_VERSION = "2"
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


def prompt_hash(tokenizer: Any) -> str:
    """Hash of everything that decides how a chat is rendered."""
    return content_hash(RENDERING_VERSION, TOOLS_HEAD, TOOLS_TAIL, tokenizer.chat_template or CHATML)


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
    """The rendered conversation up to where the assistant answers."""
    return _apply(tokenizer, plain_messages(tools, messages), add_generation_prompt=True)


def plain_messages(tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages of role and text only, with ``loss`` where it is false. Neighbouring system messages at the start become
    one, with the tools in it."""
    own, rest = [], list(messages)
    while rest and rest[0].get("role") == "system":
        own.append(str(rest.pop(0).get("content") or ""))
    plain: list[dict[str, Any]] = []
    system = system_text(tools, "\n\n".join(own))
    if system:
        plain.append({"role": "system", "content": system})
    for message in rest:
        role = message.get("role")
        if role not in ("system", "user", "assistant", "tool"):
            raise NotAChat("unknown_role")
        parts = [str(message[key]) for key in ("thought", "content") if message.get(key)]
        calls = [_call_of(call) for call in message.get("calls") or message.get("tool_calls") or ()]
        if calls:
            parts.append(render_calls(calls))
        if message.get("error"):
            parts.append(f"Error: {message['error']}")
        silent = {"loss": False} if message.get("loss") is False else {}
        plain.append({"role": str(role), "content": "\n".join(parts), **silent})
    return plain


def _function_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The function of an OpenAI tool ``{"type": "function", "function": {...}}``; any other tool as it is."""
    function = tool.get("function")
    return function if isinstance(function, Mapping) else tool


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


def _apply(tokenizer: Any, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool) -> str:
    return str(
        tokenizer.apply_chat_template(
            list(messages),
            chat_template=tokenizer.chat_template or CHATML,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
    )


def segments(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> list[Segment]:
    """The rendered conversation cut where the assistant starts and stops writing.

    Found by rendering each prefix, so that it holds for any template that only appends; for another one
    :class:`NotAChat` says ``template_not_incremental``. The end-of-turn token is part of what the assistant writes.
    """
    whole = _apply(tokenizer, messages, add_generation_prompt=False)
    end = tokenizer.eos_token or ""
    found: list[Segment] = []
    position = 0
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _apply(tokenizer, messages[:number], add_generation_prompt=True) if number else ""
        after = _apply(tokenizer, messages[: number + 1], add_generation_prompt=False)
        if not whole.startswith(before) or not whole.startswith(after) or not position <= len(before) <= len(after):
            raise NotAChat("template_not_incremental")
        written = after[len(before) :]
        if end and end in written:
            written = written[: written.rindex(end) + len(end)]
        found += [Segment(whole[position : len(before)], False), Segment(written, message.get("loss") is not False)]
        position = len(before) + len(written)
    found.append(Segment(whole[position:], False))
    return [segment for segment in found if segment.text]


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
    tools = [_function_of(tool) for tool in tools or [] if isinstance(tool, dict)]
    tokens, targets = _tokenise(tokenizer, tools, messages)
    dropped = 0
    if len(tokens) > max_tokens and tools:
        kept = _tools_that_fit(tokenizer, tools, messages, len(tokens) - max_tokens)
        dropped, tools = len(tools) - len(kept), kept
        tokens, targets = _tokenise(tokenizer, tools, messages)
    cropped = max(0, len(tokens) - max_tokens)
    tokens, targets = tokens[:max_tokens], targets[:max_tokens]
    if not any(targets):
        raise NotAChat("no_assistant_tokens")
    return TokenisedChat(tuple(tokens), _spans(targets), cropped, dropped)


def _tokenise(
    tokenizer: Any, tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]]
) -> tuple[list[int], list[bool]]:
    tokens: list[int] = []
    targets: list[bool] = []
    for segment in segments(tokenizer, plain_messages(tools, messages)):
        ids = tokenizer(segment.text, add_special_tokens=False)["input_ids"]
        tokens += ids
        targets += [segment.is_target] * len(ids)
    return tokens, targets


def _tools_that_fit(
    tokenizer: Any, tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]], excess_tokens: int
) -> list[Mapping[str, Any]]:
    called = {
        _call_of(call)[0] for message in messages for call in message.get("calls") or message.get("tool_calls") or ()
    }
    kept = list(tools)
    for tool in reversed(tools):
        if excess_tokens <= 0:
            break
        if tool.get("name") not in called:
            kept.remove(tool)
            excess_tokens -= len(tokenizer(canonical_json(dict(tool)), add_special_tokens=False)["input_ids"])
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
