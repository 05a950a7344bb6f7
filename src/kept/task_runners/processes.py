"""The runner on processes: the functions of tasks are called there, everything else of their runs happens here.

So keys, hooks, retries, transactions and records are the same as with any other runner, a hit needs no process, and a
process that is killed takes nothing with it but the call that it was at. `concurrent.futures.ProcessPoolExecutor` would
lose all calls with one process, could not say which one that was at, and has no way for log lines to come in order.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import os
import pickle
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any

from kept.context import FlowRunContext, RunContext, TaskRunContext, current_run, current_tags, flow_context_of
from kept.engine.drivers import drive
from kept.engine.effects import Call, Effect, Io, RunTimeout, Steps, Wait
from kept.engine.inputs import unfinished
from kept.exceptions import CancelledRun, CrashedRun, SerializationError
from kept.futures import KeptConcurrentFuture, KeptFuture
from kept.logging.forwarding import levels
from kept.results import InputLost, ResultStore, relabelled
from kept.settings import get_current_settings
from kept.states import Cancelled, Crashed
from kept.store.entry import Entry, Miss
from kept.task_runners.base import Countdown, Runnable, TaskRunner, checked_workers, let_work
from kept.task_runners.process import LATE, Message, Process, WorkerLost
from kept.task_runners.travel import (
    Answer,
    Around,
    FlowAround,
    FlowFacts,
    RemoteCall,
    dumps,
    loads_error,
    parameters_sent,
)
from kept.transactions import get_transaction
from kept.utilities.handles import can_hold_handles, find_handles
from kept.utilities.threads import start

# Calls that a process is given ahead, if one takes no longer than this to be answered, in seconds.
_AHEAD = 8
_SHORT = 0.001


class ProcessPoolTaskRunner(TaskRunner[KeptConcurrentFuture[Any]]):
    """Runs tasks in processes of their own, for work that keeps a processor busy.

    Each process is a fresh interpreter that imports what the tasks need; it does not run the script, so that needs no
    `if __name__ == "__main__":`. What the script, a notebook or a function defines is sent there by value. Arguments
    and results have to be picklable. Hooks run in this process, as do policies, retries and commits. A task that
    submits tasks has them run on threads of its own process.

    Arguments:
        max_workers: processes at most; by default the setting KEPT_TASKS_RUNNER_PROCESS_POOL_MAX_WORKERS, or one for
            each processor.

    Raises:
        ConfigurationError: `max_workers` is not a whole number above 0.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self.max_workers = checked_workers(max_workers)
        self._pending: set[KeptFuture[Any]] = set()
        self._waiting: queue.SimpleQueue[_SubmittedRun | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(0)
        self._workers: list[_Worker] = []
        self._starting = threading.Lock()
        self.sendable = _Sendable()
        self._closed = False

    def duplicate(self) -> ProcessPoolTaskRunner:
        return type(self)(self.max_workers)

    def submit(
        self, task: Runnable, parameters: dict[str, Any], wait_for: Iterable[Any] | None = None
    ) -> KeptConcurrentFuture[Any]:
        """Start a task run in a process as soon as its inputs are there.

        Raises:
            SerializationError: the task or an argument can't be pickled; the message says which part of which.
        """
        self.check_open(task)
        waits = list(wait_for or ())
        run = _SubmittedRun(task, parameters, waits, self)
        upstream = unfinished(find_handles([parameters, waits])) if waits or can_hold_handles(parameters) else []
        if not upstream and run.advance():
            return run.future
        self._pending.add(run.future)
        run.future.add_done_callback(self._pending.discard)
        if upstream:
            Countdown(upstream, lambda: self.give(run))
        else:
            self.give(run)
        return run.future

    def pending(self) -> list[KeptFuture[Any]]:
        return list(self._pending)

    def backlog(self) -> int:
        """How many runs wait for a process."""
        return self._waiting.qsize()

    def cancel_all(self) -> None:
        """End all runs that have not ended, and the processes that are at them."""
        self._closed = True
        self._abandon_waiting()
        for worker in self._workers:
            worker.process.tell_to_end()
        for worker in self._workers:
            worker.process.stop(LATE)

    def give(self, run: _SubmittedRun) -> None:
        """Have it go on as soon as a process is free."""
        if self._closed:
            run.abandon()
            return
        self._waiting.put(run)
        if self._free.acquire(blocking=False):
            return
        with self._starting:
            if len(self._workers) < self._most():
                worker = _Worker(self._waiting, self._free)
                try:
                    start(worker.thread)
                except RuntimeError:  # no thread is to be had
                    if not self._workers:
                        self._abandon_waiting()
                    return
                self._workers.append(worker)

    def _most(self) -> int:
        return self.max_workers or get_current_settings().tasks.runner.process_pool_max_workers or os.cpu_count() or 1

    def _abandon_waiting(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                run = self._waiting.get_nowait()
                if run is not None:
                    run.abandon()

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        """End the processes: when all is done, or after an interrupt at once."""
        if kind is not None:
            self.cancel_all()
        for _ in self._workers:
            self._waiting.put(None)
        for worker in self._workers:
            worker.thread.join(None if kind is None else LATE)
        self._workers.clear()
        if kind is not None:
            self._abandon_waiting()
        super().__exit__(kind, error, traceback)


class _SubmittedRun:
    """One submitted run: begun by who submits it, which is how far hits get, and ended by a thread that has a process.

    The arguments are pickled when the run begins, so what is kept is what the key says, whatever happens to them later.
    """

    def __init__(
        self, thing: Runnable, parameters: dict[str, Any], wait_for: list[Any], runner: ProcessPoolTaskRunner
    ) -> None:
        self._thing = thing
        self._sendable = runner.sendable
        self._later = runner.give
        self._context = contextvars.copy_context()
        steps = thing.new_run(parameters)
        steps.elsewhere = steps.lazy = True
        self._job = steps
        self.future: KeptConcurrentFuture[Any] = KeptConcurrentFuture(
            steps.run, help=lambda timeout: let_work(self.future, runner.backlog) if timeout is None else None
        )
        self._run: Any = steps.run
        self._steps: Any = self._elsewhere(steps.steps(wait_for))
        self._first: Effect | Message | None = None
        self._submitting = False
        self._packed: tuple[Any, Entry] | None = None

    def advance(self) -> bool:
        """Go on until there is something for a process to do; whether that was to the end."""
        self._submitting = True
        try:
            self._first = self._context.run(next, self._steps)
        except StopIteration as end:
            self.future.end(end.value)
            return True
        finally:
            self._submitting = False
        return False

    def go_on(self, answer: Answer | BaseException | None = None) -> Message | None:
        """Go on to what is to be sent to a process; None if that was to the end.

        Arguments:
            answer: that of the process to what it was sent last, or why there is none.
        """
        try:
            state = self._context.run(self._to_call, answer)
            if isinstance(state, Message):
                return state
            if isinstance(state, Wait):  # others may need the process meanwhile, as may what this waits for
                Countdown(state.futures, lambda: self._later(self))
                return None
        except WorkerLost as lost:
            state = self._run.state = Crashed(message=str(lost), data=CrashedRun(str(lost)))
        except BaseException as error:
            state = self._run.state
            if state is None or not state.is_final():
                state = Crashed(message=f"The run was interrupted by {error!r}", data=error)
        self._packed = None
        self.future.end(state)
        return None

    def _to_call(self, answer: Answer | BaseException | None) -> Any:
        first, self._first = self._first, None
        if isinstance(answer, BaseException):
            return drive(self._steps, thrown=answer, until=(Message, Wait))
        return drive(self._steps, first, answer, until=(Message, Wait))

    def abandon(self) -> None:
        """End before the start, because the flow run is over."""
        self._context.run(self._steps.close)
        message = "The flow run was interrupted before this run began."
        self.future.end(Cancelled(message=message, data=CancelledRun(message)))

    def _elsewhere(self, steps: Steps[Any]) -> Generator[Effect | Message, Any, Any]:
        """The steps of the run, with a message in the place of the call of the user's function."""
        try:
            effect = next(steps)
            while True:
                try:
                    answer = yield from self._asked(effect)
                except GeneratorExit:
                    steps.close()
                    raise
                except BaseException as error:
                    if self._submitting and isinstance(effect, Call):
                        steps.close()
                        raise
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration as end:
            return end.value

    def _asked(self, effect: Effect) -> Generator[Effect | Message, Any, Any]:
        if isinstance(effect, Call) and effect.fn is self._thing.spec.fn:
            try:
                return self._unpacked((yield self._message(effect)))
            except InputLost:  # it is computed anew, if that can be, and sent itself
                yield from self._job.reading()
                args, kwargs = self._thing.spec.binder.call(self._job.parameters)
                return self._unpacked((yield self._message(effect._replace(args=args, kwargs=kwargs))))
        if self._packed is not None and isinstance(effect, Io) and _packs(effect, self._packed[0]):
            return relabelled(self._packed[1], *effect.args[1:])
        return (yield effect)

    def _message(self, call: Call) -> Message:
        context, sendable, thing = current_run(), self._sendable, self._thing
        assert isinstance(context, (TaskRunContext, FlowRunContext))
        run = context.task_run if isinstance(context, TaskRunContext) else context.flow_run
        store = context.result_store
        try:
            remote = RemoteCall(
                thing=sendable.thing(thing),
                around=sendable.around(flow_context_of(context.parent)),
                store=None if store is None else sendable.store(store),
                run=_sent(run),
                args=call.args,
                kwargs=call.kwargs,
                timeout=call.timeout,
                persist_result=context.persist_result,
                log_prints=context.log_prints,
            )
            content = _pickled(remote, thing)
        except SerializationError as error:
            kind = _kind(thing)
            raise SerializationError(
                f"{kind[0].upper()}{kind[1:]} can't be run in another process: {error}. Leave this out, make it "
                "inside of the function, or use a ThreadPoolTaskRunner."
            ) from error.__cause__
        numbers = [number for number in (remote.thing, remote.around, remote.store) if number is not None]
        return Message(content, call.timeout, [(number, sendable[number]) for number in numbers])

    def _unpacked(self, answer: Answer) -> Any:
        if answer.error is not None:
            raise loads_error(answer.error)
        txn = get_transaction()
        if txn is not None and answer.noted:
            for name, value in pickle.loads(answer.noted).items():
                txn.set(name, value)
        if answer.entry is None:
            return pickle.loads(answer.payload or b"")
        context: Any = current_run()
        value = context.result_store.fetch(answer.entry)
        if isinstance(value, Miss):
            raise SerializationError(f"The result that the process packed can't be read: {value.reason}")
        self._packed = (value, answer.entry)
        return value


def _kind(thing: Runnable) -> str:
    return f"{type(thing).__name__.lower()} {thing.spec.name!r}"


def _packs(effect: Io, value: Any) -> bool:
    return getattr(effect.fn, "__func__", None) is ResultStore.pack and effect.args[0] is value


class _Sendable:
    """What calls refer to, pickled once and numbered."""

    def __init__(self) -> None:
        self._numbers: dict[Any, tuple[int, Any]] = {}
        self._contents: list[bytes] = []
        self._adding = threading.Lock()

    def __getitem__(self, number: int) -> bytes:
        return self._contents[number]

    def thing(self, thing: Runnable) -> int:
        """The number of a task or flow."""
        return self._number((id(thing), id(thing.spec)), thing, lambda: dumps(thing, _kind(thing)))

    def store(self, store: ResultStore) -> int:
        """The number of a store."""
        return self._number(id(store), store, lambda: dumps(store, "its result_storage"))

    def around(self, flow: FlowRunContext | None) -> int:
        """The number of what surrounds this code."""
        settings, tags = get_current_settings(), current_tags()
        key = (id(settings), tags, id(flow))
        return self._number(key, (settings, flow), lambda: dumps(_around(flow), "the flow"))

    def _number(self, key: Any, held: Any, pickled: Callable[[], bytes]) -> int:
        if key not in self._numbers:
            with self._adding:
                self._contents.append(pickled())
                # Held, so that nothing else can come to have its id.
                self._numbers[key] = (len(self._contents) - 1, held)
        return self._numbers[key][0]


def _around(flow: FlowRunContext | None) -> Around:
    flows: list[FlowAround] = []
    context: RunContext | None = flow
    while context is not None:
        if isinstance(context, FlowRunContext):
            flows.insert(0, _flow_around(context))
        context = context.parent
    return Around(dict(get_current_settings().values), current_tags(), flows, levels())


def _flow_around(context: FlowRunContext) -> FlowAround:
    flow = context.flow
    return FlowAround(
        FlowFacts(flow.name, flow.version, flow.description),
        _sent(context.flow_run),
        parameters_sent(context.parameters),
        context.persist_result,
        context.result_store,
        context.log_prints,
    )


def _sent(run: Any) -> Any:
    """The record of a run without what need not be picklable."""
    twin = copy.copy(run)
    twin.state = twin.parameters = None
    return twin


class _Worker:
    """A thread of this process, and the worker process that it speaks with.

    While calls are short and many wait, the process is given some ahead, so that it need not wait for this thread.
    """

    def __init__(self, waiting: queue.SimpleQueue[_SubmittedRun | None], free: threading.Semaphore) -> None:
        self.thread = threading.Thread(target=self._work, name="kept-process", daemon=True)
        self.process = Process()
        self._waiting = waiting
        self._free = free
        self._given: deque[tuple[_SubmittedRun, Message]] = deque()
        self._short = False

    def _work(self) -> None:
        while (run := self._next()) is not None:
            self._give(run, run.go_on())
            while self._given:
                self._look_ahead()
                self._take_answer()
        self.process.let_go()

    def _next(self) -> _SubmittedRun | None:
        try:
            return self._waiting.get_nowait()
        except queue.Empty:
            self._free.release()
            return self._waiting.get()

    def _give(self, run: _SubmittedRun, message: Message | None) -> None:
        while message is not None:
            try:
                self.process.give(message)
            except (WorkerLost, Exception) as lost:
                message = run.go_on(lost)
            else:
                self._given.append((run, message))
                return

    def _look_ahead(self) -> None:
        while self._short and len(self._given) < _AHEAD and self._waiting.qsize() > _AHEAD:
            try:
                run = self._waiting.get_nowait()
            except queue.Empty:  # others were quicker
                return
            if run is None:
                self._waiting.put(None)
                return
            message = run.go_on()
            if message is not None and not self.process.has_room_for(message):
                while self._given:
                    self._take_answer()
            self._give(run, message)

    def _take_answer(self) -> None:
        run, message = self._given.popleft()
        began = time.perf_counter()
        try:
            answer = self.process.answer(message.timeout)
        except (WorkerLost, RunTimeout) as lost:
            not_begun = list(self._given)
            self._given.clear()
            self._give(run, run.go_on(lost))
            for other in not_begun:
                self._give(*other)
        else:
            self._short = time.perf_counter() - began < _SHORT
            self._give(run, run.go_on(answer))


def _pickled(call: RemoteCall, thing: Runnable) -> bytes:
    with contextlib.suppress(SerializationError):
        return dumps(call, "its arguments")
    for name, value in (thing.spec.binder.bind(call.args, call.kwargs) if call.args else call.kwargs).items():
        dumps(value, f"argument {name!r}")
    return dumps(call, "its arguments")
