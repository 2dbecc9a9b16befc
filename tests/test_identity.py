"""Whose instance it is: the place that a name leads to, and the key of this user."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import stat
import sys
import unittest
from unittest import mock

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton
from Socket_Singleton._identity import place_of
from Socket_Singleton._key_file import KEY_SIZE

from .support import (
    PATIENCE,
    PORT,
    PROGRAMS,
    ROOT,
    AnotherUser,
    NamedTestCase,
    descriptors,
    inside,
    wait_until,
)
from .support.sockets import hooked, no_sockets_of_launches

WIRE_PAGE = ROOT / "docs" / "wire.md"
POSIX = os.name == "posix"
IS_ROOT = POSIX and os.geteuid() == 0

# What cannot be a name, and the error for it.
BAD_NAMES = (
    ("", ValueError, "name must not be empty"),
    ("a\0b", ValueError, "name must not contain a NUL character"),
    ("\ud800", ValueError, "surrogates not allowed"),
    (b"name", TypeError, "name must be a str, not bytes"),
    (5, TypeError, "name must be a str, not int"),
    (("a",), TypeError, "name must be a str, not tuple"),
)

# Runs a program with a Python that has no hard links, like the one for Android.
WITHOUT_HARD_LINKS = """
import os, runpy, sys
del os.link
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# Cannot write a file that is longer than half a key.
LIMITED = """
import resource, sys
from Socket_Singleton import Socket_Singleton
resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))
Socket_Singleton(name=sys.argv[1])
"""


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

    def test_address_and_port_that_are_not_the_defaults_are_used_as_given(self):
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
        self.assertTrue(repr(app).endswith(f", name={self.name!r}, answer=False, environ=())"), repr(app))
        self.assertEqual(repr(app).count(self.name), 1)

    def test_str_contains_the_name(self):
        place = f"Socket_Singleton(address={self.address!r}, port={self.port}"
        self.assertEqual(str(self.named()), f"{place}, name={self.name!r})")

    # -- invalid names --

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
                refused = self.assertRaisesRegex(kind, text)
                with self.subTest(name=name, call=number), no_sockets_of_launches(), refused:
                    call(name=name)
        for call in (lambda: Socket_Singleton.ask((), name=None), lambda: Socket_Singleton.pid_of(None)):
            with self.assertRaisesRegex(TypeError, "name must be a str, not NoneType"):
                call()
        self.assertEqual(os.listdir(self.home), [])

    def test_answer_needs_a_name(self):
        with no_sockets_of_launches(), self.assertRaisesRegex(ValueError, "answer needs a name"):
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

    def modes(self) -> dict[str, str]:
        """Return the modes of each folder on the way to the key, and of the key."""
        path, modes = inside.key_file(), {}
        while path != str(self.home):
            modes[os.path.relpath(path, self.home)] = oct(stat.S_IMODE(os.stat(path).st_mode))
            path = os.path.dirname(path)
        return modes

    @unittest.skipUnless(POSIX, "Windows keeps no modes")
    def test_each_folder_on_the_way_is_private_whatever_the_umask(self):
        """With a umask of 0, as services have, all could write to ~/.local, and Python loads code there."""
        self.addCleanup(os.umask, os.umask(0))
        self.named()
        self.assertEqual(
            self.modes(),
            {
                ".local": "0o700",
                ".local/state": "0o700",
                ".local/state/Socket_Singleton": "0o700",
                ".local/state/Socket_Singleton/key": "0o600",
            },
        )

    @unittest.skipUnless(POSIX, "Windows keeps no modes")
    def test_existing_folders_stay_as_they_are(self):
        (self.home / ".local").mkdir()
        (self.home / ".local").chmod(0o755)
        self.named()
        self.assertEqual(self.modes()[".local"], "0o755")
        self.assertEqual(self.modes()[".local/state"], "0o700")

    def test_another_user_can_plant_nothing_beside_the_key(self):
        user = AnotherUser(self.make_folder())
        self.addCleanup(os.umask, os.umask(0))
        self.home.chmod(0o755)
        self.named()
        plant = (
            "import os, sys\n"
            "for path in sys.argv[1:]:\n"
            "    try: os.mkdir(path)\n"
            "    except PermissionError: print('denied')"
        )
        places = [os.path.join(str(self.home), ".local", *more) for more in (["lib"], ["state", "other"])]
        program = self.finish(user.start(self, "-c", plant, *places))
        self.assertEqual(program.lines, ["denied"] * 2)

    def test_key_stays_the_same(self):
        self.named().release()
        with open(inside.key_file(), "rb") as file:
            before = file.read()
        self.named(name="another one").release()
        with open(inside.key_file(), "rb") as file:
            self.assertEqual(file.read(), before)

    def test_simultaneous_first_launches_have_one_key(self):
        for round_ in range(20):
            home = self.make_folder()
            with self.subTest(round_), self.at_home(home):
                identities = self.at_once(8, lambda _: inside.identity(self.name))
                self.assertEqual(len({identity.key for identity in identities}), 1)
                self.assertEqual(os.listdir(os.path.dirname(inside.key_file())), ["key"])

    def test_of_simultaneous_first_processes_one_is_the_host(self):
        programs = [self.start(PROGRAMS / "answering.py", self.name, "word") for _ in range(6)]
        wait_until(lambda: any("host" in program.lines for program in programs), "a host")
        hosts = [program for program in programs if "host" in program.lines]
        self.assertEqual(len(hosts), 1)
        for program in programs:
            if program not in hosts:
                self.finish(program)
        hosts[0].expect("got ('word',)", count=5)

    @contextlib.contextmanager
    def without_hard_links(self, missing: bool):
        """Have `os.link` be missing meanwhile, as in Python for Android, or be refused, as on FAT."""
        if missing:
            with mock.patch.object(os, "link"):
                del os.link
                yield
        else:
            refused = PermissionError(errno.EPERM, os.strerror(errno.EPERM))
            with mock.patch.object(os, "link", side_effect=refused):
                yield

    @unittest.skipUnless(POSIX, "Windows needs no links")
    def test_simultaneous_first_launches_without_hard_links(self):
        for missing, round_ in itertools.product((True, False), range(5)):
            home = self.make_folder()
            with self.subTest(missing=missing, round=round_), self.at_home(home):
                with self.without_hard_links(missing):
                    identities = self.at_once(30, lambda _: inside.identity(self.name))
                self.assertEqual(len({identity.key for identity in identities}), 1)
                self.assertEqual(os.path.getsize(inside.key_file()), KEY_SIZE)
                folder = os.path.dirname(inside.key_file())
                self.assertEqual(os.listdir(folder), ["key"])
                self.assertEqual(os.listdir(os.path.dirname(folder)), [os.path.basename(folder)])
                for path, mode in ((folder, 0o700), (inside.key_file(), 0o600)):
                    self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), mode)

    @unittest.skipUnless(POSIX, "Windows needs no links")
    def test_thirty_first_processes_without_hard_links_have_one_key(self):
        self.check_first_processes([True] * 30)

    @unittest.skipUnless(POSIX, "Windows needs no links")
    def test_first_processes_with_and_without_hard_links_have_one_key(self):
        """Two Pythons of one user, one of which has no `os.link`."""
        self.check_first_processes([True, False] * 5)

    def check_first_processes(self, without_links: list[bool]) -> None:
        """Start that many applications that need a key at once, and check that all have the same one."""
        programs = {}
        for number, without in enumerate(without_links):
            name = f"{self.name}, {number}"
            python = ("-c", WITHOUT_HARD_LINKS) if without else ()
            programs[name] = self.start(*python, PROGRAMS / "answering.py", name)
        for program in programs.values():
            program.expect("host")
        for name, program in programs.items():
            self.assertEqual(Socket_Singleton.pid_of(name), program.pid)
        self.assertEqual(self.files(), [inside.key_file()])

    @unittest.skipUnless(POSIX, "Windows needs no links")
    def test_no_hard_links_and_a_folder_that_is_not_empty(self):
        folder = self.home / ".local" / "state" / "Socket_Singleton"
        folder.mkdir(parents=True, mode=0o700)
        (folder / "note.txt").write_text("of the user")
        fails = self.assertRaisesRegex(OSError, "secret=")
        with self.without_hard_links(missing=True), fails as caught:
            self.named()
        self.assertIn(inside.key_file(), str(caught.exception))
        self.assertEqual(os.listdir(str(folder)), ["note.txt"])
        self.assertEqual(os.listdir(str(folder.parent)), ["Socket_Singleton"])
        self.named()

    @unittest.skipUnless(POSIX, "this system has no limit for the size of a file")
    def test_key_that_does_not_fit(self):
        """As on a full disk: the system takes a part of it, and fails only at the next write."""
        program = self.finish(self.start("-c", LIMITED, self.name), 1)
        self.assertIn(os.strerror(errno.EFBIG), program.err)
        self.assertIn("secret=", program.err)
        self.assertEqual(self.files(), [])
        self.named()

    def test_key_that_is_written_in_pieces(self):
        write = os.write

        def write_few(descriptor, data):
            return write(descriptor, data[:5])

        with mock.patch.object(os, "write", write_few):
            self.named()
        self.assertEqual(os.path.getsize(inside.key_file()), KEY_SIZE)

    def files(self) -> list[str]:
        """Return all files in this home."""
        return [os.path.join(folder, name) for folder, _, names in os.walk(str(self.home)) for name in names]

    def test_key_that_was_written_halfway_is_not_used(self):
        """A launch that is killed while it makes the key leaves a file with another name."""
        interrupted = inside.names_of_keys(KeyboardInterrupt())
        with interrupted, self.assertRaises(KeyboardInterrupt):
            self.named()
        self.assertEqual(self.files(), [])
        with open(f"{inside.key_file()}.1.unfinished", "wb"):
            pass
        self.named()

    def test_key_that_is_denied_for_a_moment(self):
        """Windows denies access while another launch renames it."""
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

    def test_launch_with_another_secret_fails_with_a_message(self):
        """BLAKE2b takes keys of at most 64 bytes; the longer ones here differ only after that."""
        app = self.named(secret="x" * 100)
        for secret in ("x" * 101, "x" * 64, "y", None):
            with self.subTest(secret):
                error = self.named_launch("a", secret=secret)
                self.assertIs(error.delivered, False)
                self.assertIn("another secret", str(error))
                self.assertIsNone(error.pid)
        self.assertEqual((app.clients, app.arguments), (0, ()))

    def test_launch_with_another_home_fails_and_is_no_second_host(self):
        app = self.named()
        with self.at_home(self.make_folder()):
            error = self.named_launch("a")
            with self.assertRaisesRegex(ConnectionError, f"cannot tell whether {self.name}.*another home"):
                Socket_Singleton.is_running(name=self.name)
        self.assertIs(error.delivered, False)
        for part in (self.name, str(self.port), "another home", "secret"):
            self.assertIn(part, str(error))
        self.assertEqual(app.arguments, ())

    def test_launch_whose_key_is_lost_fails_and_is_no_second_host(self):
        self.named()
        os.unlink(inside.key_file())
        # A question makes no key, and cannot know that this is the application.
        for call in (
            lambda: Socket_Singleton.is_running(name=self.name),
            lambda: Socket_Singleton.pid_of(self.name),
            lambda: Socket_Singleton.send((), name=self.name),
            lambda: Socket_Singleton.ask((), name=self.name),
        ):
            with self.assertRaisesRegex(ConnectionError, "did not prove.*this user has no key") as caught:
                call()
            self.assertNotIsInstance(caught.exception, ConnectionRefusedError)
        self.assertEqual(self.files(), [])
        self.assertIs(self.named_launch("a").delivered, False)

    def test_key_that_is_made_during_a_question(self):
        """An application that starts for the first time makes it, and can then be asked."""
        self.named(secret=None).trace(len)
        others, home = inside.key_file(), self.make_folder()
        with self.at_home(home):

            def make_key(*_):
                folder = os.path.dirname(inside.key_file())
                os.makedirs(folder, mode=0o700, exist_ok=True)
                shutil.copy2(others, inside.key_file())

            for call in (
                lambda: Socket_Singleton.pid_of(self.name),
                lambda: Socket_Singleton.send(("a",), name=self.name),
                lambda: Socket_Singleton.ask(("a",), name=self.name),
            ):
                with inside.sockets_of_launches(hooked("connect", before=make_key)):
                    call()
                os.unlink(inside.key_file())

    def assert_refused(self, *parts: str) -> None:
        """Check that neither a launch nor a question accepts this key, and that nothing is left open."""
        before = descriptors()
        for call in (self.named, lambda: Socket_Singleton.is_running(name=self.name)):
            with self.assertRaises(OSError) as caught:
                call()
            for part in ("secret=", *parts):
                self.assertIn(part, str(caught.exception))
            self.assertEqual(caught.exception.filename, inside.key_file())
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
                self.assert_refused("others can write to its folder", "chmod 700")
        os.chmod(folder, 0o755)
        self.named().release()

    def test_key_of_another_length_is_refused(self):
        self.named().release()
        for size in (0, 1, KEY_SIZE - 1, KEY_SIZE + 1, 10_000):
            with self.subTest(size):
                with open(inside.key_file(), "wb") as file:
                    file.write(bytes(size))
                self.assert_refused(f"should hold {KEY_SIZE} bytes", "remove it")

    @unittest.skipUnless(POSIX, "links need a privilege on Windows")
    def test_key_that_is_not_a_file_is_refused(self):
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
        self.assert_refused("belongs to another user")
        os.chown(inside.key_file(), 0, 0)
        os.chown(os.path.dirname(inside.key_file()), 65534, 65534)
        self.assert_refused("belongs to another user")

    def test_no_home_that_can_be_written(self):
        for name in (".local", "Socket_Singleton"):  # the second one on Windows
            (self.home / name).write_text("a file where a folder should be")
        with no_sockets_of_launches(), self.assertRaisesRegex(OSError, "secret="):
            self.named()
        self.named(secret="a long one")

    def test_a_user_without_a_home_gets_a_message(self):
        """The home of ``nobody`` does not exist; a user in no list of users has none."""
        for user in (65534, 65533):
            program = AnotherUser(self.make_folder(), user).start(self, "answering.py", self.name)
            self.finish(program, status=1)
            self.assertIn("secret=", program.err)

    @unittest.skipUnless(POSIX, "there is no HOME")
    def test_user_without_an_account_has_no_home(self):
        import pwd

        with self.at_home(""), mock.patch.object(pwd, "getpwuid", side_effect=KeyError("not found")):
            refused = self.assertRaisesRegex(FileNotFoundError, "this user has no home.*secret=")
            with no_sockets_of_launches(), refused:
                self.named()
            self.named(secret="a long one")

    @unittest.skipUnless(POSIX, "there is no HOME")
    def test_home_that_is_no_absolute_path_is_not_used(self):
        """Otherwise each directory that launches start in would have a key of its own."""
        import pwd

        for home in ("", "relative"):
            account = mock.Mock(pw_dir=home)
            with self.subTest(home), self.at_home(""), mock.patch.object(
                pwd, "getpwuid", return_value=account
            ):
                self.assertRaisesRegex(FileNotFoundError, "this user has no home", self.named)

    def test_home_on_a_missing_drive(self):
        """No folder above it exists, up to the root, which has none above it."""
        gone = mock.Mock(side_effect=FileNotFoundError(errno.ENOENT, "no such drive"))
        with mock.patch.object(os.path, "isdir", return_value=False), mock.patch.object(os, "mkdir", gone):
            self.assertRaisesRegex(FileNotFoundError, "no such drive.*secret=", self.named)

    @unittest.skipUnless(POSIX, "there is no HOME")
    def test_home_of_somebody_else_is_not_used(self):
        """As under a sudo that keeps HOME: the account's home is used instead."""
        import pwd

        home = pwd.getpwuid(os.geteuid()).pw_dir
        for elsewhere in ("", "relative", "/nonexistent", "/proc/1/cwd/nothing"):
            with self.subTest(elsewhere), self.at_home(elsewhere):
                self.assertTrue(inside.key_file().startswith(os.path.join(home, ".local")))

    def test_error_of_the_key_is_an_oserror(self):
        """It is an OSError, whatever `strict` is."""
        with inside.names_of_keys(PermissionError(1, "no links here")):
            for strict in (True, False):
                with self.assertRaisesRegex(PermissionError, "no links here.*secret=") as caught:
                    self.named(strict=strict)
                self.assertNotIsInstance(caught.exception, MultipleSingletonsError)
