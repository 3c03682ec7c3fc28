"""The text of manual pages, macro by macro, and beside what groff prints."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.roff import Block, read_page, text_of_blocks
from forge.apis.roff_escapes import MAX_STRING_CHARACTERS, arguments, plain
from forge.artifacts import artifact_path
from forge.config import Settings

HEAD = '.TH box 3 2020-01-02 "Box pages 1.5" "Manual"\n.SH DESCRIPTION\n'


def blocks(text: str) -> tuple[Block, ...]:
    return read_page(HEAD + text).blocks("DESCRIPTION")


def told(text: str) -> str:
    return text_of_blocks(blocks(text))


def test_the_title_line_and_the_sections() -> None:
    page = read_page('.\\" comment\n' + HEAD + "One.\n.SH\nSEE ALSO\n.BR lid (3)\n.SS More\nTwo.\n")
    assert (page.title, page.section, page.source) == ("box", "3", "Box pages 1.5")
    assert [section.title for section in page.sections] == ["DESCRIPTION", "SEE ALSO"]
    assert page.blocks("SEE ALSO") == (
        Block("paragraph", "lid(3)"),
        Block("heading", "More"),
        Block("paragraph", "Two."),
    )
    assert page.blocks("BUGS", "DESCRIPTION") == (Block("paragraph", "One."),)


def test_a_page_that_is_another_one() -> None:
    assert read_page(".so man3/lid.3\n").alias_of == "man3/lid.3"
    assert read_page("Some text.\nNo page.\n").sections == ()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (".B two words", "two words"),
        ('.BR open "(2), " lid (3).', "open(2), lid(3)."),
        ('.BI "int open(const char *" path ", int " flags );', "int open(const char *path, int flags);"),
        (".IR a\\ b c", "a bc"),
        ("a \\fBbold\\fP \\f[I]word\\fR \\s-1small\\s0 \\m[red]x\\m[]", "a bold word small x"),
        ("\\-1 \\(em \\[em] \\e0 \\\\n \\(aq\\[dq]\\(co \\('e", "-1 \u2014 \u2014 \\0 \\n '\"\u00a9 \u00e9"),
        ("\\[u00E9]\\[uD800]\\[nothing]", "\u00e9"),
        ("tail\\&.\\|\\^\\%\\: x\\~y\\0z \\h'1i'\\w'abc'\\z", "tail. x y z"),
        ("before \\\" a comment", "before"),
        (".B \"say \"\"so\"\"\" \\\" a comment", 'say "so"'),
        ("\\*(lqquoted\\*(rq \\*[own]", "\u201cquoted\u201d"),
        ("\\N'65'\\N'55296'", "A"),
    ],
)  # fmt: skip
def test_lines(line: str, text: str) -> None:
    assert told(line) == text


def test_lines_that_belong_together() -> None:
    assert told("one\ntwo \\\nthree\n.BR four \\c\n.I five\n\nsix") == "one two three fourfive\n\nsix"


def test_paragraphs_items_and_levels() -> None:
    text = told(
        'Intro.\n.PP\nNext.\n.TP\n.B \\-a\nAll.\n.IP\nReally.\n.TP\n.BR \\-b ", " \\-\\-bare\n.TQ\n.B \\-c\nBare.\n'
        ".RS\n.IP \\(bu 2\nfirst\n.IP \\(bu\nsecond\n.RE\n.IP 1. 4\nnumber\n.PP\nEnd.\n"
    )
    assert text == (
        "Intro.\n\nNext.\n\n-a\n  All.\n\n  Really.\n\n-b, --bare, -c\n  Bare.\n  - first\n  - second\n"
        "1. number\n\nEnd."
    )


def test_code_keeps_its_lines() -> None:
    text = told(
        "So:\n.PP\n.in +4n\n.EX\nif (x)\n    y(\\(dqz\\(dq);\n\n.B done\n.EE\n.in\n.PP\nAnd\n.nf\na  b\n.fi\nend"
    )
    assert text == 'So:\n\nif (x)\n    y("z");\n\ndone\n\nAnd\n\na  b\n\nend'


def test_a_table_is_text() -> None:
    text = "See\n.TS\nallbox;\nlb lb\nl l.\nName\tValue\n_\nT{\n.BR f (),\ng\nT}\tT{\nsafe\nT}\n.TE\nend"
    assert told(text) == "See\n\nName | Value\nf(), g | safe\n\nend"


def test_conditions_strings_and_own_macros() -> None:
    text = (
        ".de QT\n\\(lq\\\\$1\\(rq\n..\n.ds NM box\n.if t skipped\n.if n shown\n.ie \\n(.g yes\n.el no\n"
        ".if t \\{\\\nnever\n.B nor this\n.\\}\n.if n \\{\\\nalways\n.\\}\n"
        ".QT \\*(NM\n.UR http://box.test\nsite\n.UE .\n"
        ".ig\nignored\n..\nend"
    )
    assert told(text) == "shown yes always box site <http://box.test>. end"


def test_what_a_page_defines_cannot_grow() -> None:
    long = plain("\\*x" * 1000, {"x": "y" * MAX_STRING_CHARACTERS})
    assert len(long) == 1000 * MAX_STRING_CHARACTERS
    assert told(".ds a " + "b" * 500 + "\n\\*a") == "b" * MAX_STRING_CHARACTERS
    assert told(".ds a \\*a\\*a\n\\*a!") == "!"
    assert max(block.level for block in blocks(".RS\nx\n" * 1000)) == 8


def test_arguments() -> None:
    assert arguments('a "b c" d\\ e "" "f""g" h"i') == ["a", "b c", "d\\ e", "", 'f"g', 'h"i']


MDOC = """.Dd June 1, 2020
.Dt BOX 3
.Os
.Sh NAME
.Nm box_open ,
.Nm box_shut
.Nd open and shut a box
.Sh SYNOPSIS
.In box.h
.Ft int
.Fn box_open "const char *name" "int flags"
.Ft void
.Fo box_shut
.Fa "int box"
.Fc
.Vt extern int box_count ;
.Sh DESCRIPTION
The
.Fn box_open
function opens
.Fa name
.Pq see Xr box 4 ,
unless
.Dv BOX_SHUT
is set.
The flags are:
.Bl -tag -width indent
.It Dv BOX_READ
Look in.
.It Fl l , Fl -long Ar file
Long
.Op Fl x Ar y .
.Pp
More.
.El
.Pp
Then
.Ql a Ns b ,
or
.Do so Dc :
.Bd -literal -offset indent
int b = box_open("tea", 0);
  box_shut(b);
