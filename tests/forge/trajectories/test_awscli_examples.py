from __future__ import annotations

from pathlib import Path

import pytest

from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import Decision, Item, Step, Trajectory, table_of
from forge.trajectories.awscli_examples import episode_of, list_items, read_item

ITEM = Item("aws", "s3", "h")
TWO = """**Example 1: To copy a file**

The following ``cp`` command copies a file, see :ref:`x`, to a
bucket. ::

    aws s3 cp a.txt \\
        s3://bucket/

Output::

    upload: ./a.txt to s3://bucket/a.txt

For more information, see `Copying <https://docs.aws.amazon.com/x>`__ in the guide.

**Example 2: To remove it**

The following ``rm`` command removes it::

    aws s3 rm s3://bucket/a.txt

This command produces no output.
"""
INPUT_FILE = """**To do it**

This does it. ::

\taws iot do --cli-input-json file://in.json

Contents of ``in.json``::

    {"a": 1}

Output::

    {
        "b": 2
    }

Then list it::

    $ aws iot list
    $ aws iot list --all

Command::

    aws iot show

Output::

    done

    and done
"""


def episode(text: str) -> Trajectory:
    found = episode_of(text, ITEM, "Apache-2.0")
    assert isinstance(found, Trajectory)
    return found


def commands(trajectory: Trajectory) -> list[str]:
    return [call.arguments["command"] for step in trajectory.steps for call in step.calls]


def test_examples_of_a_file_are_turns_of_one_episode() -> None:
    found = episode(TWO)
    assert found.task == ("To copy a file\n\nThe following `cp` command copies a file, see x, to a bucket.")
    assert commands(found) == ["aws s3 cp a.txt \\\n    s3://bucket/", "aws s3 rm s3://bucket/a.txt"]
    assert [step.role for step in found.steps] == ["user", "assistant", "tool"] * 2
    assert found.steps[2] == Step("tool", "upload: ./a.txt to s3://bucket/a.txt")
    assert found.steps[3].content == "To remove it\n\nThe following `rm` command removes it:"
    assert found.steps[5] == Step("tool", "")
    assert (found.environment, found.generator, found.outcome, found.reward) == ("aws_cli", "human", "unknown", None)


def test_input_files_belong_to_the_turn_and_an_unstated_output_is_not_invented() -> None:
    found = episode(INPUT_FILE)
    assert found.steps[0].content == 'To do it\n\nThis does it.\n\nContents of `in.json`:\n\n{"a": 1}'
    assert found.steps[2] == Step("tool", '{\n    "b": 2\n}')
    assert commands(found)[1:] == ["aws iot list", "aws iot list --all", "aws iot show"]
    assert [step.role for step in found.steps[3:]] == ["user", "assistant", "assistant", "assistant", "tool"]
    assert found.steps[-1].content == "done\n\nand done"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("Prose only.\n", "no_command"), ("", "no_command"), ("**T**\n\nX::\n\n    aws a b\n", "no_output"),
     ("::\n\n    aws a b\n\nOutput::\n\n    x\n", "no_intent"), ("X::\n\n    ls aws\n", "no_command")],
)  # fmt: skip
def test_files_without_an_episode(text: str, reason: str) -> None:
    assert episode_of(text, ITEM, "") == reason


def test_items_and_rejects(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "s3"
    (folder / "wait").mkdir(parents=True)
    (folder / "cp.rst").write_text(TWO)
    (folder / "wait" / "exists.rst").write_text("**To wait**\n\nWaits::\n\n    aws s3 wait exists\n")
    (folder / "bad.rst").write_bytes(b"\xff\xfe")
    (folder / "cp_description.rst").write_text("Prose.\n")
    item = Item("aws", "s3", "h", {"folder": str(folder)})
    source = SourceSettings(type="awscli_examples", license="Apache-2.0", artifact="awscli")
    found = list(read_item(item, source, settings))
    assert [(row.item_id, row.reason) if isinstance(row, Decision) else row.license for row in found] == [
        ("s3#bad", "not_utf8"),
        "Apache-2.0",
        ("s3#wait/exists", "no_output"),
    ]
    with pytest.raises(ConfigurationError, match="artifact"):
        list(list_items("aws", SourceSettings(type="awscli_examples"), settings))


def test_the_real_examples(settings: Settings) -> None:
    source = settings.sources["awscli_examples"]
    try:
        items = list(list_items("awscli_examples", source, settings))
    except ConfigurationError as error:
        pytest.skip(str(error))
    assert len(items) > 180
    assert [item.item_id for item in items] == sorted(item.item_id for item in items)
    (iam,) = (item for item in items if item.item_id == "iam")
    found = list(read_item(iam, source, settings))
    kept = [row for row in found if isinstance(row, Trajectory)]
    assert len(kept) > 140
    assert table_of("trajectories", [row.row("k") for row in kept]).num_rows == len(kept)
    assert all(command.startswith("aws ") for row in kept for command in commands(row))
