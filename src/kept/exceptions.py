"""Every error that kept raises, as one tree.

    KeptException
    ├── ConfigurationError (ValueError)      an option, a setting or a policy that can't be right
    │   └── InvalidNameError                 a name that the field does not allow
    ├── MissingContextError (RuntimeError)   asked for a run where none is active
    ├── ParameterTypeError (TypeError)       an argument of the wrong type
    │   ├── ParameterBindError               a call that does not fit the signature
    │   ├── ReservedArgumentError            a parameter named like an option of ours
    │   └── ValidationError (ValueError)     flow parameters that do not fit their annotations
    ├── MappingLengthMismatch                `.map` over iterables of unequal lengths
    ├── MappingMissingIterable               `.map` with nothing to map over
    ├── HashError (TypeError)                a value without stable content
    ├── SerializationError                   a value that can't become bytes, or bytes that can't become a value
    ├── StoreError                           the store can't do what was asked: full disk, no permission, ...
    │   ├── StoreRefused                     its server does not allow it
    │   ├── StoreUnreachable                 its server does not answer, or not now
    │   ├── StoreUnsupported                 its server has no such operation
    │   └── StoreVersionError                written by a newer version of kept
    ├── LockError                            a lock that can't be taken or is not held
    │   ├── LockNotHeldError (ValueError)    released by who does not hold it
    │   └── LockLostError                    taken over by another before the work was done
    ├── MissingResult                        a state or an entry whose value can't be had
    ├── VisualizationError                   a flow whose picture can't be drawn without running it
    ├── RollBack                             a transaction that was told to roll back
    ├── UnfinishedRun                        the result of a run that has not ended
    │   └── PausedRun
    ├── FailedRun                            a run that failed without an exception to raise
    ├── CrashedRun                           a run that was ended from outside
    └── CancelledRun                         a run that was cancelled

    TerminationSignal (BaseException)        SIGTERM, raised in the main thread

A message says what happened, to which thing, and what to do about it.
"""

from __future__ import annotations


class KeptException(Exception):
    """The root of all errors raised by kept."""


class ConfigurationError(KeptException, ValueError):
    """An option, a setting or a combination of policies can't be right."""


class InvalidNameError(ConfigurationError):
    """A name has characters that are not allowed."""


class MissingContextError(KeptException, RuntimeError):
    """A run was asked for where no flow or task is running."""


class ParameterTypeError(KeptException, TypeError):
    """An argument has the wrong type."""


class ParameterBindError(ParameterTypeError):
    """A call does not fit the signature of the function."""


class ReservedArgumentError(ParameterTypeError):
    """A parameter is named like an option that kept takes itself."""


class ValidationError(ParameterTypeError, ValueError):
    """Flow parameters do not fit their annotations. (Prefect raises a `ParameterTypeError` for this.)"""


class MappingLengthMismatch(KeptException, ValueError):
    """`.map` was called with iterables of unequal lengths."""


class MappingMissingIterable(KeptException, ValueError):
    """`.map` was called without anything to map over."""


class HashError(KeptException, TypeError):
    """A value has no stable content, so it can't be fingerprinted."""


class SerializationError(KeptException):
    """A value can't be turned into bytes, or bytes can't be turned back into a value."""


class StoreError(KeptException):
    """The store can't do what was asked."""


class StoreRefused(StoreError):
    """The server of the store does not allow it: credentials that are wrong, or without the permission."""


class StoreUnreachable(StoreError):
    """The server of the store does not answer, or says that it can't just now."""


class StoreUnsupported(StoreError):
    """The server of the store has no such operation."""


class StoreVersionError(StoreError):
    """The store was written by a newer version of kept."""


class LockError(KeptException):
    """A lock can't be taken, or is not held by who releases it."""


class LockNotHeldError(LockError, ValueError):
    """A lock was released by who does not hold it. (A ValueError too, as in Prefect.)"""

    def __init__(self, key: str, holder: str) -> None:
        super().__init__(f"{holder!r} can't release the lock on {key!r}: it does not hold it")
        self.key = key
        self.holder = holder

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.key, self.holder))


class LockLostError(LockError):
    """A lock was taken over by another before what it was for was done, so that is not to be seen by anybody."""


class MissingResult(KeptException):
    """A run has ended, but its value can't be had."""


class VisualizationError(KeptException):
    """A picture of a flow can't be drawn without running its tasks."""


class RollBack(KeptException):
    """A transaction was told to roll back."""


class UnfinishedRun(KeptException, RuntimeError):
    """The result of a run was asked for before the run had ended."""


class PausedRun(UnfinishedRun):
    """The result of a paused run was asked for."""


class FailedRun(KeptException, RuntimeError):
    """A run failed without an exception that could be raised in its place."""


class CrashedRun(KeptException, RuntimeError):
    """A run was ended from outside: an interrupt, a signal, a lost process."""


class CancelledRun(KeptException, RuntimeError):
    """A run was cancelled."""


class TerminationSignal(BaseException):
    """The process was told to end, by SIGTERM, while a run went on in its main thread. No `Exception`: let it pass.

    Attributes:
        signal: the number of the signal.
    """

    def __init__(self, signal: int = 15) -> None:
        super().__init__(f"The process was told to end by signal {int(signal)}.")
        self.signal = signal
