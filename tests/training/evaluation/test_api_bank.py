"""API-Bank level 1: over a small folder of the same form, and over the real APIs where they are beside the checkout."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from forge.config import load_settings
from training.evaluation.api_bank import BOUNDS, DIALOGUES, api_bank_items, apis, loss_task, record_of, task
from training.evaluation.isolation import Isolated
from training.evaluation.subject import Conversation, LocalSubject
from training.evaluation.task import NotEvaluated

REAL = Path(__file__).parents[4] / "shared" / "samples" / "api-bank" / "api-bank"

API = """
class API:
    pass
"""
ACCOUNTS = '''
import googletrans
from apis.api import API

class CheckToken(API):
    description = "Check a token."
    input_parameters = {"token": {"type": "str", "description": "The token."}}
    database_name = "Account"

    def __init__(self, init_database=None):
        self.database = init_database or {}

    def check_token(self, token):
        for name, account in self.database.items():
            if account["token"] == token:
                return name
        raise Exception("The token is invalid.")

    def call(self, token):
        return {"input": {"token": token}, "output": self.check_token(token), "exception": None}

    def check_api_call_correctness(self, response, groundtruth):
        return response["output"] == groundtruth["output"]


class Deposit(API):
    """Its balance grows with each call: a second one over the same database would be seen."""

    description = "Put money into an account."
    input_parameters = {
        "token": {"type": "str", "description": "The token."},
        "amount": {"type": "int", "description": "How much."},
        "notes": {"type": "list(str)", "description": "What for."},
    }
    database_name = "Bank"

    def __init__(self, init_database=None, token_checker=None):
        self.database, self.token_checker = init_database, token_checker

    def call(self, token, amount, notes=()):
        given = {"token": token, "amount": amount}
        try:
            name = self.token_checker.check_token(token)
        except Exception as error:
            return {"input": given, "output": None, "exception": str(error)}
        self.database[name] += amount + len(notes)
        return {"input": given, "output": self.database[name], "exception": None}

    def check_api_call_correctness(self, response, groundtruth):
        return response["output"] == groundtruth["output"] and response["exception"] == groundtruth["exception"]
'''
CALCULATOR = '''
from .api import API

class Calculator(API):
    """As careless as can be."""

    description = "Calculate."
    input_parameters = {"formula": {"type": "str", "description": "What."}}

    def call(self, formula):
        try:
            return {"output": eval(formula), "exception": None}
        except Exception as error:
            return {"output": None, "exception": str(error)}

    def check_api_call_correctness(self, response, groundtruth):
        return response["output"] == groundtruth["output"]
'''
TRANSLATE = """
from apis.api import API
import googletrans
from sentence_transformers import SentenceTransformer, util

class Translate(API):
    description = "Translate."
    input_parameters = {"text": {"type": "str", "description": "What."}}

    def __init__(self):
        self.translator = googletrans.Translator()

    def call(self, text):
        return {"output": self.translator.translate(text), "exception": None}
