"""Declarations as C, C++, Java and their relatives write them -> name, parameters, types, defaults, returned type.

    GtkWidget * gtk_button_new (void)
    public static <T> List<T> of(E... e) throws X
    template<class T> void f(T const& a, int b = 3) const
    void (*GCallback) (gpointer data)

No compiler's grammar: what generators print is one declaration at a time, and whoever asks knows the language. A text
that is no declaration of a callable gives None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forge.apis.property_order import with_order

MAX_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class Parameter:
    """``name`` is "" where the declaration gives none; ``default`` is the text of an expression, None for none.
    A variadic one may be left out or repeated: ``...``, ``E... elements``."""

    name: str
    type: str
    default: str | None = None
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Declaration:
    """``name`` is as it is written, qualified or not ("QByteArray::append", "operator=="). ``returns`` is "" for a
    constructor; ``modifiers`` are the words before the returned type (``static``, ``template <class T>``);
    ``qualifiers`` those after the parameters that tell overloads apart ("const", "&&")."""

    name: str
    parameters: tuple[Parameter, ...]
    returns: str = ""
    modifiers: tuple[str, ...] = ()
    qualifiers: str = ""
    throws: tuple[str, ...] = ()

    @property
    def overload(self) -> str:
        """What tells an overload from its namesakes: "(const char *, int) const"."""
        types = ", ".join(parameter.type + "..." * parameter.variadic for parameter in self.parameters)
        return f"({types})" + (f" {self.qualifiers}" if self.qualifiers else "")


_NAME = re.compile(r"(?:::)?(?:[\w$]+(?:<(?:[^()<>]|<[^()<>]*>)*>)?::)*~?[\w$]+(?:<(?:[^()<>]|<[^()<>]*>)*>)?$")
_OPERATOR = re.compile(
    r"(?:[\w$]+(?:<(?:[^()<>]|<[^()<>]*>)*>)?::)*\boperator\s*"
    r"(?:\(\s*\)|\[\s*\]|\"\"\s*\w+|[-+*/%^&|~!=<>,]+|(?:new|delete|co_await)\b(?:\s*\[\s*\])?|[^()]+?)\s*(?=\()"
)
_POINTER = re.compile(r"\(\s*(?:[\w$]+::)*[*^&]\s*(?:const\s+)?([\w$]+)\s*(?:\[[^\]]*\]\s*)?\)\s*\(")
_NO_NAMES = frozenset({"decltype", "alignas", "noexcept", "requires", "typeof", "explicit", "if", "sizeof"})
_ATTRIBUTE = re.compile(r"@[\w.]+$|__attribute__$|__declspec$|\b[A-Z][A-Z0-9_]*(?:DEPRECATED|AVAILABLE)[A-Z0-9_]*$")
_MODIFIERS = frozenset(
    {
        "public", "protected", "private", "static", "final", "abstract", "virtual", "inline", "explicit", "constexpr",
        "consteval", "friend", "extern", "default", "synchronized", "native", "strictfp", "override", "_Noreturn",
        "G_GNUC_NORETURN", "mutable", "sealed", "implicit", "register", "__inline", "__inline__",
    }
)  # fmt: skip
_TYPE_WORDS = frozenset(
    {
        "int", "char", "long", "short", "double", "float", "bool", "void", "unsigned", "signed", "const", "volatile",
        "auto", "wchar_t", "char8_t", "char16_t", "char32_t", "size_t", "restrict", "byte", "boolean", "typename",
    }
)  # fmt: skip
_QUALIFYING = frozenset(
    {"const", "volatile", "struct", "enum", "union", "class", "typename", "register", "final", "restrict", "in", "out"}
)
_OPENING = {"(": ")", "[": "]", "{": "}", "<": ">"}
_CLOSING = frozenset(_OPENING.values())


def parse_declaration(text: str) -> Declaration | None:
    """The declaration of a function, method, constructor, operator or function type; None for anything else."""
    text = " ".join(text[: MAX_CHARACTERS + 1].replace("\N{ZERO WIDTH SPACE}", "").split()).rstrip("; ")
    if len(text) > MAX_CHARACTERS:
        return None
    found = _head(text)
    if found is None:
        return None
    before, name, opening = found
    closing = _closing(text, opening)
    if closing is None or name in _TYPE_WORDS:
        return None
    modifiers, returns = _returned(before)
    tail = text[closing + 1 :].strip()
    if "->" in tail and returns in {"auto", ""}:
        tail, _, trailing = tail.partition("->")
        returns = _type_text(trailing)
    throws = tuple(part.strip() for part in tail.partition("throws ")[2].split(",") if part.strip())
    return Declaration(
        name=name,
        parameters=tuple(parse_parameters(text[opening + 1 : closing])),
        returns=returns,
        modifiers=modifiers,
        qualifiers=" ".join(re.findall(r"\bconst\b|\bvolatile\b|&&?", tail.partition("=")[0].partition("noexcept")[0])),
        throws=throws,
    )


def parse_parameters(text: str) -> Iterator[Parameter]:
    """Of what stands between the parentheses."""
    for part in split_at_commas(text):
        if part in {"", "void"}:
            continue
        yield _parameter(part)


def split_at_commas(text: str) -> list[str]:
    """The pieces of a list, trimmed; commas in brackets, strings and characters do not count. "" gives []."""
    pieces: list[str] = []
    start = depth = 0
    for position, character in _outside_quotes(text):
        if character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            if not (character == ">" and text[position - 1 : position] in {"-", "="}):
                depth = max(0, depth - 1)
        elif character == "," and depth == 0:
            pieces.append(text[start:position].strip())
            start = position + 1
    pieces.append(text[start:].strip())
    return [] if pieces == [""] else pieces


def parameters_schema(
    parameters: Sequence[Parameter], descriptions: Mapping[str, str] | None = None, json_types: bool = True
) -> dict[str, Any]:
    """JSON Schema of a call: the source's own types as ``x-type``, and the JSON type beside it where that is plain.
    A parameter without a name is called by its place, "arg1", and marked ``x-unnamed``."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    told = descriptions or {}
    for number, parameter in enumerate(parameters, start=1):
        name = parameter.name or ("..." if parameter.variadic else f"arg{number}")
        schema = type_schema(parameter.type) if json_types and not parameter.variadic else {}
        if parameter.type:
            schema["x-type"] = parameter.type + ("..." if parameter.variadic else "")
        if not parameter.name and not parameter.variadic:
            schema["x-unnamed"] = True
        if description := told.get(name, ""):
            schema["description"] = description
        if parameter.default is not None:
            schema["x-default"] = parameter.default
        elif not parameter.variadic and name not in required:
            required.append(name)
        properties[name] = schema
    schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return with_order(schema)


