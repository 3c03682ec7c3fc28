"""BFCL multi-turn: a dialogue of several user turns against simulators with state, judged by what the calls did.

As BFCL asks models that call functions: in each turn the model answers until an answer has no calls, and sees what each
call returned; more than 20 answers with calls in one turn end the item. Functions that ``miss_func`` holds back come
with the turn that BFCL names. BFCL's simulators and checker run isolated, without ``eval``
(:mod:`training.evaluation.bfcl.multi_turn_program`); each request to them starts from the item's first state and runs
the calls so far again, so that no item sees another.

What differs from BFCL's own runner: a call inside an argument is a value there and not called, and an item whose calls
take more than :data:`BOUNDS` is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from forge.config import Settings
from forge.schema import content_hash
from training.evaluation.bfcl.data import BfclItem
from training.evaluation.isolation import Bounds, Isolated, LimitReached, ProgramError
from training.evaluation.python_calls import MAX_CHARACTERS, NotCalls, calls_of
from training.evaluation.records import ItemRecord
from training.evaluation.subject import Conversation, Subject
from training.evaluation.task import OverallScore, Task, artifact_folder, sample
from training.run import Run

VERSION = "1"
CATEGORIES = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
MAX_STEPS = 20
"""Answers with calls in a turn; BFCL's ``MAXIMUM_STEP_LIMIT``."""
MORE_FUNCTIONS = "I have updated some more functions you can choose from. What about now?"
"""BFCL's words when functions that were held back are added."""
DIALOGUES_AT_A_TIME = 64
BOUNDS = Bounds(request_seconds=60, processor_seconds=1, memory_bytes=512 << 20, response_bytes=1 << 20)

_FUNCTION_FILES = {
    "GorillaFileSystem": "gorilla_file_system.json",
    "MathAPI": "math_api.json",
    "MessageAPI": "message_api.json",
    "TicketAPI": "ticket_api.json",
    "TradingBot": "trading_bot.json",
    "TravelAPI": "travel_booking.json",
    "TwitterAPI": "posting_api.json",
    "VehicleControlAPI": "vehicle_control.json",
}


@dataclass(frozen=True, slots=True)
class MultiTurnItem:
    """``turns``: the user's messages of each turn; none where functions are added. ``functions`` as BFCL writes them,
    ``added``: what comes with a turn. ``entry`` is what the simulators start from."""

    item_id: str
    category: str
    turns: Sequence[Sequence[Mapping[str, str]]]
    functions: Sequence[Mapping[str, Any]]
    added: Mapping[int, Sequence[Mapping[str, Any]]]
    entry: Mapping[str, Any]
    ground_truth: Sequence[Sequence[str]]

    def tools(self, turn: int) -> list[dict[str, Any]]:
        """What can be called in a turn, with JSON Schema's names of types."""
        functions = [*self.functions, *(function for at, new in self.added.items() if at <= turn for function in new)]
        return BfclItem(self.item_id, self.category, (), functions, ()).tools

    def messages(self, turn: int) -> Sequence[Mapping[str, str]]:
        """How a turn begins."""
        return [{"role": "user", "content": MORE_FUNCTIONS}] if turn in self.added else self.turns[turn]


def multi_turn_items(artifact: Path, categories: Sequence[str] = CATEGORIES) -> list[MultiTurnItem]:
    """All items of the categories, in file order. Raises FileNotFoundError when the artifact lacks a file."""
    data = artifact / "bfcl_eval" / "data"
    functions = {name: _rows(data / "multi_turn_func_doc" / file) for name, file in _FUNCTION_FILES.items()}
    items = []
    for category in categories:
        gold = {row["id"]: row["ground_truth"] for row in _rows(data / "possible_answer" / f"BFCL_v4_{category}.json")}
        for row in _rows(data / f"BFCL_v4_{category}.json"):
            every = {function["name"]: function for name in row["involved_classes"] for function in functions[name]}
            added = {
                int(turn): [every.pop(name) for name in names] for turn, names in row.get("missed_function", {}).items()
            }
            entry = {key: row[key] for key in ("id", "initial_config", "involved_classes")}
            items.append(
                MultiTurnItem(row["id"], category, row["question"], list(every.values()), added, entry, gold[row["id"]])
            )
    return items


