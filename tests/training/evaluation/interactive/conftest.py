"""A subject that says what a test wrote for it, and settings for episodes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forge.config import Settings, load_settings
from forge.schema import canonical_json
from training.chat import render_calls
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


@pytest.fixture(scope="session")
def scripted() -> type[ScriptedSubject]:
    return ScriptedSubject


@pytest.fixture(scope="session")
def evaluation_settings():
    """A function of changes of ``settings.evaluation``."""

    def make(**changes) -> Settings:
        settings = load_settings("demo")
        return settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update=changes)})

    return make


@pytest.fixture(scope="session")
def hostile_answers(tmp_path_factory) -> tuple[list[str], Callable[[], bool]]:
    """Answers that would do harm if they were run or believed, and whether one of them was."""
    planted = tmp_path_factory.mktemp("hostile") / "planted"
    plant = f"__import__('pathlib').Path({str(planted)!r}).touch()"
    answers = [
        plant,
        f"[{plant}]",
        f"[act(action=1+{plant})]",
        f"[act(action={plant!r})]",
        f"[act(**{{'action': {plant}}})]",
        f"[{plant}.act(action='look around')]",
        f"[read_file(file_path={plant!r}), read_file(file_path={str(planted)!r})]",
        f"[send_money(recipient=\"['{{}}'.format({plant})]\", amount='{plant!r}', subject='', date='')]".replace(
            "''", "'"
        ),
        f"[__import__(name='os'), eval(source={plant!r}), os.system(command='touch {planted}')]",
        "[act(action=9**9**9)]",
        "[get_most_recent_transactions(n=9**9**9)]",
        f"[get_most_recent_transactions(n=0x{'f' * 4000})]",
        "[get_most_recent_transactions(n=1e999)]",
        "[act(action='" + "look " * 200_000 + "')]",
        "[act(action=" + "[" * 5_000 + "]" * 5_000 + ")]",
        "[act(action='" + "[" * 4_000 + "')]",
        "[send_money(recipient='" + "[" * 4_000 + "', amount=1, subject='', date='')]",
        "[act(action='\\ud800\\x00\\x1b[2J\\n')]",
        "[send_money(recipient='\\ud800\\x00\\x1b[2J', amount=-1e308, subject='\\n', date='\\x00')]",
        "\x00\x1b[2J\x07" * 100,
        "[" + ", ".join(["act(action='look around')"] * 200) + "]",
    ]
    return answers, planted.exists


@pytest.fixture(scope="session")
def gold_subject(scripted):
    """A function of interpreter, simulator and item ids: a subject that plays the simulator's gold paths, an action an
    answer. It tells episodes by what they show first, so it learns them from ``openings``: item id to conversation."""

    def make(python: Path, simulator: str, openings: Mapping[str, Conversation]) -> ScriptedSubject:
        command = [python, Path(__file__).parent / "gold_actions.py", simulator, *openings]
        printed = subprocess.run(command, capture_output=True, check=True).stdout
        actions = dict(map(json.loads, printed.splitlines()))
        by_opening = {canonical_json(list(opening.messages)): actions[item_id] for item_id, opening in openings.items()}

        def script(conversation: Conversation, said: int) -> str:
            path = by_opening[canonical_json(list(conversation.messages[:1]))]
            return render_calls([("act", {"action": path[said]})]) if said < len(path) else "I am done."

        return ScriptedSubject(script)

    return make
