"""Profiles of DAGSTER_HOME: what is copied, what is kept, and that Dagster accepts it."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import serialize_value

from retail_assets import deploy
from retail_assets.errors import SettingsError

SECRET = "not-in-any-file"
needs_cluster = pytest.mark.skipif(
    find_spec("dagster_celery") is None or find_spec("dagster_postgres") is None,
    reason="the extra [cluster] is not installed: make e2e does",
)


@pytest.fixture
def secrets(monkeypatch):
    monkeypatch.setenv(deploy.POSTGRES_VARIABLE, f"postgresql://u:{SECRET}@127.0.0.1:1/d")
    monkeypatch.setenv(deploy.REDIS_VARIABLE, f"redis://:{SECRET}@127.0.0.1:1/0")


@pytest.mark.parametrize("profile", deploy.PROFILES)
def test_a_profile_is_written_and_a_second_time_changes_nothing(profile, tmp_path):
    home = tmp_path / "not" / "yet"
    written = deploy.write_profile(profile, home)
    assert written == sorted(home.iterdir())
    assert home / "dagster.yaml" in written
    stamps = [path.stat().st_mtime_ns for path in written]
    assert deploy.write_profile(profile, home) == written
    assert [path.stat().st_mtime_ns for path in written] == stamps


def test_profiles_replace_each_other_and_keep_what_somebody_edited(tmp_path):
    deploy.write_profile("local", tmp_path)
    deploy.write_profile("cluster", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["dagster.yaml"]
    edited = (tmp_path / "dagster.yaml").read_text().replace("runs: 4", "runs: 16")
    (tmp_path / "dagster.yaml").write_text(edited)
    deploy.write_profile("local", tmp_path)
    assert (tmp_path / "dagster.yaml.old").read_text() == edited
    assert (tmp_path / "dagster.yaml").read_text() == deploy.profile_files("local")["dagster.yaml"]


def test_an_unknown_profile_lists_the_known_ones(tmp_path):
    with pytest.raises(SettingsError, match="'kubernetes'; use one of local, cluster"):
        deploy.write_profile("kubernetes", tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"file/dagster: Not a directory"):
        deploy.write_profile("local", tmp_path / "file" / "dagster")


def test_dagster_runs_under_the_local_profile(tmp_path):
    deploy.write_profile("local", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert (tmp_path / "history").is_dir(), "SQLite beside the profile"


@needs_cluster
def test_the_cluster_profile_names_a_launcher_that_can_resume(tmp_path, secrets):
    deploy.write_profile("cluster", tmp_path)
    launcher = InstanceRef.from_dir(str(tmp_path)).run_launcher
    assert launcher is not None
    assert launcher.supports_check_run_worker_health
    assert launcher.supports_resume_run
    assert launcher.broker.endswith(f"{SECRET}@127.0.0.1:1/0")


@needs_cluster
def test_what_is_sent_to_a_worker_holds_no_password(tmp_path, secrets):
    deploy.write_profile("cluster", tmp_path)
    sent = serialize_value(InstanceRef.from_dir(str(tmp_path)))
    assert deploy.POSTGRES_VARIABLE in sent
    assert SECRET not in sent


def test_connections_come_from_the_environment_only():
    shipped = yaml.safe_load(deploy.profile_files("cluster")["dagster.yaml"])
    postgres = shipped["storage"]["postgres"]["postgres_url"]
    launcher = shipped["run_launcher"]["config"]
    assert postgres == {"env": deploy.POSTGRES_VARIABLE}
    assert launcher == {key: {"env": deploy.REDIS_VARIABLE} for key in ("broker", "backend")}


@needs_cluster
def test_a_worker_without_an_address_says_which_variable(monkeypatch, secrets):
    from retail_assets.deploy.worker import worker_app

    assert {"execute_job", "resume_job"} <= set(worker_app().tasks)
    monkeypatch.delenv(deploy.REDIS_VARIABLE)
    with pytest.raises(SettingsError, match=deploy.REDIS_VARIABLE):
        worker_app()


def test_the_package_ships_every_file_of_every_profile():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["retail_assets"]
    for profile in deploy.PROFILES:
        for name in deploy.profile_files(profile):
            assert any(fnmatch(f"deploy/{profile}/{name}", pattern) for pattern in patterns)
