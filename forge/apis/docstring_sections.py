"""One Python docstring -> its parts, by griffe's Google, NumPy and Sphinx parsers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forge.apis.docstring_styles import (
    Style,
    guess_style,
    has_fields,
    in_google_spelling,
    in_numpy_spelling,
    in_sphinx_spelling,
    with_underlines,
)
from forge.schema import ApiError, ApiExample
from forge.text.markup import cut

if TYPE_CHECKING:
    import griffe

MAX_DOCSTRING_CHARACTERS = 60_000
_MAX_DESCRIPTION = 20_000
_MAX_EXAMPLES = 20

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
_SEPARATOR = re.compile(r"\s*,\s*|\s+or\s+")
_RESULT_TYPE = re.compile(
    r"(`[^`\n]{1,120}`|[\w.]+\[[^:\n]{1,120}\]|(?:list|tuple|dict|set) of [\w.]+|[\w.]+ or None):[ \t]*"
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


def sections_of(value: str) -> Sections:
    """The parts of one clean docstring. What no parser understands is all text; nothing is raised for it."""
    value = with_underlines(value[:MAX_DOCSTRING_CHARACTERS])
    style = guess_style(value)
    if style is None:
        return _plain(value)
    try:
        found = _collect(_parsed(value, style))
        if style != "sphinx" and has_fields(found.text):
            return _joined(found, _collect(_parsed(found.text, "sphinx")))
    except Exception:  # noqa: BLE001  (a docstring is free text; the parsers fail on it in many ways)
        return _plain(value)
    return found


def _parsed(value: str, style: Style) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # griffe compiles types, and some hold invalid escapes
        if style == "sphinx":
            return list(_unbound(in_sphinx_spelling(value)).parse("sphinx", warnings=False))
        if style == "google":
            docstring = _unbound(in_google_spelling(value))
            return list(docstring.parse("google", warnings=False, returns_multiple_items=False))
        return list(_unbound(in_numpy_spelling(value)).parse("numpy", warnings=False))


def _joined(first: Sections, second: Sections) -> Sections:
    """A docstring of two styles: what the first parser left as text is what the second one read."""
    return Sections(
        text=second.text,
        parameters=(*first.parameters, *second.parameters),
        returns=first.returns or second.returns,
        yields=first.yields,
        errors=(*first.errors, *second.errors),
        examples=first.examples,
    )


def _unbound(value: str) -> griffe.Docstring:
    """A docstring that belongs to nothing: griffe then leaves types as they are written. With an owner it would parse
    them as Python, and "array-like" would be a subtraction."""
    import griffe

    docstring = griffe.Docstring("")  # its constructor cleans what is clean already
    docstring.value = value
    del docstring.parent
    return docstring


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
            parameters += [_described(entry) for entry in section.value if entry.name]
        elif kind in {"returns", "yields"}:
            returns += [_result(entry) for entry in section.value]
            yields = yields or kind == "yields"
        elif kind == "raises":
            errors += [
                ApiError(name, clean(entry.description))
                for entry in section.value
                for name in _SEPARATOR.split(clean(str(entry.annotation or "")).replace("`", ""))
            ]
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
        errors=tuple(error for error in errors if error.name and ":" not in error.name),
        examples=tuple(examples[:_MAX_EXAMPLES]),
    )


def _described(entry: Any) -> Described:
    annotation = clean(str(entry.annotation or ""))
    return Described(str(getattr(entry, "name", "") or ""), annotation, clean(entry.description))


def _result(entry: Any) -> Described:
    """Google's "int: the sum" has a type where griffe reads a name."""
    found = _described(entry)
    if found.annotation:
        return found
    if found.name:
        return Described("", found.name, found.description)
    match = _RESULT_TYPE.match(found.description)
    return Described("", match[1], found.description[match.end() :].strip()) if match else found


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
