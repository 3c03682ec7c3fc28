"""Commands in fenced blocks."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.formats.fenced_text import fenced_command, with_commands


@pytest.mark.parametrize(
    ("said", "around", "command"),
    [
        ("Look.\n\n```\nls\n```", "Look.\n\n", "ls"),
        ("Look.\n```bash\nls -la\n```\nThen wait.", "Look.\nThen wait.", "ls -la"),
        ("First\n```\na\n```\nthen\n```\nb\n```\n", "First\n```\na\n```\nthen\n", "b"),
        ("```markdown\n# title\n```python\nx\n```\n```\n", "", "# title\n```python\nx\n```"),
        ("Open only\n```\nls", "Open only\n```\nls", None),
        ("Inline ```ls``` is none", "Inline ```ls``` is none", None),
        ("", "", None),
    ],
)
def test_fenced_command(said: str, around: str, command: str | None) -> None:
    assert fenced_command(said) == (around, command)


def test_with_commands() -> None:
    call = ToolCall("shell", {"command": "ls"})
    other = Step("assistant", "```\nnot this\n```", calls=(ToolCall("f", {}),))
    assert with_commands(
        [
            Step("user", "```\ntask\n```"),
            Step("assistant", "Look.\n```\nls\n```", loss=True),
            Step("user", "a.py"),
            Step("user", "Go on."),
            Step("assistant", "Done."),
            Step("user", "Bye."),
            other,
            Step("user", "Hm."),
            Step("assistant", "Look.\n```\nls\n```", thought="Hm."),
        ]
    ) == [
        Step("user", "```\ntask\n```"),
        Step("assistant", thought="Look.", calls=(call,), loss=True),
        Step("tool", "a.py"),
        Step("user", "Go on."),
        Step("assistant", "Done."),
        Step("user", "Bye."),
        other,
        Step("user", "Hm."),
        Step("assistant", "Look.", thought="Hm.", calls=(call,)),
    ]


@given(st.lists(st.sampled_from(["```", "```sh", "``` two words", "ls", "", " ```"]), max_size=12).map("\n".join))
def test_nothing_of_a_text_is_lost(said: str) -> None:
    around, command = fenced_command(said)
    kept = "".join(around.split()) + "".join((command or "").split())
    assert sorted(kept.replace("`", "").replace("sh", "")) == sorted(
        "".join(said.split()).replace("`", "").replace("sh", "")
    )
    assert (command is None) == (around == said)


def test_linear() -> None:
    for text in ("```\n" * 200_000, "```a\n" * 200_000, "```\n```\n" * 100_000):
        started = time.process_time()
        fenced_command(text)
        assert time.process_time() - started < 2
