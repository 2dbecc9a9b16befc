"""What a system cannot show. A test that needs it has a mark for it, and is skipped with the reason."""

from __future__ import annotations

import os
import sys
import time
import unittest


def _is_wine() -> bool:
    if sys.platform != "win32":
        return False
    import ctypes

    # Only wine's own ntdll has it.
    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


# Windows Python runs under wine too, which differs from Windows in some respects.
WINE = _is_wine()

NO_RESETS = "wine: a reset arrives as an orderly end"

# For tests of how a launch handles a reset. `assert_reset` checks by itself.
needs_resets = unittest.skipIf(WINE, NO_RESETS)
needs_reset_in_backlog = unittest.skipIf(WINE, "wine: what was reset before it was accepted cannot be read")
needs_errors_of_folders = unittest.skipIf(WINE, "wine: a folder that is run is not found; Windows denies it")
needs_unix_descriptors = unittest.skipIf(os.name == "nt", "sockets are not descriptors there")
needs_long_command_lines = unittest.skipIf(os.name == "nt", "a command line ends at 32,767 characters there")
needs_fine_clock = unittest.skipIf(
    time.get_clock_info("monotonic").resolution > 0.001, "the clock of this Python ticks every 16 ms"
)
