"""The one exception of the package."""

from __future__ import annotations


class MultipleSingletonsError(Exception):
    """Raised, where ``strict`` is ``False``, by a launch that is not the host.

    The text of the error is for people; the attributes are for programs. All
    of them survive pickling.

    Attributes:
        address (str): the address that was asked for.
        port (int): the port that was asked for.
        delivered (bool | None): ``True`` when the host confirmed that it owns
            this launch's arguments; ``False`` when nobody has them (the text
            says why) or the host takes no more (``max_clients``); ``None`` when
            it is unknown (a host of version 2.0.0, which cannot confirm) or
            was not tried (``client=False``).
        pid (int | None): the process id of the host, where a name is asked for
            and it has proved itself; else ``None``.
        answer (str | int | None): with ``answer=True``, what the observers said.
    """

    # Only the text goes into ``args``: Exception then rebuilds the error from
    # ``args`` and the instance dictionary, which is all that pickle needs.
    def __init__(
        self,
        *args: object,
        address: str = "",
        port: int = 0,
        delivered: bool | None = None,
        pid: int | None = None,
        answer: str | int | None = None,
    ) -> None:
        super().__init__(*args)
        self.address = address
        self.port = port
        self.delivered = delivered
        self.pid = pid
        self.answer = answer
