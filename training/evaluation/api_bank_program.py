"""Runs isolated (:mod:`training.evaluation.isolation`): API-Bank's APIs over their first databases.

Expects the folder that holds ``apis`` and ``init_database`` on the path. What the APIs import and is not installed
here, or would load a model, is replaced by something that raises when it is called.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from training.evaluation.python_calls import Call, calls_of

_OPTIONAL = ("googletrans", "nltk", "nltk.tokenize", "openai", "rank_bm25", "requests", "rouge")
_NEVER = ("sentence_transformers",)

_JSON_TYPES: Mapping[str, Mapping[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array"},
    "list(str)": {"type": "array", "items": {"type": "string"}},
}


class _Absent:
    """Anything of a module that is not there: it can be imported, and called it raises."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *_arguments: object, **_named: object) -> Any:
        raise NotImplementedError(f"{self._name} is not installed here")

    def __getattr__(self, name: str) -> _Absent:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self._name}.{name}")


class _AbsentModule(ModuleType):
    def __getattr__(self, name: str) -> _Absent:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self.__name__}.{name}")


def _replace_absent() -> list[str]:
    absent = [name for name in _OPTIONAL if not _is_installed(name)]
    for name in (*_NEVER, *absent):
        sys.modules[name] = _AbsentModule(name)
    return absent


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


_ABSENT = _replace_absent()
_FOLDER = Path(importlib.import_module("apis").__file__ or "").parent.parent
_BASE: Any = importlib.import_module("apis.api").API


def _apis() -> dict[str, Any]:
    """Classes by name. A file that cannot be imported is left out, as API-Bank does."""
    found: dict[str, Any] = {}
    for path in sorted((_FOLDER / "apis").glob("*.py")):
        try:
            module = importlib.import_module(f"apis.{path.stem}")
        except ImportError:
            continue
        found.update({name: value for name, value in vars(module).items() if _is_api(value)})
    return found


def _is_api(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, _BASE) and value is not _BASE


_APIS = _apis()
_DATABASES = {path.stem: json.loads(path.read_bytes()) for path in sorted((_FOLDER / "init_database").glob("*.json"))}


def answer(request: Mapping[str, Any]) -> Any:
    """``{"text", "api_name", "result"}``: "" when the call in the text is one of that API and does what the gold call's
    result says, else why not. ``{}``: the APIs as JSON Schema functions by name, and which modules are absent."""
    if request:
        (call,) = calls_of(request["text"], symbols_as_text=True)
        return "wrong API" if call.name != request["api_name"] else _problem(call, request["result"])
    return {"tools": {name: _tool(name) for name in _APIS}, "absent": _ABSENT}


def _tool(name: str) -> dict[str, Any]:
    """Of API-Bank's description; an argument is required where ``call`` has no default for it."""
    api = _APIS[name]
    parameters = inspect.signature(api.call).parameters
    return {
        "name": name,
        "description": api.description,
        "parameters": {
            "type": "object",
            "properties": {
                key: {**_JSON_TYPES.get(value["type"], {}), "description": value["description"]}
                for key, value in api.input_parameters.items()
            },
            "required": [
                key
                for key in api.input_parameters
                if key in parameters and parameters[key].default is inspect.Parameter.empty
            ],
        },
    }


def _problem(call: Call, result: Mapping[str, Any]) -> str:
    """As API-Bank's ``Evaluator.evaluate``: the API's own check of what it returned against the gold result."""
    step = "call"
    try:
        api = _api(call.name)
        returned = api.call(**{key: _typed(api, key, value) for key, value in call.arguments.items()})
        step = "check"
        if api.check_api_call_correctness(returned, result):
            return ""
        return f"wrong result: {returned.get('exception') or 'no exception'}"[:300]
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a wrong call, or a check that trips over what it returned
        return f"{step}: {type(error).__name__}: {error}"[:300]


def _api(name: str) -> Any:
    """Over the first state of its database."""
    made = _APIS[name]
    given = {}
    if getattr(made, "database_name", None) in _DATABASES:
        given["init_database"] = _DATABASES[made.database_name]
    if name != "CheckToken" and "token" in made.input_parameters:
        given["token_checker"] = _api("CheckToken")
    return made(**given)


def _typed(api: Any, key: str, value: Any) -> Any:
    """As API-Bank's ``ToolManager.api_call``, which takes every argument as text. Raises ValueError."""
    if key not in api.input_parameters:
        raise ValueError(f"invalid parameter name: {key}")
    kind, text = api.input_parameters[key]["type"], value if isinstance(value, str) else str(value)
    if kind == "str":
        return text
    if kind == "int" and text.isdigit():
        return int(text)
    if kind == "float" and text.replace(".", "", 1).isdigit():
        return float(text)
    if kind in ("list", "list(str)"):
        return json.loads(text.replace("'", '"'))
    if kind == "bool":
        return text == "True"
    raise ValueError(f"invalid parameter type: {key}")
