"""General ability: do our figures agree with lm-eval's on the same items, and what do both take.

Both measure the same model on the items that our tasks choose, each in a process of its own. lm-eval (extra ``bench``)
gets them as local JSON files with its own task definitions, unchanged but for where the data lie. Compared are prompts,
continuations, log-likelihoods, decisions and the figures. CPU seconds are counted, not wall time, without those of
loading the model.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bars import Bar, bar_lines
from benchmarks.child import measured_in_a_child
from benchmarks.machine import machine, versions

TASKS = ("mmlu", "arc_easy", "arc_challenge", "hellaswag", "piqa", "winogrande", "boolq")
MAX_POINTS = 0.5
_METRICS = {"accuracy": "acc", "accuracy_norm": "acc_norm"}
_PACKAGES = ("torch", "transformers", "lm_eval", "datasets")
_PEER_BATCH = 4


# --- in a process of its own --------------------------------------------------------------------------------------


def _model_folder(name: str, scratch: Path) -> Path:
    """``tiny`` is a random model with the tokenizer of the settings' base model."""
    from forge.config import load_settings
    from training.base_model import base_model_of, load_tokenizer

    if name not in ("base", "tiny"):
        return Path(name)
    base = base_model_of(load_settings()).folder
    if name == "base":
        return base
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = scratch / "tiny"
    tokenizer = load_tokenizer(base)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096,
        )
    ).save_pretrained(folder)  # fmt: skip
    tokenizer.save_pretrained(folder)
    return folder


def _ours(task_name: str, model: Path, items: int) -> dict[str, Any]:
    """Records of our task, and its CPU seconds."""
    from forge.config import load_settings
    from training.base_model import load_model, load_tokenizer
    from training.evaluation.subject import LocalSubject
    from training.evaluation.tasks import task_of

    task = task_of(task_name, load_settings(), None, items)  # type: ignore[arg-type]
    subject = LocalSubject(load_model(model).eval(), load_tokenizer(model))
    started = time.process_time()
    records = list(task.measure(subject, task.item_ids))
    seconds = time.process_time() - started
    found = {record.item_id: {"measures": record.measures, **record.detail} for record in records}
    return {"items": [{"item_id": item_id, **found[item_id]} for item_id in task.item_ids], "cpu_seconds": seconds}


def _prompts(task_name: str, items: int) -> list[list[tuple[str, str]]]:
    """Context and continuation of each option of each chosen item, as we put them."""
    from forge.config import load_settings
    from training.evaluation.tasks import task_of

    task = task_of(task_name, load_settings(), None, items)  # type: ignore[arg-type]
    of = {item.item_id: item for item in task.measure.args[0]}  # type: ignore[attr-defined]
    return [[(option.context, option.continuation) for option in of[item_id].options] for item_id in task.item_ids]


def _peer(task_name: str, model: Path, items: int, scratch: Path) -> dict[str, Any]:
    """What lm-eval measured of the items that our task chooses, in their order."""
    os.environ["HF_DATASETS_CACHE"] = str(scratch / "datasets")
    from forge.config import load_settings
    from training.evaluation.general.olmo_files import olmo_files
    from training.evaluation.tasks import task_of

    settings = load_settings()
    files = olmo_files(settings)
    ids = task_of(task_name, settings, None, items).item_ids  # type: ignore[arg-type]
    if task_name == "mmlu":
        subjects = sorted({item_id.partition("/")[0] for item_id in ids})
        places = {
            f"mmlu_{subject}": [i for i, key in enumerate(ids) if key.startswith(f"{subject}/")] for subject in subjects
        }
    else:
        places = {task_name: list(range(len(ids)))}
    names = {name: _write_task(name, [ids[place] for place in where], files, scratch) for name, where in places.items()}

    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    language_model = HFLM(str(model), device="cpu", dtype="float32", batch_size=_PEER_BATCH)
    manager = TaskManager(include_path=str(scratch / "tasks"))
    started = time.process_time()
    result = lm_eval.simple_evaluate(
        language_model, tasks=list(names.values()), task_manager=manager, bootstrap_iters=0, log_samples=True
    )
    seconds = time.process_time() - started
    found: dict[int, dict[str, Any]] = {}
    for name, where in places.items():
        for sample in result["samples"][names[name]]:
            found[where[sample["doc_id"]]] = {
                "metrics": {metric: sample[metric] for metric in sample["metrics"]},
                "log_likelihoods": [likelihood for likelihood, _ in sample["filtered_resps"]],
                "prompts": [list(arguments) for arguments in sample["arguments"]],
            }
    return {"items": [{"item_id": ids[place], **found[place]} for place in range(len(ids))], "cpu_seconds": seconds}


