"""The programs of docs/toolkits.md in their toolkits: many launches, in order, on the right thread."""

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

from .pages import PageTestCase, start_display
from .support import PATIENCE, PROGRAMS, ROOT, Program, environment, wait_until

PAGE = ROOT / "docs" / "toolkits.md"
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

ENDS_WITH_AN_OBSERVER_AT_WORK = """
import sys, threading
from Socket_Singleton import Socket_Singleton
def observer(args):
    print("begun", flush=True)
    begun.set()
    threading.Event().wait()  # it would work on for ever
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
    ).stdout.decode()  # nothing, if there is no such window yet, or not any more


def is_activated(program, token):
    """Return whether a client of Wayland has shown this token to the compositor; see WAYLAND_DEBUG."""
    return f'.activate("{token}"' in program.err


@unittest.skipUnless(PAGE.is_file(), "no docs here")
class TestToolkits(PageTestCase):
    page = PAGE

    def display(self):
        if not shutil.which("Xvfb"):
            self.skipTest("there is no Xvfb to show a window in")
        return {"DISPLAY": start_display(self), "GDK_BACKEND": "x11"}

    def told(self):
        whole, _, _ = self.file.read_text(encoding="utf-8").rpartition("\n")  # a line may be half written
        lines = whole.splitlines()
        return [json.loads(line) for line in lines if line != "traced"]

    def start_in_loop(self, path, env=None):
        self.file = self.folder / "told"
        self.file.touch()
        env = {"IN_LOOP_TOLD": str(self.file), "IN_LOOP_LATE": "late", **(env or {})}
        program = self.start(PROGRAMS / "in_loop.py", path, env=env)

        def is_ready():
            self.assertIsNone(program.process.poll(), program.describe())
            return "traced" in self.file.read_text(encoding="utf-8")

        wait_until(is_ready, f"{path.name} observes")
        return program

    def check(self, section, env=None, thread="MainThread", opens_a_new_one=False):
        program = self.start_in_loop(self.program(section), env)
        launches = [[str(number), "two words"] for number in range(LAUNCHES)]
        for launch in launches:
            Socket_Singleton.send(launch, port=self.port)
        wait_until(lambda: len(self.told()) >= LAUNCHES, f"{LAUNCHES} calls of the observer")
        self.assertEqual(self.told(), [[thread, launch] for launch in launches])
        Socket_Singleton.send(["quit"], port=self.port)
        if opens_a_new_one:
            text = self.file.read_text
            wait_until(lambda: text(encoding="utf-8").count("traced") == 2, "a new launch, for the late one")
            Socket_Singleton.send(["quit"], port=self.port)
        self.finish(program)
        if not opens_a_new_one:
            self.assertIn("opening late", program.out)
        self.assertNotIn("Traceback", program.err)

    def test_asyncio(self):
        self.check("asyncio")

    def test_trio(self):
        self.need("trio")
        self.check("Trio")

    def test_qt(self):
        self.need("PySide6")
        self.check("Qt", {"QT_QPA_PLATFORM": "offscreen"}, opens_a_new_one=True)

    def test_gtk(self):
        self.need("gi._gi")
        self.check("GTK", self.display(), opens_a_new_one=True)

    def test_wx(self):
        self.need("wx._core")
        self.check("wxPython", self.display(), opens_a_new_one=True)

    def test_tk(self):
        self.need("tkinter", "_tkinter")
        self.check("Tk", self.display(), opens_a_new_one=True)

    def test_textual(self):
        self.need("textual")
        self.check("Textual", {"TEXTUAL_DRIVER": "textual.drivers.headless_driver:HeadlessDriver"})

    def test_prompt_toolkit(self):
        self.need("prompt_toolkit")
        self.check("prompt_toolkit")

    def test_executor(self):
        self.check("Executors", thread="ThreadPoolExecutor-0_0")

    # -- what is said beside the programs --

    def test_each_row_of_the_table_is_what_the_program_of_its_section_does(self):
        rows = re.findall(
            r"^\| \[.*?\]\(#(.*?)\) \| `(.*?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
        )
        self.assertEqual(len(rows), 9)
        names = {name.lower(): name for name in self.sections}
        for anchor, dispatch in rows:
            lines = self.program(names[anchor]).read_text(encoding="utf-8").splitlines()
            self.assertIn(f"app.dispatch = {dispatch}", [line.strip() for line in lines])

    def test_the_function_that_dispatch_is_given_returns_none(self):
        """GLib.idle_add would call it again and again otherwise."""
        functions = queue.Queue()
        app = self.singleton(dispatch=functions.put)
        app.trace(lambda args: True)
        Socket_Singleton.send(["x"], port=self.port)
        self.assertIsNone(functions.get(timeout=PATIENCE)())

    def test_the_end_of_an_executor_waits_for_an_observer_at_work(self):
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

    def test_on_the_library_s_thread_an_observer_at_work_is_cut_off_at_the_end(self):
        program = self.start("-c", ENDS_WITH_AN_OBSERVER_AT_WORK, self.port, ready="ready")
        Socket_Singleton.send(["x"], port=self.port)
        self.finish(program)
        self.assertEqual(program.lines, ["ready", "begun"])

    @unittest.skipIf(sys.version_info < (3, 9), "the executors of Python 3.8 do not refuse it")
    def test_executors_refuse_work_once_the_main_thread_has_ended(self):
        """The launch waits; without `dispatch` the next one is served, and that one before it."""
        program = self.start(PROGRAMS / "main_thread_ended.py", self.port, ready="ended")
        Socket_Singleton.send(["first"], port=self.port)
        program.expect("('first',) waits")
        Socket_Singleton.send(["second"], port=self.port)
        program.expect("('second',)")
        self.finish(program)
        self.assertEqual(program.lines[-2:], ["('first',)", "('second',)"])

    # -- to the front --

    def test_tk_has_the_keyboard(self):
        """Without focus_force the window comes to the front, and what is typed goes elsewhere."""
        self.need("tkinter", "_tkinter")
        own = {"EXAMPLE_PORT": str(self.port), "EXAMPLE_NAME": f"org.example.test {self.port}"}
        home = str(self.make_folder())  # for a key of its own
        env = {**self.display(), **own, "HOME": home}
        for path in (self.program("Tk"), ROOT / "examples" / "tkinter_app.py"):
            with self.subTest(path.name):
                program = self.start(PROGRAMS / "tk_keyboard.py", path, env=env, ready="the window has it")
                other = self.start("-c", HAS_THE_KEYBOARD, env=env, ready="the other one has it")
                self.finish(self.start(path, "a.txt", env=env))
                program.expect("the window has it", count=2)
                other.expect("the other one has lost it")
                program.kill()
                other.kill()

    def check_token(self, section, env, variable, expected):
        """A launch with a token brings the window of another one to the front with it."""
        path = self.program(section)
        program = self.start_in_loop(path, {**env, "IN_LOOP_LATE": ""})
        launch = dict.fromkeys(("XDG_ACTIVATION_TOKEN", "DESKTOP_STARTUP_ID"), "")
        token = f"token-of-{variable}_TIME12345"
        self.finish(self.start(path, "a.txt", env={**env, **launch, variable: token}))
        self.finish(self.start(path, env={**env, **launch}))
        wait_until(lambda: len(self.told()) == 2, "two calls of the observer")
        self.assertEqual([args for _, args in self.told()], [[token, "a.txt"], ["-"]])
        wait_until(lambda: expected(program, token), "the token is used")
        self.finish(self.start(path, "quit", env=env))
        self.finish(program)

    def test_a_token_with_qt_on_wayland(self):
        self.need("PySide6")
        env = {"QT_QPA_PLATFORM": "wayland", **self.wayland()}
        self.check_token("To the front with Qt", env, "XDG_ACTIVATION_TOKEN", is_activated)

    def test_a_token_with_gtk_on_wayland(self):
        self.need("gi._gi")
        env = {"GDK_BACKEND": "wayland", **self.wayland()}
        self.check_token("To the front with GTK", env, "XDG_ACTIVATION_TOKEN", is_activated)

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

        self.check_token("To the front with GTK", env, "DESKTOP_STARTUP_ID", has_startup_id)

    def wayland(self):
        """Start a Wayland compositor without a screen, and return what its clients have to know."""
        if not shutil.which("sway"):
            self.skipTest("there is no sway to show a window in")
        folder = self.folder / "wayland"
        folder.mkdir(mode=0o700)
        config = folder / "config"
        config.write_text("xwayland disable\n", encoding="utf-8")
        command = ["sway", "-c", config]
        if os.getuid() == 0:  # which sway does not want to be
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
