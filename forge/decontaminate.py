"""Finding benchmark items in training documents: by word n-grams and by function signature (D10).

n-grams find copied questions and descriptions. They miss every function that is rendered another way (prose, command
line, code), so functions are also compared by :func:`forge.schema.signature_key`: operation name and parameter names.
Short signatures say too little (``get(id)``, ``add(a, b)``), so such a match also needs the same description.

Benchmarks are read as data from their unpacked package; nothing of them is ever imported or executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from forge.artifacts import artifact_path
from forge.config import Settings
from forge.dedup.minhash import Hashes, ngram_hashes, words_of
from forge.schema import normalised_text, signature_key

BFCL = "bfcl"
MIN_SIGNATURE_PARAMETERS = 2
MIN_PARAMETER_CHARACTERS = 3
MIN_BARE_NAME_PARAMETERS = 3
"""``math.gcd(a,b)`` of a benchmark also matches a bare ``gcd``, but only with this many parameters."""
MIN_DISTINCT_WORDS = 6
"""An n-gram with fewer different words ("1 2 3 ... 13", "a a a") is a stock phrase, not an item."""
MAX_HITS = 20
_FILES = ("data/*.json", "data/multi_turn_func_doc/*.json", "data/memory_prereq_conversation/*.json",
          "data/unused_datasets/question/*.json")  # fmt: skip
_MAX_NESTING = 12


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a benchmark item offers or that a document renders."""

    name: str
    parameters: tuple[str, ...]
    description: str


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    benchmark: str
    item: str
    texts: tuple[str, ...]
    functions: tuple[Function, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """One benchmark item found in a document.

    ``method`` is "ngram", "signature" or "denied_source"; ``evidence`` is the n-gram or the signature, for people.
    """

    benchmark: str
    item: str
    method: str
    evidence: str


@dataclass(frozen=True)
class BenchmarkIndex:
    """What documents are compared with.

    ``ngrams``: sorted distinct hashes, shape (n,); ``owner_of``: beside each the place in ``owners`` of the item that
    has it first. ``signatures``: key to the items that offer it, with the normalised description.
    """

    ngram_words: int
    ngrams: Hashes
    owners: tuple[tuple[str, str], ...]
    owner_of: np.ndarray[Any, np.dtype[np.int32]]
    signatures: Mapping[str, tuple[tuple[str, str, str], ...]]
    items: int

    @cached_property
    def names(self) -> frozenset[str]:
        """The folded names of all signatures: a quick test before a key is built."""
        return frozenset(key.partition("(")[0] for key in self.signatures)


def benchmark_index(settings: Settings) -> BenchmarkIndex:
    """The index of BFCL's questions and functions.

    Raises :class:`forge.config.ConfigurationError` when the artifact has not been unpacked.
    """
    folder = artifact_path(settings, BFCL)
    items = read_bfcl(folder / "bfcl_eval") if folder is not None else []
    return index_of(items, settings.corpus.decontaminate.ngram_words)


def read_bfcl(folder: Path) -> list[BenchmarkItem]:
    """Every item of the unpacked ``bfcl_eval`` package, ordered by file and line."""
    found = []
    for pattern in _FILES:
        for file in sorted(folder.glob(pattern)):
            for number, line in enumerate(file.read_bytes().splitlines(), start=1):
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue  # format_sensitivity.json is one pretty-printed object: a list of ids, no content
                if isinstance(record, dict):
                    found.append(_bfcl_item(record, f"{file.stem}:{number}"))
    return found


def _bfcl_item(record: Mapping[str, Any], place: str) -> BenchmarkItem:
    if "parameters" in record and "name" in record:  # a function of the multi-turn suites
        functions = [_function(record)]
        texts = [functions[0].description]
    else:
        functions = [_function(one) for one in record.get("function", []) if isinstance(one, dict) and "name" in one]
        texts = [text for text in _messages(record.get("question", [])) if text]
        texts += [function.description for function in functions]
    item = str(record.get("id") or record.get("name") or place)
    return BenchmarkItem(BFCL, item, tuple(texts), tuple(functions))


def _messages(value: object, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str) and depth:
        yield value
    elif isinstance(value, list) and depth < _MAX_NESTING:
        for one in value:
            yield from _messages(one, depth + 1)
    elif isinstance(value, dict) and isinstance(value.get("content"), str) and value.get("role") != "system":
        yield value["content"]


def _function(record: Mapping[str, Any]) -> Function:
    parameters = record.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    names = tuple(map(str, properties)) if isinstance(properties, dict) else ()
    return Function(str(record["name"]), names, str(record.get("description") or ""))


def index_of(items: Iterable[BenchmarkItem], ngram_words: int) -> BenchmarkIndex:
    """The index of some items. Where several share an n-gram, the first one owns it."""
    owners: list[tuple[str, str]] = []
    hashes: list[Hashes] = []
    positions: list[np.ndarray[Any, np.dtype[np.int32]]] = []
    signatures: dict[str, list[tuple[str, str, str]]] = {}
    for item in items:
        for text in item.texts:
            words = words_of(text)
            found = ngram_hashes(words, ngram_words)
            keep = [index for index in range(len(found)) if _is_specific(words[index : index + ngram_words])]
            hashes.append(found[keep])
            positions.append(np.full(len(keep), len(owners), dtype=np.int32))
        for function in item.functions:
            for key in _benchmark_keys(function):
                entry = (item.benchmark, item.item, normalised_text(function.description))
                signatures.setdefault(key, []).append(entry)
        owners.append((item.benchmark, item.item))
    every = np.concatenate(hashes) if hashes else np.empty(0, dtype=np.uint64)
    owner = np.concatenate(positions) if positions else np.empty(0, dtype=np.int32)
    distinct, first = np.unique(every, return_index=True)
    return BenchmarkIndex(
        ngram_words, distinct, tuple(owners), owner[first], {key: tuple(found) for key, found in signatures.items()},
        len(owners),
    )  # fmt: skip


def _is_specific(words: Sequence[str]) -> bool:
    return len(set(words)) >= MIN_DISTINCT_WORDS and sum(word.isdigit() for word in words) <= len(words) // 2


def _benchmark_keys(function: Function) -> list[str]:
    keys = [signature_key(function.name, function.parameters)]
    bare = function.name.rpartition(".")[2]
    if bare != function.name and len(function.parameters) >= MIN_BARE_NAME_PARAMETERS:
        keys.append(signature_key(bare, function.parameters))
    return keys


def signature_hits(key: str, description: str, index: BenchmarkIndex) -> list[Hit]:
    """Items whose function has this signature key.

    With fewer than :data:`MIN_SIGNATURE_PARAMETERS` parameters whose names say something the normalised description
    must be equal too.
    """
    entries = index.signatures.get(key, ())
    parameters = key.partition("(")[2].rstrip(")").split(",")
    telling = sum(len(parameter) >= MIN_PARAMETER_CHARACTERS for parameter in parameters)
    if entries and telling < MIN_SIGNATURE_PARAMETERS:
        wanted = normalised_text(description)
        entries = tuple(entry for entry in entries if wanted and entry[2] == wanted)
    return [Hit(benchmark, item, "signature", key) for benchmark, item, _ in entries][:MAX_HITS]


def ngram_hits(text: str, index: BenchmarkIndex) -> list[Hit]:
    """Items that share an n-gram with the text, each once, in the order of the text."""
    words = words_of(text)
    hashes = ngram_hashes(words, index.ngram_words)
    if not len(hashes) or not len(index.ngrams):
        return []
    places = np.searchsorted(index.ngrams, hashes)
    places[places == len(index.ngrams)] = 0
    hits: dict[tuple[str, str], Hit] = {}
    for position in np.flatnonzero(index.ngrams[places] == hashes).tolist():
        owner = index.owners[int(index.owner_of[places[position]])]
        evidence = " ".join(words[position : position + index.ngram_words])
        hits.setdefault(owner, Hit(*owner, "ngram", evidence))
        if len(hits) >= MAX_HITS:
            break
    return list(hits.values())


_JSON_FUNCTION = re.compile(r"\{\s*\"(?:name|type|description|parameters|function)\"\s*:")
_DEFINITION = re.compile(r"^\s*(?:async\s+)?def\s+(\w+)\s*\(([^()]{0,2000})\)", re.MULTILINE)
_PARAMETER = re.compile(r"(?:^|,)\s*\*{0,2}(\w+)")
_MAX_JSON_CHARACTERS = 20_000
_MAX_JSON_STARTS = 200


def rendered_functions(text: str) -> Iterator[Function]:
    """Functions that a text holds as JSON Schema tool descriptions or as Python definitions."""
    if '"parameters"' in text or '"properties"' in text:
        yield from _json_functions(text)
    if "def " in text:
        for match in _DEFINITION.finditer(text):
            names = tuple(name for name in _PARAMETER.findall(match[2]) if name not in {"self", "cls"})
            yield Function(match[1], names, "")


def _json_functions(text: str) -> Iterator[Function]:
    try:
        yield from _functions_in(orjson.loads(text))
        return
    except orjson.JSONDecodeError:
        pass
    end = 0
    for count, match in enumerate(_JSON_FUNCTION.finditer(text)):
        if count >= _MAX_JSON_STARTS:
            return
        if match.start() < end:
            continue
        piece = _balanced(text, match.start())
        try:
            value = orjson.loads(piece)
        except orjson.JSONDecodeError:
            continue
        end = match.start() + len(piece)
        yield from _functions_in(value)


def _balanced(text: str, start: int) -> str:
    """From an opening brace to its closing one, strings respected; at most :data:`_MAX_JSON_CHARACTERS`."""
    depth, in_string, index = 0, False, start
    stop = min(len(text), start + _MAX_JSON_CHARACTERS)
    while index < stop:
        character = text[index]
        if in_string:
            if character == "\\":
                index += 1
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return text[start : index + 1]
        index += 1
    return text[start:stop]


def _functions_in(value: object, depth: int = 0) -> Iterator[Function]:
    if depth > _MAX_NESTING:
        return
    if isinstance(value, dict):
        if isinstance(value.get("name"), str) and isinstance(value.get("parameters"), dict):
            yield _function(value)
            return
        for inner in value.values():
            yield from _functions_in(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _functions_in(inner, depth + 1)


def matches(text: str, signature_key_: str | None, index: BenchmarkIndex, description: str = "") -> list[Hit]:
    """All hits of one document: its entity's signature, the functions that it renders, its n-grams.

    ``description`` is the entity's. Each (item, method) comes once; at most :data:`MAX_HITS`.
    """
    found: list[Hit] = []
    if signature_key_ is not None:
        found += signature_hits(signature_key_, description, index)
    for function in rendered_functions(text):
        if _folded(function.name) in index.names:
            found += signature_hits(signature_key(function.name, function.parameters), function.description, index)
    found += ngram_hits(text, index)
    distinct = {(hit.benchmark, hit.item, hit.method): hit for hit in reversed(found)}
    return sorted(distinct.values(), key=lambda hit: (hit.method, hit.benchmark, hit.item))[:MAX_HITS]


def _folded(name: str) -> str:
    return signature_key(name, ()).partition("(")[0]
