"""Run tests none of which may be skipped: complete.py TEST..."""

import os
import sys
import unittest

sys.path[0] = os.getcwd()
result = unittest.main(None, exit=False).result
if result.skipped:
    sys.exit("a test was skipped, but all of these have to run here")
sys.exit(not result.wasSuccessful())
