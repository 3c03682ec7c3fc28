"""How fast a stage trains, compared with a bare loop and with transformers' Trainer, on the same tokens in one process.

The model has the shape of SmolLM2-135M and random weights; the documents are functions and docstrings of Python's
standard library, packed into sequences of 2,048 tokens. The arms (benchmarks/training_arms.py) take turns in blocks, so
that a busy machine slows all of them; the figures are medians over blocks with bootstrap intervals of the ratios.
Before the clock starts, all arms that see the same batch must give the same loss.

On a GPU also: tokens per second against the goal, share of time spent waiting for data, and what the time goes to.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.bars import Bar, bar_lines
from benchmarks.child import measured_in_a_child
from benchmarks.machine import machine, versions

if TYPE_CHECKING:
    from benchmarks.training_arms import Arm, Block
    from training.run import Run

SEQUENCE_TOKENS = 2_048
PADDED_DOCUMENTS = {"cpu": 4, "cuda": 8}
"""Documents of one batch of the padded arm: a usual choice, as far as 24 GiB hold it on a CPU."""
READY_BATCHES = 24
"""Our first batches, which the arms without a loader go through again and again."""
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "packed": ("bare", "bare_transformers", "trainer_packed"),
    "padded": ("trainer_padded",),
}
"""Arms that stand beside ours in one process: all of them at once would need more memory than a small machine has."""
LIMITS: Mapping[str, float] = {
    "ours / bare": 0.97,
    "ours / bare_transformers": 0.97,
    "ours / trainer_packed": 1.0,
    "ours / trainer_padded": 1.3,
}
GPU_TOKENS_PER_SECOND = 300_000
MAX_GPU_DATA_WAIT_SHARE = 0.01
MAX_LOSS_DIFFERENCE = {"fp32": 1e-4, "bf16": 2e-2}
_PACKAGES = ("torch", "transformers", "accelerate")


@dataclass(frozen=True)
class _File:
    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class _Release:
    files: tuple[_File, ...]
    release_id: str = "benchmark"
    partition_key: str = "2026-01-01"
    recipe: Mapping[str, Any] = field(
        default_factory=lambda: {"domain_shares": {"code": 1.0}, "domain_weights": {"code": 1.0}, "max_epochs": 1e6}
    )


def documents(limit_characters: int) -> Iterator[str]:
    """Sources of the functions and classes of Python's standard library, files by name."""
    total = 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" in path.parts or "test" in path.parts or "idlelib" in path.parts:
            continue
        try:
            text = path.read_text(encoding="utf-8")
            nodes = ast.parse(text).body
        except (OSError, UnicodeDecodeError, SyntaxError, ValueError):
            continue
        for node in nodes:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                source = ast.get_source_segment(text, node) or ""
                if len(source) > 80:
                    yield source
                    total += len(source)
        if total > limit_characters:
            return


def make_run(folder: Path, batch_tokens: int, precision: str, micro: int) -> Run:
    """A run over a small release of code, and a model of SmolLM2-135M's shape with random weights."""
    import pyarrow.parquet as pq
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from forge.config import StageSettings, load_settings
    from forge.schema import content_hash, table_of
    from training.base_model import base_model_of
    from training.files import file_sha256
    from training.run import open_run

    settings = load_settings("demo")
    base = base_model_of(settings).folder
    shape = folder / "model"
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base), dtype=torch.float32).save_pretrained(shape)
    AutoTokenizer.from_pretrained(base).save_pretrained(shape)
    rows = [
        {
            "doc_id": content_hash(text), "kind": "code", "form": "plain", "domain": "code", "stages": ["I"],
            "split": "train", "entity_key": None, "source": "benchmark", "license": "PSF-2.0", "text": text,
            "tokens": len(text) // 4, "weight": 1.0, "partition_key": "2026-01-01",
        }
        for text in dict.fromkeys(documents(8_000_000))
    ]  # fmt: skip
    path = folder / "part-0.parquet"
    pq.write_table(table_of("corpus", sorted(rows, key=lambda row: row["doc_id"])), path)
    release = _Release((_File(str(path), file_sha256(path), path.stat().st_size),))
    stage = StageSettings(
        tokens=2_000 * batch_tokens, learning_rate=1e-4, sequence_tokens=SEQUENCE_TOKENS, batch_tokens=batch_tokens,
        warmup_share=0.0, decay_share=0.0,
    )  # fmt: skip
    training = settings.training.model_copy(
        update={
            "base_model": str(shape), "precision": precision, "micro_batch_sequences": micro,
            "max_document_tokens": None, "stages": {"I": stage}, "checkpoint_every_steps": 10**9,
        }
    )  # fmt: skip
    changed = settings.model_copy(update={"home": str(folder / "home"), "training": training})
    return open_run(changed, release, lambda name: Path(name).open("rb"), Path("/"))


