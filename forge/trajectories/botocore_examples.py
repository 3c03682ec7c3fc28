"""AWS operations as botocore's worked examples call them (an item is a service, as for the type ``botocore``, whose
reader this is): what the example shows, its input, its output.

An operation that returns nothing by its model is answered with nothing; an example that leaves out a response which the
model has is rejected (``no_output``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from forge.apis import botocore
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, ApiExample, Decision, Item, Trajectory
from forge.trajectories.documented_calls import episode_of

_EMPTY_BYTES = 100
"""Five services in six have an examples file that holds none: ``{"version": "1.0", "examples": {}}``."""


class BotocoreExamplesOptions(botocore.BotocoreOptions):
    """Options of a source of type ``botocore_examples``: those of ``botocore``."""


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """The services that have examples. Raises FileNotFoundError when there are no models."""
    source_options(BotocoreExamplesOptions, name, source)
    for item in botocore.list_items(name, source, settings):
        files = Path(item.locator["folder"]).glob("examples-1.json*")
        if any(file.stat().st_size > _EMPTY_BYTES for file in files):
            yield item


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Trajectory | Decision]:
    """An episode or a decision for every example, by operation, and a decision for what is not understood."""
    for found in botocore.read_item(item, source, settings):
        if isinstance(found, Decision):
            yield found
            continue
        for number, example in enumerate(found.examples, start=1):
            yield _episode(found, example, number)


def _episode(entity: ApiEntity, example: ApiExample, number: int) -> Trajectory | Decision:
    if not example.output and entity.returns.get("properties"):
        part = f"{entity.item_id}#{entity.name}#{number}"
        return Decision(entity.source, part, "parse_trajectories", "no_output", example.description[:200])
    return episode_of(entity, example, example.output, number)
