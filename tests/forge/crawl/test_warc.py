"""What was written is what is read; broken archives are errors, not other pages."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forge.crawl.warc import WarcError, WarcFile, read_response, scan_responses

NOW = "2026-11-21T02:00:00Z"


def write(path: Path, bodies: list[bytes]) -> list[int]:
    headers = [("Content-Type", "text/html; charset=latin-1"), ("Content-Encoding", "gzip"), ("Content-Length", "3")]
    with WarcFile(path, "test") as warc:
        return [
            warc.write_response(f"https://a.example/{number}", 200, headers, body, NOW)
            for number, body in enumerate(bodies)
        ]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(bodies=st.lists(st.binary(max_size=3000), min_size=1, max_size=5))
def test_round_trip(tmp_path: Path, bodies: list[bytes]) -> None:
    path = tmp_path / "a.warc.gz"
    offsets = write(path, bodies)
    scanned = list(scan_responses(path, 10_000))
    assert [response.body for response in scanned] == bodies
    assert [response.offset for response in scanned] == offsets
    for number, offset in enumerate(offsets):
        response = read_response(path, offset, 10_000)
        assert (response.url, response.status, response.body) == (f"https://a.example/{number}", 200, bodies[number])
        assert (response.media_type, response.charset) == ("text/html", "latin-1")


def test_a_body_over_the_cap_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    offsets = write(path, [b"x" * 5000, b"small"])
    assert read_response(path, offsets[0], 4999).body is None
    assert [response.body for response in scan_responses(path, 4999)] == [None, b"small"]


def test_an_offset_that_is_no_record_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    offsets = write(path, [b"one", b"two"])
    for wrong in (offsets[0] + 1, offsets[1] - 1, path.stat().st_size, 10**9):
        with pytest.raises(WarcError):
            read_response(path, wrong, 1000)


def test_a_file_that_breaks_off_gives_what_is_whole_and_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    offsets = write(path, [b"one", b"two", b"three"])
    broken = tmp_path / "broken.warc.gz"
    broken.write_bytes(path.read_bytes()[: offsets[2] + 40])
    seen = []
    with pytest.raises(WarcError):
        seen.extend(response.body for response in scan_responses(broken, 1000))
    records = scan_responses(broken, 1000)
    assert [next(records).body, next(records).body] == [b"one", b"two"]


def test_what_is_no_archive_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    for content in (b"hello", b"\x1f\x8b" + b"x" * 50, gzip.compress(b"hello")):
        path.write_bytes(content)
        with pytest.raises(WarcError):
            list(scan_responses(path, 1000))


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def killed() -> None:
        with WarcFile(tmp_path / "a.warc.gz", "test") as warc:
            warc.write_response("https://a.example/", 200, [], b"x", NOW)
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        killed()
    with WarcFile(tmp_path / "b.warc.gz", "test"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_real_common_crawl_archive() -> None:
    folder = Path(__file__).parents[4] / "shared" / "samples" / "npm-warc-1.0.1"
    if not folder.is_dir():
        pytest.skip("no samples beside this checkout")
    (path,) = folder.glob("*.warc")
    responses = list(scan_responses(path, 5 << 20))
    assert len(responses) == 4
    assert [read_response(path, response.offset, 5 << 20) for response in responses] == responses
