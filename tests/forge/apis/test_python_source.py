"""What the source of one module documents."""

from __future__ import annotations

import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.python_objects import Parameter, PythonObject
from forge.apis.python_source import parse_module

CODE = '''
"""A module."""
from __future__ import annotations
import os as system
from . import sibling
from ..above import *
from .inner import thing as other

__all__ = ["buy"]
__all__ += ["Ticket"]

LIMIT = 10
"""How many at most."""
_SECRET = 1
"""Not shown by its name."""
plain = 1

def buy(stops: "list[str]", /, adults: int = 1, *more: str, fare="day", _debug=None, **options) -> Ticket | None:
    """Buys."""

async def wait(): "Waits."

def silent(): ...

if system:
    def chosen():
        """The one that counts."""
else:
    def chosen():
        """The other one."""
try:
    from fast import quick
except ImportError:
    def quick(): """Slow."""

class Ticket(Base):
    """A ticket.

    Indented.
    """

    price: int = 3
    """What it costs."""
    seat = 1

    def __init__(self, zone: Zone, *, label: str = "ä" "b"):
        """Makes one.

        :param zone: where
        """
        self.zone = zone
        """Where it is good."""
        self._hidden = 1
        """No."""

    @overload
    def use(self, when: int) -> int: ...
    @overload
    def use(self, when: str) -> str: ...
    def use(self, when):
        """Uses it."""

    @property
    def valid(self) -> bool:
        """Whether it is good."""
    @valid.setter
    def valid(self, value):
        """Not told again."""

    @functools.cached_property
    def owner(self):
        """Who has it."""

    @staticmethod
    def parse(self, text):
        """A static method may call its first parameter so."""
    @classmethod
    def free(cls): """For nothing."""

    class Part:
        """A part."""
        def tear(self): """Tears."""

@dataclass
class Point:
    """A point."""
    x: int
    y: "float" = 0.5
    _seen: int = 0
    count: ClassVar[int] = 0
    late: int = field(init=False)

class Open(Point):
    """Constructor unknown."""

class Built:
    def __init__(self, a=1):
        """Says what the class does not."""
'''


@pytest.fixture(scope="module")
def objects() -> dict[str, PythonObject]:
    module = parse_module("line.fares", CODE)
    return {described.name: described for name in module.members for described in module.objects(name)}


def test_names_and_kinds(objects: dict[str, PythonObject]) -> None:
    assert {name: described.kind for name, described in objects.items()} == {
        "LIMIT": "attribute",
        "buy": "function",
        "wait": "function",
        "chosen": "function",
        "quick": "function",
        "Ticket": "class",
        "Ticket.price": "attribute",
        "Ticket.zone": "attribute",
        "Ticket.use": "method",
        "Ticket.valid": "attribute",
        "Ticket.owner": "attribute",
        "Ticket.parse": "method",
        "Ticket.free": "method",
        "Ticket.Part": "class",
        "Ticket.Part.tear": "method",
        "Point": "class",
        "Open": "class",
        "Built": "class",
    }
    assert objects["chosen"].docstring == "The one that counts."
    assert objects["Ticket"].docstring == "A ticket.\n\nIndented."
    assert objects["Built"].docstring == "Says what the class does not."


def test_signatures(objects: dict[str, PythonObject]) -> None:
    assert objects["buy"].parameters == [
        Parameter("stops", "list[str]"),
        Parameter("adults", "int", "1"),
        Parameter("*more", "str"),
        Parameter("fare", "", '"day"'),
        Parameter("**options"),
    ]
    assert objects["buy"].returns == "Ticket | None"
    assert objects["Ticket"].parameters == [Parameter("zone", "Zone"), Parameter("label", "str", "'äb'")]
    assert objects["Ticket"].constructor_docstring == "Makes one.\n\n:param zone: where"
    assert objects["Ticket.use"].parameters == [Parameter("when")]
    assert objects["Ticket.parse"].parameters == [Parameter("self"), Parameter("text")]
    assert objects["Ticket.free"].parameters == []
    assert objects["Point"].parameters == [Parameter("x", "int"), Parameter("y", "float", "0.5")]
    assert objects["Open"].parameters is None


def test_attributes_show_their_source(objects: dict[str, PythonObject]) -> None:
    assert objects["LIMIT"].declaration == "LIMIT = 10"
    assert (objects["Ticket.price"].declaration, objects["Ticket.price"].returns) == ("price: int = 3", "int")
    assert objects["Ticket.valid"].declaration == "@property\ndef valid(self) -> bool"
    assert objects["Ticket.valid"].docstring == "Whether it is good."


def test_imports() -> None:
    module = parse_module("line.fares", CODE)
    assert sorted(module.imports) == [
        ("annotations", "__future__.annotations"),
        ("other", "line.inner.thing"),
        ("quick", "fast.quick"),
        ("sibling", "line.sibling"),
        ("system", "os"),
    ]
    assert module.listed == {"buy", "Ticket"}
    assert parse_module("line", "from .a import *\nfrom . import b", is_package=True).starred == ["line.a"]


@pytest.mark.parametrize("code", ["__all__ = a.__all__ + ['x']", "__all__ = ['x']\n__all__.extend(y)", "__all__ = f()"])
def test_an_all_that_others_complete_lists_nothing(code: str) -> None:
    assert parse_module("m", code).listed == frozenset()


@pytest.mark.parametrize(
    "code",
    [
        "if a:\n    pass\n" + "elif b:\n    pass\n" * 900,
        "x = " + "-" * 5000 + "1",
        "x = " + "[" * 5000,
        "def f(a=" + "(" * 150 + ")" * 150 + "):\n    'd'\n",
        "class A:\n"
        + "".join("    " * level + f"class B{level}:\n" for level in range(1, 99))
        + "    " * 99
        + "x = 1\n",
        "\0",
        "'''",
    ],
)
def test_what_python_cannot_parse_raises_what_the_reader_expects(code: str) -> None:
    started = time.process_time()
    try:
        module = parse_module("m", code)
        for name in module.members:
            list(module.objects(name))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    assert time.process_time() - started < 5


LINES = CODE.split("\n")


@given(
    st.lists(
        st.tuples(st.integers(0, len(LINES) - 1), st.sampled_from(["", "x", "  ", "'''", "def f(", "\\", "é", "@"]))
    ),
    st.integers(0, len(CODE)),
)
def test_mutated_source_gives_objects_or_a_known_error(changes: list[tuple[int, str]], end: int) -> None:
    lines = list(LINES)
    for number, piece in changes:
        lines[number] = piece + lines[number]
    try:
        module = parse_module("m", "\n".join(lines)[:end])
        found = [described for name in module.members for described in module.objects(name)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    assert all(described.docstring and described.name for described in found)


def test_the_text_of_a_default_is_the_sources_own_or_is_left_out() -> None:
    code = textwrap.dedent("""
        def f(a=1_000, b={'x':  1}, c=[
                1,
                2], d='é'):
            "d"
    """)
    module = parse_module("m", code + "def g(x=" + "'" + "y" * 3000 + "'):\n    'd'\n")
    (f,) = module.objects("f")
    assert [entry.default for entry in f.parameters or ()] == ["1_000", "{'x':  1}", "[1, 2]", "'é'"]
    (g,) = module.objects("g")
    assert [entry.default for entry in g.parameters or ()] == ["..."]
