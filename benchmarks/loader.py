"""How many tokens a second one core packs, and how many the loader gives from local shards.

Made-up documents of a release (log-normal lengths, as in real corpora) are packed into shards. Then the same batches
are read from them three ways, each in a fresh process that is bound to one core:

- ours: ``StageLoader.batch``;
- torch's ``DataLoader`` over the token ids in one memory-mapped array, a sequence at a time, positions and labels made
  for each sequence and collated: how a map-style dataset of packed sequences is usually read;
- rows of the same shards by pyarrow's ``to_pylist``: how ``datasets`` and our earlier loader gave them.

All three must give the same token ids, positions and labels. The first pass warms the page cache; passes of the three
are not interleaved. CPU seconds are counted, not wall time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.bars import Bar, bar_lines
from benchmarks.child import measured_in_a_child
from benchmarks.machine import machine, versions

if TYPE_CHECKING:
    from training.loader import StageLoader

SEQUENCE_TOKENS = 2048
BATCH_SEQUENCES = 128
STAGE_TOKENS = 64 * 1024 * 1024  # two shards a kind
KINDS = ("code", "text")
PEER_STEPS = 32
MIN_TOKENS_PER_SECOND = 5_000_000
MIN_PACKED_PER_SECOND = 5_000_000
_SEED = 5
_VOCABULARY = 49_152
_MEAN_DOCUMENT_TOKENS = 600
_PACKAGES = ("numpy", "pyarrow", "torch", "tokenizers", "transformers")
_WARM_PASSES, _PASSES = 1, 5


# --- in a process of its own --------------------------------------------------------------------------------------


def _one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _rates(tokens: int, work: Callable[[], object], passes: int = _PASSES) -> dict[str, Any]:
    """Tokens per CPU second over some passes: the median, the least, the most."""
    rates = []
    for number in range(_WARM_PASSES + passes):
        started = time.process_time()
        work()
        if number >= _WARM_PASSES:
            rates.append(tokens / (time.process_time() - started))
    return {"tokens_per_second": round(median(rates)), "least": round(min(rates)), "most": round(max(rates))}


def _documents(tokens: int) -> Iterator[Any]:
    import numpy as np

    from training.packing import whole_document

    rng = np.random.default_rng(_SEED)
    given = 0
    while given < tokens:
        length = int(np.clip(rng.lognormal(np.log(_MEAN_DOCUMENT_TOKENS) - 0.5, 1.0), 16, 8 * SEQUENCE_TOKENS))
        yield whole_document(f"{given:032x}", rng.integers(0, _VOCABULARY, length, dtype=np.int32))
        given += length


def _pack(folder: Path) -> dict[str, Any]:
    """Pack into ``folder`` as a stage would, its plan included; measured without making the documents."""
    import orjson

    from training.packed_shards import SHARD_BYTES, PackedShardWriter
    from training.packing import pack

    _one_core()
    strata: dict[str, Any] = {}
    max_pieces = 1
    seconds = tokens = sequences = pieces = 0.0
    per_shard = SHARD_BYTES // (4 * SEQUENCE_TOKENS)
    for number, kind in enumerate(KINDS):
        documents = list(_documents(STAGE_TOKENS // len(KINDS)))
        constants = {"stage": "I", "domain": "text", "partition_key": "benchmark"}
        writer = PackedShardWriter(folder, kind, per_shard, number << 32, constants)
        started = time.process_time()
        for batch in pack(documents, SEQUENCE_TOKENS, 0):
            writer.add([batch])
            # A sequence's offsets are one more than its pieces: as many as its pieces with its padding
            max_pieces = max(max_pieces, int(batch.column("document_offsets").value_lengths().to_numpy().max()))
        writer.close()
        seconds += time.process_time() - started
        tokens += sum(len(document.input_ids) for document in documents)
        sequences += writer.sequences
        pieces += sum(-(-len(document.input_ids) // SEQUENCE_TOKENS) for document in documents)
        strata[kind] = {
            "kind": kind,
            "first": number << 32,
            "sequences": writer.sequences,
            "shards": writer.shards,
            "draws": writer.sequences,
        }
    plan = {
        "stage": "I",
        "sequence_tokens": SEQUENCE_TOKENS,
        "sequences_per_shard": per_shard,
        "max_pieces": max_pieces,
        "strata": strata,
    }
    (folder / "plan.json").write_bytes(orjson.dumps(plan))
    return {
        "tokens": int(tokens),
        "pieces_mean_tokens": round(tokens / max(pieces, 1)),
        "tokens_per_second": round(tokens / seconds),
        "padding_share": round(1.0 - tokens / (sequences * SEQUENCE_TOKENS), 4),
    }


def _loader(folder: Path) -> StageLoader:
    from training.loader import StageLoader
    from training.stage_data import read_stage_data

    return StageLoader(read_stage_data(folder), batch_tokens=BATCH_SEQUENCES * SEQUENCE_TOKENS, seed=_SEED)


def _digest(arrays: Iterable[Sequence[Any]]) -> str:
    """Of token ids, position ids and labels of some batches."""
    import numpy as np

    digest = hashlib.sha256()
    for batch in arrays:
        for array in batch:
            digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
    return digest.hexdigest()


def _ours(folder: Path) -> dict[str, Any]:
    _one_core()
    loader = _loader(folder)
    steps = range(1, loader.steps + 1)

    def read() -> None:
        for step in steps:
            loader.batch(step)

    started = time.process_time()
    loader.seen(loader.steps)
    seen_seconds = time.process_time() - started
    found = (loader.batch(step) for step in range(1, PEER_STEPS + 1))
    return _rates(loader.steps * BATCH_SEQUENCES * SEQUENCE_TOKENS, read) | {
        "steps": loader.steps,
        "seen_cpu_seconds": round(seen_seconds, 3),
        "sha256": _digest((batch.input_ids, batch.position_ids, batch.labels) for batch in found),
    }


def _row_arrays(input_ids: Any, offsets: Sequence[int], spans: Sequence[tuple[int, int]]) -> tuple[Any, Any, Any]:
    """Token ids, position ids and labels of one sequence, made for it alone."""
    import numpy as np

    ids = np.asarray(input_ids, dtype=np.int64)
    positions = np.empty(len(ids), dtype=np.int64)
    for start, end in zip(offsets, [*offsets[1:], len(ids)], strict=True):
        positions[start:end] = np.arange(end - start)
    labels = np.full(len(ids), -100, dtype=np.int64)
    for start, end in spans:
        labels[start - 1 : end - 1] = ids[start:end]
    return ids, positions, labels


def _order(loader: StageLoader) -> list[tuple[str, int]]:
    """Shard file and row of every sequence of the compared steps, so that all arms read the same."""
    entries = loader.data.plan["strata"].values()
    places = []
    for step in range(1, PEER_STEPS + 1):
        for sequence_id in loader.sequence_ids(step).tolist():
            entry = next(
                entry for entry in entries if entry["first"] <= sequence_id < entry["first"] + entry["sequences"]
            )
            shard, row = divmod(sequence_id - entry["first"], loader.data.sequences_per_shard)
            places.append((entry["shards"][shard]["path"], row))
    return places


def _to_pylist(folder: Path) -> dict[str, Any]:
    import numpy as np
    import pyarrow as pa

    _one_core()
    places = _order(_loader(folder))
    tables = {path: pa.ipc.open_file(pa.memory_map(str(folder / path))).read_all() for path, _ in places}

    def read() -> Iterator[list[Any]]:
        for first in range(0, len(places), BATCH_SEQUENCES):
            rows = []
            for path, number in places[first : first + BATCH_SEQUENCES]:
                row = tables[path].slice(number, 1).to_pylist()[0]
                spans = [(span["start"], span["end"]) for span in row["loss_spans"]]
                rows.append(_row_arrays(row["input_ids"], row["document_offsets"], spans))
            yield [np.stack(arrays) for arrays in zip(*rows, strict=True)]

    return _rates(len(places) * SEQUENCE_TOKENS, lambda: deque(read(), maxlen=0), passes=2) | {
        "sha256": _digest(read())
    }


def _torch(folder: Path) -> dict[str, Any]:
    import numpy as np
    import pyarrow as pa
    import torch
    from torch.utils.data import DataLoader, Dataset

    _one_core()
    torch.set_num_threads(1)
    places = _order(_loader(folder))
    tables = {path: pa.ipc.open_file(pa.memory_map(str(folder / path))).read_all() for path, _ in places}
    rows = [tables[path].slice(number, 1).to_pylist()[0] for path, number in places]
    array = np.memmap(folder / "tokens.bin", dtype=np.int32, mode="w+", shape=(len(rows), SEQUENCE_TOKENS))
    for number, row in enumerate(rows):
        array[number] = row["input_ids"]
    offsets = [row["document_offsets"] for row in rows]
    spans = [[(span["start"], span["end"]) for span in row["loss_spans"]] for row in rows]

    class Packed(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(offsets)

        def __getitem__(self, number: int) -> dict[str, Any]:
            names = ("input_ids", "position_ids", "labels")
            arrays = _row_arrays(array[number], offsets[number], spans[number])
            return {name: torch.from_numpy(found) for name, found in zip(names, arrays, strict=True)}

    def read() -> Iterator[list[Any]]:
        for batch in DataLoader(Packed(), batch_size=BATCH_SEQUENCES):
            yield [batch[name].numpy() for name in ("input_ids", "position_ids", "labels")]

    return _rates(len(places) * SEQUENCE_TOKENS, lambda: deque(read(), maxlen=0)) | {"sha256": _digest(read())}


_MEASURED: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "packing": _pack,
    "loader": _ours,
    "torch_dataloader": _torch,
    "pyarrow_to_pylist": _to_pylist,
}
_PEERS = ("torch_dataloader", "pyarrow_to_pylist")


# --- the whole run ------------------------------------------------------------------------------------------------


def report(measured: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What the sections measured, beside their peers, as DESIGN section 7 wants it."""
    ours = {name: measured[name] for name in ("packing", "loader")}
    peers = {name: measured[name] for name in _PEERS}
    rate = ours["loader"]["tokens_per_second"]
    hashes = {measured[name]["sha256"] for name in ("loader", *_PEERS)}
    bars = [
        Bar("loader tokens per second on one core", rate, MIN_TOKENS_PER_SECOND, True),
        Bar("packing tokens per second on one core", ours["packing"]["tokens_per_second"], MIN_PACKED_PER_SECOND, True),
        Bar("readings of the same batches that differ", len(hashes) - 1, 0),
    ]
    return {
        "name": "loader",
        "machine": machine(),
        "versions": versions(_PACKAGES),
        "ours": ours,
        "peers": peers,
        "ratios": {
            f"loader / {name}, tokens per second": round(rate / found["tokens_per_second"], 1)
            for name, found in peers.items()
        },
        "agreements": {"batches_compared": PEER_STEPS, "tokens_positions_labels_equal": len(hashes) == 1},
        "bars": [bar.row() for bar in bars],
    }


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    for name, found in (*result["ours"].items(), *result["peers"].items()):
        others = ", ".join(f"{key} {value:,}" for key, value in found.items() if isinstance(value, int | float))
        yield f"{name:<20}{others}"
    for name, value in (*result["ratios"].items(), *result["agreements"].items()):
        yield f"{name}: {value}"
    yield from bar_lines(result["bars"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loader", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--measure", choices=_MEASURED, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.measure:
        json.dump(_MEASURED[chosen.measure](chosen.folder), sys.stdout)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        result = report(
            {name: measured_in_a_child("benchmarks.loader", name, "--folder", folder) for name in _MEASURED}
        )
    print(json.dumps(result, indent=2) if chosen.json else "\n".join(_table(result)))
    return 0 if all(bar["passed"] for bar in result["bars"]) else 1


if __name__ == "__main__":
    sys.exit(main())
