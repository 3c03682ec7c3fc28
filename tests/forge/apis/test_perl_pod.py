"""POD: formatting codes, builtin functions, prototypes of the C interface, methods of modules; coverage; bad input."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.apis.perl_pod import entities, list_items, read_item
from forge.apis.pod import bare, blocks_of, formatted
from forge.artifacts import artifact_path
from forge.config import Settings, SourceSettings, load_settings
from forge.schema import ApiEntity, Decision

ORIGIN = ApiEntity(
    provider="perl", service="perl", name="", version="5.36", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="MIT", source="mine", item_id="a.pod",
    source_uri="a.pod",
)  # fmt: skip
FUNCTIONS = """=head1 NAME

perlfunc - Perl builtin functions

=head2 Alphabetical Listing of Perl Functions

=over

=item binmode FILEHANDLE, LAYER
X<binmode> X<binary>

=item binmode FILEHANDLE

=for Pod::Functions prepare binary files for I/O

Arranges for FILEHANDLE to be read in "binary" mode. Sets L<C<$!>|perlvar/$!>.

=over 4

=item * one

=item * two

=back

    binmode($fh, ":raw");
    print E<lt>$fhE<gt>;

=item tr///

=for Pod::Functions (=y///) transliterate

The operator.  See L<perlop>.

=back
"""
INTERFACE = """=head1 AV Handling

=over 4

=item C<av_fetch>

=item C<AvFILL>
X<av_fetch>

Returns the SV at the specified index.

=over 3

 SV**  av_fetch(AV *av, SSize_t key,
                I32 lval)
 int   AvFILL(AV* av)

=back

=back
"""
MODULE = """use strict;

=head1 NAME

Pets::Shop - sells pets

=head1 SYNOPSIS

  my $shop = Pets::Shop->new;

=head1 METHODS

=head2 my $pet = $shop->get($name, [$age])

Returns one pet. For example:

  my $pet = $shop->get("Rex");

=head2 Notes on methods

Nothing.

=head1 SEE ALSO

=head2 other($x)

=cut

sub get { }
"""


def named(text: str, stem: str) -> dict[str, ApiEntity]:
    return {entity.name: entity for entity in entities(text, stem, ORIGIN)}


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("C<< $a->b >> and I<B<c>>", "`$a->b` and c"),
        ("L<the docs|Pod::Usage/x>, L<perlop>, L</Here>", "the docs, perlop, Here"),
        ("a E<lt> b E<0x41> X<index>E<verbar>", "a < b A |"),
        ("C<never closed and I<so>", "`never closed and so`"),
        ("if ($a > 1) Z<>x", "if ($a > 1) x"),
    ],
)
def test_formatting_codes(text: str, plain: str) -> None:
    assert formatted(text) == plain


def test_builtin_functions() -> None:
    found = named(FUNCTIONS, "perlfunc")
    assert list(found) == ["binmode", "tr"]
    binmode = found["binmode"]
    assert binmode.declaration == "binmode FILEHANDLE, LAYER\nbinmode FILEHANDLE"
    assert binmode.parameters == {
        "type": "object",
        "properties": {"FILEHANDLE": {}, "LAYER": {}},
        "required": ["FILEHANDLE"],
    }
    assert binmode.description == (
        'Arranges for FILEHANDLE to be read in "binary" mode. Sets `$!`.\n\n- one\n\n- two\n\n'
        'binmode($fh, ":raw");\nprint E<lt>$fhE<gt>;'
    )
    assert binmode.examples[0].input == 'binmode($fh, ":raw");\nprint E<lt>$fhE<gt>;'
    assert found["tr"].summary == "The operator."


def test_the_c_interface_has_prototypes() -> None:
    found = named(INTERFACE, "perlapi")
    assert list(found) == ["av_fetch", "AvFILL"]
    fetch = found["av_fetch"]
    assert fetch.declaration == "SV** av_fetch(AV *av, SSize_t key, I32 lval)"
    assert list(fetch.parameters["properties"]) == ["av", "key", "lval"]
    assert fetch.entity_key == "c/perl/av_fetch"
    assert found["AvFILL"].declaration == "int AvFILL(AV* av)"
    assert found["AvFILL"].description == "Returns the SV at the specified index."


def test_methods_of_a_module() -> None:
    found = named(MODULE, "Shop")
    assert list(found) == ["Pets::Shop::get"]
    get = found["Pets::Shop::get"]
    assert (get.entity_type, get.summary) == ("method", "Returns one pet.")
    assert get.declaration == "my $pet = $shop->get($name, [$age])"
    assert get.parameters["properties"].keys() == {"$name", "$age"}
    assert get.parameters["required"] == ["$name"]
    assert get.examples[0].input == 'my $pet = $shop->get("Rex");'


def test_pages_of_the_manual_are_no_modules() -> None:
    assert named(MODULE.replace("Pets::Shop - ", "perlshop - "), "perlshop") == {}


@pytest.fixture(scope="module")
def manual() -> Path:
    folder = artifact_path(load_settings("full", environment={}), "perl_doc") if _unpacked() else None
    if folder is None:
        pytest.skip("the artifact perl_doc is not unpacked: FORGE_PROFILE=full python -m forge.artifacts")
    return next((folder / "usr/share/perl").glob("*/pod"))


def _unpacked() -> bool:
    return (load_settings("full", environment={}).home_path / "artifacts/perl_doc").is_dir()


def test_every_builtin_of_the_real_manual_is_found(manual: Path) -> None:
    """Independent: each function's entry has one line for the module Pod::Functions, below the items that name it."""
    text = (manual / "perlfunc.pod").read_text(errors="replace")
    expected: set[str] = set()
    items: list[str] = []
    for line in text[text.index("=head2 Alphabetical Listing") :].split("\n"):
        if line.startswith("=item "):
            items.append(re.split(r"[ /(]", line[6:].replace("I<X>", "X"))[0])
        elif line.startswith("=for Pod::Functions"):
            expected.update(items)
            items = []
        elif line and line[0] not in "=X":
            items = []
    found = set(named(text, "perlfunc"))
    assert len(expected) > 200
    assert len(expected & found) / len(expected) >= 0.99, sorted(expected - found)
    assert len(found - expected) <= 0.15 * len(found), sorted(found - expected)  # entries without such a line


def test_every_item_of_the_real_c_interface_is_found(manual: Path) -> None:
    text = (manual / "perlapi.pod").read_text(errors="replace")
    expected, depth = set(), 0
    for command, label in re.findall(r"^=(over|back|item)\b ?(.*)$", text, flags=re.MULTILINE):
        depth += {"over": 1, "back": -1, "item": 0}[command]
        if command == "item" and depth == 1 and (match := re.fullmatch(r"C<(\w+)>", label)):
            expected.add(match[1])  # deeper lists name flags and categories
    assert len(expected) > 2000
    found = named(text, "perlapi")
    assert expected == set(found)
    declared = sum(1 for entity in found.values() if entity.declaration)
    assert declared / len(found) > 0.6  # constants and types have no prototype


def outcomes(path: Path, settings: Settings) -> list[ApiEntity | Decision]:
    source = SourceSettings(type="perl_pod", license="MIT", options={"paths": [str(path)]})
    return [one for item in list_items("mine", source, settings) for one in read_item(item, source, settings)]


def test_bad_files_are_decisions(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "empty.pod").write_bytes(b"")
    (tmp_path / "bytes.pod").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "wide.pod").write_bytes(MODULE.encode("utf-16"))
    found = outcomes(tmp_path / "*.pod", settings)
    assert {one.item_id: one.reason for one in found if isinstance(one, Decision)} == {
        "empty.pod": "empty_file",
        "bytes.pod": "unknown_encoding",
    }
    assert [one.name for one in found if isinstance(one, ApiEntity)] == ["Pets::Shop::get"]


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet="=abhX<>\n \tC|/$()->itemoverbackhead12", max_size=200),
    st.sampled_from(["perlfunc", "perlapi", "x"]),
)
def test_any_text_is_read(text: str, stem: str) -> None:
    for body in (text, FUNCTIONS[: len(text) * 3] + text, MODULE[:200] + text):
        list(entities(body, stem, ORIGIN))


def test_large_input_takes_seconds() -> None:
    started = time.perf_counter()
    for code in ("C<" * 300_000, "C<<< " * 100_000, ">" * 300_000, "A<B" * 200_000):
        bare(code)
    assert sum(1 for _ in blocks_of("=item x\n\n" * 200_000)) == 200_000
    list(entities("=head1 NAME\n\nA - b\n\n=head1 METHODS\n\n" + "=item f($x)\n\ny\n\n" * 50_000, "x", ORIGIN))
    list(entities("=over\n\n" * 50_000 + "=item x\n\n" * 10_000, "perlapi", ORIGIN))
    assert time.perf_counter() - started < 10
