"""Runs a program, and says "owned" when the host owns what that asks, which is before it answers.

owned.py PROGRAM [ARG ...]
"""

import runpy
import sys

import inside
from saying import say

del sys.argv[0]
with inside.owned_launches(lambda: say("owned")):
    runpy.run_path(sys.argv[0], run_name="__main__")
