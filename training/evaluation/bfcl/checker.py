"""Judges answers to BFCL's single-turn items as BFCL does: with its own checker, but without its ``eval``.

BFCL decodes Python answers by a walk over the syntax tree that evaluates what a model wrote (``resolve_ast_by_type``);
:mod:`training.evaluation.python_calls` stands in its place. The comparison with the gold answers (``ast_checker``) and
the decoders of Java and JavaScript are BFCL's, imported from the unpacked wheel: they parse and compare, nothing more.

Judged otherwise than by ``bfcl_eval``, each for a reason; a test shows every one:

- Arithmetic on numbers and the joining of strings are computed as far as they stay small. What else BFCL evaluates
  (names, calls, other operators, in ``a=len("x") + 1``) is no literal: no list of calls.
- ``+3`` is 3; BFCL negates whatever has a sign. ``not 1``, ``~1`` and ``-True`` are no literals.
- ``**{"a-b": 1}`` is an argument named ``a-b``: so training renders what is no ASCII identifier.
- Lines before the list do not count: our prompt lets a model think first.
- ``f().g(a=1)`` calls no function that has a name; BFCL reads ``g``.
- More than 16,384 characters are no list of calls.
- An empty list is not counted as decodable. It is never right where calls are expected, and no call where none is.
- Where BFCL's run would end with an exception, the answer is wrong; so it is in Java and JavaScript when BFCL's
  patterns take longer than 0.2 s of CPU time.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import regex  # type: ignore[import-untyped]

from training.evaluation.bfcl.data import RELEVANCE_CATEGORIES, BfclItem, Language
from training.evaluation.python_calls import NotCalls, calls_of, list_candidates

Decoded = list[dict[str, dict[str, Any]]]
PACKAGE = "bfcl_eval"
REGEX_SECONDS = 0.2
"""CPU time for the patterns by which BFCL reads the Java or JavaScript literals of an answer; some are exponential. A
thousand times what a gold answer takes: no verdict depends on how busy the machine is."""
PARSER_MICROSECONDS = 500_000
"""Of a Java or JavaScript answer; the longest takes some 100,000."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``decoded``: the answer was a list of calls; ``problem``: "" when it is right, else why not."""

    right: bool
    decoded: bool
    problem: str = ""


@dataclass(frozen=True)
class Checker:
    """BFCL's functions. ``compare`` is ``ast_checker``, ``languages`` its names of languages."""

    compare: Callable[..., Mapping[str, Any]]
    languages: Mapping[Language, Any]
    decode_java: Callable[[str], Any]
    decode_javascript: Callable[[str], Any]
    patterns: _BoundedPatterns

    @classmethod
    def of(cls, artifact: Path) -> Checker:
        """The checker of the unpacked wheel; raises ImportError when it is not there whole."""
        return _checker(artifact)

    def check(self, item: BfclItem, text: str) -> Verdict:
        """Judge an answer. Less than 1 s for any text."""
        decoded = self.decode(text, "python" if item.category in RELEVANCE_CATEGORIES else item.language)
        if item.category in RELEVANCE_CATEGORIES:
            is_call_wanted = item.category == "live_relevance"
            problem = "" if bool(decoded) is is_call_wanted else "no call" if is_call_wanted else "a call"
        else:
            problem = self._problem(item, decoded) if decoded else "not a list of calls"
        return Verdict(not problem, bool(decoded), problem)

    def decode(self, text: str, language: Language) -> Decoded:
        """Calls as BFCL has them: [{name: {argument: value}}]; empty where there are none. In Java and JavaScript,
        values are source text, and only a first call is read."""
        if language == "python":
            try:
                return [{call.name: dict(call.arguments)} for call in calls_of(text, symbols_as_text=True)]
            except NotCalls:
                return []
        decode = self.decode_java if language == "java" else self.decode_javascript
        for candidate in list_candidates(text):
            try:
                found = decode(candidate[1:-1])
            except Exception:  # noqa: BLE001, S112  (BFCL's run takes any exception of a decoder for "no calls", too)
                continue
            if isinstance(found, list) and found:
                return found
        return []

    def _problem(self, item: BfclItem, decoded: Decoded) -> str:
        self.patterns.start()
        try:
            found = self.compare(
                item.functions, decoded, item.ground_truth, self.languages[item.language], item.category, "evaluated"
            )
        except Exception as error:  # noqa: BLE001  (BFCL's checker raises whatever comes of a value of another shape)
            return f"checker: {type(error).__name__}"
        return "" if found["valid"] else str(found["error_type"])


class _BoundedPatterns:
    """What BFCL's readers of literals use of module ``re``, with a budget of CPU time: :data:`REGEX_SECONDS` from
    :meth:`start` on, then TimeoutError."""

    DOTALL = regex.DOTALL

    def __init__(self) -> None:
        self._end = 0.0

    def start(self) -> None:
        self._end = time.thread_time() + REGEX_SECONDS

    def match(self, pattern: str, text: str, flags: int = 0) -> Any:
        return regex.match(pattern, text, flags, timeout=self._left())

    def search(self, pattern: str, text: str, flags: int = 0) -> Any:
        return regex.search(pattern, text, flags, timeout=self._left())

    def findall(self, pattern: str, text: str, flags: int = 0) -> Any:
        return regex.findall(pattern, text, flags, timeout=self._left())

    def sub(self, pattern: str, replacement: str, text: str) -> str:
        return str(regex.sub(pattern, replacement, text, timeout=self._left()))

    def _left(self) -> float:
        left = self._end - time.thread_time()
        if left <= 0:
            raise TimeoutError
        return left


@functools.lru_cache(maxsize=2)
def _checker(artifact: Path) -> Checker:
    with _importable(artifact):
        ast_checker = importlib.import_module(f"{PACKAGE}.eval_checker.ast_eval.ast_checker")
        languages = importlib.import_module(f"{PACKAGE}.constants.enums").Language
        patterns = _BoundedPatterns()
        for name in ("java", "js"):
            converter: Any = importlib.import_module(
                f"{PACKAGE}.eval_checker.ast_eval.type_convertor.{name}_type_converter"
            )
            converter.re = patterns
            converter.print = _say_nothing
        java = importlib.import_module(f"{PACKAGE}.model_handler.parser.java_parser")
        javascript = importlib.import_module(f"{PACKAGE}.model_handler.parser.js_parser")
        for parser in (java.parser, javascript.parser):
            parser.set_timeout_micros(PARSER_MICROSECONDS)
    return Checker(
        ast_checker.ast_checker,
        {language: languages(language) for language in ("python", "java", "javascript")},
        java.parse_java_function_call,
        javascript.parse_javascript_function_call,
        patterns,
    )


@contextlib.contextmanager
def _importable(artifact: Path) -> Iterator[None]:
    """The wheel's package can be imported, without its table of models: that imports every vendor's client. Neither
    stays behind: modules that were imported here are known to those alone that hold them."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_of_package(name)}
    models: Any = types.ModuleType(f"{PACKAGE}.constants.model_config")
    models.MODEL_CONFIG_MAPPING = {"evaluated": types.SimpleNamespace(underscore_to_dot=False)}
    sys.modules[models.__name__] = models
    sys.path.insert(0, str(artifact))
    try:
        yield
    finally:
        sys.path.remove(str(artifact))
        for name in list(sys.modules):
            if _is_of_package(name):
                del sys.modules[name]
        sys.modules.update(before)


def _is_of_package(module: str) -> bool:
    return module == PACKAGE or module.startswith(f"{PACKAGE}.")


def _say_nothing(*_: object) -> None:
    """In place of ``print``: an answer that cannot be read is no news for the console."""
