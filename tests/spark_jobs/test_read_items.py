"""What no table can hold is one decision; the rows beside it are kept."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from forge.schema import TABLES, Step, Trajectory
from spark_jobs.read_items import storable_batches

SCHEMA = pa.schema(
    [
        pa.field("row", pa.struct(list(TABLES["trajectories"]))),
        pa.field("decision", pa.struct(list(TABLES["decisions"]))),
    ]
)


def episode(**changed: Any) -> dict[str, Any]:
    steps = (Step("user", "hi"),)
    row = Trajectory("t", (), steps, "unknown", None, "", "MIT", "", "s", "i").row("2026-11-21")
    return {"row": {**row, **changed}, "decision": None}


@pytest.mark.parametrize("bad", [{"environment": "\ud800"}, {"reward": 2**70}, {"steps": 3}, {"item_id": "a\udc80"}])
def test_a_row_that_no_table_can_hold(bad: dict[str, Any]) -> None:
    given = [episode(), episode(**bad), episode()]
    rows = [row for batch in storable_batches(given, SCHEMA, "read", "2026-11-21") for row in batch.to_pylist()]
    assert [row["row"] is not None for row in rows] == [True, False, True]
    assert (rows[1]["decision"]["reason"], rows[1]["decision"]["source"]) == ("reader_failed", "s")
    assert "no table can hold" in rows[1]["decision"]["detail"]
