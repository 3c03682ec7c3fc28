"""### train_classifier: the filter model

Train the fastText model that tells agent data from other text, and register it in `models` with its held-out precision,
recall and F1. Started by hand, for a night; the demo starts it once, before its first `corpus_refresh`.

A nightly run never trains a model: scores of two nights must be comparable. A new model takes effect when the
configuration pins it (`corpus.classifier.model`) or, unpinned, from the next night on.

`crawl` -> `read` -> `render` -> `train_classifier`: the documents are its input, and what is read here is not read
again by `corpus_refresh` of the same night.
"""

from __future__ import annotations

from airflow.sdk import PartitionedAtRuntime, dag

from forge.config import settings_of
from forge_airflow.steps import corpus_chain, corpus_params


@dag(
    schedule=PartitionedAtRuntime(),
    catchup=False,
    max_active_runs=1,
    params=corpus_params(settings_of()),
    tags=["corpus", "model"],
    doc_md=__doc__,
)
def train_classifier() -> None:
    corpus_chain(["crawl", "read", "render", "train_classifier"])


train_classifier()
