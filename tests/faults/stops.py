"""SIGSTOP and SIGCONT, for shorter and for longer than what waits has patience."""

from __future__ import annotations

import os
import signal
import time

from tests.faults.crew import HANG, LEASE, until
from tests.faults.fault import VICTIM, WIRE, WIRES, Fault, Scene
from tests.faults.kills import kill, replace
from tests.faults.proc import ended


def stop(pid: int, seconds: float) -> None:
    """Stop a process for some time."""
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


def accelerator_briefly(scene: Scene) -> None:
    pid = scene.crew.accelerator_pid("a")
    stop(pid, scene.moment(0.5, 1.5))
    if scene.crew.accelerator_pid("a") != pid:
        raise AssertionError("an accelerator was ended that was only slow")


def accelerator_that_hangs(scene: Scene) -> None:
    crew = scene.crew
    pid = crew.accelerator_pid("a")
    os.kill(pid, signal.SIGSTOP)
    if not ended(pid, HANG * 4):
        raise AssertionError("an accelerator that hangs is not ended")
    until("the accelerator started again", lambda: crew.accelerator_pid("a") not in {0, pid})


def control_plane(scene: Scene) -> None:
    """For longer than anything that it watches may be silent."""
    before = scene.crew.accelerators()
    stop(scene.crew.pool.pid, max(HANG, LEASE) + scene.moment(1.0, 2.0))
    # It takes stock when it comes back; what it ends then is gone soon.
    time.sleep(1.0)
    if scene.crew.accelerators() != before:
        raise AssertionError(
            "a control plane that was stopped ended accelerators for its own delay"
        )


def control_plane_killed_beside_a_stopped_accelerator(scene: Scene) -> None:
    """The next one finds an accelerator that does not answer."""
    crew = scene.crew
    pid = crew.accelerator_pid("a")
    os.kill(pid, signal.SIGSTOP)
    kill(crew.pool.pid)
    crew.start_pool_again()
    if not ended(pid, HANG * 6):
        os.kill(pid, signal.SIGCONT)
        raise AssertionError("an accelerator that hangs is not ended after a restart")
    until("the accelerator started again", lambda: crew.accelerator_pid("a") not in {0, pid})


def control_plane_killed_beside_a_slow_accelerator(scene: Scene) -> None:
    """The next one finds an accelerator that answers late."""
    crew = scene.crew
    pid = crew.accelerator_pid("a")
    os.kill(pid, signal.SIGSTOP)
    try:
        kill(crew.pool.pid)
        crew.start_pool_again()
    finally:
        os.kill(pid, signal.SIGCONT)
    time.sleep(1.0)
    if crew.accelerator_pid("a") != pid:
        raise AssertionError("an accelerator that is slow was not adopted")


def clients(scene: Scene) -> None:
    """Longer than an accelerator waits for the rest of a request."""
    crew = scene.crew
    pids = [crew.worker_pid(name) for name in VICTIM]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4.0)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def run_briefly(scene: Scene) -> None:
    crew = scene.crew
    runs = [crew.groups[name].program.pid for name in ("a", "c", "d")]
    for pid in runs:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(scene.moment(0.5, LEASE / 3))
    for pid in runs:
        os.kill(pid, signal.SIGCONT)


def run_for_longer_than_its_lease(scene: Scene) -> None:
    crew = scene.crew
    identifier = crew.groups["e"].accelerator
    pid = crew.groups["e"].program.pid
    os.kill(pid, signal.SIGSTOP)
    until("its lease to end", lambda: identifier not in crew.accelerators())
    os.kill(pid, signal.SIGCONT)
    crew.remove_instance("e")
    replace(scene, "e")


def run_stopped_and_killed(scene: Scene) -> None:
    crew = scene.crew
    for name, alone in (("c", False), ("d", True)):
        group = crew.groups[name]
        worker = crew.worker_pid(name)
        os.kill(group.program.pid, signal.SIGSTOP)
        time.sleep(scene.moment(0.1, 0.5))
        crew.members[name].deaths += 1
        crew.remove_instance(name, signal.SIGKILL)
        if not ended(worker, 30.0):
            raise AssertionError("the command outlives its `ei run`")
        until("its accelerator to end", lambda of=group: of.accelerator not in crew.accelerators())  # type: ignore[misc]  # bound now
        crew.start_application(crew.members[name], alone=alone)


FAULTS = [
    Fault("stop", "accelerator, briefly", accelerator_briefly, quick=True),
    Fault("stop", "accelerator, until it counts as dead", accelerator_that_hangs, WIRE),
    Fault("stop", "control plane, longer than leases", control_plane, WIRES),
    Fault(
        "stop",
        "accelerator, while the control plane dies",
        control_plane_killed_beside_a_stopped_accelerator,
        WIRES,
    ),
    Fault(
        "stop",
        "accelerator, amid a new control plane's start",
        control_plane_killed_beside_a_slow_accelerator,
        WIRES,
    ),
    Fault("stop", "clients", clients, WIRE),
    Fault("stop", "ei run, briefly", run_briefly),
    Fault("stop", "ei run, longer than its lease", run_for_longer_than_its_lease, ("e-tls",)),
    Fault("stop", "ei run, then kill", run_stopped_and_killed, ("c", "d")),
]
