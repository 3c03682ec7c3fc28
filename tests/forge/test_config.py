"""The settings tree: what is wrong is one message that names the file, the key and what is allowed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from forge.config import ConfigurationError, Settings, checkout, load_settings


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of the checkout's own conf/ that a test may break."""
    folder = tmp_path / "conf"
    shutil.copytree(checkout() / "conf", folder)
    return folder


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + "\n" + text)


def refusal(conf: Path, profile: str | None = "demo", environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(profile, conf, environment or {})
    return str(caught.value)


@pytest.mark.parametrize("profile", ["demo", "local", "cluster"])
def test_every_profile_of_the_checkout_loads(conf: Path, profile: str) -> None:
    found = load_settings(profile, conf, {})
    assert isinstance(found, Settings)
    assert found.profile == profile
    assert found.enabled_sources()


def test_an_unknown_key_names_file_key_and_allowed_keys(conf: Path) -> None:
    (conf / "profiles" / "demo.yaml").write_text("lake: {rooot: x}\n")
    message = refusal(conf)
    assert "profiles/demo.yaml" in message
    assert "lake.rooot" in message
    assert "unknown key" in message
    assert "root, s3_endpoint, s3_region" in message


def test_an_unknown_key_of_a_source_lists_the_keys_of_a_source(conf: Path) -> None:
    append(conf / "sources.yaml", "mine: {type: files, lisence: MIT}\n")
    message = refusal(conf)
    assert "sources.yaml: sources.mine.lisence: unknown key" in message
    assert "license, enabled, artifact, options" in message


def test_a_bad_value_names_file_key_and_what_is_allowed(conf: Path) -> None:
    append(conf / "sources.yaml", "mine: {type: ftp}\n")
    message = refusal(conf)
    assert "sources.yaml: sources.mine.type" in message
    assert "'botocore'" in message
    assert "'ftp'" in message


def test_a_value_out_of_bounds_is_refused(conf: Path) -> None:
    (conf / "profiles" / "demo.yaml").write_text("corpus: {held_out_share: 1.5}\n")
    message = refusal(conf)
    assert "corpus.held_out_share" in message
    assert "less than or equal to 1" in message
    assert "1.5" in message


def test_shares_that_do_not_sum_to_one_are_refused(conf: Path) -> None:
    (conf / "profiles" / "demo.yaml").write_text("corpus: {mix: {domain_shares: {agent: 0.9}}}\n")
    assert "sum to 1" in refusal(conf)


def test_an_artifact_that_is_not_listed_is_refused(conf: Path) -> None:
    append(conf / "sources.yaml", "mine: {type: website, artifact: nowhere}\n")
    message = refusal(conf)
    assert "sources.mine.artifact" in message
    assert "'nowhere' is not in artifacts" in message


def test_a_missing_file_is_named(conf: Path) -> None:
    (conf / "corpus.yaml").unlink()
    message = refusal(conf)
    assert str(conf / "corpus.yaml") in message
    assert "missing" in message


def test_a_file_that_is_no_yaml_or_no_mapping_is_named(conf: Path) -> None:
    (conf / "corpus.yaml").write_text("a: [1\n")
    assert "corpus.yaml: not valid YAML" in refusal(conf)
    (conf / "corpus.yaml").write_text("- a\n- b\n")
    assert "corpus.yaml: expected a mapping of keys at the top, found list" in refusal(conf)


def test_a_key_that_stands_twice_is_an_error(conf: Path) -> None:
    (conf / "corpus.yaml").write_text("crawl:\n  rounds: 1\n  rounds: 2\n")
    assert "corpus.yaml: not valid YAML: key 'rounds' stands twice in one mapping (line 3)" in refusal(conf)


def test_an_unknown_profile_lists_the_known_ones(conf: Path) -> None:
    message = refusal(conf, "production")
    assert "profile 'production'" in message
    assert "cluster, demo, full, local" in message


def test_the_environment_overrides_and_is_named_when_it_is_wrong(conf: Path) -> None:
    found = load_settings("demo", conf, {"FORGE__LAKE__TARGET_FILE_BYTES": "1024", "FORGE__TRAINING__APPROVAL": "true"})
    assert found.lake.target_file_bytes == 1024
    assert found.training.approval is True
    message = refusal(conf, environment={"FORGE__LAKE__TARGET_FILE_BYTES": "many"})
    assert "environment variable FORGE__LAKE__TARGET_FILE_BYTES" in message
    message = refusal(conf, environment={"FORGE__LAKE__COLOUR": "red"})
    assert "environment variable FORGE__LAKE__COLOUR" in message
    assert "root, s3_endpoint" in message
    assert "not a YAML value" in refusal(conf, environment={"FORGE__LAKE__ROOT": "[1"})


def test_the_profile_comes_from_the_environment_when_none_is_given(conf: Path) -> None:
    assert load_settings(None, conf, {"FORGE_PROFILE": "local"}).profile == "local"
    assert load_settings(None, conf, {}).profile == "demo"


def test_later_layers_win_and_keep_their_siblings(conf: Path) -> None:
    (conf / "corpus.yaml").write_text("crawl: {rounds: 7, delay_seconds: 2.0}\n")
    (conf / "profiles" / "demo.yaml").write_text("corpus: {crawl: {delay_seconds: 0.5}}\n")
    crawl = load_settings("demo", conf, {"FORGE__CORPUS__CRAWL__TIMEOUT_SECONDS": "9"}).corpus.crawl
    assert (crawl.rounds, crawl.delay_seconds, crawl.timeout_seconds) == (7, 0.5, 9.0)


def test_several_problems_are_reported_at_once(conf: Path) -> None:
    (conf / "profiles" / "demo.yaml").write_text("lake: {rooot: x}\nspark: {shuffle_partitions: 0}\n")
    lines = refusal(conf).splitlines()
    assert len(lines) == 2
    assert all("profiles/demo.yaml" in line for line in lines)


def test_settings_cannot_be_changed_and_relative_places_lie_in_the_checkout(conf: Path) -> None:
    found = load_settings("demo", conf, {})
    with pytest.raises(Exception, match="frozen"):
        found.profile = "other"  # type: ignore[misc]
    assert found.home_path == checkout() / ".forge"
    assert found.lake_root == str(checkout() / ".forge/lake")
    assert load_settings("demo", conf, {"FORGE__LAKE__ROOT": "s3://bucket/x"}).lake_root == "s3://bucket/x"
