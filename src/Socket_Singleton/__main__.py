"""``python -m Socket_Singleton``; the command line is in `_command`."""

import sys

from ._command.parser import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
