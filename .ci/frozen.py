"""Try a frozen examples/observer.py: its first launch, and a second one.

frozen.py BINARY
"""

import os
import sys

sys.path[:0] = ["src", "."]

from tests.support import Program  # noqa: E402

binary = os.path.abspath(sys.argv[1])
folder = os.path.dirname(binary)
env = {"HOME": folder, "PYTHONPATH": ""}  # its key is created there
first = Program([binary, "a.txt"], env=env, cwd=folder)
try:
    first.expect("Running. Press Enter to quit.")
    print(*first.lines, sep="\n")
    second = Program([binary, "b.txt", "c d.txt"], env=env, cwd=folder)
    try:
        status = second.wait()
    finally:
        second.kill()
    print(f"the second launch ends with status {status} and prints {second.out + second.err!r}")
    if status or second.out or second.err:
        sys.exit("the second launch should have ended quietly")
    for line in ("another launch asks for 'b.txt'", "another launch asks for 'c d.txt'"):
        first.expect(line)
        print(line)
    first.write("\n")
    if first.wait():
        sys.exit(first.describe())
finally:
    first.kill()
