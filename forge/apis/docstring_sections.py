"""One Python docstring -> its parts, by griffe's Google, NumPy and Sphinx parsers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from forge.schema import ApiError, ApiExample
from forge.text.markup import cut

if TYPE_CHECKING:
    import griffe

Style = Literal["google", "numpy", "sphinx"]

MAX_DOCSTRING_CHARACTERS = 60_000
_MAX_DESCRIPTION = 20_000
_MAX_EXAMPLES = 20

_NUMPY = re.compile(
    r"^[ \t]*(?:Parameters|Other Parameters|Returns|Yields|Raises|Examples|Attributes|Notes|Warns|See Also|Methods)"
    r"[ \t]*\n[ \t]*-{3,}[ \t]*$",
    re.MULTILINE,
)
_SPHINX = re.compile(
    r"^[ \t]*:(?:param|parameter|arg|argument|key|keyword|type|returns?|rtype|raises?|ivar|var)\b[^\n:]*:", re.MULTILINE
)
_GOOGLE = re.compile(
    r"^[ \t]*(?:Args|Arguments|Params|Parameters|Keyword Args|Keyword Arguments|Returns?|Yields|Raises|Examples?"
    r"|Attributes):{1,2}[ \t]*$",
    re.MULTILINE,
)
_LOOSE_HEADING = re.compile(
    r"^([ \t]*)(Example|Examples|Args|Arguments|Params|Parameters|Returns?|Raises|Yields):{1,2}[ \t]*\n(?:[ \t]*\n)*",
    re.MULTILINE,
)
_HEADINGS = {"Example": "Examples", "Params": "Args", "Parameters": "Args", "Return": "Returns"}
_ROLE = re.compile(r":(?:[a-zA-Z]+:)?[a-zA-Z]+:`~?([^`<]*)(?:<[^`>]*>)?`")
_DIRECTIVE = re.compile(
    r"^([ \t]*)\.\. (versionadded|versionchanged|deprecated|note|warning|important|tip|seealso|caution)::[ \t]*(.*)$",
    re.MULTILINE,
)
_DIRECTIVES = {
    "versionadded": "New in version", "versionchanged": "Changed in version", "deprecated": "Deprecated since version",
    "note": "Note:", "warning": "Warning:", "important": "Important:", "tip": "Tip:", "seealso": "See also:",
    "caution": "Caution:",
}  # fmt: skip
_EQUALS_HEADING = re.compile(
    r"^([ \t]*)(Parameters|Returns|Raises|Examples|Notes|See Also|References|Attributes|Yields)"
    r"([ \t]*\n)([ \t]*)={3,}[ \t]*\n(?:[ \t]*\n)*",
    re.MULTILINE,
)
_FENCE = re.compile(r"^[ \t]*```[a-zA-Z0-9_+-]*[ \t]*$\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Described:
    """A documented parameter or returned value. ``annotation`` is as the docstring writes it, "" when it does not."""

    name: str
    annotation: str
    description: str


@dataclass(frozen=True, slots=True)
class Sections:
    """What a docstring says: ``text`` is everything that is no parameter, return, error or example."""

    text: str
    parameters: tuple[Described, ...] = ()
    returns: tuple[Described, ...] = ()
    yields: bool = False
    errors: tuple[ApiError, ...] = ()
    examples: tuple[ApiExample, ...] = field(default=())


def guess_style(docstring: str) -> Style | None:
    """The style of one docstring by its section headings; None for plain prose."""
    if "---" in docstring and _NUMPY.search(docstring):
        return "numpy"
    if ":" not in docstring:
        return None
    if _GOOGLE.search(docstring):
        return "google"
    return "sphinx" if _SPHINX.search(docstring) else None


def sections_of(docstring: griffe.Docstring) -> Sections:
    """The parts of one docstring. A docstring that no parser understands is all text; nothing is raised for it."""
    value = docstring.value[:MAX_DOCSTRING_CHARACTERS]
    if "===" in value:  # SymPy underlines NumPy's headings this way
        value = _EQUALS_HEADING.sub(r"\1\2\3\4-----\n", value)
    style = guess_style(value)
    if style is None:
        return _plain(value)
    if style == "google":
        # "Examples::" and an empty line below a heading are common; griffe takes neither for a section
        value = _LOOSE_HEADING.sub(
            lambda match: f"{match.group(1)}{_HEADINGS.get(match.group(2), match.group(2))}:\n", value
        )
    docstring.value = value
    try:
        if style == "sphinx":
            parsed = docstring.parse("sphinx", warnings=False)
        elif style == "google":
            parsed = docstring.parse("google", warnings=False, returns_multiple_items=False)
        else:
            parsed = docstring.parse("numpy", warnings=False)
        return _collect(parsed)
    except Exception:  # noqa: BLE001  (a docstring is free text; the parsers fail on it in many ways)
        return _plain(value)


def clean(text: str) -> str:
    """Sphinx roles as code, version and note directives as words, no trailing blanks; indentation stays."""
    if ":`" in text:
        text = _ROLE.sub(lambda match: f"`{match.group(1).strip()}`", text)
    if ".. " in text:
        text = _DIRECTIVE.sub(
            lambda match: f"{match.group(1)}{_DIRECTIVES[match.group(2)]} {match.group(3)}".rstrip(), text
        )
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n")).rstrip()


def _plain(value: str) -> Sections:
    return Sections(cut(clean(value), _MAX_DESCRIPTION))


def _collect(parsed: list[Any]) -> Sections:
    texts: list[str] = []
    parameters: list[Described] = []
    returns: list[Described] = []
    errors: list[ApiError] = []
    examples: list[ApiExample] = []
    yields = False
    for section in parsed:
        kind = section.kind.value
        if kind == "text":
            texts.append(clean(section.value))
        elif kind in {"parameters", "other parameters"}:
            parameters += [_described(entry) for entry in section.value]
        elif kind in {"returns", "yields"}:
            returns += [_described(entry) for entry in section.value]
            yields = yields or kind == "yields"
        elif kind == "raises":
            errors += [ApiError(str(entry.annotation or ""), clean(entry.description)) for entry in section.value]
        elif kind == "examples":
            examples += _examples(section.value)
        else:
            texts.append(_other(kind, section))
    text = "\n\n".join(part for part in texts if part)
    return Sections(
        text=cut(text, _MAX_DESCRIPTION),
        parameters=tuple(parameters),
        returns=tuple(returns),
        yields=yields,
        errors=tuple(error for error in errors if error.name),
        examples=tuple(examples[:_MAX_EXAMPLES]),
    )


def _described(entry: Any) -> Described:
    return Described(str(getattr(entry, "name", "") or ""), str(entry.annotation or ""), clean(entry.description))


def _other(kind: str, section: Any) -> str:
    """Sections that have no column of their own, written back as text."""
    value = section.value
    if kind == "deprecated":
        return f"Deprecated since {value.version}: {clean(value.description)}"
    if kind == "admonition":
        title = section.title or str(value.kind).replace("-", " ").capitalize()
        return f"{title}:\n{_indented(clean(value.contents))}"
    if isinstance(value, list):
        lines = []
        for entry in value:
            label = str(getattr(entry, "name", "") or getattr(entry, "annotation", "") or "")
            if not entry.description and kind in {"functions", "classes", "modules"}:
                continue
            described = _indented(clean(str(entry.description or ""))).lstrip()
            lines.append(f"  {label}: {described}" if label else f"  {described}")
        return f"{(section.title or kind).capitalize()}:\n" + "\n".join(lines) if lines else ""
    return clean(str(value))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in text.split("\n"))


def _examples(parts: list[tuple[Any, str]]) -> Iterator[ApiExample]:
    """Examples as written: prompts stay in ``input``; ``output`` is what follows the last statement. The text before
    an example is its description."""
    said: list[str] = []
    for kind, value in parts:
        text = _FENCE.sub("", clean(value)).strip("\n")
        if not text:
            continue
        if kind.value != "examples" and ">>>" not in text:
            if said or not _looks_like_code(text):
                said.append(text)
            else:
                yield ApiExample("", text, "")
            continue
        for block in re.split(r"\n\s*\n", text):
            before, code, output = split_session(block)
            if before:
                said.append(before)
            if code:
                yield ApiExample("\n\n".join(said), code, output)
                said = []
    if said:
        yield ApiExample("\n\n".join(said), "", "")


def _looks_like_code(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    return sum(1 for line in lines if re.search(r"[=(\[]\S|^\s*(?:import|from|with|def|class|for|#) ", line)) * 2 > len(
        lines
    )


def split_session(block: str) -> tuple[str, str, str]:
    """The text before the first prompt of an interactive session, the session up to its last statement, and that
    statement's output. A block without prompts is all text."""
    lines = block.split("\n")
    prompts = [number for number, line in enumerate(lines) if line.lstrip().startswith((">>>", "..."))]
    starts = [number for number in prompts if lines[number].lstrip().startswith(">>>")]
    if not starts:
        return block.strip("\n"), "", ""
    margin = len(lines[starts[0]]) - len(lines[starts[0]].lstrip())
    session = [line[margin:] if not line[:margin].strip() else line.lstrip() for line in lines]
    last = prompts[-1] + 1
    return (
        "\n".join(lines[: starts[0]]).strip("\n"),
        "\n".join(session[starts[0] : last]),
        "\n".join(session[last:]).rstrip(),
    )
