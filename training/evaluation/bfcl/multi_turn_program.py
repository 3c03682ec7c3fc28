"""Runs isolated (:mod:`training.evaluation.isolation`): BFCL's simulators and its multi-turn checker.

The checker is BFCL's own, ``bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker``; its executor, which evaluates
a model's text as Python, is replaced by :func:`execute_calls`. Expects the unpacked ``bfcl-eval`` wheel on the path.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from training.evaluation.python_calls import Call, calls_of

_MODULES: Any = importlib.import_module("bfcl_eval.constants.executable_backend_config")
_CHECKER: Any = importlib.import_module("bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker")
_SIMULATORS = {
    name: getattr(importlib.import_module(_MODULES.CLASS_FILE_PATH_MAPPING[name]), name)
    for name in (
        "GorillaFileSystem", "MathAPI", "MessageAPI", "TicketAPI", "TradingBot", "TravelAPI", "TwitterAPI",
        "VehicleControlAPI",
    )
}  # fmt: skip

_instances: dict[tuple[str, str, str], Any] = {}
"""Simulators by who calls them, item and class."""


def answer(request: Mapping[str, Any]) -> Any:
    """Of ``entry`` (BFCL's row) and what the model answered: ``{"steps": [text]}`` over all turns gives the results of
    the last step; ``{"turns": [[text]], "ground_truth": [[call]]}`` the checker's verdict, without its details.
    """
    entry = request["entry"]
    if "steps" in request:
        results: list[str] = []
        for text in request["steps"]:
            results, _ = execute_calls(
                _calls(text), entry["initial_config"], entry["involved_classes"], "model", entry["id"],
                is_long_context(entry["id"]),
            )  # fmt: skip
        return results
    turns = [[_calls(text) for text in turn] for turn in request["turns"]]
    category = entry["id"].rsplit("_", 1)[0]
    verdict = _CHECKER.multi_turn_checker(turns, request["ground_truth"], entry, category, "model")
    return {key: verdict[key] for key in ("valid", "error_type", "error_message") if key in verdict}


def execute_calls(
    func_call_list: Sequence[Call | str],
    initial_config: Mapping[str, Any],
    involved_classes: Sequence[str],
    model_name: str,
    test_entry_id: str,
    long_context: bool = False,
    is_evaL_run: bool = False,  # noqa: ARG001, N803 - BFCL's signature
) -> tuple[list[str], dict[str, Any]]:
    """What each call returns, as text, and the simulators by class: BFCL's ``execute_multi_turn_func_call`` without its
    ``eval``. A method is found by name among the public ones of the simulators; arguments are values.

    Calls are of a model, or a gold call as text.
    """
    instances = {
        name: _instance(model_name, test_entry_id, name, initial_config, long_context) for name in involved_classes
    }
    methods: dict[str, Callable[..., Any]] = {
        name: method
        for instance in instances.values()
        for name, method in inspect.getmembers(instance, predicate=inspect.ismethod)
        if not name.startswith("_")
    }
    return [_result(call, methods) for call in func_call_list], instances


def is_long_context(item_id: str) -> bool:
    return "long_context" in item_id


def _calls(text: str) -> list[Call]:
    return calls_of(text, symbols_as_text=True)


def _instance(who: str, item_id: str, name: str, initial_config: Mapping[str, Any], long_context: bool) -> Any:
    key = (who, item_id, name)
    if key not in _instances:
        instance = _SIMULATORS[name]()
        if name not in _MODULES.STATELESS_CLASSES:
            instance._load_scenario(copy.deepcopy(initial_config.get(name, {})), long_context=long_context)
        _instances[key] = instance
    return _instances[key]


def _result(call: Call | str, methods: Mapping[str, Callable[..., Any]]) -> str:
    try:
        name, positional, arguments = (call.name, [], call.arguments) if isinstance(call, Call) else _gold_call(call)
        if name not in methods:
            raise NameError(f"name '{name.partition('.')[0]}' is not defined")
        found = methods[name](*positional, **arguments)
        if isinstance(found, str):
            return found
        if isinstance(found, dict):
            try:
                return json.dumps(found)
            except (TypeError, ValueError):
                return str(found)
        return str(found)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a simulator tells a model what went wrong, as BFCL's executor does
        return f"Error during execution: {error}"


def _gold_call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Gold calls are BFCL's, some with positional arguments and some longer than a model's may be."""
    call = ast.parse(text.strip(), mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    return (
        call.func.id,
        [ast.literal_eval(value) for value in call.args],
        {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg is not None},
    )


_CHECKER.execute_multi_turn_func_call = execute_calls
