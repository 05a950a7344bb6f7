"""States: their names and types, what they show, and the value or error that they stand for."""

from __future__ import annotations

import asyncio
import copy
import pickle
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from kept import states
from kept.exceptions import CancelledRun, CrashedRun, FailedRun, PausedRun, UnfinishedRun
from kept.states import (
    AwaitingConcurrencySlot,
    AwaitingRetry,
    Cached,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Late,
    Loadable,
    Paused,
    Pending,
    Retrying,
    Running,
    Scheduled,
    State,
    StateDetails,
    StateType,
    Suspended,
    get_state_exception,
    raise_state_exception,
    worst,
)

ALL = (Scheduled, Pending, Running, Completed, Cached, Failed, Crashed, Cancelling, Cancelled, Paused, Retrying)
FINAL = {Completed, Cached, Failed, Crashed, Cancelled}


class Elsewhere(Loadable):
    """A value that has to be loaded."""

    __slots__ = ()

    def load_result(self) -> Any:
        return "loaded"


@pytest.mark.parametrize(
    ("make", "type", "name"),
    [
        (Scheduled, "SCHEDULED", "Scheduled"),
        (Pending, "PENDING", "Pending"),
        (Running, "RUNNING", "Running"),
        (Completed, "COMPLETED", "Completed"),
        (Cached, "COMPLETED", "Cached"),
        (Failed, "FAILED", "Failed"),
        (Crashed, "CRASHED", "Crashed"),
        (Cancelling, "CANCELLING", "Cancelling"),
        (Cancelled, "CANCELLED", "Cancelled"),
        (Paused, "PAUSED", "Paused"),
        (Retrying, "RUNNING", "Retrying"),
        (AwaitingRetry, "SCHEDULED", "AwaitingRetry"),
    ],
)
def test_each_state_has_its_type_and_its_name(make: Any, type: str, name: str) -> None:
    state = make()
    assert (state.type, state.type.value, str(state.type), state.name) == (StateType(type), type, type, name)


@pytest.mark.parametrize("make", ALL)
def test_exactly_one_question_about_its_type_is_answered_with_yes(make: Any) -> None:
    state = make()
    asked = [f"is_{kind.value.lower()}" for kind in StateType]
    assert [q for q in asked if getattr(state, q)()] == [f"is_{state.type.value.lower()}"]


@pytest.mark.parametrize("make", ALL)
def test_only_the_states_in_which_a_run_has_ended_are_final(make: Any) -> None:
    assert make().is_final() is (make in FINAL)


def test_a_type_can_be_given_as_text_and_a_wrong_one_is_an_error() -> None:
    assert State("COMPLETED").is_completed()
    with pytest.raises(ValueError, match="DONE"):
        State("DONE")


def test_a_name_replaces_that_of_the_type() -> None:
    assert Completed(name="Skipped").name == "Skipped"
    assert Cached(name="Found").name == "Found"
    assert Failed(name="TimedOut").is_failed()


def test_a_state_shows_its_message_and_its_type_where_the_name_does_not_tell_it() -> None:
    assert str(Completed()) == "Completed()"
    assert str(Cached()) == "Cached(type=COMPLETED)"
    assert str(Failed(message="no")) == "Failed('no')"
    assert str(Failed(name="TimedOut", message="late")) == "TimedOut('late', type=FAILED)"


def test_its_repr_shows_the_data_but_loads_nothing() -> None:
    assert repr(Completed(data=42)) == "Completed(message=None, type=COMPLETED, result=42)"
    assert repr(Completed(data=Elsewhere())) == "Completed(message=None, type=COMPLETED, result=Elsewhere)"


def test_it_knows_since_when_in_utc() -> None:
    before = datetime.now(timezone.utc)
    state = Running()
    assert before <= state.timestamp <= datetime.now(timezone.utc)
    then = datetime(2026, 11, 21, 16, 28, 51, 257001, tzinfo=timezone.utc)
    assert Running(timestamp=then).timestamp == then


def test_the_result_of_a_completed_run_is_its_data_and_is_loaded_if_it_is_elsewhere() -> None:
    assert Completed(data=[1]).result() == [1]
    assert Completed().result() is None
    assert Cached(data=Elsewhere()).result() == "loaded"


def test_the_result_can_be_awaited() -> None:
    assert asyncio.run(Completed(data=1).aresult()) == 1
    with pytest.raises(KeyError):
        asyncio.run(Failed(data=KeyError("k")).aresult())


def test_the_result_of_a_failed_run_is_its_exception_raised_or_returned() -> None:
    error = ValueError("bad")
    with pytest.raises(ValueError, match="bad") as raised:
        Failed(data=error).result()
    assert raised.value is error
    assert Failed(data=error).result(raise_on_failure=False) is error


@pytest.mark.parametrize(("make", "error"), [(Failed, FailedRun), (Crashed, CrashedRun), (Cancelled, CancelledRun)])
def test_a_run_that_ended_badly_without_an_exception_raises_one_with_its_message(make: Any, error: Any) -> None:
    with pytest.raises(error, match="out of luck"):
        make(message="out of luck").result()
    assert isinstance(make(message="out of luck").result(raise_on_failure=False), error)


