"""Lets a test act as the user of a program with tkinter. Python imports it from PYTHONPATH by itself.

So the program is started as any user starts it, and processes that it starts are driven too. Each
process that imports tkinter connects to the Unix socket DESKTOP_USER, and sends lines of JSON:

    ["imported", PID]   it has imported tkinter; its window is about to be created
    ["window", PID]     it has a window, which obeys the commands below once its loop runs
    ["dialog", TEXT]    a dialog is open
    ["ending", PID]     after "hold_end": the window will be destroyed at "go on"; until then the
                        loop runs

It obeys these commands, one per line, in the loop of tkinter:

    tabs                send ["tabs", [[NAME, CONTENT], ...]]
    environ NAME        send ["environ", VALUE]
    type TEXT           type into the front tab
    key KEY             press a key, by tkinter's name for it
    leave               put another window in front of this one; send ["keyboard", None], and then
                        ["keyboard", NAME] when this window is in front again and that tab has the keyboard
    hold                send ["held", PID], and block the loop until "go on"
    hold_end            delay the destruction of the window until "go on"
    close               send the tabs as before, and close the window
    press BUTTON        press a button of the dialog: yes, no, cancel, ok
"""

import importlib.util
import json
import os
import queue
import socket
import sys
import threading

LOOK_TIME = 5  # milliseconds
DIALOG = ".__tk__messagebox"


class Finder:
    """Finds tkinter, and drives it once it is imported."""

    def find_spec(self, name, path=None, target=None):
        if name != "tkinter":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        exec_module = spec.loader.exec_module

        def exec_and_drive(module):
            exec_module(module)
            User(module)

        spec.loader.exec_module = exec_and_drive
        return spec


class User:
    def __init__(self, tkinter):
        self.lines = queue.Queue()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["DESKTOP_USER"])
        threading.Thread(target=self.read, daemon=True).start()
        self.root = self.dialog = self.cover = None
        self.holds_end = self.waits_for_keyboard = False
        self.make_cover = tkinter.Toplevel
        make, destroy = tkinter.Tk.__init__, tkinter.Tk.destroy

        def make_and_look(root, *args, **kwargs):
            make(root, *args, **kwargs)
            self.root = root
            self.tell("window", os.getpid())
            root.after(LOOK_TIME, self.look)

        def destroy_and_hold(root):
            if self.holds_end:
                self.tell("ending", os.getpid())
            while self.holds_end:
                root.tk.dooneevent()
            destroy(root)

        tkinter.Tk.__init__, tkinter.Tk.destroy = make_and_look, destroy_and_hold
        self.tell("imported", os.getpid())

    def read(self):
        with self.sock.makefile() as file:
            for line in file:
                self.lines.put(line.rstrip("\n"))
        os._exit(1)  # the test has failed, and nobody else ends processes that the program has started

    def tell(self, *what):
        self.sock.sendall((json.dumps(what) + "\n").encode())

    def look(self):
        self.root.after(LOOK_TIME, self.look)
        is_open = self.root.tk.getboolean(self.root.tk.call("winfo", "exists", f"{DIALOG}.msg"))
        dialog = self.root.tk.call(f"{DIALOG}.msg", "cget", "-text") if is_open else None
        if dialog != self.dialog:
            self.dialog = dialog
            if dialog:
                self.tell("dialog", str(dialog))
        if self.waits_for_keyboard:
            self.look_for_keyboard()
        if not self.lines.empty():
            command, _, rest = self.lines.get().partition(" ")
            getattr(self, "do_" + command)(rest)

    def tabs(self):
        (book,) = [child for child in self.root.winfo_children() if child.winfo_class() == "TNotebook"]
        return book, [book.nametowidget(tab) for tab in book.tabs()]

    def do_tabs(self, _):
        book, texts = self.tabs()
        self.tell("tabs", [[book.tab(text, "text"), text.get("1.0", "end-1c")] for text in texts])

    def do_environ(self, name):
        self.tell("environ", os.environ.get(name))

    def do_type(self, text):
        book, _ = self.tabs()
        book.nametowidget(book.select()).insert("end", text)

    def do_key(self, key):
        _, texts = self.tabs()
        front = self.root.focus_lastfor()
        if front in texts:
            front.event_generate(f"<{key}>")
        else:  # a tab was closed, and the next one does not yet have the keyboard
            self.lines.put(f"key {key}")

    def do_leave(self, _):
        if self.cover is None:
            self.cover = self.make_cover(self.root)
            self.cover.geometry("700x500+0+0")
        self.cover.update()
        self.cover.lift()
        self.cover.focus_force()
        self.cover.update()
        self.waits_for_keyboard = True
        self.tell("keyboard", None)

    def look_for_keyboard(self):
        """Report the tab that has the keyboard, once the window is in front again."""
        book, texts = self.tabs()
        has_it = [book.tab(text, "text") for text in texts if text == self.root.focus_get()]
        if has_it and self.root.tk.getboolean(
            self.root.tk.call("wm", "stackorder", ".", "isabove", self.cover)
        ):
            self.waits_for_keyboard = False
            self.tell("keyboard", has_it[0])

    def do_hold(self, _):
        self.tell("held", os.getpid())
        while self.lines.get() != "go on":
            pass

    def do_hold_end(self, _):
        self.holds_end = True

    def do_go(self, _):
        self.holds_end = False

    def do_close(self, rest):
        self.do_tabs(rest)
        self.root.tk.eval(self.root.tk.call("wm", "protocol", ".", "WM_DELETE_WINDOW"))

    def do_press(self, button):
        self.root.tk.call(f"{DIALOG}.{button}", "invoke")


if os.environ.get("DESKTOP_USER"):
    sys.meta_path.insert(0, Finder())
