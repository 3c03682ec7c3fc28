"""One exchange with a tool, for formats that write it in their own fields: a call, and what it came to."""

from __future__ import annotations

from forge.schema import Step, ToolCall, canonical_json
from forge.trajectories.formats.fields import UnusableRecordError, arguments_of, json_text, malformed


def called(name: object, arguments: object, where: str, call_id: str | None = None) -> ToolCall:
    """A call; its arguments as an object, its JSON text, or nothing. Raises ``malformed_record`` without a name, and
    ``malformed_arguments`` or ``too_deeply_nested`` for other arguments."""
    if not isinstance(name, str) or not name:
        raise malformed(f"{where}: a call without a name")
    if not isinstance(arguments, (dict, str, type(None))):
        raise UnusableRecordError("malformed_arguments", f"{where}, {name}: arguments are no object")
    found = arguments_of(arguments, f"{where}, {name}")
    try:
        canonical_json(found)
    except TypeError as error:
        raise UnusableRecordError("malformed_arguments", f"{where}, {name}: {error}") from None
    return ToolCall(name, found, call_id)


def observation(result: object, error: object = None) -> Step:
    """The step that shows a result. A result is data: unlike a turn's content it has no text blocks to pick."""
    return Step("tool", written(result) or "", error=written(error) or None)


def written(value: object) -> str | None:
    """A text as it stands, None for nothing, any other value whole, as canonical JSON. Raises ``malformed_record`` for
    a value that JSON cannot hold."""
    return value if value is None or isinstance(value, str) else json_text(value)