def test_text_as_the_data_of_a_failed_run_is_its_message() -> None:
    with pytest.raises(FailedRun, match="oh dear"):
        Failed(data="oh dear").result()


@pytest.mark.parametrize("make", [Scheduled, Pending, Running, Retrying, AwaitingRetry, Cancelling])
@pytest.mark.parametrize("raising", [True, False])
def test_a_run_that_has_not_ended_has_no_result(make: Any, raising: bool) -> None:
    with pytest.raises(UnfinishedRun, match="no result yet"):
        make().result(raise_on_failure=raising)


def test_what_a_waiting_run_says_is_in_the_error() -> None:
    with pytest.raises(UnfinishedRun, match="NotReady.*upstream"):
        Pending(name="NotReady", message="upstream failed").result()


def test_a_paused_run_has_an_error_of_its_own() -> None:
    with pytest.raises(PausedRun):
        Paused().result()


def test_the_exception_of_a_state_is_found_in_the_states_that_it_holds() -> None:
    error = KeyError("deep")
    assert get_state_exception(Failed(data=Failed(data=error))) is error
    assert get_state_exception(Failed(data=[Completed(), Crashed(data=error)])) is error


def test_only_a_state_that_ended_badly_stands_for_an_exception() -> None:
    with pytest.raises(ValueError, match="not of a run that failed"):
        get_state_exception(Completed())
    for make in (Completed, Cached, Running, Pending):
        raise_state_exception(make())
    with pytest.raises(ZeroDivisionError):
        raise_state_exception(Failed(data=ZeroDivisionError()))


@pytest.mark.parametrize(
    ("found", "name", "message"),
    [
        ([Completed(), Completed()], "Completed", "All states completed."),
        ([Completed(), Failed(), Failed()], "Failed", "2/3 states failed."),
        ([Failed(), Crashed()], "Crashed", "1/2 states crashed."),
        ([Failed(), Crashed(), Cancelled()], "Cancelled", "1/3 states cancelled."),
        ([Completed(), Running()], "Failed", "1/2 states are not final."),
        ([Pending(), Failed()], "Failed", "1/2 states failed."),
    ],
)
def test_the_worst_of_several_states_decides(found: list[State[Any]], name: str, message: str) -> None:
    state = worst(found)
    assert (state.name, state.message, state.data) == (name, message, found)


def test_details_are_empty_until_they_are_known() -> None:
    state = Completed(data=1)
    assert state.state_details == StateDetails()
    state.note_run("flow", "task")
    state.note_run("another", None)
    assert state.state_details == StateDetails(flow_run_id="flow", task_run_id="task")
    assert state.fresh_copy(message="again").state_details == StateDetails()
    assert pickle.loads(pickle.dumps(state)).state_details == state.state_details


def test_details_tell_the_key_of_a_kept_result() -> None:
    assert Completed(data=1, cache_key="k").state_details.cache_key == "k"


def test_a_scheduled_state_knows_for_when() -> None:
    when = datetime(2026, 1, 2, tzinfo=timezone.utc)
    for make, name in ((Scheduled, "Scheduled"), (Late, "Late"), (AwaitingRetry, "AwaitingRetry")):
        state = make(scheduled_time=when)
        assert (state.name, state.state_details.scheduled_time) == (name, when)
        state.note_run("flow", None)
        assert state.state_details == StateDetails(flow_run_id="flow", scheduled_time=when)
    assert AwaitingConcurrencySlot().state_details.scheduled_time is not None


def test_a_paused_state_knows_until_when() -> None:
    until = datetime(2026, 1, 2, tzinfo=timezone.utc)
    assert Paused(pause_expiration_time=until).state_details.pause_timeout == until
    before = datetime.now(timezone.utc)
    timeout = Suspended(timeout_seconds=60, pause_key="p").state_details
    assert timeout.pause_timeout is not None
    assert timedelta(seconds=60) <= timeout.pause_timeout - before
    assert (timeout.pause_reschedule, timeout.pause_key) == (True, "p")
    with pytest.raises(ValueError, match="not both"):
        Paused(timeout_seconds=1, pause_expiration_time=until)


def test_a_fresh_copy_is_entered_now() -> None:
    old = Failed(message="bad", data=ValueError("v"), timestamp=datetime(2020, 11, 21, tzinfo=timezone.utc))
    new = old.fresh_copy(name="Again")
    assert (new.type, new.name, new.message, new.data) == (old.type, "Again", "bad", old.data)
    assert new.timestamp > old.timestamp


def test_states_can_be_copied_and_pickled() -> None:
    state = Failed(name="TimedOut", message="late", data=ValueError("x"), cache_key="k")
    for twin in (copy.copy(state), pickle.loads(pickle.dumps(state))):
        assert (twin.type, twin.name, twin.message, twin.cache_key) == (state.type, "TimedOut", "late", "k")
        assert twin.timestamp == state.timestamp


def test_the_module_has_the_names_of_the_reference() -> None:
    names = (
        "State StateType Scheduled Pending Running Completed Failed Crashed Cancelling Cancelled Paused Retrying "
        "AwaitingRetry raise_state_exception"
    )
    assert [name for name in names.split() if not hasattr(states, name)] == []
