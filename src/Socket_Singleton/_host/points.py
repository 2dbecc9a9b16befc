"""Named points in a host's threads, where a test can look, stop a thread, or make it fail.

As with the instruments of trio (`trio.abc.Instrument`), a thread says where it is, and usually nobody
listens. So tests depend on these names, and not on how a host is built.

============  ========  ==========================================================================
point         thread    where it is
============  ========  ==========================================================================
"turn"        I/O       before it looks for events
"admitted"    I/O       after it has accepted a connection from the backlog
"read"        I/O       after it has read from a peer; the bytes are passed to `reach`
"put"         I/O       before it puts a launch into the inbox
"answer"      I/O       before it tells a launch that it is owned, or why it is not
"hand out"    I/O       before it hands out the launches that it has acknowledged
"chosen"      observer  before it looks up the observers for the launch that it has taken
"decode"      observer  before it decodes that launch
"begun"       observer  after a launch has left the inbox, before any observer is called
============  ========  ==========================================================================

With a ``dispatch``, the last three are in whichever thread that uses to run the observers.
"""

from __future__ import annotations


def reach(point: str, *details: object) -> None:
    """Announce ``point``. A test puts a function of its own in this place, which may wait or raise."""
