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
            this launch's arguments; ``False`` when nobody confirmed it and the
            text says why; ``None`` when it is unknown (a host of version
            2.0.0, which cannot confirm; a host that ignored the launch for its
            secret or for ``max_clients``) or was not tried (``client=False``).
    """

    # Only the text goes into ``args``: Exception then rebuilds the error from
    # ``args`` and the instance dictionary, which is all that pickle needs.
    def __init__(
        self,
        *args: object,
        address: str = "",
        port: int = 0,
        delivered: bool | None = None,
    ) -> None:
        super().__init__(*args)
        self.address = address
        self.port = port
        self.delivered = delivered
