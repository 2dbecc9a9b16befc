"""Add up the tests in everything that unittest has printed to some files: count_tests.py FILE..."""

import re
import sys
from pathlib import Path

ENDED = re.compile(r"^Ran (\d+) tests? in .*\s+OK(?: \((?:.*, )?skipped=(\d+).*\))?$", re.MULTILINE)

runs = [run for path in sys.argv[1:] for run in ENDED.findall(Path(path).read_text(errors="replace"))]
ran, skipped = (sum(int(count or 0) for count in counts) for counts in zip(*runs))
if any(run[0] == "0" for run in runs):
    sys.exit("one of the runs had no test")
print(f"{len(runs)} times tests were run:\n{ran - skipped} passed, 0 failed, {skipped} skipped")
