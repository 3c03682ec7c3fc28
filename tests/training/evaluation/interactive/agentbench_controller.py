"""A controller of AgentBench v0.2 on loopback, with one worker for each task: the routes, bodies and statuses that its
``task_controller.py``, ``task_worker.py`` and tasks have, over samples that are written out here."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

OS_INDICES = ["std-001-stock-00000", "std-001-stock-00001", "std-002-00000"]
OS_ANSWERS = {"std-001-stock-00000": "220", "std-001-stock-00001": "7", "std-002-00000": "root"}
DB_SAMPLES: list[tuple[str, Any]] = [
    ("counting", ["3"]),
    ("INSERT", "hash of 4 rows"),
    ("UPDATE", "hash"),
    ("other", ["x"]),
]
OS_ROUNDS, DB_ROUNDS = 8, 15
CAPACITY = 2


class Refused(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass
class Session:
    name: str
    index: Any
    history: list[dict[str, str]]
    rounds: int = 0
    rows: int = 3


@dataclass
class Controller:
    """``fail_interact``: so many times the worker does not respond. ``most``: sessions that were open at once."""

    sessions: dict[int, Session] = field(default_factory=dict)
    started: int = 0
    cancelled: int = 0
    most: int = 0
    fail_interact: int = 0
    shortens: bool = False
    lock: Lock = field(default_factory=Lock)

    def get_indices(self, name: str) -> list[Any]:
        if name not in ("os-std", "dbbench-std"):
            raise Refused(400, "Error: Task does not exist")
        return OS_INDICES if name == "os-std" else list(range(len(DB_SAMPLES)))

    def list_workers(self) -> dict[str, Any]:
        def workers(name: str) -> dict[str, Any]:
            current = sum(session.name == name for session in self.sessions.values())
            worker = {"id": 0, "address": "", "capacity": CAPACITY, "current": current, "status": 0, "locked": False}
            return {"indices": self.get_indices(name), "workers": {"0": worker, "1": {**worker, "id": 1, "status": 2}}}

        return {name: workers(name) for name in ("os-std", "dbbench-std")}

    def start_sample(self, name: str, index: Any) -> dict[str, Any]:
        if index not in self.get_indices(name):
            raise Refused(400, "Error: Index out of bounds")
        if sum(session.name == name for session in self.sessions.values()) >= CAPACITY:
            raise Refused(406, "Error: No workers available")
        if name == "os-std":
            history = [{"role": "user", "content": f"You are an assistant. Now, my problem is: {index}"}]
        else:
            asked = f"the question of type {DB_SAMPLES[index][0]}"
            history = [
                {"role": "user", "content": "I will ask you a question, then operate a MySQL database."},
                {"role": "agent", "content": "Ok."},
                {"role": "user", "content": asked},
            ]
        number, self.started = self.started, self.started + 1
        self.sessions[number] = Session(name, index, history)
        self.most = max(self.most, len(self.sessions))
        return self._running(number)

    def interact(self, session_id: int, agent_response: dict[str, Any]) -> dict[str, Any]:
        if session_id not in self.sessions:
            raise Refused(400, "Error: Session does not exist")
        if self.fail_interact:
            self.fail_interact -= 1
            del self.sessions[session_id]
            raise Refused(400, "Error: Worker not responding")
        session = self.sessions[session_id]
        status, content = agent_response["status"], agent_response["content"]
        if status == "normal":
            assert isinstance(content, str)  # AgentOutput's validator
        session.history.append({"role": "agent", "content": content or status})
        session.rounds += 1
        act = self._os if session.name == "os-std" else self._db
        ended = act(session, status, content or "")
        return self._running(session_id) if ended is None else self._finished(session_id, *ended)

    def cancel(self, session_id: int) -> dict[str, Any]:
        if session_id not in self.sessions:
            raise Refused(400, "Error: Session does not exist")
        del self.sessions[session_id]
        self.cancelled += 1
        return {"session_id": session_id}

    def calculate_overall(self, name: str, results: list[dict[str, Any]]) -> dict[str, Any]:
        """As DBBench: accuracies by type, of which all but INSERT and UPDATE are SELECT too."""
        assert name == "dbbench-std"

        def accuracy(kind: str) -> float:
            right = [
                result["result"]["answer"] == str(DB_SAMPLES[result["index"]][1])
                for result in results
                if result["result"]["type"] == kind
                or (kind == "SELECT" and result["result"]["type"] not in ("INSERT", "UPDATE"))
            ]
            return sum(right) / len(right) if right else 0

        kinds = ("other", "counting", "SELECT", "INSERT", "UPDATE")
        scores = {f"{kind}_accuracy": accuracy(kind) for kind in kinds}
        main = sum(scores[f"{kind}_accuracy"] for kind in ("SELECT", "INSERT", "UPDATE")) / 3
        return scores | {"overall_cat_accuracy": main}

    def _os(self, session: Session, status: str, content: str) -> tuple[str, Any] | None:
        if status != "normal":
            return status, {"result": False}
        answer = re.search(r"Act: answer\((.*)\)", content)
        if answer:
            return "completed", {"result": answer[1] == OS_ANSWERS[session.index]}
        if "Act: bash" not in content:
            return "agent invalid action", {"result": False}
        if session.rounds == OS_ROUNDS:
            return "task limit reached", {"result": False, "reason": "round limit"}
        session.history.append({"role": "user", "content": "The output of the OS:\n\n" + OS_ANSWERS[session.index]})
        return None

    def _db(self, session: Session, status: str, content: str) -> tuple[str, Any] | None:
        kind = DB_SAMPLES[session.index][0]

        def result(answer: str) -> dict[str, str]:
            found = answer if kind != "INSERT" else f"hash of {session.rows} rows"
            return {"answer": found, "type": kind, "error": ""}

        if status != "normal":
            return status, result("")
        if "Action: Operation\n" in content and session.rounds < DB_ROUNDS:
            session.rows += "INSERT" in content
            session.history.append({"role": "user", "content": "[]"})
            return None
        answer = re.search(r"\nFinal Answer: ?(.*)", content)
        return ("completed", result(answer[1])) if answer else ("agent validation failed", result(""))

    def _running(self, session_id: int) -> dict[str, Any]:
        history = self.sessions[session_id].history
        if self.shortens and len(history) > 3:
            notice = {"role": "user", "content": history[0]["content"] + f"\n\n[NOTICE] {len(history) - 3} omitted."}
            history = [notice, *history[-2:]]
        output = {"index": None, "status": "running", "result": None, "history": history}
        return {"session_id": session_id, "output": output}

    def _finished(self, session_id: int, status: str, result: Any) -> dict[str, Any]:
        session = self.sessions.pop(session_id)
        output = {"index": session.index, "status": status, "result": result, "history": session.history}
        return {"session_id": session_id, "output": output}


def server_of(controller: Controller) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, arguments: dict[str, Any]) -> None:
            route = urlsplit(self.path).path.removeprefix("/api/")
            routes = ("get_indices", "list_workers", "start_sample", "interact", "cancel", "calculate_overall")
            try:
                with controller.lock:
                    if route not in routes:
                        raise Refused(404, "Not Found")
                    status, reply = 200, getattr(controller, route)(**arguments)
            except Refused as reason:
                status, reply = reason.status, {"detail": str(reason)}
            body = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)
