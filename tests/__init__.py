"""The tests of Socket_Singleton: ``python -m unittest tests``, with nothing installed.

They test the package in ``src``; with SOCKET_SINGLETON_INSTALLED set, the one
that is installed.
"""

import os
import sys
from pathlib import Path

if not os.environ.get("SOCKET_SINGLETON_INSTALLED"):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

# Every test class is here, so that `python -m unittest tests.TestWire` finds it;
# test_layout.py fails if one is missing.
from .test_arguments import TestArgumentPassing
from .test_argv import TestArgv, TestKeywordParameters, TestNotifyEmpty
from .test_arrival import TestArguments, TestBursts
from .test_change import TestHostChanges, TestRestart
from .test_command import TestCommand
from .test_concurrency import TestConcurrency
from .test_dispatch import TestDispatch
from .test_enforcement import TestSingletonEnforcement
from .test_examples import TestExamples
from .test_host_faults import (
    TestAnswer,
    TestHostEnduresItsOwners,
    TestHostEnduresObservers,
    TestHostEnduresPeers,
    TestHostEnduresStarvation,
    TestIdle,
)
from .test_in_process import TestInProcess
from .test_layout import TestLayout
from .test_old_and_new import TestOldAndNew
from .test_platform import TestPlatform
from .test_processes import TestEnds, TestForks, TestWorkers
from .test_readme import TestReadme
from .test_send import TestIsRunning, TestSend
from .test_strangers import TestNobody, TestStoppedHost, TestStrangers
from .test_thresholds import TestThresholds
from .test_timeouts import TestTimeouts
from .test_validation import TestValidation
from .test_verification import TestJudge, TestMutations, TestSchedule
from .test_wait import TestWait
from .test_wire import TestWire


def load_tests(loader, standard_tests, pattern):
    """Run what is imported above; without this hook, discovery runs all of it twice."""
    return standard_tests
