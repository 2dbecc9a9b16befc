"""One instance: what a second launch of a real program does."""

from __future__ import annotations

import time

from .support import PATIENCE, Collector, SingletonTestCase

NOT_STRICT = """
import sys
from src.Socket_Singleton import MultipleSingletonsError, Socket_Singleton
try:
    app = Socket_Singleton(port=int(sys.argv.pop(1)), strict=False)
except MultipleSingletonsError as error:
    print(error.address, error.port, error.delivered)
    print(error)
else:
    print("the host")
"""

CLEAN_UP = """
import sys
from src.Socket_Singleton import Socket_Singleton
try:
    Socket_Singleton(port=int(sys.argv.pop(1)))
except SystemExit as error:
    print("code", error.code)
    raise
finally:
    print("cleaned up")
"""


class TestSingletonEnforcement(SingletonTestCase):
    def host(self):
        return self.start_app("trace", PATIENCE, self.port, ready="Singleton locked")

    def test_first_launch_runs(self):
        self.assertEqual(self.run_app("default", self.port).lines, ["Singleton locked"])

    def test_second_launch_ends_silently_with_status_0(self):
        self.host()
        launch = self.run_app("default", self.port, "word")
        self.assertEqual((launch.out, launch.err), ("", ""))

    def test_second_launch_without_client_hands_nothing_over(self):
        host = self.host()
        launch = self.run_app("no_client", self.port, "kept back")
        self.assertEqual((launch.out, launch.err), ("", ""))
        self.run_app("default", self.port, "handed over")
        host.expect("handed over")
        self.assertEqual(host.lines, ["Singleton locked", "handed over"])

    def test_second_launch_that_is_not_strict_may_go_on(self):
        self.assertEqual(self.run_app("no_strict", self.port).lines, ["Singleton locked"])
        self.host()
        self.assertEqual(self.run_app("no_strict", self.port).lines, ["MultipleSingletonsError"])

    def test_next_launch_runs_when_the_first_has_ended(self):
        for _ in range(3):
            self.assertEqual(self.run_app("default", self.port).lines, ["Singleton locked"])

    def test_next_launch_runs_while_a_host_that_released_lives_on(self):
        code = (
            "import sys; from Socket_Singleton import Socket_Singleton;"
            "Socket_Singleton(port=sys.argv[1]).release(); print('released'); sys.stdin.readline()"
        )
        first = self.start("-c", code, self.port, ready="released")
        self.assertEqual(self.run_app("default", self.port).lines, ["Singleton locked"])
        self.assertIsNone(first.process.poll(), "the first one lives")

    def test_release_command(self):
        self.assertEqual(self.run_app("release", 0, self.port).out, "")
        self.singleton(strict=False)

    def test_with_block(self):
        self.assertEqual(self.run_app("context", self.port).lines, ["Singleton locked"])
        self.assertEqual(self.run_app("context", self.port).lines, ["Singleton locked"])

    def test_ports_are_independent(self):
        other = self.singleton(port=0)
        self.assertNotEqual(other.port, self.port)
        self.host()
        self.assertTrue(other._listening)

    def test_no_command_says_what_is_missing(self):
        for words in ((), ("nonsense",)):
            launch = self.run_app(*words, status=1)
            self.assertEqual(launch.out, "")
            self.assertIn("default", launch.err)

    def test_verbose_host_prints_what_its_observer_raised(self):
        host = self.start_app("verbose_host", self.port, PATIENCE, ready="Host ready")
        self.run_app("default", self.port, "word")
        host.expect(
            "Socket_Singleton: Observer raise_error raised exception: ValueError: Intentional test exception"
        )

    def test_first_three_of_max_clients(self):
        host = self.start_app("max_clients", self.port, ready="Singleton locked")
        for number in range(5):
            launch = self.run_app("default", self.port, number)
            self.assertEqual((launch.out, launch.err), ("", ""))
        host.write("\n")
        self.finish(host)
        self.assertEqual(host.lines, ["Singleton locked", "0", "1", "2"])

    def test_wildcard_host_is_reached_over_loopback(self):
        app, observer = self.singleton(address="0.0.0.0"), Collector()
        app.trace(observer)
        self.assertIs(self.second_launch("x", address="0.0.0.0").delivered, True)
        self.assertIs(self.second_launch("y", address="127.0.0.1").delivered, True)
        observer.wait_for(("x",), ("y",))

    def test_system_exit_has_no_code_and_cleans_up(self):
        program = self.finish(self.start("-c", CLEAN_UP, self.port))
        self.assertEqual(program.lines, ["cleaned up"])
        self.host()
        program = self.finish(self.start("-c", CLEAN_UP, self.port))
        self.assertEqual((program.lines, program.err), (["code None", "cleaned up"], ""))

    def test_not_strict_hands_over_too(self):
        host = self.host()
        program = self.finish(self.start("-c", NOT_STRICT, self.port, "from", "a", "lenient", "one"))
        host.expect("from a lenient one")
        self.assertEqual(program.lines[0], f"127.0.0.1 {self.port} True")
        self.assertIn(f"already bound & listening @ 127.0.0.1 on port {self.port}", program.out)

    def test_release_command_lives_on_for_as_long_as_it_was_told(self):
        begun = time.monotonic()
        self.assertEqual(self.run_app("release", 0.2, self.port).out, "")
        self.assertGreaterEqual(time.monotonic() - begun, 0.2)

    def test_hosts_on_different_addresses(self):
        first = self.singleton()
        try:
            second = self.singleton(address="127.0.0.2", strict=False)
        except OSError as error:
            self.skipTest(f"this machine has one loopback address: {error}")
        self.assertIs(self.second_launch("to the first").delivered, True)
        self.assertIs(self.second_launch("to the second", address="127.0.0.2").delivered, True)
        self.assertEqual(first.arguments, (("to the first",),))
        self.assertEqual(second.arguments, (("to the second",),))
