"""Functions, types and commands of manual pages."""

from __future__ import annotations

import gzip
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as fuzz_settings
from hypothesis import strategies as st

from forge.apis.man_pages import MAX_PAGE_BYTES, entities, list_items, read_item
from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import ApiEntity, ApiError, ApiExample, Decision
from forge.stored_files import Problem

BARE = ApiEntity(
    provider="", service="linux", name="", version="", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="", source="s", item_id="i",
    source_uri="man2/box.2",
)  # fmt: skip

CALLS = r""".\" SPDX-License-Identifier: GPL-2.0-or-later
.TH box_open 2 2023-02-05 "Box pages 6.03"
.SH NAME
box_open, box_openat, box_shut, box_count, BOX_MAX \- open and shut a box
.SH SYNOPSIS
.nf
.BR "#include <box.h>" "  /* Definition of BOX_* constants */"
.PP
.BI "[[deprecated]] int box_open(const char *" name ", int " flags );
.BI "int box_open(const char *" name ", int " flags ", mode_t " mode );
.BI "long syscall(SYS_box_openat, int " dirfd ,
.BI "             const char *" name ", ...);"
.BI "void box_shut(int " box ", void (*" then ")(int));"
.BI "extern int " box_count ", " box_size ;
.B #define BOX_MAX 7
/* Documented separately, in lid(2): */
.BI "int lid(void);"
.fi
.PP
.RS -4
Feature Test Macro Requirements for glibc:
.RE
.PP
.BR box_shut ():
    _GNU_SOURCE && int no(void);
.SH DESCRIPTION
.BR box_open ()
opens the box
.IR name .
The
.I flags
are:
.TP
.B BOX_READ
Look in.
.PP
A box is a thing.
.PP
.BR box_shut ()
shuts it.
.SS box_openat()
It works like
.BR box_open ().
.SS box_count
The number.
.SH RETURN VALUE
.BR box_open ()
and
.BR box_openat ()
return a box.
.SH ERRORS
.TP
.BR EAGAIN " or " EWOULDBLOCK
Later.
.IP
Much later.
.TP
.B EBADF
.RB ( box_openat ())
.I dirfd
is bad.
.TP
.B (any)
No error.
.SH EXAMPLES
This one opens
tea:
.PP
.EX
int b = box_open("tea", 0);
.EE
"""

TYPES = """.TH lid 3type 2023 "Box pages 6.03"
.SH NAME
lid, lid_t \\- what shuts
.SH SYNOPSIS
.EX
.B #include <lid.h>
.PP
.B struct lid {
.B "    int size;"
.B };
.B typedef struct lid lid_t;
.EE
.SH DESCRIPTION
A lid.
"""

COMMAND = """.TH boxes 1 2023 "Box pages 6.03"
.SH NAME
boxes \\- count boxes
.SH SYNOPSIS
.B boxes
.RI [ options ]
.IR dir ...
.SH DESCRIPTION
Counts.
.SH OPTIONS
.TP
.BR \\-o " file" ", " \\-\\-output = \\fIfile\\fP
Where to.
.RS
.IP \\(bu
or not
.RE
.TP
.BR \\-a ", " \\-\\-all
All of them.
.PP
More.
.SH EXIT STATUS
0 or 1.
.SH EXAMPLES
.EX
$ boxes -a
7
.EE
"""


def read(page: str, library: str = "libc") -> dict[str, ApiEntity]:
    found = list(entities(page.encode(), BARE, library))
    assert all(isinstance(entity, ApiEntity) for entity in found)
    return {entity.name: entity for entity in found if isinstance(entity, ApiEntity)}


def test_what_a_synopsis_declares() -> None:
    found = read(CALLS)
    assert {name: entity.entity_type for name, entity in found.items()} == {
        "box_open": "function",
        "box_openat": "function",
        "box_shut": "function",
        "box_count": "attribute",
        "box_size": "attribute",
        "BOX_MAX": "macro",
    }
    assert {entity.entity_key for entity in found.values()} >= {"c/linux/box_open", "c/linux/BOX_MAX"}
    assert {(entity.version, entity.license) for entity in found.values()} == {("6.03", "GPL-2.0-or-later")}


