"""Runs what a program starts under the same program of the tests as the program itself."""

import subprocess
import sys


def start_under(runner):
    """From now on, run commands that start ``sys.argv[0]`` under ``runner``."""

    class StartedUnder(subprocess.Popen):
        def __init__(self, command, *args, **options):
            program = command.index(sys.argv[0])
            super().__init__([*command[:program], runner, *command[program:]], *args, **options)

    subprocess.Popen = StartedUnder
