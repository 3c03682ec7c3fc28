"""README.md of a run and of its models: a Hugging Face model card, made of the object that ``card.json`` holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import yaml

from training.evaluation.figures import ALL

NOT_MEASURED = "not measured"
_SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
_SMOLLM2_NOTE = (
    "The base is SmolLM2-135M-**Instruct**, after supervised fine-tuning and DPO, not the pre-trained SmolLM2-135M.\n"
    "Its weights were dequantised to float32 from a packaged 4-bit GGUF (Q4_1 blocks, Q8_0 embedding) and carry the\n"
    "error of that rounding."
)
_MOST_MEASUREMENTS = 8  # of a stage; all of them are in card.json
_HEADLINES = ("accuracy", "success", "decodable", "nats_per_token", "bits_per_byte")

_CARD = """---
{front_matter}---

# {title}

{intro}

![Loss over tokens by kind of document, benchmark loss, learning rate](curve.svg)

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "{folder}"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
{example}
```

## What it was made of

{identity}
{base_note}`forge trace --checkpoint {folder}` lists what it saw; with `--documents FILE.parquet` every document,
its tokens and the step that saw it first. `forge trace DOCUMENT` tells where a document comes from and which
checkpoints saw it.

## Training

{training}
Times are those of the optimiser steps: without packing, checkpoints and measurements. Tokens are without padding.

## Loss, nats per target token, first step and last

{losses}
## Benchmark loss during training, nats per token

{benchmark}
## Evaluation

{evaluation}
## Data plan

{data}
## Hardware and cost

{hardware}
The hardware is that of the process that finished the stage.

## Settings

```yaml
{settings}```

## What is not known

{unknown}
"""


def model_card(card: Mapping[str, Any], *, models: str | None) -> str:
    """The Markdown text. ``models`` is the folder of the models as seen from the file; None: it lies beside one."""
    stages: Mapping[str, Mapping[str, Any]] = card["stages"]
    newest = list(stages)[-1] if stages else None
    folder = "." if models is None else f"{models}stage-{newest or 'I'}"
    title = f"Run {card['run_id']}" if models is not None else f"Run {card['run_id']}, stage {newest}"
    base = card["base_model"]
    return _CARD.format(
        front_matter=_front_matter(card, title),
        title=title,
        intro=_intro(card),
        folder=folder,
        example=_CHAT if newest == "III" else _COMPLETION,
        identity=_identity(card),
        base_note=f"{_SMOLLM2_NOTE}\n\n" if base["is_packaged_smollm2"] else "",
        training=_training(stages),
        losses=_losses(stages),
        benchmark=_benchmark(card["benchmark_loss"]),
        evaluation=_evaluation(card["evaluations"]),
        data=_data(stages),
        hardware=_hardware(stages),
        settings=yaml.safe_dump(
            {**card["settings"], "stages": {name: stage["settings"] for name, stage in stages.items()}}, sort_keys=False
        ),
        unknown="\n".join(f"- {line}" for line in _unknown(card)),
    )


_COMPLETION = """inputs = tokenizer("client.create_bucket(", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=48)[0]))"""
_CHAT = """messages = [{"role": "user", "content": "Delete the bucket named logs."}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=48)[0]))"""


def _front_matter(card: Mapping[str, Any], title: str) -> str:
    values: dict[str, Any] = {
        "model_name": title,
        "license": "other",
        "license_name": "per-document",
        "language": ["en"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
    }
    if card["base_model"]["is_packaged_smollm2"]:
        values |= {"base_model": _SMOLLM2, "base_model_relation": "finetune"}
    values |= {
        "datasets": [card["release"]["release_id"]],
        "tags": [
            "hephaestus-forge",
            "continual-pre-training",
            "tool-use",
            *(f"stage-{name}" for name in card["stages"]),
        ],
    }
    text: str = yaml.safe_dump(values, sort_keys=False)
    return text


def _intro(card: Mapping[str, Any]) -> str:
    release = card["release"]
    tokens = sum(stage.get("tokens") or 0 for stage in card["stages"].values())
    stages = ", ".join(card["stages"]) or "none yet"
    return (
        f"Continual pre-training on release `{release['release_id']}` (night {release['night']}). Finished stages: "
        f"{stages}; {tokens:,} tokens.\nDocuments of the release keep the licences of their sources, and the weights "
        "those of the base model: the licence of the result has to be judged from both."
    )


def _identity(card: Mapping[str, Any]) -> str:
    base, stages = card["base_model"], card["stages"]
    rows = [
        ("run", f"`{card['run_id']}`"),
        ("release", f"`{card['release']['release_id']}`"),
        *((f"order of the data, stage {name}", _code(stage.get("order_hash"))) for name, stage in stages.items()),
        *((f"code, stage {name}", _code_version(stage["code"])) for name, stage in stages.items()),
        ("training settings", f"`{card['configuration_hash']}`"),
        ("base model", f"`{base['sha']}` ({_text(base['origin'])})"),
        *((f"chat template, stage {name}", _code(stage.get("template_hash"))) for name, stage in stages.items()),
    ]
    return table(("", "hash or version"), rows)


def _code_version(code: Mapping[str, Any] | None) -> str:
    if code is None:
        return NOT_MEASURED
    commit = code["commit"]
    state = {True: ", modified", False: "", None: ", state unknown"}[code["modified"]]
    return f"{_text(code['package'])}, " + (f"commit `{commit}`{state}" if commit else "no commit known")


def _training(stages: Mapping[str, Mapping[str, Any]]) -> str:
    def settings(name: str) -> Callable[[Mapping[str, Any]], Any]:
        return lambda stage: (stage["settings"] or {}).get(name)

    def fact(name: str) -> Callable[[Mapping[str, Any]], Any]:
        return lambda stage: stage.get(name)

    rows: list[tuple[str, Callable[[Mapping[str, Any]], Any], str]] = [
        ("steps", fact("steps"), ",d"),
        ("tokens", fact("tokens"), ",d"),
        ("tokens of a sequence", settings("sequence_tokens"), ",d"),
        ("tokens of a batch", settings("batch_tokens"), ",d"),
        ("learning rate at its peak", settings("learning_rate"), ".2e"),
        ("schedule", settings("schedule"), ""),
        ("precision", fact("precision"), ""),
        ("attention", fact("attention"), ""),
        ("parameters over ranks", fact("sharding"), ""),
        ("ranks", fact("world_size"), ",d"),
        ("skipped steps (spikes)", fact("skipped_steps"), ",d"),
        ("seconds", fact("seconds"), ",.1f"),
        ("tokens a second", fact("tokens_per_second"), ",.0f"),
        ("model FLOPs utilisation", fact("mfu"), ".2%"),
        ("its peak, TFLOP/s of a device", fact("peak_tflops"), ",.1f"),
        ("share of time waiting for data", fact("data_wait_share"), ".2%"),
        ("memory, GB, at most", fact("memory_gb"), ",.1f"),
    ]
    return table(
        ("", *(f"stage {name}" for name in stages)),
        [(label, *(shown(value(stage), form) for stage in stages.values())) for label, value, form in rows],
    )


def _losses(stages: Mapping[str, Mapping[str, Any]]) -> str:
    kinds = sorted({kind for stage in stages.values() for kind in stage["last_loss_by_kind"] or ()})

    def ends(stage: Mapping[str, Any], kind: str) -> str:
        first, last = ((stage[f"{end}_loss_by_kind"] or {}).get(kind) for end in ("first", "last"))
        return "-" if first is None and last is None else f"{shown(first, '.4f')} → {shown(last, '.4f')}"

    rows = [(kind, *(ends(stage, kind) for stage in stages.values())) for kind in kinds]
    whole = (f"{shown(stage['first_loss'], '.4f')} → {shown(stage['last_loss'], '.4f')}" for stage in stages.values())
    return table(("kind", *(f"stage {name}" for name in stages)), [*rows, ("all", *whole)])


def _benchmark(measurements: Sequence[Mapping[str, Any]]) -> str:
    if not measurements:
        return f"{NOT_MEASURED.capitalize()}.\n"
    names = sorted({name for found in measurements for name in found["metrics"]})
    rows = []
    for stage in sorted({found["stage"] for found in measurements}):
        of_stage = [found for found in measurements if found["stage"] == stage]
        most = min(len(of_stage), _MOST_MEASUREMENTS)
        chosen = sorted({round(place * (len(of_stage) - 1) / max(1, most - 1)) for place in range(most)})
        rows += [
            (
                stage,
                f"{of_stage[place]['step']:,}",
                f"{of_stage[place]['tokens']:,}",
                *(shown(of_stage[place]["metrics"].get(name), ".4f") for name in names),
            )
            for place in chosen
        ]
    text = table(("stage", "after step", "tokens", *names), rows)
    return text if len(rows) == len(measurements) else text + f"\n{len(measurements)} measurements: card.json\n"


def _evaluation(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    """The usual metrics of whole benchmarks with their intervals, a column for each checkpoint."""
    values: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for checkpoint, found in evaluations.items():
        for metric in found["metrics"]:
            if metric["metric"] in _HEADLINES and metric["category"] == ALL:
                values.setdefault((metric["benchmark"], metric["metric"]), {})[checkpoint] = metric
    if not values:
        return f"{NOT_MEASURED.capitalize()}.\n"
    rows = [
        (
            benchmark,
            metric,
            f"{next(iter(found.values()))['items']:,}",
            *(_with_interval(found.get(name)) for name in evaluations),
        )
        for (benchmark, metric), found in sorted(values.items())
    ]
    return table(("benchmark", "metric", "items", *evaluations), rows)


def _with_interval(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return NOT_MEASURED
    ends = ", ".join(shown(figure[name], ".4f", absent="?") for name in ("low", "high"))
    return f"{figure['value']:.4f} [{ends}]"


def _data(stages: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each stratum of each stage: what was packed, and how often it was drawn."""
    columns = (
        "stage", "stratum", "share wanted", "share", "epochs", "documents", "tokens", "padding", "cropped", "rejected",
    )  # fmt: skip
    rows = []
    for name, stage in stages.items():
        for stratum, found in ((stage["data"] or {}).get("strata") or {}).items():
            rejected = found.get("rejected")
            reasons = (
                "" if not rejected else f" ({', '.join(f'{_text(why)}: {count:,}' for why, count in rejected.items())})"
            )
            rows.append(
                (
                    name,
                    _text(stratum),
                    shown(found.get("share_wanted"), ".1%"),
                    shown(found.get("share"), ".1%"),
                    shown(found.get("epochs"), ".2f"),
                    shown(found.get("documents"), ",d"),
                    shown(found.get("tokens"), ",d"),
                    shown(found.get("padding_tokens"), ",d"),
                    shown(found.get("cropped_tokens"), ",d"),
                    shown(None if rejected is None else sum(rejected.values()), ",d") + reasons,
                )
            )
    return table(columns, rows) if rows else f"{NOT_MEASURED.capitalize()}.\n"


def _hardware(stages: Mapping[str, Mapping[str, Any]]) -> str:
    def of(stage: Mapping[str, Any], *path: str) -> Any:
        found: Any = stage["hardware"]
        for name in path:
            found = found.get(name) if found else None
        return found

    def on_gpu(stage: Mapping[str, Any], name: str, form: str = "") -> str:
        return "-" if of(stage, "device_kind") == "cpu" else shown(of(stage, name), form)

    rows: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("device", lambda stage: shown(of(stage, "device"))),
        ("devices", lambda stage: shown(stage.get("world_size"), ",d")),
        ("memory of a device, GiB", lambda stage: on_gpu(stage, "device_memory_gib", ",.1f")),
        ("processor", lambda stage: shown(of(stage, "cpu"))),
        ("cores of a rank", lambda stage: shown(of(stage, "cores"), ",d")),
        ("main memory, GiB", lambda stage: shown(of(stage, "memory_gib"), ",.1f")),
        ("system", lambda stage: shown(of(stage, "system"))),
        ("Python", lambda stage: shown(of(stage, "python"))),
        ("CUDA", lambda stage: on_gpu(stage, "cuda")),
        *(
            (library, lambda stage, library=library: shown(of(stage, "libraries", library)))
            for library in ("torch", "transformers", "accelerate")
        ),
        ("device hours", lambda stage: shown(stage["device_hours"], ",.3f")),
        ("price of a device hour", lambda stage: shown(stage["cost_per_hour"], ",.2f", absent="not set")),
        ("cost", lambda stage: shown(stage["cost"], ",.2f", absent="not known")),
    ]
    return table(
        ("", *(f"stage {name}" for name in stages)),
        [(label, *(value(stage) for stage in stages.values())) for label, value in rows],
    )


def _unknown(card: Mapping[str, Any]) -> Iterable[str]:
    yield "What the base model was trained on, and so whether it had seen these documents or the benchmarks before."
    if card["base_model"]["is_packaged_smollm2"]:
        yield "What the 4-bit rounding of the base model costs: the original weights were not at hand to compare."
    for name, stage in card["stages"].items():
        missing = [
            label
            for label, value in (
                ("seconds and tokens a second", stage["seconds"]),
                ("model FLOPs utilisation: no peak is known for this device", stage["mfu"]),
                ("the hardware", stage["hardware"]),
                ("the code version", stage["code"]),
                ("the data plan", stage["data"]),
                ("the cost", stage["cost"]),
            )
            if value is None
        ]
        if missing:
            yield f"Stage {name}: {'; '.join(missing)}."
        if (stage["code"] or {}).get("modified"):
            yield f"Stage {name}: how its code differed from the commit named above."
        if name not in card["evaluations"]:
            yield f"Stage {name}: its model was not evaluated when this card was written."
    if not card["benchmark_loss"]:
        yield "How benchmark loss moved during training."
    yield "Safety, bias, and abilities that no measurement above names: nobody evaluated them."


def shown(value: Any, form: str = "", *, absent: str = NOT_MEASURED) -> str:
    """A cell: ``value`` by a format, or that it is absent."""
    if value is None:
        return absent
    return format(value, form) if form else _text(value)


def _code(value: str | None) -> str:
    return NOT_MEASURED if value is None else f"`{value}`"


def _text(value: object) -> str:
    """Text that stays inside its table cell."""
    return " ".join(str(value).replace("|", "\\|").replace("<", "&lt;").split()) or "-"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns but the first are to the right."""
    lines = [columns, ("---", *("---:" for _ in columns[1:])), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