def test_a_function_in_two_forms() -> None:
    opened = read(CALLS)["box_open"]
    assert opened.declaration == (
        "int box_open(const char *name, int flags);\nint box_open(const char *name, int flags, mode_t mode);"
    )
    assert opened.parameters == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "x-type": "const char *"},
            "flags": {"type": "integer", "x-type": "int"},
            "mode": {"x-type": "mode_t"},
        },
        "required": ["name", "flags"],
        "x-order": ["name", "flags", "mode"],
    }
    assert opened.summary == "open and shut a box"
    assert opened.returns == {
        "type": "integer", "x-type": "int", "description": "box_open() and box_openat() return a box.",
    }  # fmt: skip
    assert opened.examples == (ApiExample("This one opens tea:", 'int b = box_open("tea", 0);', ""),)


def test_the_other_declarations() -> None:
    found = read(CALLS)
    at = found["box_openat"]
    assert at.declaration == "long syscall(SYS_box_openat, int dirfd, const char *name, ...);"
    assert list(at.parameters["properties"]) == ["dirfd", "name", "..."]
    assert at.parameters["required"] == ["dirfd", "name"]
    assert found["box_shut"].parameters["properties"]["then"] == {"x-type": "void(*)(int)"}
    assert found["box_size"].returns == {"type": "integer", "x-type": "int"}
    assert found["BOX_MAX"].declaration == "#define BOX_MAX 7"


def test_a_shared_description_is_cut_to_what_concerns_each() -> None:
    found = {name: entity.description for name, entity in read(CALLS).items()}
    first = "box_open() opens the box name. The flags are:\n\nBOX_READ\n  Look in."
    assert found["box_open"] == f"{first}\n\nA box is a thing."
    assert found["box_shut"] == "A box is a thing.\n\nbox_shut() shuts it."
    # It refers to box_open(), so that text is part of its own.
    assert found["box_openat"] == f"{first}\n\nA box is a thing.\n\nbox_openat()\n\nIt works like box_open()."
    assert found["box_count"] == "A box is a thing.\n\nbox_count\n\nThe number."


def test_errors_name_the_function_that_they_are_of() -> None:
    found = read(CALLS)
    assert found["box_open"].errors == (
        ApiError("EAGAIN", "Later.\n\nMuch later."),
        ApiError("EWOULDBLOCK", "Later.\n\nMuch later."),
    )
    assert found["box_openat"].errors[2:] == (ApiError("EBADF", "dirfd is bad."),)


def test_section_3_is_the_library_and_a_page_may_be_on_one_use() -> None:
    page = CALLS.replace("box_open 2", "box_open 3")
    assert read(page, "libbox")["box_open"].entity_key == "c/libbox/box_open"
    use = (
        '.TH ioctl_box 2 2023 "B 1"\n.SH NAME\nioctl_box \\- boxes\n.SH SYNOPSIS\n.nf\n'
        '.BI "int ioctl(int " fd ", BOX_GET);"\n.BI "int ioctl(int " fd ", BOX_SET, int " size );\n.fi\n'
        ".SH DESCRIPTION\nOf boxes.\n"
    )
    assert list(read(use)) == ["ioctl_box"]
    assert read(use)["ioctl_box"].declaration.count("\n") == 1


def test_declarations_that_are_described_in_turn() -> None:
    page = (
        '.TH rpc 3 2023 "B 1"\n.SH NAME\nrpc \\- calls\n.SH SYNOPSIS AND DESCRIPTION\nThese are calls.\n.PP\n.nf\n'
        '.BI "int call(int " n );\n.fi\n.IP\nCalls once. Or twice.\n.PP\n.nf\n.BI "void hang(void);"\n.fi\n.IP\nEnds.\n'
    )
    assert {name: (entity.summary, entity.description) for name, entity in read(page).items()} == {
        "call": ("Calls once.", "Calls once. Or twice."),
        "hang": ("Ends.", "Ends."),
    }


def test_types() -> None:
    assert {name: entity.entity_type for name, entity in read(TYPES).items()} == {"struct lid": "type", "lid_t": "type"}
    assert read(TYPES)["lid_t"].declaration.startswith("#include <lid.h>\n\nstruct lid {\n    int size;\n};")


