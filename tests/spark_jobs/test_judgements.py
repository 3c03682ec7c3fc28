"""The judgements beside documents, as jobs over a small lake of two nights."""

from __future__ import annotations

import random
from itertools import combinations

import orjson
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from forge.config import ConfigurationError, Settings
from forge.dedup.components import Candidate, Pair, members_of
from forge.dedup.identity import guard_group
from forge.dedup.minhash import MinHashSettings, jaccard, shingles
from forge.lake import Lake
from forge.retrieve.search import retrieval_margin
from forge.schema import ApiEntity, Document, Kind, table_of
from forge.text.tokens import reference_tokenizer_path
from spark_jobs import decontaminate, deduplicate, measure, retrieve, train_classifier
from spark_jobs.deduplicate import EntityLost, check_no_entity_lost, find_duplicates, guard_column
from spark_jobs.job import Context, execute

pytestmark = pytest.mark.spark
FIRST, SECOND = "2026-11-21", "2026-11-22"
AGENT = ["call", "returns", "parameter", "string", "request", "response", "method", "operation", "argument", "value"]
PROSE = ["river", "mountain", "king", "war", "century", "village", "music", "castle", "church", "season", "family"]


def sentence(draw: random.Random, words: list[str], count: int) -> str:
    return " ".join(draw.choices([*words, "the", "of", "and", "in", "a", "was"], k=count)) + "."


def documents(seed: int = 3) -> list[tuple[Document, str]]:
    """Documents with the source of each: several kinds, exact copies, near copies, and copies across entities."""
    draw = random.Random(seed)
    made: list[tuple[Document, str]] = []

    def add(kind: Kind, form: str, text: str, source: str, entity: str | None = None, split: str = "train") -> None:
        made.append((Document(kind, form, text, "held_out" if split == "held_out" else "train", entity), source))

    for number in range(60):
        body = sentence(draw, AGENT, 80)
        entity = f"provider{number % 3}/service{number % 5}/Operation{number}"
        add("api_doc", "reference", f"Operation{number}\n\n{body}", "apis", entity)
        if number % 7 == 3:
            add("api_doc", "reference", f"operation{number}\n\n{body}", "mirror", entity)
        if number % 6 == 0:  # another version of it, another entity with the same boilerplate, and the same words again
            add("api_doc", "reference", f"Operation{number}\n\n{body} Since version 2.", "apis", entity)
            add("api_doc", "reference", f"Other{number}\n\n{body}", "apis", f"{entity}Other")
            add("api_doc", "reference", f"operation{number}\n\n{body}  ", "mirror", entity)
    for number in range(40):
        body = "\n".join(sentence(draw, PROSE, 12) for _ in range(12))
        add(
            "text",
            "article",
            f"Article {number}\n\n{body}",
            "articles",
            split="held_out" if number % 8 == 0 else "train",
        )
        if number % 10 == 0:
            add("text", "article", f"Article {number}\n\n{body} edited", "articles")
    for number in range(8):
        words = AGENT if number % 2 else PROSE
        add(
            "web",
            "page",
            "\n".join(sentence(draw, words, 15) for _ in range(8)),
            "api_site" if number % 2 else "castles",
        )
    add("code", "source_file", "def f(x):\n    return x\n" * 3, "code")
    return made


def fill(lake: Lake, made: list[tuple[Document, str]], night: str = FIRST) -> None:
    unique = {document.doc_id: (document, source) for document, source in made}
    lake.write("documents", table_of("documents", (one.row(night) for one, _ in unique.values())), night, "test")
    places = [
        {"doc_id": doc_id, "source": source, "item_id": source, "uri": "", "license": "MIT", "partition_key": night}
        for doc_id, (_, source) in unique.items()
    ]
    lake.write("document_sources", table_of("document_sources", places), night, "test")
    sighted = sorted({source for _, source in unique.values()})
    rows = [
        {
            "source": source,
            "item_id": source,
            "content_hash": night,
            "state": "present",
            "step": "t",
            "partition_key": night,
        }
        for source in sighted
    ]
    lake.write("source_items", table_of("source_items", rows), night, "test", step="t")


def context(lake: Lake, settings: Settings, spark: SparkSession, night: str = FIRST) -> Context:
    return Context(lake, settings, night, "test", lambda: spark)


