"""The subcommand ``watch``, which has all the time that it needs to print what has arrived, as it ends.

watching.py PORT
"""

import sys

import inside

from Socket_Singleton.__main__ import main

limits = inside.limits(EXIT_TIME=30)
limits.__enter__()
sys.exit(main(["watch", "--port", sys.argv[1]]))
