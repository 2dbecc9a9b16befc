"""Many launches at once."""

from __future__ import annotations

import sys
import threading

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton
from Socket_Singleton._wire import ACK

from .support import PATIENCE, Collector, SingletonTestCase, wait_until

# It says that it is the host before an observer can print: lines of two threads mix.
FIRST = """
import sys
from Socket_Singleton import Socket_Singleton
app = Socket_Singleton(port=sys.argv.pop(1))
print("the host", flush=True)
app.trace(lambda args: print(*args, flush=True))
sys.stdin.readline()
"""


class TestConcurrency(SingletonTestCase):
    def at_once(self, count: int, target) -> list:
        """Run ``target(number)`` in ``count`` threads that start together; return the results."""
        barrier, results = threading.Barrier(count), [None] * count

        def run(number):
            barrier.wait(PATIENCE)
            try:
                results[number] = target(number)
            except BaseException as error:
                results[number] = error

        threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())
        return results

    def test_processes_at_once_are_all_delivered_once(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        launches = [self.start_app("default", self.port, number) for number in range(20)]
        for launch in launches:
            self.finish(launch)
            self.assertEqual((launch.out, launch.err), ("", ""))
        wait_until(lambda: len(observer.calls) >= 20, "all are delivered")
        self.assertEqual(sorted(observer.calls), sorted((str(number),) for number in range(20)))
        self.assertEqual(app.clients, 20)

    def test_threads_at_once_are_all_delivered_once(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)

        def launch(number):
            try:
                Socket_Singleton(port=self.port, strict=False, argv=[str(number)]).release()
            except MultipleSingletonsError as error:
                return error.delivered

        self.assertEqual(self.at_once(50, launch), [True] * 50)
        wait_until(lambda: len(observer.calls) >= 50, "all are delivered")
        self.assertEqual(sorted(observer.calls), sorted((str(number),) for number in range(50)))

    def test_first_launches_at_once_make_one_host(self):
        for _ in range(20):
            hosts = []

            def launch(number, hosts=hosts):
                try:
                    hosts.append(Socket_Singleton(port=self.port, strict=False, argv=[str(number)]))
                except MultipleSingletonsError as error:
                    return error.delivered

            results = self.at_once(10, launch)
            self.assertEqual(len(hosts), 1)
            self.assertEqual(sorted(map(str, results)), ["None"] + ["True"] * 9)
            self.assertEqual(len(hosts[0].arguments), 9)
            hosts[0].release()

    def test_first_launches_at_once_that_hand_nothing_over_make_one_host(self):
        """Two that fail each other's listen must not both take the other for a host."""
        for _ in range(20):
            hosts = []

            def launch(number, hosts=hosts):
                try:
                    hosts.append(Socket_Singleton(port=self.port, strict=False, client=False))
                except MultipleSingletonsError as error:
                    return error.delivered

            self.at_once(10, launch)
            self.assertEqual(len(hosts), 1)
            hosts[0].release()

    def test_release_from_many_threads_at_once(self):
        app = self.singleton()
        self.at_once(10, lambda number: app.release())
        self.assertFalse(app._listening)
        self.singleton(strict=False)

    def test_trace_and_untrace_while_launches_come(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        stop = threading.Event()

        def churn():
            while not stop.is_set():
                app.trace(print_nothing)
                app.untrace(print_nothing)

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            for number in range(200):
                self.exchange(b"%d\0" % number)
        finally:
            stop.set()
            thread.join(PATIENCE)
        observer.wait_for(*[(str(number),) for number in range(200)])

    def launch(self, number: int):
        """Construct; return the host, or the error of a launch that is not."""
        try:
            app = Socket_Singleton(port=self.port, strict=False, argv=[str(number)])
        except MultipleSingletonsError as error:
            return error
        self.addCleanup(app.release)
        return app

    def test_first_launches_from_processes(self):
        count = 8
        launches = [self.start("-c", FIRST, self.port, number) for number in range(count)]

        def hosts():
            return [launch for launch in launches if "the host" in launch.lines]

        wait_until(lambda: hosts() or all(x.process.poll() is not None for x in launches), "one is the host")
        self.assertEqual(len(hosts()), 1, "\n".join(launch.describe() for launch in launches))
        (host,) = hosts()
        others = [launch for launch in launches if launch is not host]
        for launch in others:
            self.finish(launch)
            self.assertEqual((launch.out, launch.err), ("", ""))
        for launch in others:
            host.expect(launch.command[-1])
        expected = ["the host", *(launch.command[-1] for launch in others)]
        self.assertEqual(sorted(host.lines), sorted(expected))

    def test_launches_while_hosts_release(self):
        """Each launch is a host, or is owned by one: nothing between two hosts is lost."""
        owned, hosts, lock = [], [], threading.Lock()

        def launches(number):
            for word in range(20):
                result = self.launch(number * 20 + word)
                if isinstance(result, Socket_Singleton):
                    result.release()
                    with lock:
                        hosts.append(number * 20 + word)
                        owned.extend(int(args[0]) for args in result.arguments)
                elif result.delivered is not True:
                    return result
            return None

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        self.addCleanup(sys.setswitchinterval, interval)
        self.assertEqual(self.at_once(6, launches), [None] * 6)
        self.assertEqual(sorted(owned + hosts), list(range(120)))
        self.assertGreater(len(hosts), 0)

    def test_traces_and_releases_from_many_threads(self):
        app = self.singleton()
        observers = [Collector() for _ in range(20)]

        def use(number):
            app.trace(observers[number])
            self.assertEqual(self.exchange(b"%d\0" % number), ACK)
            return repr(app), app.arguments, app.clients

        for result in self.at_once(20, use):
            self.assertIsInstance(result, tuple)
        # Each launch went to at least its own observer, which was there before it.
        for number, observer in enumerate(observers):
            wait_until(lambda n=number, o=observer: (str(n),) in o.calls, f"launch {number} is delivered")
            self.assertEqual(observer.calls.count((str(number),)), 1)
        self.assertEqual(self.at_once(20, lambda number: app.release()), [None] * 20)
        self.assertFalse(app._listening)


def print_nothing(args) -> None:
    pass
