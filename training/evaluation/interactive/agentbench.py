"""AgentBench's operating system and database tasks, for those who run its servers.

The servers (containers, MySQL) are those of https://github.com/THUDM/AgentBench, branch v0.2, which the published
scores are of; ``python -m src.start_task -a`` there starts them, and ``evaluation.agentbench_url`` names their
controller. The later version for function calling speaks another protocol and is not spoken to. What is spoken is
tested against a server of our tests that follows v0.2's sources, not against the real ones.

The model answers in the words that AgentBench's prompts ask for; commands run in its containers, and success is what
its workers say. Their check of database answers calls Python's ``eval`` on them: keep the workers in containers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from forge.config import Settings
from forge.schema import content_hash
from training.evaluation.interactive.episode import EnvironmentLost, EpisodeItem, Limits, Turn, Verdict, play
from training.evaluation.records import ItemRecord
from training.evaluation.subject import Conversation, Subject
from training.evaluation.task import NotEvaluated, OverallScore, Task, sample
from training.run import Run

VERSION = "1"
SERVER_TASKS: Mapping[str, str] = {"OS": "os-std", "DB": "dbbench-std"}
INVERSE_WEIGHTS: Mapping[str, float] = {
    "OS": 10.8, "DB": 13.0, "KG": 13.9, "DCG": 12.0, "LTP": 3.5, "HH": 13.0, "WS": 30.7, "WB": 11.6,
}  # fmt: skip
"""Mean score, in percent, that the models of the AgentBench paper have in an environment (its statistics of data sets,
"Weight^-1"). The overall score is the mean over environments of the score divided by it."""
DB_CATEGORIES = ("SELECT", "INSERT", "UPDATE")
"""The score of DB is the mean of the accuracies of these, whatever else is asked counting as SELECT."""
MAX_TURNS = 100
"""A bound only: the servers end an episode, OS after 8 rounds, DB after 15."""
REQUEST_SECONDS = 300.0
MAX_RESPONSE_BYTES = 8 << 20
_RUNNING = "running"
_ALIVE = 0


def task(settings: Settings, run: Run | None, max_items: int) -> Task:  # noqa: ARG001  what a task's factory takes
    """Samples of both environments. Raises :class:`NotEvaluated` without servers."""
    url = settings.evaluation.agentbench_url
    if url is None:
        raise NotEvaluated(
            "needs the servers of AgentBench v0.2 (containers, MySQL): start them and set evaluation.agentbench_url"
        )
    controller = Controller(url)
    try:
        samples = {
            f"{environment}/{index}": Sample(environment, index)
            for environment, name in SERVER_TASKS.items()
            for index in controller.get("/get_indices", name=name)
        }
        free = controller.free_places()
    except ControllerError as error:
        raise NotEvaluated(f"AgentBench's controller does not answer: {error}") from None
    if not free:
        raise NotEvaluated(f"AgentBench's controller {url} has no free worker for {' or '.join(SERVER_TASKS.values())}")
    items = sample(
        [EpisodeItem(item_id, chosen.environment) for item_id, chosen in samples.items()],
        max_items,
        settings.evaluation.seed,
        "agentbench",
        item_id=lambda item: item.item_id,
        category=lambda item: item.category,
    )
    by_id = {item.item_id: item for item in items}
    max_new_tokens = settings.evaluation.generation_max_new_tokens
    limits = Limits(MAX_TURNS, max_new_tokens, min(settings.evaluation.batch_items, free))

    def measure(subject: Subject, ids: Sequence[str]) -> Iterator[ItemRecord]:
        def environment_of(item: EpisodeItem) -> AgentBenchEnvironment:
            return AgentBenchEnvironment(controller, samples[item.item_id])

        return play([by_id[item_id] for item_id in ids], environment_of, subject, limits)

    return Task(
        name="agentbench",
        key=content_hash(VERSION, *by_id, str(max_new_tokens)),
        item_ids=list(by_id),
        measure=measure,
        overall=[overall_score()],
        notes={
            "items in all": len(samples),
            "version": "AgentBench v0.2, test split, as the servers have it",
            "protocol": "prompts, rounds and success are the servers'",
        },
    )


def overall_score() -> OverallScore:
    """The official overall score over the two environments that are here."""
    share = {environment: 100.0 / INVERSE_WEIGHTS[environment] / len(SERVER_TASKS) for environment in SERVER_TASKS}
    weights = {"OS": share["OS"]}
    weights |= {f"DB {category}": share["DB"] / len(DB_CATEGORIES) for category in DB_CATEGORIES}
    others = [environment for environment in INVERSE_WEIGHTS if environment not in SERVER_TASKS]
    return OverallScore("AgentBench OA (OS and DB)", "success", weights, f"{', '.join(others)}: mean of 2 of 8")


class ControllerError(Exception):
    """The controller was not reached, refused, or said something else than v0.2 does."""


@dataclass(frozen=True, slots=True)
class Sample:
    environment: str
    index: int | str


class Controller:
    """The controller's HTTP interface. Its replies are bounded in size; it is believed in nothing but its verdicts."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url.rstrip("/"), timeout=REQUEST_SECONDS, trust_env=False)

    def get(self, path: str, **parameters: str) -> Any:
        return self._reply(self._client.build_request("GET", path, params=parameters))

    def post(self, path: str, request: Mapping[str, Any]) -> Any:
        return self._reply(self._client.build_request("POST", path, json=dict(request)))

    def free_places(self) -> int:
        """Episodes that each environment's workers can take at once."""
        workers = self.get("/list_workers")
        return min(
            sum(
                int(worker["capacity"]) - int(worker["current"])
                for worker in workers.get(name, {"workers": {}})["workers"].values()
                if worker["status"] == _ALIVE
            )
            for name in SERVER_TASKS.values()
        )

    def _reply(self, request: httpx.Request) -> Any:
        where = f"{request.method} {request.url.copy_with(userinfo=b'')}"
        try:
            response = self._client.send(request, stream=True)
            with contextlib.closing(response):
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if len(body) > MAX_RESPONSE_BYTES:
                        raise ControllerError(f"{where}: a reply of more than {MAX_RESPONSE_BYTES} bytes")
            if response.status_code != httpx.codes.OK:
                raise ControllerError(f"{where}: {response.status_code} {bytes(body[:300]).decode('utf-8', 'replace')}")
            return orjson.loads(bytes(body))
        except (httpx.HTTPError, orjson.JSONDecodeError) as error:
            raise ControllerError(f"{where}: {type(error).__name__}: {error}") from None


