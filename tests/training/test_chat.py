from __future__ import annotations

import json

import pytest

from forge.schema import canonical_json
from training.base_model import load_tokenizer
from training.chat import NotAChat, plain_messages, prompt_text, render_call, segments, tokenise_chat
from training.evaluation.python_calls import calls_of

TOOLS = [
    {"type": "function", "function": {"name": name, "description": f"Does {name}", "parameters": {"type": "object"}}}
    for name in ("get_user", "put_user", "list_user")
]
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "get user"},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get_user", "arguments": {"id": 3}}}]},
    {"role": "tool", "content": "name"},
    {"role": "assistant", "content": "It is name."},
]


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return load_tokenizer(tiny_model)


def text_of(tools=TOOLS, messages=MESSAGES):
    return canonical_json({"tools": tools, "messages": messages})


def test_the_loss_counts_what_the_assistant_writes_and_nothing_else(tokenizer):
    chat = tokenise_chat(tokenizer, text_of(), 10_000)
    written = [tokenizer.decode(chat.input_ids[start:end]) for start, end in chat.loss_spans]
    assert written == ["[get_user(id=3)]<|im_end|>", "It is name.<|im_end|>"]
    whole = tokenizer.decode(chat.input_ids)
    assert whole.startswith("<|im_start|>system\nBe brief.\n\nYou can call these functions:\n")
    assert '{"description":"Does get_user","name":"get_user","parameters":{"type":"object"}}\n' in whole
    assert whole.endswith("<|im_start|>tool\nname<|im_end|>\n<|im_start|>assistant\nIt is name.<|im_end|>\n")
    assert (chat.cropped_tokens, chat.dropped_tools) == (0, 0)


def test_the_prompt_of_evaluation_is_the_prefix_of_training(tokenizer):
    plain = plain_messages([tool["function"] for tool in TOOLS], MESSAGES)
    prompt = prompt_text(tokenizer, [tool["function"] for tool in TOOLS], MESSAGES[:2])
    assert segments(tokenizer, plain)[0].text == prompt


def test_a_long_conversation_loses_uncalled_tools_first_and_is_then_cropped(tokenizer):
    whole = len(tokenise_chat(tokenizer, text_of(), 10_000).input_ids)
    shorter = tokenise_chat(tokenizer, text_of(), whole - 5)
    assert (shorter.dropped_tools, shorter.cropped_tokens) == (1, 0)
    assert "get_user" in tokenizer.decode(shorter.input_ids)
    least = tokenise_chat(tokenizer, text_of(), whole - 150)
    assert least.dropped_tools == 2
    assert len(least.input_ids) == whole - 150
    assert least.cropped_tokens > 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not_json"),
        ("[]", "no_messages"),
        ('{"messages": []}', "no_messages"),
        ('{"messages": ["x"]}', "no_messages"),
        (text_of(messages=[{"role": "robot", "content": "x"}]), "unknown_role"),
        (text_of(messages=[{"role": "user", "content": "x"}]), "no_assistant_tokens"),
        (text_of(messages=[{"role": "assistant", "calls": [{"name": 3}]}]), "bad_call"),
        (text_of(messages=[{"role": "assistant", "calls": [{"name": "f", "arguments": "[1"}]}]), "bad_call"),
    ],
)
def test_what_is_no_chat_is_refused_with_a_reason(tokenizer, text, reason):
    with pytest.raises(NotAChat, match=reason):
        tokenise_chat(tokenizer, text, 1000)


def test_a_template_that_rewrites_what_came_before_is_refused(tokenizer):
    template = tokenizer.chat_template
    tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    try:
        with pytest.raises(NotAChat, match="template_not_incremental"):
            tokenise_chat(tokenizer, text_of(), 1000)
    finally:
        tokenizer.chat_template = template


@pytest.mark.parametrize(
    "arguments", [{}, {"a": 1, "b": "x'\"\n"}, {"--all": True, "n": None}, {"x": [1.5, {"y": -2}]}]
)
def test_a_rendered_call_parses_back(arguments):
    (call,) = calls_of(f"[{render_call('a.b', arguments)}]")
    assert (call.name, dict(call.arguments)) == ("a.b", arguments)


def test_arguments_as_json_text_are_read():
    message = {"role": "assistant", "calls": [{"name": "f", "arguments": json.dumps({"a": 1})}]}
    assert plain_messages([], [message])[0]["content"] == "[f(a=1)]"