def returns_schema(type_text: str, description: str = "") -> dict[str, Any]:
    """JSON Schema of what a call returns: {} for nothing that is known, and for ``void`` without a word about it."""
    schema: dict[str, Any] = {}
    if type_text and type_text != "void":
        schema = {**type_schema(type_text), "x-type": type_text}
    return {**schema, "description": description} if description else schema


_INTEGERS = re.compile(
    r"(?:(?:unsigned|signed)(?: (?:int|char|short|long(?: long)?))?(?: int)?|(?:short|long(?: long)?)(?: int)?|int|byte"
    r"|g?u?int(?:8|16|32|64)?(?:_t)?|g?s?size(?:_t)?|g?u?(?:short|long|char)|qu?int(?:8|16|32|64)|qu?longlong|u(?:int|short|long|char)"
    r"|goffset|Integer|Long|Short|std::size_t|std::ptrdiff_t|ptrdiff_t|size_type|off_t|pid_t|Py_ssize_t)"
)
_NUMBERS = frozenset({"double", "float", "gdouble", "gfloat", "qreal", "long double", "Double", "Float"})
_BOOLEANS = frozenset({"bool", "boolean", "gboolean", "_Bool", "Boolean"})
_STRINGS = frozenset(
    {
        "const char *", "const gchar *", "String", "java.lang.String", "std::string", "string", "QString",
        "CharSequence", "Glib::ustring", "ustring", "std::string_view", "StringRef", "QStringView",
    }
)  # fmt: skip


def type_schema(type_text: str) -> dict[str, Any]:
    """``{"type": ...}`` for a type that plainly is a JSON type, else {}."""
    text = type_text.removesuffix("&").strip()
    if text in _STRINGS:
        return {"type": "string"}
    text = text.removeprefix("const ").removesuffix(" const").strip()
    if text in _STRINGS:
        return {"type": "string"}
    if text in _BOOLEANS:
        return {"type": "boolean"}
    if text in _NUMBERS:
        return {"type": "number"}
    return {"type": "integer"} if _INTEGERS.fullmatch(text) and text != "char" else {}


# --- the parts of a declaration ------------------------------------------------------------------------------------


