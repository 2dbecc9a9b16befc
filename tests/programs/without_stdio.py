"""A host, and then a launch to it, in a program that has closed 0, 1 and 2: without_stdio.py PORT.

Prints, to a copy of stdout, which of these three were open at each step.
"""

import fcntl
import os
import sys

import inside
from descriptors import descriptors

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

stdin = fcntl.fcntl(0, fcntl.F_DUPFD, 10)
stdout = fcntl.fcntl(1, fcntl.F_DUPFD, 10)
for number in (0, 1, 2):
    os.close(number)


def say(*words):
    os.write(stdout, (" ".join(map(str, words)) + "\n").encode())


def low():
    return sorted(number for number in descriptors() if number <= 2)


app = Socket_Singleton(port=int(sys.argv[1]))
app.trace(lambda args: say("got", *args, low()))
say("host", low())


class Recording(inside.LaunchSocket):
    def connect(self, place):
        say("launch", low(), self.fileno() > 2)
        return super().connect(place)


os.read(stdin, 1)
try:
    with inside.sockets_of_launches(Recording):
        Socket_Singleton(port=app.port, strict=False, argv=["from here"])
except MultipleSingletonsError as error:
    say("delivered", error.delivered)
os.read(stdin, 1)
