"""The forge command: what it prints for people and for programs, and how it fails."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from forge.cli import app
from forge.config import checkout
from forge.crawl.mirror import serve
from forge.removals import removals
from forge.schema import table_of


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """conf/ of the checkout, with its lake and home in a temporary folder."""
    folder = tmp_path / "conf"
    shutil.copytree(checkout() / "conf", folder)
    monkeypatch.setenv("FORGE_CONF", str(folder))
    monkeypatch.setenv("FORGE__LAKE__ROOT", str(tmp_path / "lake"))
    monkeypatch.setenv("FORGE__HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FORGE_PROFILE", raising=False)
    return folder


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def output(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def sources(conf: Path, **entries: dict[str, Any]) -> None:
    (conf / "sources.yaml").write_text(yaml.safe_dump(entries))


# --- start and errors ----------------------------------------------------------------------------------------------


def test_help_is_fast_and_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'pyspark', 'pyarrow', 'deltalake', 'airflow', 'faiss', 'boto3', 'transformers'}"
    code = f"import sys, forge.cli; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "forge.cli", "--help"], capture_output=True, check=True)
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1.5, f"{min(seconds):.2f} s (0.4 s on an idle machine)"


def test_an_empty_lake_is_one_line_and_exit_1(conf: Path) -> None:
    result = run("report")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("forge: nothing has been published yet")
    assert len(result.stderr.splitlines()) == 1
    assert output("release", "list").strip() == "Nothing has been published yet."
    assert output("remove", "--list").strip() == "No removal has been requested."


def test_a_bad_configuration_is_exit_2_and_no_traceback(conf: Path) -> None:
    (conf / "profiles" / "demo.yaml").write_text("lake: {rooot: x}\n")
    result = run("report")
    assert result.exit_code == 2
    assert "lake.rooot: unknown key" in result.stderr
    assert "Traceback" not in result.output
    result = run("--profile", "production", "report")
    assert result.exit_code == 2
    assert "known profiles: cluster, demo, full, local" in result.stderr


def test_bad_usage_is_exit_2(conf: Path) -> None:
    assert run("trace").exit_code == 2
    assert run("remove", "--source", "x").exit_code == 2
    assert run("remove", "--source", "x", "--doc-id", "y", "--reason", "z").exit_code == 2
    assert run("release", "export", "--to", "s3://bucket/x").exit_code in (1, 2)


# --- report, trace, release ----------------------------------------------------------------------------------------


def test_report_for_people(conf: Path, published: Any) -> None:
    text = output("report", "--release", published.first.release_id[:10])
    assert f"Release {published.first.release_id}" in text
    for words in (
        "APIs: 0 distinct, 2 of them in the corpus", "Funnel", "near_duplicate", "Gates", "entities", "passed",
        "Scarce: text", "Training run run1", "before (base)", "3.25", "1: 3.000",
    ):  # fmt: skip
        assert words in text, words


def test_report_for_programs_has_the_keys_of_the_design(conf: Path, published: Any) -> None:
    found = json.loads(output("report", "--json", "--release", published.first.release_id))
    assert found["release"] == published.first.release_id
    assert {
        "release", "created_at", "entities", "entities_in_corpus", "documents", "tokens", "trajectory_sources",
        "sources", "funnel", "gates", "tables",
    } <= found.keys()  # fmt: skip
    assert found["gates"][0].keys() >= {"name", "value", "limit", "passed"}
    assert found["funnel"][0].keys() >= {"step", "input", "kept", "dropped"}
    assert found["tables"]["corpus"] == published.first.versions["corpus"]
    assert found["documents"]["api_doc"] == 2
    assert [point["loss"] for point in found["training"][0]["stages"]["I"]["curve"]] == [3.0, 2.0, 1.0]
    assert {(row["checkpoint"], row["value"]) for row in found["evaluations"]} == {("base", 3.5), ("I", 3.25)}
    stage = found["training"][0]["stages"]["I"]
    assert (stage["first_loss_by_kind"], stage["last_loss_by_kind"]) == ({"api_doc": 3.5}, {"api_doc": 1.5})
    assert stage["benchmark"] == [{"step": 2, "tokens": 200, "metrics": {"bfcl": 1.75}}]
    current = json.loads(output("report", "--json"))
    assert current["release"] == published.second.release_id
    assert current["training"] == []


def test_an_unknown_release_lists_the_known_ones(conf: Path, published: Any) -> None:
    result = run("report", "--release", "ffff0000")
    assert result.exit_code == 1
    assert published.first.release_id in result.stderr


def test_trace_for_people_and_programs(conf: Path, published: Any) -> None:
    text = output("trace", published.ids["duplicate"][:8])
    for words in ("near_duplicate", "component c1", "the survivor is", "MIT", "none contains it", "none saw it"):
        assert words in text, words
    found = json.loads(output("trace", published.ids["api"], "--json"))
    assert len(found["releases"]) == 2
    assert found["checkpoints"][0]["run_id"] == "run1"
    assert "first step" in output("trace", published.ids["api"])
    for name in ("page", "code", "text"):
        assert published.ids[name] in output("trace", published.ids[name])


def test_control_characters_of_a_document_never_reach_the_terminal(conf: Path, published: Any) -> None:
    text = output("trace", published.ids["hostile"])
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]a title[/bold]" in text, "markup of a document is shown, not obeyed"


def test_trace_of_a_checkpoint(conf: Path, published: Any) -> None:
    folder = published.settings.home_path / "runs" / "run1" / "models" / "stage-I"
    assert published.first.release_id in output("trace", "--checkpoint", str(folder))
    assert json.loads(output("trace", "--checkpoint", str(folder), "--json"))["order_hash"] == "oh"
    assert run("trace", "--checkpoint", str(folder.parent)).exit_code == 1


def test_trace_writes_every_document_of_a_checkpoint(conf: Path, published: Any, tmp_path: Path) -> None:
    folder = str(published.settings.home_path / "runs" / "run1" / "models" / "stage-I")
    lines = [json.loads(line) for line in output("trace", "--checkpoint", folder, "--documents", "-").splitlines()]
    assert {row["doc_id"] for row in lines} == {published.ids["api"], published.ids["code"]}
    assert {row["license"] for row in lines if row["kind"] == "api_doc"} == {"MIT"}
    path = tmp_path / "new" / "seen.parquet"
    assert "By kind" in output("trace", "--checkpoint", folder, "--documents", str(path))
    assert pq.read_table(path).to_pylist() == lines
    assert [entry.name for entry in path.parent.iterdir()] == ["seen.parquet"]
    assert run("trace", published.ids["api"], "--documents", str(path)).exit_code == 2
    assert run("trace", "--checkpoint", folder, "--documents", "seen.csv").exit_code == 2
    assert run("trace", "--checkpoint", folder, "--documents", "-", "--json").exit_code == 2


def test_release_list_show_diff_export(conf: Path, published: Any, tmp_path: Path) -> None:
    listed = json.loads(output("release", "list", "--json"))["releases"]
    assert [row["release"] for row in listed] == [published.first.release_id, published.second.release_id]
    assert published.first.release_id in output("release", "list")
    assert "Pinned table versions" in output("release", "show")
    assert json.loads(output("release", "show", "--json"))["parent"] == published.first.release_id
    text = output("release", "diff", published.first.release_id)
    assert "documents: 1 added, 1 removed, 3 kept" in text
    assert "articles" in text
    text = output("release", "export", "current", "--to", str(tmp_path / "out"))
    assert "every sha256 verified" in text
    again = run("release", "export", "--to", str(tmp_path / "out"))
    assert again.exit_code == 1
    assert "--force" in again.stderr
    output("release", "export", "--to", str(tmp_path / "out"), "--force")


# --- remove --------------------------------------------------------------------------------------------------------


def test_remove_records_the_request_and_says_what_it_does(conf: Path, published: Any) -> None:
    text = output("remove", "--source", "apis", "--reason", "licence withdrawn")
    assert "3 documents match" in text
    assert "next release honours it" in text
    assert "was requested before" in output("remove", "--source", "apis", "--reason", "again")
    output("remove", "--doc-id", published.ids["code"][:8], "--reason", "asked")
    listed = output("remove", "--list")
    assert "licence withdrawn" in listed
    assert published.ids["code"] in listed
    assert len(removals(published.lake)) == 2


def test_remove_refuses_what_matches_nothing_unless_told(conf: Path, published: Any) -> None:
    result = run("remove", "--uri-prefix", "https://nowhere.example/", "--reason", "x")
    assert result.exit_code == 1
    assert "--unseen" in result.stderr
    output("remove", "--uri-prefix", "https://nowhere.example/", "--reason", "x", "--unseen")
    assert [found.value for found in removals(published.lake)] == ["https://nowhere.example/"]


# --- sources -------------------------------------------------------------------------------------------------------


def test_sources_list_check_and_preview_of_a_users_own_files(conf: Path, tmp_path: Path) -> None:
    rows = [f'{{"text": "Text number {number} about something."}}' for number in range(12)] + ["{broken"]
    (tmp_path / "mine.jsonl").write_text("\n".join(rows))
    options = {"paths": [str(tmp_path / "*.jsonl")], "kind": "text"}
    sources(conf, mine={"type": "files", "license": "MIT", "options": options})
    assert "mine" in output("sources", "list")
    [checked] = json.loads(output("sources", "check", "--json"))["sources"]
    assert (checked["state"], checked["items"]) == ("ready", 1)
    text = output("sources", "preview", "mine")
    assert "--- 10. text, article" in text
    assert "--- 11." not in text
    assert "invalid_json" in text
    assert "line 13" in text
    assert "12 rows, 12 documents, 1 rejects (7.7%)" in text
    found = json.loads(output("sources", "preview", "mine", "--json", "--documents", "3"))
    assert len(found["documents"]) == 3
    assert [reject["reason"] for reject in found["rejects"]] == ["invalid_json"]
    assert not (tmp_path / "lake").exists(), "a preview writes nothing"


def test_sources_check_fails_for_a_required_source_only(conf: Path, tmp_path: Path) -> None:
    options = {"paths": [str(tmp_path / "nothing*.txt")], "kind": "text"}
    sources(conf, mine={"type": "files", "options": options}, bad={"type": "files", "options": {"kind": "text"}})
    result = run("sources", "check")
    assert result.exit_code == 1
    assert "no file matches" in result.stdout
    assert "this key is required" in " ".join(result.stdout.split())
    assert "2 required sources cannot be used: bad, mine" in result.stderr
    sources(conf, mine={"type": "files", "required": False, "options": options})
    assert "not available" in output("sources", "check")
    assert run("sources", "check", "nobody").exit_code == 2


def test_previews_that_cannot_be_had_say_why(conf: Path) -> None:
    result = run("sources", "preview", "nobody")
    assert result.exit_code == 2
    assert "no source 'nobody'; sources: " in result.stderr
    result = run("sources", "preview", "sqlalchemy_docs")  # its artifact is not in this test's home
    assert result.exit_code == 2
    assert "python -m forge.artifacts" in result.stderr


def test_a_web_site_is_previewed_by_a_short_crawl(conf: Path, tmp_path: Path) -> None:
    words = "This page explains how the functions of this library are called, with their parameters. " * 5
    (tmp_path / "site").mkdir()
    for name in ("index", "one", "two"):
        links = '<a href="one.html">one</a> <a href="two.html">two</a> <a href="gone.html">gone</a>'
        page = f"<html><head><title>{name}</title></head><body><p>{words}{name}</p>{links}</body></html>"
        (tmp_path / "site" / f"{name}.html").write_text(page)
    with serve(tmp_path / "site") as address:
        sources(conf, site={"type": "website", "license": "MIT", "options": {"url": f"{address}index.html"}})
        assert f"a crawl begins at {address}index.html" in output("sources", "check")
        found = json.loads(output("sources", "preview", "site", "--json"))
    assert sorted(one["uri"].rpartition("/")[2] for one in found["documents"]) == ["index.html", "one.html", "two.html"]
    assert found["licenses"] == {"MIT": 3}
    assert [reject["reason"] for reject in found["rejects"]] == ["http_error"]
    assert not (tmp_path / "home").exists(), "a preview leaves nothing behind"


def test_a_preview_takes_documents_of_every_item(conf: Path, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(f"Some text, number {number}.")
    sources(conf, mine={"type": "files", "options": {"paths": [str(tmp_path / "?.txt")], "kind": "text"}})
    found = json.loads(output("sources", "preview", "mine", "--json"))
    assert (found["items"], found["items_read"], len(found["documents"])) == (5, 5, 5)


def test_evaluations_of_an_unfinished_run_do_not_break_the_report(conf: Path, published: Any) -> None:
    folder = published.settings.home_path / "runs" / "run2"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"release_id": published.first.release_id, "stages": {}}))
    (folder / "metrics.jsonl").write_text('{"stage": "I", "step": 1, "loss": 3.25}\n{"stage": "I"')
    (published.settings.home_path / "runs" / "run3").mkdir()
    (published.settings.home_path / "runs" / "run3" / "run.json").write_text("{broken")
    row = dict.fromkeys(table_of("evaluations", []).schema.names)
    night = "run2-III"
    row |= {"run_id": "run2", "release_id": published.first.release_id, "checkpoint": "III", "partition_key": night}
    row |= {"benchmark": "bfcl", "category": "all", "metric": "accuracy", "value": 0.25, "low": 0.125, "high": 0.5}
    score = row | {"category": "v4", "value": 0.75, "leaves_out": "agentic"}
    row |= {"items": 8, "prompt_hash": "p", "detail": '{"task_key": "k"}'}
    published.lake.write("evaluations", table_of("evaluations", [row, score]), night, "x")
    text = output("report", "--release", published.first.release_id)
    assert "Training run run2" in text
    assert "after III" in text
    assert "0.25 [0.125, 0.5]" in text
    assert "1 further figures" in text
    assert "0.75" not in text, "an overall score is not shown without its categories"


def test_leaderboard_for_people_pages_and_programs(conf: Path, published: Any) -> None:
    rows = [
        {"run_id": "run1", "release_id": published.first.release_id, "checkpoint": checkpoint, "benchmark": "mmlu",
         "category": "all", "metric": "accuracy", "value": value, "low": value - 0.05, "high": value + 0.05,
         "items": 500, "prompt_hash": "p", "detail": '{"task_key": "k"}', "partition_key": "x"}
        for checkpoint, value in (("base", 0.3), ("III", 0.5))
    ]  # fmt: skip
    published.lake.write("evaluations", table_of("evaluations", rows), "x", "x")
    text = output("leaderboard", "--metric", "mmlu/accuracy")
    assert text.index("III") < text.index("base")
    assert "higher is better" in text
    assert "[0.4500, 0.5500]" in text
    assert "| 1 |" in output("leaderboard", "--metric", "mmlu/accuracy", "--markdown")
    [board] = json.loads(output("leaderboard", "--metric", "mmlu/accuracy", "--json"))["boards"]
    assert [(place["rank"], place["checkpoint"]) for place in board["places"]] == [(1, "III"), (2, "base")]
    result = run("leaderboard", "--metric", "mmlu/losss")
    assert result.exit_code == 1
    assert "mmlu/accuracy" in result.stderr
    assert len(result.stderr.splitlines()) == 1
