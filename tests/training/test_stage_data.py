"""A stage's data: which documents, which shares, and that every document and token is accounted for."""

from __future__ import annotations

import dataclasses
import errno
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge.config import StageSettings, TrainingSettings
from forge.schema import CHAT_FORM, KINDS, canonical_json
from tests.training.conftest import ReleaseMaker, chat, corpus_row, open_file, words
from training.base_model import load_tokenizer
from training.corpus_input import NotTheRelease, Selection, survey_of
from training.shard_cache import CorruptShard, NoSpace, ShardCache
from training.stage_data import NoTrainingData, StageData, shares_of, stage_data


def silent(_: str) -> None:
    pass


def plain_rows(count: int, kind: str = "text", length: int = 40, stages: tuple[str, ...] = ("I",)) -> list[dict]:
    return [
        corpus_row(kind, words(number, length) + f" {kind}{number}", stages=list(stages)) for number in range(count)
    ]


@pytest.fixture
def data_of(small_release, training_settings, tiny_model, tmp_path, shard_cache):
    def make(
        stage="I", release=small_release, name=None, say=silent, tokenizer=None, cache=shard_cache, beat=lambda: None,
        **changes,
    ):  # fmt: skip
        training = training_settings.model_copy(update=changes)
        folder = tmp_path / (name or f"packed-{stage}")
        tokenizer = tokenizer or load_tokenizer(tiny_model)
        return stage_data(release, open_file, training, stage, tokenizer, folder, cache, say, beat=beat)

    return make


def rows_of(data: StageData, stratum: str) -> Iterator[dict]:
    for shard in data.plan["strata"][stratum]["shards"]:
        yield from pa.ipc.open_file(data.folder / shard["path"]).read_all().to_pylist()


def corpus_of(release):
    return {row["doc_id"]: row for file in release.files for row in pq.read_table(file.path).to_pylist()}


# --- which documents ----------------------------------------------------------------------------------------------


def test_a_stage_holds_train_documents_of_its_own_and_a_sequence_one_kind(data_of, small_release):
    corpus = corpus_of(small_release)
    for stage in ("I", "II", "III"):
        data = data_of(stage)
        assert data.plan["strata"]
        for name, stratum in data.plan["strata"].items():
            for row in rows_of(data, name):
                documents = [corpus[doc_id] for doc_id in row["doc_ids"]]
                assert {document["kind"] for document in documents} == {stratum["kind"]} == {name}
                assert {document["domain"] for document in documents} == {row["domain"]} == {stratum["domain"]}
                assert all(document["split"] == "train" and stage in document["stages"] for document in documents)
                assert {document["form"] == CHAT_FORM for document in documents} == {stage == "III"}
                assert (row["stage"], row["partition_key"]) == (stage, "2026-11-21")


def test_shares_of_domains_are_split_over_kinds_by_their_tokens(data_of, small_release):
    corpus = [row for row in corpus_of(small_release).values() if row["split"] == "train" and "I" in row["stages"]]
    plan = data_of().plan["strata"]
    tokens = Counter()
    for row in corpus:
        tokens[row["kind"]] += row["tokens"]
    agent = tokens["api_doc"] + tokens["trajectory"] + tokens["web"]
    for kind in KINDS:
        of_domain = {"code": (0.32, tokens["code"]), "text": (0.32, tokens["text"])}.get(kind, (0.36, agent))
        assert plan[kind]["share_wanted"] == pytest.approx(of_domain[0] * tokens[kind] / of_domain[1])
        assert plan[kind]["documents_available"] == sum(row["kind"] == kind for row in corpus)
    assert sum(stratum["share"] for stratum in plan.values()) == pytest.approx(1.0)


def test_shares_of_kinds_come_from_the_stage_and_what_none_has_is_said(data_of, training_settings):
    assert {name: entry["draws"] for name, entry in data_of("II").plan["strata"].items()} == {
        "api_doc": 12,
        "trajectory": 12,
    }
    said: list[str] = []
    stage = training_settings.stages["II"].model_copy(update={"kind_shares": {"api_doc": 0.6, "web": 0.4}})
    plan = data_of("II", stages={"II": stage}, say=said.append).plan
    assert list(plan["strata"]) == ["api_doc"]
    assert any("no document of kind web, its share of 0.4" in line for line in said)
    with pytest.raises(NoTrainingData, match="no training document for stage II"):
        data_of("II", stages={"II": stage.model_copy(update={"kind_shares": {"web": 1.0}})})


