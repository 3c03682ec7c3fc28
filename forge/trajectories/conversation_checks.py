"""What the assistant says: nothing at all, JSON cut in the middle, its own system prompt, only a stock refusal.

All of it in time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from forge.schema import Trajectory
from forge.trajectories.observations import is_error


def empty_episode(trajectory: Trajectory) -> str | None:
    """The assistant neither says nor does anything."""
    if any(
        step.calls or (step.content or "").strip() or (step.thought or "").strip()
        for step in trajectory.steps
        if step.role == "assistant"
    ):
        return None
    return "the assistant says and does nothing"


# --- JSON cut in the middle -----------------------------------------------------------------------------------------


def cut_json(trajectory: Trajectory) -> str | None:
    """A model that ran out of tokens inside a call leaves JSON that never closes: the text of a turn without calls, or
    the only argument of a call that nothing or an error answers."""
    steps = trajectory.steps
    for number, step in enumerate(steps):
        if step.role != "assistant":
            continue
        if not step.calls and step.content and is_cut_json(step.content):
            return f"step {number} ends inside JSON: …{step.content[-80:]!r}"
        if len(step.calls) == 1 and len(step.calls[0].arguments) == 1:
            (argument,) = step.calls[0].arguments.values()
            following = steps[number + 1] if number + 1 < len(steps) else None
            succeeded = following is not None and following.role == "tool" and not is_error(following)
            if isinstance(argument, str) and not succeeded and is_cut_json(argument):
                return f"step {number}, {step.calls[0].name}: the argument ends inside JSON: …{argument[-80:]!r}"
    return None


def is_cut_json(text: str) -> bool:
    """Whether the text begins as JSON with a name, a list or an object in it, or opens a call or a fence with such JSON
    as its last, and ends before that JSON closes."""
    marker = max(text.rfind(opening) for opening in _OPENINGS)
    start = _JSON_START.match(text, 0 if marker < 0 else marker) or _JSON_START.match(text)
    if start is None:
        return False
    depth = 0
    for token in _JSON_TOKEN.finditer(text, start.end() - 1):
        found = token.group()
        if found in "{[":
            depth += 1
        elif found in "}]":
            depth -= 1
            if depth <= 0:
                return False
        elif token["end"] != '"':
            return True
    return depth > 0


_OPENINGS = ("<tool_call>", "<functioncall>", "<function_call>", "```json")
_JSON_START = re.compile(
    r"""\s*(?:(?:<(?:tool_call|functioncall|function_call)>|```(?:json)?\s)\s*)?(?:\{(?=\s*")|\[(?=\s*\{\s*"))"""
)
_JSON_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?P<end>"|\\?\Z)|[\[\]{}]', re.DOTALL)


# --- the system prompt ----------------------------------------------------------------------------------------------

LEAK_WORDS = 50
"""Words of the system prompt that the assistant repeats in a row. Agents that quote a policy to a user repeat some 20
words (tau-bench: at most 21)."""
MAX_PROMPT_WORDS = 20_000
MAX_PROMPTS = 20
_GRAM_WORDS = LEAK_WORDS // 2  # a run of LEAK_WORDS holds a whole gram, wherever the grams of the other text begin


def leaked_system_prompt(trajectory: Trajectory) -> str | None:
    """The assistant repeats :data:`LEAK_WORDS` words of the system prompt in a row, or speaks of its hidden
    instructions."""
    prompts = dict.fromkeys(step.content for step in trajectory.steps if step.role == "system" and step.content)
    grams = [_prompt_grams(prompt) for prompt in list(prompts)[:MAX_PROMPTS]]
    for number, step in enumerate(trajectory.steps):
        if step.role != "assistant" or not step.content:
            continue
        spoken = _OF_INSTRUCTIONS.search(step.content)
        if spoken is not None:
            return f"step {number} speaks of its instructions: {spoken.group()!r}"
        if len(step.content) < 2 * LEAK_WORDS:
            continue
        said = step.content.split()
        for prompt in grams:
            run = _repeated(said, prompt)
            if run:
                return f"step {number} repeats the system prompt: {' '.join(run)[:200]!r}"
    return None


_OF_INSTRUCTIONS = re.compile(
    r"\bmy (?:system prompt|(?:hidden|secret|internal|initial|original|confidential|system) (?:instructions|prompt)\b)"
    r"|\bI (?:was|am|have been|['’]m|['’]ve been) (?:instructed|told) not to (?:reveal|disclose|share|mention)\b"
    r"|\bsystem prompt (?:says|states|tells me|instructs me)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _PromptGrams:
    words: Sequence[str]
    places: Mapping[int, int]
    """Hash of the words from a place on -> the place."""


@lru_cache(16)
def _prompt_grams(prompt: str) -> _PromptGrams:
    words = prompt.split()[:MAX_PROMPT_WORDS]
    places = {hash(tuple(words[place : place + _GRAM_WORDS])): place for place in range(len(words) - _GRAM_WORDS + 1)}
    return _PromptGrams(words, places)


def _repeated(said: Sequence[str], prompt: _PromptGrams) -> Sequence[str]:
    """The first run of at least ``LEAK_WORDS`` words that both have; empty when there is none."""
    start = reached = 0
    while start + _GRAM_WORDS <= len(said):
        place = prompt.places.get(hash(tuple(said[start : start + _GRAM_WORDS])))
        length = 0
        if place is not None:
            while start > 0 and place > 0 and length < _GRAM_WORDS and said[start - 1] == prompt.words[place - 1]:
                start, place, length = start - 1, place - 1, length + 1
            length = _equal_words(said, start, prompt.words, place)
            if length >= LEAK_WORDS:
                return said[start : start + length]
        # A run may begin before the words that found it; the search never goes back.
        reached = max(reached + _GRAM_WORDS, start + length)
        start = reached
    return ()


def _equal_words(said: Sequence[str], start: int, words: Sequence[str], place: int) -> int:
    length = 0
    while start + length < len(said) and place + length < len(words) and said[start + length] == words[place + length]:
        length += 1
    return length


# --- refusals -------------------------------------------------------------------------------------------------------

MAX_REFUSAL_CHARACTERS = 1_000


def refusal(trajectory: Trajectory) -> str | None:
    """No call is made and all that the assistant says are stock phrases of declining:

    - dropped: "I'm sorry, but I can't assist with that." "I apologize, but I am unable to fulfill this request. Is
      there anything else I can help you with?"
    - kept, since it teaches when not to call: "I'm sorry, but I don't have the capability to book flights." "I'm unable
      to assist with that. My current capabilities are limited to calculating shipping costs." "None of the available
      tools …" "Could you please provide the file ID?"

    What is declined, why, and what is asked for are no stock phrases: one other sentence keeps the episode.
    """
    if any(step.calls for step in trajectory.steps):
        return None
    said = [step.content for step in trajectory.steps if step.role == "assistant" and (step.content or "").strip()]
    declines = [_declines_only(text) for text in said if text is not None]
    return f"only declines: {said[0]!r}" if declines and all(declines) else None


def _declines_only(text: str) -> bool:
    if len(text) > MAX_REFUSAL_CHARACTERS:
        return False
    sentences = [sentence for sentence in _SENTENCE_END.split(text.replace("’", "'")) if sentence.strip()]
    declining = [_DECLINE.fullmatch(sentence.strip()) is not None for sentence in sentences]
    courtesy = [_COURTESY.fullmatch(sentence.strip()) is not None for sentence in sentences]
    return any(declining) and all(map(any, zip(declining, courtesy, strict=True)))


_SENTENCE_END = re.compile(r"[.!?\n]+")
_DECLINE = re.compile(
    r"""
    (?:(?:(?:i'm|i\ am|we're)\ (?:(?:really|very|so|truly)\ )?sorry|sorry|i\ apologi[sz]e|apologies|unfortunately),?\ )?
    (?:(?:but|however),?\ )?
    (?:as\ an\ ai(?:\ language)?(?:\ model|\ assistant)?,?\ )?
    i(?:\ can't|\ cannot|\ can\ not|\ won't|\ will\ not|(?:'m|\ am)\ (?:unable|not\ able)\ to)
    \ (?:help|assist|answer|do|fulfil+|comply|complete|process|handle|provide|continue|perform)(?:\ you)?
    (?:\ (?:with|on|to|in))?
    (?:\ (?:that|this|it|your|the))?
    (?:\ (?:request|question|task|query|information|help|assistance|inquiry))?
    (?:\ (?:at\ this\ time|at\ the\ moment|right\ now|further))?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_COURTESY = re.compile(
    r"""
      (?:(?:i'm|i\ am)\ (?:(?:really|very|so)\ )?sorry|sorry|i\ apologi[sz]e)
      (?:\ about\ that|\ for\ (?:the|any)\ inconvenience)?
    | (?:is\ there|do\ you\ have)\ (?:anything|something|any\ other)\ .{0,80}
    | (?:please\ )?(?:let\ me\ know\ if|feel\ free\ to)\ .{0,80}
    | if\ (?:there\ is|there's|you\ have|you\ need)\ (?:anything|something|any\ other)\ .{0,80}
    | thank\ you\ for\ (?:your\ )?understanding
    | how\ (?:else\ )?(?:can|may)\ i\ (?:help|assist)\ .{0,40}
    """,
    re.VERBOSE | re.IGNORECASE,
)
