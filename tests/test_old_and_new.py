"""2.0.0 and this version at the two ends of a connection."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from Socket_Singleton import Socket_Singleton

from .support import (
    PATIENCE,
    PROGRAMS,
    Collector,
    SingletonTestCase,
    Stopwatch,
    inside,
    needs_resets,
)
from .support.sockets import hooked


class TestOldAndNew(SingletonTestCase):
    """Takes the released 2.0.0 from the package index, or from the folder in SOCKET_SINGLETON_2_0_0."""

    @classmethod
    def setUpClass(cls) -> None:
        folder = os.environ.get("SOCKET_SINGLETON_2_0_0")
        if not folder:
            cls.temporary = tempfile.TemporaryDirectory()
            folder = cls.temporary.name
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
            try:
                subprocess.run(
                    [*command, "Socket_Singleton==2.0.0"],
                    check=True,
                    timeout=60,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            except (OSError, subprocess.SubprocessError) as error:
                cls.temporary.cleanup()  # `tearDownClass` is not called then
                raise unittest.SkipTest(f"the released 2.0.0 cannot be installed here: {error}") from None
        cls.old = {"PYTHONPATH": str(Path(folder).resolve())}

    @classmethod
    def tearDownClass(cls) -> None:
        if hasattr(cls, "temporary"):
            cls.temporary.cleanup()

    def old_launch(self, secret: str, *words: str):
        return self.finish(self.start(PROGRAMS / "old_launch.py", self.port, secret, *words, env=self.old))

    def old_host(self, *secret: str):
        return self.start(PROGRAMS / "old_host.py", self.port, *secret, env=self.old, ready="ready")

    def test_old_version_is_the_old_one(self):
        code = "import Socket_Singleton as module; print(hasattr(module, '__version__'))"
        program = self.finish(self.start("-c", code, env=self.old))
        self.assertEqual(program.lines, ["False"])

    def test_old_launches_to_our_host(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        launch = self.old_launch("", "foo", "b\u00e4r", "two words")
        self.assertEqual((launch.out, launch.err), ("", ""))
        self.old_launch("")
        self.old_launch("", "bye")
        observer.wait_for(("foo", "b\u00e4r", "two words"), ("bye",))
        self.assertEqual(app.clients, 3)

    def test_old_launches_to_our_host_with_a_secret(self):
        app, observer = self.singleton(secret="s\u00e9cret"), Collector()
        app.trace(observer)
        for secret, word in (
            ("", "none"),
            ("wrong", "wrong"),
            ("s\u00e9cret", "right"),
            ("s\u00e9cret", "again"),
        ):
            launch = self.old_launch(secret, word)
            self.assertEqual((launch.out, launch.err), ("", ""))
        observer.wait_for(("right",), ("again",))

    def test_our_launches_to_an_old_host(self):
        host = self.old_host()
        error = self.second_launch("foo", "b\u00e4r")
        self.assertIsNone(error.delivered)
        host.expect("got foo b\u00e4r")
        launch = self.run_app("default", self.port, "bye")
        self.assertEqual((launch.out, launch.err), ("", ""))
        host.expect("got bye")
        self.assertIsNone(self.second_launch(client=False).delivered)
        self.assertEqual(host.lines, ["ready", "got foo b\u00e4r", "got bye"])

    @needs_resets
    def test_our_long_launch_to_an_old_host(self):
        """It reads 1024 bytes, delivers them and resets the connection, as if nobody had the launch."""
        host = self.old_host()
        for letter in "ab":
            with Stopwatch() as took:
                error = self.second_launch(letter * 5000)
            self.assertLess(took.seconds, inside.limit("HAND_OVER_TIME") - inside.limit("ANSWER_TIME"))
            self.assertIs(error.delivered, False)
            self.assertEqual(error.outcome, "truncated")
            self.assertIn("it is of version 2.0.0, which took the first 1024 bytes", str(error))
        with self.assertRaisesRegex(ConnectionError, "version 2.0.0, which took the first 1024 bytes"):
            Socket_Singleton.send(["c" * 5000], port=self.port)
        self.second_launch("bye")
        host.expect("got bye")
        # Each was cut off, and none was delivered twice.
        self.assertEqual(
            host.lines, ["ready", *(f"got {letter * 1024}" for letter in "abc"), "got bye"], host.describe()
        )

    @needs_resets
    def test_our_host_is_not_taken_for_an_old_one(self):
        """A long launch that it resets is tried again, and the check in between does not count."""
        app, observer = self.singleton(notify_empty=True), Collector()
        app.trace(observer)
        # For all incomplete packets together: each long launch is dropped at once.
        limits, said = inside.limits(MAX_BUFFERED=100), []

        def lift_limits(_, data, *flags):
            said.append(data)
            if len(said) == 4:
                limits.__exit__(None, None, None)

        limits.__enter__()
        launch = b"x" * 5000 + b"\0"
        with inside.sockets_of_launches(hooked("sendall", before=lift_limits)):
            Socket_Singleton.send(["x" * 5000], port=self.port, timeout=PATIENCE)
        self.assertEqual(said, [launch, b"\0", launch, launch])  # it checks only once, since that takes long
        observer.wait_for(("x" * 5000,))
        self.assertEqual(app.clients, 1)

    def test_our_launches_to_an_old_host_with_a_secret(self):
        host = self.old_host("secret")
        self.assertIsNone(self.second_launch("wrong", secret="other").delivered)
        self.assertIsNone(self.second_launch("right", secret="secret").delivered)
        host.expect("got right")
        self.assertNotIn("got wrong", host.lines)
