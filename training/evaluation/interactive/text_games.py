"""What the tasks of text games have in common: the model calls ``act(action=...)``, as in the trajectories that it may
have been trained on; an answer without a call is told so and counts as a turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.evaluation.isolation import Bounds

BOUNDS = Bounds(
    request_seconds=60,
    processor_seconds=300,
    memory_bytes=16 << 30,  # addresses, of which a Java machine reserves many and uses few
    file_bytes=64 << 20,
    open_files=1024,
    processes=4096,  # its threads are counted too
    loopback=True,
)


def message_of(observation: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    """What follows a call of ``act``: ``text``, or why no action was taken."""
    error = observation.get("error")
    return {"role": "tool", "content": "", "error": error} if error else {"role": "tool", "content": text}
