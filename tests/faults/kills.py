"""kill -9 of each of a pool's processes."""

from __future__ import annotations

import os
import signal
import time

from tests.faults.crew import until
from tests.faults.fault import VICTIM, WIRE, WIRES, Fault, Scene
from tests.faults.proc import ended


def kill(pid: int) -> None:
    """kill -9, and wait until it has ended."""
    os.kill(pid, signal.SIGKILL)
    if not ended(pid, 30.0):
        raise TimeoutError(f"process {pid} does not end")


def accelerator(scene: Scene) -> None:
    crew = scene.crew
    pid = crew.accelerator_pid("a")
    kill(pid)
    until("the accelerator started again", lambda: crew.accelerator_pid("a") not in {0, pid})


def accelerator_again_and_again(scene: Scene) -> None:
    for _ in range(3):
        accelerator(scene)
        time.sleep(scene.moment(0.0, 0.5))


def accelerator_of_an_application(scene: Scene) -> None:
    for group in ("c", "d"):
        kill(scene.crew.accelerator_pid(group))


def control_plane(scene: Scene) -> None:
    crew = scene.crew
    before = crew.accelerators()
    kill(crew.pool.pid)
    time.sleep(scene.moment(0.2, 1.5))
    crew.start_pool_again()
    if crew.accelerators() != before:
        raise AssertionError("a restart of the control plane ended accelerators")


def control_plane_and_accelerator(scene: Scene) -> None:
    crew = scene.crew
    first, second = crew.pool.pid, crew.accelerator_pid("a")
    os.kill(first, signal.SIGKILL)
    kill(second)
    crew.start_pool_again()
    until("the accelerator started again", lambda: crew.accelerator_pid("a") != 0)


def clients(scene: Scene) -> None:
    crew = scene.crew
    for name in VICTIM:
        time.sleep(scene.moment(0.0, 0.1))
        crew.members[name].deaths += 1
        crew.end_worker(name, signal.SIGKILL)
        crew.start_worker(crew.members[name])


def run_of_others(scene: Scene) -> None:
    """The `ei run` whose environment another process uses."""
    crew = scene.crew
    identifier = crew.groups["e"].accelerator
    crew.remove_instance("e", signal.SIGKILL)
    until("its lease to end", lambda: identifier not in crew.accelerators())
    replace(scene, "e")


def replace(scene: Scene, group: str) -> None:
    """Another instance in the place of one that has ended, for the same workers."""
    crew = scene.crew
    instance = crew.add_instance(group)
    for member in crew.members.values():
        if member.group == group:
            member.deaths += 1
            crew.end_worker(member.name, signal.SIGKILL)
            member.env |= instance.env
            crew.start_worker(member)


def run_with_its_application(scene: Scene) -> None:
    crew = scene.crew
    for name, alone in (("c", False), ("d", True)):
        worker, identifier = crew.worker_pid(name), crew.groups[name].accelerator
        crew.members[name].deaths += 1
        crew.remove_instance(name, signal.SIGKILL)
        if not ended(worker, 30.0):
            raise AssertionError("the command outlives its `ei run`")
        until("its accelerator to end", lambda of=identifier: of not in crew.accelerators())  # type: ignore[misc]  # bound now
        crew.start_application(crew.members[name], alone=alone)


def application(scene: Scene) -> None:
    crew = scene.crew
    for name, alone in (("c", False), ("d", True)):
        crew.members[name].deaths += 1
        kill(crew.worker_pid(name))
        group = crew.groups.pop(name)
        if group.program.end(0) != 137:
            raise AssertionError("`ei run` does not tell how its command ended")
        if group.accelerator in crew.accelerators():
            raise AssertionError("the accelerator outlives its `ei run`")
        crew.start_application(crew.members[name], alone=alone)


FAULTS = [
    Fault("kill", "accelerator", accelerator, WIRE, quick=True),
    Fault("kill", "accelerator, again and again", accelerator_again_and_again, WIRE),
    Fault("kill", "accelerator under an application", accelerator_of_an_application),
    Fault("kill", "control plane", control_plane, WIRES, quick=True),
    Fault("kill", "control plane and accelerator", control_plane_and_accelerator, WIRES),
    Fault("kill", "clients", clients),
    Fault("kill", "ei run that others use", run_of_others, ("e-tls",)),
    Fault("kill", "ei run", run_with_its_application, ("c", "d")),
    Fault("kill", "application", application),
]
