"""The programs in docs/toolkits.md, in their toolkits: many launches, in order, on the right thread."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

from Socket_Singleton import Socket_Singleton

from .pages import PageTestCase, blocks, sections, start_display, with_names_of_its_own
from .support import PATIENCE, PROGRAMS, ROOT, Program, environment, wait_until

README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGE = DOCS / "toolkits.md"
OFFSCREEN = {"QT_QPA_PLATFORM": "offscreen"}
LAUNCHES = 200

HAS_THE_KEYBOARD = """
import tkinter
root = tkinter.Tk()
root.bind("<FocusIn>", lambda event: print("the other one has it", flush=True))
root.bind("<FocusOut>", lambda event: print("the other one has lost it", flush=True))
root.update()
root.focus_force()
root.mainloop()
"""

PATCHED_BY_GEVENT = """
import sys
_, when, name = sys.argv
if when == "before":
    from gevent import monkey; monkey.patch_all()
from Socket_Singleton import Socket_Singleton
if when == "after":
    from gevent import monkey; monkey.patch_all()
import _thread, gevent, gevent.os, os, threading
main = monkey.get_original("threading", "get_ident")()
def observer(launch):
    gevent.sleep(0)
    here = monkey.get_original("threading", "get_ident")() == main
    print(*launch, "in a greenlet of the main thread" if here else "in a thread", flush=True)
    return "answered"
with Socket_Singleton(name=name) as app:
    app.trace(observer)
    try:
        print("it is running" if Socket_Singleton.is_running(name=name) else "it is not running")
    except TimeoutError:
        print("it cannot tell")
    print("ready", flush=True)
    gevent.os.tp_read(0, 100)
    print("blocks", flush=True)
    os.read(0, 100)
"""

ASKS_UNDER_GEVENT = """
from gevent import monkey; monkey.patch_all()
import sys, gevent
from Socket_Singleton import Socket_Singleton
turns = []
def take_turns():
    while True:
        turns.append(None)
        gevent.sleep(0)
gevent.spawn(take_turns)
gevent.sleep(0)
for call in (lambda ask, *args: ask(*args), gevent.get_hub().threadpool.apply):
    before = len(turns)
    print(call(lambda: Socket_Singleton.ask(["a"], name=sys.argv[1])), len(turns) > before)
"""

# Prints what a window would show, for a test that cannot look at it.
SHOWS_ON_STDOUT = """
import runpy, sys
from PySide6.QtWidgets import QMessageBox
QMessageBox.critical = lambda parent, title, text: print(f"{title}: {text}", flush=True)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

ENDS_WITH_AN_OBSERVER_AT_WORK = """
import sys, threading
from Socket_Singleton import Socket_Singleton
def observer(args):
    print("begun", flush=True)
    begun.set()
    threading.Event().wait()  # it would work for ever
begun = threading.Event()
app = Socket_Singleton(port=sys.argv[1])
app.trace(observer)
print("ready", flush=True)
begun.wait()
app.release()
"""


def output_of(command, env):
    return subprocess.run(
        command, env=environment(env), stdout=subprocess.PIPE, check=False
    ).stdout.decode()  # nothing if there is no such window


def is_activated(program, token):
    """Return whether a Wayland client has shown this token to the compositor; see WAYLAND_DEBUG."""
    return f'.activate("{token}"' in program.err


