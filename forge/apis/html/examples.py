"""Worked examples in the text of an entry, whichever generator made the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set

from selectolax.lexbor import LexborNode

from forge.apis.docstring_sections import split_session
from forge.apis.html.text import code_of, line_of, prose_of
from forge.schema import ApiExample

MAX_EXAMPLES = 20
_CODE_BLOCK = re.compile(
    r"\b(?:highlight|doctest|literal-block|literal-block-wrapper|informalexample|listing_frame)\b|\bhighlight-"
)


def take_examples(nodes: Sequence[LexborNode], names: Set[str]) -> tuple[tuple[ApiExample, ...], list[LexborNode]]:
    """The worked examples among neighbouring nodes, and the nodes that are left. A code block is one when it is an
    interactive session or calls the object by one of its bare ``names``. A paragraph before it that ends with a colon
    goes with it. What was taken is no longer in the tree."""
    calls = re.compile(r"\b(?:" + "|".join(re.escape(name) for name in sorted(names)) + r")\s*\(") if names else None
    examples: list[ApiExample] = []
    left: list[LexborNode] = []
    for node in nodes:
        code = _code(node) if len(examples) < MAX_EXAMPLES else None
        is_session = code is not None and ">>>" in code
        if code is None or not (is_session or (calls is not None and calls.search(code))):
            left.append(node)
            continue
        said = ""
        if left and left[-1].tag == "p" and line_of(left[-1]).endswith(":"):
            before = left.pop()
            said = prose_of(before)
            before.decompose()
        node.decompose()
        found = list(_sessions(code)) if is_session else [("", code, "")]
        for number, (text, source, output) in enumerate(found):
            description = "\n\n".join(part for part in (said if number == 0 else "", text) if part)
            examples.append(ApiExample(description, source, output))
    return tuple(examples[:MAX_EXAMPLES]), left


def _sessions(code: str) -> Iterator[tuple[str, str, str]]:
    for block in re.split(r"\n\s*\n", code):
        text, source, output = split_session(block)
        if source or text:
            yield text, source, output


def _code(node: LexborNode) -> str | None:
    """The text of a code block, None for any other element."""
    if node.tag == "pre":
        return code_of(node)
    if node.tag not in {"div", "table"} or not _CODE_BLOCK.search(node.attributes.get("class") or ""):
        return None
    blocks = node.css("pre")
    return code_of(blocks[-1]) if len(blocks) == 1 else None