def test_a_command() -> None:
    boxes = read(COMMAND)["boxes"]
    assert (boxes.entity_key, boxes.entity_type, boxes.summary) == ("shell/linux/boxes", "command", "count boxes")
    assert boxes.declaration == "boxes [options] dir..."
    assert boxes.description == "Counts.\n\nMore."
    assert boxes.parameters == {
        "type": "object",
        "properties": {
            "--output": {
                "type": "string", "x-type": "file", "x-aliases": ["-o"], "description": "Where to.\n\n- or not",
            },
            "--all": {"type": "boolean", "x-aliases": ["-a"], "description": "All of them."},
        },
        "x-order": ["--output", "--all"],
    }  # fmt: skip
    assert boxes.returns == {"description": "0 or 1."}
    assert boxes.examples == (ApiExample("", "$ boxes -a\n7", ""),)


def test_other_sections_and_aliases_give_nothing() -> None:
    for page in (COMMAND.replace("boxes 1", "boxes 7"), ".so man2/box_open.2\n", CALLS.replace("open 2", "open 3pm")):
        assert read(page) == {}
    index = CALLS.replace("A box is a thing", "See the individual man pages")
    assert read(index) == {}


@pytest.mark.parametrize(
    ("comment", "license"),
    [
        ('.\\" %%%LICENSE_START(PUBLIC_DOMAIN)', "LicenseRef-public-domain"),
        ('.\\" %%%LICENSE_START(VERBATIM_PROF)', ""),
        ('.\\" Permission is hereby granted, free of charge, to any person\n.\\" obtaining a copy', "MIT"),
        ('.\\" SPDX-License-Identifier: Linux-man-pages-copyleft', "Linux-man-pages-copyleft"),
    ],
)
def test_the_license_is_the_page_s_own(comment: str, license: str) -> None:  # noqa: A002
    assert read(f"{comment}\n{TYPES}")["lid_t"].license == license


def source(folder: Path, **options: object) -> SourceSettings:
    return SourceSettings(type="man_pages", options={"paths": [f"{folder}/**/*"], **options})


def read_folder(folder: Path, settings: Settings, **options: object) -> list[ApiEntity | Decision]:
    given = source(folder, **options)
    return [found for item in list_items("man", given, settings) for found in read_item(item, given, settings)]


def test_files(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "man1").mkdir()
    (tmp_path / "man1" / "boxes.1.gz").write_bytes(gzip.compress(COMMAND.encode()))
    (tmp_path / "man1" / "crates.1.gz").symlink_to("boxes.1.gz")
    (tmp_path / "man1" / "cut.1.gz").write_bytes(gzip.compress(CALLS.encode())[:-30])
    (tmp_path / "man1" / "empty.1").write_bytes(b"")
    (tmp_path / "man1" / "large.1").write_bytes(b"x\n" * MAX_PAGE_BYTES)
    (tmp_path / "man1" / "odd.1").write_bytes(b"\x00\x01\x02\x81" * 100)
    (tmp_path / "man1" / "other.1").write_bytes(b"<html>")
    (tmp_path / "man1" / "wide.1").write_bytes(COMMAND.replace("boxes", "wide").encode("utf-16"))
    found = read_folder(tmp_path, settings, public_uri="pkg:x#", version="9")
    assert [(entry.name, entry.version, entry.source_uri) for entry in found if isinstance(entry, ApiEntity)] == [
        ("boxes", "9", "pkg:x#man1/boxes.1"),
        ("wide", "9", "pkg:x#man1/wide.1"),
    ]
    assert [(entry.item_id, entry.reason) for entry in found if isinstance(entry, Decision)] == [
        ("man1/cut.1.gz", "truncated_container"),
        ("man1/empty.1", "empty_file"),
        ("man1/large.1", "oversized"),
        ("man1/odd.1", "unknown_encoding"),
        ("man1/other.1", "not_a_manual_page"),
    ]
    with pytest.raises(ConfigurationError, match="colour"):
        read_folder(tmp_path, settings, colour="red")


