"""Whose instance: where a name leads to, and the key of this user."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import unittest
from unittest import mock

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton
from Socket_Singleton._identity import KEY_SIZE, place_of

from .support import (
    PATIENCE,
    PORT,
    PROGRAMS,
    ROOT,
    NamedTestCase,
    descriptors,
    inside,
    python_of_another_user,
    wait_until,
)

WIRE_PAGE = ROOT / "docs" / "wire.md"
POSIX = os.name == "posix"
IS_ROOT = POSIX and os.geteuid() == 0

# What no name can be, and what is raised for it.
BAD_NAMES = (
    ("", ValueError, "name must not be empty"),
    ("a\0b", ValueError, "name must not contain a NUL character"),
    ("\ud800", ValueError, "surrogates not allowed"),
    (b"name", TypeError, "name must be a str, not bytes"),
    (5, TypeError, "name must be a str, not int"),
    (("a",), TypeError, "name must be a str, not tuple"),
)


class TestIdentity(NamedTestCase):
    # -- where --

    @unittest.skipUnless(WIRE_PAGE.is_file(), "no docs here")
    def test_places_are_those_of_the_page(self):
        text = WIRE_PAGE.read_text(encoding="utf-8")
        rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| `([\d.]+)` \| (\d+) \|$", text, re.MULTILINE)
        self.assertGreater(len(rows), 4)
        for user, name, address, port in rows:
            with self.subTest(user=user, name=name):
                self.assertEqual(place_of(name, user, True), (address, int(port)))
                self.assertEqual(place_of(name, user, False), ("127.0.0.1", int(port)))

    def test_all_places_can_be_bound(self):
        for number in range(2000):
            address, port = place_of(f"name {number}", "1000", True)
            parts = list(map(int, address.split(".")))
            self.assertEqual(parts[0], 127)
            self.assertTrue(all(1 <= part <= 254 for part in parts[1:]), address)
            self.assertTrue(10000 <= port <= 32767, port)

    def test_each_user_and_name_has_a_place_of_its_own(self):
        names = [f"name {number}" for number in range(1000)]
        places = {place_of(name, user, True) for name in names for user in ("0", "1000", "S-1-5-18")}
        self.assertEqual(len(places), 3000)

    def test_host_is_where_its_name_leads(self):
        app = self.named()
        self.assertEqual((app.name, app.address, app.port), (self.name, self.address, self.port))
        self.connect().close()

    @unittest.skipUnless(sys.platform in ("linux", "win32"), "not all of 127.0.0.0/8 is this machine")
    def test_each_name_has_an_address_of_its_own(self):
        app = self.named()
        self.assertNotEqual(app.address, "127.0.0.1")
        self.named(name=f"{self.name}, a second window", port=app.port)

    def test_what_is_not_at_its_default_is_taken_as_given(self):
        other = self.port + 1
        for options, address, port in (
            ({"port": other}, self.address, other),
            ({"port": str(other)}, self.address, other),
            ({"port": str(PORT)}, self.address, self.port),
            ({"address": "localhost"}, "localhost", self.port),
            ({"address": "localhost", "port": other}, "localhost", other),
            ({"address": "0.0.0.0", "port": other}, "0.0.0.0", other),
        ):
            with self.subTest(options):
                app = self.named(**options)
                self.assertEqual((app.address, app.port), (address, port))
                error = self.named_launch("a", **options)
                self.assertEqual((error.delivered, error.pid), (True, os.getpid()))
                self.assertEqual((error.address, error.port), (address, port))
                self.assertTrue(Socket_Singleton.is_running(name=self.name, **options))
                self.assertEqual(app.arguments, (("a",),))
                app.release()

    def test_repr_ends_with_name_and_answer(self):
        app = self.named()
        self.assertTrue(repr(app).endswith(f", name={self.name!r}, answer=False)"), repr(app))

    # -- names that are none --

    def test_bad_names_are_refused_before_any_file_or_socket(self):
        calls = (
            Socket_Singleton,
            lambda name: Socket_Singleton.send((), name=name),
            lambda name: Socket_Singleton.ask((), name=name),
            lambda name: Socket_Singleton.is_running(name=name),
            Socket_Singleton.pid_of,
        )
        for name, kind, text in BAD_NAMES:
            for number, call in enumerate(calls):
                told = self.assertRaisesRegex(kind, text)
                with self.subTest(name=name, call=number), inside.no_sockets_of_launches(), told:
                    call(name=name)
        for call in (lambda: Socket_Singleton.ask((), name=None), lambda: Socket_Singleton.pid_of(None)):
            with self.assertRaisesRegex(TypeError, "name must be a str, not NoneType"):
                call()
        self.assertEqual(os.listdir(self.home), [])

    def test_answer_needs_a_name(self):
        with inside.no_sockets_of_launches(), self.assertRaisesRegex(ValueError, "answer needs a name"):
            Socket_Singleton(port=self.port, answer=True)

    # -- the key --

    def test_key_is_private_and_alone(self):
        self.named()
        path = inside.key_file()
        self.assertTrue(path.startswith(str(self.home)))
        self.assertEqual(os.listdir(os.path.dirname(path)), ["key"])
        self.assertEqual(os.path.getsize(path), KEY_SIZE)
        if POSIX:
            self.assertEqual(os.path.relpath(path, self.home), ".local/state/Socket_Singleton/key")
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode), 0o700)

    def test_key_stays_the_same(self):
        self.named().release()
        with open(inside.key_file(), "rb") as file:
            before = file.read()
        self.named(name="another one").release()
        with open(inside.key_file(), "rb") as file:
            self.assertEqual(file.read(), before)

    def test_first_launches_at_once_have_one_key(self):
        for round_ in range(20):
            home = self.make_folder()
            with self.subTest(round_), self.at_home(home):
                identities = self.at_once(8, lambda _: inside.identity(self.name))
                self.assertEqual(len({identity.key for identity in identities}), 1)
                self.assertEqual(os.listdir(os.path.dirname(inside.key_file())), ["key"])

    def test_first_processes_at_once_are_one_host(self):
        programs = [self.start(PROGRAMS / "answering.py", self.name, "word") for _ in range(6)]
        wait_until(lambda: any("host" in program.lines for program in programs), "a host")
        hosts = [program for program in programs if "host" in program.lines]
        self.assertEqual(len(hosts), 1)
        for program in programs:
            if program not in hosts:
                self.finish(program)
        hosts[0].expect("got ('word',)", count=5)

    def test_key_that_was_written_halfway_is_nobodys(self):
        """Who is killed while it makes the key leaves a file of another name."""
        interrupted = inside.names_of_keys(KeyboardInterrupt())
        with interrupted, self.assertRaises(KeyboardInterrupt):
            self.named()
        self.assertEqual(os.listdir(os.path.dirname(inside.key_file())), [])
        with open(f"{inside.key_file()}.1.unfinished", "wb"):
            pass
        self.named()

    def test_key_that_is_denied_for_a_moment(self):
        """Windows denies it while another launch gives it its name."""
        self.named().release()
        open_file, denials = os.open, []

        def deny(path, *args, **options):
            if path == inside.key_file() and len(denials) < 3:
                denials.append(path)
                raise PermissionError(errno.EACCES, "Permission denied")
            return open_file(path, *args, **options)

        with mock.patch.object(os, "open", deny):
            with inside.limits(DENIED_TIME=0.0):
                self.assertRaisesRegex(PermissionError, "secret=", self.named)
            with inside.limits(DENIED_TIME=PATIENCE):
                self.named()
        self.assertEqual(len(denials), 3)

    def test_questions_make_no_key(self):
        self.assertFalse(Socket_Singleton.is_running(name=self.name))
        self.assertIsNone(Socket_Singleton.pid_of(self.name))
        for call in (Socket_Singleton.send, Socket_Singleton.ask):
            with self.assertRaisesRegex(ConnectionRefusedError, re.escape(self.name)):
                call((), name=self.name)
        self.assertEqual(os.listdir(self.home), [])

    def test_with_a_secret_no_file_is_touched(self):
        opened = []

        def note(path, *args, **options):
            opened.append(path)
            return open_file(path, *args, **options)

        open_file = os.open
        with mock.patch.object(os, "open", note), self.at_home(self.home / "not there"):
            app = self.named(secret="a long one")
            self.assertTrue(self.named_launch("a", secret="a long one").delivered)
            self.assertTrue(Socket_Singleton.is_running(name=self.name, secret="a long one"))
            self.assertEqual(app.arguments, (("a",),))
        self.assertEqual(opened, [])
        self.assertEqual(os.listdir(self.home), [])

    def test_another_secret_is_told(self):
        """BLAKE2b takes keys of 64 bytes at most; here longer ones differ behind that."""
        app = self.named(secret="x" * 100)
        for secret in ("x" * 101, "x" * 64, "y", None):
            with self.subTest(secret):
                error = self.named_launch("a", secret=secret)
                self.assertIs(error.delivered, False)
                self.assertIn("another secret", str(error))
                self.assertIsNone(error.pid)
        self.assertEqual((app.clients, app.arguments), (0, ()))

    def test_another_home_is_told_and_is_no_second_host(self):
        app = self.named()
        with self.at_home(self.make_folder()):
            error = self.named_launch("a")
            self.assertFalse(Socket_Singleton.is_running(name=self.name))
        self.assertIs(error.delivered, False)
        for part in (self.name, str(self.port), "another home", "secret"):
            self.assertIn(part, str(error))
        self.assertEqual(app.arguments, ())

    def test_lost_key_is_told_and_is_no_second_host(self):
        self.named()
        os.unlink(inside.key_file())
        self.assertIs(self.named_launch("a").delivered, False)

    def assert_refused(self, *parts: str) -> None:
        """Check that a launch, and one who asks, do not take this key; nothing is left open."""
        before = descriptors()
        for call in (self.named, lambda: Socket_Singleton.is_running(name=self.name)):
            with self.assertRaises(OSError) as caught:
                call()
            for part in ("secret=", inside.key_file(), *parts):
                self.assertIn(part, str(caught.exception))
        self.assertEqual(descriptors(), before)

    @unittest.skipUnless(POSIX, "Windows keeps no modes")
    def test_key_that_others_may_know_is_refused(self):
        self.named().release()
        path = inside.key_file()
        folder = os.path.dirname(path)

        for mode in (0o640, 0o604, 0o620, 0o602, 0o666):
            with self.subTest(mode=oct(mode)):
                os.chmod(path, mode)
                self.assert_refused("others can read or write it", "chmod 600")
        os.chmod(path, 0o600)
        for mode in (0o720, 0o702, 0o777):
            with self.subTest(folder=oct(mode)):
                os.chmod(folder, mode)
                self.assert_refused("others can write in its folder", "chmod 700")
        os.chmod(folder, 0o755)
        self.named().release()

    def test_key_of_another_length_is_refused(self):
        self.named().release()
        for size in (0, 1, KEY_SIZE - 1, KEY_SIZE + 1, 10_000):
            with self.subTest(size):
                with open(inside.key_file(), "wb") as file:
                    file.write(bytes(size))
                self.assert_refused(f"has not {KEY_SIZE} bytes", "remove it")

    @unittest.skipUnless(POSIX, "links need a privilege on Windows")
    def test_key_that_is_no_file_is_refused(self):
        self.named().release()
        path = inside.key_file()
        elsewhere = self.home / "elsewhere"
        os.rename(path, elsewhere)

        for kind, make in (
            ("link", lambda: os.symlink(elsewhere, path)),
            ("link to nothing", lambda: os.symlink(self.home / "nothing", path)),
            ("pipe", lambda: os.mkfifo(path, 0o600)),
            ("folder", lambda: os.mkdir(path, 0o700)),
        ):
            with self.subTest(kind):
                make()
                self.assert_refused("remove it")
                (os.rmdir if kind == "folder" else os.unlink)(path)

    @unittest.skipUnless(POSIX, "links need a privilege on Windows")
    def test_folder_that_is_a_link_is_refused(self):
        self.named().release()
        folder = os.path.dirname(inside.key_file())
        os.rename(folder, self.home / "elsewhere")
        os.symlink(self.home / "elsewhere", folder)
        self.assert_refused("its folder is a link")

    @unittest.skipUnless(IS_ROOT, "only root can give a file to another user")
    def test_key_of_another_user_is_refused(self):
        self.named().release()
        os.chown(inside.key_file(), 65534, 65534)
        self.assert_refused("another user's")
        os.chown(inside.key_file(), 0, 0)
        os.chown(os.path.dirname(inside.key_file()), 65534, 65534)
        self.assert_refused("another user's")

    def test_no_home_that_can_be_written(self):
        for name in (".local", "Socket_Singleton"):  # the second one on Windows
            (self.home / name).write_text("a file where a folder should be")
        with inside.no_sockets_of_launches(), self.assertRaisesRegex(OSError, "secret="):
            self.named()
        self.named(secret="a long one")

    def test_user_without_a_home_is_told(self):
        """``nobody`` has one that is not there; one who is in no list of users has none."""
        for user in (65534, 65533):
            program = self.start_program(
                [*python_of_another_user(user), PROGRAMS / "answering.py", self.name],
                env={"HOME": "/nonexistent"},
            )
            self.finish(program, status=1)
            self.assertIn("secret=", program.err)

    @unittest.skipUnless(POSIX, "there is no HOME")
    def test_user_who_is_in_no_list_of_users_has_no_home(self):
        import pwd

        with self.at_home(""), mock.patch.object(pwd, "getpwuid", side_effect=KeyError("not found")):
            told = self.assertRaisesRegex(FileNotFoundError, "this user has no home.*secret=")
            with inside.no_sockets_of_launches(), told:
                self.named()
            self.named(secret="a long one")

    @unittest.skipUnless(POSIX, "there is no HOME")
    def test_home_of_somebody_else_is_not_used(self):
        """As under a sudo that keeps HOME: then it is that of the account."""
        import pwd

        home = pwd.getpwuid(os.geteuid()).pw_dir
        for elsewhere in ("", "relative", "/nonexistent", "/proc/1/cwd/nothing"):
            with self.subTest(elsewhere), self.at_home(elsewhere):
                self.assertTrue(inside.key_file().startswith(os.path.join(home, ".local")))

    def test_error_of_the_key_is_no_second_launch(self):
        """It is an OSError, whatever `strict` is."""
        with inside.names_of_keys(PermissionError(1, "no links here")):
            for strict in (True, False):
                with self.assertRaisesRegex(PermissionError, "no links here.*secret=") as caught:
                    self.named(strict=strict)
                self.assertNotIsInstance(caught.exception, MultipleSingletonsError)
