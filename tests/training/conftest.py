"""A tiny random Llama, a word tokenizer, and a small release in plain Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from forge.config import StageSettings, TrainingSettings
from forge.lake import Lake
from forge.release import Release, corpus_files, release_id_of
from forge.schema import CHAT_FORM, DOMAIN_OF_KIND, canonical_json, content_hash, table_of
from training.base_model import base_model_of
from training.files import file_sha256
from training.shard_cache import ShardCache

WORDS = ("create", "delete", "list", "get", "put", "user", "group", "bucket", "key", "value", "name", "region", "size")


@dataclass(frozen=True)
class File:
    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class SmallRelease:
    files: tuple[File, ...]
    release_id: str = "r-small"
    partition_key: str = "2026-11-21"
    recipe: dict[str, Any] = field(
        default_factory=lambda: {"domain_shares": {"agent": 0.36, "code": 0.32, "text": 0.32}, "max_epochs": 4.0}
    )


def words(seed: int, count: int) -> str:
    return " ".join(WORDS[int(content_hash(str(seed), str(number))[:8], 16) % len(WORDS)] for number in range(count))


def chat(seed: int) -> str:
    tools = [{"name": "get_user", "description": "Get a user", "parameters": {"type": "object", "properties": {}}}]
    messages = [
        {"role": "user", "content": words(seed, 5)},
        {"role": "assistant", "content": None, "calls": [{"name": "get_user", "arguments": {"name": words(seed, 1)}}]},
        {"role": "tool", "content": words(seed, 3)},
        {"role": "assistant", "content": words(seed + 1, 4)},
    ]
    return canonical_json({"tools": tools, "messages": messages})


def corpus_row(kind: str, text: str, *, form: str = "plain", split: str = "train", stages: list[str]) -> dict[str, Any]:
    return {
        "doc_id": content_hash(text), "kind": kind, "form": form, "domain": DOMAIN_OF_KIND[kind], "stages": stages,
        "split": split, "entity_key": None, "source": "test", "license": "MIT", "text": text,
        "tokens": len(text) // 3, "weight": 1.0, "partition_key": "2026-11-21",
    }  # fmt: skip


def open_file(path: str) -> Any:
    return Path(path).open("rb")


@dataclass(frozen=True)
class ReleaseMaker:
    """Writes rows of table ``corpus`` as a release of Parquet files below ``folder``."""

    folder: Path

    def __call__(self, rows: list[dict[str, Any]], files: int = 2, **facts: Any) -> SmallRelease:
        rows = sorted(rows, key=lambda row: row["doc_id"])
        found = []
        for number in range(files):
            path = self.folder / f"part-{number}.parquet"
            pq.write_table(table_of("corpus", rows[number::files]), path, row_group_size=25)
            found.append(File(str(path), file_sha256(path), path.stat().st_size))
        return SmallRelease(tuple(found), **facts)


@pytest.fixture
def shard_cache(tmp_path: Path) -> Iterator[ShardCache]:
    cache = ShardCache(tmp_path / "shard_cache", open_file, max_bytes=1 << 30)
    yield cache
    cache.close()


@pytest.fixture(scope="session")
def small_release(tmp_path_factory: pytest.TempPathFactory) -> SmallRelease:
    rows = []
    for number in range(120):
        kind = ("api_doc", "trajectory", "web", "code", "text")[number % 5]
        stages = ["I", "II"] if kind in ("api_doc", "trajectory") else ["I"]
        split = "held_out" if number % 20 < 5 else "train"
        text = words(number, 5 + number % 37) + f" {kind}{number}"
        rows.append(corpus_row(kind, text, split=split, stages=stages))
    rows += [corpus_row("trajectory", chat(1000 + number), form=CHAT_FORM, stages=["III"]) for number in range(12)]
    return ReleaseMaker(tmp_path_factory.mktemp("release"))(rows)


def save_tiny_model(folder: Path, texts: Iterable[str], vocabulary: int = 400, width: int = 32) -> None:
    """A Hugging Face folder: two layers, a byte-level tokenizer learned from ``texts``, without a template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="<|endoftext|>",
        pad_token="<|im_end|>",
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    configuration = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(configuration).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of width 32, some 400 tokens."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_model(folder, [words(number, 50) for number in range(20)])
    return folder


@pytest.fixture(scope="session")
def training_settings(tiny_model: Path) -> TrainingSettings:
    stage = StageSettings(tokens=6 * 256, learning_rate=1e-3, sequence_tokens=64, batch_tokens=256)
    return TrainingSettings(
        base_model=str(tiny_model),
        precision="fp32",
        checkpoint_every_steps=100,
        stages={
            "I": stage,
            "II": stage.model_copy(update={"kind_shares": {"api_doc": 0.5, "trajectory": 0.5}}),
            "III": stage.model_copy(update={"sequence_tokens": 384, "batch_tokens": 768}),
        },
    )


@pytest.fixture(scope="session")
def run_maker(small_release: SmallRelease, training_settings: TrainingSettings):
    """A function of a folder: what it returns opens runs of the small release, each below a folder of its own."""
    from forge.config import load_settings
    from training.run import open_run

    def make(folder: Path, name: str = "home", **changes: Any):
        settings = load_settings("demo").model_copy(
            update={"home": str(folder / name), "training": training_settings.model_copy(update=changes)}
        )
        assert base_model_of(settings).origin == "folder"
        return open_run(settings, small_release, open_file)

    return lambda folder: partial(make, folder)


@pytest.fixture
def make_run(tmp_path: Path, run_maker):
    return run_maker(tmp_path)


@pytest.fixture
def published_release(tmp_path: Path, small_release: SmallRelease) -> Release:
    """The small release in a lake of its own below ``tmp_path``."""
    lake = Lake(str(tmp_path / "lake"))
    rows = pa.concat_tables([pq.read_table(file.path) for file in small_release.files]).sort_by("doc_id")
    night = small_release.partition_key
    commit = lake.write("corpus", rows, night, "test")
    files = corpus_files(lake, commit.version, night)
    recipe = dict(small_release.recipe)
    release = Release(
        release_id_of(files, recipe), None, f"{night}T00:00:00Z", night, "test", {"corpus": commit.version}, files,
        recipe, "", "", (), {},
    )  # fmt: skip
    lake.write("releases", table_of("releases", [release.row()]), night, "test")
    return release


@pytest.fixture
def command_variables(tmp_path: Path, tiny_model: Path):
    """A function of a stage's steps: the environment in which commands train a tiny model on the lake's release."""

    def variables(steps: int) -> dict[str, str]:
        stage = {"tokens": steps * 128, "learning_rate": 1e-3, "sequence_tokens": 64, "batch_tokens": 128}
        return {
            "FORGE__HOME": str(tmp_path / "home"),
            "FORGE__LAKE__ROOT": str(tmp_path / "lake"),
            "FORGE__TRAINING__BASE_MODEL": str(tiny_model),
            "FORGE__TRAINING__PRECISION": "fp32",
            "FORGE__TRAINING__CHECKPOINT_EVERY_STEPS": "1000",
            "FORGE__TRAINING__STAGES": canonical_json({"I": stage, "II": stage, "III": stage}),
        }

    return variables
