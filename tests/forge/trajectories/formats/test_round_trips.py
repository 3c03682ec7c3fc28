"""Writing and reading gives the same episode: generated ones, and those of the real samples through real bytes."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forge.schema import Step, ToolCall, Trajectory, trajectory_from_row
from forge.trajectories.checks import check
from forge.trajectories.formats import adp, atif, openai_messages, registry, remainder
from forge.trajectories.formats.fields import UnusableRecordError

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples"
SAMPLED = 12
"""Records of each file that the quick run compares."""
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


def sample_files() -> list[Path]:
    return sorted(
        path
        for path in SAMPLES.rglob("*")
        if path.suffix in {".json", ".jsonl", ".traj", ".parquet", ".txt", ".log", ".md"}
    )


def records_of(path: Path) -> list[Any]:
    """All values that may be records: of lines, of a list, of an object of objects, of Parquet."""
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    if path.suffix not in {".json", ".jsonl", ".traj"}:
        return []
    data = path.read_bytes()
    try:
        whole = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return [orjson.loads(line) for line in data.splitlines() if line.strip()]
        except orjson.JSONDecodeError:
            return []
    if isinstance(whole, list):
        return whole
    if isinstance(whole, dict) and registry.format_of_record(whole) is None and len(whole) > 1:
        return [value for value in whole.values() if isinstance(value, dict)]
    return [whole]


def episodes_of(path: Path, records: int | None) -> Iterator[tuple[str, Trajectory]]:
    """(format, episode) out of a seeded sample of the file's records, or of all of them."""
    if path.suffix in {".txt", ".log", ".md"}:
        content = path.read_text(errors="replace")
        name = registry.format_of_text(content[:65536])
        found = list(registry.module_of(name).read_text(iter(content.splitlines(keepends=True)))) if name else []
        known = [(str(name), one) for one in found if isinstance(one, Trajectory)]
        yield from known if records is None else random.Random(4).sample(known, min(records, len(known)))
        return
    values = records_of(path)
    for value in values if records is None else random.Random(4).sample(values, min(records, len(values))):
        name = registry.format_of_record(value)
        if name is None:
            continue
        try:
            yield from ((name, one) for one in registry.module_of(name).read(value) if isinstance(one, Trajectory))
        except UnusableRecordError:
            continue


def compared(records: int | None) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Episodes compared by the format that they came in, by the format that they were written in with a remainder, and
    how many of them the checks keep."""
    count: Counter[str] = Counter()
    with_remainder: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for path in sample_files():
        for source, episode in episodes_of(path, records):
            count[source] += 1
            kept[source] += check(episode) is None
            wanted = trajectory_from_row(replace(episode, source="", item_id="").row(""))
            for name, (write, _) in FORMATS.items():
                if name == "atif 1.7":
                    continue
                document = orjson.loads(orjson.dumps(write(episode)))
                place = f"{path.name}: {source} as {name}"
                assert registry.format_of_record(document) == name, place
                (found,) = registry.module_of(name).read(document)
                assert found == wanted, place
                carried = document.get("extra") or document.get("details") or document
                with_remainder[name] += remainder.KEY in carried
    return count, with_remainder, kept


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not beside this checkout")
def test_sampled_real_episodes_survive_each_format(record_property: Callable[[str, object], None]) -> None:
    started = time.process_time()
    count, with_remainder, kept = compared(SAMPLED)
    record_property("episodes", dict(count))
    print("compared", sum(count.values()), dict(count), "with a remainder", dict(with_remainder), "kept", dict(kept))
    assert sum(count.values()) >= 50
    assert time.process_time() - started < SECONDS


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not beside this checkout")
def test_all_real_episodes_survive_each_format() -> None:
    count, with_remainder, kept = compared(None)
    print("compared", sum(count.values()), dict(count), "with a remainder", dict(with_remainder), "kept", dict(kept))
    assert sum(count.values()) >= 500
