"""What is new in the latest Pythons (isolated interpreters, lazy imports), and today's python-daemon."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import unittest

from .support import NamedTestCase, SingletonTestCase, wait_until

# Calls something of the class in two isolated interpreters, started in the two possible ways. Prints what
# each call returns or raises, and whether all descriptors that it opened are closed.
IN_INTERPRETERS = """
import sys
from concurrent import interpreters
from concurrent.futures import InterpreterPoolExecutor
from descriptors import descriptors

def show(call):
    before = descriptors()
    try:
        print(repr(call()))
    except Exception as error:
        print(str(error).splitlines()[0])
    print(descriptors() <= before)

source = "__import__('Socket_Singleton').Socket_Singleton" + sys.argv[1]
interpreter = interpreters.create()
show(lambda: interpreter.call(eval, source, {}))
interpreter.close()
with InterpreterPoolExecutor(1) as pool:
    pool.submit(len, ()).result()
    show(lambda: pool.submit(eval, source, {}).result())
"""

# Is the host, or hands over a word.
LAZY = """
import sys
from Socket_Singleton import Socket_Singleton

app = Socket_Singleton(port=sys.argv[1], argv=["word"])
app.trace(lambda launch: print(*launch, flush=True))
print("host", flush=True)
sys.stdin.readline()
app.release()
"""

# Becomes a daemon with all descriptors closed, and then the host.
DAEMON = """
import os, sys
import daemon
from Socket_Singleton import Socket_Singleton

with daemon.DaemonContext(stdout=open(sys.argv.pop(2), "w")):
    app = Socket_Singleton(port=sys.argv.pop(1), timeout=60)
    app.trace(lambda args: print(*args, flush=True))
    print(os.getpid(), flush=True)
    app.join()
"""


@unittest.skipUnless(sys.version_info >= (3, 14), "isolated interpreters came with CPython 3.14")
class TestInterpreters(NamedTestCase):
    def results(self, call: str) -> list[str]:
        """Return what this call returns or raises in each interpreter."""
        program = self.finish(self.start("-c", IN_INTERPRETERS, call))
        self.assertEqual(program.err, "")
        self.assertEqual(program.lines[1::2], ["True", "True"], "it has left a descriptor open")
        return program.lines[::2]

    def test_no_host_can_be_in_one(self):
        """They have no daemon threads. The error does not keep the port."""
        for line in self.results(f"(port={self.port}, address={self.address!r}, strict=False)"):
            self.assertRegex(line, r"^(RuntimeError: )?daemon threads are disabled")
        self.assert_free()

    def test_launches_from_one(self):
        app, launches = self.named(), []
        app.trace(lambda launch: launches.append(launch) or len(launch))
        words = ("a", "b c", "\u00e4")
        self.assertEqual(self.results(f".ask({words}, name={self.name!r})"), ["3", "3"])
        self.assertEqual(self.results(f".send({words}, name={self.name!r})"), ["None", "None"])
        self.assertEqual(self.results(f".is_running(name={self.name!r})"), ["True", "True"])
        for line in self.results(f"(name={self.name!r}, argv={words}, strict=False)"):
            self.assertIn("already bound & listening", line)
        wait_until(lambda: len(launches) == 6, "all launches have arrived")
        self.assertEqual(launches, [words] * 6)


@unittest.skipUnless(sys.version_info >= (3, 15), "lazy imports came with CPython 3.15")
class TestLazyImports(SingletonTestCase):
    def test_with_all_imports_lazy(self):
        program = ("-X", "lazy_imports=all", "-c", LAZY, self.port)
        host = self.start(*program, ready="host")
        self.finish(self.start(*program))
        host.expect("word")
        host.write("\n")
        self.finish(host)


@unittest.skipUnless(os.name == "posix" and importlib.util.find_spec("daemon"), "there is no python-daemon")
class TestDaemon(SingletonTestCase):
    def test_host_that_is_a_daemon(self):
        """Constructed in the context, which closes all descriptors, even a listener's, and forks twice."""
        said = self.make_folder() / "said"
        self.finish(self.start("-c", DAEMON, self.port, said))
        wait_until(lambda: said.exists() and said.read_text().endswith("\n"), "it is the host")
        self.addCleanup(os.kill, int(said.read_text()), signal.SIGKILL)
        self.second_launch("a", "b c")
        wait_until(lambda: said.read_text().splitlines()[1:] == ["a b c"], "it has the launch")
