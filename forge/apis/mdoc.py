"""The macros of mdoc(7), as the pages of the BSDs use them, told to a reader of roff.

They say what a word is (``.Fl`` a flag, ``.Fa`` an argument), and most can stand in the line of another one; what they
mean for the look is left out. A page of this kind begins with ``.Dd``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forge.apis.roff_escapes import plain

if TYPE_CHECKING:
    from forge.apis.roff import Reader

_ENCLOSING = {
    "Op": ("[", "]"), "Dq": ("\u201c", "\u201d"), "Sq": ("\u2018", "\u2019"), "Pq": ("(", ")"), "Qq": ('"', '"'),
    "Aq": ("<", ">"), "Bq": ("[", "]"), "Brq": ("{", "}"), "Ql": ("\u2018", "\u2019"),
}  # fmt: skip
_OPENING = {"Oo": "[", "Do": "\u201c", "So": "\u2018", "Po": "(", "Qo": '"', "Ao": "<", "Bo": "[", "Bro": "{"}
_CLOSING = {"Oc": "]", "Dc": "\u201d", "Sc": "\u2019", "Pc": ")", "Qc": '"', "Ac": ">", "Bc": "]", "Brc": "}"}
_PLAIN = frozenset(
    {
        "Ad", "Ar", "Cm", "Dv", "Em", "Er", "Ev", "Fa", "Ft", "Ic", "Li", "Ms", "Mt", "No", "Pa", "Sx", "Sy", "Tn",
        "Va", "Vt", "An", "Lb", "Lk", "St",
    }
)  # fmt: skip
_SYSTEMS = {"Ux": "UNIX", "Bx": "BSD", "Fx": "FreeBSD", "Nx": "NetBSD", "Ox": "OpenBSD", "At": "AT&T UNIX"}
_CALLABLE = frozenset(_ENCLOSING) | set(_OPENING) | set(_CLOSING) | _PLAIN | set(_SYSTEMS) | {
    "Fl", "Fn", "Nm", "Xr", "Ns", "Pf", "Ap", "Ta", "In",
}  # fmt: skip
_MAX_WORDS = 1000  # of a line
_BEFORE = frozenset("([")
_AFTER = frozenset(".,:;)]?!")


class Mdoc:
    """``macro`` is called for every macro line of the page."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.name = ""
        self.section = ""
        self.returned = ""  # by .Ft, for the function that follows
        self.function = ""
        self.types: list[str] | None = None  # of the arguments between .Fo and .Fc
        self.lists: list[str] = []

    def macro(self, name: str, given: Sequence[str]) -> None:
        reader = self.reader
        words = [plain(argument, reader.strings) for argument in given]
        if name == "Dt":
            reader.title = [*words[:2], "", ""] if len(words) > 1 else ["", ""]
        elif name == "Os":
            reader.title = [*reader.title[:2], "", " ".join(words)]
        elif name == "Sh":
            self.section = " ".join(words).upper()
            reader.section(" ".join(words))
        elif name == "Ss":
            reader.subsection(" ".join(words))
        elif name in {"Pp", "Lp"}:
            reader.paragraph()
            reader.inner = int(bool(self.lists))
        elif name in {"Bl", "El", "It", "Bd", "Ed", "D1", "Dl"}:
            self.layout(name, words)
        elif self.section == "SYNOPSIS" and name in {"In", "Ft", "Fn", "Fo", "Fa", "Fc", "Vt"}:
            self.synopsis(name, words)
        elif name == "Nd":
            reader.say("- " + self.line(words))
        elif name == "Rv":
            of = f"The {words[1]}() function returns" if len(words) > 1 else "This function returns"
            reader.say(f"{of} the value 0 if successful; otherwise the value -1 is returned and errno is set.")
        elif name == "Ex":
            reader.say(f"The {self.name} utility exits 0 on success, and >0 if an error occurs.")
        elif name == "Nm" and words and words[0] not in _CALLABLE and not self.name:
            self.name = words[0]
            reader.say(self.line([name, *words]))
        elif name in _CALLABLE:
            if name == "Nm" and self.section == "SYNOPSIS":
                reader.flush()
            reader.say(self.line([name, *words]))

    def layout(self, name: str, words: Sequence[str]) -> None:
        """Lists and displays."""
        reader = self.reader
        if name == "Bl":
            reader.flush()
            self.lists.append(words[0] if words else "-item")
            reader.level += len(self.lists) > 1
        elif name == "El":
            reader.flush()
            reader.level = max(0, reader.level - (len(self.lists) > 1))
            reader.inner = 0
            self.lists = self.lists[:-1]
        elif name == "It":
            kind = self.lists[-1] if self.lists else "-item"
            if kind in {"-bullet", "-dash", "-hyphen", "-item", "-enum"}:
                reader.item("" if kind == "-item" else "\u2022")
                if words:
                    reader.say(self.line(words))
            else:
                reader.item(self.line(words))
        elif name in {"Bd", "Ed"}:
            reader.fill(name == "Ed" or not {"-literal", "-unfilled"} & set(words))
            reader.paragraph()
        else:
            reader.fill(False)
            reader.say(self.line(words))
            reader.fill(True)

    def synopsis(self, name: str, words: Sequence[str]) -> None:
        """Declarations, one a line of a block of code."""
        reader = self.reader
        if name == "Ft":
            self.returned = " ".join(words)
        elif name == "Fa" and self.types is not None:
            self.types.extend(words)
        elif name == "Fo":
            self.function, self.types = "".join(words[:1]), []
        elif name == "Vt":
            self.declare(f"{' '.join(words).rstrip(' ;')};")
        elif name == "In":
            self.declare(f"#include <{''.join(words[:1])}>")
        elif name == "Fn" and words:
            self.declare(f"{self.returned} {words[0]}({', '.join(words[1:])});".strip())
        elif name == "Fc" and self.function:
            self.declare(f"{self.returned} {self.function}({', '.join(self.types or ())});".strip())
            self.function, self.types = "", None
        elif name == "Fa":
            reader.say(" ".join(words))

    def declare(self, line: str) -> None:
        self.reader.fill(False)
        self.reader.say(line)
        self.reader.fill(True)

    def line(self, words: Sequence[str]) -> str:
        """The text of a line of words and macros. What encloses ends with the line, before its punctuation."""
        words = words[:_MAX_WORDS]
        end = len(words)
        while end and words[end - 1] in _AFTER:
            end -= 1
        text = ""
        glued = True
        closing: list[str] = []
        position = 0
        while position < end:
            word = words[position]
            position += 1
            if word not in _CALLABLE:
                text, glued = self.put(text, word, glued), word in _BEFORE
            elif word in _ENCLOSING:
                text, glued = self.put(text, _ENCLOSING[word][0], glued), True
                closing.append(_ENCLOSING[word][1])
            elif word in _OPENING:
                text, glued = self.put(text, _OPENING[word], glued), True
            elif word in _CLOSING:
                text, glued = text + _CLOSING[word], False
            elif word in {"Ns", "Ap"}:
                text, glued = text + ("'" if word == "Ap" else ""), True
            elif word == "Pf":
                text, glued = self.put(text, "".join(words[position : position + 1]), glued), True
                position += 1
            else:
                following = position
                while following < end and words[following] not in _CALLABLE and words[following] not in _AFTER:
                    following += 1
                if said := self.words(word, words[position:following]):
                    text, glued = self.put(text, said, glued), False
                position = following
        return text + "".join(reversed(closing)) + "".join(words[end:])

    def put(self, text: str, word: str, glued: bool) -> str:
        return f"{text}{word}" if glued or not text or word in _AFTER else f"{text} {word}"

    def words(self, name: str, given: Sequence[str]) -> str:
        """What one macro makes of its words."""
        if name == "Fl":
            return " ".join(f"-{word}" for word in given) or "-"
        if name == "Ar":
            return " ".join(given) or "file ..."
        if name == "Nm":
            return " ".join(given) or self.name
        if name == "Xr":
            return f"{given[0]}({given[1]})" if len(given) > 1 else " ".join(given)
        if name == "Fn":
            return f"{given[0]}({', '.join(given[1:])})" if given else ""
        if name == "In":
            return f"<{' '.join(given)}>"
        if name == "Ta":
            return "| " + " ".join(given)
        if name in _SYSTEMS:
            return " ".join([_SYSTEMS[name], *given])
        return " ".join(given)
