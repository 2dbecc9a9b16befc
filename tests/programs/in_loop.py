"""Runs a program with a loop of its own, and reports each call of its observer.

    in_loop.py PROGRAM [ARG ...]

Each report is a line of JSON: the name of the thread; the arguments; and, with IN_LOOP_WINDOW set,
the rows of the window's list and whether the window is in front. Then a launch with only the word "cover"
puts something in front of the window, and one with only the word "close" closes the window.

IN_LOOP_LATE is a word: a launch with it arrives after the loop has ended, just before the program releases
the port; what the program starts after that runs under this one, too. Reports go to stdout, or are appended
to the file IN_LOOP_FILE.
"""

import json
import os
import runpy
import sys
import threading

from started_under import start_under

from Socket_Singleton import Socket_Singleton


class TkWindow:
    def __init__(self, tkinter):
        self.root = tkinter._default_root
        self.make_cover = tkinter.Toplevel

    def state(self):
        self.root.update_idletasks()
        (rows,) = [child for child in self.root.winfo_children() if child.winfo_class() == "Listbox"]
        covers = [child for child in self.root.winfo_children() if child.winfo_class() == "Toplevel"]
        above = [self.root.tk.call("wm", "stackorder", ".", "isabove", cover) for cover in covers]
        return [list(rows.get(0, "end")), bool(self.root.winfo_ismapped()) and all(map(int, above))]

    def cover(self):
        cover = self.make_cover(self.root)
        cover.geometry("600x400+0+0")
        cover.update()
        cover.lift()

    def close(self):
        self.root.after(0, self.root.destroy)


class QtWindow:
    def __init__(self, widgets):
        (self.window,) = widgets.QApplication.topLevelWidgets()

    def state(self):
        rows = [self.window.item(row).text() for row in range(self.window.count())]
        return [rows, self.window.isVisible() and not self.window.isMinimized()]

    def cover(self):
        self.window.showMinimized()

    def close(self):
        self.window.close()


def window():
    if not os.environ.get("IN_LOOP_WINDOW"):
        return None
    if "tkinter" in sys.modules:
        return TkWindow(sys.modules["tkinter"])
    return QtWindow(sys.modules["PySide6.QtWidgets"])


def tell(line):
    os.write(output, (line + "\n").encode())


def trace(app, observer, *args, **kwargs):
    def observe(launch):
        answer = observer(launch, *args, **kwargs)
        of_window = window()
        if of_window and launch == ("cover",):
            of_window.cover()
        tell(json.dumps([threading.current_thread().name, launch, *(of_window.state() if of_window else [])]))
        if of_window and launch == ("close",):
            of_window.close()
        return answer

    observes[observer] = observe
    real_trace(app, observe)
    tell("traced")


def untrace(app, observer):
    real_untrace(app, observes.pop(observer, observer))


def release(app):
    word = os.environ.pop("IN_LOOP_LATE", None)
    if word:
        for observer in list(
            observes
        ):  # those whose loop has ended, and the thread that still takes launches
            untrace(app, observer)
        app.send([word], app.address, app.port, app.secret, name=app.name)
        start_under(__file__)
    real_release(app)


output = os.open(os.environ["IN_LOOP_FILE"], os.O_WRONLY | os.O_APPEND) if "IN_LOOP_FILE" in os.environ else 1
observes = {}  # maps an observer to what is registered in its place
real_trace, Socket_Singleton.trace = Socket_Singleton.trace, trace
real_untrace, Socket_Singleton.untrace = Socket_Singleton.untrace, untrace
real_release, Socket_Singleton.release = Socket_Singleton.release, release
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
