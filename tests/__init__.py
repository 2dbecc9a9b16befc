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
# test_docs.py fails if one is missing.
from .test_answers import TestAnswers, TestJoin
from .test_breaches import (
    TestConstructedTwice,
    TestDefaultTimeout,
    TestDescriptorsThatWereClosed,
    TestEmbedded,
    TestEndOfTheHostsThread,
    TestErrorsThatCannotBeLogged,
    TestFewDescriptors,
    TestForksInC,
    TestInterpretersBesideTheMainOne,
    TestKeyboardInterrupt,
    TestPortForAnybody,
    TestProgramsThatLeaveSIGPIPE,
    TestProxies,
    TestStoppedClocks,
    TestThreadsThatDoNotStart,
    TestWatchOfASlowReader,
    TestWithoutIPv4,
)
from .test_client import (
    TestArgv,
    TestCallsThatFail,
    TestError,
    TestHandOver,
    TestIsRunning,
    TestPatchedSockets,
    TestSend,
    TestStoppedHost,
    TestStrangers,
    TestWait,
)
from .test_closed_streams import TestClosedStreams
from .test_cluster import TestCluster
from .test_command import TestCommand
from .test_delivery import TestDelivery, TestDeliveryEnduresErrors, TestDispatch
from .test_desktop_app import TestDesktopApp
from .test_docs import TestLayout, TestPages
from .test_examples import TestExamples
from .test_host import (
    TestAnswer,
    TestDescriptors,
    TestDescriptorsThatTheApplicationCloses,
    TestHostEnduresPeers,
    TestHostEnduresStarvation,
    TestIdle,
    TestOwnedAndAnswered,
    TestOwning,
    TestThresholds,
    TestTimeouts,
    TestUnexpectedError,
    TestWhichLaunchesCount,
)
from .test_how_to import TestAccountWithoutAHome, TestHowTo
from .test_identity import TestIdentity
from .test_inbox import TestBound, TestInbox, TestInboxBesideThreads
from .test_launch import (
    TestAnswersOfAllKinds,
    TestAsk,
    TestLaunch,
    TestLaunchesThatDoNotRead,
    TestLimitOfTheWait,
    TestOutcome,
    TestOutputOfALaunch,
    TestRelease,
    TestStreams,
    TestWhatObserversGet,
)
from .test_named import TestNamed, TestNamedStrangers
from .test_networks import TestNetworks
from .test_observers import TestNamesOfSubclasses, TestNotifyEmpty, TestObservers
from .test_old_and_new import TestOldAndNew
from .test_platform import TestPlatform, TestWindows, TestWithoutTheSocketModule
from .test_processes import TestEnds, TestForks, TestRestart, TestWorkers
from .test_promises import (
    TestArgumentPassing,
    TestBursts,
    TestConcurrency,
    TestHostChanges,
    TestSingletonEnforcement,
)
from .test_proof import TestProof
from .test_relaunch import TestRelaunch, TestRelaunchFrozen
from .test_rooms import TestImports, TestRooms
from .test_services import TestProgress, TestService, TestStartService
from .test_settings import (
    TestLog,
    TestSettings,
    TestSettingsOfAHost,
    TestTexts,
    TestValidation,
    TestValuesThat200Accepted,
    TestVerboseLines,
)
from .test_singleton import TestInProcess, TestInterrupted
from .test_support import TestSilence, TestSupport
from .test_today import TestDaemon, TestInterpreters, TestLazyImports
from .test_toolkits import TestToolkits
from .test_tools import TestTools
from .test_verification import TestJudge, TestSeries
from .test_web import TestWebBytes, TestWebPage
from .test_wire import TestWire


def load_tests(loader, standard_tests, pattern):
    """Run what is imported above; without this hook, discovery runs all of it twice."""
    return standard_tests
