"""Runs a program with a Tk window, and reports when the window has the keyboard: tk_keyboard.py PROGRAM."""

import runpy
import sys
import tkinter as tk

from saying import say


class Tk(tk.Tk):
    def __init__(self):
        super().__init__()
        self.bind("<FocusIn>", lambda event: event.widget is self and say("the window has it"))


tk.Tk = Tk
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
