"""Tries bad parameters, and counts the sockets made for them; needs an interpreter with audit hooks.

Reads pairs of a parameter and a value, one pair of JSON per line; prints ``sockets N``.
"""

from __future__ import annotations

import json
import socket
import sys

from Socket_Singleton import Socket_Singleton

made = []
sys.addaudithook(lambda event, args: made.append(event) if event == "socket.__new__" else None)
socket.socket().close()
print("the hook sees a socket", len(made) == 1)
made.clear()
for line in sys.stdin:
    name, value = json.loads(line)
    try:
        Socket_Singleton(**{name: value})
    except (TypeError, ValueError):
        continue
    print("accepted", name, value)
print("sockets", len(made))
