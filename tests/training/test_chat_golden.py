"""What stage III trains on, to the byte: rendered conversations with the supervised text between marks.

The golden file is for people to read: ``⟦`` and ``⟧`` enclose what the loss counts. When the rendering is changed on
purpose, ``training.chat.RENDERING_VERSION`` changes with it, and the file by hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from forge.schema import canonical_json
from training.base_model import load_tokenizer
from training.chat import RENDERING_VERSION, tokenise_chat

GOLDEN = Path(__file__).with_name("chat_golden.txt")

GET_USER = {"name": "get_user", "description": "Get a user", "parameters": {"type": "object", "properties": {}}}
CONVERSATIONS = {
    "a call and its result": {
        "tools": [{"type": "function", "function": GET_USER}],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Who is user 3?"},
            {"role": "assistant", "thought": "I look.", "calls": [{"name": "get_user", "arguments": {"id": 3}}]},
            {"role": "tool", "content": '{"name":"Ada"}'},
            {"role": "assistant", "content": "User 3 is Ada."},
        ],
    },
    "an error, a second try, a turn without loss": {
        "tools": [GET_USER],
        "messages": [
            {"role": "user", "content": "Get zoë."},
            {"role": "assistant", "calls": [{"name": "get_user", "arguments": {"id": None}}], "loss": False},
            {"role": "tool", "error": "id is null"},
            {
                "role": "assistant",
                "tool_calls": [{"function": {"name": "get_user", "arguments": '{"if": true, "name": "zoë"}'}}],
            },
        ],
    },
    "no tools": {
        "messages": [{"role": "user", "content": "list\n  group"}, {"role": "assistant", "content": "- a\n- b"}]
    },
}


def marked(tokenizer, chat) -> str:
    """The decoded tokens with marks around the loss spans."""
    text, position = "", 0
    for start, end in chat.loss_spans:
        text += tokenizer.decode(chat.input_ids[position:start])
        text += "⟦" + tokenizer.decode(chat.input_ids[start:end]) + "⟧"
        position = end
    return text + tokenizer.decode(chat.input_ids[position:])


@pytest.fixture(scope="module")
def rendered(tiny_model) -> str:
    tokenizer = load_tokenizer(tiny_model)
    parts = [f"rendering version {RENDERING_VERSION}"]
    for name, conversation in CONVERSATIONS.items():
        chat = tokenise_chat(tokenizer, canonical_json(conversation), 10_000)
        assert chat.loss_spans, name
        assert all(0 < start < end <= len(chat.input_ids) for start, end in chat.loss_spans)
        parts.append(f"=== {name}\n{marked(tokenizer, chat)}")
    return "\n".join(parts)


def test_rendered_bytes_and_masks_are_the_golden_ones(rendered):
    assert rendered.encode() == GOLDEN.read_bytes()
