"""The installed package, in an environment without anything else, away from the source tree."""

import importlib.metadata
import os
import subprocess
import sys

import Socket_Singleton

folder = os.path.dirname(Socket_Singleton.__file__)
assert folder.startswith(sys.prefix), folder
assert os.path.exists(os.path.join(folder, "py.typed"))
distribution = importlib.metadata.distribution("Socket_Singleton")
assert distribution.version == Socket_Singleton.__version__, distribution.version
assert distribution.requires is None, distribution.requires

APP = """
from Socket_Singleton import Socket_Singleton
app = Socket_Singleton(port=14175)
app.trace(lambda args: print(*args, flush=True))
print("ready", flush=True)
input()
"""


def launch(*args):
    command = [sys.executable, "-I", "-c", APP, *args]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, universal_newlines=True)


first = launch()
try:
    assert first.stdout.readline() == "ready\n", first.communicate()
    second = launch("a", "b c")
    assert second.communicate(timeout=30) == ("", "")
    assert second.returncode == 0, second.returncode
    assert first.stdout.readline() == "a b c\n"
    assert first.communicate("\n", timeout=30) == ("", "")
    assert first.returncode == 0, first.returncode
finally:
    first.kill()

print(f"Socket_Singleton {distribution.version}: installed, imported, a first and a second launch")
