"""Episodes: a model answers, an environment says what came of it, until one of them ends it or a limit does.

Many episodes are played at a time, so that their answers are generated together. An episode has an environment of its
own: its record does not depend on the others.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from forge.schema import canonical_json, content_hash
from training.chat import NotAChat, prompt_ids
from training.evaluation.records import MAX_ANSWER_CHARACTERS, ItemRecord
from training.evaluation.subject import Conversation, LocalSubject, Subject
from training.evaluation.task import NotEvaluated

MAX_CONVERSATION_CHARACTERS = 200_000
MAX_MESSAGE_CHARACTERS = 6_000
TRIES = 2
"""An episode whose environment is lost (its process was killed) is played once more, from the start."""
_SHOWN_CHARACTERS = 500

OVER, TURN_LIMIT, CONTEXT_FULL, ENVIRONMENT_LOST = "over", "turn_limit", "context_full", "environment_lost"
"""Why an episode ended: :data:`OVER` where the environment or the model's last words ended it."""
NOT_SOLVED = "not_solved"


class EnvironmentLost(Exception):
    """The environment's process has ended, or did not answer in time; the message says how."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What an answer led to: messages that follow it, actions that were taken, whether the environment ended.
    ``is_whole``: the messages are the whole conversation, for an environment that keeps it itself."""

    messages: Sequence[Mapping[str, Any]]
    actions: int
    ended: bool
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The environment's own judgement. ``score`` from 0 to 100; ``category`` where only the verdict tells it;
    ``reason``: its word for why the episode ended, if it has one."""

    success: bool
    score: float = 0.0
    category: str | None = None
    reason: str = ""


class Environment(Protocol):
    """One episode. Every method may raise :class:`EnvironmentLost`. ``has_score``: its verdicts have one."""

    @property
    def has_score(self) -> bool: ...

    def opening(self) -> Conversation:
        """What the model is told first. Called once, before all else."""
        ...

    def take(self, answer: str) -> Turn: ...

    def verdict(self) -> Verdict:
        """Called once, when the episode is over, whoever ended it."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EpisodeItem:
    item_id: str
    category: str


@dataclass(frozen=True, slots=True)
class Limits:
    """``max_turns``: answers in an episode; ``episodes``: played at a time, without effect on results."""

    max_turns: int
    max_new_tokens: int
    episodes: int


def play(
    items: Sequence[EpisodeItem],
    environment_of: Callable[[EpisodeItem], Environment],
    subject: Subject,
    limits: Limits,
) -> Iterator[ItemRecord]:
    """One record per item, as the episodes end.

    Measures: ``success`` (0 or 1), ``steps`` (actions taken), ``score`` where the environment gives one. An episode
    that loses its environment :data:`TRIES` times is recorded as a failure with the reason; where it is lost before
    the model has acted, :class:`NotEvaluated` is raised: that says nothing of the model.
    """
    waiting = deque((item, 1) for item in items)
    playing: list[_Episode] = []
    try:
        while waiting or playing:
            while waiting and len(playing) < limits.episodes:
                item, attempt = waiting.popleft()
                playing.append(_Episode(item, attempt, environment_of(item), limits))
            asked = [episode for episode in playing if episode.is_open_to(subject)]
            for place, answer in subject.answers(
                [episode.conversation for episode in asked], max_new_tokens=limits.max_new_tokens
            ):
                asked[place].hear(answer)
            for episode in [episode for episode in playing if episode.ended]:
                playing.remove(episode)
                episode.close()
                if episode.lost is not None and episode.attempt < TRIES:
                    waiting.appendleft((episode.item, episode.attempt + 1))
                else:
                    yield episode.record()
    finally:
        for episode in playing:
            episode.close()


@dataclass
class _Episode:
    item: EpisodeItem
    attempt: int
    environment: Environment
    limits: Limits
    tools: Sequence[Mapping[str, Any]] = ()
    messages: list[Mapping[str, Any]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    actions: int = 0
    ended: str = ""
    """"" while it goes on, else why it ended."""
    lost: str | None = None
    outcome: Verdict = Verdict(False)

    @property
    def conversation(self) -> Conversation:
        return Conversation(self.tools, tuple(self.messages))

    def is_open_to(self, subject: Subject) -> bool:
        """Whether the model is to be asked; opens the episode when it is new."""
        if not self.messages and not self.ended:
            with self._losing():
                opening = self.environment.opening()
                self.tools, self.messages = opening.tools, [_bounded(message) for message in opening.messages]
        if self.lost is not None and not self.answers and self.attempt == TRIES:
            raise NotEvaluated(f"{self.item.item_id}: the environment does not start: {self.lost}")
        if not self.ended and not _fits(subject, self.conversation, self.limits.max_new_tokens):
            self._end(CONTEXT_FULL)
        return not self.ended

    def hear(self, answer: str) -> None:
        answer = _encodable(answer)
        self.answers.append(answer)
        self.messages.append(_bounded({"role": "assistant", "content": answer}))
        with self._losing():
            turn = self.environment.take(answer)
            if turn.is_whole:
                self.messages.clear()
            self.messages += [_bounded(message) for message in turn.messages]
            self.actions += turn.actions
            if turn.ended:
                self._end(OVER)
            elif len(self.answers) >= self.limits.max_turns:
                self._end(TURN_LIMIT)

    def record(self) -> ItemRecord:
        measures = {"success": (float(self.outcome.success), 1.0), "steps": (float(self.actions), 1.0)}
        if self.environment.has_score:
            measures["score"] = (self.outcome.score, 1.0)
        problem = NOT_SOLVED if self.ended == OVER else self.ended
        if self.lost is not None:
            problem = f"{ENVIRONMENT_LOST}: {self.lost}"
        return ItemRecord(
            item_id=self.item.item_id,
            category=self.outcome.category or self.item.category,
            measures=measures,
            answer=self.answers[-1][:MAX_ANSWER_CHARACTERS] if self.answers else "",
            problem="" if self.outcome.success else problem,
            detail={
                "turns": len(self.answers),
                "ended": self.ended,
                "answers": [answer[:_SHOWN_CHARACTERS] for answer in self.answers],
                "transcript": content_hash(canonical_json(self.messages)),
            },
        )

    def close(self) -> None:
        self.environment.close()

    def _end(self, why: str) -> None:
        self.ended = why
        with self._losing():
            self.outcome = self.environment.verdict()
            self.ended = self.outcome.reason or why

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except EnvironmentLost as reason:
            self.ended, self.lost = ENVIRONMENT_LOST, str(reason)


def _fits(subject: Subject, conversation: Conversation, max_new_tokens: int) -> bool:
    """Whether a longest answer has room. How many tokens an endpoint takes is not known here, only the characters are
    bounded."""
    if sum(len(message.get("content") or "") for message in conversation.messages) > MAX_CONVERSATION_CHARACTERS:
        return False
    if not isinstance(subject, LocalSubject):
        return True
    try:
        tokens = len(prompt_ids(subject.tokenizer, conversation.tools, conversation.messages))
    except NotAChat as reason:
        raise NotEvaluated(f"the model's chat template does not render the conversation: {reason}") from None
    return bool(tokens + max_new_tokens <= subject.model.config.max_position_embeddings)


def _bounded(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message with its texts cut, encodable as UTF-8."""
    return {key: _cut(_encodable(value)) if isinstance(value, str) else value for key, value in message.items()}


def _cut(text: str) -> str:
    left_out = len(text) - MAX_MESSAGE_CHARACTERS
    return f"{text[:MAX_MESSAGE_CHARACTERS]}\n[{left_out} characters left out]" if left_out > 0 else text


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
