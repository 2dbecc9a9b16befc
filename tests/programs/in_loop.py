"""Runs an example that has a loop of its own, and tells of each call of its observer.

    in_loop.py EXAMPLE [ARG ...]

After each it prints, as JSON: whether that was on the thread that runs the loop; the arguments; and, of
an example with a window, the rows of its list and whether the window is in front. A launch with the word
"cover" alone puts something in front of the window, and one with the word "close" closes it.
"""

import json
import runpy
import sys
import threading

from saying import say

from Socket_Singleton import Socket_Singleton

LOOP = threading.main_thread()  # all of the examples run theirs there


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
    if "tkinter" in sys.modules:
        return TkWindow(sys.modules["tkinter"])
    if "PySide6.QtWidgets" in sys.modules:
        return QtWindow(sys.modules["PySide6.QtWidgets"])
    return None


def trace(app, observer):
    def observe(args):
        observer(args)
        is_there, of_window = threading.current_thread() is LOOP, window()
        if of_window and args == ("cover",):
            of_window.cover()
        say(json.dumps([is_there, args, *(of_window.state() if of_window else [])]))
        if of_window and args == ("close",):
            of_window.close()

    real_trace(app, observe)
    say("traced")


real_trace, Socket_Singleton.trace = Socket_Singleton.trace, trace
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
