"""The data of one stage of one run: chosen, tokenised, packed once into ``packed-<stage>.parquet``.

Only what the stage needs is tokenised: documents are taken in the order of a permutation until the stage's sequences
are filled with a margin. The file is a pure function of (release, stage settings, seed, tokenizer); its metadata holds
the plan: which sequences belong to which stratum, how many draws each gives, what was cropped, padded and rejected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from forge.config import StageSettings, TrainingSettings
from forge.schema import TABLES, canonical_json, content_hash
from training.base_model import end_of_document, tokenizer_hash
from training.chat import NotAChat, prompt_hash, tokenise_chat
from training.corpus_input import CorpusText, OpenFile, Release, Stratum, order_of, strata_of, texts_of, verify
from training.packing import PackedSequence, TokenisedDocument, pack, whole_document
from training.schedule import quotas

PACKING_VERSION = "1"
_MARGIN = (
    1.1  # sequences beyond the need, so that the shuffle has some choice and rounding never leaves a stratum short
)
_TAKE_DOCUMENTS = 64
_METADATA_KEY = b"forge.stage"


class NoTrainingData(Exception):
    """The release has no document for this stage."""


@dataclass
class _Tally:
    documents: int = 0
    tokens: int = 0
    cropped_tokens: int = 0
    dropped_tools: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class StageData:
    """Packed sequences of a stage. ``plan["strata"][name]``: first, sequences, draws, counts of a stratum."""

    table: pa.Table
    plan: Mapping[str, Any]

    @property
    def sequence_tokens(self) -> int:
        return int(self.plan["sequence_tokens"])

    def sequence(self, sequence_id: int) -> PackedSequence:
        return PackedSequence.of_row(self.table.slice(sequence_id, 1).to_pylist()[0])

    def domain(self, sequence_id: int) -> str:
        return str(self.table["domain"][sequence_id].as_py())


def stage_data(
    release: Release, open_file: OpenFile, training: TrainingSettings, stage: str, tokenizer: Any, path: Path
) -> StageData:
    """The stage's data, packed now unless ``path`` holds it already. Raises :class:`NoTrainingData`."""
    chosen = training.stages[stage]  # type: ignore[index]
    key = content_hash(
        PACKING_VERSION,
        release.release_id,
        stage,
        canonical_json(chosen.model_dump(include={"tokens", "sequence_tokens", "batch_tokens", "kind_shares"})),
        canonical_json([training.seed, training.max_document_tokens, dict(release.recipe)]),
        tokenizer_hash(tokenizer),
        prompt_hash(tokenizer),
    )
    if path.is_file():
        found = read_stage_data(path)
        if found.plan.get("key") == key:
            return found
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.aside")
    _write(release, open_file, training, stage, chosen, tokenizer, key, aside)
    aside.replace(path)
    return read_stage_data(path)


def read_stage_data(path: Path) -> StageData:
    with pq.ParquetFile(path) as parquet:
        plan = orjson.loads((parquet.metadata.metadata or {})[_METADATA_KEY])
        return StageData(parquet.read(use_threads=False), plan)


