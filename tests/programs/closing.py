"""Runs a program with a Tk window, and does what a person would do, according to its lines of input.

closing.py PROGRAM [ARG ...]

close       closes the window; then the question whether to quit is open, and "asked" is printed
yes, no     answers that question; meanwhile the event loop runs, as it does in a real one
show        prints the text in the window, in its turn after the launches that came before
"""

import queue
import runpy
import sys
import threading
import tkinter as tk
from tkinter import messagebox

from started_under import start_under

from Socket_Singleton import Socket_Singleton

lines = queue.Queue()


def read():
    for line in sys.stdin:
        lines.put(line.strip())


def ask(title, text):
    answer = tk.StringVar()
    answers.append(answer)
    print("asked", flush=True)
    tk._default_root.wait_variable(answer)
    return answer.get() == "yes"


def look(root):
    root.after(5, look, root)
    while not lines.empty():
        line = lines.get()
        if line == "close":
            root.after(0, root.tk.eval, root.protocol("WM_DELETE_WINDOW"))
        elif line == "show":
            apps[-1].dispatch(lambda: show(root))
        else:
            answers.pop().set(line)


def show(root):
    (text,) = [child for child in root.winfo_children() if child.winfo_class() == "Text"]
    print("shown:", *text.get("1.0", "end").split(), flush=True)


def trace(app, observer):
    apps.append(app)
    real_trace(app, observer)


def mainloop(root):
    look(root)
    print("in its loop", flush=True)
    real_mainloop(root)


answers, apps = [], []
real_trace, Socket_Singleton.trace = Socket_Singleton.trace, trace
messagebox.askokcancel = ask
real_mainloop, tk.Tk.mainloop = tk.Tk.mainloop, mainloop
threading.Thread(target=read, daemon=True).start()
del sys.argv[0]
start_under(__file__)
runpy.run_path(sys.argv[0], run_name="__main__")
