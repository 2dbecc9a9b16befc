"""The launch arrives: all of them, once, and as they were typed."""

from __future__ import annotations

import json
import os
import unittest

from .support import PROGRAMS, Collector, SingletonTestCase, wait_until


@unittest.skipUnless(hasattr(os, "fork"), "the launches of this test are forked")
class TestBursts(SingletonTestCase):
    def burst(self, count: int) -> list:
        program = self.finish(self.start(PROGRAMS / "burst.py", self.port, count))
        self.assertEqual(program.lines.pop(), "done")
        self.assertEqual(program.err, "")
        self.assertEqual(len(program.lines), count, program.describe())
        return [json.loads(line) for line in program.lines]

    def test_two_hundred_second_launches_at_once(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        for result in self.burst(200):
            self.assertEqual(result[:2], ["delivered", True], result)
        self.assertEqual(app.clients, 200)
        wait_until(lambda: len(observer.calls) >= 200, "all are delivered")
        self.assertEqual(sorted(int(args[0]) for args in observer.calls), list(range(200)))

    def test_fifty_first_launches_at_once(self):
        for _ in range(20):
            results = self.burst(50)
            hosts = [result for result in results if result[0] == "host"]
            self.assertEqual(len(hosts), 1, results)
            others = [result for result in results if result[0] != "host"]
            self.assertEqual([result[:2] for result in others], [["delivered", True]] * 49, others)
            numbers = [int(args[0]) for args in hosts[0][1]]
            self.assertEqual(len(set(numbers)), 49)
            self.assertEqual(len(numbers), 49)


class TestArguments(SingletonTestCase):
    """Through real command lines, as the system hands them over."""

    def check(self, *words: bytes) -> None:
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        self.run_app("default", str(self.port), *words)
        observer.wait_for(tuple(os.fsdecode(word) for word in words))

    def test_one_of_120_kilobytes(self):
        self.check(b"x" * 120_000)

    def test_two_thousand_of_500_bytes(self):
        self.check(*[b"%04d" % number + b"y" * 496 for number in range(2000)])

    def test_empty_ones(self):
        self.check(b"", b"a", b"", b"", b"b", b"")

    def test_newlines_and_control_bytes(self):
        self.check(b"two\nlines\r\n", b"\x06", b"\x15", b"\x1b[0m", b"\x7f\x01")

    def test_unicode(self):
        self.check("caf\u00e9".encode(), "\U0001f600 \u05d0\u200f".encode())

    @unittest.skipIf(os.name == "nt", "command lines are not bytes there")
    def test_bytes_that_are_not_utf8(self):
        self.check(b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80", b"\xf0\x9f")

    def test_argv_reassigned_before_the_constructor(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        self.finish(self.start(PROGRAMS / "say_argv.py", self.port, "typed"))
        observer.wait_for(("not", "what", "was typed"))

    def test_launches_before_the_first_trace(self):
        app, observer = self.singleton(), Collector()
        for word in "abc":
            self.run_app("default", self.port, word)
        self.assertEqual(app.arguments, (("a",), ("b",), ("c",)))
        app.trace(observer)
        observer.wait_for(("a",), ("b",), ("c",))
        self.assertEqual(app.arguments, ())
