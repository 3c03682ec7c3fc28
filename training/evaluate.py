"""Evaluate a run: ``python -m training.evaluate --release ID|current --checkpoint base --checkpoint III``.

Writes ``runs/<run_id>/evaluation-<checkpoint>.json`` and rows of table ``evaluations`` (partition
``<run_id>-<checkpoint>``). A checkpoint that was evaluated under the same settings is not evaluated again.
"""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from forge.artifacts import artifact_path
from forge.config import Settings, load_settings
from forge.lake import Lake
from forge.schema import canonical_json, content_hash, table_of
from training.base_model import load_model, load_tokenizer
from training.chat import prompt_hash
from training.checkpoint import MARKER, BadCheckpoint, Checkpoint, load_checkpoint
from training.command import REFUSALS, parser_of, refuse, run_of
from training.evaluation.bfcl import CATEGORIES, BfclItem, bfcl_items, sample
from training.evaluation.scoring import ScoredText
from training.files import write_atomically
from training.process import die_with_parent
from training.run import CHECKPOINTS, Run, StageMissing
from training.run_card import write_run_card

EVALUATION_VERSION = "2"
Say = Callable[[str], None]


def evaluate_checkpoint(run: Run, settings: Settings, checkpoint: str, say: Say = print) -> dict[str, Any]:
    """Measure one checkpoint, or read what was measured before under the same settings.

    The result has ``metrics`` (benchmark, metric, value, items, detail), ``answers`` (what the model wrote, and why it
    is wrong) and what identifies them. Raises :class:`training.run.StageMissing`.
    """
    if checkpoint != "base" and not run.is_finished(checkpoint):
        raise StageMissing(f"run {run.run_id}: stage {checkpoint} is not trained yet")
    folder = run.model_folder(checkpoint)
    tokenizer = load_tokenizer(folder)
    if checkpoint != "base":
        _check_template(load_checkpoint(folder), tokenizer)
    bfcl = artifact_path(settings, "bfcl") if "bfcl" in settings.artifacts else None
    key = content_hash(
        EVALUATION_VERSION,
        run.run_id,
        checkpoint,
        canonical_json(settings.evaluation.model_dump(mode="json")),
        settings.artifacts["bfcl"].sha256 if bfcl else "",
        prompt_hash(tokenizer),
        run.base.sha if checkpoint == "base" else (folder / MARKER).read_text(),
    )
    path = run.folder / f"evaluation-{checkpoint}.json"
    if path.is_file():
        found: dict[str, Any] = orjson.loads(path.read_bytes())
        if found.get("key") == key:
            say(f"checkpoint {checkpoint} is evaluated: {path.name}")
            return found
    result = {
        "key": key,
        "run_id": run.run_id,
        "release_id": run.release.release_id,
        "checkpoint": checkpoint,
        "precision": run.training.precision,
        "prompt_hash": prompt_hash(tokenizer),
        **_measure(run, settings, folder, tokenizer, bfcl_items(bfcl) if bfcl else [], say),
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    write_atomically(path, orjson.dumps(result, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2))
    return result


def _check_template(checkpoint: Checkpoint, tokenizer: Any) -> None:
    """Raises :class:`BadCheckpoint` when the model was trained on chats rendered otherwise than we render them now."""
    trained_on = checkpoint.state.get("template_hash")
    if trained_on != prompt_hash(tokenizer):
        raise BadCheckpoint(
            f"{checkpoint.folder}: was trained with chat rendering {trained_on}, this version and its tokenizer render "
            f"{prompt_hash(tokenizer)}: losses and answers would not say how good the model is; train it again"
        )


def _measure(
    run: Run, settings: Settings, folder: Any, tokenizer: Any, items: Sequence[BfclItem], say: Say
) -> dict[str, Any]:
    import torch

    from training.evaluation.ast_accuracy import answers_of, check
    from training.evaluation.benchmark_loss import score_item
    from training.evaluation.held_out import score_document

    chosen = settings.evaluation
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(folder).to(device).eval()
    started = time.monotonic()
    metrics: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []

    def took(what: str) -> None:
        nonlocal started
        now = time.monotonic()
        say(f"{folder.name}: {what} in {now - started:.1f} s")
        started = now

    with torch.autocast(device, torch.bfloat16, enabled=run.training.precision == "bf16"):
        scored = [
            score_item(model, tokenizer, item)
            for item in sample(items, chosen.benchmark_loss_items, chosen.seed, "benchmark_loss")
        ]
        if scored:
            metrics += _loss_metrics("bfcl", [item.gold for item in scored])
            for category in CATEGORIES:
                metrics += _loss_metrics(
                    f"bfcl:{category}", [item.gold for item in scored if item.category == category]
                )
            for part, nats in (
                ("name", [nat for item in scored for nat in item.gold.nats[: item.name_tokens]]),
                ("argument", [nat for item in scored for nat in item.gold.nats[item.name_tokens :]]),
            ):
                detail = {"tokens": len(nats)}
                metrics.append(_metric("bfcl", f"{part}_nats_per_token", sum(nats) / len(nats), len(scored), detail))
            took(f"benchmark loss on {len(scored)} items")
        for kind, documents in run.held_out_documents().items():
            texts = (score_document(model, tokenizer, found.text, chosen.held_out_max_tokens) for found in documents)
            metrics += _loss_metrics(f"held_out:{kind}", [text for text in texts if text is not None])
        took("held-out loss")
        asked = sample(items, chosen.generation_items, chosen.seed, "ast_accuracy")
        if asked:
            written = answers_of(model, tokenizer, asked, max_new_tokens=chosen.generation_max_new_tokens)
            judged = [check(item, text) for item, text in zip(asked, written, strict=True)]
            decoded, right = sum(answer.decoded for answer in judged), sum(not answer.problem for answer in judged)
            counts = {"decoded": decoded, "right": right, "items": len(judged)}
            metrics.append(_metric("bfcl", "ast_accuracy", right / len(judged), len(judged), counts))
            metrics.append(_metric("bfcl", "decodable_share", decoded / len(judged), len(judged), counts))
            answers = [
                {"item_id": answer.item_id, "text": answer.text, "decoded": answer.decoded, "problem": answer.problem}
                for answer in judged
            ]
            took(f"{len(judged)} answers")
    return {"metrics": metrics, "answers": answers}


def _metric(benchmark: str, metric: str, value: float, items: int, detail: Mapping[str, Any]) -> dict[str, Any]:
    return {"benchmark": benchmark, "metric": metric, "value": value, "items": items, "detail": dict(detail)}


def _loss_metrics(benchmark: str, texts: Sequence[ScoredText]) -> Iterator[dict[str, Any]]:
    nats, tokens = sum(text.total_nats for text in texts), sum(len(text.nats) for text in texts)
    text_bytes = sum(text.text_bytes for text in texts)
    if not tokens:
        return
    detail = {"tokens": tokens, "bytes": text_bytes}
    yield _metric(benchmark, "nats_per_token", nats / tokens, len(texts), detail)
    yield _metric(benchmark, "bits_per_byte", nats / math.log(2) / text_bytes, len(texts), detail)
    means = [text.total_nats / len(text.nats) for text in texts if text.nats]
    yield _metric(benchmark, "item_mean_nats_per_token", sum(means) / len(means), len(means), detail)


def write_evaluations(lake: Lake, result: Mapping[str, Any]) -> None:
    """Put a result into table ``evaluations``, in a partition of its own: other runs' rows stay."""
    partition_key = f"{result['run_id']}-{result['checkpoint']}"
    rows = [
        {
            "run_id": result["run_id"],
            "release_id": result["release_id"],
            "checkpoint": result["checkpoint"],
            "stage": "" if result["checkpoint"] == "base" else result["checkpoint"],
            "benchmark": metric["benchmark"],
            "metric": metric["metric"],
            "value": metric["value"],
            "items": metric["items"],
            "prompt_hash": result["prompt_hash"],
            "detail": canonical_json(metric["detail"] | {"precision": result["precision"]}),
            "created_at": result["created_at"],
            "partition_key": partition_key,
        }
        for metric in result["metrics"]
    ]
    lake.write("evaluations", table_of("evaluations", rows), partition_key, fingerprint=result["key"])


def comparison_lines(results: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """A plain table: one line per benchmark and metric, one column per checkpoint, the item count beside it."""
    names = [str(result["checkpoint"]) for result in results]
    yield f"{'benchmark':<24} {'metric':<26} {'items':>5} " + " ".join(f"{name:>9}" for name in names)
    values = [{(metric["benchmark"], metric["metric"]): metric for metric in result["metrics"]} for result in results]
    for key in values[0] if values else ():
        cells = [f"{found[key]['value']:>9.4f}" if key in found else f"{'-':>9}" for found in values]
        yield f"{key[0]:<24} {key[1]:<26} {values[0][key]['items']:>5} " + " ".join(cells)


def main(given: Sequence[str] | None = None) -> int:
    parser = parser_of("Evaluate checkpoints of a release's run.")
    parser.add_argument(
        "--checkpoint", action="append", choices=CHECKPOINTS, help="may be repeated; default: base and III"
    )
    arguments = parser.parse_args(given)
    die_with_parent()
    try:
        settings = load_settings(arguments.profile)
        run = run_of(settings, arguments.release)
        _say(f"run {run.run_id} release {run.release.release_id}")
        results = []
        for checkpoint in arguments.checkpoint or ("base", "III"):
            results.append(evaluate_checkpoint(run, settings, checkpoint, _say))
            write_evaluations(Lake.of(settings), results[-1])
            write_run_card(run)
    except REFUSALS as reason:
        return refuse(reason)
    for line in comparison_lines(results):
        _say(line)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