def test_replay_is_general_text_and_code_beside_the_stage_s_own(data_of, small_release, training_settings):
    corpus = corpus_of(small_release)
    for stage in ("II", "III"):
        changed = training_settings.stages[stage].model_copy(update={"replay_share": 0.25})
        data = data_of(stage, stages={stage: changed})
        strata = data.plan["strata"]
        replay = {name: stratum for name, stratum in strata.items() if name.startswith("replay:")}
        assert {name: stratum["kind"] for name, stratum in replay.items()} == {
            "replay:code": "code",
            "replay:text": "text",
        }
        assert sum(stratum["share_wanted"] for stratum in replay.values()) == pytest.approx(0.25)
        for name in replay:
            assert strata[name]["share_wanted"] == pytest.approx(0.125)
            for row in rows_of(data, name):
                assert all(corpus[doc_id]["split"] == "train" for doc_id in row["doc_ids"])
                assert all(corpus[doc_id]["form"] != CHAT_FORM for doc_id in row["doc_ids"])
                ends = [span["end"] for span in row["loss_spans"]]
                assert ends == row["document_offsets"][1:]  # the loss counts the whole document


def test_replay_of_a_kind_that_the_stage_takes_anyhow_is_a_larger_share_of_it(data_of, training_settings):
    stage = training_settings.stages["I"].model_copy(update={"replay_share": 0.5})
    plan = data_of(stages={"I": stage}).plan["strata"]
    assert sorted(plan) == sorted(KINDS)
    assert plan["code"]["share_wanted"] == pytest.approx(0.5 * 0.32 + 0.5 * 0.5)


def test_a_stage_without_documents_of_its_own_is_not_trained_on_replay_alone(
    data_of, small_release, training_settings, tmp_path
):
    plain = [row for row in corpus_of(small_release).values() if row["stages"] == ["I"]]
    release = ReleaseMaker(tmp_path)(plain, release_id="r-plain")
    for shares in ({}, {"api_doc": 1.0}):
        stage = training_settings.stages["II"].model_copy(update={"replay_share": 0.1, "kind_shares": shares})
        with pytest.raises(NoTrainingData, match="no training document for stage II"):
            data_of("II", release=release, stages={"II": stage})
    asked_for = stage.model_copy(update={"replay_share": 1.0})
    plan = data_of("II", release=release, stages={"II": asked_for}).plan
    assert sorted(plan["strata"]) == ["replay:code", "replay:text"]


def test_replay_of_plain_code_stands_beside_chats_about_code(data_of, tmp_path, training_settings):
    chats = [corpus_row("code", chat(number), form=CHAT_FORM, stages=["III"]) for number in range(12)]
    release = ReleaseMaker(tmp_path)(chats + plain_rows(80, "code"))
    stage = training_settings.stages["III"].model_copy(update={"replay_share": 0.5, "tokens": 6000})
    data = data_of("III", release=release, stages={"III": stage})
    strata = data.plan["strata"]
    assert {name: entry["share_wanted"] for name, entry in strata.items()} == {"code": 0.5, "replay:code": 0.5}
    forms = {row["doc_id"]: row["form"] for row in corpus_of(release).values()}
    for name, form in (("code", CHAT_FORM), ("replay:code", "plain")):
        assert {forms[doc_id] for row in rows_of(data, name) for doc_id in row["doc_ids"]} == {form}


def test_replay_takes_documents_of_any_stage(data_of, tmp_path, training_settings):
    rows = plain_rows(40, "api_doc", stages=("II",)) + plain_rows(40, "text", stages=("II",))
    stage = training_settings.stages["II"].model_copy(update={"kind_shares": {"api_doc": 1.0}, "replay_share": 0.5})
    plan = data_of("II", release=ReleaseMaker(tmp_path)(rows), stages={"II": stage}).plan
    assert plan["strata"]["replay:text"]["documents"] > 0
    assert plan["strata"]["replay:text"]["draws"] == 12