def _write(
    release: Release,
    open_file: OpenFile,
    training: TrainingSettings,
    stage: str,
    chosen: StageSettings,
    tokenizer: Any,
    key: str,
    path: Path,
) -> None:
    length, crop = chosen.sequence_tokens, training.max_document_tokens
    verify(release, open_file)
    strata = strata_of(release, open_file, stage, by_kind=bool(chosen.kind_shares))
    shares = _shares(strata, chosen, release.recipe)
    strata = {name: strata[name] for name in shares}
    if not strata:
        raise NoTrainingData(f"release {release.release_id}: no training document for stage {stage}")
    batch_sequences = max(1, chosen.batch_tokens // length)
    draws = -(-chosen.tokens // (batch_sequences * length)) * batch_sequences
    max_epochs = float(release.recipe.get("max_epochs", 4.0))
    available = {
        name: sum(min(int(tokens), crop) if crop else int(tokens) for tokens in stratum.tokens)
        for name, stratum in strata.items()
    }
    # The release's own token counts are good enough to choose documents; the draws follow from what was packed
    wanted = quotas(
        draws, shares, {name: max(1, int(max_epochs * tokens / length)) for name, tokens in available.items()}
    )
    plan: dict[str, Any] = {"key": key, "stage": stage, "sequence_tokens": length, "strata": {}}
    first = 0
    with pq.ParquetWriter(path, TABLES["packed"], compression="zstd") as writer:
        for name, stratum in strata.items():
            tally = _Tally()
            need = int(wanted[name] * length * _MARGIN) + length
            documents = _documents(release, open_file, stratum, stage, training, tokenizer, need, tally)
            rows: list[dict[str, Any]] = []
            padding = 0
            for sequence in pack(documents, length, end_of_document(tokenizer)):
                padding += length - sequence.tokens
                rows.append(sequence.row(first + len(rows), stage, stratum.domain, release.partition_key))
            writer.write_table(pa.Table.from_pylist(rows, schema=TABLES["packed"]))
            plan["strata"][name] = {
                "first": first,
                "sequences": len(rows),
                "share_wanted": shares[name],
                "documents_available": len(stratum.doc_ids),
                "documents": tally.documents,
                "tokens": tally.tokens,
                "padding_tokens": padding,
                "cropped_tokens": tally.cropped_tokens,
                "dropped_tools": tally.dropped_tools,
                "rejected": dict(sorted(tally.rejected.items())),
            }
            first += len(rows)
        given = quotas(
            draws, shares, {name: int(max_epochs * entry["sequences"]) for name, entry in plan["strata"].items()}
        )
        total = sum(given.values())
        if total < batch_sequences:
            raise NoTrainingData(
                f"release {release.release_id}: stage {stage}: {total} sequences of {length} tokens at {max_epochs:g} "
                f"epochs are fewer than one batch of {batch_sequences}: {canonical_json(plan['strata'])}"
            )
        for name, entry in plan["strata"].items():
            entry["draws"] = given[name]
            entry["share"] = given[name] / total
            entry["epochs"] = given[name] / entry["sequences"] if entry["sequences"] else 0.0
        plan["draws_wanted"], plan["draws"] = draws, total
        writer.add_key_value_metadata({_METADATA_KEY.decode(): canonical_json(plan)})


def _shares(strata: Mapping[str, Stratum], chosen: StageSettings, recipe: Mapping[str, Any]) -> dict[str, float]:
    if chosen.kind_shares:
        shares = {name: chosen.kind_shares.get(name.partition("/")[2], 0.0) for name in strata}
    else:
        recipe_shares = recipe.get("domain_shares") or {}
        shares = {name: float(recipe_shares.get(name, 0.0)) for name in strata}
        if not any(shares.values()):  # a stage of one domain that the recipe does not name
            shares = dict.fromkeys(strata, 1.0)
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items() if share > 0} if total else {}


def _documents(
    release: Release,
    open_file: OpenFile,
    stratum: Stratum,
    stage: str,
    training: TrainingSettings,
    tokenizer: Any,
    need_tokens: int,
    tally: _Tally,
) -> Iterator[TokenisedDocument]:
    """Documents in permuted order until ``need_tokens`` are reached or none is left."""
    crop = training.max_document_tokens
    order = order_of(stratum, training.seed)
    ended = False
    while tally.tokens < need_tokens and not ended:
        chosen: list[int] = []
        expected = tally.tokens
        for index in order:
            chosen.append(index)
            expected += max(1, min(int(stratum.tokens[index]), crop or need_tokens))
            if expected >= need_tokens or len(chosen) == _TAKE_DOCUMENTS:
                break
        else:
            ended = True
        for document in _tokenise(texts_of(release, open_file, stratum, chosen), stage, training, tokenizer, tally):
            tally.documents += 1
            tally.tokens += len(document.input_ids)
            yield document


def _tokenise(
    texts: Sequence[CorpusText], stage: str, training: TrainingSettings, tokenizer: Any, tally: _Tally
) -> Iterator[TokenisedDocument]:
    if not texts:
        return
    if stage == "III":
        length = training.stages["III"].sequence_tokens
        for document in texts:
            try:
                chat = tokenise_chat(tokenizer, document.text, length)
            except NotAChat as reason:
                tally.rejected[str(reason)] += 1
                continue
            tally.cropped_tokens += chat.cropped_tokens
            tally.dropped_tools += chat.dropped_tools
            yield TokenisedDocument(document.doc_id, chat.input_ids, chat.loss_spans)
        return
    end = end_of_document(tokenizer)
    all_ids = tokenizer([document.text for document in texts], add_special_tokens=False)["input_ids"]
    for document, ids in zip(texts, all_ids, strict=True):
        crop = training.max_document_tokens
        ids = [*ids, end]
        if crop and len(ids) > crop:
            tally.cropped_tokens += len(ids) - crop
            ids = ids[:crop]
        yield whole_document(document.doc_id, ids)
