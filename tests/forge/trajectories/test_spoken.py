from __future__ import annotations

import time

from forge.schema import Step, ToolCall, Trajectory
from forge.trajectories.render import render
from forge.trajectories.spoken import spoken_text

QUESTION = "Wie wird das Wetter morgen in Hamburg, und brauche ich einen Schirm?"
THOUGHT = "Ich muss zuerst die Vorhersage abrufen."
RUN = Trajectory(
    task=QUESTION,
    tools=({"name": "forecast", "description": "The weather of tomorrow.", "parameters": {}},),
    steps=(
        Step("user", QUESTION),
        Step("assistant", thought=THOUGHT, calls=(ToolCall("forecast", {"city": "Hamburg"}),)),
        Step("tool", "It will rain a lot tomorrow and the wind will be strong in the evening."),
        Step("assistant", "Ja, nimm einen Schirm mit."),
    ),
    outcome="success",
    reward=None,
    environment="",
    license="MIT",
    generator="",
    source="s",
    item_id="i",
)


def test_what_is_said_without_tools_calls_and_observations() -> None:
    texts = {document.form: spoken_text(document.text) for document in render(RUN, 0.0, 10_000)}
    assert texts["transcript"] == f"{QUESTION}\n{THOUGHT}\nJa, nimm einen Schirm mit."
    assert texts["chat_messages"] == f"{QUESTION}\n{THOUGHT}\nJa, nimm einen Schirm mit."


def test_few_words_are_no_sample_of_a_language() -> None:
    assert spoken_text("Task: Find the coin.\n\n> look\nA room.\n") == ""
    assert spoken_text('{"messages": 3}') == ""
    assert spoken_text("{ not json") == ""


def test_hostile_texts_cost_linear_time() -> None:
    started = time.process_time()
    for text in ("Task: " * 100_000, "Task: x\n" * 100_000, "Task: " + "\n> a" * 200_000):
        spoken_text(text)
    assert time.process_time() - started < 3
