"""A Qt window that lists what later launches were started with; one without arguments raises it.

Each launch prints what the window answers.

Needs PySide6. In one shell `python examples/qt_app.py`, in another one
`python examples/qt_app.py a.txt`, and once more without arguments.
"""

import os
import subprocess
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

NAME = os.environ.get("EXAMPLE_NAME", "org.example.qt-window")

# A second launch ends here, before it loads Qt, and prints what `show` returns.
app = Socket_Singleton(name=NAME, answer=True, notify_empty=True)

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QListWidget


def show(args):
    files.addItems(list(args))
    files.showNormal()
    files.raise_()
    files.activateWindow()
    return f"The window lists {files.count()} files."


qt = QApplication(sys.argv[:1])
files = QListWidget()
files.setWindowTitle("One window")

show(sys.argv[1:])
app.dispatch = lambda f: QTimer.singleShot(0, qt, f)  # observers run on this thread, and answer from there
app.trace(show)
status = qt.exec()
app.release()
for args in app.arguments:  # came while the window was closing: a new one takes them
    subprocess.Popen([sys.executable, __file__, *args])
sys.exit(status)
