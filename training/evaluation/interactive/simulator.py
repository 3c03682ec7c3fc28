"""An environment that is a program in an isolated process of its own; the model acts by calling functions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge.config import EvaluationTask, Settings
from forge.schema import content_hash
from forge.trajectories.simulators.simulator import Simulator
from training.evaluation.interactive import programs
from training.evaluation.interactive.episode import EnvironmentLost, EpisodeItem, Limits, Turn, Verdict, play
from training.evaluation.isolation import Bounds, Isolated, IsolationError
from training.evaluation.python_calls import NotCalls, calls_of
from training.evaluation.records import ItemRecord
from training.evaluation.subject import Conversation, Subject
from training.evaluation.task import NotEvaluated, Task, sample

VERSION = "1"
"""Changes with the programs, and with how calls are read and observations shown."""
MAX_CALLS_PER_TURN = 16
MAX_EPISODES = 8
"""Played at a time: each is a process, for the text games a Java machine too."""


@dataclass(frozen=True)
class SimulatorProgram:
    """``module`` of :mod:`.programs`; ``simulator``: what it needs installed, and where. ``opening`` makes a
    conversation of what the program says at first, ``message`` one message of an observation. ``words_end``: an answer
    without a call is the last one, as where a model calls tools to answer a question."""

    module: str
    simulator: Simulator
    opening: Callable[[Mapping[str, Any]], Conversation]
    message: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    bounds: Bounds
    words_end: bool
    has_score: bool
    needs_java: bool = False

    def check(self) -> None:
        """Raises :class:`NotEvaluated` when the program cannot run here, with what makes it run."""
        if self.simulator.version is None:
            where = (
                "python3.11 -m venv .venv-simulators && .venv-simulators/bin/pip install --no-deps "
                "-r requirements-simulators.lock"
                if self.simulator.has_own_environment
                else ".venv/bin/pip install -r requirements.lock"
            )
            raise NotEvaluated(f"{self.simulator.distribution} is not installed; make it so with: {where}")
        if self.needs_java and shutil.which("java") is None:
            raise NotEvaluated("no java on the PATH; install a Java runtime, such as openjdk-17-jre-headless")
        try:
            self.isolated().close()
        except IsolationError as error:
            raise NotEvaluated(f"{self.simulator.distribution} cannot be isolated here: {error}") from None

    def isolated(self) -> Isolated:
        """The program in a process of its own. Raises :class:`IsolationError`."""
        java = shutil.which("java") if self.needs_java else None
        return Isolated(
            f"{programs.__name__}.{self.module}:answer",
            self.bounds,
            variables={"PATH": str(Path(java).parent)} if java else None,
            python=self.simulator.python,
        )

    @property
    def key(self) -> str:
        """Hash of what decides an episode: our version, the simulator's."""
        return content_hash(VERSION, self.module, self.simulator.version or "")


def simulated_task(
    name: EvaluationTask,
    program: SimulatorProgram,
    starts: Mapping[str, Mapping[str, Any]],
    category_field: str,
    settings: Settings,
    max_items: int,
    version: str,
) -> Task:
    """``starts``: item id to what starts its episode, of which ``category_field`` is the category."""
    chosen = settings.evaluation
    items = sample(
        [EpisodeItem(item_id, start[category_field]) for item_id, start in starts.items()],
        max_items,
        chosen.seed,
        name,
        item_id=lambda item: item.item_id,
        category=lambda item: item.category,
    )
    by_id = {item.item_id: item for item in items}
    limits = Limits(chosen.max_turns, chosen.generation_max_new_tokens, min(chosen.batch_items, MAX_EPISODES))

    def measure(subject: Subject, ids: Sequence[str]) -> Iterator[ItemRecord]:
        def environment_of(item: EpisodeItem) -> SimulatorEnvironment:
            return SimulatorEnvironment(program, starts[item.item_id])

        return play([by_id[item_id] for item_id in ids], environment_of, subject, limits)

    return Task(
        name=name,
        key=content_hash(program.key, *by_id, str(limits.max_turns), str(limits.max_new_tokens)),
        item_ids=list(by_id),
        measure=measure,
        notes={
            "items in all": len(starts),
            "version": version,
            "protocol": f"at most {limits.max_turns} answers, of one or more calls each",
        },
    )


class SimulatorEnvironment:
    """An episode in an isolated process, which starts with it."""

    def __init__(self, program: SimulatorProgram, start: Mapping[str, Any]) -> None:
        self._program = program
        self._start = start
        self._last_words = ""
        self.isolated: Isolated | None = None

    @property
    def has_score(self) -> bool:
        return self._program.has_score

    def opening(self) -> Conversation:
        try:
            self.isolated = self._program.isolated()
        except IsolationError as error:
            raise EnvironmentLost(str(error)) from None
        return self._program.opening(self._ask({"start": self._start}))

    def take(self, answer: str) -> Turn:
        try:
            calls = calls_of(answer)
        except NotCalls as reason:
            if self._program.words_end:
                self._last_words = answer
                return Turn((), 0, True)
            return Turn((_error(f"no action was taken, the answer holds no function call: {reason}"),), 0, False)
        run = [{"name": call.name, "arguments": dict(call.arguments)} for call in calls[:MAX_CALLS_PER_TURN]]
        try:
            found = self._ask({"calls": run})
        except (ValueError, TypeError, RecursionError) as error:  # numbers of thousands of digits have no JSON here
            return Turn((_error(f"the arguments cannot be passed on: {error}"),), 0, False)
        messages = [self._program.message(observation) for observation in found["observations"]]
        if len(calls) > len(run):
            messages.append(_error(f"only the first {MAX_CALLS_PER_TURN} calls of an answer are run"))
        return Turn(messages, len(found["observations"]), bool(found["ended"]))

    def verdict(self) -> Verdict:
        found = self._ask({"finish": self._last_words})
        return Verdict(bool(found["success"]), found["score"] or 0.0)

    def close(self) -> None:
        if self.isolated is not None:
            self.isolated.close()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self.isolated is not None
        try:
            found: dict[str, Any] = self.isolated.ask(request)
        except IsolationError as error:
            raise EnvironmentLost(f"{type(error).__name__}: {error}") from None
        return found


def _error(text: str) -> dict[str, str]:
    return {"role": "tool", "content": "", "error": text}