@pytest.mark.parametrize("shares", [{"poem": 1.0}, {"code": -0.1}, {"code": float("nan")}, {"code": 0.0}])
def test_shares_of_kinds_that_mean_nothing_are_refused(shares):
    with pytest.raises(ValueError, match=r"kind_shares\n.*(poem: not one of the document kinds api_doc|non-negative)"):
        StageSettings(tokens=1, learning_rate=1.0, kind_shares=shares)


def test_a_weight_below_that_of_the_domain_leaves_documents_out(tmp_path, data_of, training_settings):
    rows = [corpus_row("text", words(number, 30) + f" {number}", stages=["I"]) for number in range(400)]
    weight_of = {row["doc_id"]: (0.0, 1.5, 3.0)[number % 3] for number, row in enumerate(rows)}
    recipe = {"domain_shares": {"text": 1.0}, "max_epochs": 1.0, "domain_weights": {"text": 3.0}}
    rows = [row | {"weight": weight_of[row["doc_id"]]} for row in rows]
    release = ReleaseMaker(tmp_path)(rows, files=3, recipe=recipe)
    stage = training_settings.stages["I"].model_copy(update={"tokens": 10**9})
    taken = {}
    for seed in (1, 2):
        data = data_of(release=release, stages={"I": stage}, seed=seed, name=f"weights-{seed}")
        (entry,) = data.plan["strata"].values()
        found = {doc_id for row in rows_of(data, "text") for doc_id in row["doc_ids"]}
        by_weight = Counter(weight_of[doc_id] for doc_id in found)
        assert by_weight[0.0] == 0
        assert by_weight[3.0] == 133
        assert 40 < by_weight[1.5] < 93  # half of 133, five standard deviations
        assert entry["left_out_by_weight"] == 400 - len(found)
        assert entry["documents_not_needed"] == 0
        taken[seed] = found
    assert taken[1] != taken[2]


def test_a_release_without_documents_for_a_stage_is_said_so(data_of, small_release, training_settings):
    with pytest.raises(NoTrainingData, match="stage III"):
        data_of("III", release=dataclasses.replace(small_release, release_id="r-empty", files=()))
    stage = training_settings.stages["I"].model_copy(update={"batch_tokens": 10**6})
    with pytest.raises(NoTrainingData, match="fewer than one batch of 15625"):
        data_of(stages={"I": stage})


# --- accounting ---------------------------------------------------------------------------------------------------

documents = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.integers(1, 90),  # words
        st.sampled_from(["I", "II", "III", "held_out"]),
        st.sampled_from([0.0, 0.5, 1.0]),
        st.booleans(),  # a chat that nobody can learn from
    ),
    min_size=1,
    max_size=40,
)


