"""One worker process, as the process that started it sees it."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from typing import NamedTuple

from kept.engine.effects import RunTimeout
from kept.logging.forwarding import handle
from kept.task_runners.travel import Answer, Channel
from kept.utilities.culprit import short

_log = logging.getLogger("kept.task_runners")
_START = (
    "import sys; sys.path[:] = {path!r}; sys.argv[1:] = {argv!r}; "
    "from kept.task_runners.worker import main; main({descriptor})"
)
LATE = 0.5
"""Seconds that a process has to stop a call whose time is up, or to end when it is told to, before it is killed."""
_SMALL = 8 * 1024
"""Bytes of a message that can be sent ahead; a few of these fit into the buffer of any socket."""
_AT_ONCE = 0.001
_PATIENCE = 10.0
"""Seconds that a process has to end when it has nothing left to do."""


class WorkerLost(BaseException):
    """The process that was at a call has ended. No `Exception`: the run did not fail, and is not tried again."""


class Message(NamedTuple):
    """A call, as it is sent."""

    content: bytes
    timeout: float | None
    """Seconds that the call may take."""
    needs: list[tuple[int, bytes]]
    """What it refers to by number, which has to be there before."""


class Process:
    """A worker process: started with the first call, and again after it was lost. One thread at a time may use it."""

    def __init__(self) -> None:
        self._closed = False
        self._known: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel

    def give(self, message: Message) -> None:
        """Have the process make a call, after those that it was given before. Raises `WorkerLost` if there is none."""
        if self._closed:
            raise WorkerLost("The flow run was interrupted before this run began.")
        try:
            try:
                self._send(message)
            except OSError:  # killed while it had nothing to do
                if self._closed:
                    raise
                self._forget()
                self._send(message)
        except OSError as error:
            if self._process is None:
                raise WorkerLost(f"No process could be started for this run: {error}") from None
            raise WorkerLost(self._how_it_ended()) from None

    def has_room_for(self, message: Message) -> bool:
        """Whether it can be sent ahead. Who is at work reads nothing: each could wait for the other to read."""
        return len(message.content) <= _SMALL and self._known.issuperset(number for number, _ in message.needs)

    def answer(self, timeout: float | None) -> Answer:
        """How the first call ended that was not asked for yet. Its log lines are handled on the way.

        Raises:
            WorkerLost: the process has ended.
            RunTimeout: the call did not come to an end when its time was up, and its process was killed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout + LATE
        try:
            while True:
                left = None if deadline is None else max(deadline - time.monotonic(), _AT_ONCE)
                content = self._channel.receive(left)
                try:
                    told = pickle.loads(content)
                except Exception as error:  # no answer: that has nothing of the user's in it but bytes
                    _log.warning("A log record of another process can't be read in this one: %s", short(error))
                    continue
                if isinstance(told, Answer):
                    return told
                handle(told)
        except TimeoutError:
            self.stop(0)
            self._forget()
            raise RunTimeout from None
        except (EOFError, OSError):
            raise WorkerLost(self._how_it_ended()) from None

    def _send(self, message: Message) -> None:
        if self._process is None:
            self._start()
        for number, content in message.needs:
            if number not in self._known:
                self._channel.send(b"D" + number.to_bytes(8, "little") + content)
                self._known.add(number)
        self._channel.send(message.content)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        start = _START.format(path=sys.path, argv=sys.argv[1:], descriptor=theirs.fileno())
        with theirs:
            # A session of its own: Ctrl-C is for this process to handle, and what the other one starts can be ended
            # together with it.
            command, passed = [sys.executable, "-c", start], (theirs.fileno(),)
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=passed, start_new_session=True
                )
            except OSError:
                ours.close()
                raise
        self._channel = Channel(ours)
        if self._closed:  # meanwhile
            self.stop(0)

    def _how_it_ended(self) -> str:
        self.stop(LATE)
        assert self._process is not None
        code = self._process.returncode
        self._forget()
        if self._closed:
            return "The flow run was interrupted, and the process that ran this was ended."
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
        return f"The process that ran this was {how}. What other processes ran goes on."

    def _forget(self) -> None:
        if self._process is not None:
            self._channel.close()
        self._process = None
        self._known.clear()

    def tell_to_end(self) -> None:
        """Let the process break off what it is at."""
        self._closed = True
        self._signal(signal.SIGTERM)

    def stop(self, patience: float) -> None:
        """See that the process has ended: after `patience` seconds it is killed, with all that it started."""
        process = self._process
        if process is not None:
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                process.wait()

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def let_go(self) -> None:
        """End the process once what was delayed there is done, and give it the time to write what it has to write."""
        if self._process is not None:
            with contextlib.suppress(OSError, WorkerLost):
                self._channel.send(b"")
                self.answer(None)
            self.stop(_PATIENCE)
            self._forget()
