"""A place for results named by a URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kept import task
from kept.cache_policies import INPUTS
from kept.exceptions import ConfigurationError
from kept.settings import get_current_settings
from kept.storage import resolve_storage
from tests.servers.s3 import S3


def double(x: int) -> int:
    return 2 * x


def states(place: Any) -> list[str]:
    kept_double = task(double, cache_policy=INPUTS, result_storage=place)
    return [kept_double(1, return_state=True).name for _ in range(2)]


def test_a_url_of_a_file_is_a_folder(tmp_path: Path) -> None:
    assert states(f"file://{tmp_path}/with%20space") == ["Completed", "Cached"]
    assert states(tmp_path / "with space") == ["Cached", "Cached"]


def test_a_url_that_fsspec_knows_is_a_file_system() -> None:
    pytest.importorskip("fsspec")
    assert states("memory://results") == ["Completed", "Cached"]


def test_a_bucket_is_one_store_in_a_process_until_the_environment_names_another(
    quick_s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in quick_s3.environment.items():
        monkeypatch.setenv(name, value)
    url, settings = f"s3://{quick_s3.bucket()}/folder", get_current_settings()
    first = resolve_storage(url, settings)
    assert resolve_storage(f"{url}/", settings).bare is first.bare
    assert states(url) == ["Completed", "Cached"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert resolve_storage(url, settings).bare is not first.bare


def test_a_default_that_is_no_place_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_RESULTS_DEFAULT_STORAGE", "s3://")
    with pytest.raises(ConfigurationError, match="KEPT_RESULTS_DEFAULT_STORAGE is wrong: .* needs a bucket"):
        resolve_storage(None, get_current_settings())
