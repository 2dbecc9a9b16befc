"""The window. Everything here runs on the main thread, including the observer of launches."""

import os
import tkinter as tk
from concurrent.futures import Future
from pathlib import Path
from tkinter import messagebox, ttk

# Milliseconds between two checks for launches: another thread cannot wake Tk's loop unless it is running.
LOOK_TIME = 50
# Milliseconds that a window manager has to make the window active; some do not raise it before.
ACTIVATION_TIME = 200


def ask_whether_to_go_on(problem):
    """Show the problem in a window, since a desktop user does not see stderr."""
    root = tk.Tk()
    root.withdraw()
    answer = messagebox.askyesno("Notes", f"{problem}\n\nOpen a window anyway?", icon="warning")
    root.destroy()
    return answer


class Window:
    def __init__(self, app, calls, data_folder, launch):
        self.app, self.calls = app, calls
        self.notes = os.path.join(data_folder, "notes.txt")  # opened by a launch without files
        self.texts = {}  # maps each path to the widget in which it is open
        self.waiting = {}  # maps the future that answers a launch to the paths that the launch has opened
        self.is_asking = False
        self.root = tk.Tk(className="Notes")
        self.tabs = ttk.Notebook(self.root)
        self.tabs.pack(fill="both", expand=True)
        self.tabs.bind("<<NotebookTabChanged>>", lambda _: self.front().focus_set())
        self.root.protocol("WM_DELETE_WINDOW", self.close)
        self.open_files(launch)
        if self.app is not None:
            self.app.trace(self.open_files)
        self.run_calls()

    def run_calls(self):
        self.root.after(LOOK_TIME, self.run_calls)
        while not self.is_asking and not self.calls.empty():
            self.calls.get()()

    def paths_of(self, launch):
        # A relative path is relative to the folder where the launch was started.
        return [os.path.normpath(os.path.join(launch.cwd or "", file)) for file in launch]

    def open_files(self, launch):
        paths = self.paths_of(launch) or [self.notes]
        for path in paths:
            self.open_file(path)
        self.root.deiconify()
        self.root.update_idletasks()  # a new tab must exist before it can get the keyboard focus
        self.front().focus_force()  # other toolkits can use the token in launch.environ instead
        self.root.after(ACTIVATION_TIME, self.root.lift)
        closed = Future()  # has no effect if the launch does not wait
        self.waiting[closed] = set(paths)
        self.answer()  # if none of them can be opened
        return closed

    def open_file(self, path):
        if path not in self.texts:
            try:
                content = Path(path).read_text("utf-8") if os.path.exists(path) else ""
            except (OSError, ValueError) as error:
                self.ask(messagebox.showerror, f"Cannot open {path}: {error}")
                return
            text = self.texts[path] = tk.Text(self.tabs, undo=True)
            text.insert("1.0", content)
            text.edit_modified(False)
            text.bind("<Control-s>", lambda _: self.save(path))
            text.bind("<Control-w>", lambda _: self.close_file(path))
            self.tabs.add(text, text=os.path.basename(path))
        self.tabs.select(self.texts[path])

    def front(self):
        return self.root.nametowidget(self.tabs.select())  # the root window if there is no tab

    def save(self, path):
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).write_text(self.texts[path].get("1.0", "end-1c"), "utf-8")
        except OSError as error:
            self.ask(messagebox.showerror, f"Cannot save {path}: {error}")
            return False
        self.texts[path].edit_modified(False)
        return True

    def ask(self, show, text):
        """Show a dialog and return its answer; meanwhile launches wait and the window stays open."""
        self.is_asking = True
        answer = show("Notes", text)
        self.is_asking = False
        return answer

    def may_close(self, paths):
        """Ask what to do with unsaved files; return whether all files may be closed."""
        unsaved = [path for path in paths if self.texts[path].edit_modified()]
        save = bool(unsaved) and self.ask(messagebox.askyesnocancel, "Save {}?".format(", ".join(unsaved)))
        return save is not None and (not save or all(map(self.save, unsaved)))

    def close_file(self, path):
        if self.may_close([path]):
            self.texts.pop(path).destroy()
            self.answer()

    def close(self):
        if self.is_asking:
            return
        # From here on launches wait in `app.arguments`, so none opens its files in a window that is closing.
        if self.app is not None:
            self.app.untrace(self.open_files)
        if self.may_close(list(self.texts)):
            self.texts.clear()
            self.answer()  # before `release`, after which launches that still wait fail with a message
            self.root.destroy()
        elif self.app is not None:
            self.app.trace(self.open_files)  # launches that arrived meanwhile are opened now

    def answer(self):
        """Answer the launches whose files are all closed."""
        for closed in [closed for closed, paths in self.waiting.items() if not paths & self.texts.keys()]:
            del self.waiting[closed]
            closed.set_result(0)
