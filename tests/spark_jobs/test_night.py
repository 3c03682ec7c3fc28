"""Whole nights on a user's own files: read, render, judge, mix, audit, publish; bad items, changes, removals."""

from __future__ import annotations

import gzip
import importlib
import random
import re
from collections import Counter
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession

from forge.config import Settings, SourceSettings
from forge.lake import Lake
from forge.release import NoRelease, release_of, releases
from forge.removals import request_removal
from forge.report import funnel_error
from spark_jobs.gates import GateFailed
from spark_jobs.job import Context, execute

pytestmark = pytest.mark.spark
FIRST, SECOND = "2026-11-20", "2026-11-21"
JOBS = (
    "parse_apis", "parse_trajectories", "read_texts", "elect_versions", "link_calls", "render", "measure",
    "deduplicate", "decontaminate", "retrieve", "mix", "audit", "publish",
)  # fmt: skip


def specification(service: str, operations: int) -> bytes:
    paths = {
        f"/{service}/things{number}/{{identifier}}": {
            "get": {
                "operationId": f"get{service.title()}Thing{number}",
                "summary": f"Returns thing number {number} of the {service} service.",
                "description": f"Looks it up in the {service} catalogue and returns its name and its state. " * 3,
                "parameters": [
                    {"name": "identifier", "in": "path", "required": True, "schema": {"type": "string"},
                     "description": "The identifier of the thing."},
                    {"name": f"option{number}", "in": "query", "schema": {"type": "integer"},
                     "description": "How many related things to return beside it."},
                ],
                "responses": {"200": {"description": "The thing that was asked for."}},
            }
        }
        for number in range(operations)
    }  # fmt: skip
    info = {"title": service, "version": "1", "license": {"name": "MIT"}}
    return orjson.dumps({"openapi": "3.0.0", "info": info, "paths": paths})


def episode(number: int) -> bytes:
    function = {"name": "find_route", "arguments": orjson.dumps({"origin": NOUNS[number % 13]}).decode()}
    call = {"id": f"c{number}", "type": "function", "function": function}
    messages = [
        {"role": "user", "content": f"Find the best route number {number} from the {NOUNS[number % 13]} to the sea."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"c{number}", "content": f"It takes {number + 7} hours by the old road."},
        {"role": "assistant", "content": f"{number + 7} hours, past the {NOUNS[(number + 3) % 13]}."},
    ]
    return orjson.dumps({"messages": messages})


NOUNS = [
    "river",
    "mountain",
    "century",
    "village",
    "market",
    "bridge",
    "harbour",
    "winter",
    "library",
    "garden",
    "letter",
    "morning",
    "journey",
    "teacher",
    "window",
    "farmer",
    "kitchen",
    "forest",
    "island",
    "church",
    "painter",
    "soldier",
    "merchant",
    "valley",
    "summer",
    "station",
    "castle",
    "doctor",
    "orchard",
    "cathedral",
]
VERBS = [
    "crossed",
    "remembered",
    "described",
    "visited",
    "painted",
    "repaired",
    "admired",
    "followed",
    "measured",
    "founded",
    "carried",
    "defended",
]
ADJECTIVES = [
    "old",
    "quiet",
    "famous",
    "narrow",
    "distant",
    "northern",
    "wooden",
    "small",
    "bright",
    "heavy",
    "ancient",
    "green",
    "lonely",
    "early",
]


def article(number: int) -> str:
    draw = random.Random(number)
    sentences = [
        f"The {draw.choice(ADJECTIVES)} {draw.choice(NOUNS)} of the {draw.choice(NOUNS)} {draw.choice(VERBS)} "
        f"a {draw.choice(ADJECTIVES)} {draw.choice(NOUNS)}, and in {draw.randrange(1500, 1950)} it was said that "
        f"the {draw.choice(NOUNS)} had {draw.choice(VERBS)} every {draw.choice(NOUNS)} on the way to the "
        f"{draw.choice(NOUNS)}."
        for _ in range(9)
    ]
    return f"A history of the {NOUNS[number]}\n\n" + " ".join(sentences)


def module(number: int) -> str:
    return f'"""Work with {NOUNS[number % 13]} number {number}."""\n\n\n' + "\n\n\n".join(
        f"def compute_{NOUNS[(number + n) % 13]}_{number}(first: int, second: int) -> int:\n"
        f'    """Return a number that belongs to {NOUNS[n]}."""\n'
        f"    if first > second:\n        return first * {number + n + 2} - second\n    return first + second * {n + 3}"
        for n in range(5)
    )