def make_arms(run: Run, batch_sequences: int, micro: int, names: Sequence[str], folder: Path) -> dict[str, Arm]:
    import torch
    from accelerate import Accelerator
    from transformers import DataCollatorForLanguageModeling, default_data_collator

    from benchmarks import training_arms as arms
    from training.base_model import load_model
    from training.heartbeat import Heartbeat
    from training.model_loss import PackedLoss
    from training.process import StopRequest
    from training.ranks import Ranks
    from training.trainer import Trainer

    precision = run.training.precision
    accelerator = Accelerator(mixed_precision="bf16" if precision == "bf16" else "no", project_dir=str(run.folder))
    device = accelerator.device
    heartbeat = Heartbeat(run.folder / "heartbeat.json", 3_600)
    trainer = Trainer(run, "I", accelerator, Ranks(accelerator), _say, None, heartbeat, StopRequest())
    for group in trainer.optimizer.param_groups:
        group["lr"] = arms.LEARNING_RATE
    compiles = device.type == "cuda"
    ready = [trainer.loader.batch(step) for step in range(1, READY_BATCHES + 1)]
    tokens = [trainer.loader.counts(step)[0] for step in range(1, READY_BATCHES + 1)]
    found = {"ours": arms.ours(trainer)}
    if "bare" in names:
        from training.attention import use_attention

        model = load_model(run.base.folder).to(device).train()
        use_attention(model, trainer.attention)
        packed_loss = PackedLoss(model)
        if compiles:
            packed_loss.compile_decoder()
        step_loss = arms.our_parts(packed_loss, precision)
        found["bare"] = arms.bare("bare", packed_loss, step_loss, ready, tokens, micro, run)
    if "bare_transformers" in names:
        model = load_model(run.base.folder).to(device).train()
        called = torch.compile(model, dynamic=False) if compiles else model
        step_loss = arms.transformers_parts(called, precision)
        found["bare_transformers"] = arms.bare("bare_transformers", model, step_loss, ready, tokens, micro, run)
    if "trainer_packed" in names:
        steps_done = [0]

        def packed_tokens(steps: int) -> int:
            taken = range(steps_done[0] + 1, steps_done[0] + 1 + steps)
            steps_done[0] += steps
            return sum(trainer.loader.counts(step)[0] for step in taken)

        found["trainer_packed"] = arms.transformers_trainer(
            "trainer_packed", load_model(run.base.folder).train(), lambda: arms.packed_rows(trainer),
            default_data_collator, batch_sequences, micro, run, folder, packed_tokens, compile_model=compiles,
        )  # fmt: skip
    if "trainer_padded" in names:
        tokenizer = trainer.tokenizer
        ids = [
            tokenizer(text, add_special_tokens=False, truncation=True, max_length=SEQUENCE_TOKENS - 1)["input_ids"]
            + [tokenizer.eos_token_id]
            for text in dict.fromkeys(documents(1_000_000))
        ]
        ids = [ids[number * 7919 % len(ids)] for number in range(len(ids))]  # not in the order of the files
        padded = PADDED_DOCUMENTS[device.type]
        per_step = padded * max(1, batch_sequences // 2)
        given = [0]

        def padded_tokens(steps: int) -> int:
            taken = range(given[0], given[0] + steps * per_step)
            given[0] += steps * per_step
            return sum(len(ids[number % len(ids)]) for number in taken)

        def endless() -> Iterator[dict[str, Any]]:
            while True:
                yield from ({"input_ids": one} for one in ids)

        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        found["trainer_padded"] = arms.transformers_trainer(
            "trainer_padded", load_model(run.base.folder).train(), endless,
            DataCollatorForLanguageModeling(tokenizer, mlm=False), per_step, padded, run, folder,
            padded_tokens, compile_model=False,
        )  # fmt: skip
    return {name: found[name] for name in ("ours", *names) if name in found}


def compare(arms: Mapping[str, Arm], blocks: int, steps: int, warmup_steps: int) -> dict[str, list[Block]]:
    """Blocks of every arm, taken in turns, after ``warmup_steps`` of each."""
    warm = {name: arm.block(warmup_steps) for name, arm in arms.items()}
    _say("warm, tokens/s: " + ", ".join(f"{name} {block.rate:,.0f}" for name, block in warm.items()))
    found: dict[str, list[Block]] = {name: [] for name in arms}
    for number in range(blocks):
        order = list(arms)[number % len(arms) :] + list(arms)[: number % len(arms)]
        for name in order:
            found[name].append(arms[name].block(steps))
        rates = ", ".join(f"{name} {found[name][-1].rate:,.0f}" for name in arms)
        _say(f"block {number + 1} of {blocks}: {rates} tokens/s")
    return found


def check_first_losses(arms: Mapping[str, Arm], precision: str) -> dict[str, float]:
    """The loss of the first step of every arm that trains on our first batch. Raises SystemExit when they differ."""
    same = [name for name in ("ours", "bare", "bare_transformers") if name in arms]
    losses = {name: arms[name].block(1).losses[0] for name in same}
    spread = max(losses.values()) - min(losses.values())
    if spread > MAX_LOSS_DIFFERENCE[precision]:
        raise SystemExit(f"benchmarks.train: the arms do not compute the same: {losses}")
    return losses


def ratios(blocks: Mapping[str, Sequence[Block]], name: str, seed: int = 0) -> dict[str, float]:
    """Median over blocks of our rate by the other arm's, with a 95 % bootstrap interval of that median."""
    import numpy as np

    ours, other = ([block.rate for block in blocks[arm]] for arm in ("ours", name))
    each = np.array(ours) / np.array(other)
    draws = np.random.default_rng(seed).choice(each, size=(10_000, len(each)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return {"median": float(np.median(each)), "low": float(low), "high": float(high)}


def report(
    run: Run,
    blocks: Mapping[str, Sequence[Block]],
    losses: Mapping[str, float],
    trainer_steps: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    import torch

    rates = {name: statistics.median(block.rate for block in found) for name, found in blocks.items()}
    compared = {f"ours / {name}": ratios(blocks, name) for name in blocks if name != "ours"}
    bars = [Bar(name, ratio["median"], LIMITS[name], is_minimum=True) for name, ratio in compared.items()]
    wait = statistics.fmean(step["data_wait_share"] for step in trainer_steps)
    if torch.cuda.is_available():
        bars.append(Bar("tokens per second", rates["ours"], GPU_TOKENS_PER_SECOND, is_minimum=True))
        bars.append(Bar("share of time spent waiting for data", wait, MAX_GPU_DATA_WAIT_SHARE))
    return {
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "precision": run.training.precision,
        "first_losses": dict(losses),
        "tokens_per_second": rates,
        "block_seconds": {name: [round(block.seconds, 3) for block in found] for name, found in blocks.items()},
        "ratios": compared,
        "data_wait_share": wait,
        "mfu": statistics.median(step["mfu"] for step in trainer_steps) if trainer_steps[-1]["mfu"] else None,
        "bars": [bar.row() for bar in bars],
    }


def profile(arm: Arm, steps: int) -> list[dict[str, Any]]:
    """Where the time of ours goes: the kernels (on a CPU the operators) that take most, as shares."""
    import torch
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    on_gpu = torch.cuda.is_available()
    with record(activities=[ProfilerActivity.CUDA] if on_gpu else [ProfilerActivity.CPU]) as recorded:
        arm.block(steps)
    times = {
        entry.key: entry.self_device_time_total if on_gpu else entry.self_cpu_time_total
        for entry in recorded.key_averages()
    }
    total = sum(times.values())
    most = sorted(times.items(), key=lambda item: -item[1])[:25]
    return [{"what": name[:120], "share": round(value / total, 4)} for name, value in most]


def measure(section: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """One section, in this process."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    on_gpu = torch.cuda.is_available()
    batch_sequences = chosen.batch_sequences or (128 if on_gpu else 1)
    micro = chosen.micro_batch_sequences or (16 if on_gpu else 1)
    precision = chosen.precision or ("bf16" if on_gpu else "fp32")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), batch_sequences * SEQUENCE_TOKENS, precision, micro)
        arms = make_arms(run, batch_sequences, micro, SECTIONS[section], Path(folder))
        losses = check_first_losses(arms, precision)
        blocks = compare(arms, chosen.blocks, chosen.steps or (10 if on_gpu else 1), 3 if on_gpu else 1)
        lines = (run.folder / "metrics.jsonl").read_text().splitlines()
        result = report(run, blocks, losses, [json.loads(line) for line in lines[2:]])
        if chosen.profile:
            result["profile"] = profile(arms["ours"], 2 if on_gpu else 1)
        for arm in arms.values():
            arm.close()
    return result | {"seconds": round(time.monotonic() - started, 1)}


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    for section in result["sections"].values():
        for name, rate in section["tokens_per_second"].items():
            yield f"{name:<28} {rate:>12,.0f} tokens/s"
        for name, ratio in section["ratios"].items():
            yield f"{name:<28} {ratio['median']:.3f} ({ratio['low']:.3f} .. {ratio['high']:.3f})"
        for entry in section.get("profile", ()):
            yield f"{entry['share']:>7.1%}  {entry['what']}"
    yield from bar_lines(result["bars"])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--only", nargs="+", choices=tuple(SECTIONS), default=tuple(SECTIONS), help="sections")
    parser.add_argument("--blocks", type=int, default=7, help="turns of each arm")
    parser.add_argument("--steps", type=int, help="optimiser steps in a block (default: 1, GPU 10)")
    parser.add_argument("--batch-sequences", type=int, help="of a step (default: 1, GPU 128)")
    parser.add_argument("--micro-batch-sequences", type=int, help="at once (default: 1, GPU 16)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default: fp32, GPU bf16")
    parser.add_argument("--profile", action="store_true", help="also say where the time of ours goes")
    parser.add_argument("--measure", choices=tuple(SECTIONS), help=argparse.SUPPRESS)
    given = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parser.parse_args(given)
    if chosen.measure:
        json.dump(measure(chosen.measure, chosen), sys.stdout)
        return 0
    passed_on = [
        word
        for name in ("blocks", "steps", "batch_sequences", "micro_batch_sequences", "precision")
        if (value := getattr(chosen, name)) is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    ] + (["--profile"] if chosen.profile else [])
    sections = {name: measured_in_a_child("benchmarks.train", name, *passed_on) for name in chosen.only}
    result = {
        "machine": machine(),
        "versions": versions(_PACKAGES),
        "sections": sections,
        "bars": [bar for section in sections.values() for bar in section.pop("bars")],
    }
    print(json.dumps(result, indent=2) if chosen.json else "\n".join(_table(result)))
    return 0 if all(bar["passed"] for bar in result["bars"]) else 1


if __name__ == "__main__":
    sys.exit(main())
