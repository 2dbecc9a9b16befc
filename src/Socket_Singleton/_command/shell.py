"""What the subcommands share: exit statuses, and messages on stderr."""

from __future__ import annotations

import sys

SIGNALLED = 128  # and the signal's number: the status of its death, as shells have it
INTERRUPTED = SIGNALLED + 2  # SIGINT
READER_GONE = SIGNALLED + 13  # SIGPIPE, which Python itself ignores


def fail(message: str, prefix: str = "Socket_Singleton: ") -> int:
    """Say on stderr what went wrong, if there is one; return the status."""
    try:
        sys.stderr.write(f"{'' if message.startswith(prefix) else prefix}{message}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # it is closed, or full, or not there
    return 1