def catalogue(version: str) -> bytes:
    """Three functions at one version."""
    return b"\n".join(
        orjson.dumps(
            {"name": f"translate_{noun}", "provider": "example.com", "service": "words", "version": version,
             "description": f"Translates the word {noun}, as it was said in version {version} of the dictionary.",
             "parameters": {"type": "object", "properties": {"language": {
                 "type": "string", "description": "The language to translate into, by its English name."}}}}
        )
        for noun in NOUNS[:3]
    )  # fmt: skip


def inputs(folder: Path) -> None:
    """A user's files, good ones and bad ones."""
    for name in ("apis", "catalogue", "episodes", "articles", "modules"):
        (folder / name).mkdir(parents=True)
    (folder / "apis/alpha.json").write_bytes(specification("alpha", 8))
    (folder / "apis/beta.json").write_bytes(specification("beta", 5))
    for version in ("1.9", "1.10"):
        (folder / f"catalogue/{version}.jsonl").write_bytes(catalogue(version))
    (folder / "apis/broken.json").write_bytes(b'{"openapi": "3.0.0", "paths": {')
    (folder / "episodes/one.jsonl").write_bytes(
        b"\n".join([*(episode(number) for number in range(12)), b'{"messages": [', b'{"messages": []}'])
    )
    (folder / "episodes/failed.jsonl").write_bytes(
        b"\n".join(orjson.dumps({**orjson.loads(episode(number)), "reward": 0}) for number in range(400, 403))
    )
    (folder / "episodes/cut.jsonl.gz").write_bytes(gzip.compress(b"\n".join(episode(n) for n in range(300)))[:-200])
    for number in range(14):
        (folder / f"articles/{number:02d}.txt").write_text(article(number))
        (folder / f"modules/m{number:02d}.py").write_text(module(number))
    (folder / "articles/empty.txt").write_text("")
    (folder / "articles/latin.txt").write_bytes("Größe".encode("utf-16-be") * 50)


def with_sources(settings: Settings, folder: Path, **gates: object) -> Settings:
    def source(kind: str, pattern: str, spdx: str | None = "MIT") -> SourceSettings:
        of_type = {"type": "files", "options": {"kind": kind, "paths": [str(folder / pattern)]}}
        if kind == "trajectory":
            of_type = {"type": "trajectory_files", "options": {"paths": [str(folder / pattern)]}}
        return SourceSettings.model_validate({**of_type, "license": spdx, "max_rejected_share": 1.0})

    sources = {
        "apis": source("api_doc", "apis/*.json"),
        "catalogue": source("api_doc", "catalogue/*.jsonl"),
        "episodes": source("trajectory", "episodes/*"),
        "articles": source("text", "articles/*.txt"),
        "modules": source("code", "modules/*.py"),
        "unlicensed": source("text", "articles/0[01].txt", None),
    }
    limits = {"min_entities": 0, "min_trajectory_sources": 0, "min_tokens": {}, **gates}
    corpus = settings.corpus.model_copy(update={"gates": settings.corpus.gates.model_copy(update=limits)})
    return settings.model_copy(update={"sources": sources, "corpus": corpus})


def run_night(settings: Settings, spark: SparkSession, night: str, run_id: str = "test") -> list[str]:
    """Run all jobs; the names of those that did something."""
    context = Context(Lake.of(settings), settings, night, run_id, lambda: spark)
    return [name for name in JOBS if execute(importlib.import_module(f"spark_jobs.{name}").JOB, context)]


def versions_said(corpus: pa.Table) -> set[str]:
    """The versions of the catalogue that the corpus' texts speak of."""
    texts = " ".join(corpus.filter(pc.equal(corpus["source"], "catalogue"))["text"].to_pylist())
    return set(re.findall(r"in version (1\.\d+) of", texts))


