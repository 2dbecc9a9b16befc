"""The example of a desktop application, with a real window on a display without a screen."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import shutil
import socket
import unittest
from unittest import mock

from .pages import start_display
from .support import PATIENCE, PROGRAMS, ROOT, SingletonTestCase, inside, once_for_all, wait_until

APP = ROOT / "examples" / "desktop_app"

# Twenty in one session of noxfile.py. Nothing in the example depends on the version of Python.
RACES = int(os.environ.get("SOCKET_SINGLETON_RACES", "3"))


class Window:
    """The connection to a process of the application that has a window, or will soon have one."""

    def __init__(self, sock):
        sock.settimeout(PATIENCE)
        self._sock = sock
        self._lines = sock.makefile()
        self.pid = self.expect("imported")

    def close_connection(self):
        self._lines.close()
        self._sock.close()

    def expect(self, kind):
        """Return the value in the next line, which has to be of this kind."""
        line = self._lines.readline()
        if not line:
            raise AssertionError(f"the program ended instead of: {kind}")
        said, value = json.loads(line)
        if said != kind:
            raise AssertionError(f"not {kind}, but {said}: {value}")
        return value

    def expect_end(self):
        """Wait until the process has ended."""
        line = self._lines.readline()
        if line:
            raise AssertionError(f"it goes on: {line}")

    def send(self, *words):
        self._sock.sendall((" ".join(words) + "\n").encode())

    def tabs(self):
        """Return the tabs, each with its name and its text."""
        self.send("tabs")
        return self.expect("tabs")

    def names(self):
        return [name for name, _ in self.tabs()]

    def hold(self):
        self.send("hold")
        self.expect("held")

    def close(self):
        """Begin to close the window; return the names of the tabs at that moment."""
        self.send("close")
        return [name for name, _ in self.expect("tabs")]

    def close_and_hold(self):
        """Begin to close the window, and stop the program once the window is gone."""
        self.send("hold_end")
        names = self.close()
        self.expect("ending")
        return names

    def close_with_question(self):
        """Change the file in front and begin to close the window; return the question."""
        self.send("type", "changed")
        self.close()
        return self.expect("dialog")


@once_for_all
@unittest.skipUnless(APP.is_dir(), "no examples here")
class TestDesktopApp(SingletonTestCase):
    def setUp(self):
        super().setUp()
        if not (importlib.util.find_spec("tkinter") and importlib.util.find_spec("_tkinter")):
            self.skipTest("there is no tkinter")
        if not shutil.which("Xvfb"):
            self.skipTest("there is no Xvfb to show a window in")
        self.folder = self.make_folder()
        self.data = self.folder / "data"
        path = (str(APP), str(PROGRAMS / "desktop"), os.environ.get("PYTHONPATH"))
        home = str(self.folder)  # for a key of its own
        own = {
            "DISPLAY": start_display(self),
            "HOME": home,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "DESKTOP_USER": str(self.folder / "user"),
        }
        self.enter(mock.patch.dict(os.environ, own))
        self.programs, self.windows, self.accepted = [], [], queue.Queue()
        self.listen()
        self.addCleanup(self.end_all)

    def listen(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.environ["DESKTOP_USER"])
        listener.listen(50)

        def accept():
            while True:
                sock, _ = listener.accept()
                if self.stopping:
                    sock.close()
                    listener.close()
                    return
                self.accepted.put(sock)

        def stop():
            self.stopping = True
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(os.environ["DESKTOP_USER"])

        self.stopping = False
        self.in_background(accept)
        self.addCleanup(stop)

    def end_all(self):
        """Close what is still open after a failed test: some processes are not children of the test."""
        while not self.accepted.empty():
            self.windows.append(Window(self.accepted.get()))
        for window in self.windows:
            window.close_connection()

    # -- what a user does --

    def launch(self, *words, cwd=None, env=None):
        """Start the application without waiting."""
        command = ["-m", "notes", "--data-folder", self.data, *words]
        program = self.start(*command, cwd=cwd or self.folder, env=env)
        self.programs.append(program)
        return program

    def next_window(self):
        window = Window(self.accepted.get(timeout=PATIENCE))
        self.windows.append(window)
        return window

    def open(self, *words, **options):
        """Start the application as the first launch; return it and its window."""
        program, window = self.launch(*words, **options), self.next_window()
        self.assertEqual(window.pid, program.pid)
        window.expect("window")
        return program, window

    def run_launch(self, *words, status=0, **options):
        """Start what has to be a second launch, and wait until it ends."""
        program = self.finish(self.launch(*words, **options), status)
        self.assertEqual(program.out, "")
        return program

    def end(self, window):
        """Close the window, and check that nothing is left, neither a process nor another window."""
        window.close()
        window.expect_end()
        for program in self.programs:
            self.finish(program)
            self.assertEqual(program.err, "", program.describe())
        self.assertTrue(self.accepted.empty(), "another process has a window")

    def wait_for_tabs(self, window, count):
        wait_until(lambda: len(window.tabs()) >= count, f"{count} tabs")

    def see(self, window, names):
        """Wait until the window has exactly these tabs."""
        wait_until(lambda: sorted(window.names()) == sorted(names), f"the tabs {names}")

    # -- one thing at a time --

    def test_relative_paths_are_those_of_the_launch(self):
        for folder in ("one", "two"):
            (self.folder / folder).mkdir()
            (self.folder / folder / "a.txt").write_text(f"text in {folder}\n")
        _, window = self.open("a.txt", cwd=self.folder / "one")
        launch = self.run_launch("a.txt", os.path.join("..", "one", "a.txt"), cwd=self.folder / "two")
        self.assertEqual(launch.err, "")
        wait_until(lambda: len(window.tabs()) == 2, "the other file")
        self.assertEqual(window.tabs(), [["a.txt", "text in one\n"], ["a.txt", "text in two\n"]])
        self.end(window)

    def test_each_data_folder_has_an_instance(self):
        _, window = self.open("a")
        other = self.folder / "other data"
        program = self.launch("--data-folder", other, "b")  # the last one counts
        other_window = self.next_window()
        self.assertEqual(other_window.pid, program.pid)
        other_window.expect("window")
        (self.folder / "link").symlink_to(other)
        self.run_launch("--data-folder", "link", "c")
        self.see(other_window, ["b", "c"])
        self.see(window, ["a"])
        other_window.close()
        self.end(window)

    def test_options_come_first(self):
        _, window = self.open("a")
        helped = self.finish(self.launch("--help", "b"))
        self.assertRegex(helped.out, r"\Ausage: notes \[-h\]")
        wrong = self.finish(self.launch("--helm", "b"), 2)
        self.assertIn("unrecognized arguments: --helm", wrong.err)
        self.programs.remove(wrong)
        self.run_launch("--", "--help")
        self.see(window, ["a", "--help"])
        self.end(window)

    def test_launch_that_waits(self):
        _, window = self.open("a")
        waiting = self.launch("--wait", "b", "c")
        self.see(window, ["a", "b", "c"])
        window.send("key", "Control-w")
        self.see(window, ["a", "b"])
        self.assertIsNone(waiting.process.poll(), "it did not wait for its other file")
        window.send("key", "Control-w")
        self.see(window, ["a"])
        self.finish(waiting)
        # Its file is open already, and now the window is closed.
        other = self.launch("--wait", "a", "d")
        self.see(window, ["a", "d"])
        self.assertIsNone(other.process.poll(), "it did not wait")
        self.end(window)

    def test_launch_that_waits_and_is_too_late(self):
        _, window = self.open("a")
        window.close_and_hold()
        app = APP / "notes" / "__main__.py"
        late = self.start(
            PROGRAMS / "owned.py", app, "--data-folder", self.data, "--wait", "b", ready="owned"
        )
        window.send("go on")
        window.expect_end()
        self.finish(late, 1)
        self.assertIn("ended without an answer", late.err)
        # Its file is opened all the same.
        window = self.next_window()
        window.expect("window")
        self.see(window, ["b"])
        self.end(window)

    def test_new_window_has_the_activation_token_of_its_launch(self):
        token = "XDG_ACTIVATION_TOKEN"
        _, window = self.open("a", env={token: "of the first"})
        window.close_and_hold()
        self.run_launch("b", env={token: "of the second"})
        window.send("go on")
        window.expect_end()
        window = self.next_window()
        window.expect("window")
        window.send("environ", token)
        self.assertEqual(window.expect("environ"), "of the second")
        window.close_and_hold()
        self.run_launch("c")
        window.send("go on")
        window.expect_end()
        window = self.next_window()
        window.expect("window")
        window.send("environ", token)
        self.assertIsNone(window.expect("environ"), "a token is only for one launch")
        self.end(window)

    def test_window_comes_to_the_front_with_the_keyboard(self):
        _, window = self.open("a")
        for words, front in ((["b"], "b"), (["a"], "a"), ([], "notes.txt"), (["a"], "a")):
            window.send("leave")
            self.assertIsNone(window.expect("keyboard"))
            self.run_launch(*words)
            self.assertEqual(window.expect("keyboard"), front)
        self.end(window)

    def test_file_that_cannot_be_opened_is_left_as_it_is(self):
        paths = [self.folder / "one", self.folder / "two"]
        for path in paths:
            path.write_bytes(b"\xff\xfe\xff")
        _, window = self.open("a")
        waiting = self.launch("--wait", paths[0])
        self.assertIn(f"Cannot open {paths[0]}: ", window.expect("dialog"))
        self.run_launch(paths[1])
        self.assertIsNone(waiting.process.poll(), "it ended before the dialog was closed")
        window.send("press", "ok")
        self.assertIn(f"Cannot open {paths[1]}: ", window.expect("dialog"))
        window.send("press", "ok")
        self.finish(waiting)
        self.see(window, ["a"])
        self.end(window)
        for path in paths:
            self.assertEqual(path.read_bytes(), b"\xff\xfe\xff")

    def test_question_about_unsaved_files(self):
        path = self.folder / "a.txt"
        program, window = self.open(path)
        self.assertEqual(window.close_with_question(), f"Save {path}?")
        window.send("press", "cancel")
        self.see(window, ["a.txt"])
        self.assertFalse(path.exists())
        window.close()
        window.expect("dialog")
        window.close()  # again, while the question is open
        window.send("press", "yes")
        window.expect_end()
        self.assertEqual(path.read_text(), "changed")
        self.assertEqual(self.finish(program).err, "")

    # -- many times, at any time: no launch is lost --

    def races(self):
        """Yield for each race its number and the names of the files for its launches."""
        for race in range(RACES):
            yield race, [f"{race}{letter}" for letter in "abc"]

    def launch_all(self, race, files):
        """Start a launch for each file; in every second race, they have to end before the window goes on."""
        launches = [self.launch(file) for file in files]
        if race % 2:
            for launch in launches:
                self.finish(launch)

    def test_launches_while_it_is_busy(self):
        _, window = self.open("first")
        names = ["first"]
        for race, files in self.races():
            window.hold()
            self.launch_all(race, files)
            window.send("go on")
            names += files
            self.see(window, names)
        self.end(window)

    def test_launches_while_a_question_is_open(self):
        _, window = self.open("first")
        names = ["first"]
        for race, files in self.races():
            window.close_with_question()
            self.launch_all(race, files)
            if race % 2:
                self.assertEqual(sorted(window.names()), sorted(names))
            window.send("press", "cancel")
            names += files
            self.see(window, names)
        window.close_with_question()
        self.run_launch("late")
        window.send("press", "no")
        window.expect_end()
        window = self.next_window()
        window.expect("window")
        self.see(window, ["late"])
        self.end(window)

    def test_launches_while_it_starts_and_while_it_closes(self):
        _, window = self.open("first")
        for _, files in self.races():
            window.close_and_hold()
            for file in files:
                self.run_launch(file)
            window.send("go on")
            window.expect_end()
            window = self.next_window()
            self.launch("early")  # while the window is created
            window.expect("window")
            self.see(window, [*files, "early"])
        self.end(window)

    def test_launches_around_the_end(self):
        _, window = self.open("first")
        count = 1
        for race, files in self.races():
            for file in files:
                self.launch(file)
            self.wait_for_tabs(window, count + race % 4)
            left = sorted(set(files) - set(window.close()))
            window.expect_end()
            if not left:
                left = ["next"]
                self.launch("next")
            window = self.next_window()
            window.expect("window")
            self.see(window, left)
            count = len(left)
        self.end(window)

    # -- without the guarantee --

    def name(self):
        return f"org.example.notes {os.path.normcase(os.path.realpath(self.data))}"

    def stranger(self):
        """Have another program answer at the application's place."""
        self.address, self.port = inside.place_of_name(self.name())
        self.serve(lambda peer: peer.sendall(b"220 a mail server\r\n"))

    def test_stranger_is_reported_in_a_window(self):
        self.stranger()
        for button, status in (("no", 1), ("yes", 0)):
            with self.subTest(button):
                program = self.launch("a")
                window = self.next_window()
                window.expect("window")
                text = window.expect("dialog")
                self.assertIn("not by an instance that accepts this launch", text)
                self.assertIn("Open a window anyway?", text)
                window.send("press", button)
                if button == "yes":
                    window.expect("window")
                    self.see(window, ["a"])
                    window.close()
                window.expect_end()
                self.finish(program, status)
                self.assertEqual(program.err, "")

    def test_home_that_cannot_be_written_is_reported_in_a_window(self):
        (self.folder / "file").write_text("")
        program = self.launch("a", env={"HOME": str(self.folder / "file")})
        window = self.next_window()
        window.expect("window")
        self.assertIn("Cannot find out whether another instance is running: ", window.expect("dialog"))
        window.send("press", "yes")
        window.expect("window")
        self.see(window, ["a"])
        window.close()
        window.expect_end()
        self.finish(program)


if __name__ == "__main__":
    unittest.main()
