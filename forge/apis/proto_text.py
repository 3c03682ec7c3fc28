"""`.proto` files as text -> :class:`forge.apis.proto_schema.ProtoSchema`.

Reads the parts of the language that describe services (proto2, proto3, editions): packages, messages, enums, oneofs,
maps, groups, services and their comments. Nothing is imported; options are skipped but for ``google.api.http`` and
``deprecated``. Iterative, so nesting costs no stack.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from forge.apis.proto_schema import ProtoField, ProtoMethod, ProtoSchema, ProtoService

MAX_TEXT_BYTES = 8 * 1024 * 1024
_MAX_TOKENS = 1_000_000
_MAX_NESTING = 64
_TOKEN = re.compile(
    r"(?P<space>[ \t\r\f\v]+)|(?P<line>\n)|(?P<comment>//[^\n]*|/\*.*?\*/)"
    r"|(?P<string>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')"
    r"|(?P<name>\.?[A-Za-z_][\w.]*)|(?P<number>[+-]?[0-9.][\w.+-]*)|(?P<symbol>.)",
    re.DOTALL,
)
_LABELS = frozenset({"repeated", "required", "optional"})
_VERBS = ("get", "put", "post", "delete", "patch")


class ProtoTextError(ValueError):
    """The text is no `.proto` file; the message names the line."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    line: int
    comment: str  # what stands above it, or behind it on its line, when it begins a statement


def read_proto(text: str) -> ProtoSchema:
    """The schema of one file. Raises :class:`ProtoTextError`."""
    return _Reader(_tokens(text)).read()


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    pending: list[str] = []
    line, lines_since = 1, 0
    trailing: dict[int, str] = {}
    for match in _TOKEN.finditer(text):
        kind, word = match.lastgroup, match.group()
        if kind == "space":
            continue
        if kind == "line":
            line += 1
            lines_since += 1
            if lines_since > 1:
                pending.clear()  # an empty line parts a comment from what follows
            continue
        if kind == "comment":
            if found and found[-1].line == line and not pending:
                trailing[line] = _uncommented(word)
            else:
                pending.append(_uncommented(word))
            line += word.count("\n")
            lines_since = 0
            continue
        lines_since = 0
        found.append(_Token(word, line, "\n".join(pending).strip()))
        pending.clear()
        if len(found) > _MAX_TOKENS:
            raise ProtoTextError(f"line {line}: more than {_MAX_TOKENS:,} words")
    return [
        _Token(token.text, token.line, trailing[token.line]) if token.line in trailing and not token.comment else token
        for token in found
    ]


def _uncommented(comment: str) -> str:
    if comment.startswith("//"):
        return comment.lstrip("/").removeprefix(" ").rstrip()
    lines = comment[2:-2].split("\n")
    return "\n".join(re.sub(r"^\s*\*? ?", "", line).rstrip() for line in lines).strip()


@dataclass
class _Open:
    """A block that is being read."""

    kind: str  # message, enum, service, rpc, oneof, other
    name: str
    comment: str
    fields: list[ProtoField] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    methods: list[ProtoMethod] = field(default_factory=list)
    words: list[str] = field(default_factory=list)  # of a method: its signature, then its options


