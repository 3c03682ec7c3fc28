"""A subject that says what a test wrote for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from forge.config import Settings, load_settings
from training.evaluation.subject import Conversation


@dataclass
class ScriptedSubject:
    """``script``: a conversation and how many answers it holds to the next answer. ``asked``: how many conversations
    each request held."""

    script: Callable[[Conversation, int], str]
    prompt_hash: str = "scripted"
    device: str = "remote"
    asked: list[int] = field(default_factory=list)

    def answers(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> Iterator[tuple[int, str]]:
        assert max_new_tokens > 0
        self.asked.append(len(conversations))
        for place in reversed(range(len(conversations))):
            conversation = conversations[place]
            said = sum(message["role"] == "assistant" for message in conversation.messages)
            yield place, self.script(conversation, said)


@pytest.fixture
def scripted() -> type[ScriptedSubject]:
    return ScriptedSubject


@pytest.fixture
def evaluation_settings():
    """A function of changes of ``settings.evaluation``."""

    def make(**changes) -> Settings:
        settings = load_settings("demo")
        return settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update=changes)})

    return make
