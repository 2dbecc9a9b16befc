"""How a launch that is not the host ends: the words for its outcome, and the messages that explain it."""

from __future__ import annotations

from . import _system
from ._packet import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._client import Endpoint, Outcome, Talk

ANSWERED = "answered"
REFUSED = "refused"

NOT_ANSWERED = "the connection ended without an answer"

# `MultipleSingletonsError.outcome`: each word and its meaning. If a launch waits for an answer,
# "answered" and "refused" take the place of "delivered".
OUTCOMES = {
    Answer.OWNED: "the running instance has the arguments",
    ANSWERED: "the running instance has the arguments, and its observers have answered",
    REFUSED: "an observer of the running instance raised an exception, or did not return a valid answer",
    Answer.LATE: "the running instance has the arguments, but did not answer in time",
    Answer.LOST: f"the running instance had the arguments, but {NOT_ANSWERED}",
    Answer.SEVERED: (
        "the running instance has the arguments, but its output could not be shown, or was not read"
    ),
    Answer.ENOUGH: "the running instance accepts no more launches (max_clients)",
    Answer.FULL: "too many launches are already waiting for an answer from the running instance",
    Answer.FOUND: "an instance is running, and nothing was sent to it (client=False)",
    Answer.CLOSED: "an instance of version 2.0.0 is running, which cannot confirm that it has the arguments",
    Answer.CUT: "an instance of version 2.0.0 is running, which has read only the first 1024 bytes",
    Answer.REJECTED: "the running instance has another secret, or only one of the two has a name",
    Answer.FOREIGN: "another program has the port",
    Answer.UNPROVEN: (
        "the program that has the port did not prove that it is this application: it has another name or key"
    ),
    Answer.SILENT: "the program that has the port did not reply in time",
    Answer.UNREACHED: "the program that has the port accepts no connections",
    Answer.RESET: "every connection was reset, and the port did not become free",
    Answer.REFUSED: "nothing is listening on the port, but it cannot be bound",
}

# `MultipleSingletonsError.delivered`, if it is not False: whether the host has the arguments. None
# means that this is not known, or that nothing was sent.
DELIVERED = {
    Answer.OWNED: True,
    Answer.LATE: True,
    Answer.LOST: True,
    Answer.SEVERED: True,
    Answer.CLOSED: None,
    Answer.FOUND: None,
}

# After these, a launch ends successfully.
_GOOD_ENDS = (Answer.OWNED, Answer.ENOUGH, Answer.CLOSED, Answer.FOUND)

# What a person can do about a port that Windows keeps for itself (Hyper-V, WSL and Docker
# have it reserve blocks of ports; learn.microsoft.com, "netsh interface ipv4 show").
_RESERVED_HINT = (
    "; the system has reserved this port: {}"
    " (netsh interface ipv4 show excludedportrange tcp lists such ports)"
)


def shown(name: str) -> str:
    """Return ``name`` as messages show it. Part of it may be a path, with any characters."""
    return name if name.isprintable() else ascii(name)


def other_instance(address: str, port: int, name: str | None, pid: int | None) -> str:
    """Return the text of the exception of a launch that has not failed; programs for 2.0.0 may read it."""
    instance = f"Another instance of {shown(name)}" if name else "Another instance"
    if pid is not None:
        instance += f" (process {pid})"
    return (
        f"{instance} is already bound & listening @ {address} on port {port} and only one may run at a time."
    )


def failure(endpoint: Endpoint, name: str | None, outcome: Outcome, asks: bool) -> str | None:
    """Return why a launch has failed; None if it has not."""
    whom = place(endpoint.address, endpoint.port, name)
    if outcome.found == Answer.LOST:
        return (
            f"Socket_Singleton: {whom} has accepted this launch, but {NOT_ANSWERED}"
            f" ({outcome.seen}); it may have acted on this launch"
        )
    if outcome.found == Answer.LATE:
        return (
            f"Socket_Singleton: {whom} has accepted this launch, but has not answered in time;"
            " it may still act on it"
        )
    if outcome.found == Answer.SEVERED:
        return (
            f"Socket_Singleton: {whom} has accepted this launch, but its output was cut off: {outcome.seen}"
        )
    if outcome.found == Answer.ENOUGH and asks:
        return f"Socket_Singleton: {whom} does not answer: {outcome.seen}"
    if outcome.found in _GOOD_ENDS:
        return None
    silent = silence(endpoint, outcome.found, outcome.talk)
    return (
        f"Socket_Singleton: {whom} is in use, but not by an instance that accepts this launch"
        f" ({outcome.seen}{_hint(endpoint, outcome.found)}){silent}{_remedy(name, outcome.found)}"
    )


def silence(endpoint: Endpoint, found: str, talk: Talk | None) -> str:
    """Return what it means if nobody answers, as far as anything is known about who should."""
    if found not in (Answer.SILENT, Answer.UNREACHED) or endpoint.is_derived is None:
        return ""
    pid = getattr(talk, "pid", None)
    if pid is not None:
        return f"; the application (process {pid}) does not respond"
    if endpoint.is_derived:
        return "; the application probably does not respond"
    return "; end the program that has the port"


def place(address: str, port: int, name: str | None) -> str:
    """Return an address and port in the form that messages use."""
    return f"{address} port {port}" + (f" ({shown(name)})" if name else "")


def _hint(endpoint: Endpoint, found: str) -> str:
    """Return more about why the port cannot be bound, if the system knows more."""
    refusal = endpoint.refusal
    if found != Answer.REFUSED or refusal is None or not _system.is_reserved(refusal):
        return ""
    # One that was computed from a name is nobody's choice.
    return _RESERVED_HINT.format("give a port too" if endpoint.is_derived else "choose another one")


def _remedy(name: str | None, found: str) -> str:
    """Return what a person can do about whoever is there."""
    if name:
        if found == Answer.UNPROVEN:
            return "; give the application's secret, if it has one, or end the program that has the port"
        return "; end the program that has the port" if found in (Answer.FOREIGN, Answer.REJECTED) else ""
    if found == Answer.FOREIGN:
        return "; choose a different port or use a name"
    if found in (Answer.SILENT, Answer.UNREACHED, Answer.RESET):
        return "; if another program has the port, choose a different port or use a name"
    return ""
