"""The threads of a connection that carries many calls at once.

Whoever reads a call runs it, and reads on when it is answered: while calls are short, one thread
does all, and none is woken for another. While it runs a call, anyone may take over the reading;
a thread is woken for that if calls of this connection usually take long, or if this one does. So
a long call keeps neither another call, nor a cancellation, nor a ping from being read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from elastic_inference.accelerator.channel import ConnectionClosedError

log = logging.getLogger(__name__)

Job = Callable[[], None]

# A thread's waking costs some ten microseconds; a call that takes longer than this can bear it.
LONG = 0.0005
_TICK = 0.005
_SLEEP_AFTER = 20
_REST = 10.0
_RISE = 1 / 64


class Crew:
    """Divides the work of one connection.

    Attributes:
        unread_since: monotonic time since when nobody reads; 0 while somebody does.
        calls: how many were run.
    """

    def __init__(
        self,
        read: Callable[[], None],
        sentinel: Sentinel,
        most: int,
        *,
        started: Callable[[], None],
        ended: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        """
        Args:
            read: reads a frame; it may add jobs.
            sentinel: told when nobody reads.
            most: how many jobs may run at one time.
            started, ended: called by each thread but the first.
            closed: called at the end; it wakes who reads, sends or waits.
        """
        self._read = read
        self._sentinel = sentinel
        self._most = most
        self._started = started
        self._ended = ended
        self._closed = closed
        self._slots: deque[None] = deque([None] * most)
        self._jobs: deque[Job] = deque()
        self._urgent: deque[Job] = deque()
        self._pressing = 0
        # Who pops its one item is the reader; a deque's methods are atomic.
        self._role: deque[None] = deque((None,))
        self._lock = threading.Lock()
        self._rested = threading.Semaphore(0)
        self._resting = 0
        self._threads = 0
        self._gone = threading.Condition(self._lock)
        self._typical = 0.0
        self.unread_since = 0.0
        self.calls = 0
        self.closed = False

    def add(self, job: Job) -> None:
        """Have a job run; for whoever reads."""
        self._jobs.append(job)

    def submit(self, job: Job) -> None:
        """Have a short job run soon, even if as many run as may; for any thread."""
        with self._lock:
            self._pressing += 1
        self._urgent.append(job)
        self.summon(1)

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return len(self._slots) < self._most or bool(self._jobs or self._pressing)

    @property
    def neglected(self) -> bool:
        """Whether nobody reads, or jobs wait."""
        return bool(self._role or self._jobs)

    def work(self) -> None:
        """Work until the connection is closed and every other thread has gone."""
        try:
            self._work(resting=_REST, forever=True)
        finally:
            self.close()
            with self._gone:
                while self._threads:
                    self._gone.wait()

    def _work(self, resting: float, *, forever: bool) -> None:
        while not self.closed:
            if self._urgent:
                self._run_urgent()
            elif self._jobs and self._slots:
                self._run_one()
            elif self._take_role():
                while not (self._jobs and self._slots) and not self.closed:
                    self._read()
                if self._typical > LONG:
                    self.summon()
                self._offer_role()
            elif not self._rest(resting) and not forever:
                return

    def _take_role(self) -> bool:
        try:
            self._role.pop()
        except IndexError:
            return False
        self.unread_since = 0.0
        return True

    def _offer_role(self) -> None:
        self.unread_since = time.monotonic()
        self._role.append(None)
        if not self._sentinel.awake:
            self._sentinel.wake()

    def read_on(self) -> bool:
        """Read a frame if nobody else reads, for a job that waits for one; False if not."""
        if self.closed or not self._take_role():
            return False
        try:
            self._read()
        finally:
            self._offer_role()
        if self._jobs:
            # This thread goes on waiting, so another must run what it read.
            self.summon()
        return True

    def _run_urgent(self) -> None:
        try:
            job = self._urgent.popleft()
        except IndexError:
            return
        try:
            job()
        finally:
            with self._lock:
                self._pressing -= 1

    def _run_one(self) -> None:
        try:
            slot = self._slots.pop()
        except IndexError:
            return
        try:
            try:
                job = self._jobs.popleft()
            except IndexError:
                return
            began = time.monotonic()
            job()
        finally:
            self._slots.append(slot)
        self.calls += 1
        took = time.monotonic() - began
        # Waiting for a processor makes short calls long now and then, and no long one short; so
        # the shortest of late tells.
        self._typical = min(took, self._typical + (took - self._typical) * _RISE)

    def _rest(self, seconds: float) -> bool:
        """Wait to be summoned; False if nobody did."""
        with self._lock:
            self._resting += 1
        # What came up before this thread counted as resting summoned nobody.
        summoned = bool(self._urgent or self._jobs or self._role) or self._rested.acquire(
            timeout=seconds
        )
        with self._lock:
            self._resting -= 1
        return summoned or self.closed

    def summon(self, reserve: int = 0) -> None:
        """Have one more thread look for work, if there may be one more.

        Args:
            reserve: how many threads there may be beyond those that jobs and reading take.
        """
        with self._lock:
            if self.closed:
                return
            spawn = not self._resting and self._threads < self._most + reserve
            if spawn:
                self._threads += 1
            if not spawn:
                if self._resting:
                    self._rested.release()
                return
        try:
            threading.Thread(target=self._follow, name="connection", daemon=True).start()
        except RuntimeError as error:
            # The work is done anyway, by who does it now.
            log.warning("Cannot start a thread for a connection: %s", error)
            self._leave()

    def _follow(self) -> None:
        self._started()
        try:
            self._work(_REST, forever=False)
        except (ConnectionClosedError, OSError):
            pass  # The connection is gone: nobody to tell.
        except Exception:
            log.exception("A connection ended by a defect")
        else:
            return
        finally:
            self._ended()
            self._leave()
        self.close()

    def _leave(self) -> None:
        with self._gone:
            self._threads -= 1
            self._gone.notify_all()

    def close(self) -> None:
        """Let all threads go, each after its job."""
        with self._lock:
            first = not self.closed
            self.closed = True
            self._rested.release(self._resting + 1)
        if first:
            self._closed()


class Sentinel:
    """Sees to it that connections whose threads all run calls are read on.

    It looks at them some two hundred times a second while calls run, and sleeps while none do.
    """

    def __init__(self, crews: Callable[[], list[Crew]]) -> None:
        self._crews = crews
        self._woken = threading.Event()
        self.awake = False
        threading.Thread(target=self._watch, name="sentinel", daemon=True).start()

    def wake(self) -> None:
        self.awake = True
        self._woken.set()

    def _watch(self) -> None:
        calls = quiet = 0
        while True:
            self._woken.wait()
            self._woken.clear()
            quiet = 0
            while quiet < _SLEEP_AFTER:
                time.sleep(_TICK)
                crews = self._crews()
                for crew in crews:
                    since = crew.unread_since
                    if since and crew.neglected and time.monotonic() - since > _TICK:
                        crew.summon()
                now = sum(crew.calls for crew in crews)
                unread = any(crew.unread_since for crew in crews)
                quiet = 0 if now != calls or unread else quiet + 1
                calls = now
            self.awake = False
            # A call that began before that was seen to sleep.
            if any(crew.unread_since for crew in self._crews()):
                self.wake()
