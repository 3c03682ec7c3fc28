"""What the SYNOPSIS of a manual page of C declares: functions, macros that are called, variables.

int openat(int dirfd, const char *pathname, int flags);
long syscall(SYS_futex, uint32_t *uaddr, int futex_op, ...);     documents futex
extern FILE *stdin;
#define EOF (-1)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from forge.apis.html.declarations import Parameter, parameters_schema, parse_declaration, returns_schema
from forge.apis.roff import Block

_MAX_CHARACTERS = 200_000
_MAX_STATEMENTS = 2000
_REQUIREMENTS = "Feature Test Macro Requirements"
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\\n|\\)*", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|\[\[[\w:, ]*\]\]", re.DOTALL)
_ELSEWHERE = re.compile(r"/\*[^*]{0,300}\b[Dd]ocumented separately\b[^;]{0,1000};")
_VARIABLE = re.compile(r"extern (?P<type>(?:\w+[ *]+)*)(?P<names>\w+(?:, *\w+)*)(?P<array>(?:\[[^\]]*\])*)")
_POINTER = re.compile(r"(?!typedef\b)(?:\w+[ *]+)+\(\s*\*\s*(?:volatile )?(\w+)\)\s*\([^()]*\)$")
_CALL = re.compile(r"SYS_(\w+)")
_TYPE_WORDS = frozenset({"int", "char", "long", "short", "double", "float", "unsigned", "void", "bool"})


@dataclass(frozen=True, slots=True)
class Declared:
    """``forms`` are the declarations of one name, as the page writes them on a line each; ``parameters`` those of the
    longest, ``required`` the names that all forms have."""

    name: str
    kind: Literal["function", "macro", "attribute"]
    forms: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    required: frozenset[str] = frozenset()
    returns: str = ""

    def schema(self) -> dict[str, Any]:
        schema = parameters_schema(self.parameters)
        if len(self.forms) > 1 and "required" in schema:
            schema["required"] = [name for name in schema["required"] if name in self.required]
        return schema

    def result(self, description: str) -> dict[str, Any]:
        return returns_schema(self.returns, description)


def declared(blocks: Sequence[Block]) -> dict[str, Declared]:
    """What the blocks of a SYNOPSIS declare, by name, in their order."""
    found: dict[str, Declared] = {}
    for statement in islice(_statements(blocks), _MAX_STATEMENTS):
        called = _callable(statement)
        for entry in [called] if called is not None else _variables(statement):
            found[entry.name] = _merged(found[entry.name], entry) if entry.name in found else entry
    return found


def _merged(first: Declared, second: Declared) -> Declared:
    longest = max(first, second, key=lambda entry: len(entry.parameters))
    return replace(
        longest, forms=tuple(dict.fromkeys(first.forms + second.forms)), required=first.required & second.required
    )


def _statements(blocks: Sequence[Block]) -> Iterator[str]:
    """Each declaration on one line, without comments, directives and attributes. Where a page sets its declarations as
    code, its other paragraphs are remarks."""
    texts: list[tuple[str, str]] = []
    for block in blocks:
        if _REQUIREMENTS in block.text:
            break
        texts.append((block.kind, block.text))
    has_code = any(kind == "code" and ";" in text for kind, text in texts)
    shown = [text for kind, text in texts if (kind == "code" if has_code else ";" in text)]
    code = _ELSEWHERE.sub("", "\n".join(shown)[:_MAX_CHARACTERS])
    code = _DIRECTIVE.sub("", _COMMENT.sub(" ", code))
    depth = start = 0
    for match in re.finditer(r"[;{}()]", code):
        character = match.group()
        depth = max(0, depth + (character in "{(") - (character in "})"))
        if character == ";" and depth == 0:
            yield " ".join(code[start : match.start()].split())
            start = match.end()
    if rest := " ".join(code[start:].split()):
        yield rest


def _variables(statement: str) -> Iterator[Declared]:
    """``extern int optind, opterr;``, and a variable that points to a function."""
    if pointer := _POINTER.match(statement):
        yield Declared(pointer[1], "attribute", (f"{statement};",), returns=statement.replace(pointer[1], "", 1))
    elif "(" not in statement and (match := _VARIABLE.fullmatch(statement)):
        for name in (name.strip() for name in match["names"].split(",")):
            kind = match["type"].strip() + match["array"]
            yield Declared(name, "attribute", (f"{statement};",), returns=kind)


def constants(blocks: Sequence[Block], names: Sequence[str]) -> Iterator[Declared]:
    """Those of the names that a SYNOPSIS shows as ``#define NAME ...`` or alone on a line."""
    code = "\n".join(block.text for block in blocks if block.kind == "code")[:_MAX_CHARACTERS]
    for name in names:
        shown = re.search(
            rf"^[ \t]*(?:#[ \t]*define[ \t]+{re.escape(name)}\b.*|{re.escape(name)})[ \t]*$", code, re.MULTILINE
        )
        if shown:
            yield Declared(name, "macro", (" ".join(_COMMENT.sub("", shown.group()).split()),))


def _callable(statement: str) -> Declared | None:
    if statement.startswith(("typedef ", "struct {", "union {")) or "{" in statement:
        return None
    if _POINTER.match(statement):
        return None
    declaration = parse_declaration(statement)
    if declaration is None or not declaration.name.isidentifier() or "=" in declaration.returns:
        return None
    name, parameters = declaration.name, declaration.parameters
    if name == "syscall" and parameters and (call := _CALL.fullmatch(parameters[0].type or parameters[0].name)):
        name, parameters = call[1], parameters[1:]
    elif not declaration.returns and " " in statement.partition("(")[0].strip():
        return None
    named = tuple(_named(parameter) for parameter in parameters)
    return Declared(
        name,
        "function" if declaration.returns else "macro",
        (f"{statement};",),
        named,
        frozenset(parameter.name for parameter in named),
        declaration.returns,
    )


def _named(parameter: Parameter) -> Parameter:
    """Macros have parameters without a type: ``va_start(va_list ap, last)``."""
    word = parameter.type
    is_name = not parameter.name and word.isidentifier() and word.islower() and word not in _TYPE_WORDS
    return replace(parameter, name=word, type="") if is_name and not word.endswith("_t") else parameter