def test_nights(settings: Settings, spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "input"
    inputs(folder)
    settings = with_sources(settings, folder)
    lake = Lake.of(settings)

    # The first night publishes; what was bad has a reason; nothing is lost without one.
    assert run_night(settings, spark, FIRST) == list(JOBS)
    first = release_of(lake)
    decisions = [row for row in lake.read("decisions").to_pylist() if row["step"] != "mix"]
    reasons = Counter((row["source"], row["reason"]) for row in decisions)
    assert reasons["apis", "malformed_spec"] == 1
    assert reasons["episodes", "invalid_json"] == 1
    assert {reason for source, reason in reasons if source == "articles"} == {"empty_file", "unknown_encoding"}
    assert any(source == "episodes" and "truncated" in reason for source, reason in reasons)
    report = first.report
    assert report["entities"] == 16
    assert (report["versions"]["entities_with_several"], report["versions"]["superseded_rows"]) == (3, 3)
    assert all(report["tokens"][kind] > 0 for kind in ("api_doc", "trajectory", "code", "text"))
    assert [funnel_error(step) for step in report["funnel"]] == [0] * len(report["funnel"])
    assert all(gate["passed"] is not False for gate in first.gates)
    # The unlicensed copies of two articles are the same texts as licensed ones: the licence that permits wins.
    corpus = lake.read("corpus")
    assert corpus["doc_id"].to_pylist() == sorted(corpus["doc_id"].to_pylist())
    assert set(corpus["license"].to_pylist()) == {"MIT"}
    # Of two versions the newer one stands for the API; the table knows both.
    assert versions_said(corpus) == {"1.10"}
    elected = {row["entity_key"]: row for row in lake.read("entity_versions").to_pylist()}
    one = elected["example.com/words/translate_river"]
    assert (one["version"], [entry["version"] for entry in one["versions"]]) == ("1.10", ["1.10", "1.9"])
    assert sum(row["reason"] == "superseded" for row in lake.read("decisions", step="mix").to_pylist()) > 0

    # Failed episodes are read, marked and left out.
    failed = {row["doc_id"] for row in lake.read("documents").to_pylist() if row["outcome"] == "failure"}
    mixed = {row["doc_id"]: row["reason"] for row in lake.read("decisions", step="mix").to_pylist()}
    assert len(failed) == 3  # transcripts: without an offered tool there is no chat
    assert {mixed[doc_id] for doc_id in failed} == {"failed_outcome"}
    assert set(corpus["outcome"].to_pylist()) == {None, "unknown"}

    # Again: nothing to do, and nothing new to announce.
    assert run_night(settings, spark, FIRST) == []

    # The next night reads what changed, and nothing else.
    (folder / "apis/beta.json").write_bytes(specification("beta", 6))
    (folder / "articles/03.txt").unlink()
    (folder / "catalogue/1.10.jsonl").unlink()
    run_night(settings, spark, SECOND)
    second = release_of(lake)
    assert second.parent == first.release_id
    assert second.report["entities"] == 17
    assert versions_said(lake.read("corpus", partition_key=SECOND)) == {"1.9"}  # the older text is back
    assert lake.read("entity_versions", partition_key=SECOND).num_rows == 3 + 1  # what changed, and beta's new one
    fresh = lake.read("source_items", partition_key=SECOND).to_pylist()
    assert {(row["source"], row["item_id"].rsplit("/", 1)[-1], row["state"]) for row in fresh} == {
        ("apis", "beta.json", "present"),
        ("articles", "03.txt", "removed"),
        ("catalogue", "1.10.jsonl", "removed"),
    }
    texts = lake.read("corpus", ["text"], partition_key=SECOND)["text"].to_pylist()
    assert not any(article(3) in text for text in texts)

    # Two nights give what one rebuild of the same files gives, byte for byte.
    rebuilt = settings.model_copy(update={"lake": settings.lake.model_copy(update={"root": str(tmp_path / "rebuilt")})})
    run_night(rebuilt, spark, SECOND)
    rebuild = release_of(Lake.of(rebuilt))
    assert [(file.sha256, file.rows) for file in rebuild.files] == [(file.sha256, file.rows) for file in second.files]
    assert rebuild.release_id == second.release_id

    # With the first night's files back in place, the first night has nothing to do; no other night is touched.
    (folder / "apis/beta.json").write_bytes(specification("beta", 5))
    (folder / "articles/03.txt").write_text(article(3))
    (folder / "catalogue/1.10.jsonl").write_bytes(catalogue("1.10"))
    assert run_night(settings, spark, FIRST) == []
    assert lake.read("corpus", partition_key=SECOND)["text"].to_pylist() == texts
    (folder / "apis/beta.json").write_bytes(specification("beta", 6))
    (folder / "articles/03.txt").unlink()
    (folder / "catalogue/1.10.jsonl").unlink()

    # A removal is honoured by the next release, with its reason.
    victim = lake.read("corpus", ["doc_id", "kind"], partition_key=SECOND).to_pylist()[0]["doc_id"]
    request_removal(lake, "doc_id", victim, "owner asked")
    run_night(settings, spark, SECOND, "after removal")
    assert victim not in lake.read("corpus", ["doc_id"], partition_key=SECOND)["doc_id"].to_pylist()
    mixed = lake.read("decisions", step="mix", partition_key=SECOND).to_pylist()
    dropped = {row["doc_id"]: row["reason"] for row in mixed}
    assert dropped[victim] == "removed_on_request"
    assert len({release.release_id for release in releases(lake)}) == 3

    # A failed gate publishes nothing; the previous release stays current.
    strict = with_sources(settings, folder, min_entities=1000)
    current = release_of(lake).release_id
    with pytest.raises(GateFailed, match="entities is 17"):
        run_night(strict, spark, SECOND)
    assert release_of(lake).release_id == current


def test_nothing_published_is_one_clear_error(lake: Lake) -> None:
    with pytest.raises(NoRelease, match="nothing has been published yet"):
        release_of(lake)