class _Reader:
    def __init__(self, tokens: Sequence[_Token]) -> None:
        self.tokens = tokens
        self.package = ""
        self.schema = ProtoSchema()
        self.open: list[_Open] = []

    def read(self) -> ProtoSchema:
        statement: list[_Token] = []
        brackets = 0
        for token in self.tokens:
            if token.text in "[(" and token.text:
                brackets += 1
            elif token.text in "])" and token.text:
                brackets -= 1
            if brackets > 0 or token.text not in {";", "{", "}"}:
                statement.append(token)
                if brackets > _MAX_NESTING:
                    raise ProtoTextError(f"line {token.line}: more than {_MAX_NESTING} open brackets")
            elif token.text == "{":
                self._begin(statement, token)
                statement = []
            elif token.text == ";":
                self._statement(statement)
                statement = []
            else:
                self._statement(statement)
                self._end(token)
                statement = []
        if self.open:
            raise ProtoTextError(
                f"line {self.tokens[-1].line}: {self.open[-1].kind} {self.open[-1].name!r} is not closed"
            )
        if statement:
            raise ProtoTextError(f"line {statement[0].line}: {statement[0].text[:40]!r} begins nothing that is closed")
        return self.schema

    def _scope(self) -> str:
        names = [block.name for block in self.open if block.kind == "message"]
        return ".".join([self.package, *names] if self.package else names)

    def _begin(self, statement: list[_Token], brace: _Token) -> None:
        if len(self.open) >= _MAX_NESTING:
            raise ProtoTextError(f"line {brace.line}: more than {_MAX_NESTING} blocks inside each other")
        words = [token.text for token in statement]
        comment = statement[0].comment if statement else ""
        kind = words[0] if words else ""
        if kind in {"message", "enum", "service", "oneof"} and len(words) == 2:
            self.open.append(_Open(kind, words[1], comment))
        elif kind == "rpc":
            self.open.append(_Open("rpc", words[1] if len(words) > 1 else "", comment, words=words))
        elif "group" in words[:2]:  # proto2: a field and its message in one
            name = words[words.index("group") + 1] if len(words) > words.index("group") + 1 else ""
            self._add(ProtoField(name.lower(), name, words[0] if words[0] in _LABELS else "", comment=comment))
            self.open.append(_Open("message", name, comment))
        else:
            self.open.append(_Open("other", kind, "", words=words))

    def _end(self, brace: _Token) -> None:
        if not self.open:
            raise ProtoTextError(f"line {brace.line}: '}}' closes nothing")
        block = self.open.pop()
        name = ".".join(part for part in (self._scope(), block.name) if part)
        if block.kind == "message":
            self.schema.messages[name] = tuple(block.fields)
            self.schema.comments[name] = block.comment
        elif block.kind == "enum":
            self.schema.enums[name] = tuple(block.values)
        elif block.kind == "service":
            self.schema.services.append((self.package, ProtoService(name, tuple(block.methods), block.comment)))
        elif block.kind == "rpc":
            self._method(block.words, block.comment)
        elif block.kind == "other" and self.open and self.open[-1].kind in {"rpc", "other"}:
            self.open[-1].words += block.words

    def _statement(self, statement: list[_Token]) -> None:
        if not statement:
            return
        words = [token.text for token in statement]
        if not self.open:
            if words[0] == "package" and len(words) > 1:
                self.package = words[1].strip(".")
            return
        block = self.open[-1]
        if block.kind in {"rpc", "other"}:
            block.words += words
        elif block.kind == "service" and words[0] == "rpc":
            self._method(words, statement[0].comment)
        elif block.kind == "enum" and len(words) > 2 and words[1] == "=":
            block.values.append(words[0])
        elif block.kind in {"message", "oneof"} and (found := _field(words, statement[0].comment)) is not None:
            self._add(found)

    def _add(self, found: ProtoField) -> None:
        oneof = self.open[-1].name if self.open and self.open[-1].kind == "oneof" else ""
        if oneof:
            found = ProtoField(found.name, found.type, found.label, oneof, found.comment, found.deprecated)
        owner = next((block for block in reversed(self.open) if block.kind == "message"), None)
        if owner is not None:
            owner.fields.append(found)

    def _method(self, words: list[str], comment: str) -> None:
        """``rpc Get ( stream Id ) returns ( Pet )`` and the words of its options."""
        text = " ".join(words)
        match = re.match(r"rpc (\w+) \( (stream )?([\w.]+) \) returns \( (stream )?([\w.]+) \)", text)
        service = next((block for block in reversed(self.open) if block.kind == "service"), None)
        if match is None or service is None:
            raise ProtoTextError(f"method {' '.join(words)[:80]!r} has no request and response")
        options = text[match.end() :]
        service.methods.append(
            ProtoMethod(
                name=match[1],
                request=match[3],
                response=match[5],
                request_is_stream=match[2] is not None,
                response_is_stream=match[4] is not None,
                comment=comment,
                http=_http(options),
                deprecated=re.search(r"\bdeprecated = true\b", options) is not None,
            )
        )


def _http(options: str) -> str:
    """``GET /v1/pets/{id}`` of an option ``(google.api.http)``; "" without one."""
    if "google.api.http" not in options:
        return ""
    match = re.search(rf"\b({'|'.join(_VERBS)}) :? ?[\"']([^\"']*)[\"']", options)
    return f"{match[1].upper()} {match[2]}" if match else ""


def _field(words: list[str], comment: str) -> ProtoField | None:
    """``repeated Pet pets = 1 [deprecated = true]``; None for what is no field (option, reserved, extensions)."""
    if words[0] in {"option", "reserved", "extensions", "import", "syntax"} or "=" not in words:
        return None
    head, options = words[: words.index("=")], " ".join(words[words.index("=") :])
    deprecated = re.search(r"\bdeprecated = true\b", options) is not None
    if not head:
        return None
    if head[0] == "map" and len(head) >= 7 and head[1] == "<":  # map < K , V > name
        return ProtoField(head[-1], head[4], "map", comment=comment, deprecated=deprecated)
    label = head[0] if head[0] in _LABELS else ""
    rest = head[1:] if label else head
    if len(rest) != 2:
        return None
    return ProtoField(rest[1], rest[0], label, comment=comment, deprecated=deprecated)
