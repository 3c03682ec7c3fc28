"""What training will take is what packing will plan, and what is unknown stays unknown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from forge.config import ConfigurationError, LauncherSettings, Settings, StageSettings, TrainingSettings, load_settings
from forge.lake import Lake
from forge.release import Release, corpus_files, release_id_of
from forge.schema import CHAT_FORM, DOMAIN_OF_KIND, KINDS, content_hash, table_of
from training.base_model import load_tokenizer
from training.corpus_input import Selection, Survey, survey_of
from training.estimate import estimate, main, markdown_of, parameters_of, planned_stage, speed_of
from training.run import Run
from training.shard_cache import ShardCache
from training.stage_data import stage_data

NIGHT = "2026-11-21"


def open_file(path: str) -> Any:
    return Path(path).open("rb")


@pytest.fixture
def settings(tmp_path: Path, training_settings: TrainingSettings) -> Settings:
    return load_settings("demo").model_copy(update={"home": str(tmp_path / "home"), "training": training_settings})


def with_training(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"training": settings.training.model_copy(update=changes)})


@pytest.fixture(scope="module")
def survey(small_release: Any, tmp_path_factory: pytest.TempPathFactory) -> Survey:
    selection = Selection(11, None, {})
    return survey_of(small_release, open_file, selection, tmp_path_factory.mktemp("survey") / "survey.npz")


# --- the plan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["I", "II"])
def test_shares_and_steps_are_those_that_packing_plans(
    small_release: Any, settings: Settings, tiny_model: Path, tmp_path: Path, shard_cache: ShardCache, stage: str
) -> None:
    """A small budget: no stratum runs short, whichever tokenizer counts."""
    training = settings.training
    planned = estimate(settings, small_release, open_file)["stages"][stage]
    tokenizer = load_tokenizer(tiny_model)
    data = stage_data(small_release, open_file, training, stage, tokenizer, tmp_path / "packed", shard_cache)
    packed = data.plan["strata"]
    assert planned["mix"].keys() == packed.keys()
    for name, part in planned["mix"].items():
        assert part["share_wanted"] == pytest.approx(packed[name]["share_wanted"]), name
        assert part["share"] == pytest.approx(packed[name]["share"]), name
        assert part["documents"] == packed[name]["documents_available"] - packed[name]["left_out_by_weight"], name
    assert planned["steps"] == data.plan["draws"] // (planned["batch_tokens"] // planned["sequence_tokens"])


def stage(**changes: Any) -> StageSettings:
    return StageSettings(
        **({"tokens": 2048, "sequence_tokens": 64, "batch_tokens": 256, "learning_rate": 1e-3} | changes)
    )


@given(
    tokens=st.integers(1, 40_000), sequence=st.sampled_from([16, 64, 100]), batch=st.integers(16, 1000),
    max_epochs=st.sampled_from([1.0, 4.0]), replay=st.sampled_from([0.0, 0.25]),
)  # fmt: skip
def test_what_is_planned_adds_up(
    survey: Survey, tokens: int, sequence: int, batch: int, max_epochs: float, replay: float
) -> None:
    chosen = stage(tokens=tokens, sequence_tokens=sequence, batch_tokens=batch, replay_share=replay,
                   kind_shares={"api_doc": 0.5, "trajectory": 0.5} if replay else {})  # fmt: skip
    found = planned_stage(survey, "I", chosen, {"max_epochs": max_epochs})
    assert found["tokens"] == found["steps"] * found["batch_tokens"]
    assert (
        found["tokens"]
        <= sum(part["tokens"] for part in found["mix"].values())
        < found["tokens"] + found["batch_tokens"]
    )
    assert all(part["epochs"] <= max_epochs for part in found["mix"].values())
    assert not found["steps"] or sum(part["share"] for part in found["mix"].values()) == pytest.approx(1.0)
    if found["tokens"] < tokens:  # then every stratum gives all that it may
        for part in found["mix"].values():
            assert part["tokens"] + sequence > max_epochs * part["tokens_available"]


def test_a_stratum_that_runs_short_hands_its_draws_on(survey: Survey) -> None:
    recipe = {"max_epochs": 1.0, "domain_shares": {"agent": 0.1, "code": 0.8, "text": 0.1}}
    mix = planned_stage(survey, "I", stage(tokens=1500), recipe)["mix"]
    assert mix["code"]["share"] < mix["code"]["share_wanted"]
    assert 0.0 < mix["code"]["epochs"] <= 1.0
    assert sum(part["share"] for part in mix.values()) == pytest.approx(1.0)


# --- model, speed, cost, disk ----------------------------------------------------------------------------------------


def test_parameters_are_counted_without_loading_the_model(settings: Settings, tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert parameters_of(settings) == sum(parameter.numel() for parameter in model.parameters())
    with pytest.raises(ConfigurationError, match=r"training\.base_model"):
        parameters_of(with_training(settings, base_model="nowhere"))


def record(settings: Settings, run_id: str, when: int, seconds: float | None, base: str | None = None) -> None:
    folder = settings.home_path / "runs" / run_id
    folder.mkdir(parents=True)
    stages = {"I": {"tokens": 1000, "seconds": seconds, "world_size": 2, "hardware": {"device": "Some GPU"}}}
    summary = {"training": {"base_model": base or settings.training.base_model}, "stages": stages}
    (folder / "run.json").write_bytes(orjson.dumps(summary))
    os.utime(folder / "run.json", (when, when))


def test_speed_is_of_the_settings_else_of_the_newest_finished_run_with_this_base(settings: Settings) -> None:
    assert speed_of(settings) is None
    record(settings, "older", 100, seconds=1.0)
    record(settings, "newest", 300, seconds=4.0)
    record(settings, "unfinished", 400, seconds=None)
    record(settings, "another-base", 500, seconds=1.0, base="other")
    (settings.home_path / "runs" / "broken").mkdir()
    (settings.home_path / "runs" / "broken" / "run.json").write_text("[1")
    (settings.home_path / "runs" / "strange").mkdir()
    (settings.home_path / "runs" / "strange" / "run.json").write_text("[]")
    found = speed_of(settings)
    assert found is not None
    assert (found.tokens_per_second, found.origin) == (250.0, "run newest on 2 x Some GPU")
    expected = speed_of(with_training(settings, expected_tokens_per_second=9.5))
    assert expected is not None
    assert (expected.tokens_per_second, expected.origin) == (9.5, "training.expected_tokens_per_second")


def test_hours_and_cost(small_release: Any, settings: Settings) -> None:
    unknown = estimate(settings, small_release, open_file)
    assert (unknown["hours"], unknown["cost"], unknown["speed"]) == (None, None, None)
    assert markdown_of(unknown).count("unknown") == 3, "speed, hours, cost"
    assert not settings.home_path.exists(), "nothing is left behind"
    known = with_training(
        settings, expected_tokens_per_second=0.5, cost_per_hour=3.0, launcher=LauncherSettings(processes=2)
    )
    found = estimate(known, small_release, open_file)
    assert found["tokens"] == sum(stage["tokens"] for stage in found["stages"].values())
    assert found["hours"] == pytest.approx(found["tokens"] / 0.5 / 3600)
    assert found["cost"] == pytest.approx(found["hours"] * 2 * 3.0)
    parameters = found["base_model"]["parameters"]
    assert found["disk"]["checkpoint_bytes"] == 12 * parameters
    least = 12 * parameters * (known.training.keep_checkpoints + 1) + 3 * 4 * parameters
    assert least <= found["disk"]["needed_bytes"] <= least + 4 * found["tokens"]


def test_what_is_too_little_is_said(small_release: Any, settings: Settings) -> None:
    stages = settings.training.stages
    greedy = stages["I"].model_copy(update={"tokens": 10_000_000})
    hopeless = stages["III"].model_copy(update={"batch_tokens": 10_000_000, "tokens": 10_000_000})
    text = markdown_of(
        estimate(with_training(settings, stages=stages | {"I": greedy, "III": hopeless}), small_release, open_file)
    )
    assert "of the 10,000,000 tokens asked for" in text
    assert "Stage III cannot be trained" in text
    assert "Stage II " not in text


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Release:
    """A release with documents of every kind and chats, in a lake of its own that the environment names."""
    monkeypatch.setenv("FORGE__LAKE__ROOT", str(tmp_path / "lake"))
    monkeypatch.setenv("FORGE__HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FORGE__TRAINING__BASE_MODEL", str(tiny_model))
    monkeypatch.delenv("FORGE_RESULT", raising=False)
    lake = Lake.of(load_settings("demo"))
    rows = [
        {
            "doc_id": content_hash(f"{kind} {form} {number}"), "kind": kind, "form": form,
            "domain": DOMAIN_OF_KIND[kind], "stages": stages, "split": "train", "entity_key": None, "source": "s",
            "license": "MIT", "text": "x", "tokens": 5000, "weight": 1.0, "partition_key": NIGHT,
        }
        for number in range(40)
        for kind, form, stages in [
            *((kind, "plain", ["I", "II"]) for kind in KINDS), ("trajectory", CHAT_FORM, ["III"]),
        ]
    ]  # fmt: skip
    commit = lake.write("corpus", table_of("corpus", rows), NIGHT, "x")
    files = corpus_files(lake, commit.version, NIGHT)
    release = Release(
        release_id=release_id_of(files, {}), parent=None, created_at="now", partition_key=NIGHT, run_id="r",
        versions={"corpus": commit.version}, files=files, recipe={}, configuration_hash="", code_hash="", gates=(),
        report={},
    )  # fmt: skip
    lake.write("releases", table_of("releases", [release.row()]), NIGHT, "x")
    return release


def test_the_command_leaves_a_small_result_for_the_approval(
    lake: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "results" / "estimate.json"
    monkeypatch.setenv("FORGE_RESULT", str(result))
    assert main(["--release", "current", "--profile", "demo"]) == 0
    assert result.stat().st_size < 16 * 1024
    found = orjson.loads(result.read_bytes())
    assert found.keys() == {"release_id", "tokens", "hours", "cost", "markdown"}
    assert (found["release_id"], found["hours"], found["cost"]) == (lake.release_id, None, None)
    assert capsys.readouterr().out.strip() == found["markdown"].strip()
    for kind in KINDS:
        assert kind in found["markdown"]


def test_the_command_prints_one_json_object(lake: Release, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--release", lake.release_id[:8], "--profile", "demo", "--json"]) == 0
    found = orjson.loads(capsys.readouterr().out)
    assert found["release_id"] == lake.release_id
    assert found["stages"].keys() == {"I", "II", "III"}


def test_refusals_have_their_exit_codes(
    lake: Release, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--release", "ffff", "--profile", "demo"]) == 78
    assert lake.release_id in capsys.readouterr().err
    assert main(["--profile", "nothing-like-it"]) == 78
    monkeypatch.setenv("FORGE__TRAINING__BASE_MODEL", "/nowhere")
    assert main(["--profile", "demo"]) == 78
    assert "training.base_model" in capsys.readouterr().err


def test_a_run_of_ours_is_found(make_run: Callable[..., Run]) -> None:
    """What :meth:`Run.record_stage` writes is what the estimate reads."""
    run = make_run()
    run.record_stage("I", {"tokens": 300, "seconds": 3.0, "world_size": 1, "hardware": {"device": "a CPU"}})
    found = speed_of(run.settings)
    assert found is not None
    assert (found.tokens_per_second, found.origin) == (100.0, f"run {run.run_id} on 1 x a CPU")