def _write_task(name: str, ids: list[str], files: Any, scratch: Path) -> str:
    """lm-eval's own task with local files for data; returns its name."""
    import lm_eval

    standard = Path(lm_eval.__file__).parent / "tasks"
    data = scratch / "data"
    (scratch / "tasks").mkdir(exist_ok=True)
    data.mkdir(exist_ok=True)
    definition: dict[str, Any] = {"task": f"local_{name}", "dataset_path": "json", "dataset_name": None, "tag": None}
    rows: list[dict[str, Any]]
    if name.startswith("mmlu_"):
        subject = name.removeprefix("mmlu_")
        include, split = standard / f"mmlu/default/{name}.yaml", "test"
        rows = files._rows(f"hails/mmlu_no_train/{subject}/test")
        chosen = [rows[int(item_id.partition("/")[2])] for item_id in ids]
        dev = data / f"{name}-dev.jsonl"
        _write_lines(dev, files._rows(f"hails/mmlu_no_train/{subject}/dev"))
        definition |= {"num_fewshot": 5, "dataset_kwargs": {"data_files": {"dev": str(dev)}}}
    elif name.startswith("arc_"):
        include, split = standard / f"arc/{name}.yaml", "test"
        asked = {question.item_id: question for question in files.arc(name)}
        chosen = [
            {
                "question": asked[item_id].question,
                "choices": {
                    "text": asked[item_id].choices,
                    "label": [str(n) for n in range(len(asked[item_id].choices))],
                },
                "answerKey": str(asked[item_id].answer),
            }
            for item_id in ids
        ]
        definition |= {"training_split": None, "validation_split": None, "dataset_kwargs": {"data_files": {}}}
    else:
        include = standard / {
            "hellaswag": "hellaswag/hellaswag.yaml", "piqa": "piqa/piqa.yaml", "winogrande": "winogrande/default.yaml",
            "boolq": "super_glue/boolq/default.yaml",
        }[name]  # fmt: skip
        split = "validation"
        rows = files._rows(
            {
                "hellaswag": "hellaswag/none/validation", "piqa": "piqa/plain_text/validation",
                "winogrande": "winogrande/winogrande_xl/validation", "boolq": "boolq/none/validation",
            }[name]
        )  # fmt: skip
        chosen = [rows[int(item_id)] for item_id in ids]
        if name == "boolq":
            chosen = [{**row, "label": int(row["answer"])} for row in chosen]
        definition |= {"training_split": None, "dataset_kwargs": {"data_files": {}}}
    path = data / f"{name}.jsonl"
    _write_lines(path, chosen)
    definition["dataset_kwargs"]["data_files"][split] = str(path)
    definition = {"include": str(include), **definition}
    (scratch / "tasks" / f"local_{name}.yaml").write_text(json.dumps(definition))
    return f"local_{name}"


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def measure(section: str, tasks: Sequence[str], model: str, items: int) -> dict[str, dict[str, Any]]:
    """``section``: ours or lm_eval. What it measured of each task."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = _model_folder(model, Path(scratch))
        if section == "ours":
            return {name: {**_ours(name, folder, items), "prompts": _prompts(name, items)} for name in tasks}
        return {name: _peer(name, folder, items, Path(scratch)) for name in tasks}


# --- the whole run ------------------------------------------------------------------------------------------------


def compared(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> dict[str, Any]:
    """One task: accuracies, their differences in points, and how far apart single items are."""
    pairs = list(zip(ours["items"], peer["items"], strict=True))
    found: dict[str, Any] = {"items": len(pairs)}
    for metric, theirs in _METRICS.items():
        if any(theirs not in other["metrics"] for _, other in pairs):
            continue
        own = 100 * sum(one["measures"][metric][0] for one, _ in pairs) / len(pairs)
        other = 100 * sum(peer["metrics"][theirs] for _, peer in pairs) / len(pairs)
        found[metric] = {"ours": round(own, 2), "lm_eval": round(other, 2), "points": round(abs(own - other), 4)}
        found[metric]["differing_decisions"] = sum(
            one["measures"][metric][0] != peer["metrics"][theirs] for one, peer in pairs
        )
    found["largest_log_likelihood_difference"] = max(
        abs(a - b)
        for one, other in pairs
        for a, b in zip(one["log_likelihoods"], other["log_likelihoods"], strict=True)
    )
    prompts = zip(ours["prompts"], peer["items"], strict=True)
    found["differing_prompts"] = sum(own != other["prompts"] for own, other in prompts)
    found["cpu_seconds"] = {"ours": round(ours["cpu_seconds"], 1), "lm_eval": round(peer["cpu_seconds"], 1)}
    return found


def report(tasks: Mapping[str, dict[str, Any]], model: str) -> dict[str, Any]:
    bars = [
        Bar(f"{name} {metric}, points between", found[metric]["points"], MAX_POINTS)
        for name, found in tasks.items()
        for metric in _METRICS
        if metric in found
    ]
    bars += [Bar(f"{name} prompts that differ", found["differing_prompts"], 0) for name, found in tasks.items()]
    return {
        "name": "lm_eval_agreement",
        "machine": machine(),
        "versions": versions(_PACKAGES),
        "model": model,
        "ours": {name: {"cpu_seconds": found["cpu_seconds"]["ours"]} for name, found in tasks.items()},
        "peers": {name: {"cpu_seconds": found["cpu_seconds"]["lm_eval"]} for name, found in tasks.items()},
        "ratios": {
            f"{name} CPU seconds, lm-eval / ours": round(
                found["cpu_seconds"]["lm_eval"] / max(found["cpu_seconds"]["ours"], 0.01), 2
            )
            for name, found in tasks.items()
        },
        "agreements": dict(tasks),
        "bars": [bar.row() for bar in bars],
    }


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    heads = f"{'task':<14}{'items':>6}{'ours':>8}{'lm-eval':>8}"
    yield f"{heads}{'largest difference, nats':>26}{'ours CPU s':>12}{'lm-eval CPU s':>15}"
    for name, found in result["agreements"].items():
        accuracy, seconds = found["accuracy"], found["cpu_seconds"]
        yield (
            f"{name:<14}{found['items']:>6}{accuracy['ours']:>8.2f}{accuracy['lm_eval']:>8.2f}"
            f"{found['largest_log_likelihood_difference']:>26.1e}{seconds['ours']:>12.1f}{seconds['lm_eval']:>15.1f}"
        )
    yield from bar_lines(result["bars"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lm_eval_agreement", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--items", type=int, default=100, help="of each task (default 100)")
    parser.add_argument("--model", default="base", help="base (of the settings), tiny (random), or a folder")
    parser.add_argument("--tasks", default=",".join(TASKS), help="separated by commas")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        stdout, sys.stdout = sys.stdout, sys.stderr  # lm-eval prints
        json.dump(measure(given.measure, given.tasks.split(","), given.model, given.items), stdout)
        return 0
    arguments = ("--tasks", given.tasks, "--model", given.model, "--items", str(given.items))
    ours, peer = (
        measured_in_a_child("benchmarks.lm_eval_agreement", section, *arguments) for section in ("ours", "lm_eval")
    )
    tasks = {name: compared(found, peer[name]) for name, found in ours.items()}
    result = report(tasks, given.model)
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        print("\n".join(_table(result)))
    return 0 if all(bar["passed"] for bar in result["bars"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
