"""Batch k as a pure function of (release, recipe, seed, k): resuming at k needs no state and skips nothing.

The stratum of each draw follows the stage's shares exactly (:func:`training.schedule.interleave`); the j-th draw of a
stratum is a Feistel permutation of its sequences, another one for each epoch. Ranks take every world_size-th sequence
of the batch, so the global order is the same for any number of ranks. The loader is not given to
``Accelerator.prepare``: rank 0 would read for all, and resuming would not be exact.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.packing import position_ids, targets
from training.permutation import permutation_key, permuted
from training.schedule import interleave
from training.stage_data import StageData


@dataclass(frozen=True)
class Batch:
    """One rank's part of a step, shapes (sequences, sequence_tokens). ``target`` marks predicted tokens."""

    input_ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    target: NDArray[np.bool_]
    domains: tuple[str, ...]

    def micro_batches(self, sequences: int) -> Iterator[Batch]:
        for start in range(0, len(self.domains), sequences):
            part = slice(start, start + sequences)
            yield Batch(self.input_ids[part], self.position_ids[part], self.target[part], self.domains[part])


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run up to some step saw of one document: trained tokens (repeats counted), and when first."""

    tokens: int
    first_step: int


class StageLoader:
    """Batches 1 to :attr:`steps` of a stage, for one rank.

    Raises ValueError when a batch cannot be split evenly over the ranks: each must do the same number of sequences.
    """

    def __init__(self, data: StageData, *, batch_tokens: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.data = data
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self.batch_sequences = max(1, batch_tokens // data.sequence_tokens)
        if self.batch_sequences % world_size:
            raise ValueError(f"a batch of {self.batch_sequences} sequences cannot be split over {world_size} ranks")
        self._order = interleave({name: stratum["draws"] for name, stratum in data.plan["strata"].items()})
        counts: Counter[str] = Counter()
        self._ordinals: list[int] = []
        for name in self._order:
            self._ordinals.append(counts[name])
            counts[name] += 1
        self.steps = len(self._order) // self.batch_sequences

    def sequence_ids(self, step: int) -> list[int]:
        """The sequences of the whole batch of a step (from 1), in global order."""
        if not 1 <= step <= self.steps:
            raise ValueError(f"step {step} is outside 1..{self.steps}")
        first = (step - 1) * self.batch_sequences
        return [self._sequence_of(draw) for draw in range(first, first + self.batch_sequences)]

    def _sequence_of(self, draw: int) -> int:
        name = self._order[draw]
        stratum = self.data.plan["strata"][name]
        epoch, index = divmod(self._ordinals[draw], stratum["sequences"])
        key = permutation_key("sequences", self.seed, self.data.plan["stage"], name, epoch)
        return int(stratum["first"]) + permuted(index, stratum["sequences"], key)

    def batch(self, step: int) -> Batch:
        """This rank's part of a step."""
        mine = self.sequence_ids(step)[self.rank :: self.world_size]
        sequences = [self.data.sequence(sequence_id) for sequence_id in mine]
        return Batch(
            np.array([sequence.input_ids for sequence in sequences], dtype=np.int64),
            np.stack([position_ids(sequence) for sequence in sequences]),
            np.stack([targets(sequence) for sequence in sequences]),
            tuple(self.data.domain(sequence_id) for sequence_id in mine),
        )

    def counts(self, step: int) -> tuple[int, int]:
        """(tokens without padding, target tokens) of the whole batch of a step, over all ranks."""
        sequences = [self.data.sequence(sequence_id) for sequence_id in self.sequence_ids(step)]
        return sum(sequence.tokens for sequence in sequences), sum(sequence.target_tokens for sequence in sequences)

    def seen(self, up_to_step: int) -> Mapping[str, Seen]:
        """Documents in the steps up to and including ``up_to_step``, by doc_id."""
        found: dict[str, Seen] = {}
        for step in range(1, up_to_step + 1):
            for sequence_id in self.sequence_ids(step):
                sequence = self.data.sequence(sequence_id)
                for number, doc_id in enumerate(sequence.doc_ids):
                    tokens = sequence.document_offsets[number + 1] - sequence.document_offsets[number]
                    before = found.get(doc_id)
                    found[doc_id] = Seen(
                        tokens + (before.tokens if before else 0), before.first_step if before else step
                    )
        return found

    def order_hash(self) -> str:
        """Hash of the ordered data list: what every step of the stage trains on."""
        digest = hashlib.blake2b(digest_size=16)
        for step in range(1, self.steps + 1):
            for sequence_id in self.sequence_ids(step):
                sequence = self.data.sequence(sequence_id)
                digest.update(np.array(sequence.input_ids, dtype="<i4").tobytes())
                digest.update(repr((sequence.document_offsets, sequence.loss_spans, sequence.doc_ids)).encode())
        return digest.hexdigest()
