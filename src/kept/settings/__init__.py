"""What can be set from outside a program: in the environment, in a file, or for the time of a block.

`declarations` lists them all; `current` knows the value of each now. Settings are read from the layer of runs
upwards: what lies below gets its options as arguments.
"""

from __future__ import annotations

from kept.settings import declarations
from kept.settings.current import active_profile, get_current_settings, problems, profiles_file, temporary_settings
from kept.settings.declarations import *  # noqa: F403 - each setting, by all of its names
from kept.settings.setting import Setting, find_setting
from kept.settings.sources import settings_file

__all__ = [
    "Setting",
    "active_profile",
    "find_setting",
    "get_current_settings",
    "problems",
    "profiles_file",
    "settings_file",
    "temporary_settings",
]
__all__ += declarations.__all__