@unittest.skipUnless(PAGE.is_file(), "no docs here")
class TestToolkits(PageTestCase):
    page = PAGE

    def display(self):
        if not shutil.which("Xvfb"):
            self.skipTest("there is no Xvfb to show a window in")
        return {"DISPLAY": start_display(self), "GDK_BACKEND": "x11"}

    def calls(self):
        whole, _, _ = self.file.read_text(encoding="utf-8").rpartition("\n")  # a line may be half-written
        lines = whole.splitlines()
        return [json.loads(line) for line in lines if line != "traced"]

    def start_in_loop(self, path, env=None):
        self.file = self.folder / "calls"
        self.file.touch()
        env = {"IN_LOOP_FILE": str(self.file), "IN_LOOP_LATE": "late", **(env or {})}
        program = self.start(PROGRAMS / "in_loop.py", path, env=env)

        def is_ready():
            self.assertIsNone(program.process.poll(), program.describe())
            return "traced" in self.file.read_text(encoding="utf-8")

        wait_until(is_ready, f"{path.name} observes")
        return program

    def check(self, section, env=None, thread="MainThread", relaunches=False):
        path = self.program(section)
        program = self.start_in_loop(path, env)
        launches = [[str(number), "two words"] for number in range(LAUNCHES)]
        for launch in launches:
            self.send(*launch)
        wait_until(lambda: len(self.calls()) >= LAUNCHES, f"{LAUNCHES} calls of the observer")
        self.assertEqual(self.calls(), [[thread, launch] for launch in launches])
        self.send("quit")
        if relaunches:
            text = self.file.read_text
            wait_until(
                lambda: text(encoding="utf-8").count("traced") == 2, "a new process, for the late launch"
            )
            self.send("quit")
        self.finish(program)
        if not relaunches:
            self.assertIn("opening late", program.out)
        self.assertNotIn("Traceback", program.err)
        # If nothing is running, it ends in the same way, although its loop is yet to begin.
        program = self.start(PROGRAMS / "in_loop.py", path, "quit", env=env)
        self.finish(program)
        self.assertNotIn("Traceback", program.err)

    def test_asyncio(self):
        self.check("asyncio")

    def test_trio(self):
        self.need("trio")
        self.check("Trio")

    def test_pyside6(self):
        self.need("PySide6")
        self.check("PySide6", OFFSCREEN, relaunches=True)

    def test_pyqt6(self):
        self.need("PyQt6")
        self.check("PyQt6", OFFSCREEN, relaunches=True)

    def test_tray_icon(self):
        self.need("PySide6")
        self.check("A tray icon", OFFSCREEN, relaunches=True)

    def test_gtk(self):
        self.need("gi._gi")
        self.check("GTK", self.display(), relaunches=True)

    def test_wx(self):
        self.need("wx._core")
        self.check("wxPython", self.display(), relaunches=True)

    def test_tk(self):
        self.need("tkinter", "_tkinter")
        self.check("Tk", self.display(), relaunches=True)

    def test_pygame(self):
        self.need("pygame")
        self.check("pygame", {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}, relaunches=True)

    def test_textual(self):
        self.need("textual")
        self.check("Textual", {"TEXTUAL_DRIVER": "textual.drivers.headless_driver:HeadlessDriver"})

    def test_prompt_toolkit(self):
        self.need("prompt_toolkit")
        self.check("prompt_toolkit")

    def test_gevent(self):
        self.need("gevent")
        self.check("gevent")

    def test_gevent_with_patches(self):
        """Its threads are then greenlets. They stop while one of them blocks, and launches fail."""
        self.need("gevent")
        for when in ("before", "after"):
            with self.subTest(when):
                name = f"org.example.test-{self.port}.patched-{when}"
                program = self.start("-c", PATCHED_BY_GEVENT, when, name, ready="ready")
                self.send("a", name=name)
                program.expect("a in a greenlet of the main thread")
                self.assertEqual(Socket_Singleton.ask(["b"], name=name, timeout=PATIENCE), "answered")
                self.assertTrue(Socket_Singleton.is_running(name=name))
                self.assertEqual(program.lines[0], "it cannot tell")  # since it is blocked meanwhile
                program.write("block\n")
                program.expect("blocks")
                with self.assertRaises(TimeoutError):
                    self.send("c", name=name, timeout=0.5)
                program.write("go on\n")
                self.finish(program)
                self.assertEqual(program.err, "")

    def test_gevent_that_asks(self):
        """Asking blocks all greenlets, except in the thread pool."""
        self.need("gevent")
        name = f"org.example.test-{self.port}.asked"
        app = Socket_Singleton(name=name)
        self.addCleanup(app.release)
        app.trace(lambda launch: "answered")
        program = self.finish(self.start("-c", ASKS_UNDER_GEVENT, name))
        self.assertEqual(program.lines, ["answered False", "answered True"])

    def test_executor(self):
        self.check("Executors", thread="ThreadPoolExecutor-0_0")

    def test_the_window_in_the_readme(self):
        self.need("PySide6")
        [block] = [text for text in blocks(README, "python") if "PySide6" in text]
        self.assertLessEqual(len(block.splitlines()), 8)
        path = self.folder / "app.py"
        path.write_text(with_names_of_its_own(block, self.port, [self.port]), encoding="utf-8")
        self.name = f"org.example.test-{self.port}.viewer"
        program = self.start_in_loop(path, {**OFFSCREEN, "IN_LOOP_WINDOW": "1", "IN_LOOP_LATE": ""})
        self.send("a.txt", "b.txt")
        self.send("close")
        self.finish(program)
        rows = ["a.txt", "b.txt"]
        self.assertEqual(
            self.calls(),
            [["MainThread", rows, rows, True], ["MainThread", ["close"], [*rows, "close"], True]],
        )

    def test_a_failure_is_shown_in_a_window(self):
        self.need("PySide6")
        path = self.program("A failure that a desktop user can see")
        command = ["-c", SHOWS_ON_STDOUT, path, "a.txt"]
        self.assertEqual(self.finish(self.start(*command, env=OFFSCREEN)).out, "opening a.txt")
        with Socket_Singleton(name=self.name):
            self.assertEqual(self.finish(self.start(*command, env=OFFSCREEN)).out, "")
        with Socket_Singleton(name=self.name, secret="another"):
            said = self.finish(self.start(*command, env=OFFSCREEN), status=1).out
            self.assertRegex(said, rf"\AThe editor cannot start: .*{self.name}")
        env = {**OFFSCREEN, "HOME": os.devnull, "LOCALAPPDATA": os.devnull}
        said = self.finish(self.start(*command, env=env), status=1).out
        self.assertRegex(said, r"\AThe editor cannot start: ")

    # -- what the page says beside its programs --

    def test_each_row_of_the_table_agrees_with_the_program_of_its_section(self):
        rows = re.findall(
            r"^\| \[.*?\]\(#(.*?)\) \| `(.*?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
        )
        self.assertEqual(len(rows), 12)
        names = {name.lower(): name for name in self.sections}
        for anchor, dispatch in rows:
            lines = self.program(names[anchor]).read_text(encoding="utf-8").splitlines()
            self.assertIn(f"app.dispatch = {dispatch}", [line.strip() for line in lines])

    def test_the_function_for_dispatch_returns_none(self):
        """Otherwise GLib.idle_add would call it again and again."""
        functions = queue.Queue()
        app = self.singleton(dispatch=functions.put)
        app.trace(lambda args: True)
        Socket_Singleton.send(["x"], port=self.port)
        self.assertIsNone(functions.get(timeout=PATIENCE)())

    def test_the_end_of_an_executor_waits_for_a_working_observer(self):
        begun, go_on, done = threading.Event(), threading.Event(), []

        def observer(args):
            begun.set()
            go_on.wait(PATIENCE)
            done.append(args)

        with ThreadPoolExecutor(max_workers=1) as executor:
            app = self.singleton(dispatch=executor.submit)
            app.trace(observer)
            for word in ("first", "second"):
                Socket_Singleton.send([word], port=self.port)
            self.assertTrue(begun.wait(PATIENCE))
            app.release()
            self.assertEqual(done, [])
            go_on.set()
        self.assertEqual(done, [("first",)])
        self.assertEqual(app.arguments, (("second",),))

    def test_on_our_thread_a_working_observer_is_cut_off_at_the_end(self):
        program = self.start("-c", ENDS_WITH_AN_OBSERVER_AT_WORK, self.port, ready="ready")
        Socket_Singleton.send(["x"], port=self.port)
        self.finish(program)
        self.assertEqual(program.lines, ["ready", "begun"])

    @unittest.skipIf(sys.version_info < (3, 9), "the executors of Python 3.8 do not refuse it")
    def test_executors_refuse_work_once_the_main_thread_has_ended(self):
        """The launch waits; without `dispatch` the next one is served, after the one that waited."""
        program = self.start(PROGRAMS / "main_thread_ended.py", self.port, ready="ended")
        Socket_Singleton.send(["first"], port=self.port)
        program.expect("('first',) waits")
        Socket_Singleton.send(["second"], port=self.port)
        program.expect("('second',)")
        self.finish(program)
        self.assertEqual(program.lines[-2:], ["('first',)", "('second',)"])

    # -- closing --

    def test_closing(self):
        """Launches that arrive while the window closes wait until the user cancels, or for a new window."""
        self.need("tkinter", "_tkinter")
        env = self.display()
        self.sections = sections(DOCS / "how-to" / "closing.md")
        app = self.program("What happens while a window closes")
        program = self.start(PROGRAMS / "closing.py", app, env=env, ready="in its loop")

        def shows(*names):
            program.write("show\n")
            count = program.out.count("shown:")
            wait_until(lambda: program.out.count("shown:") > count, "the window shows its text")
            return [line for line in program.lines if line.startswith("shown:")][-1].split()[1:] == [*names]

        self.send("a.txt")
        wait_until(lambda: shows("a.txt"), "a.txt is in the window")
        program.write("close\n")
        program.expect("asked")
        self.send("b.txt")
        for _ in range(3):
            self.assertTrue(shows("a.txt"))
        program.write("no\n")
        wait_until(lambda: shows("a.txt", "b.txt"), "b.txt is in the window, after all")
        program.write("close\n")
        program.expect("asked", count=2)
        self.send("c.txt")
        program.write("yes\n")
        # The new process has inherited the streams of the old one.
        wait_until(lambda: program.process.poll() is not None, "the window is closed")
        wait_until(lambda: program.lines.count("in its loop") == 2, "a new window")
        self.assertTrue(shows("c.txt"))
        program.write("close\n")
        wait_until(lambda: program.lines.count("asked") == 3, "the question")
        program.write("yes\n")
        self.finish(program)
        self.assertEqual(program.err, "")

    # -- to the front --

    def test_tk_has_the_keyboard(self):
        """Without focus_force the window comes to the front, but the keyboard input goes elsewhere."""
        self.need("tkinter", "_tkinter")
        example = (ROOT / "examples" / "tkinter_app.py").read_text(encoding="utf-8")
        copy = self.folder / "tkinter_app.py"
        copy.write_text(with_names_of_its_own(example, self.port, [self.port]), encoding="utf-8")
        env = self.display()
        for path in (self.program("Tk"), copy):
            with self.subTest(path.name):
                program = self.start(PROGRAMS / "tk_keyboard.py", path, env=env, ready="the window has it")
                other = self.start("-c", HAS_THE_KEYBOARD, env=env, ready="the other one has it")
                self.finish(self.start(path, "a.txt", env=env))
                program.expect("the window has it", count=2)
                other.expect("the other one has lost it")
                program.kill()
                other.kill()

    def check_token(self, section, env, variable, expected):
        """Check that a launch with a token uses it to bring the window of another process to the front."""
        self.sections = sections(DOCS / "how-to" / "front.md")
        path = self.program(section)
        program = self.start_in_loop(path, {**env, "IN_LOOP_LATE": ""})
        launch = dict.fromkeys(("XDG_ACTIVATION_TOKEN", "DESKTOP_STARTUP_ID"), "")
        token = f"token-of-{variable}_TIME12345"
        self.finish(self.start(path, "a.txt", env={**env, **launch, variable: token}))
        self.finish(self.start(path, env={**env, **launch}))
        wait_until(lambda: len(self.calls()) == 2, "two calls of the observer")
        self.assertEqual([args for _, args in self.calls()], [["a.txt"], []])
        wait_until(lambda: expected(program, token), "the token is used")
        self.finish(self.start(path, "quit", env=env))
        self.finish(program)

    def test_a_token_with_qt_on_wayland(self):
        self.need("PySide6")
        env = {"QT_QPA_PLATFORM": "wayland", **self.wayland()}
        self.check_token("With Qt", env, "XDG_ACTIVATION_TOKEN", is_activated)

    def test_a_token_with_gtk_on_wayland(self):
        self.need("gi._gi")
        env = {"GDK_BACKEND": "wayland", **self.wayland()}
        self.check_token("With GTK", env, "XDG_ACTIVATION_TOKEN", is_activated)

    def test_a_token_with_gtk_on_x11(self):
        self.need("gi._gi")
        if not shutil.which("xdotool"):
            self.skipTest("there is no xdotool")
        env = self.display()

        def has_startup_id(program, token):
            search = ["xdotool", "search", "--name", "One window"]
            return any(
                token in output_of(["xprop", "-id", window, "_NET_STARTUP_ID"], env)
                for window in output_of(search, env).split()
            )

        self.check_token("With GTK", env, "DESKTOP_STARTUP_ID", has_startup_id)

    def wayland(self):
        """Start a Wayland compositor without a screen, and return the environment of its clients."""
        if not shutil.which("sway"):
            self.skipTest("there is no sway to show a window in")
        folder = self.folder / "wayland"
        folder.mkdir(mode=0o700)
        config = folder / "config"
        config.write_text("xwayland disable\n", encoding="utf-8")
        command = ["sway", "-c", config]
        if os.getuid() == 0:  # which sway refuses
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
            self.folder.chmod(0o755)
            for path in (folder, config):
                os.chown(str(path), 65534, 65534)
        env = {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder), "GSK_RENDERER": "cairo"}
        no_hardware = {"WLR_BACKENDS": "headless", "WLR_RENDERER": "pixman", "WLR_LIBINPUT_NO_DEVICES": "1"}
        sway = Program(command, env={**env, **no_hardware})
        self.addCleanup(sway.kill)

        def socket():
            self.assertIsNone(sway.process.poll(), sway.describe())
            return [path.name for path in folder.glob("wayland-*") if path.suffix != ".lock"]

        display = wait_until(socket, "a Wayland socket")[0]
        return {**env, "WAYLAND_DISPLAY": display, "WAYLAND_DEBUG": "1"}
