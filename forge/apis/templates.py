"""The fixed words of rendered API documents. Few and short: what every document repeats teaches nothing."""

from __future__ import annotations

from forge.schema import canonical_json, content_hash

HEADINGS = {
    "parameters": "Parameters:",
    "returns": "Returns:",
    "errors": "Errors:",
    "examples": "Examples:",
    "example": "Example:",
    "request": "Request:",
    "response": "Response:",
    "call": "Call:",
    "synopsis": "Synopsis:",
    "options": "Options:",
}
OPENINGS = {
    "function_schema": ("Function description of {title}:", "{title} as a callable tool:", "Tool definition: {title}"),
    "cli": ("{title}\n\n{summary}", "Command {title}: {summary}", "NAME\n  {title} - {summary}"),
    "code_call": ("# {title}", "# How to call {title}", "# Example: {title}"),
}
"""Several openings of one form, chosen by hash, so that no sentence heads a hundred thousand documents."""

TYPE_WORDS = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "object": "object",
    "array": "list",
    "null": "null",
}

TEMPLATES_HASH = content_hash(canonical_json([HEADINGS, OPENINGS, TYPE_WORDS]))