@given(
    documents,
    st.sampled_from(["I", "II", "III"]),
    st.sampled_from([None, 20]),
    st.sampled_from([0.0, 0.3]),
    st.integers(1, 4000),
)
@settings(max_examples=60, deadline=None)
def test_every_document_and_every_token_is_accounted_for(
    tmp_path_factory, tiny_model, given_, stage, crop, replay, tokens
):
    folder = tmp_path_factory.mktemp("accounts")
    tokenizer, rows = load_tokenizer(tiny_model), {}
    for number, (kind, count, where, weight, is_bad) in enumerate(given_):
        is_chat = where == "III"
        text = words(number, count) + f" {number}"
        if is_chat:
            text = canonical_json({"messages": [{"role": "user", "content": text}]}) if is_bad else chat(number)
        row = corpus_row(
            kind, text, form=CHAT_FORM if is_chat else "plain", split="held_out" if where == "held_out" else "train",
            stages={"I": ["I"], "II": ["I", "II"], "III": ["III"], "held_out": ["I", "II"]}[where],
        )  # fmt: skip
        rows[row["doc_id"]] = row | {"weight": weight}
    release = ReleaseMaker(folder)(list(rows.values()), files=3)
    length = 96
    chosen = StageSettings(
        tokens=tokens, sequence_tokens=length, batch_tokens=length, learning_rate=1.0, replay_share=replay
    )
    training = TrainingSettings(seed=len(given_), max_document_tokens=crop, stages={stage: chosen})
    cache = ShardCache(folder / "cache", open_file, max_bytes=1 << 30)
    try:
        data = stage_data(release, open_file, training, stage, tokenizer, folder / "packed", cache, silent)
    except NoTrainingData:
        return
    finally:
        cache.close()
    names: Counter[str] = Counter()
    for name, entry in data.plan["strata"].items():
        is_replay, kind = name.startswith("replay:"), name.removeprefix("replay:")
        available = {
            doc_id: row
            for doc_id, row in rows.items()
            if row["kind"] == kind and row["split"] == "train"
            and ((row["form"] != CHAT_FORM) if is_replay else (stage in row["stages"]))
        }  # fmt: skip
        packed = list(rows_of(data, name))
        lengths: Counter[str] = Counter()
        for row in packed:
            for number, doc_id in enumerate(row["doc_ids"]):
                lengths[doc_id] += row["document_offsets"][number + 1] - row["document_offsets"][number]
        names.update(lengths.keys())
        assert set(lengths) <= set(available)
        assert entry["documents_available"] == len(available)
        assert entry["documents"] == len(lengths)
        rejected = sum(entry["rejected"].values())
        assert len(available) == (
            entry["left_out_by_weight"] + entry["documents"] + rejected + entry["documents_not_needed"]
        )
        assert min(entry["left_out_by_weight"], entry["documents_not_needed"], rejected) >= 0
        surely_out = sum(row["weight"] == 0.0 and "I" in row["stages"] for row in available.values())
        unsure = sum(row["weight"] == 0.5 and "I" in row["stages"] for row in available.values())
        assert surely_out <= entry["left_out_by_weight"] <= surely_out + unsure
        assert not [doc_id for doc_id in lengths if rows[doc_id]["weight"] == 0.0 and "I" in rows[doc_id]["stages"]]
        assert entry["tokens"] == sum(lengths.values())
        assert entry["sequences"] == len(packed)
        assert entry["sequences"] * length == entry["tokens"] + entry["padding_tokens"]
        assert entry["target_tokens"] == sum(s["end"] - s["start"] for row in packed for s in row["loss_spans"])
        assert entry["draws"] <= entry["epochs"] * entry["sequences"] + 1e-9
        assert entry["epochs"] <= release.recipe["max_epochs"]
        if stage != "III" or is_replay:
            whole = sum(len(tokenizer(rows[doc_id]["text"])["input_ids"]) + 1 for doc_id in lengths)
            assert whole == entry["tokens"] + entry["cropped_tokens"]
    assert set(names.values()) <= {1}  # no document stands in two strata
    assert sum(entry["draws"] for entry in data.plan["strata"].values()) == data.plan["draws"]
    assert data.plan["draws"] <= data.plan["draws_wanted"] == -(-tokens // length)


def counted_reads(monkeypatch) -> list[int]:
    reads: list[int] = []
    read = pq.ParquetFile.read_row_group

    def counting(self, group, *arguments, **named):
        reads.append(group)
        return read(self, group, *arguments, **named)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counting)
    return reads


def test_a_file_of_refused_chats_is_read_a_few_times(tmp_path, data_of, monkeypatch, training_settings):
    """Reference counts promise much more than is there, so that every round takes few documents."""
    bad = [canonical_json({"messages": [{"role": "user", "content": f"u{number}"}]}) for number in range(1000)]
    rows = [corpus_row("trajectory", text, form=CHAT_FORM, stages=["III"]) | {"tokens": 10_000} for text in bad]
    release = ReleaseMaker(tmp_path)(rows, files=1)
    reads = counted_reads(monkeypatch)
    with pytest.raises(NoTrainingData, match=r'"no_assistant_tokens":1000'):
        data_of("III", release=release)
    assert set(reads) == set(range(40))
    assert len(reads) <= 40 * 6  # 1, 2, 4, .. documents: ten rounds, the first ones of a few row groups


def test_every_conversation_has_a_supervised_token(data_of):
    for row in rows_of(data_of("III"), "trajectory"):
        for number, doc_id in enumerate(row["doc_ids"]):
            start, end = row["document_offsets"][number : number + 2]
            assert any(start < span["start"] and span["end"] <= end for span in row["loss_spans"]), doc_id


