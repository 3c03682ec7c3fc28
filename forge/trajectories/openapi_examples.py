"""Operations of OpenAPI files whose request and response both have an example: one call each (an item is a file or part
of one, as for the type ``openapi``, whose reader this is).

The arguments are path, query, header and body examples side by side, as the operation's parameters are; of several
named examples those of equal names belong together. Examples are never chained: what one operation returns is not said
to be what the next one is given.
"""

from __future__ import annotations

from collections.abc import Iterator

from forge.apis import openapi_files
from forge.config import Settings, SourceSettings, source_options
from forge.schema import Decision, Item, Trajectory
from forge.trajectories.documented_calls import episode_of


class OpenapiExamplesOptions(openapi_files.OpenapiOptions):
    """Options of a source of type ``openapi_examples``: those of ``openapi``."""


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """The files, or the parts of large ones. Raises :class:`ConfigurationError` when there are none."""
    source_options(OpenapiExamplesOptions, name, source)
    yield from openapi_files.list_items(name, source, settings)


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Trajectory | Decision]:
    """An episode or a decision for every request that is shown with its response, and a decision for what cannot be
    read. Operations without such an example are nothing that this source rejects."""
    for found in openapi_files.read_item(item, source, settings):
        if isinstance(found, Decision):
            if found.reason not in {"no_operations", "duplicate_keys"}:
                yield found
            continue
        shown = [example for example in found.examples if example.input and example.output]
        for number, example in enumerate(shown, start=1):
            yield episode_of(found, example, example.output, number)
