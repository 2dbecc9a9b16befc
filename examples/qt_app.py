"""A Qt window that lists the files of launches; a launch without arguments brings it to the front.

Each launch prints the answer of the window. This needs PySide6. Run
`python examples/qt_app.py` in one shell, and in another one
`python examples/qt_app.py a.txt`, and then once more without arguments.
"""

import os
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Launch, Socket_Singleton

# A second launch exits here, before it loads Qt, and prints what `show` returns.
app = Socket_Singleton(name="org.example.qt-window", answer=True, notify_empty=True)

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QListWidget


class Window(QListWidget):
    def closeEvent(self, event):
        app.untrace(show)  # launches from now on wait in app.arguments
        super().closeEvent(event)


def show(launch):
    files.addItems(list(launch))
    files.showNormal()
    files.raise_()
    files.activateWindow()
    return f"The window lists {files.count()} files."


with app:
    qt = QApplication(sys.argv[:1])
    files = Window()
    files.setWindowTitle("One window")
    show(Launch())
    # Observers run on this thread, and answer from here.
    app.dispatch = lambda call: QTimer.singleShot(0, qt, call)
    app.trace(show)
    status = qt.exec()
for launch in app.arguments:  # arrived while the window was closing; a new process opens them
    app.relaunch(launch)
sys.exit(status)
