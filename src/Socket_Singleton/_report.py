"""What the library reports on its own: lines on stdout, and errors in the application's log."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._settings import Settings


def say(settings: Settings, line: str) -> None:
    """Print one line, if verbose. Not on the I/O thread: stdout may block, and may be anything."""
    if settings.verbose:
        try:
            # Kept in a variable: `print` alone crashes if another thread replaces it
            # meanwhile (CPython before 3.14, issue 130163).
            stdout = sys.stdout
            print(f"Socket_Singleton: {line}", file=stdout, flush=True)
        except BaseException as failure:
            if is_interrupt(failure):
                raise
            # Else stdout is the application's: closed, full, or an object of its own.


def is_interrupt(error: BaseException) -> bool:
    """Whether ``error`` is Ctrl-C, which Python raises in the main thread: it belongs to the loop there."""
    import threading

    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def log_error(settings: Settings, role: str, culprit: object, error: BaseException) -> None:
    """Log what ``culprit`` raised, with its traceback, and print a line, if verbose.

    The logger is ``Socket_Singleton``, the level ERROR. Without a handler
    Python itself prints to stderr. So does this where logging fails: a handler of the
    application's raises, or there is no descriptor left to import it by.
    """
    try:
        name = getattr(culprit, "__name__", culprit)
        text = f"{role} {name} raised exception: {type(error).__name__}: {error}"
    except BaseException as failure:  # the culprit's or the error's own, as text
        if is_interrupt(failure):
            raise
        text = f"{role} of {type(culprit)} raised exception: {type(error).__name__}"
    say(settings, text)
    try:
        import logging  # 5 ms, so only where it is needed

        logging.getLogger("Socket_Singleton").error(text, exc_info=error)
    except BaseException as failure:
        _print_error(text, error)
        if is_interrupt(failure):
            raise


def _print_error(text: str, error: BaseException) -> None:
    """Print what could not be logged on stderr, if there is one."""
    try:
        stderr = sys.stderr
        if stderr is not None:
            stderr.write(text + "\n")
            # Python's own, since it needs no import and no file to do so.
            sys.__excepthook__(type(error), error, error.__traceback__)
    except BaseException as failure:
        if is_interrupt(failure):
            raise
        # Else it is closed, or full, or an object of the application's.
