"""A Qt window that lists what later launches were started with; one without arguments raises it.

Needs PySide6. In one shell `python examples/qt_app.py`, in another one
`python examples/qt_app.py a.txt`, and once more without arguments.
"""

import os
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

PORT = int(os.environ.get("EXAMPLE_PORT", "14183"))

app = Socket_Singleton(port=PORT, notify_empty=True)  # a second launch ends here, before it loads Qt

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtWidgets import QApplication, QListWidget


class ToThisThread(QObject):
    """Runs functions on the thread on which it was made, whichever thread emits them."""

    function = Signal(object)

    def __init__(self):
        super().__init__()
        self.function.connect(self.call, Qt.ConnectionType.QueuedConnection)

    @Slot(object)
    def call(self, function):
        function()


def show(args):
    files.addItems(list(args))
    files.showNormal()
    files.raise_()
    files.activateWindow()


qt = QApplication(sys.argv[:1])
files = QListWidget()
files.setWindowTitle("One window")

show(sys.argv[1:])
gui = ToThisThread()
app.dispatch = gui.function.emit  # from now on observers run on this thread
app.trace(show)
status = qt.exec()
app.release()
sys.exit(status)
