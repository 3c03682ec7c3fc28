"""Decide which documents enter the corpus, under one reason each, and write them with their weights (D1, D4).

Each current document gets the first reason of ``mix.drop_precedence`` that holds. Duplicates come last: among the
members of a component that no other reason drops, one survivor is elected (a held-out copy, so that no near-copy of it
is trained on; then the longest text, then the smallest doc_id), so a removal or a licence never takes an API away that
another copy could still stand for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from forge.config import MixSettings, Settings
from forge.mixture.eligibility import LICENSE_RANK, license_reason
from forge.mixture.recipe import STAGES_OF_KIND, domain_weights
from forge.schema import CHAT_FORM, DOMAIN_OF_KIND
from forge.text.language import JUDGED_KINDS
from forge.usages.render import USAGE_FORMS
from spark_jobs.elect_versions import elections
from spark_jobs.job import Context, Data, Job, Sharded

_READS = (
    "documents",
    "document_sources",
    "source_items",
    "entity_versions",
    "signals",
    "duplicates",
    "neighbours",
    "contamination",
    "removals",
)


def _provenance(context: Context) -> DataFrame:
    """One row a document: its best-licensed current source, and whether any of its places was asked to be removed."""
    sources = context.current("document_sources", ["doc_id", "source", "item_id", "uri", "license"])
    licenses = [row.license for row in sources.select("license").distinct().collect()]
    mix = context.settings.corpus.mix
    verdicts = [
        (name or "", LICENSE_RANK[reason], reason) for name in licenses for reason in [license_reason(name, mix)]
    ]
    ranks = context.spark.createDataFrame(
        verdicts or [("", 2, "license_not_stated")], "license string, rank int, license_reason string"
    )
    sources = sources.withColumn("license", F.coalesce("license", F.lit("")))
    removals = context.arrow("removals").to_pylist()
    removed: Column = F.lit(False)
    for removal in removals:
        if removal["selector"] == "uri_prefix":
            removed = removed | F.col("uri").startswith(removal["value"])
        else:
            removed = removed | (F.col(removal["selector"]) == removal["value"])
    best = F.struct("rank", "source", "item_id", "uri", "license", "license_reason")
    elected = elections(context).select(
        "source", "item_id", F.col("source_uri").alias("uri"), F.lit(True).alias("elected")
    )
    return (
        sources.withColumn("removed", removed)
        .join(F.broadcast(ranks), "license")
        .join(elected.distinct(), ["source", "item_id", "uri"], "left")
        .groupBy("doc_id")
        .agg(
            F.min(best).alias("best"),
            F.max("removed").alias("removed"),
            F.max(F.coalesce("elected", F.lit(False))).alias("elected"),
        )
        .select("doc_id", "removed", "elected", "best.source", "best.item_id", "best.license", "best.license_reason")
    )


def _judged(context: Context) -> DataFrame:
    """Every current document with the first reason that drops it, duplicates not yet looked at."""
    corpus = context.settings.corpus
    documents = context.table("documents", ["doc_id", "kind", "form", "entity_key", "split", "outcome", "characters"])
    signals = context.table(
        "signals", ["doc_id", "tokens", "language", "language_score", "quality_failures", "agent_score", "secrets"]
    )
    contaminated = (
        context.night("contamination", ["doc_id", "benchmark", "item", "method"])
        .groupBy("doc_id")
        .agg(F.min(F.concat_ws(" ", "method", "benchmark", "item")).alias("contamination"))
    )
    retrieved = (
        context.night("neighbours", ["doc_id", "score", "rank"])
        .where((F.col("rank") >= 1) & (F.col("score") >= corpus.retrieve.min_score))
        .groupBy("doc_id")
        .agg(F.max("score").alias("neighbour_score"))
    )
    joined = (
        documents.join(_provenance(context), "doc_id")
        .join(signals, "doc_id", "left")
        .join(F.broadcast(contaminated), "doc_id", "left")
        .join(F.broadcast(retrieved), "doc_id", "left")
    )
    is_web = F.col("kind") == "web"
    tests: Mapping[str, tuple[Column, Column, Column]] = {
        "removed_on_request": (F.col("removed"), F.lit(None), F.lit("")),
        "license_not_stated": (F.col("license_reason") == "license_not_stated", F.lit(None), F.lit("")),
        "license_not_allowed": (F.col("license_reason") == "license_not_allowed", F.lit(None), F.col("license")),
        "not_measured": (F.col("tokens").isNull(), F.lit(None), F.lit("")),
        "secret": (F.col("secrets") > 0, F.col("secrets"), F.lit("")),
        "contaminated": (F.col("contamination").isNotNull(), F.lit(None), F.col("contamination")),
        "low_quality": (F.size("quality_failures") > 0, F.lit(None), F.concat_ws(" ", "quality_failures")),
        "wrong_language": (
            F.col("kind").isin(*JUDGED_KINDS)
            & ~F.col("language").isin(*corpus.quality.languages)
            & (F.col("language_score") >= corpus.quality.min_language_score),
            F.col("language_score"),
            F.col("language"),
        ),
        "not_agent": (
            is_web & (F.coalesce("agent_score", F.lit(0.0)) < corpus.classifier.threshold),
            F.col("agent_score"),
            F.lit(""),
        ),
        "failed_outcome": (_outcome_weight(corpus.mix) == 0.0, F.lit(None), F.col("outcome")),
        "not_retrieved": (is_web & F.col("neighbour_score").isNull(), F.lit(None), F.lit("")),
        # A newer version, or the API itself where this is a mirror's text, stands for the entity.
        "superseded": (
            (F.col("kind") == "api_doc") & ~F.col("form").isin(*USAGE_FORMS) & ~F.col("elected"),
            F.lit(None),
            F.col("entity_key"),
        ),
    }
    order = [name for name in corpus.mix.drop_precedence if name in tests]
    first = [
        F.when(
            tests[name][0],
            F.struct(
                F.lit(name).alias("reason"),
                tests[name][1].cast("double").alias("score"),
                tests[name][2].alias("detail"),
            ),
        )
        for name in ["not_measured", *order]
    ]
    return joined.withColumn("drop", F.coalesce(*first)).select(
        *("doc_id", "kind", "form", "entity_key", "split", "outcome", "characters"),
        *("source", "item_id", "license", "tokens", "drop"),
    )


def _outcome_weight(mix: MixSettings) -> Column:
    """What the recipe gives a trajectory of this outcome, relative to a success; 1 for other documents."""
    weights = F.create_map(*[F.lit(word) for pair in sorted(mix.outcome_weights.items()) for word in pair])
    return F.when(F.col("outcome").isNull(), F.lit(1.0)).otherwise(F.coalesce(weights[F.col("outcome")], F.lit(1.0)))


def run(context: Context) -> Mapping[str, Data]:
    night, mix = context.partition_key, context.settings.corpus.mix
    components = context.night("duplicates", ["doc_id", "component_id", "method", "jaccard"])
    best_first = Window.partitionBy("component_id").orderBy(
        F.col("split") != "held_out", F.col("characters").desc(), "doc_id"
    )
    judged = _judged(context).persist()
    ranked = (
        judged.where("drop IS NULL").join(components, "doc_id").withColumn("place", F.row_number().over(best_first))
    )
    losers = ranked.where("place > 1").select(
        "doc_id",
        F.struct(
            # The recorded survivor may lose here too: the longest *eligible* member wins.
            F.when(F.col("method") == "exact", "exact_duplicate").otherwise("near_duplicate").alias("reason"),
            F.col("jaccard").alias("score"),
            F.concat(F.lit("component "), F.col("component_id")).alias("detail"),
        ).alias("duplicate"),
    )
    decided = (
        judged.join(losers, "doc_id", "left")
        .withColumn("drop", F.coalesce("drop", "duplicate"))
        .drop("duplicate")
        .persist()
    )
    dropped = decided.where("drop IS NOT NULL").select(
        "source",
        "item_id",
        "doc_id",
        F.lit("mix").alias("step"),
        "drop.reason",
        "drop.score",
        "drop.detail",
        F.lit(night).alias("partition_key"),
    )
    domains = F.create_map(*[F.lit(word) for pair in DOMAIN_OF_KIND.items() for word in pair])
    stages = F.coalesce(
        *[
            F.when(F.col("kind") == kind, F.array(*[F.lit(stage) for stage in names]))
            for kind, names in STAGES_OF_KIND.items()
        ]
    )
    kept = decided.where("drop IS NULL").select(
        "doc_id",
        "kind",
        "form",
        "entity_key",
        "split",
        "outcome",
        "source",
        "license",
        "tokens",
        "characters",
        domains[F.col("kind")].alias("domain"),
        F.when(F.col("form") == CHAT_FORM, F.array(F.lit("III"))).otherwise(stages).alias("stages"),
    )
    in_mix = F.array_contains("stages", "I") & (F.col("split") == "train")
    totals = {
        row.domain: int(row.tokens or 0)
        for row in kept.where(in_mix).groupBy("domain").agg(F.sum("tokens").alias("tokens")).collect()
    }
    size = kept.agg(F.sum("characters").alias("characters")).collect()[0].characters or 0
    weights = domain_weights(totals, mix.domain_shares)
    weight_of = F.create_map(*[word for name, value in weights.items() for word in (F.lit(name), F.lit(value))])
    context.say("stage I tokens by domain: " + ", ".join(f"{name} {count:,}" for name, count in sorted(totals.items())))
    texts = context.table("documents", ["doc_id", "text"])
    rows = kept.join(texts, "doc_id").select(
        "doc_id",
        "kind",
        "form",
        "domain",
        "stages",
        "split",
        "outcome",
        "entity_key",
        "source",
        "license",
        "text",
        "tokens",
        F.when(in_mix, weight_of[F.col("domain")] * _outcome_weight(mix)).otherwise(F.lit(0.0)).alias("weight"),
        F.lit(night).alias("partition_key"),
    )
    return {"decisions": dropped, "corpus": Sharded(rows, max(1, math.ceil(size / mix.shard_bytes)))}


def settings(found: Settings) -> object:
    corpus = found.corpus
    return [corpus.mix, corpus.quality, corpus.classifier.threshold, corpus.retrieve.min_score]


JOB = Job(name="mix", writes=("decisions", "corpus"), reads=_READS, run=run, settings=settings)
