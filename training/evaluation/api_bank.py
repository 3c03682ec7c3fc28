"""API-Bank, level 1: in a dialogue with the APIs described, the model writes the next call; the call is executed.

389 calls (Li et al., EMNLP 2023; DAMO-ConvAI/api-bank, ``lv1-lv2-samples/level-1-given-desc``). An API compares what a
call returned with what the gold call returned, each over a fresh copy of its first database, as API-Bank's evaluator
does; its code runs isolated (:mod:`training.evaluation.api_bank_program`), without a network, so calls that need one
cannot succeed. Gold calls do not all pass their own check: accuracy is bounded by their share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from forge.config import Settings
from forge.schema import content_hash
from training.chat import render_calls
from training.evaluation.isolation import Bounds, Isolated, IsolationError, LimitReached, ProgramError
from training.evaluation.python_calls import NotCalls, calls_of
from training.evaluation.records import ItemRecord
from training.evaluation.subject import Conversation, LocalSubject, Subject
from training.evaluation.task import NotEvaluated, Task, sample
from training.files import file_sha256
from training.run import Run

VERSION = "1"
CATEGORY = "level-1"
DIALOGUES = Path("lv1-lv2-samples/level-1-given-desc")
NEEDED = (Path("apis/api.py"), Path("init_database"), DIALOGUES)
INSTRUCTION = "Write the API request that comes next in the conversation: one call, nothing else. This year is 2023."
"""What API-Bank's own prompt asks for; the form of a call is said where the APIs are described."""
BOUNDS = Bounds(request_seconds=60, processor_seconds=1, memory_bytes=1 << 30, response_bytes=1 << 20)


@dataclass(frozen=True, slots=True)
class ApiBankItem:
    """``history``: the lines of the dialogue before the call; ``api_names``: the APIs that the dialogue calls, as they
    first occur; ``arguments`` and ``result`` are the gold call's."""

    item_id: str
    api_names: tuple[str, ...]
    history: Sequence[Mapping[str, Any]]
    name: str
    arguments: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def gold_call(self) -> str:
        return render_calls([(self.name, self.arguments)])

    def conversation(self, tools: Mapping[str, Mapping[str, Any]]) -> Conversation:
        """The dialogue so far, earlier calls with what they returned."""
        messages: list[dict[str, Any]] = [{"role": "system", "content": INSTRUCTION}]
        for line in self.history:
            if line["role"] == "API":
                call = {"name": line["api_name"], "arguments": line["param_dict"]}
                if messages[-1]["role"] == "assistant":
                    messages[-1]["calls"] = [call]
                else:
                    messages.append({"role": "assistant", "content": None, "calls": [call]})
                messages.append({"role": "tool", "content": str(line["result"]["output"])})
            else:
                role = "user" if line["role"] == "User" else "assistant"
                messages.append({"role": role, "content": line["text"]})
        return Conversation([tools[name] for name in self.api_names if name in tools], messages)