def _head(text: str) -> tuple[str, str, int] | None:
    """What stands before the name, the name, and where the parameters' parenthesis opens."""
    if "operator" in text and (operator := _OPERATOR.search(text)):
        name = re.sub(r"\s*\(\s*\)$", "()", " ".join(operator.group().split()))
        return text[: operator.start()], re.sub(r"operator\s+(?=\W)", "operator", name), operator.end()
    position = angles = 0
    while position < len(text):
        character = text[position]
        if character == "<":
            angles += 1
        elif character == ">" and text[position - 1 : position] != "-":
            angles = max(0, angles - 1)
        elif character == "(":
            before = text[:position].rstrip()
            pointer = _POINTER.match(text, position)
            if pointer and not angles:
                return before, pointer[1], pointer.end() - 1
            last = _last_word(before)
            is_name = bool(last) and last not in _NO_NAMES and not _ATTRIBUTE.search(before[-200:])
            if is_name and not angles and (match := _NAME.search(before, max(0, len(before) - 500))):
                return before[: match.start()], match.group(), position
            closing = _closing(text, position)
            if closing is None:
                return None
            position = closing
        position += 1
    return None


def _last_word(text: str) -> str:
    match = re.search(r"(~?[\w$]+)(?:<[^()]*>)?$", text[-300:])
    return match[1] if match else ""


def _closing(text: str, opening: int) -> int | None:
    """Where the bracket that opens at ``opening`` closes."""
    depth = 0
    for position, character in _outside_quotes(text, opening):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth == 0:
                return position
    return None


_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)+'|[()\[\]{}<>,=]")


def _outside_quotes(text: str, start: int = 0) -> Iterator[tuple[int, str]]:
    """The brackets, commas and equals signs that stand in no string."""
    for match in _QUOTED.finditer(text, start):
        if len(match.group()) == 1:
            yield match.start(), match.group()


def _returned(before: str) -> tuple[tuple[str, ...], str]:
    """The modifiers and the type in what stands before the name."""
    modifiers: list[str] = []
    rest = before.strip()
    while rest:
        if rest.startswith(("template", "<")) and (end := _angle_end(rest)):
            modifiers.append(_type_text(rest[:end]))
        elif match := re.match(r"\[\[[^\]]*\]\]|\[[\w ,]+\]|@[\w.]+(?:\([^)]*\))?|[\w$]+", rest):
            word = match.group()
            if word[0] not in "[@" and word not in _MODIFIERS:
                break
            end = match.end()
            modifiers.append(word.strip("[]") if word[0] == "[" else word)
        else:
            break
        rest = rest[end:].lstrip()
    return tuple(modifiers), _type_text(rest)


def _angle_end(text: str) -> int:
    depth = 0
    for position, character in _outside_quotes(text):
        if character == "<":
            depth += 1
        elif character == ">":
            depth -= 1
            if depth == 0:
                return position + 1
    return 0


def _parameter(text: str) -> Parameter:
    declared, default = text, None
    depth = 0
    for position, character in _outside_quotes(text):
        if character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth = max(0, depth - 1)
        elif depth == 0:
            declared, default = text[:position].strip(), text[position + 1 :].strip()
            break
    declared = re.sub(r"@[\w.]+(?:\([^)]*\))?\s+", "", declared)
    if declared in {"...", "\N{HORIZONTAL ELLIPSIS}"}:
        return Parameter("", "", None, variadic=True)
    if pointer := re.search(r"\(\s*[*^&]+\s*(?:const\s+)?([\w$]*)\s*(?:\[[^\]]*\]\s*)?\)", declared):
        return Parameter(
            pointer[1], _type_text(declared[: pointer.start(1)] + declared[pointer.end(1) :]), default or None
        )
    kind, name = _type_and_name(declared)
    variadic = kind.endswith("...")
    return Parameter(name, _type_text(kind.removesuffix("...")), default or None, variadic)


def _type_and_name(declared: str) -> tuple[str, str]:
    match = re.search(r"(?<![\w$:.])([A-Za-z_$][\w$]*)((?:\s*\[[^\]]*\])*)$", declared)
    if match is None or match[1] in _TYPE_WORDS:
        return declared, ""
    before = declared[: match.start()].rstrip()
    words = re.findall(r"[A-Za-z_$][\w$]*", before)
    if not any(word not in _QUALIFYING for word in words) and not before.endswith("..."):
        return declared, ""
    return before + match[2].replace(" ", ""), match[1]


def _type_text(text: str) -> str:
    """One spelling of a type: ``const char *``, ``T const &``, ``Map<K, V>``, ``char[10]``."""
    text = " ".join(text.split())
    text = re.sub(r"\s*([*&]+(?:\s*[*&]+)*)\s*", lambda match: " " + match[1].replace(" ", "") + " ", text)
    text = re.sub(r"\s*([<>()\[\]])\s*", r"\1", text)
    text = re.sub(r"([>)\]])(?=\w)", r"\1 ", text)
    text = re.sub(r"\s*,\s*", ", ", text)
    return re.sub(r"([>\])])(?=[*&])", r"\1 ", text).strip()
