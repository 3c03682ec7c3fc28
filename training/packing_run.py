"""Packing at work: release files in an order chosen by the seed, of each the documents that a stratum still needs.

Memory is bounded by a row group, a window and a shard for each stratum, whatever the size of the release.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forge.schema import DOMAIN_OF_KIND
from training.chat import NotAChat, tokenise_chat
from training.control_tokens import encode_texts
from training.corpus_input import (
    CorpusText,
    Documents,
    Release,
    Selection,
    Stratum,
    Survey,
    documents_in,
    shard_of,
    texts_at,
)
from training.packed_shards import PackedShardWriter
from training.packing import Packer, TokenisedDocument, whole_document
from training.permutation import permutation, permutation_key
from training.shard_cache import Shard, ShardCache
from training.waiting import awaited

_BATCH_CHARACTERS = 2_000_000
"""Text that is tokenised at once: enough for all threads of the tokenizer."""
_PROGRESS_SECONDS = 10.0
_BEAT_SECONDS = 1.0


@dataclass
class Tally:
    """What became of the documents of one stratum that were read. ``tokens`` are the packed ones."""

    documents: int = 0
    tokens: int = 0
    target_tokens: int = 0
    padding_tokens: int = 0
    cropped_tokens: int = 0
    dropped_tools: int = 0
    max_pieces: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    shards: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class _Packing:
    """One stratum while it is packed; ``expected`` sums the reference counts of the documents read."""

    stratum: Stratum
    need_tokens: int
    packer: Packer
    writer: PackedShardWriter
    tally: Tally = field(default_factory=Tally)
    expected_tokens: int = 0

    @property
    def lacks_tokens(self) -> int:
        return max(0, self.need_tokens - self.tally.tokens)

    def add(self, document: TokenisedDocument) -> None:
        self.tally.documents += 1
        self.tally.tokens += len(document.input_ids)
        self._keep(self.packer.add(document))

    def rows_to_read(self, tokens: NDArray[np.int64]) -> int:
        """How many of the next documents give what is lacking, going by what the ones before gave. ``tokens``: their
        reference counts, of which one at least is given."""
        gave = self.tally.tokens / self.expected_tokens if self.expected_tokens and self.tally.tokens else 1.0
        given = np.cumsum(np.maximum(tokens, 1) * gave)
        return min(len(tokens), int(np.searchsorted(given, self.lacks_tokens)) + 1)

    def close(self) -> Tally:
        self._keep(self.packer.rest())
        self.writer.close()
        self.tally.shards = self.writer.shards
        return self.tally

    def _keep(self, batches: Iterator[Any]) -> None:
        length = self.packer.sequence_tokens
        for batch in batches:
            offsets, spans = batch.column("document_offsets"), batch.column("loss_spans").flatten()
            pieces = pc.list_value_length(offsets).to_numpy() - 1
            tokens = offsets.values.to_numpy()[offsets.offsets.to_numpy()[1:] - 1]
            self.tally.max_pieces = max(self.tally.max_pieces, int((pieces + (tokens < length)).max()))
            self.tally.padding_tokens += batch.num_rows * length - int(tokens.sum())
            self.tally.target_tokens += int((spans.field(1).to_numpy() - spans.field(0).to_numpy()).sum())
            self.writer.add([batch])


@dataclass
class _Waiting:
    """Documents of one file that a stratum may take: their rows and reference counts in the order of taking.
    ``count``: how many were read in the last round, before which the stratum had ``tokens_before``."""

    packing: _Packing
    rows: NDArray[np.int64]
    tokens: NDArray[np.int64]
    count: int = 0
    tokens_before: int = 0

    @property
    def is_over(self) -> bool:
        return not (len(self.rows) and self.packing.lacks_tokens)

    def next_rows(self) -> NDArray[np.int64]:
        """What to read now. Twice as many when the last round gave no token, so that a file of refused chats is read
        a few times and not once for every other one of its documents."""
        found, least = self.packing.tally.tokens, 1
        if found == self.tokens_before:
            least = 2 * self.count
        self.count = min(len(self.rows), max(least, self.packing.rows_to_read(self.tokens)))
        self.tokens_before = found
        chosen, self.rows = self.rows[: self.count], self.rows[self.count :]
        self.packing.expected_tokens += int(self.tokens[: self.count].sum())
        self.tokens = self.tokens[self.count :]
        return chosen


@dataclass
class PackingRun:
    """One packing of one stage; ``open_stratum`` for each stratum, then ``pack``.

    ``beat`` is called at least every few seconds, and may raise to end the packing.
    """

    release: Release
    stage: str
    seed: int
    selection: Selection
    survey: Survey
    tokenizer: Any
    sequence_tokens: int
    padding_id: int
    prefetch_files: int
    say: Callable[[str], None]
    beat: Callable[[], None]
    _packings: dict[Stratum, _Packing] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)
    _beaten: float = 0.0

    def open_stratum(
        self, stratum: Stratum, need_tokens: int, folder: Path, sequences_per_shard: int, first_id: int
    ) -> None:
        constants = {
            "stage": self.stage,
            "domain": DOMAIN_OF_KIND[stratum.kind],
            "partition_key": self.release.partition_key,
        }
        writer = PackedShardWriter(folder, stratum.name.replace(":", "-"), sequences_per_shard, first_id, constants)
        self._packings[stratum] = _Packing(stratum, need_tokens, Packer(self.sequence_tokens, self.padding_id), writer)

    def pack(self, cache: ShardCache) -> Mapping[Stratum, Tally]:
        """Read files until every stratum has the tokens that it needs or none is left."""
        holds = {stratum: self.survey.documents(stratum) > 0 for stratum in self._packings}
        order = permutation(
            len(self.release.files), permutation_key("files", self.seed, self.stage, self.release.release_id)
        ).tolist()
        for place, number in enumerate(order):
            wanting = [packing for packing in self._packings.values() if packing.lacks_tokens]
            if not wanting:
                break
            here = [packing for packing in wanting if holds[packing.stratum][number]]
            if not here:
                continue
            later = (
                shard_of(self.release.files[other])
                for other in islice(order, place + 1, None)
                if any(holds[packing.stratum][other] for packing in wanting)
            )
            cache.prefetch(list(islice(later, self.prefetch_files)))
            shard = shard_of(self.release.files[number])
            path = self._fetched(cache, shard)
            try:
                with pq.ParquetFile(path, memory_map=True) as parquet:
                    documents = documents_in(parquet, shard.path, self.selection)
                    self.survey.check(number, shard.path, documents)
                    self._pack_file(parquet, number, documents, here)
            finally:
                cache.done(shard)
        self.beat()
        tallies = {stratum: packing.close() for stratum, packing in self._packings.items()}
        self._tell("packed")
        return tallies

    def _fetched(self, cache: ShardCache, shard: Shard) -> Path:
        """``cache.get``; when the beat raises meanwhile, the cache is closed, which ends the copying."""
        with ThreadPoolExecutor(1, thread_name_prefix="shard fetch") as thread:
            future = thread.submit(cache.get, shard)
            try:
                return awaited(future, self.beat)
            except BaseException:
                if not future.done():
                    cache.close()
                raise

    def _pack_file(self, parquet: pq.ParquetFile, number: int, documents: Documents, packings: list[_Packing]) -> None:
        """Take of one file what the strata lack: usually all; of the last file, the first ones of a permutation."""
        waiting = []
        for packing in packings:
            rows, tokens = documents.rows_of(packing.stratum)
            key = permutation_key("documents", self.seed, self.stage, packing.stratum.name, number)
            order = permutation(len(rows), key)
            waiting.append(_Waiting(packing, rows[order], tokens[order]))
        while waiting:
            chosen: dict[int, _Packing] = {}
            for entry in waiting:
                chosen.update(dict.fromkeys(entry.next_rows().tolist(), entry.packing))
            for texts in self._texts(parquet, chosen):
                self.beat()
                self._tokenise(texts)
            waiting = [entry for entry in waiting if not entry.is_over]

    def _texts(
        self, parquet: pq.ParquetFile, chosen: Mapping[int, _Packing]
    ) -> Iterator[list[tuple[_Packing, CorpusText]]]:
        """The chosen rows' texts in file order, as many at once as :data:`_BATCH_CHARACTERS` allow."""
        batch: list[tuple[_Packing, CorpusText]] = []
        characters = 0
        for rows, table in texts_at(parquet, np.array(sorted(chosen), dtype=np.int64)):
            doc_ids: Any = table["doc_id"].to_pylist()
            found: Any = table["text"].to_pylist()
            for row, doc_id, text in zip(rows.tolist(), doc_ids, found, strict=True):
                if text is None:
                    chosen[row].tally.rejected["null_text"] += 1
                    continue
                batch.append((chosen[row], CorpusText(doc_id, chosen[row].stratum.kind, text)))
                characters += len(text)
                if characters >= _BATCH_CHARACTERS:
                    yield batch
                    batch, characters = [], 0
        if batch:
            yield batch

    def _tokenise(self, texts: list[tuple[_Packing, CorpusText]]) -> None:
        plain = [(packing, text) for packing, text in texts if not packing.stratum.is_chat]
        if plain:
            crop = self.selection.max_document_tokens
            all_ids = encode_texts(self.tokenizer, [text.text for _, text in plain])
            for (packing, text), ids in zip(plain, all_ids, strict=True):
                ids.append(self.padding_id)  # the end of the document
                if crop and len(ids) > crop:
                    packing.tally.cropped_tokens += len(ids) - crop
                    del ids[crop:]
                packing.add(whole_document(text.doc_id, ids))
        for packing, text in texts:
            if packing.stratum.is_chat:
                self._beat_when_due()
                try:
                    chat = tokenise_chat(self.tokenizer, text.text, self.sequence_tokens)
                except NotAChat as reason:
                    packing.tally.rejected[str(reason)] += 1
                    continue
                packing.tally.cropped_tokens += chat.cropped_tokens
                packing.tally.dropped_tools += chat.dropped_tools
                chat_ids = np.array(chat.input_ids, dtype=np.int32)
                packing.add(TokenisedDocument(text.doc_id, chat_ids, chat.loss_spans))
        if time.monotonic() - self._told >= _PROGRESS_SECONDS:
            self._tell("packing")

    def _beat_when_due(self) -> None:
        if time.monotonic() - self._beaten >= _BEAT_SECONDS:
            self.beat()
            self._beaten = time.monotonic()

    def _tell(self, what: str) -> None:
        self._told = time.monotonic()
        done = sum(packing.tally.tokens for packing in self._packings.values())
        need = sum(packing.need_tokens for packing in self._packings.values())
        rate = done / max(self._told - self._started, 1e-3)
        self.say(f"stage {self.stage}: {what}: {done:,} tokens of at most {need:,}, {rate:,.0f} tokens/s")
