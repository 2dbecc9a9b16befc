"""Runs a program that asks, and prints "owned" when the host owns the launch, before it answers.

owned.py PROGRAM [ARG ...]
"""

import runpy
import sys

import inside
from saying import say


class Recording(inside.LaunchSocket):
    def recv(self, *args):
        received = super().recv(*args)
        if received[:1] == inside.ACK:
            say("owned")
        return received


del sys.argv[0]
with inside.sockets_of_launches(Recording):
    runpy.run_path(sys.argv[0], run_name="__main__")
