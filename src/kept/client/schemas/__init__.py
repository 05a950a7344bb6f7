"""The types of runs and states, for annotations of hooks."""

from __future__ import annotations