def task(settings: Settings, _run: Run | None, max_items: int) -> Task:
    """800 items in four categories. A record's accuracy is BFCL's verdict: after each turn the simulators have the
    state that the gold calls lead to, and what these return has been returned to the model. An item is decodable when
    any answer is a list of calls."""
    artifact = artifact_folder(settings, "bfcl")
    every = multi_turn_items(artifact)
    chosen = sample(
        every, max_items, settings.evaluation.seed, "bfcl_multi_turn",
        item_id=lambda item: item.item_id, category=lambda item: item.category,
    )  # fmt: skip
    items = {item.item_id: item for item in chosen}
    max_new_tokens = settings.evaluation.generation_max_new_tokens

    def measure(subject: Subject, ids: Sequence[str]) -> Iterator[ItemRecord]:
        return records(subject, [items[item_id] for item_id in ids], artifact, max_new_tokens=max_new_tokens)

    return Task(
        name="bfcl_multi_turn",
        key=content_hash(VERSION, *items, settings.artifacts["bfcl"].sha256, str(max_new_tokens), str(BOUNDS)),
        item_ids=list(items),
        measure=measure,
        overall=[OverallScore("multi_turn", "accuracy", dict.fromkeys(CATEGORIES, 1 / len(CATEGORIES)))],
        notes={
            "data": f"bfcl-eval {settings.artifacts['bfcl'].version}",
            "items in all": len(every),
            "protocol": f"at most {MAX_STEPS} answers with calls a turn; BFCL's check of states and responses",
        },
    )


def records(
    subject: Subject, items: Iterable[MultiTurnItem], artifact: Path, *, max_new_tokens: int
) -> Iterator[ItemRecord]:
    """Dialogues go on side by side, so that a model answers many at once; one that ends makes room for the next."""
    waiting = iter(items)
    going: list[Dialogue] = []
    with simulators(artifact) as program:
        while going := going + [Dialogue(item) for item in islice(waiting, DIALOGUES_AT_A_TIME - len(going))]:
            conversations = [dialogue.conversation for dialogue in going]
            for place, text in subject.answers(conversations, max_new_tokens=max_new_tokens):
                going[place].go_on(text, program)
            yield from (dialogue.record(program) for dialogue in going if dialogue.has_ended)
            going = [dialogue for dialogue in going if not dialogue.has_ended]


def simulators(artifact: Path) -> Isolated:
    """BFCL's simulators and checker, as :mod:`training.evaluation.bfcl.multi_turn_program` answers for them."""
    program = "training.evaluation.bfcl.multi_turn_program:answer"
    return Isolated(program, BOUNDS, fresh=True, python_path=[artifact])


@dataclass(slots=True)
class Dialogue:
    """One item on its way: ``answers`` are the model's texts by turn; ``executed`` those of them that had calls."""

    item: MultiTurnItem
    answers: list[list[str]] = field(default_factory=lambda: [[]])
    executed: list[list[str]] = field(default_factory=lambda: [[]])
    messages: list[Mapping[str, Any]] = field(default_factory=list)
    problem: str = ""
    has_ended: bool = False

    def __post_init__(self) -> None:
        self.messages.extend(self.item.messages(0))

    @property
    def conversation(self) -> Conversation:
        return Conversation(self.item.tools(len(self.answers) - 1), list(self.messages))

    def go_on(self, text: str, program: Isolated) -> None:
        """The model's answer: its calls are executed, or the next turn begins. What is no Unicode text becomes "?"."""
        text = text.encode(errors="replace").decode()
        self.answers[-1].append(text)
        self.messages.append({"role": "assistant", "content": text})
        try:
            calls_of(text, symbols_as_text=True)
        except NotCalls:
            self._end_turn()
            return
        self.executed[-1].append(text)
        try:
            results = program.ask(
                {"entry": self.item.entry, "steps": [step for turn in self.executed for step in turn]}
            )
        except LimitReached as limit:
            self.problem, self.has_ended = f"limit: {limit}", True
            return
        self.messages.extend({"role": "tool", "content": result} for result in results)
        if len(self.executed[-1]) > MAX_STEPS:
            self.problem, self.has_ended = "multi_turn:force_terminated", True

    def record(self, program: Isolated) -> ItemRecord:
        """The checker's verdict."""
        if not self.problem:
            try:
                verdict = program.ask(
                    {"entry": self.item.entry, "turns": self.executed, "ground_truth": self.item.ground_truth}
                )
                self.problem = "" if verdict["valid"] else verdict["error_type"]
            except (LimitReached, ProgramError) as stop:
                self.problem = _problem(stop)
        return ItemRecord(
            self.item.item_id,
            self.item.category,
            {"accuracy": (float(not self.problem), 1.0), "decodable": (float(any(self.executed)), 1.0)},
            problem=self.problem,
            detail={
                "turns": len(self.answers),
                "answers_with_calls": sum(map(len, self.executed)),
                "answers": [[text[:MAX_CHARACTERS] for text in turn] for turn in self.answers],
            },
        )

    def _end_turn(self) -> None:
        turn = len(self.answers)
        if turn == len(self.item.turns):
            self.has_ended = True
            return
        self.answers.append([])
        self.executed.append([])
        self.messages.extend(self.item.messages(turn))


def _problem(stop: LimitReached | ProgramError) -> str:
    return f"limit: {stop}" if isinstance(stop, LimitReached) else f"error: {stop}"


def _rows(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
