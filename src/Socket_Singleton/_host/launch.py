"""A launch as observers see it."""

from __future__ import annotations

import os
import sys

from .. import _settings
from .._answers import STDERR, STDOUT
from .streams import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Mapping, TextIO, Tuple

    from typing_extensions import Self

    from .replies import Reply

    Words = Tuple[str, ...]
else:
    Words = tuple  # which 3.7 cannot subscript


class Launch(Words):
    """One launch: a tuple of its arguments, with its working directory and streams to its terminal.

    It is equal to the plain tuple of its arguments and has the same hash, and it prints and
    unpacks in the same way. Slices and concatenations are plain tuples. Copies and pickles keep
    the arguments, `cwd` and `environ`; anything written to their streams is thrown away.

    ``Launch()`` stands for this process: its ``sys.argv[1:]``, working directory, environment,
    stdout and stderr. With it, an application can treat its own start like any later launch. Tests
    of an observer can make a launch with ``Launch(["a.txt"], cwd="/tmp")``. A single string raises
    ``TypeError``.

    Args:
        arguments (Iterable[str] | None): the arguments. With ``None``, the arguments of this process
            are used, and the other parameters default to those of this process too.
        cwd (str | None): the working directory; see below.
        environ (Mapping[str, str] | None): the environment variables; see below.
        stdout (TextIO | None): the stream that receives what is written to `stdout`. With ``None``
            it is thrown away.
        stderr (TextIO | None): the same for `stderr`.

    Attributes:
        cwd (str | None): the absolute path of the directory in which the launch was started;
            ``None`` if it is not known, because the host has no name or the directory was deleted.
            In a launch that you make yourself, whatever you give.
        environ (Mapping[str, str]): the environment variables that were named by the ``environ``
            parameter of the constructor and are set in the launch. Empty without a name.
    """

    cwd: str | None
    environ: Mapping[str, str]

    def __new__(
        cls,
        arguments: Iterable[str] | None = None,
        *,
        cwd: str | None = None,
        environ: Mapping[str, str] | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> Self:
        """Make a launch."""
        own = arguments is None
        words = getattr(sys, "argv", [])[1:] if arguments is None else arguments
        launch = super().__new__(cls, _settings.words(words, "arguments"))
        launch.cwd = working_directory() if own and cwd is None else cwd
        launch.environ = (os.environ if own else {}) if environ is None else environ
        streams = {
            STDOUT: sys.stdout if own and stdout is None else stdout,
            STDERR: sys.stderr if own and stderr is None else stderr,
        }
        vars(launch).update(_reply=None, _streams=streams)
        return launch

    _reply: Reply | None
    _streams: dict[int, Any]

    @property
    def stdout(self) -> TextIO:
        """A text stream whose output appears on the stdout of the launch at once.

        This works on any thread, as long as the launch is waiting for an answer (``answer=``,
        `Socket_Singleton.ask`). If it does not wait for one, or has been answered, the output is
        thrown away, as if it went to ``/dev/null``.

        The stream is line-buffered: output appears at the end of a line, or with ``flush()``.
        Text is encoded as UTF-8 with ``surrogateescape``; ``stdout.buffer`` accepts bytes. There is no
        file descriptor. If the launch does not read, up to 1 MiB is kept for it (64 KiB, while more
        than 4 MiB are kept for all launches together); then the writer waits, and the launch is cut
        off if it reads less than 128 KiB in 10 seconds.

        Raises:
            BrokenPipeError: from ``write`` and ``flush``, if the launch has stopped waiting before it
                was answered (see `gone`). If an observer does not catch this exception, it is not
                logged.
        """
        return self._stream(STDOUT)

    @property
    def stderr(self) -> TextIO:
        """The same as `stdout`, for the stderr of the launch."""
        return self._stream(STDERR)

    @property
    def gone(self) -> bool:
        """Whether the launch was waiting for an answer and has stopped, because it ended or was cut off.

        A long-running observer should check this from time to time. The value is ``False`` if the
        launch never waited. It does not change any more once the launch has been answered.
        """
        return self._reply is not None and self._reply.gone

    def _stream(self, kind: int) -> TextIO:
        stream = self._streams[kind]
        if stream is None:
            # A single step: if two threads arrive here at the same time, both get the same stream.
            self._streams[kind] = stream = self._streams[kind] or Stream(self._reply, kind)
        return stream  # type: ignore[no-any-return]

    def __reduce__(self) -> Any:
        return _rebuilt, (type(self), tuple(self), self.cwd, dict(self.environ))


def _rebuilt(kind: type[Launch], words: tuple[str, ...], cwd: str | None, environ: dict[str, str]) -> Launch:
    return kind(words, cwd=cwd, environ=environ)


def of_reply(
    words: tuple[str, ...], cwd: str | None, environ: Mapping[str, str], reply: Reply | None
) -> Launch:
    """Return a launch that the host owns; ``reply`` is the way back to it, if it waits for an answer."""
    launch = Launch(words, cwd=cwd, environ=environ)
    if reply is not None:
        streams = {STDOUT: Stream(reply, STDOUT), STDERR: Stream(reply, STDERR)}
        vars(launch).update(_reply=reply, _streams=streams)
    return launch


def wrapped(arguments: Iterable[str], like: Launch | None = None) -> Launch:
    """Return ``arguments`` as a `Launch`, with everything else taken from ``like`` if they are not one."""
    if isinstance(arguments, Launch):
        return arguments
    if like is None:
        return Launch(tuple(arguments))
    launch = Launch(tuple(arguments))
    vars(launch).update(vars(like))
    return launch


def working_directory() -> str | None:
    """Return the working directory of this process; None if it was deleted or cannot be read."""
    try:
        return os.getcwd()
    except OSError:
        return None