def test_a_stage_takes_what_it_needs_and_leaves_the_rest(tmp_path, data_of, training_settings):
    rows = [corpus_row("text", words(number, 40) + f" {number}", stages=["I"]) for number in range(300)]
    release = ReleaseMaker(tmp_path)(rows, files=10)
    (entry,) = data_of(release=release).plan["strata"].values()
    assert entry["draws"] * 64 <= entry["tokens"] < entry["draws"] * 64 * 1.2
    assert entry["documents_not_needed"] > 200


@pytest.mark.parametrize("factor", [0.02, 50])
def test_wrong_reference_counts_never_leave_a_stage_short(tmp_path, data_of, training_settings, factor):
    rows = [corpus_row("text", words(number, 40) + f" {number}", stages=["I"]) for number in range(200)]
    rows = [row | {"tokens": max(1, int(row["tokens"] * factor))} for row in rows]
    stage = training_settings.stages["I"].model_copy(update={"tokens": 1600})
    plan = data_of(release=ReleaseMaker(tmp_path)(rows, files=1), stages={"I": stage}).plan
    assert plan["draws"] == plan["draws_wanted"] == 28
    assert plan["strata"]["text"]["epochs"] <= 4.0 if factor < 1 else plan["strata"]["text"]["epochs"] <= 1.0


# --- files --------------------------------------------------------------------------------------------------------


def test_packed_data_is_reused_when_nothing_changed_and_made_again_when_something_did(data_of, tiny_model, tmp_path):
    plan = tmp_path / "packed-I" / "plan.json"
    data_of()
    before = plan.stat().st_mtime_ns
    data_of()
    assert plan.stat().st_mtime_ns == before
    data_of(seed=12)
    assert plan.stat().st_mtime_ns != before
    for changed in ({"chat_template": "{{ messages }}"}, {"unk_token": "<|im_start|>"}):
        before = plan.stat().st_mtime_ns
        tokenizer = load_tokenizer(tiny_model)
        for name, value in changed.items():
            setattr(tokenizer, name, value)
        data_of(seed=12, tokenizer=tokenizer)
        assert plan.stat().st_mtime_ns != before, changed
    before = plan.stat().st_mtime_ns
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.add_tokens(["create user"])
    data_of(seed=12, tokenizer=tokenizer)
    assert plan.stat().st_mtime_ns != before
    assert sorted(path.name for path in tmp_path.glob("*packed*")) == ["packed-I"]


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Killed(BaseException):
    pass


def test_a_killed_packing_leaves_nothing_that_looks_finished_and_gives_the_same_bytes(
    data_of, small_release, training_settings, tiny_model, tmp_path
):
    straight = contents_of(data_of(name="straight").folder)
    asked = 0

    def open_then_die(path):
        nonlocal asked
        asked += 1
        if asked > 1:
            raise Killed
        return open_file(path)

    folder = tmp_path / "broken"
    arguments = training_settings, "I", load_tokenizer(tiny_model), folder
    cache = ShardCache(tmp_path / "dying", open_then_die, max_bytes=1 << 30, prefetch=0)
    with pytest.raises(Killed):
        stage_data(small_release, open_file, *arguments, cache, silent)
    cache.close()
    assert not folder.exists()
    (tmp_path / ".broken.aside").mkdir(exist_ok=True)
    (tmp_path / ".broken.aside" / "text-00000.arrow").write_bytes(b"of a process that was killed")
    assert contents_of(data_of(name="broken").folder) == straight


def test_a_file_that_changed_is_not_the_release(data_of, small_release):
    files = [dataclasses.replace(file, sha256="0" * 64) for file in small_release.files]
    with pytest.raises(CorruptShard, match=f"part-.*{'0' * 64}.*found.*sha256 [0-9a-f]{{64}}"):
        data_of(release=dataclasses.replace(small_release, files=tuple(files)))


def test_a_file_that_was_replaced_after_the_survey_is_not_the_release(data_of, tmp_path):
    rows = [corpus_row("text", words(number, 40) + f" {number}", stages=["I"]) for number in range(60)]
    first = ReleaseMaker(tmp_path)(rows[:40])
    data_of(release=first)
    second = dataclasses.replace(ReleaseMaker(tmp_path)(rows), release_id=first.release_id)
    with pytest.raises(NotTheRelease, match=r"part-.*surveyed"):
        data_of(release=second, name="again")


