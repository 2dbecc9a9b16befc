"""What a system, or what stands in for one, cannot show. A test that needs it says so, and is skipped aloud."""

from __future__ import annotations

import os
import sys
import unittest


def _is_wine() -> bool:
    if sys.platform != "win32":
        return False
    import ctypes

    # Wine's own ntdll alone has it (wiki.winehq.org, Developer FAQ: "How can I detect Wine?").
    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


# Windows Python runs under wine too, which is no Windows in all things.
WINE = _is_wine()

NO_RESETS = "wine: a reset arrives as an orderly end"

# For tests whose subject is what a launch makes of a reset. `assert_reset` looks by itself.
needs_resets = unittest.skipIf(WINE, NO_RESETS)
needs_reset_in_backlog = unittest.skipIf(
    WINE, "wine: what was reset before it was accepted is not connected, where Windows has what came first"
)
needs_errors_of_folders = unittest.skipIf(WINE, "wine: a folder that is run is not found; Windows denies it")
needs_unix_descriptors = unittest.skipIf(
    os.name == "nt", "a socket is no descriptor there, and is not copied so"
)
needs_long_command_lines = unittest.skipIf(
    os.name == "nt", "a command line has 32,767 characters at most there"
)
