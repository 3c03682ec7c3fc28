"""The data of one stage of one run: chosen, tokenised, packed once into the folder ``packed-<stage>/``.

    plan.json                 which strata there are, their shares, shards and draws, what was cropped and rejected
    <stratum>-00000.arrow     their sequences (:mod:`training.packed_shards`)

A stratum holds documents of one kind; ``replay:<kind>`` holds general documents against forgetting. Only what the stage
needs is tokenised. The folder is a pure function of (release, stage settings, seed, tokenizer); no time stands in it.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from forge.config import StageSettings, TrainingSettings
from forge.schema import DOMAIN_OF_KIND, KINDS, canonical_json, content_hash
from training.base_model import end_of_document, tokenizer_hash
from training.chat import prompt_hash
from training.corpus_input import Release, Selection, Stratum, Survey, survey_of
from training.files import sync_folder
from training.packed_shards import SHARD_BYTES, PackedShard, PackedShards
from training.packing_run import PackingRun, Tally
from training.schedule import quotas
from training.shard import OpenFile
from training.shard_cache import NoSpace, ShardCache
from training.waiting import no_beat

PACKING_VERSION = "3"
REPLAY = "replay:"
REPLAY_DOMAINS = ("code", "text")
SEQUENCE_ID_SPAN = 1 << 32
"""Sequences of a stratum are numbered from a multiple of this, so that ids are known before all strata are packed."""

# Tokens beyond the need: the need is measured by the release's reference tokenizer, and a stratum that falls short
# hands its draws on to the others.
_MARGIN = 1.05
_INT32_BYTES = 4


class NoTrainingData(Exception):
    """The release has not enough documents for this stage."""


@dataclass(frozen=True)
class StageData:
    """Packed sequences of a stage. ``plan["strata"][name]``: kind, first, sequences, shards, draws and the counts of a
    stratum."""

    folder: Path
    plan: Mapping[str, Any]
    _shards: PackedShards = field(repr=False)

    @property
    def sequence_tokens(self) -> int:
        return int(self.plan["sequence_tokens"])

    @property
    def sequences_per_shard(self) -> int:
        return int(self.plan["sequences_per_shard"])

    @property
    def max_pieces(self) -> int:
        """The most pieces that a sequence has, its padding counted as one."""
        return int(self.plan["max_pieces"])

    def shard(self, stratum: str, number: int) -> PackedShard:
        """Raises :class:`training.packed_shards.BadPackedShard` when the file is absent or not what was packed."""
        return self._shards.shard(stratum, number)


def stage_data(
    release: Release,
    open_file: OpenFile,
    training: TrainingSettings,
    stage: str,
    tokenizer: Any,
    folder: Path,
    cache: ShardCache,
    say: Callable[[str], None] = print,
    *,
    beat: Callable[[], None] = no_beat,
    shard_bytes: int = SHARD_BYTES,
) -> StageData:
    """The stage's data, packed now unless ``folder`` holds it already.

    Written aside and renamed: a killed packing leaves nothing that looks finished, and its next start gives the same
    bytes. ``beat`` is called at least every few seconds of packing; what it raises ends the packing, and closes
    ``cache`` when a shard is just being fetched. Raises :class:`NoTrainingData`,
    :class:`training.corpus_input.NotTheRelease`, :class:`training.shard_cache.ShardError`.
    """
    chosen = training.stages[stage]  # type: ignore[index]
    key = content_hash(
        PACKING_VERSION,
        release.release_id,
        stage,
        canonical_json(
            chosen.model_dump(include={"tokens", "sequence_tokens", "batch_tokens", "kind_shares", "replay_share"})
        ),
        canonical_json([training.seed, training.max_document_tokens, shard_bytes, dict(release.recipe)]),
        tokenizer_hash(tokenizer),
        prompt_hash(tokenizer),
    )
    if (folder / "plan.json").is_file():
        found = read_stage_data(folder)
        if found.plan.get("key") == key:
            return found
    selection = Selection(training.seed, training.max_document_tokens, release.recipe.get("domain_weights") or {})
    survey = survey_of(release, open_file, selection, folder.parent / "survey.npz", beat)
    shares = shares_of(survey, stage, chosen, release.recipe)
    if not any(stratum.stage for stratum in shares) and (chosen.replay_share < 1.0 or not shares):
        of_kinds = f" of kinds {', '.join(sorted(chosen.kind_shares))}" if chosen.kind_shares else ""
        raise NoTrainingData(f"release {release.release_id}: no training document for stage {stage}{of_kinds}")
    own = {stratum.kind for stratum in shares if stratum.stage}
    for kind in sorted(kind for kind, share in chosen.kind_shares.items() if share and kind not in own):
        say(f"stage {stage}: no document of kind {kind}, its share of {chosen.kind_shares[kind]:g} goes to the others")
    aside = folder.with_name(f".{folder.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        plan = _pack(
            release, training, stage, chosen, tokenizer, survey, selection, shares, aside, cache, shard_bytes, say, beat
        )
        beat()
        (aside / "plan.json").write_bytes(orjson.dumps(plan | {"key": key}, option=orjson.OPT_INDENT_2))
        sync_folder(aside)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise NoSpace(f"stage {stage}: the packed sequences do not fit {folder.parent}: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return read_stage_data(folder)


def read_stage_data(folder: Path) -> StageData:
    """What lies in a folder that :func:`stage_data` made."""
    plan = orjson.loads((folder / "plan.json").read_bytes())
    return StageData(folder, plan, PackedShards(folder, plan["strata"], plan["sequence_tokens"]))


def shares_of(survey: Survey, stage: str, chosen: StageSettings, recipe: Mapping[str, Any]) -> dict[Stratum, float]:
    """The stage's strata that have documents, and their shares of its tokens, in the order of their names.

    A kind that the stage takes anyhow, in the same form, has no stratum of its own for replay: its share grows, so no
    document stands in two strata.
    """
    domain_shares: Mapping[str, float] = recipe.get("domain_shares") or {}
    own: dict[str, Stratum] = {kind: Stratum(kind, kind, stage) for kind in KINDS}
    tokens = {kind: survey.tokens(stratum) for kind, stratum in own.items()}
    by_kind: dict[str, float]
    if chosen.kind_shares:
        by_kind = {kind: chosen.kind_shares.get(kind, 0.0) for kind in KINDS if tokens[kind]}
    else:
        by_kind = _by_tokens(tokens, domain_shares)
    shares = {own[kind]: share for kind, share in _scaled(by_kind, 1.0 - chosen.replay_share).items()}
    if chosen.replay_share:
        general: dict[str, Stratum] = {
            kind: Stratum(REPLAY + kind, kind, "") for kind in KINDS if DOMAIN_OF_KIND[kind] in REPLAY_DOMAINS
        }
        replay = _by_tokens({kind: survey.tokens(stratum) for kind, stratum in general.items()}, domain_shares)
        for kind, share in _scaled(replay, chosen.replay_share).items():
            is_taken_anyhow = own[kind] in shares and own[kind].is_chat == general[kind].is_chat
            stratum = own[kind] if is_taken_anyhow else general[kind]
            shares[stratum] = shares.get(stratum, 0.0) + share
    total = sum(shares.values())
    return {stratum: shares[stratum] / total for stratum in sorted(shares, key=lambda stratum: stratum.name)}


def _by_tokens(tokens: Mapping[str, int], domain_shares: Mapping[str, float]) -> dict[str, float]:
    """Shares of domains, split over the kinds of each domain by their tokens."""
    domains = {DOMAIN_OF_KIND[kind] for kind, count in tokens.items() if count}
    known: dict[str, float] = {domain: float(domain_shares.get(domain, 0.0)) for domain in domains}
    if not any(known.values()):  # domains that the recipe does not name
        known = dict.fromkeys(domains, 1.0)
    total = dict.fromkeys(domains, 0)
    for kind, count in tokens.items():
        if count:
            total[DOMAIN_OF_KIND[kind]] += count
    return {
        kind: known[DOMAIN_OF_KIND[kind]] * count / total[DOMAIN_OF_KIND[kind]]
        for kind, count in tokens.items()
        if count
    }


def _scaled(shares: Mapping[str, float], total: float) -> dict[str, float]:
    found = sum(shares.values())
    return {name: share * total / found for name, share in shares.items() if share * total > 0} if found else {}


def _pack(
    release: Release,
    training: TrainingSettings,
    stage: str,
    chosen: StageSettings,
    tokenizer: Any,
    survey: Survey,
    selection: Selection,
    shares: Mapping[Stratum, float],
    folder: Path,
    cache: ShardCache,
    shard_bytes: int,
    say: Callable[[str], None],
    beat: Callable[[], None],
) -> dict[str, Any]:
    """Pack into ``folder``; returns the plan."""
    length = chosen.sequence_tokens
    batch_sequences = max(1, chosen.batch_tokens // length)
    draws = -(-chosen.tokens // (batch_sequences * length)) * batch_sequences
    max_epochs = float(release.recipe.get("max_epochs", 4.0))
    share_of = {stratum.name: share for stratum, share in shares.items()}
    # The release's own token counts are good enough to choose documents; the draws follow from what was packed
    wanted = quotas(
        draws,
        share_of,
        {stratum.name: max(1, int(max_epochs * survey.tokens(stratum) / length)) for stratum in shares},
    )
    needs = {stratum: int(wanted[stratum.name] * length * _MARGIN) for stratum in shares if wanted[stratum.name]}
    sequences_per_shard = max(1, shard_bytes // (_INT32_BYTES * length))
    run = PackingRun(
        release=release,
        stage=stage,
        seed=training.seed,
        selection=selection,
        survey=survey,
        tokenizer=tokenizer,
        sequence_tokens=length,
        padding_id=end_of_document(tokenizer),
        prefetch_files=training.prefetch_shards,
        say=say,
        beat=beat,
    )
    for number, stratum in enumerate(shares):
        run.open_stratum(stratum, needs.get(stratum, 0), folder, sequences_per_shard, number * SEQUENCE_ID_SPAN)
    tallies = run.pack(cache)
    plan: dict[str, Any] = {
        "release_id": release.release_id,
        "stage": stage,
        "sequence_tokens": length,
        "sequences_per_shard": sequences_per_shard,
        "max_pieces": max((tally.max_pieces for tally in tallies.values()), default=1),
        "strata": {
            stratum.name: _entry(stratum, share_of[stratum.name], survey, tallies[stratum], number)
            for number, stratum in enumerate(shares)
        },
    }
    given = quotas(
        draws, share_of, {name: int(max_epochs * entry["sequences"]) for name, entry in plan["strata"].items()}
    )
    total = sum(given.values())
    if total < batch_sequences:
        raise NoTrainingData(
            f"release {release.release_id}: stage {stage}: {total} sequences of {length} tokens at {max_epochs:g} "
            f"epochs are fewer than one batch of {batch_sequences}: {canonical_json(plan['strata'])}"
        )
    for name, entry in plan["strata"].items():
        entry["draws"] = given[name]
        entry["share"] = given[name] / total
        entry["epochs"] = given[name] / entry["sequences"] if entry["sequences"] else 0.0
    return plan | {"draws_wanted": draws, "draws": total}


def _entry(stratum: Stratum, share: float, survey: Survey, tally: Tally, number: int) -> dict[str, Any]:
    """A stratum's part of the plan. Documents available = left out by weight + packed + rejected + not needed."""
    left_out, taken = survey.left_out(stratum), int(survey.documents(stratum).sum())
    rejected = sum(tally.rejected.values())
    return {
        "kind": stratum.kind,
        "domain": DOMAIN_OF_KIND[stratum.kind],
        "first": number * SEQUENCE_ID_SPAN,
        "sequences": sum(shard["sequences"] for shard in tally.shards),
        "shards": tally.shards,
        "share_wanted": share,
        "documents_available": taken + left_out,
        "left_out_by_weight": left_out,
        "documents": tally.documents,
        "rejected": dict(sorted(tally.rejected.items())),
        "documents_not_needed": taken - tally.documents - rejected,
        "tokens": tally.tokens,
        "target_tokens": tally.target_tokens,
        "padding_tokens": tally.padding_tokens,
        "cropped_tokens": tally.cropped_tokens,
        "dropped_tools": tally.dropped_tools,
    }
