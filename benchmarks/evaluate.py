"""How fast answers are generated and checked, beside transformers and BFCL's own checker.

``decoding``: SmolLM2-135M-Instruct in float32 on two threads answers prompts of BFCL's ``simple_python`` greedily, at
most as many tokens as an evaluation asks for by default (128), until each answer ends. The arms take turns in blocks of
other prompts, so that a busy machine slows all of them; ratios are of the seconds (and CPU seconds) of one block, their
median, least and most. Peers get prompts that are tokenised already:

- ``transformers_one``: ``generate``, one prompt at a time;
- ``transformers_batched``: ``generate`` in batches as large as ours, padded on the left, in the order given, with the
  faster of its dynamic and its static cache;
- ``transformers_sorted``: the same after sorting by length.

Ours and ``transformers_one`` have to give the same texts but for decisions that we count as ties. ``checking``: gold
answers to all 3,641 single-turn items, by ours and by BFCL's decoder and checker, which is left out where its
requirements are not installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.bars import Bar, bar_lines
from benchmarks.child import measured_in_a_child
from benchmarks.machine import machine, versions

if TYPE_CHECKING:
    from training.evaluation.bfcl.data import BfclItem
    from training.evaluation.subject import Conversation

SECTIONS = ("decoding", "checking")
PEERS = ("transformers_one", "transformers_batched", "transformers_sorted")
LIMITS: Mapping[str, float] = {"transformers_one": 3.0, "transformers_batched": 1.2}
"""Least ratio of a peer's seconds by ours."""
MAX_CHECKING_SECONDS = 2.0
THREADS = 2
BATCH_ITEMS = 16
MAX_NEW_TOKENS = 128
CACHE_TRIAL_TOKENS = 16
CHECKING_PASSES = 5
_PACKAGES = ("torch", "transformers", "tokenizers")

Texts = list[str]


def _artifact() -> Path:
    from forge.artifacts import artifact_path
    from forge.config import load_settings

    folder = artifact_path(load_settings("demo"), "bfcl")
    if folder is None:
        raise SystemExit("benchmarks.evaluate: artifact bfcl is missing; `python -m forge.artifacts` fetches it")
    return folder


# --- decoding -----------------------------------------------------------------------------------------------------


class Arms:
    """One model; each arm answers conversations with texts in their order."""

    def __init__(self) -> None:
        import torch

        from forge.config import load_settings
        from training.base_model import base_model_of, load_model, load_tokenizer

        torch.set_num_threads(THREADS)
        folder = base_model_of(load_settings("demo")).folder
        self.model = load_model(folder).eval()
        self.tokenizer = load_tokenizer(folder)
        self.cache: str | None = None
        self.ties = 0

    def ours(self, conversations: Sequence[Conversation]) -> Texts:
        """With rendering, tokenising and the layout of the weights."""
        from training.evaluation.decoding import GreedyDecoder

        decoder = GreedyDecoder(self.model, self.tokenizer, BATCH_ITEMS)
        found = dict(decoder.answers(conversations, max_new_tokens=MAX_NEW_TOKENS))
        self.ties += decoder.ties
        return [found[place] for place in range(len(conversations))]

    def transformers_one(self, prompts: Sequence[list[int]]) -> Texts:
        return [text for prompt in prompts for text in self._generated([prompt], None)]

    def transformers_batched(self, prompts: Sequence[list[int]]) -> Texts:
        batches = (prompts[start : start + BATCH_ITEMS] for start in range(0, len(prompts), BATCH_ITEMS))
        return [text for batch in batches for text in self._generated(batch, self.cache)]

    def transformers_sorted(self, prompts: Sequence[list[int]]) -> Texts:
        order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
        found = dict(zip(order, self.transformers_batched([prompts[place] for place in order]), strict=True))
        return [found[place] for place in range(len(prompts))]

    def choose_cache(self, prompts: Sequence[list[int]]) -> dict[str, float]:
        """Use the faster cache of transformers from now on; CPU seconds of the start of a batch with each."""
        found: dict[str, float] = {}
        self._generated(prompts[:1], None, CACHE_TRIAL_TOKENS)
        for cache in ("dynamic", "static"):
            started = time.process_time()
            self._generated(prompts[:BATCH_ITEMS], None if cache == "dynamic" else cache, CACHE_TRIAL_TOKENS)
            found[cache] = round(time.process_time() - started, 2)
        print(f"benchmarks.evaluate: CPU seconds by cache: {found}", file=sys.stderr, flush=True)
        self.cache = None if found["dynamic"] <= found["static"] else "static"
        return found

    def _generated(self, batch: Sequence[list[int]], cache: str | None, max_new_tokens: int = MAX_NEW_TOKENS) -> Texts:
        import torch
        from transformers import GenerationConfig

        end = self.tokenizer.eos_token_id
        longest = max(map(len, batch))
        ids = torch.tensor([[end] * (longest - len(prompt)) + prompt for prompt in batch])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch])
        configuration = GenerationConfig(
            do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=end, pad_token_id=end,
            cache_implementation=cache,
        )  # fmt: skip
        with torch.inference_mode():
            written = self.model.generate(ids, attention_mask=mask, generation_config=configuration)
        answers = [tokens[: tokens.index(end)] if end in tokens else tokens for tokens in written[:, longest:].tolist()]
        return [str(self.tokenizer.decode(answer)) for answer in answers]


