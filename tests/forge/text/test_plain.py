"""Files of general text."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import Decision, Text
from forge.text.plain import list_items, read_item, split_text

MALLARD = b"""<page xmlns="http://projectmallard.org/1.0/" id="m"><info><credit><name>Nobody</name></credit></info>
<title>Wake the mouse</title><p>Wireless mice   may\nneed to wake up.</p><steps><item><p>Click it.</p></item></steps>
<screen>$ mouse --wake
  done</screen></page>"""


def source(*paths: Path | str, **options: object) -> SourceSettings:
    return SourceSettings(
        type="plain_text", license="CC0-1.0", options={"paths": [str(path) for path in paths], **options}
    )


def read(settings: Settings, found: SourceSettings) -> list[Text | Decision]:
    return [outcome for item in list_items("s", found, settings) for outcome in read_item(item, found, settings)]


def test_formats(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("A title\r\n\r\nGrüße".encode())
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two"))
    (tmp_path / "c.page").write_bytes(MALLARD)
    (tmp_path / "d.html").write_bytes(b"<title>T</title><main><p>" + b"Readable prose. " * 10 + b"</p></main>")
    texts = read(settings, source(tmp_path / "*.*"))
    assert all(isinstance(text, Text) and text.kind == "text" and text.license == "CC0-1.0" for text in texts)
    plain, zipped, mallard, page = texts
    assert isinstance(plain, Text)
    assert isinstance(zipped, Text)
    assert isinstance(mallard, Text)
    assert isinstance(page, Text)
    assert (plain.title, plain.text) == ("A title", "A title\n\nGrüße")
    assert zipped.text == "one\ntwo"
    expected = "Wake the mouse\n\nWireless mice may need to wake up.\n\n- Click it.\n\n$ mouse --wake\n  done"
    assert (mallard.title, mallard.text) == ("Wake the mouse", expected)
    assert page.title == "T"


def test_reasons(settings: Settings, tmp_path: Path) -> None:
    packed = gzip.compress(b"hello world " * 1000)
    files = {
        "a-empty.txt": (b"", "empty_file"),
        "b-blank.txt": (b" \n\n ", "empty_file"),
        "c-binary.txt": (bytes(range(256)) * 50, "unknown_encoding"),
        "d-cut.txt.gz": (packed[:-10], "truncated"),
        "e-bad.txt.gz": (b"\x1f\x8b" + b"x" * 100, "malformed_gzip"),
        "f-bomb.txt.gz": (gzip.compress(bytes(5_000_000)), "too_large"),
        "g-large.txt": (b"x" * 100_001, "too_large"),
        "h-bad.page": (b"<page><p>no namespace</p></page>", "malformed_page"),
        "i-cut.page": (MALLARD[:100], "malformed_page"),
        "j-entity.page": (
            b'<!DOCTYPE page [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
            + MALLARD[:-7]
            + b"<p>&b;",
            "malformed_page",
        ),
    }
    for name, (content, _) in files.items():
        (tmp_path / name).write_bytes(content)
    found = read(settings, source(tmp_path / "*", max_file_bytes=100_000))
    decisions = {outcome.item_id.rpartition("/")[2]: outcome for outcome in found}
    assert {name: getattr(decisions[name], "reason", None) for name in files} == {
        name: reason for name, (_, reason) in files.items()
    }


def test_names_do_not_hold_the_place_of_the_artifact(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "own" / "artifacts" / "gensim" / "docs" / "en"
    folder.mkdir(parents=True)
    (folder / "x.txt").write_text("text")
    (tmp_path / "own" / "artifacts" / "gensim" / ".complete").write_text(settings.artifacts["gensim"].sha256)
    own = settings.model_copy(update={"home": str(tmp_path / "own")})
    found = source("docs/*/x.txt", public_uri="pkg:x#").model_copy(update={"artifact": "gensim"})
    (text,) = read(own, found)
    assert isinstance(text, Text)
    assert (text.item_id, text.uri) == ("docs/en/x.txt", "pkg:x#docs/en/x.txt")


def test_configuration_errors_name_the_key(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no file matches"):
        list(list_items("s", source(tmp_path / "*.none"), settings))
    with pytest.raises(ConfigurationError, match=r"sources\.s\.options\.pats"):
        list(list_items("s", source("x", pats=1), settings))


@given(st.lists(st.text(alphabet="ab \n", max_size=40), max_size=30), st.integers(min_value=5, max_value=200))
def test_parts_hold_every_paragraph_in_order(paragraphs: list[str], limit: int) -> None:
    text = "\n\n".join(paragraphs)
    parts = list(split_text(text, limit))
    assert "".join("".join(part.split()) for part in parts) == "".join(text.split())
    longest = max((len(paragraph) for paragraph in text.split("\n\n")), default=0)
    assert all(len(part) <= max(limit, longest) + 2 for part in parts)
