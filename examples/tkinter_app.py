"""A window that lists the files of launches; a launch without arguments brings it to the front.

Each launch prints the answer of the window. Run `python examples/tkinter_app.py` in one
shell, and in another one `python examples/tkinter_app.py a.txt`, and then once more
without arguments.
"""

import os
import queue
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Launch, Socket_Singleton

# `dispatch` is called on another thread, where using a queue is safe. root.after_idle is
# not: in CPython it raises RuntimeError while mainloop is not running, and in PyPy it
# always does. So the window checks the queue itself, 20 times a second.
calls = queue.Queue()
# A second launch exits here, before it loads Tk, and prints what `show` returns.
app = Socket_Singleton(name="org.example.tk-window", answer=True, notify_empty=True, dispatch=calls.put)

import tkinter as tk


def run_calls():
    root.after(50, run_calls)
    while not calls.empty():
        calls.get()()


def show(launch):
    files.insert("end", *launch)
    root.deiconify()
    root.lift()
    root.focus_force()  # lift alone does not move the keyboard focus
    return f"The window lists {files.size()} files."


def close():
    app.untrace(show)  # launches from now on wait in app.arguments
    root.destroy()


with app:
    root = tk.Tk()
    root.title("One window")
    root.protocol("WM_DELETE_WINDOW", close)
    files = tk.Listbox(root, width=60)
    files.pack(fill="both", expand=True)
    show(Launch())
    app.trace(show)
    run_calls()
    root.mainloop()
for launch in app.arguments:  # arrived while the window was closing; a new process opens them
    app.relaunch(launch)