def api_bank_items(folder: Path) -> list[ApiBankItem]:
    """The calls of all dialogues, by file name."""
    items = []
    for path in sorted((folder / DIALOGUES).glob("*.jsonl")):
        lines = [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
        names = tuple(dict.fromkeys(line["api_name"] for line in lines if line["role"] == "API"))
        items += [
            ApiBankItem(
                f"{path.stem}:{place}", names, lines[:place], line["api_name"], line["param_dict"], line["result"]
            )
            for place, line in enumerate(lines)
            if line["role"] == "API"
        ]
    return items


def task(settings: Settings, _run: Run | None, max_items: int) -> Task:
    """Task ``api_bank``. Measures: ``accuracy``; ``decodable``: the answer is one call."""
    folder = _folder(settings)
    every = api_bank_items(folder)
    items = _chosen(every, settings, max_items)
    max_new_tokens = settings.evaluation.generation_max_new_tokens
    tools, absent = _described(folder)

    def measure(subject: Subject, ids: Sequence[str]) -> Iterator[ItemRecord]:
        asked = [items[item_id] for item_id in ids]
        conversations = [item.conversation(tools) for item in asked]
        with apis(folder) as program:
            for place, text in subject.answers(conversations, max_new_tokens=max_new_tokens):
                yield record_of(program, asked[place], text)

    return Task(
        name="api_bank",
        key=content_hash(VERSION, _identity(folder), str(max_new_tokens), str(BOUNDS), *absent, *items),
        item_ids=list(items),
        measure=measure,
        notes={
            "data": "API-Bank, level-1-given-desc",
            "items in all": len(every),
            "protocol": "the next call of a dialogue, executed without network over a fresh database",
            "modules that are absent": absent,
        },
    )


def loss_task(settings: Settings, _run: Run | None, max_items: int) -> Task:
    """Task ``api_bank_loss``: the benchmark loss of the gold calls."""
    from training.evaluation.benchmark_loss import call_measures, gold_loss

    folder = _folder(settings)
    every = api_bank_items(folder)
    items = _chosen(every, settings, max_items)
    tools, _absent = _described(folder)

    def measure(subject: Subject, ids: Sequence[str]) -> Iterator[ItemRecord]:
        if not isinstance(subject, LocalSubject):
            raise TypeError("the probabilities of given texts need the model's weights")
        for item in (items[item_id] for item_id in ids):
            loss = gold_loss(subject.model, subject.tokenizer, item.conversation(tools), item.gold_call)
            yield ItemRecord(item.item_id, CATEGORY, call_measures(loss), detail={"gold": item.gold_call})

    return Task(
        name="api_bank_loss",
        key=content_hash(VERSION, "loss", _identity(folder), *items),
        item_ids=list(items),
        measure=measure,
        needs_weights=True,
        notes={"data": "API-Bank, level-1-given-desc", "items in all": len(every)},
    )


def apis(folder: Path) -> Isolated:
    """The APIs below a folder, as :mod:`training.evaluation.api_bank_program` answers for them."""
    program = "training.evaluation.api_bank_program:answer"
    return Isolated(program, BOUNDS, fresh=True, python_path=[folder])


def record_of(program: Isolated, item: ApiBankItem, text: str) -> ItemRecord:
    """The judgement of an answer, whose values need no quotes, as for API-Bank's own parser. What is no Unicode text in
    it becomes "?"."""
    answer = text.encode(errors="replace").decode()
    try:
        calls = calls_of(answer, symbols_as_text=True)
        problem = "" if len(calls) == 1 else f"{len(calls)} calls"
    except NotCalls as reason:
        problem = str(reason)
    if problem:
        return _record(item, answer, decodable=False, problem=f"not decodable: {problem}")
    try:
        problem = program.ask({"text": answer, "api_name": item.name, "result": item.result})
    except LimitReached as limit:
        problem = f"limit: {limit}"
    except ProgramError as error:
        problem = f"error: {error}"
    return _record(item, answer, decodable=True, problem=problem)


def _record(item: ApiBankItem, answer: str, *, decodable: bool, problem: str) -> ItemRecord:
    measures = {"accuracy": (float(not problem), 1.0), "decodable": (float(decodable), 1.0)}
    return ItemRecord(item.item_id, CATEGORY, measures, answer, problem, {"gold": item.gold_call})


def _folder(settings: Settings) -> Path:
    configured = settings.evaluation.folders.get("api_bank")
    if configured is None:
        raise NotEvaluated("evaluation.folders.api_bank is not set: a checkout of DAMO-ConvAI/api-bank")
    folder = Path(configured).expanduser().resolve()
    missing = [str(path) for path in NEEDED if not (folder / path).exists()]
    if missing:
        raise NotEvaluated(f"evaluation.folders.api_bank ({configured}) lacks {', '.join(missing)}")
    return folder


def _chosen(every: Sequence[ApiBankItem], settings: Settings, max_items: int) -> dict[str, ApiBankItem]:
    seed = settings.evaluation.seed
    chosen = sample(
        every, max_items, seed, "api_bank", item_id=lambda item: item.item_id, category=lambda _item: CATEGORY
    )
    return {item.item_id: item for item in chosen}


def _described(folder: Path) -> tuple[Mapping[str, Mapping[str, Any]], Sequence[str]]:
    """The APIs as JSON Schema functions by name, and modules that they want and that are absent here."""
    try:
        with apis(folder) as program:
            found = program.ask({})
    except IsolationError as reason:
        raise NotEvaluated(f"API-Bank's APIs cannot be loaded: {reason}") from None
    return found["tools"], found["absent"]


def _identity(folder: Path) -> str:
    """Hash of everything that decides what is asked and judged."""
    paths = [*folder.glob("apis/*.py"), *folder.glob("init_database/*.json"), *folder.glob(f"{DIALOGUES}/*.jsonl")]
    return content_hash(*(f"{path.relative_to(folder)} {file_sha256(path)}" for path in sorted(paths)))
