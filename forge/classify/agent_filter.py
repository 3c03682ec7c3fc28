"""The fastText filter that tells agent data (API documentation, trajectories) from other text.

The paper trains it on its seed data against general text and keeps the web pages that it likes. Seeds and prose differ
in trivial ways (Markdown marks, JSON braces), which a page of extracted web text does not share. So the classifier sees
words only, in passages of equal length, and is judged on documents that it was not trained on.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forge.config import ClassifierSettings
from forge.schema import content_hash

AGENT, OTHER = "agent", "other"
PASSAGE_WORDS = 150
MAX_PASSAGES = 8
MAX_TRAINING_PASSAGES = 32
VALIDATION_SHARE = 0.1
_WORD = re.compile(r"[^\W_]+")
_CASE_CHANGE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Example:
    """One document for training or judging. ``group`` is what stays together on one side: an entity, a page.
    ``source`` is where it comes from, by which results are reported."""

    text: str
    label: str
    group: str
    source: str
    split: str


@dataclass(frozen=True, slots=True)
class Scores:
    """``agent`` is the positive class; counts are documents."""

    documents: int
    positives: int
    precision: float
    recall: float
    f1: float


def passages(text: str, limit: int = MAX_PASSAGES) -> list[str]:
    """The text as lower-case words in at most ``limit`` passages of :data:`PASSAGE_WORDS`, spread evenly over the text.
    Identifiers are split at case changes: ``CreateUser`` gives "create user"."""
    words = [word.lower() for word in _WORD.findall(_CASE_CHANGE.sub(" ", text))]
    starts = list(range(0, max(1, len(words)), PASSAGE_WORDS))
    if len(starts) > 1 and len(words) - starts[-1] < PASSAGE_WORDS // 3:
        starts.pop()  # a short tail says little
    step = max(1.0, len(starts) / limit)
    chosen = [starts[int(index * step)] for index in range(min(len(starts), limit))]
    return [" ".join(words[start : start + PASSAGE_WORDS]) for start in chosen]


def is_validation(example: Example) -> bool:
    """Whether an example is kept from training: :func:`is_kept_from_training` of its group and split."""
    return is_kept_from_training(example.group, example.split)


def is_kept_from_training(group: str, split: str) -> bool:
    """All held-out documents, and of the others a tenth by a hash of their group (entity_key, else doc_id): the
    held-out split alone holds too few prose documents to measure anything."""
    if split != "train":
        return True
    return int(content_hash("classifier", group)[:8], 16) / 2**32 < VALIDATION_SHARE


def train(examples: Sequence[Example], settings: ClassifierSettings) -> bytes:
    """The trained model's bytes. One thread, so that equal examples give an equal model. Passages of both classes are
    balanced by repetition. Raises ValueError when a class is empty."""
    import fasttext

    lines: dict[str, list[str]] = {AGENT: [], OTHER: []}
    for example in examples:
        found = passages(example.text, MAX_TRAINING_PASSAGES)
        lines[example.label] += [f"__label__{example.label} {passage}" for passage in found if passage]
    if not lines[AGENT] or not lines[OTHER]:
        raise ValueError(f"nothing to learn from: {len(lines[AGENT])} agent and {len(lines[OTHER])} other passages")
    largest = max(map(len, lines.values()))
    balanced = [line for part in lines.values() for line in (part * -(-largest // len(part)))[:largest]]
    order = sorted(range(len(balanced)), key=lambda index: content_hash("order", str(index), str(settings.seed)))
    with tempfile.TemporaryDirectory(prefix="agent-filter-") as folder:
        source = Path(folder) / "train.txt"
        source.write_text("\n".join(balanced[index] for index in order) + "\n", encoding="utf-8")
        model: Any = fasttext.train_supervised(
            input=str(source), dim=settings.dimension, epoch=settings.epochs, lr=settings.learning_rate,
            wordNgrams=settings.word_ngrams, bucket=settings.buckets, seed=settings.seed, thread=1, minCount=2,
            loss="softmax", verbose=0,
        )  # fmt: skip
        target = Path(folder) / "model.bin"
        model.save_model(str(target))
        return target.read_bytes()


class AgentFilter:
    """A trained filter. Load it once per process."""

    def __init__(self, path: Path) -> None:
        import fasttext

        fasttext.FastText.eprint = lambda *_: None
        self._model: Any = fasttext.load_model(str(path))

    def scores(self, texts: Sequence[str]) -> list[float]:
        """Probability of agent data of each text: the mean over its passages; 0.0 for a text without words."""
        lines: list[str] = []
        counts: list[int] = []
        for text in texts:
            found = [passage for passage in passages(text) if passage]
            lines += found
            counts.append(len(found))
        if not lines:
            return [0.0] * len(counts)
        labels, values = self._model.predict(lines, k=2)
        agent = [
            min(1.0, float(dict(zip(names, found, strict=True)).get(f"__label__{AGENT}", 0.0)))
            for names, found in zip(labels, values, strict=True)
        ]
        scores, start = [], 0
        for count in counts:
            scores.append(sum(agent[start : start + count]) / count if count else 0.0)
            start += count
        return scores


def judge(model: AgentFilter, examples: Sequence[Example], threshold: float) -> Scores:
    """Precision, recall and F1 of "agent" at a threshold, over documents."""
    predicted = [score >= threshold for score in model.scores([example.text for example in examples])]
    actual = [example.label == AGENT for example in examples]
    hits = sum(one and two for one, two in zip(predicted, actual, strict=True))
    precision = hits / max(1, sum(predicted))
    recall = hits / max(1, sum(actual))
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return Scores(len(examples), sum(actual), precision, recall, f1)


def distribution(values: Sequence[float]) -> dict[str, float]:
    """Count, mean, quantiles and the share at 0.5 or more, rounded to four places."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    quantiles = {f"p{point:02d}": float(np.percentile(array, point)) for point in (5, 25, 50, 75, 95)}
    found = {
        "documents": float(len(array)),
        "mean": float(array.mean()),
        **quantiles,
        "above_half": float((array >= 0.5).mean()),
    }
    return {name: round(value, 4) for name, value in found.items()}


def as_metrics(scores: Scores) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in asdict(scores).items()}


def model_hash(data: bytes) -> str:
    """SHA-256 of the model file."""
    return hashlib.sha256(data).hexdigest()


def model_path(folder: Path, name: str, hash_: str) -> Path:
    return folder / f"{name}-{hash_[:16]}.bin"


def save(data: bytes, folder: Path, name: str) -> Path:
    """Write the model under its hash, atomically; a file that is there already is left as it is."""
    path = model_path(folder, name, model_hash(data))
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=folder, prefix=f".{name}-")
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    Path(scratch).replace(path)
    return path


def newest_model(rows: Iterable[Mapping[str, Any]], name: str, pinned: str | None) -> Mapping[str, Any] | None:
    """The row of ``models`` that applies: the pinned hash, else the newest of the name; None when there is none."""
    found = [row for row in rows if row["name"] == name and (pinned is None or row["model_hash"] == pinned)]
    return max(found, key=lambda row: (row["partition_key"], row["created_at"]), default=None)
