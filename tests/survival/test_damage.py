"""Objects that are not what they were: an explained miss, never a wrong value, and nothing of them is unpickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kept import task
from kept.cache_policies import INPUTS, TASK_SOURCE
from tests.conftest import Lines
from tests.survival.conftest import Place

computed: list[int] = []
LARGE = 100_000

behind_a_tier = pytest.param("1GB", marks=pytest.mark.slow, id="behind_a_tier")
pytestmark = pytest.mark.parametrize("tier", [pytest.param("0", id="bare"), behind_a_tier])


@pytest.fixture(autouse=True)
def cold(place: Place, tier: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Makes the local tier an empty one, as on another machine."""
    computed.clear()
    monkeypatch.setenv("KEPT_RESULTS_LOCAL_TIER_SIZE", tier)
    count = 0

    def now() -> None:
        nonlocal count
        count += 1
        monkeypatch.setenv("KEPT_RESULTS_LOCAL_TIER_PATH", str(tmp_path / f"tier-{count}"))

    now()
    return now


@task(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)
def small(number: int) -> bytes:
    computed.append(number)
    return b"%d" % number * 1000


@task(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)
def large(number: int) -> bytes:
    computed.append(number)
    return b"%d" % number * LARGE


class Poison:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (Path.touch, (self.file,))


def the_objects(place: Place, kind: str) -> list[str]:
    found = [key for key in place.objects() if f"/{kind}/" in key]
    assert found
    return found


def flipped(content: bytes) -> bytes:
    half = len(content) // 2
    return content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a bit is flipped": flipped,
    "a bit near the end is flipped": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "the end is cut off": lambda content: content[:-7],
    "most of it is cut off": lambda content: content[: len(content) // 3],
    "something is appended": lambda content: content + b"more",
    "it is empty": lambda content: b"",
    "it is something else": lambda content: b'{"a": 1}',
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["entries", "blobs"])
def test_a_damaged_object_is_computed_again(
    kind: str, damage: str, place: Place, cold: Callable[[], None], log: Lines
) -> None:
    step: Any = small if kind == "entries" else large
    right = step(1)
    for key in the_objects(place, kind):
        content = place.objects()[key]
        place.proxy.server.put(place.bucket, key, DAMAGES[damage](content))
        assert place.objects()[key] != content
    cold()
    assert step(1) == right
    assert computed == [1, 1]
    # An empty object is how a result is deleted from file systems that know no deletion.
    assert damage == "it is empty" or log.having("damaged"), str(log)
    cold()
    assert step(1) == right
    assert computed == [1, 1], "the damage was not mended"


@pytest.mark.parametrize("kind", ["entries", "blobs"])
def test_poison_is_not_unpickled(kind: str, place: Place, cold: Callable[[], None], tmp_path: Path, log: Lines) -> None:
    step: Any = small if kind == "entries" else large
    right = step(1)
    victim = tmp_path / "poisoned"
    poison = pickle.dumps(Poison(victim))
    for key in the_objects(place, kind):
        content = place.objects()[key]
        line = content.partition(b"\n")[0] + b"\n" if kind == "entries" else b""
        place.proxy.server.put(place.bucket, key, (line + poison).ljust(len(content), b"."))
    cold()
    assert step(1) == right
    assert not victim.exists()
    pickle.loads(poison)
    assert victim.exists(), "the poison does nothing, so nothing was tested"


@pytest.mark.parametrize("kind", ["entries", "blobs"])
def test_swapped_objects_are_computed_again(kind: str, place: Place, cold: Callable[[], None], log: Lines) -> None:
    step: Any = small if kind == "entries" else large
    right = [step(1), step(2)]
    one, two = the_objects(place, kind)
    contents = place.objects()
    place.proxy.server.put(place.bucket, one, contents[two])
    place.proxy.server.put(place.bucket, two, contents[one])
    cold()
    assert [step(1), step(2)] == right
    assert computed == [1, 2, 1, 2]


@pytest.mark.parametrize("what", ["flip", "truncate"])
@pytest.mark.parametrize("kind", ["entries", "blobs"])
def test_what_the_network_damages_is_never_believed(
    kind: str, what: str, place: Place, cold: Callable[[], None]
) -> None:
    step: Any = small if kind == "entries" else large
    right = step(1)
    cold()
    with place.proxy.fault(what, "read", key=f"/{kind}/"):
        assert step(1) == right
    cold()
    assert step(1) == right
