"""Try a frozen examples/observer.py: a first launch of it, and a second one.

frozen.py BINARY
"""

import os
import sys

sys.path[:0] = ["src", "."]

from tests.support import Program, free_port  # noqa: E402

binary = os.path.abspath(sys.argv[1])
folder = os.path.dirname(binary)
env = {"EXAMPLE_PORT": str(free_port()), "PYTHONPATH": ""}
first = Program([binary, "a.txt"], env=env, cwd=folder)
try:
    first.expect("Running. Press Enter to end.")
    print(*first.lines, sep="\n")
    second = Program([binary, "b.txt", "c d.txt"], env=env, cwd=folder)
    try:
        status = second.wait()
    finally:
        second.kill()
    print(f"the second launch ends with status {status} and prints {second.out + second.err!r}")
    if status or second.out or second.err:
        sys.exit("the second launch was to end quietly")
    for line in ("another launch asks for 'b.txt'", "another launch asks for 'c d.txt'"):
        first.expect(line)
        print(line)
    first.write("\n")
    if first.wait():
        sys.exit(first.describe())
finally:
    first.kill()
