"""Calling functions later: in order, on one thread, which does not stay."""

from __future__ import annotations

import sys
import threading

import pytest

from kept.utilities import later
from kept.utilities.later import call_later


def test_calls_come_in_the_order_of_their_times_on_a_thread_of_their_own() -> None:
    calls: list[str] = []
    names: set[str] = set()
    done = threading.Event()

    def note(name: str) -> None:
        calls.append(name)
        names.add(threading.current_thread().name)
        if name == "last":
            done.set()

    call_later(0.9, lambda: note("last"))  # so far apart that a pause between these lines turns no order round
    call_later(0.5, lambda: note("second"))
    call_later(0.1, lambda: note("first"))
    assert done.wait(30)
    assert calls == ["first", "second", "last"]
    assert names == {"kept-clock"}


def test_a_cancelled_call_does_not_come() -> None:
    calls: list[str] = []
    done = threading.Event()
    call_later(0.01, lambda: calls.append("cancelled")).cancel()
    call_later(0.02, done.set)
    assert done.wait(30)
    assert calls == []


def test_cancelled_calls_are_not_held_until_their_time() -> None:
    for _ in range(5_000):
        call_later(3600, lambda: None).cancel()
    assert len(later._clock._due) < 3_000


def test_the_thread_does_not_stay_for_calls_that_were_cancelled() -> None:
    clock = later._Clock()
    alarms = [later.Alarm(print) for _ in range(3)]
    for alarm in alarms:
        clock.add(3600, alarm)
    thread = clock._thread
    assert thread is not None
    for alarm in alarms:
        alarm.cancel()
    thread.join(30)
    assert not thread.is_alive()


def test_the_thread_ends_when_there_is_nothing_left_to_call() -> None:
    done = threading.Event()
    clock = later._Clock()
    clock.add(0, later.Alarm(done.set))
    thread = clock._thread
    assert thread is not None
    assert done.wait(30)
    thread.join(30)
    assert not thread.is_alive()
    again = threading.Event()
    clock.add(0, later.Alarm(again.set))
    assert again.wait(30)


def test_a_thread_that_could_not_start_is_started_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = later._Clock()
    with monkeypatch.context() as ending, pytest.raises(RuntimeError, match="no thread can be started"):
        ending.setattr(sys, "is_finalizing", lambda: True)
        clock.add(0, later.Alarm(print))
    done = threading.Event()
    clock.add(0, later.Alarm(done.set))
    assert done.wait(30)
