"""A window that lists what later launches were started with; one without arguments raises it.

Each launch prints what the window answers.

In one shell `python examples/tkinter_app.py`, in another one
`python examples/tkinter_app.py a.txt`, and once more without arguments.
"""

import os
import queue
import subprocess
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

NAME = os.environ.get("EXAMPLE_NAME", "org.example.tk-window")

# `dispatch` is called on another thread. A queue is safe there. root.after_idle is
# not always: in CPython it raises RuntimeError while mainloop does not run, and in
# PyPy at any time. So the window looks into the queue itself, 20 times a second.
calls = queue.Queue()
# A second launch ends here, and prints what `show` returns.
app = Socket_Singleton(name=NAME, answer=True, notify_empty=True, dispatch=calls.put)

import tkinter as tk  # only the first launch needs it


def run_calls():
    while not calls.empty():
        calls.get()()
    root.after(50, run_calls)


def show(args):
    files.insert("end", *args)
    root.deiconify()
    root.lift()
    root.focus_force()  # else it has no keyboard
    return f"The window lists {files.size()} files."


root = tk.Tk()
root.title("One window")
files = tk.Listbox(root, width=60)
files.pack(fill="both", expand=True)

show(sys.argv[1:])
app.trace(show)
run_calls()
root.mainloop()
app.release()
for args in app.arguments:  # came while the window was closing: a new one takes them
    subprocess.Popen([sys.executable, __file__, *args])