class AgentBenchEnvironment:
    """A sample in a session of the controller. One of DB whose session is lost has the category DB alone, and no part
    in the overall score: of which kind it is, the servers tell only at the end."""

    has_score = False

    def __init__(self, controller: Controller, chosen: Sample) -> None:
        self._controller = controller
        self._sample = chosen
        self._session: int | None = None
        self._output: Mapping[str, Any] = {}

    def opening(self) -> Conversation:
        name = SERVER_TASKS[self._sample.environment]
        self._take_in(self._post("/start_sample", {"name": name, "index": self._sample.index}))
        if not self._is_running:
            raise EnvironmentLost(f"the sample was over at its start: {self._output['status']}")
        return Conversation((), self._messages())

    def take(self, answer: str) -> Turn:
        self._interact({"status": "normal", "content": answer})
        return Turn(self._messages(), 1, not self._is_running, is_whole=True)

    def verdict(self) -> Verdict:
        """As the worker judges; of an episode that ended here, the worker hears that the model's context is full."""
        if self._is_running:
            self._interact({"status": "agent context limit", "content": None})
        if self._is_running:
            raise EnvironmentLost("the sample goes on although the model cannot")
        result, reason = self._output.get("result"), str(self._output["status"])
        if not isinstance(result, dict):
            raise EnvironmentLost(f"a verdict without result: {reason}")
        if self._sample.environment == "OS":
            return Verdict(result.get("result") is True, reason=reason)
        kind = result["type"] if result.get("type") in DB_CATEGORIES else DB_CATEGORIES[0]
        return Verdict(self._is_right_in_db(), category=f"DB {kind}", reason=reason)

    def close(self) -> None:
        if self._is_running:
            with contextlib.suppress(ControllerError):
                self._controller.post("/cancel", {"session_id": self._session})

    def _is_right_in_db(self) -> bool:
        """DB's workers compare answers only when asked for the overall score: here of this sample alone, in which the
        accuracy of its own kind is 0 or 1 and that of the others 0."""
        output = {**self._output, "index": self._sample.index}
        scores = self._post("/calculate_overall", {"name": SERVER_TASKS["DB"], "results": [output]})
        try:
            return any(float(scores[f"{kind}_accuracy"]) == 1.0 for kind in DB_CATEGORIES)
        except (KeyError, TypeError, ValueError) as error:
            raise EnvironmentLost(f"an overall score without {error}") from None

    @property
    def _is_running(self) -> bool:
        return self._output.get("status") == _RUNNING

    def _messages(self) -> list[dict[str, str]]:
        """The history, which the server may shorten; its "agent" is our assistant."""
        history = self._output.get("history") or []
        if not all(isinstance(item, dict) and isinstance(item.get("content"), str) for item in history):
            raise EnvironmentLost("a history that is none")
        return [
            {"role": "assistant" if item.get("role") == "agent" else "user", "content": item["content"]}
            for item in history
        ]

    def _interact(self, response: Mapping[str, Any]) -> None:
        self._take_in(self._post("/interact", {"session_id": self._session, "agent_response": response}))

    def _take_in(self, reply: Any) -> None:
        if not isinstance(reply, dict) or not isinstance(reply.get("output"), dict) or "status" not in reply["output"]:
            raise EnvironmentLost(f"no reply of a session: {str(reply)[:200]}")
        self._session, self._output = reply.get("session_id"), reply["output"]

    def _post(self, path: str, request: Mapping[str, Any]) -> Any:
        try:
            return self._controller.post(path, request)
        except ControllerError as error:
            raise EnvironmentLost(str(error)) from None