def _conversations(count: int) -> list[Conversation]:
    from training.evaluation.bfcl.data import bfcl_items, sample
    from training.evaluation.subject import Conversation

    items = sample(bfcl_items(_artifact(), ["simple_python"]), count, 0, "benchmark")
    return [Conversation(item.tools, item.messages) for item in items]


def _timed(arm: Callable[[Sequence[Any]], Texts], asked: Sequence[Any]) -> tuple[Texts, dict[str, float]]:
    started, used = time.monotonic(), time.process_time()
    texts = arm(asked)
    return texts, {
        "seconds": round(time.monotonic() - started, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
    }


def measure_decoding(blocks: int, block_prompts: int, peers: Sequence[str]) -> dict[str, Any]:
    from training.chat import prompt_ids

    arms = Arms()
    conversations = _conversations((blocks + 1) * block_prompts)
    prompts = [prompt_ids(arms.tokenizer, asked.tools, asked.messages) for asked in conversations]
    arms.ours(conversations[:2])
    caches = arms.choose_cache(prompts[:block_prompts])
    arms.ties = 0
    names = ("ours", *peers)
    times: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    new_tokens: list[int] = []
    same_texts = dict.fromkeys(peers, 0)
    for block in range(1, blocks + 1):
        part = slice(block * block_prompts, (block + 1) * block_prompts)
        texts: dict[str, Texts] = {}
        turns = names[block % len(names) :] + names[: block % len(names)]
        for name in turns:
            asked: Sequence[Any] = conversations[part] if name == "ours" else prompts[part]
            texts[name], found = _timed(getattr(arms, name), asked)
            times[name].append(found)
            print(f"benchmarks.evaluate: block {block}, {name}: {found}", file=sys.stderr, flush=True)
        new_tokens += [len(arms.tokenizer(text).input_ids) for text in texts["ours"]]
        for name in peers:
            same_texts[name] += sum(map(str.__eq__, texts["ours"], texts[name]))
    lengths = [len(prompt) for prompt in prompts[block_prompts:]]
    return {
        "threads": THREADS,
        "batch_items": BATCH_ITEMS,
        "max_new_tokens": MAX_NEW_TOKENS,
        "prompts": blocks * block_prompts,
        "prompt_tokens": {"mean": round(statistics.fmean(lengths), 1), "most": max(lengths)},
        "new_tokens": {"mean": round(statistics.fmean(new_tokens), 1), "sum": sum(new_tokens)},
        "ties": arms.ties,
        "cache_cpu_seconds": caches,
        "same_texts": same_texts,
        "blocks": times,
    }


# --- checking -----------------------------------------------------------------------------------------------------


def measure_checking() -> dict[str, Any]:
    from training.evaluation.bfcl.checker import Checker
    from training.evaluation.bfcl.data import bfcl_items

    folder = _artifact()
    items = [(item, item.gold_call) for item in bfcl_items(folder)]
    checker = Checker.of(folder)
    ours = [_checked(lambda item, text: checker.check(item, text).right, items) for _ in range(CHECKING_PASSES)]
    found = {"items": len(items), "right": ours[0]["right"], "passes": [one["seconds"] for one in ours]}
    official = _official(folder)
    if official is None:
        return found
    theirs = [_checked(official, items) for _ in range(CHECKING_PASSES)]
    return found | {"bfcl_eval": {"right": theirs[0]["right"], "passes": [one["seconds"] for one in theirs]}}


def _checked(
    is_right: Callable[[BfclItem, str], bool], items: Sequence[tuple[BfclItem, str]]
) -> dict[str, float | int]:
    started = time.monotonic()
    right = sum(is_right(item, text) for item, text in items)
    return {"right": right, "seconds": round(time.monotonic() - started, 3)}


def _official(folder: Path) -> Callable[[BfclItem, str], bool] | None:
    """BFCL's decoder and checker, without its table of models, which imports every vendor's client. They evaluate what
    they read, so they get gold answers only."""
    from training.evaluation.bfcl.data import RELEVANCE_CATEGORIES

    models: Any = types.ModuleType("bfcl_eval.constants.model_config")
    models.MODEL_CONFIG_MAPPING = {"any": types.SimpleNamespace(underscore_to_dot=False)}
    sys.modules[models.__name__] = models
    sys.path.insert(0, str(folder))
    try:
        compare = importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker").ast_checker
        decode = importlib.import_module("bfcl_eval.model_handler.utils").default_decode_ast_prompting
        enums = importlib.import_module("bfcl_eval.constants.enums")
    except ImportError as error:
        print(f"benchmarks.evaluate: BFCL's checker is left out: {error}", file=sys.stderr)
        return None
    finally:
        sys.path.remove(str(folder))

    def is_right(item: BfclItem, text: str) -> bool:
        try:
            decoded = decode(text, enums.ReturnFormat(item.language))
            if item.category in RELEVANCE_CATEGORIES:
                return bool(decoded) is (item.category == "live_relevance")
            language = enums.Language(item.language)
            return bool(compare(item.functions, decoded, item.ground_truth, language, item.category, "any")["valid"])
        except Exception:  # noqa: BLE001  (as in BFCL's own run)
            return item.category in RELEVANCE_CATEGORIES and item.category != "live_relevance"

    return is_right


# --- the whole run ------------------------------------------------------------------------------------------------


def ratios(blocks: Mapping[str, Sequence[Mapping[str, float]]], measure: str) -> dict[str, dict[str, float]]:
    """For each peer its seconds by ours: median, least and most over blocks."""
    found = {}
    for name in (name for name in PEERS if name in blocks):
        each = [theirs[measure] / ours[measure] for theirs, ours in zip(blocks[name], blocks["ours"], strict=True)]
        found[name] = {
            "median": round(statistics.median(each), 2), "least": round(min(each), 2), "most": round(max(each), 2)
        }  # fmt: skip
    return found


def report(measured: Mapping[str, Any]) -> dict[str, Any]:
    """What the sections measured, and whether it reaches the bars."""
    bars = []
    compared = {}
    if "decoding" in measured:
        decoding = measured["decoding"]
        compared = {measure: ratios(decoding["blocks"], measure) for measure in ("seconds", "cpu_seconds")}
        bars += [
            Bar(f"{name} / ours", compared["seconds"][name]["median"], limit, is_minimum=True)
            for name, limit in LIMITS.items()
            if name in decoding["blocks"]
        ]
        if "transformers_one" in decoding["blocks"]:
            others = decoding["prompts"] - decoding["same_texts"]["transformers_one"]
            bars.append(Bar("answers unlike transformers_one's", others, decoding["ties"]))
    if "checking" in measured:
        checking = measured["checking"]
        bars.append(
            Bar("seconds to check all gold answers", statistics.median(checking["passes"]), MAX_CHECKING_SECONDS)
        )
        bars.append(Bar("gold answers checked", checking["items"], 3_641, is_minimum=True))
    return {
        "name": "evaluate",
        "machine": machine(),
        "versions": versions(_PACKAGES),
        **measured,
        "ratios": compared,
        "bars": [bar.row() for bar in bars],
    }


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    if "decoding" in result:
        found = result["decoding"]
        yield (
            f"{found['prompts']} prompts of {found['prompt_tokens']['mean']} tokens, answers of "
            f"{found['new_tokens']['mean']} tokens, {found['ties']} ties"
        )
        for name, blocks in found["blocks"].items():
            seconds = statistics.median(block["seconds"] for block in blocks)
            cpu = statistics.median(block["cpu_seconds"] for block in blocks)
            same = "" if name == "ours" else f"{found['same_texts'][name]:>5} same texts"
            yield f"{name:<22}{seconds:>9.1f} s{cpu:>9.1f} CPU s{same}"
        for measure, peers in result["ratios"].items():
            for name, ratio in peers.items():
                yield f"{name} / ours, {measure}: {ratio['median']} ({ratio['least']} .. {ratio['most']})"
    for name, checked in _checkers(result):
        yield f"{name:<22}{statistics.median(checked['passes']):>9.3f} s, {checked['right']:,} gold answers right"
    yield from bar_lines(result["bars"])


def _checkers(result: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "checking" in result:
        yield "checking", result["checking"]
        if "bfcl_eval" in result["checking"]:
            yield "checking, bfcl_eval", result["checking"]["bfcl_eval"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="sections that are run")
    parser.add_argument("--blocks", type=int, default=3, help="turns of each arm of decoding")
    parser.add_argument("--block-prompts", type=int, default=4 * BATCH_ITEMS, help="prompts in a block")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS, help="arms beside ours")
    parser.add_argument("--measure", choices=SECTIONS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.measure:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        decodes = chosen.measure == "decoding"
        json.dump(
            measure_decoding(chosen.blocks, chosen.block_prompts, chosen.peers) if decodes else measure_checking(),
            sys.stdout,
        )
        return 0
    size = ("--blocks", str(chosen.blocks), "--block-prompts", str(chosen.block_prompts), "--peers", *chosen.peers)
    result = report(
        {name: measured_in_a_child("benchmarks.evaluate", name, *size) for name in SECTIONS if name in chosen.only}
    )
    print(json.dumps(result, indent=2) if chosen.json else "\n".join(_table(result)))
    return 0 if all(bar["passed"] for bar in result["bars"]) else 1


if __name__ == "__main__":
    sys.exit(main())
