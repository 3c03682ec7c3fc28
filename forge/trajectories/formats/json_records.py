"""Records that JSON can hold. Rows of Parquet may have bytes, huge integers or half surrogates in them, which could
never be written again."""

from __future__ import annotations

import orjson

from forge.trajectories.formats.fields import Record, malformed


def json_record(record: Record) -> Record:
    """The record itself. Raises ``malformed_record`` when JSON cannot hold it."""
    try:
        orjson.dumps(record)
    except TypeError as error:
        raise malformed(f"the record is no JSON: {error}") from None
    return record
