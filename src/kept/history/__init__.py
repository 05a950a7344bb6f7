"""What happened: one record a run, written to an embedded database by a thread of its own.

Nothing here decides anything; a run goes on whether or not its record can be written.
"""

from __future__ import annotations

from kept.history.reading import History
from kept.history.records import Recorder, RunRecord
from kept.history.sqlite import SqliteRecorder, close_recorders, open_recorder

__all__ = ["History", "Recorder", "RunRecord", "SqliteRecorder", "close_recorders", "open_recorder"]
