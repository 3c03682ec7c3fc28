"""A model in this process as a subject."""

from __future__ import annotations

from pathlib import Path

from training.base_model import load_model, load_tokenizer
from training.chat import prompt_hash
from training.evaluation.subject import Conversation, LocalSubject, Subject

ASKED = [Conversation([], [{"role": "user", "content": text}]) for text in ("create a user", "list", "get the key")]


def test_answers_are_those_of_a_conversation_alone(tiny_model: Path) -> None:
    model, tokenizer = load_model(tiny_model).eval(), load_tokenizer(tiny_model)
    subject: Subject = LocalSubject(model, tokenizer, batch_items=2)
    together = dict(subject.answers(ASKED, max_new_tokens=6))
    assert sorted(together) == [0, 1, 2]
    for place, asked in enumerate(ASKED):
        assert list(subject.answers([asked], max_new_tokens=6)) == [(0, together[place])]


def test_it_says_how_it_renders_and_where_it_computes(tiny_model: Path) -> None:
    model, tokenizer = load_model(tiny_model), load_tokenizer(tiny_model)
    subject = LocalSubject(model, tokenizer)
    assert subject.prompt_hash == prompt_hash(tokenizer)
    assert subject.device == "cpu"
