"""The interpreter that does nothing: what every launch costs."""

from __future__ import annotations

from .base import Subject


class Interpreter(Subject):
    """``python -c pass``; it locks nothing."""

    name = "python"
    locks = hands_over = False
    on_others = True
    IMPORT = LAUNCH = "pass"
