"""The card of a run says what its files say, names what nobody measured, and is equal for equal files."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from huggingface_hub import ModelCard

from forge.schema import canonical_json, content_hash
from training.checkpoint import write_checkpoint
from training.run import Run
from training.run_card import model_card_files, write_run_card

FACTS: dict[str, Any] = {
    "run_id": "r", "release_id": "r-small", "stage": "I", "step": 3, "steps": 3, "tokens": 3000, "order_hash": "0rder",
    "template_hash": "t3mplate", "world_size": 2, "sharding": "replicated", "tensor_parallel": 1, "attention": "sdpa",
    "precision": "bf16", "first_loss": 3.5, "last_loss": 2.5, "first_loss_by_kind": {"code": 3.25},
    "last_loss_by_kind": {"code": 2.25}, "skipped_steps": 1, "seconds": 7200.0, "tokens_per_second": 1234.5,
    "mfu": 0.41, "peak_tflops": 989.0, "data_wait_share": 0.0025, "memory_gb": 61.5,
    "hardware": {
        "device_kind": "cuda", "device": "Some GPU", "device_memory_gib": 139.7, "cpu": "Some CPU", "cores": 16,
        "memory_gib": 128.0, "system": "Linux x86_64", "python": "3.11.7", "cuda": "13.0",
        "libraries": {"torch": "2.13.0", "transformers": "5.23.0", "accelerate": "1.15.0"},
    },
    "code": {"package": "0.1.0", "commit": "c0ffee", "modified": True},
    "data": {"strata": {"code": {
        "share_wanted": 0.5, "share": 0.25, "epochs": 1.5, "documents": 12, "tokens": 2500, "padding_tokens": 48,
        "cropped_tokens": 7, "rejected": {"no | text": 2},
    }}},
}  # fmt: skip


def metrics(run: Run, stage: str = "I", **more: Any) -> None:
    lines = [
        {
            "stage": stage, "step": step, "tokens": 1000 * step, "loss": 4.0 - step / 2, "learning_rate": 1e-4,
            "loss_by_kind": {"code": 4.0 - step / 2} | ({"text": 3.0} if step == 2 else {}), "skipped": step == 2,
            "data_wait_share": 0.5, "memory_gb": float(step), "mfu": None, **more,
        }
        for step in (1, 2, 3)
    ]  # fmt: skip
    probes = [
        {"event": "benchmark", "stage": stage, "step": step, "tokens": 1000 * step, "metrics": {"bfcl": 1.0 + step}}
        for step in (0, 2)
    ]
    with (run.folder / "metrics.jsonl").open("ab") as sink:
        sink.write(b"".join(orjson.dumps(line) + b"\n" for line in [*lines, *probes]))


def evaluation(run: Run, checkpoint: str, value: float) -> None:
    metric = {
        "benchmark": "bfcl_loss", "category": "all", "metric": "nats_per_token", "value": value, "low": value - 0.5,
        "high": None, "items": 24,
    }  # fmt: skip
    hidden = metric | {"category": "simple_python"}
    content = {"metrics": [metric, hidden], "answers": [{"text": "SECRET ANSWER"}], "precision": "fp32"}
    (run.folder / f"evaluation-{checkpoint}.json").write_bytes(orjson.dumps(content))


@pytest.fixture
def run(make_run: Callable[..., Run]) -> Run:
    run = make_run(cost_per_hour=2.5)
    run.record_stage("I", FACTS)
    metrics(run)
    evaluation(run, "base", 3.5)
    evaluation(run, "I", 3.0)
    return run


def readme(run: Run) -> str:
    write_run_card(run)
    return (run.folder / "README.md").read_text()


def rows(text: str, heading: str) -> dict[str, list[str]]:
    """The table below a heading: cells by the first one."""
    section = text.split(f"\n## {heading}")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in lines[2:]}


def test_the_card_says_what_the_files_say(run: Run) -> None:
    text = readme(run)
    identity = rows(text, "What it was made of")
    assert identity["release"] == ["`r-small`"]
    assert identity["order of the data, stage I"] == ["`0rder`"]
    assert identity["code, stage I"] == ["0.1.0, commit `c0ffee`, modified"]
    assert identity["base model"] == [f"`{run.base.sha}` (folder)"]
    settings = run.summary()["training"]
    assert identity["training settings"] == [f"`{content_hash(canonical_json(settings))}`"]
    training = rows(text, "Training")
    assert training["tokens a second"] == ["1,234"]
    assert training["model FLOPs utilisation"] == ["41.00%"]
    assert training["its peak, TFLOP/s of a device"] == ["989.0"]
    assert training["share of time waiting for data"] == ["0.25%"]
    assert training["skipped steps (spikes)"] == ["1"]
    assert rows(text, "Loss")["code"] == ["3.2500 → 2.2500"]
    assert rows(text, "Loss")["all"] == ["3.5000 → 2.5000"]
    assert rows(text, "Evaluation") == {
        "bfcl_loss": ["nats_per_token", "24", "3.5000 [3.0000, ?]", "3.0000 [2.5000, ?]"]
    }
    assert rows(text, "Data plan")["I"] == [
        "code", "50.0%", "25.0%", "1.50", "12", "2,500", "48", "7", r"2 (no \| text: 2)",
    ]  # fmt: skip
    hardware = rows(text, "Hardware and cost")
    assert (hardware["device"], hardware["devices"], hardware["torch"]) == (["Some GPU"], ["2"], ["2.13.0"])
    assert hardware["device hours"] == ["4.000"], "two devices for two hours"
    assert hardware["cost"] == ["10.00"]
    assert "SECRET ANSWER" not in text
    assert "not measured" not in text


def test_benchmark_loss_during_training(run: Run) -> None:
    section = readme(run).split("## Benchmark loss")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("| I ")] == [
        "| I | 0 | 0 | 1.0000 |", "| I | 2 | 2,000 | 3.0000 |",
    ]  # fmt: skip


def test_many_measurements_are_thinned_and_kept_whole_in_the_json(run: Run) -> None:
    probes = [
        {"event": "benchmark", "stage": "I", "step": step, "tokens": step, "metrics": {"bfcl": float(step)}}
        for step in range(100)
    ]
    (run.folder / "metrics.jsonl").write_bytes(b"\n".join(map(orjson.dumps, probes)))
    section = readme(run).split("## Benchmark loss")[1].split("\n## ")[0]
    shown = [int(line.split("|")[2]) for line in section.splitlines() if line.startswith("| I ")]
    assert (shown[0], shown[-1], len(shown)) == (0, 99, 8)
    assert "100 measurements: card.json" in section
    assert len(orjson.loads((run.folder / "card.json").read_bytes())["benchmark_loss"]) == 100


def test_the_front_matter_is_what_the_hub_reads(run: Run) -> None:
    data = ModelCard(readme(run)).data
    assert (data.license, data.pipeline_tag, data.library_name) == ("other", "text-generation", "transformers")
    assert data.datasets == ["r-small"]
    assert "stage-I" in data.tags
    assert data.base_model is None, "a folder of one's own has no name on the hub"


def test_the_packaged_smollm2_is_called_what_it_is(run: Run) -> None:
    from dataclasses import replace

    packaged = replace(run, base=replace(run.base, origin="artifact smollm2"))
    text = model_card_files(packaged, "I", FACTS)["README.md"].decode()
    assert ModelCard(text).data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert "DPO" in text
    assert "4-bit" in text
    assert "DPO" not in readme(run)


def test_equal_files_give_equal_bytes(run: Run, tmp_path: Path) -> None:
    write_run_card(run)
    first = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    assert {"README.md", "card.json", "curve.svg"} <= first.keys()
    write_run_card(run)
    assert {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()} == first


def test_no_path_of_this_machine_is_in_the_card(run: Run) -> None:
    write_run_card(run)
    for name in ("README.md", "card.json"):
        text = (run.folder / name).read_text()
        assert str(run.folder.parent.parent) not in text, name
        assert str(run.base.folder) not in text, name


def test_what_nobody_measured_is_said_not_invented(make_run: Callable[..., Run]) -> None:
    run = make_run()
    text = readme(run)  # nothing is trained yet
    assert "none yet" in text
    run.record_stage("I", {"stage": "I", "step": 1, "steps": 1, "tokens": 10, "world_size": 1})
    text = readme(run)
    training = rows(text, "Training")
    for name in ("seconds", "tokens a second", "model FLOPs utilisation", "share of time waiting for data"):
        assert training[name] == ["not measured"], name
    assert rows(text, "Hardware and cost")["cost"] == ["not known"]
    unknown = text.split("## What is not known")[1]
    for words in ("the hardware", "the code version", "the data plan", "not evaluated", "benchmark loss moved"):
        assert words in unknown, words
    card = orjson.loads((run.folder / "card.json").read_bytes())
    assert card["stages"]["I"]["mfu"] is None
    assert card["stages"]["I"]["device_hours"] is None


def test_steps_tell_what_the_facts_are_silent_about(make_run: Callable[..., Run]) -> None:
    run = make_run()
    metrics(run, mfu=0.5)
    run.record_stage("I", {"stage": "I", "step": 3, "steps": 3, "tokens": 3000, "world_size": 1})
    write_run_card(run)
    stage = orjson.loads((run.folder / "card.json").read_bytes())["stages"]["I"]
    assert (stage["first_loss"], stage["last_loss"]) == (3.5, 2.5)
    assert stage["first_loss_by_kind"] == {"code": 3.5, "text": 3.0}
    assert stage["last_loss_by_kind"] == {"code": 2.5, "text": 3.0}
    assert (stage["skipped_steps"], stage["mfu"], stage["data_wait_share"], stage["memory_gb"]) == (1, 0.5, 0.5, 3.0)


def test_a_stage_whose_model_came_from_elsewhere_shows_what_its_manifest_states(make_run: Callable[..., Run]) -> None:
    run = make_run()
    state = {"stage": "I", "step": 7, "steps": 7, "tokens": 70, "order_hash": "fr0m", "world_size": 1}
    write_checkpoint(run.model_folder("I"), state | {"spikes": {"losses": [1.0]}}, lambda folder: None)
    text = readme(run)
    assert rows(text, "Training")["steps"] == ["7"]
    assert "`fr0m`" in text
    assert "spikes" not in orjson.loads((run.folder / "card.json").read_bytes())["stages"]["I"]


def test_a_models_card_is_about_the_stages_up_to_it(run: Run) -> None:
    metrics(run, "II")
    evaluation(run, "II", 2.5)
    run.record_stage("II", FACTS | {"stage": "II", "order_hash": "0rder2"})
    first = model_card_files(run, "I", FACTS)
    assert "stage II" not in first["README.md"].decode()
    assert b"stage II" not in first["curve.svg"]
    second = model_card_files(run, "II", FACTS | {"order_hash": "n3w"})
    text = second["README.md"].decode()
    assert "`n3w`" in text, "the facts that are given, not those of an earlier attempt"
    assert "`0rder`" in text
    assert b"stage II" in second["curve.svg"]
    assert "forge trace --checkpoint ." in text


def test_the_card_lies_in_the_sealed_model_and_its_example_runs(
    run: Run, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(folder: Path) -> None:
        shutil.copytree(tiny_model, folder, dirs_exist_ok=True)
        for name, content in model_card_files(run, "I", FACTS).items():
            (folder / name).write_bytes(content)

    folder = run.model_folder("I")
    write_checkpoint(folder, FACTS, write)
    text = (folder / "README.md").read_text()
    assert ModelCard.load(folder / "README.md").data.pipeline_tag == "text-generation"
    code = text.split("```python\n")[1].split("```")[0].replace('folder = "."', f"folder = {str(folder)!r}")
    (tmp_path / "example.py").write_text(code)
    runpy.run_path(str(tmp_path / "example.py"))
    assert "client" in capsys.readouterr().out
    settings = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert settings["stages"]["I"]["learning_rate"] == run.training.stages["I"].learning_rate
    assert "base_model" not in settings