def brute_force(made: list[Document], min_jaccard: float) -> list[tuple[str, str, str]]:
    """Components by comparing all pairs of a group: (doc_id, survivor_id, method)."""
    unique = {document.doc_id: document for document in made}
    groups: dict[str, list[Document]] = {}
    for document in unique.values():
        groups.setdefault(guard_group(document.entity_key, document.kind, document.form), []).append(document)
    pairs = []
    for group in groups.values():
        for left, right in combinations(sorted(group, key=lambda one: one.doc_id), 2):
            similarity = jaccard(shingles(left.text, 5), shingles(right.text, 5))
            exact = left.text_key == right.text_key
            if exact or similarity >= min_jaccard:
                pairs.append(Pair(left.doc_id, right.doc_id, similarity, exact))
    candidates = {key: Candidate(key, one.text_key, one.split, len(one.text)) for key, one in unique.items()}
    return [(member.doc_id, member.survivor_id, member.method) for member in members_of(pairs, candidates)]


def test_deduplicate_equals_brute_force(lake: Lake, settings: Settings, spark: SparkSession) -> None:
    made = documents()
    fill(lake, made)
    assert execute(deduplicate.JOB, context(lake, settings, spark))
    rows = lake.read("duplicates").to_pylist()
    expected = brute_force([document for document, _ in made], settings.corpus.deduplicate.min_jaccard)
    assert sorted((row["doc_id"], row["survivor_id"], row["method"]) for row in rows) == sorted(expected)
    assert {method for _, _, method in expected} == {"survivor", "exact", "near"}
    entity_of = {document.doc_id: document.entity_key for document, _ in made}
    assert all(entity_of[row["doc_id"]] == entity_of[row["survivor_id"]] for row in rows)
    assert not execute(deduplicate.JOB, context(lake, settings, spark))


def test_a_removed_source_frees_its_copies(lake: Lake, settings: Settings, spark: SparkSession) -> None:
    """D7: what is gone suppresses nothing."""
    text = "A page about a castle and its family and the war of that century in the village by the river. " * 3
    first = (Document("text", "article", text + "It is the longer one.", "train"), "gone")
    fill(lake, [first, (Document("text", "article", text, "train"), "stays")])
    assert execute(deduplicate.JOB, context(lake, settings, spark))
    assert lake.read("duplicates").num_rows == 2
    removed = {"source": "gone", "item_id": "gone", "content_hash": "", "state": "removed", "step": "t"}
    rows = table_of("source_items", [{**removed, "partition_key": SECOND}])
    lake.write("source_items", rows, SECOND, "test", step="t")
    assert execute(deduplicate.JOB, context(lake, settings, spark, SECOND))
    assert lake.read("duplicates", partition_key=SECOND).num_rows == 0


def test_duplicates_do_not_depend_on_partitions(spark: SparkSession) -> None:
    made = {document.doc_id: document for document, _ in documents()}
    rows = table_of("documents", (document.row(FIRST) for document in made.values())).to_pandas()
    answers = []
    for partitions in (1, 5):
        frame = spark.createDataFrame(rows).repartition(partitions)
        narrow = frame.select("doc_id", "text_key", "entity_key", "split", "characters", guard_column().alias("guard"))
        answers.append(find_duplicates(frame.select("doc_id", "text"), narrow, MinHashSettings(), 0.75))
        guards = {row[0]: row[1] for row in narrow.select("doc_id", "guard").collect()}
        assert guards == {key: guard_group(one.entity_key, one.kind, one.form) for key, one in made.items()}
    assert answers[0] == answers[1]
    check_no_entity_lost(narrow, answers[0])
    from dataclasses import replace

    broken = [replace(member, method="near") for member in answers[0]]
    with pytest.raises(EntityLost, match="entities would have no document"):
        check_no_entity_lost(narrow, broken)


