"""Evaluation of a run end to end on a tiny model: figures, rows, report; kills; what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from forge.lake import Lake
from tests.training.evaluated_run import evaluation_settings, link_artifacts, train
from training import evaluate as command
from training.checkpoint import BadCheckpoint
from training.evaluate import evaluate_checkpoint
from training.evaluation.outcome import comparison_lines, write_comparison, write_evaluations
from training.run import Run, StageMissing, Stopped


def quiet(_line: str) -> None:
    pass


@pytest.fixture(scope="module")
def run(run_maker: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Stage I is trained."""
    made = run_maker(tmp_path_factory.mktemp("evaluated"))()
    train(made, "I")
    return made


def test_every_figure_is_written_with_its_interval_and_runs_keep_their_rows(run: Run, tmp_path: Path) -> None:
    settings = evaluation_settings(run)
    with pytest.raises(StageMissing):
        evaluate_checkpoint(run, settings, "II", say=quiet)
    both = [evaluate_checkpoint(run, settings, name, say=quiet) for name in ("base", "I")]
    results = [result for _, result in both]
    found = {(one["benchmark"], one["category"], one["metric"]): one for one in results[0]["metrics"]}
    for kind in ("api_doc", "trajectory", "web", "code", "text"):
        assert found["held_out_loss", kind, "nats_per_token"]["items"] == 3
    assert found["held_out_loss", "all", "bits_per_byte"]["items"] == 15
    assert found["bfcl_loss", "all", "nats_per_token"]["items"] == 2
    for task, items in (("piqa", 8), ("arc_easy", 8), ("bfcl", 4)):
        figure = found[task, "all", "accuracy"]
        assert figure["items"] == items
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert ("bfcl", "live_irrelevance", "accuracy") in found
    assert len({result["prompt_hash"] for result in results}) == 1

    lake = Lake(str(tmp_path / "lake"))
    for result in [*results, *results]:
        write_evaluations(lake, result)
    rows = lake.read("evaluations").to_pylist()
    assert len(rows) == sum(len(result["metrics"]) for result in results)
    assert {(row["checkpoint"], row["stage"]) for row in rows} == {("base", ""), ("I", "I")}
    assert {row["release_id"] for row in rows} == {"r-small"}

    lines: list[str] = []
    assert evaluate_checkpoint(run, settings, "I", say=lines.append)[1] == results[1]
    assert all("measured before" in line for line in lines)
    table = list(comparison_lines(results))
    assert table[0].split() == ["task", "metric", "items", "base", "I"]
    assert sum(line.startswith("piqa ") and " accuracy " in line for line in table) == 1

    candidates = [command.candidate_of_run(run, name) for name in ("base", "I")]
    found_of = [evaluated for evaluated, _ in both]
    report, promotion = write_comparison(results, found_of, candidates, settings, run, run.folder)
    assert promotion is not None
    page = report.read_text()
    assert "r-small" in page
    evaluation = orjson.loads((run.folder / "evaluation.json").read_bytes())
    assert {(one["before"], one["after"]) for one in evaluation["differences"]} == {("base", "I")}
    before = report.read_bytes()
    write_comparison(results, found_of, candidates, settings, run, run.folder)
    assert report.read_bytes() == before


def test_records_are_the_same_over_batch_sizes_and_after_kills(run: Run) -> None:
    """Done when 4: the bytes of every record."""

    def records(settings: Any) -> dict[str, list[bytes]]:
        folder = run.folder / "evaluation" / "I"
        return {path.stem: sorted(path.read_bytes().splitlines()[1:]) for path in sorted(folder.glob("*.jsonl"))}

    def forget() -> None:
        for path in (run.folder / "evaluation" / "I").glob("*.jsonl"):
            path.unlink()

    evaluate_checkpoint(run, evaluation_settings(run), "I", say=quiet)
    whole = records(evaluation_settings(run))
    assert sum(map(len, whole.values())) == 2 + 15 + 8 + 8 + 4
    for batch_items in (1, 5):
        forget()
        evaluate_checkpoint(run, evaluation_settings(run, batch_items=batch_items), "I", say=quiet)
        assert records(evaluation_settings(run)) == whole

    class AfterSome:
        """Stops when it was asked `count` times, once per record."""

        def __init__(self, count: int) -> None:
            self.left = count

        def __bool__(self) -> bool:
            self.left -= 1
            return self.left < 0

    forget()
    stops = 0
    while True:
        try:
            evaluate_checkpoint(run, evaluation_settings(run), "I", stop=AfterSome(30), say=quiet)
        except Stopped:
            stops += 1
            for path in (run.folder / "evaluation" / "I").glob("*.jsonl"):
                content = path.read_bytes()
                path.write_bytes(content[: len(content) - 7])  # as a kill in the middle of a write leaves it
            continue
        break
    assert stops >= 2
    assert records(evaluation_settings(run)) == whole


def test_a_model_trained_on_another_chat_rendering_is_not_evaluated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = evaluation_settings(run, tasks=["held_out_loss"])
    evaluate_checkpoint(run, settings, "I", say=quiet)
    monkeypatch.setattr("training.chat.RENDERING_VERSION", "of another version")
    with pytest.raises(BadCheckpoint, match="chat rendering"):
        evaluate_checkpoint(run, settings, "I", say=quiet)
    evaluate_checkpoint(run, settings, "base", say=quiet)


def test_a_model_of_ones_own_is_evaluated_by_the_command(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORGE__HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FORGE__LAKE__ROOT", str(tmp_path / "lake"))
    monkeypatch.setenv("FORGE__TRAINING__PRECISION", "fp32")
    link_artifacts(tmp_path / "home")
    arguments = ["--model", str(tiny_model), "--task", "piqa", "--task", "held_out_loss", "--items", "5"]
    assert command.main(arguments) == 0
    said = capsys.readouterr().out
    assert "held_out_loss is not evaluated" in said
    (path,) = [line.partition(": ")[2] for line in said.splitlines() if line.startswith("evaluation report: ")]
    assert "held_out_loss" in Path(path).read_text()
    (row,) = [
        row
        for row in Lake(str(tmp_path / "lake")).read("evaluations").to_pylist()
        if (row["category"], row["metric"]) == ("all", "accuracy")
    ]
    assert (row["benchmark"], row["items"], row["run_id"]) == ("piqa", 5, "")
    assert command.main(arguments) == 0
    assert "piqa: measured before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "nowhere"], "--model: 'nowhere' is neither an artifact"),
        (["--model", "smollm2", "--items", "0"], "--items: 0; allowed: 1 and more"),
        (["--endpoint"], "evaluation.endpoint is not set"),
        (["--release", "none-such"], "nothing has been published yet"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("FORGE__HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FORGE__LAKE__ROOT", str(tmp_path / "lake"))
    assert command.main(arguments) == 78
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
