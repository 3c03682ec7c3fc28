"""Benchmark loss: how surprised the model is by the right call.

For item i: prompt x_i is the chat rendering of :mod:`training.chat`, y_i the canonical gold call and what the template
ends a turn with. ``L = sum_i sum_t -log p(y_it | x_i, y_i,<t) / sum_i |y_i|`` in nats per token, token-weighted; bits
per byte is ``sum of nats / (ln 2 * bytes of y)``, which does not depend on the tokenizer. The tokens of function names
and those of arguments are also counted apart. The definition is ours, not the paper's.

Right answers and function names of one item share its prompt, which is most of the work: the model reads it once.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.chat import prompt_text, turn_end
from training.control_tokens import encode_rendered, set_aside
from training.evaluation.scoring import Continuation, ScoredText, read_prefix, shared_length, token_nats, tree_nats
from training.evaluation.subject import Conversation

Measures = dict[str, tuple[float, float]]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Written:
    """What an assistant writes. Where it ``ends_turn``, what the template ends a turn with is scored too."""

    text: str
    ends_turn: bool = True


@dataclass(frozen=True, slots=True)
class CallLoss:
    """``is_name``: of each token, whether it spells a function's name; ``is_argument``: whether it stands from a call's
    opening parenthesis to its closing one. Neither are the brackets of the list and what ends the turn."""

    scored: ScoredText
    is_name: tuple[bool, ...]
    is_argument: tuple[bool, ...]


def gold_loss(model: Any, tokenizer: Any, conversation: Conversation, gold: str) -> CallLoss:
    """The loss of a right answer in the conversation. Raises :class:`training.chat.NotAChat`."""
    return losses_of_answers(model, tokenizer, conversation, [Written(gold)], share_prompt=False)[0]


def losses_of_answers(
    model: Any, tokenizer: Any, conversation: Conversation, answers: Sequence[Written], *, share_prompt: bool
) -> list[CallLoss]:
    """The loss of each of several answers in one conversation. Raises :class:`training.chat.NotAChat`.

    ``share_prompt``: the model reads the prompt once, which changes nothing but rounding if it passes
    :func:`training.evaluation.scoring.shares_contexts`.
    """
    tokenised = _tokenised(tokenizer, conversation, answers)
    texts = [answer.continuation for answer in tokenised]
    if share_prompt and len(texts) > 1:
        in_prompt = min(text.start for text in texts) - 1  # its last token is what an answer's first is predicted from
        prefix = read_prefix(model, texts[0].tokens[: min(in_prompt, shared_length([text.tokens for text in texts]))])
        (found,) = tree_nats(model, [texts], prefix)
    else:
        found = [token_nats(model, text.tokens[: text.start], text.tokens[text.start :]) for text in texts]
    return [answer.with_nats(nats) for answer, nats in zip(tokenised, found, strict=True)]


def text_measures(scored: ScoredText) -> Measures:
    """The loss of a text as measures of its item: (nats, tokens), (bits, bytes), (nats / tokens, 1)."""
    nats, tokens = scored.total_nats, len(scored.nats)
    return {
        "nats_per_token": (nats, tokens),
        "bits_per_byte": (nats / math.log(2), scored.text_bytes),
        "item_mean_nats_per_token": (nats / tokens, 1),
    }


def call_measures(loss: CallLoss) -> Measures:
    """:func:`text_measures` of a right call, and those of its names and its arguments where it has any."""
    measures = text_measures(loss.scored)
    for name, chosen in (("name", loss.is_name), ("argument", loss.is_argument)):
        nats = [value for value, is_chosen in zip(loss.scored.nats, chosen, strict=True) if is_chosen]
        if nats:
            measures[f"{name}_nats_per_token"] = (sum(nats), len(nats))
    return measures


def spans_of_calls(text: str) -> tuple[list[Span], list[Span]]:
    """Half-open ranges of characters: of the functions' names in a call or a list of calls in Python, and of their
    arguments with the parentheses around.

    In another text the name is what stands before the first parenthesis and all behind it is arguments; without a
    parenthesis there are none.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return _spans_at_parenthesis(text)
    calls = tree.elts if isinstance(tree, ast.List) else [tree]
    names, arguments = [], []
    for call in calls:
        start, end = _span_of(call, text)
        end_of_name = _span_of(call.func, text)[1] if isinstance(call, ast.Call) else start
        if end_of_name == start or "(" in text[start:end_of_name]:  # no call, or one of what a call returned
            return _spans_at_parenthesis(text)
        names.append((start, end_of_name))
        arguments.append((end_of_name, end))
    return names, arguments


def _span_of(node: ast.expr, text: str) -> Span:
    """In characters: the parser counts bytes of a line."""
    lines = text.splitlines(keepends=True)

    def place(line: int, column: int) -> int:
        return sum(map(len, lines[: line - 1])) + len(lines[line - 1].encode()[:column].decode())

    return place(node.lineno, node.col_offset), place(node.end_lineno or 1, node.end_col_offset or 0)


def _spans_at_parenthesis(text: str) -> tuple[list[Span], list[Span]]:
    start, opening = len(text) - len(text.lstrip("[ ")), text.find("(")
    return ([(start, opening)], [(opening, len(text))]) if opening > start else ([], [])


@dataclass(frozen=True, slots=True)
class _TokenisedAnswer:
    continuation: Continuation
    text_bytes: int
    is_name: tuple[bool, ...]
    is_argument: tuple[bool, ...]

    def with_nats(self, nats: tuple[float, ...]) -> CallLoss:
        return CallLoss(ScoredText(nats, self.text_bytes), self.is_name, self.is_argument)


def _tokenised(tokenizer: Any, conversation: Conversation, answers: Sequence[Written]) -> list[_TokenisedAnswer]:
    """Prompt and answer are encoded as one text, as a chat of training is; a token starts where the answer does."""
    prompt = prompt_text(tokenizer, conversation.tools, conversation.messages)
    end = turn_end(tokenizer).text
    found = []
    for answer in answers:
        written = answer.text + (end if answer.ends_turn else "")
        whole = prompt + set_aside(tokenizer, answer.text) + (end if answer.ends_turn else "")
        encoded = encode_rendered(tokenizer, whole, [len(prompt)])
        start = sum(first < len(prompt) for first, _ in encoded.offsets)
        places = [(first - len(prompt), last - len(prompt)) for first, last in encoded.offsets[start:]]
        names, arguments = spans_of_calls(answer.text)
        is_name = tuple(_overlaps(place, names) for place in places)
        is_argument = tuple(
            _overlaps(place, arguments) and not of_name for place, of_name in zip(places, is_name, strict=True)
        )
        continuation = Continuation(tuple(encoded.ids), start)
        found.append(_TokenisedAnswer(continuation, len(written.encode()), is_name, is_argument))
    return found


def _overlaps(place: Span, spans: Sequence[Span]) -> bool:
    return any(place[0] < end and start < place[1] for start, end in spans)