"""


def line(name: str, arguments: dict, output) -> dict:
    return {
        "role": "API", "api_name": name, "param_dict": arguments,
        "result": {"api_name": name, "input": arguments, "output": output, "exception": None},
    }  # fmt: skip


DIALOGUE = [
    {"role": "User", "text": "Put 5 into my account, the token is t1, and say what 2 * 3 is."},
    {"role": "AI", "text": "First the money."},
    line("Deposit", {"token": "t1", "amount": "5", "notes": "['rent']"}, 106),
    {"role": "AI", "text": "Now the formula."},
    line("Calculator", {"formula": "2 * 3"}, 6),
    {"role": "AI", "text": "It is 6."},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("api-bank")
    files = {"__init__": "from .api import API", "api": API, "accounts": ACCOUNTS, "calculator": CALCULATOR,
             "translate": TRANSLATE}  # fmt: skip
    for name, text in files.items():
        (folder / "apis").mkdir(exist_ok=True)
        (folder / "apis" / f"{name}.py").write_text(text)
    (folder / "init_database").mkdir()
    (folder / "init_database" / "Account.json").write_text(json.dumps({"anna": {"token": "t1"}}))
    (folder / "init_database" / "Bank.json").write_text(json.dumps({"anna": 100}))
    (folder / DIALOGUES).mkdir(parents=True)
    written = "".join(json.dumps(entry) + "\n" for entry in DIALOGUE)
    (folder / DIALOGUES / "Deposit-level-1-1.jsonl").write_text(written)
    return folder


@pytest.fixture
def program(folder) -> Iterator[Isolated]:
    with apis(folder) as program:
        yield program


def settings_of(folder: Path | None):
    settings = load_settings("demo")
    folders = {} if folder is None else {"api_bank": str(folder)}
    return settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update={"folders": folders})})


class Answers:
    """A subject that writes the same to every conversation."""

    prompt_hash = "answers"
    device = "cpu"

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked: list[Conversation] = []

    def answers(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> Iterator[tuple[int, str]]:
        self.asked += conversations
        yield from ((place, self.text) for place in range(len(conversations)))


def test_a_call_is_asked_for_with_what_was_called_before(folder):
    measured = task(settings_of(folder), None, 10)
    assert sorted(measured.item_ids) == ["Deposit-level-1-1:2", "Deposit-level-1-1:4"]
    subject = Answers("[Calculator(formula='2 * 3')]")
    second, first = sorted(measured.measure(subject, sorted(measured.item_ids)), key=lambda record: record.problem)
    assert (first.item_id, first.problem) == ("Deposit-level-1-1:2", "wrong API")
    assert second.measures == {"accuracy": (1.0, 1.0), "decodable": (1.0, 1.0)}
    first_asked, second_asked = subject.asked
    assert [message["role"] for message in first_asked.messages] == ["system", "user", "assistant"]
    assert second_asked.messages[2] == {
        "role": "assistant", "content": "First the money.",
        "calls": [{"name": "Deposit", "arguments": DIALOGUE[2]["param_dict"]}],
    }  # fmt: skip
    assert second_asked.messages[3] == {"role": "tool", "content": "106"}
    assert [tool["name"] for tool in first_asked.tools] == ["Deposit", "Calculator"]
    assert first_asked.tools[0]["parameters"] == {
        "type": "object",
        "properties": {
            "token": {"type": "string", "description": "The token."},
            "amount": {"type": "integer", "description": "How much."},
            "notes": {"type": "array", "items": {"type": "string"}, "description": "What for."},
        },
        "required": ["token", "amount"],
    }


def test_gold_calls_pass_each_over_a_fresh_database(folder, program):
    items = api_bank_items(folder)
    found = [record_of(program, item, item.gold_call) for item in [*items, *items]]
    assert [record.problem for record in found] == [""] * 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[Deposit(token='t1', amount=5, notes=['rent'])]", ""),
        ("[Deposit(token=t1, amount=5, notes=[rent])]", ""),
        ("I think:\n[Deposit(token='t1', amount=5, notes=['rent'])]", ""),
        ("[Deposit(token='t1', amount=6, notes=['rent'])]", "wrong result: no exception"),
        ("[Deposit(token='t2', amount=5)]", "wrong result: The token is invalid."),
        ("[Deposit(token='t1', amount=-5)]", "call: ValueError: invalid parameter type: amount"),
        ("[Deposit(token='t1', sum=5)]", "call: ValueError: invalid parameter name: sum"),
        ("[Translate(text='x')]", "wrong API"),
        ("[Deposit(token='t1')]", "call: TypeError: Deposit.call() missing 1 required positional argument: 'amount'"),
        ("[Deposit(token='t1', amount=" + "0x" + "f" * 16_000 + ")]", "call: ValueError: Exceeds the limit"),
        ("[Deposit(token='t1', amount=9**9**9)]", "not decodable"),
        ("[Deposit(token='t1', amount='\udfff')]", "call: ValueError: invalid parameter type: amount"),
        ("[" * 100_000, "not decodable"),
        ("[__class__()]", "wrong API"),
        ("[Deposit(token='t1'), Deposit(token='t1')]", "not decodable: 2 calls"),
        ("Nothing to call.", "not decodable"),
        ("", "not decodable"),
    ],
)
def test_answers_and_what_is_wrong_with_them(folder, program, text, problem):
    record = record_of(program, api_bank_items(folder)[0], text)
    assert record.problem.startswith(problem)
    assert record.measures["accuracy"] == (float(not problem), 1.0)
    assert record.measures["decodable"] == (float(not problem.startswith("not decodable")), 1.0)


def test_an_api_that_evaluates_its_argument_harms_nobody(folder, program, tmp_path):
    item = api_bank_items(folder)[1]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        for formula in (
            f"open({str(tmp_path / 'planted')!r}, 'w').write('x')",
            f"__import__('os').open({str(tmp_path / 'planted')!r}, 65)",
            f"__import__('os').system('touch {tmp_path / 'planted'}')",
            f"__import__('socket').create_connection(('127.0.0.1', {port}))",
            "__import__('os')._exit(0)",
            "9**9**9",
            "'x' * 10**12",
        ):
            record = record_of(program, item, f"[Calculator(formula={formula!r})]")
            assert record.measures == {"accuracy": (0.0, 1.0), "decodable": (1.0, 1.0)}
        with pytest.raises(TimeoutError):
            listener.accept()
    assert BOUNDS.processor_seconds == 1
    assert not (tmp_path / "planted").exists()
    assert record_of(program, item, item.gold_call).problem == ""


def test_a_module_that_is_absent_is_named_when_it_is_called(folder, program):
    item = api_bank_items(folder)[0]
    translation = replace(item, name="Translate", result={"output": "x"})
    record = record_of(program, translation, "[Translate(text='x')]")
    assert record.problem in {
        "call: NotImplementedError: googletrans.Translator is not installed here",
        "call: RefusedError: socket.getaddrinfo is refused here",
    }


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(NotEvaluated, match="DAMO-ConvAI/api-bank"):
        task(settings_of(None), None, 1)
    (tmp_path / "apis").symlink_to(folder / "apis")
    (tmp_path / "lv1-lv2-samples").symlink_to(folder / "lv1-lv2-samples")
    for factory in (task, loss_task):
        with pytest.raises(NotEvaluated, match="lacks init_database"):
            factory(settings_of(tmp_path), None, 1)


def test_the_key_follows_the_data(folder, tmp_path):
    before = task(settings_of(folder), None, 2).key
    assert task(settings_of(folder), None, 2).key == before
    for part in ("apis", "lv1-lv2-samples"):
        (tmp_path / part).symlink_to(folder / part)
    (tmp_path / "init_database").mkdir()
    assert task(settings_of(tmp_path), None, 2).key != before


def test_loss_of_gold_calls(folder, tiny_model):
    measured = loss_task(settings_of(folder), None, 2)
    assert measured.needs_weights
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    subject = LocalSubject(model, AutoTokenizer.from_pretrained(tiny_model))
    found = list(measured.measure(subject, measured.item_ids))
    assert {record.item_id for record in found} == set(measured.item_ids)
    for record in found:
        nats, tokens = record.measures["nats_per_token"]
        assert 4 < nats / tokens < 8, "an untrained model of 400 tokens: about ln(400) = 6"
        assert record.measures["item_mean_nats_per_token"] == (pytest.approx(nats / tokens), 1)


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """The real APIs and dialogues. The copy beside the checkout has no ``init_database``: the accounts that the
    dialogues themselves show stand for it."""
    if not (REAL / "apis").is_dir():
        pytest.skip("API-Bank is not beside the checkout")
    folder = tmp_path_factory.mktemp("real")
    for part in ("apis", "lv1-lv2-samples"):
        (folder / part).symlink_to(REAL / part)
    (folder / "init_database").mkdir()
    accounts = {
        item.arguments["username"]: {
            "password": item.arguments["password"], "token": item.result["output"]["token"], "email": "",
        }
        for item in api_bank_items(folder)
        if item.name == "GetUserToken" and item.result["exception"] is None
    }  # fmt: skip
    (folder / "init_database" / "Account.json").write_text(json.dumps(accounts))
    return folder


def test_the_real_dialogues(real):
    items = api_bank_items(real)
    assert len(items) == 389
    assert len({item.item_id for item in items}) == 389
    with apis(real) as program:
        described = program.ask({})
        assert len(described["tools"]) == 53
        assert {name for item in items for name in item.api_names} <= set(described["tools"])
        own_state = [item for item in items if item.name in ("Calculator", "GetToday", "AddAlarm", "AddMeeting")]
        wrong = {item.item_id: record_of(program, item, item.gold_call).problem for item in own_state}
    assert len(own_state) == 20
    assert {name: problem for name, problem in wrong.items() if problem} == {}


@pytest.mark.slow
def test_real_gold_calls(real):
    """Slow: 389 processes. With the accounts alone 180 pass; the others want API-Bank's other databases."""
    with apis(real) as program:
        found = [record_of(program, item, item.gold_call) for item in api_bank_items(real)]
    assert sum(record.measures["accuracy"][0] for record in found) == 180
    assert all(record.measures["decodable"] == (1.0, 1.0) for record in found)
