"""Runs a program that has a loop of its own, and tells of each call of its observer.

    in_loop.py PROGRAM [ARG ...]

After each it tells, as a line of JSON: the name of the thread; the arguments; and, with IN_LOOP_WINDOW set,
the rows of the window's list and whether the window is in front. A launch with the word "cover" alone
then puts something in front of the window, and one with the word "close" closes it.

IN_LOOP_LATE is a word: a launch with it comes when the loop has ended, just before the program releases the
port; what the program starts after that is under this one, too. It tells on stdout, or appends to the file
IN_LOOP_TOLD.
"""

import json
import os
import runpy
import subprocess
import sys
import threading

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
    os.write(told, (line + "\n").encode())


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

    real_trace(app, observe)
    traced.append(observe)
    tell("traced")


def release(app):
    word = os.environ.pop("IN_LOOP_LATE", None)
    if word:
        if app.dispatch is None:  # its loop still takes launches: the observer thread
            for observe in traced:
                app.untrace(observe)
        app.send([word], app.address, app.port, app.secret, name=app.name)
        subprocess.Popen = lambda command: real_popen([command[0], __file__, *command[1:]])
    real_release(app)


told = os.open(os.environ["IN_LOOP_TOLD"], os.O_WRONLY | os.O_APPEND) if "IN_LOOP_TOLD" in os.environ else 1
traced = []
real_popen = subprocess.Popen
real_trace, Socket_Singleton.trace = Socket_Singleton.trace, trace
real_release, Socket_Singleton.release = Socket_Singleton.release, release
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