.Ed
.Bl -bullet
.It
one
.It
two
.El
.Sh RETURN VALUES
.Rv -std box_open
.Ex -std
"""


def test_mdoc() -> None:
    page = read_page(MDOC)
    assert (page.title, page.section) == ("BOX", "3")
    assert text_of_blocks(page.blocks("NAME")) == "box_open, box_shut - open and shut a box"
    assert [block.text for block in page.blocks("SYNOPSIS")] == [
        "#include <box.h>",
        "int box_open(const char *name, int flags);",
        "void box_shut(int box);",
        "extern int box_count;",
    ]
    assert text_of_blocks(page.blocks("DESCRIPTION")) == (
        "The box_open() function opens name (see box(4)), unless BOX_SHUT is set. The flags are:\n\n"
        "BOX_READ\n  Look in.\n-l, --long file\n  Long [-x y].\n\n  More.\n\n"
        'Then \u2018ab\u2019, or \u201cso\u201d:\n\nint b = box_open("tea", 0);\n  box_shut(b);\n\n- one\n- two'
    )
    assert text_of_blocks(page.blocks("RETURN VALUES")).startswith("The box_open() function returns the value 0")


needs_groff = pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")


def printed(content: bytes, macros: str) -> Counter[str]:
    """The words of a page as groff prints it, without its first and last line."""
    lines = subprocess.run(
        ["groff", "-K", "utf8", "-t", macros, "-Tutf8", "-P-cbou", "-rLL=2000n", "-rHY=0", "-rIN=0"],
        input=content, capture_output=True, check=True,
    ).stdout.decode().split("\n")  # fmt: skip
    return words("\n".join([line for line in lines if line.strip()][1:-1]))


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"[A-Za-z0-9_]{2,}", text))


def read_words(content: bytes) -> Counter[str]:
    page = read_page(content.decode("utf-8", "replace"))
    return words("\n".join(f"{section.title}\n{text_of_blocks(section.blocks)}" for section in page.sections))


@needs_groff
@pytest.mark.parametrize("artifact", ["manpages", "manpages_dev"])
def test_the_words_are_those_that_groff_prints(artifact: str, settings: Settings) -> None:
    folder = artifact_path(settings, artifact)
    if folder is None:
        pytest.skip(f"artifact {artifact} is not unpacked")
    pages = [path for path in sorted(folder.glob("usr/share/man/man[1238]/*.gz")) if not path.is_symlink()]
    total = different = 0
    for path in pages[:: 4 if artifact == "manpages" else 40]:
        content = gzip.decompress(Path(path).read_bytes())
        ours, theirs = read_words(content), printed(content, "-man")
        total += theirs.total()
        different += (ours - theirs).total() + (theirs - ours).total()
    assert total > 1000
    assert different <= 0.001 * total


@needs_groff
def test_the_words_of_mdoc_are_those_that_groff_prints() -> None:
    page = MDOC.partition(".Sh RETURN VALUES")[0]
    assert read_words(page.encode()) == printed(page.encode(), "-mdoc")


LINES = (
    *HEAD.splitlines(), *MDOC.splitlines(), ".TP", ".RS", ".RE", ".nf", ".fi", ".if t \\{", ".\\}", ".TS", ".TE", "T{",
    "T}\tT{", ".de x", "..", ".ds a \\*a", "\\*a\\c", "\\", "\\f[", ".BR \"", "'", ".", "\x00", ".Op Op Fl", ".Fo",
    ".It", ".El", ".SH", ".SS", ".TQ", ".IP x", "text",
)  # fmt: skip


@given(st.lists(st.sampled_from(LINES), max_size=40))
def test_no_page_breaks_the_reader(lines: list[str]) -> None:
    page = read_page("\n".join(lines))
    for section in page.sections:
        text = section.title + text_of_blocks(section.blocks)
        assert not re.search("[\x00-\x08\x0b-\x1f\ud800-\udfff]", text)
