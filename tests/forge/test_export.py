"""An export is the release's own bytes, whole or absent, with a card; a diff counts what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars
import pyarrow.parquet as pq
import pytest
import yaml

from forge.export import ExportError, export_release, verify_export
from forge.release_diff import release_diff


def test_an_export_holds_the_released_rows_and_says_what_they_are(published: Any, tmp_path: Path) -> None:
    target = tmp_path / "out"
    manifest = export_release(published.lake, published.second, target)
    assert verify_export(target) == manifest
    rows = polars.read_parquet(target / "data" / "*.parquet")
    assert set(rows["doc_id"]) == {published.ids[name] for name in ("api", "code", "page", "text")}
    assert {entry["sha256"] for entry in manifest["files"]} >= {file.sha256 for file in published.second.files}
    provenance = pq.read_table(target / "provenance/document_sources.parquet")
    assert sorted(provenance["uri"].to_pylist())[0] == "https://example.org/apis/api"
    assert provenance.num_rows == 4
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_card_has_licences_sources_counts_recipe_and_gates(published: Any, tmp_path: Path) -> None:
    export_release(published.lake, published.second, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["configs"][0]["data_files"] == "data/*.parquet"
    assert published.second.release_id in card
    assert "| MIT | 4 |" in card
    assert "| articles | 1 |" in card
    assert "| api_doc | 1 |" in card
    assert "| entities | 2 | >= 1 | passed |" in card
    assert "agent 36%" in card
    assert "Scarce: " in card


def test_an_existing_folder_is_refused_and_only_an_export_is_replaced(published: Any, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export_release(published.lake, published.first, target)
    with pytest.raises(ExportError, match="--force"):
        export_release(published.lake, published.second, target)
    export_release(published.lake, published.second, target, force=True)
    assert verify_export(target)["release_id"] == published.second.release_id
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("x")
    with pytest.raises(ExportError, match="is no export"):
        export_release(published.lake, published.first, precious, force=True)
    assert (precious / "thesis.txt").exists()


def test_a_shard_with_other_bytes_than_published_is_refused(published: Any, tmp_path: Path) -> None:
    shard = Path(published.lake.table_uri("corpus")) / published.second.files[0].path
    content = bytearray(shard.read_bytes())
    content[100] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(ExportError, match="published was"):
        export_release(published.lake, published.second, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_interrupted_export_goes_on_and_distrusts_half_written_shards(published: Any, tmp_path: Path) -> None:
    release = published.second
    aside = tmp_path / f".out.partial-{release.release_id}"
    (aside / "data").mkdir(parents=True)
    half = aside / "data" / f"corpus-00000-of-{len(release.files):05d}.parquet"
    half.write_bytes(b"PAR1 half")
    export_release(published.lake, release, tmp_path / "out")
    verify_export(tmp_path / "out")
    assert not aside.exists()


def test_verification_finds_a_changed_file(published: Any, tmp_path: Path) -> None:
    export_release(published.lake, published.second, tmp_path / "out")
    (tmp_path / "out" / "README.md").write_text("changed")
    with pytest.raises(ExportError, match=r"README\.md"):
        verify_export(tmp_path / "out")
    with pytest.raises(ExportError, match="no export"):
        verify_export(tmp_path)


def test_two_exports_of_a_release_are_equal(published: Any, tmp_path: Path) -> None:
    assert export_release(published.lake, published.first, tmp_path / "a") == export_release(
        published.lake, published.first, tmp_path / "b"
    )


def test_a_diff_counts_by_kind_and_source_and_shows_the_recipe(published: Any) -> None:
    found = release_diff(published.lake, published.first, published.second)
    assert found["documents"] == {"added": 1, "removed": 1, "kept": 3}
    assert [(row["kind"], row["source"], row["added"], row["removed"]) for row in found["changes"]] == [
        ("api_doc", "apis", 0, 1),
        ("text", "articles", 1, 0),
    ]
    assert found["recipe"]["domain_tokens.text"] == [0, 7]
    assert not found["same_configuration"]
    assert found["same_code"]
    nothing = release_diff(published.lake, published.first, published.first)
    assert (nothing["changes"], nothing["recipe"]) == ([], {})
