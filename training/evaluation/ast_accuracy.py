"""AST accuracy: the model answers, the answer is parsed, the call is compared with what BFCL allows.

The rules follow BFCL's ``ast_checker`` for ``simple_python`` and ``multiple`` (one call; right name; required arguments
there; no unknown argument; value of the declared type and among those allowed; strings compared without case, spaces
and ``,./-_*^``). The checker is ours; a test replays every gold answer through it. Items and tokens are few on a CPU,
so the counts stand beside the share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from training.chat import prompt_ids, turn_end
from training.evaluation.bfcl import BfclItem
from training.evaluation.python_calls import Call, NotCalls, calls_of

_IGNORED = re.compile(r"[ ,./\-_*^]")
_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "float": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "tuple": (list,),
    "dict": (dict,),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """``problem`` is "" for a right answer, else why it is wrong; ``decoded`` is whether it was a list of calls."""

    item_id: str
    text: str
    decoded: bool
    problem: str


def check(item: BfclItem, text: str) -> Answer:
    """Judge an answer."""
    try:
        calls = calls_of(text)
    except NotCalls as reason:
        return Answer(item.item_id, text, False, str(reason))
    problem = f"{len(calls)} calls" if len(calls) != 1 else problem_of(item, calls[0])
    return Answer(item.item_id, text, True, problem)


def problem_of(item: BfclItem, call: Call) -> str:
    """What is wrong with a call; "" when nothing is."""
    if call.name != item.name:
        return f"name {call.name[:100]!r}"
    function = next(function for function in item.functions if function["name"] == item.name)
    schema = function["parameters"]
    properties: Mapping[str, Any] = schema["properties"]
    for name in schema.get("required", ()):
        if name not in call.arguments:
            return f"argument {name!r} is missing"
    for name, value in call.arguments.items():
        if name not in properties or name not in item.answer:
            return f"argument {name[:100]!r} is unknown"
        if not _has_type(value, str(properties[name].get("type", "any"))):
            return f"argument {name!r} has another type"
        if not any(_matches(value, allowed) for allowed in item.answer[name]):
            return f"argument {name!r} has another value"
    for name, allowed in item.answer.items():
        if name not in call.arguments and "" not in allowed:
            return f"argument {name!r} is missing"
    return ""


def _has_type(value: Any, declared: str) -> bool:
    types = _PYTHON_TYPES.get(declared)
    if types is None:
        return True
    return isinstance(value, types) and (declared == "boolean" or not isinstance(value, bool))


def _matches(value: Any, allowed: Any) -> bool:
    if isinstance(allowed, Mapping):
        return (
            isinstance(value, dict)
            and all(key in allowed for key in value)
            and all(
                any(_matches(value[key], option) for option in options) if key in value else "" in options
                for key, options in allowed.items()
            )
        )
    if isinstance(allowed, list):
        return (
            isinstance(value, list)
            and len(value) == len(allowed)
            and all(_matches(one, other) for one, other in zip(value, allowed, strict=True))
        )
    if isinstance(allowed, str):
        return isinstance(value, str) and _folded(value) == _folded(allowed)
    if isinstance(allowed, bool) or isinstance(value, bool):
        return value is allowed
    return bool(value == allowed)


def _folded(text: str) -> str:
    return _IGNORED.sub("", text).lower().replace("'", '"')


@torch.inference_mode()
def answers_of(
    model: Any, tokenizer: Any, items: Sequence[BfclItem], *, max_new_tokens: int, batch_items: int = 8
) -> list[str]:
    """Greedy answers, one per item, up to what ends a turn in the template or a text in the tokenizer.

    Prompts are padded on the left; the mask keeps the padding out.
    """
    ends = sorted({end for end in (turn_end(tokenizer).token_id, tokenizer.eos_token_id) if end is not None})
    padding = ends[0] if ends else 0
    prompts = [prompt_ids(tokenizer, item.tools, item.messages) for item in items]
    answers: list[str] = []
    for start in range(0, len(prompts), batch_items):
        batch = prompts[start : start + batch_items]
        longest = max(len(prompt) for prompt in batch)
        input_ids = torch.tensor(
            [[padding] * (longest - len(prompt)) + prompt for prompt in batch], device=model.device
        )
        mask = torch.tensor(
            [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch], device=model.device
        )
        written = model.generate(
            input_ids, attention_mask=mask, do_sample=False, max_new_tokens=max_new_tokens, use_cache=True,
            eos_token_id=ends or None, pad_token_id=padding,
        )  # fmt: skip
        for tokens in written[:, longest:].tolist():
            answer = tokens[: next((place for place, token in enumerate(tokens) if token in ends), None)]
            answers.append(str(tokenizer.decode(answer, skip_special_tokens=False)))
    return answers
