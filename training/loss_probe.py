"""Benchmark loss and held-out loss while a stage trains: a few fixed items, so that a stability gap is seen.

Guo et al., "Efficient Continual Pre-training by Mitigating the Stability Gap" (2024): what a model could do falls first
and recovers later. The items are those of the evaluation's settings; the figures of the report are made by
:mod:`training.evaluate` on the finished models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.distributed.fsdp import FSDPModule

from forge.artifacts import artifact_path
from training.corpus_input import CorpusText
from training.evaluation.benchmark_loss import gold_loss
from training.evaluation.bfcl.data import BfclItem, sample
from training.evaluation.bfcl.loss import loss_items
from training.evaluation.held_out import score_document
from training.evaluation.scoring import ScoredText
from training.evaluation.subject import Conversation
from training.model_loss import PackedLoss
from training.run import Run


@dataclass(frozen=True)
class LossProbe:
    """``benchmark``: gold calls; ``held_out``: documents by kind, of which the first ``max_tokens`` are scored."""

    tokenizer: Any
    benchmark: Sequence[BfclItem]
    held_out: Mapping[str, Sequence[CorpusText]]
    max_tokens: int

    @classmethod
    def of(cls, run: Run, tokenizer: Any) -> LossProbe:
        settings, chosen = run.settings, run.settings.evaluation
        folder = artifact_path(settings, "bfcl") if "bfcl" in settings.artifacts else None
        items = loss_items(folder) if folder else []
        benchmark = sample(items, chosen.probe_items, chosen.seed, "benchmark_loss") if items else []
        return cls(tokenizer, benchmark, run.held_out_documents(), chosen.held_out_max_tokens)

    def measure(self, packed_loss: PackedLoss) -> dict[str, float]:
        """Nats per token of the gold calls (``bfcl``) and of each kind's held-out documents (``held_out:<kind>``).

        Every rank calls this: sharded parameters are gathered layer by layer.
        """
        found: dict[str, float] = packed_loss.apply_to_model(self._measure)
        if isinstance(packed_loss, FSDPModule):
            packed_loss.reshard()  # without a backward pass FSDP leaves the root's parameters gathered
        return found

    def _measure(self, model: Any) -> dict[str, float]:
        was_training, attention = model.training, model.config._attn_implementation
        model.eval()
        model.set_attn_implementation("sdpa")
        try:
            gold = [
                gold_loss(model, self.tokenizer, Conversation(item.tools, item.messages), item.gold_call).scored
                for item in self.benchmark
            ]
            by_kind = {
                f"held_out:{kind}": [
                    score_document(model, self.tokenizer, document.text, self.max_tokens) for document in documents
                ]
                for kind, documents in self.held_out.items()
            }
        finally:
            model.set_attn_implementation(attention)
            model.train(was_training)
        groups: dict[str, list[ScoredText]] = {"bfcl": gold} if gold else {}
        groups |= {name: [text for text in texts if text is not None] for name, texts in by_kind.items()}
        return {name: _nats_per_token(texts) for name, texts in groups.items() if any(text.nats for text in texts)}

    def line(self, measured: Mapping[str, float]) -> str:
        return "held-out and benchmark loss " + " ".join(f"{name} {value:.3f}" for name, value in measured.items())


def _nats_per_token(texts: Sequence[ScoredText]) -> float:
    return sum(text.total_nats for text in texts) / sum(len(text.nats) for text in texts)