def test_filter_then_signals(lake: Lake, settings: Settings, spark: SparkSession) -> None:
    try:
        reference_tokenizer_path(settings)
    except ConfigurationError as error:
        pytest.skip(str(error))
    fill(lake, documents())
    quick = settings.corpus.classifier.model_copy(update={"epochs": 100, "learning_rate": 0.5, "threshold": 0.5})
    settings = settings.model_copy(update={"corpus": settings.corpus.model_copy(update={"classifier": quick})})
    assert execute(train_classifier.JOB, context(lake, settings, spark))
    (model,) = lake.read("models").to_pylist()
    metrics = orjson.loads(model["metrics"])
    assert metrics["held_out"]["f1"] > 0.9
    by_source = {source: found["mean"] for source, found in metrics["web_pages_by_source"].items()}
    assert by_source["api_site"] > by_source["castles"] + 0.3
    assert (settings.home_path / model["uri"]).stat().st_size == model["size_bytes"]

    assert execute(measure.JOB, context(lake, settings, spark))
    signals = {row["doc_id"]: row for row in lake.read("signals").to_pylist()}
    made = {document.doc_id: document for document, _ in documents()}
    assert set(signals) == set(made)
    for doc_id, row in signals.items():
        assert row["tokens"] > 0
        scored = made[doc_id].kind in measure.SCORED_KINDS
        assert (row["agent_score"] is not None) == scored
        assert row["model_hash"] == (model["model_hash"] if scored else None)
        assert [one["name"] for one in row["quality"]][:2] == ["characters", "words"]
        assert row["quality"][0]["value"] == len(made[doc_id].text)

    secret = "Mail jane.miller@physics-lab.org. AKIA" + "QWERTYUIOPASDFGH"
    fill(lake, [(Document("text", "article", secret, "train"), "articles")], SECOND)
    assert execute(measure.JOB, context(lake, settings, spark, SECOND))
    (row,) = lake.read("signals", partition_key=SECOND).to_pylist()
    assert row["secrets"] == 1
    assert [span["kind"] for span in row["pii_spans"]] == ["email"]
    assert "too_few_words" in row["quality_failures"]


def test_contamination_by_text_signature_and_source(lake: Lake, settings: Settings, spark: SparkSession) -> None:
    try:
        decontaminate.benchmark_index(settings)
    except ConfigurationError as error:
        pytest.skip(str(error))
    question = "Find the area of a triangle with a base of 10 units and height of 5 units."
    entity = ApiEntity(
        "p", "s", "calculateTriangleArea", "1", "function", "", "",
        {"properties": {"base": {}, "height": {}, "unit": {}}}, {}, "MIT", "apis", "apis", "",
    )  # fmt: skip
    text = Document("text", "article", f"Somebody asked: {question} And so on.", "train")
    shell = Document("api_doc", "cli", "geometry area --base B --height H --unit U", "train", entity.entity_key)
    denied = Document("code", "file", "print('harmless')", "train")
    clean = Document("text", "article", "Nothing to see here at all, only a few words.", "train")
    fill(lake, [(text, "articles"), (shell, "apis"), (denied, "bfcl-eval"), (clean, "articles")])
    lake.write("api_entities", table_of("api_entities", [entity.row(FIRST)]), FIRST, "test")
    assert execute(decontaminate.JOB, context(lake, settings, spark))
    rows = lake.read("contamination").to_pylist()
    found = {(row["doc_id"], row["method"]) for row in rows}
    assert found == {(text.doc_id, "ngram"), (shell.doc_id, "signature"), (denied.doc_id, "denied_source")}
    assert "simple_python_0" in {row["item"] for row in rows}


@pytest.mark.model
def test_neighbours_and_their_margin(lake: Lake, settings: Settings, spark: SparkSession) -> None:
    small = settings.corpus.retrieve.model_copy(update={"max_seed_documents": 12, "neighbours_per_seed": 3})
    own = settings.model_copy(update={"corpus": settings.corpus.model_copy(update={"retrieve": small})})
    fill(lake, documents())
    assert execute(retrieve.JOB, context(lake, own, spark))
    rows: pa.Table = lake.read("neighbours")
    found = rows.to_pylist()
    assert len({row["seed_id"] for row in found}) == 12
    assert sorted({row["rank"] for row in found}) == [0, 1, 2, 3]
    assert rows.num_rows == 12 * 4
    margin = retrieval_margin(found)
    assert margin is not None
    assert margin > 0.1
    kinds = {document.doc_id: document.kind for document, _ in documents()}
    assert {kinds[row["doc_id"]] for row in found} == {"web"}
    assert {kinds[row["seed_id"]] for row in found} == {"api_doc"}
