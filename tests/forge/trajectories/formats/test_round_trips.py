"""Writing and reading gives the same episode: generated ones, and those of the real samples through real bytes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forge.config import SourceSettings, load_settings
from forge.schema import Step, ToolCall, Trajectory, trajectory_from_row
from forge.trajectories.files import list_items, opened
from forge.trajectories.formats import adp, atif, openai_messages, registry, remainder

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples"
SAMPLED = 20
"""The quick run compares every twentieth episode of a file."""
SECONDS = 20.0

FORMATS: dict[str, tuple[Callable[[Trajectory], dict[str, Any]], Callable[[dict[str, Any]], Iterator[Any]]]] = {
    "atif": (atif.write, atif.read),
    "atif 1.7": (lambda trajectory: atif.write(trajectory, "ATIF-v1.7"), atif.read),
    "adp": (adp.write, adp.read),
    "openai_messages": (openai_messages.write, openai_messages.read),
}

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
MAYBE = st.none() | st.sampled_from(["", " ", "hello", "Привет 🌍", '{"a": 1}', "<think>", "line\r\nline"]) | TEXT
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
IDS = st.none() | st.sampled_from(["", "c1", "c2", "c3", "call_1", "call_2", "call_000001"])
ARGUMENTS = (
    st.dictionaries(TEXT, JSON, max_size=3)
    | TEXT.map(lambda code: {"code": code})
    | TEXT.map(lambda command: {"command": command})
    | st.just({"code": "1", "language": "sql"})
)
CALLS = st.builds(
    ToolCall, st.sampled_from(["weather", "python", "shell", "execute_code", "Get Weather.v2"]), ARGUMENTS, IDS
)
LIKELY_STEPS = (
    st.builds(Step, st.just("system"), MAYBE)
    | st.builds(Step, st.just("user"), MAYBE)
    | st.builds(
        Step,
        st.just("assistant"),
        MAYBE,
        thought=MAYBE,
        calls=st.lists(CALLS, max_size=3).map(tuple),
        loss=st.sampled_from([None, None, True, False]),
    )
    | st.builds(Step, st.just("tool"), MAYBE, answers=IDS, error=st.sampled_from([None, None, "", "ValueError"]))
)
ODD_STEPS = st.builds(
    Step,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    MAYBE,
    MAYBE,
    st.lists(CALLS, max_size=2).map(tuple),
    IDS,
    MAYBE,
    st.sampled_from([None, True, False]),
)
TOOLS = st.fixed_dictionaries(
    {"name": st.sampled_from(["weather", "python", "Get Weather.v2"])},
    optional={
        "description": TEXT,
        "parameters": st.dictionaries(TEXT, JSON, max_size=2),
        "returns": JSON,
        "strict": st.booleans(),
    },
)


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    steps = tuple(
        draw(st.lists(LIKELY_STEPS | ODD_STEPS if draw(st.booleans()) else LIKELY_STEPS, min_size=1, max_size=8))
    )
    return Trajectory(
        task=draw(
            st.sampled_from([next((s.content or "" for s in steps if s.role == "user"), ""), "", "Another task."])
        ),
        tools=tuple(draw(st.lists(TOOLS, max_size=2))),
        steps=steps,
        outcome=draw(st.sampled_from(["success", "failure", "unknown"])),
        reward=draw(st.sampled_from([None, 0.0, 1.0, -0.5, 1e300]) | st.floats(allow_nan=False, allow_infinity=False)),
        environment=draw(st.sampled_from(["", "retail", "unknown"])),
        license=draw(st.sampled_from(["", "MIT"])),
        generator=draw(st.sampled_from(["", "unknown", "ground_truth", "gpt-4o"])),
        source="",
        item_id="",
        episode=draw(st.sampled_from(["", "7", "os_0"])),
    )


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trajectory=trajectories())
def test_what_is_written_reads_back_equal(name: str, trajectory: Trajectory) -> None:
    write, read = FORMATS[name]
    data = orjson.dumps(write(trajectory))
    assert list(read(orjson.loads(data))) == [trajectory]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trajectory=trajectories(), version=st.sampled_from(["ATIF-v1.7", "ATIF-v1.8"]))
def test_what_is_written_as_atif_is_valid_for_its_own_models(trajectory: Trajectory, version: Any) -> None:
    models = pytest.importorskip("atif")
    document = atif.write(trajectory, version)
    assert models.Trajectory.model_validate(document).to_json_dict()["steps"][0]["step_id"] == 1


SUFFIXES = (".json", ".jsonl", ".traj", ".parquet", ".txt", ".log", ".md", ".ipynb")


def real_episodes(every: int) -> Iterator[tuple[str, Trajectory]]:
    """(folder of the samples, episode): each ``every``-th of every file, evaluation sets too."""
    paths = [f"{SAMPLES}/**/*{suffix}" for suffix in SUFFIXES]
    source = SourceSettings(type="trajectory_files", license="", options={"paths": paths})
    configured = load_settings("demo", environment={})
    for item in list_items("samples", source, configured):
        found = (one for _, one in opened(item, source, configured).episodes() if isinstance(one, Trajectory))
        yield from ((item.item_id.partition("/")[0], one) for one in islice(found, 0, None, every) if one.steps)


def compared(every: int) -> tuple[Counter[str], Counter[str]]:
    """Episodes compared by folder, and by the format that they were written in with a remainder."""
    count: Counter[str] = Counter()
    with_remainder: Counter[str] = Counter()
    for folder, episode in real_episodes(every):
        count[folder] += 1
        wanted = trajectory_from_row(replace(episode, source="", item_id="").row(""))
        for name, (write, _) in FORMATS.items():
            if name == "atif 1.7":
                continue
            document = orjson.loads(orjson.dumps(write(episode)))
            place = f"{folder} {episode.episode} as {name}"
            assert registry.format_of_record(document) == name, place
            (found,) = registry.read_record(document, name)
            assert found == wanted, place
            carried = document.get("extra") or document.get("details") or document
            with_remainder[name] += remainder.KEY in carried
    return count, with_remainder


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not beside this checkout")
def test_sampled_real_episodes_survive_each_format() -> None:
    started = time.process_time()
    count, _ = compared(SAMPLED)
    print(f"compared {sum(count.values()):,}: {dict(sorted(count.items()))}")
    assert sum(count.values()) >= 500
    assert time.process_time() - started < SECONDS


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not beside this checkout")
def test_all_real_episodes_survive_each_format() -> None:
    count, with_remainder = compared(1)
    print(f"compared {sum(count.values()):,}: {dict(sorted(count.items()))}; with a remainder {dict(with_remainder)}")
    assert sum(count.values()) >= 10_000