def test_a_kind_that_does_not_exist_is_said_with_its_file(data_of, tmp_path):
    row = corpus_row("text", "words", stages=["I"]) | {"kind": "poem"}
    with pytest.raises(NotTheRelease, match=r"part-0.*kind poem: not one of api_doc"):
        data_of(release=ReleaseMaker(tmp_path)([row], files=1))


def test_a_full_disk_is_said_and_leaves_nothing(data_of, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pyarrow.OSFile", full)
    with pytest.raises(NoSpace, match="stage I: the packed sequences do not fit"):
        data_of()
    assert not list(tmp_path.glob("*packed-I*"))


def test_the_survey_is_kept_and_read_again_only_for_what_changed(small_release, tmp_path):
    opened: list[str] = []

    def counting(path):
        opened.append(path)
        return open_file(path)

    selection, path = Selection(1, None, {}), tmp_path / "survey.npz"
    stage = StageSettings(tokens=1, learning_rate=1.0)
    first = survey_of(small_release, counting, selection, path)
    again = survey_of(small_release, counting, selection, path)
    assert len(opened) == 2
    shares = [shares_of(survey, "I", stage, small_release.recipe) for survey in (first, again)]
    assert shares[0] == shares[1]
    survey_of(small_release, counting, Selection(2, None, {}), path)
    assert len(opened) == 4


def test_a_survey_that_cannot_be_read_is_made_again(small_release, tmp_path):
    selection, path = Selection(1, None, {}), tmp_path / "survey.npz"
    expected = survey_of(small_release, open_file, selection, path)
    content = path.read_bytes()
    with np.load(path) as kept:
        key = kept["key"]
    broken = [b"", b"PK", content[: len(content) // 2], b"\x93NUMPY\x01\x00"]
    broken += [content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :] for at in range(0, len(content), 9)]
    for counts in (np.zeros((2, 2, 5)), np.zeros((3, *np.shape(expected._counts)[1:]), dtype=np.int64)):
        np.savez(tmp_path / "other.npz", counts=counts, key=key)
        broken.append((tmp_path / "other.npz").read_bytes())
    np.savez(tmp_path / "other.npz", key=key)
    broken.append((tmp_path / "other.npz").read_bytes())
    for found in broken:
        path.write_bytes(found)
        again = survey_of(small_release, open_file, selection, path)
        assert np.array_equal(again._counts, expected._counts)
    assert not list(tmp_path.glob(".survey*"))


def test_files_without_what_is_needed_are_never_fetched(data_of, tmp_path, training_settings, tiny_model):
    rows = {
        kind: [corpus_row(kind, words(number, 40) + f" {kind}{number}", stages=["I"]) for number in range(40)]
        for kind in ("code", "text")
    }
    for kind in ("code", "text"):
        (tmp_path / kind).mkdir()
        rows[kind] = ReleaseMaker(tmp_path / kind)(rows[kind], files=2).files
    release = dataclasses.replace(ReleaseMaker(tmp_path)([], files=0), files=(*rows["code"], *rows["text"]))
    fetched: list[str] = []

    def counting(path):
        fetched.append(path)
        return open_file(path)

    stage = training_settings.stages["I"].model_copy(update={"kind_shares": {"text": 1.0}})
    training = training_settings.model_copy(update={"stages": {"I": stage}})
    cache = ShardCache(tmp_path / "counted", counting, max_bytes=1 << 30)
    stage_data(release, open_file, training, "I", load_tokenizer(tiny_model), tmp_path / "p", cache, silent)
    cache.close()
    assert {Path(path).parent.name for path in fetched} == {"text"}
    assert len(fetched) == len(set(fetched))


def fetched_order(data_of, release, tmp_path, name: str, stage: str = "I", **changes) -> list[str]:
    fetched: list[str] = []

    def counting(path):
        fetched.append(Path(path).name)
        return open_file(path)

    cache = ShardCache(tmp_path / f"cache-{name}", counting, max_bytes=1 << 30, prefetch=0)
    data_of(stage, release=release, name=name, cache=cache, **changes)
    cache.close()
    return fetched


def test_files_and_documents_come_in_an_order_of_the_seed(data_of, tmp_path, training_settings):
    release = ReleaseMaker(tmp_path)(plain_rows(200), files=20)
    every = training_settings.stages["I"].model_copy(update={"tokens": 10**6})
    orders = [
        fetched_order(data_of, release, tmp_path, f"all-{seed}", seed=seed, stages={"I": every}) for seed in (1, 2)
    ]
    names = [Path(file.path).name for file in release.files]
    assert [sorted(order) for order in orders] == [sorted(names)] * 2
    assert names not in orders
    assert orders[0] != orders[1]
    (tmp_path / "one").mkdir()
    release = ReleaseMaker(tmp_path / "one")(plain_rows(200), files=1)
    place = {doc_id: number for number, doc_id in enumerate(corpus_of(release))}
    taken = []
    for seed in (1, 2):
        data = data_of(release=release, seed=seed, name=f"few-{seed}")
        taken.append({place[doc_id] for row in rows_of(data, "text") for doc_id in row["doc_ids"]})
        assert 20 < len(taken[-1]) < 80
        assert max(taken[-1]) > 150  # from the whole file, not its first ones
    assert taken[0] != taken[1]


def test_the_next_file_is_fetched_while_one_is_read(data_of, tmp_path):
    release = ReleaseMaker(tmp_path)(plain_rows(60), files=6)
    opened: list[tuple[str, str]] = []
    is_ahead = threading.Event()

    def watched(path):
        thread = threading.current_thread().name
        opened.append((thread, path))
        if thread == "shard prefetch":
            is_ahead.set()
        elif len(opened) == 1:
            is_ahead.wait(10.0)  # prefetching was asked for before this one
        return open_file(path)

    cache = ShardCache(tmp_path / "watched", watched, max_bytes=1 << 30, prefetch=2)
    try:
        data_of(release=release, cache=cache)
    finally:
        cache.close()
    assert is_ahead.is_set()
    assert len({path for _, path in opened}) == len(opened)


class StopAsked(Exception):
    pass


@pytest.mark.parametrize("beats", [0, 1, 4, 9])
def test_a_beat_that_raises_ends_packing_and_leaves_nothing_that_looks_finished(
    data_of, small_release, tmp_path, shard_cache, beats, monkeypatch
):
    monkeypatch.setattr("training.packing_run._BATCH_CHARACTERS", 500)
    left = beats

    def beat():
        nonlocal left
        left -= 1
        if left < 0:
            raise StopAsked

    with pytest.raises(StopAsked):
        data_of(beat=beat)
    assert not list(tmp_path.glob("*packed*"))
    shard_cache.close()
    assert {thread.name for thread in threading.enumerate() if "shard" in thread.name or "Pool" in thread.name} == set()
    cache = ShardCache(tmp_path / "again", open_file, max_bytes=1 << 30)
    beaten: list[float] = []
    again = data_of(cache=cache, beat=lambda: beaten.append(time.monotonic()))
    cache.close()
    assert len(beaten) > 9
    assert again.plan["draws"] == again.plan["draws_wanted"]


def test_packing_that_waits_for_a_store_gives_signs_of_life_and_can_be_stopped(
    data_of, tmp_path, small_release, monkeypatch
):
    monkeypatch.setattr("training.waiting._BEAT_SECONDS", 0.02)
    told = 0

    class Slow:
        """A store that gives a byte at a time."""

        def __init__(self, path):
            self.file = open_file(path)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def read(self, _size=-1):
            time.sleep(0.01)
            return self.file.read(1)

    def beat():
        nonlocal told
        told += 1
        if told == 20:
            raise StopAsked

    cache = ShardCache(tmp_path / "slow", Slow, max_bytes=1 << 30)
    started = time.monotonic()
    with pytest.raises(StopAsked):
        data_of(cache=cache, beat=beat)
    assert time.monotonic() - started < 10.0
    cache.close()
    assert not list(tmp_path.glob("*packed*"))
    assert not [thread for thread in threading.enumerate() if "shard" in thread.name]


def test_progress_is_told(data_of):
    said: list[str] = []
    data_of(say=said.append)
    assert any(line.startswith("stage I: packed: ") and line.endswith("tokens/s") for line in said)