@pytest.mark.parametrize("name", ["linux_man_pages", "linux_man_pages_for_developers"])
def test_the_names_of_the_pages_are_found(name: str, settings: Settings) -> None:
    """Of the names on the NAME line that the raw SYNOPSIS calls ("name("), at least 99 % are functions; of what is
    found, each stands in the page's SYNOPSIS."""
    given = settings.sources[name]
    if artifact_path(settings, given.artifact or "") is None:
        pytest.skip(f"artifact {given.artifact} is not unpacked")
    items = list(list_items(name, given, settings))
    listed: set[tuple[str, str]] = set()
    synopses: dict[str, str] = {}
    for item in items:
        path = Path("/" + item.locator["path"].lstrip("/"))
        number = path.name.split(".")[-2]
        if path.name != Path(item.item_id).name or number not in {"2", "3"}:
            continue
        text = gzip.decompress(path.read_bytes()).decode()
        synopsis = re.search(r"^\.SH SYNOPSIS.*?\n(.*?)^\.SH ", text, re.DOTALL | re.MULTILINE)
        head = re.search(r"^\.SH NAME\n(.*?) *\\-", text, re.DOTALL | re.MULTILINE)
        if synopsis is None or head is None or "See the individual man pages" in text.replace("\n", " "):
            continue
        synopses[item.item_id] = synopsis[1]
        for called in re.split(r",\s*", head[1].strip()):
            if re.search(rf"\b{re.escape(called)}\(", synopsis[1]):
                listed.add((item.item_id, called))
    found = [entity for item in items for entity in read_item(item, given, settings)]
    assert all(isinstance(entity, ApiEntity) for entity in found)
    told = [entity for entity in found if isinstance(entity, ApiEntity)]
    names = {(entity.item_id, entity.name) for entity in told if entity.provider == "c"}
    if name == "linux_man_pages_for_developers":
        assert len(listed) > 1500
        keys = Counter(entity.entity_key for entity in told)
        assert [key for key, count in keys.items() if count > 1] == ["c/libc/isinf", "c/libc/isnan", "c/libc/__fpurge"]
    assert len(listed & names) >= 0.99 * len(listed)
    for entity in told:
        plain = entity.name.rpartition(" ")[2]
        if (
            entity.item_id in synopses
            and entity.entity_type == "function"
            and not plain.startswith(("ioctl_", "seccomp_"))
        ):
            assert re.search(rf"\b(?:SYS_)?{re.escape(plain)}\b", synopses[entity.item_id]), entity.name


@given(
    page=st.sampled_from([CALLS, TYPES, COMMAND]),
    cuts=st.lists(
        st.tuples(
            st.integers(0, 1500),
            st.integers(0, 200),
            st.sampled_from(
                [".SH NAME\n", "\\-", ".fi\n", "(", ")", ";", "{", "/*", "*/", "extern ", "#define ", "\\", '"',
                 ".nf\n", ",", ".TP\n", "-", "--=", "\x00", "\u2028", "SYS_", "operator", "()", "\n"]
            ),
        ),
        max_size=6,
    ),
)  # fmt: skip
@fuzz_settings(max_examples=200, deadline=None)
def test_no_mutation_breaks_the_reader(page: str, cuts: list[tuple[int, int, str]]) -> None:
    for at, length, spoiler in cuts:
        page = page[:at] + spoiler + page[at + length :]
    for found in entities(page.encode(), BARE):
        if isinstance(found, Problem):
            assert found.reason in {"not_a_manual_page", "unknown_encoding"}
            continue
        assert found.row("2026-01-01")["entity_key"]
        assert not re.search("[\x00\ud800-\udfff\u2028]", f"{found.name}{found.description}{found.declaration}")


@pytest.mark.parametrize(
    "page",
    [
        CALLS.replace("\nbox_open, ", "\n" + ", ".join(f"n{number}" for number in range(50_000)) + ", "),
        CALLS.replace(".B #define BOX_MAX 7", "int f(" * 50_000),
        CALLS.replace(".B #define BOX_MAX 7", "\n".join(f"int f{number}(int);" for number in range(20_000))),
        CALLS + "\\[" * 200_000,
        CALLS + ".RS\nx\n" * 30_000,
        COMMAND.replace(".TP", ".TP\n-a --b=c\nx\n" * 10_000, 1),
        ".Dd x\n.Dt X 3\n.Sh NAME\n.Op " + "Op Fl " * 100_000,
    ],
)
def test_hostile_pages_take_bounded_time(page: str) -> None:
    started = time.process_time()
    list(entities(page.encode(), BARE))
    assert time.process_time() - started < 8
