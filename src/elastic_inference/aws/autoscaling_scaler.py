"""Keeps Auto Scaling groups at what is wanted of them: decides, writes that down, does it.

What is to be done lies in the store before it is begun: launches as activities without an
instance, ends as members that are terminating. A later control plane finds both and goes on; a
launch has its activity's id as the client token, so that it is made once however often it is tried.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from elastic_inference.aws import autoscaling_words as words
from elastic_inference.aws.autoscaling_activities import CANCELLED, FAILED, STARTING, WAITING
from elastic_inference.aws.autoscaling_decisions import (
    IMPAIRED_FOR,
    PENDING,
    TERMINATING,
    decide,
)
from elastic_inference.aws.autoscaling_launch import Launched, launch, launched
from elastic_inference.aws.autoscaling_state import Groups
from elastic_inference.aws.autoscaling_tracking import Tracker
from elastic_inference.aws.errors import AwsError
from elastic_inference.control import records
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import ScalingActivity, ScalingGroup, ScalingMember
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.fleet.base import ENDED, Health, Status

_log = logging.getLogger(__name__)
# Between two looks at groups: where something is on its way, and where nothing is.
_SOON, _SELDOM = 0.2, 5.0
_PURGE = 3600.0
_ENDING = (records.SHUTTING_DOWN, records.TERMINATED)

Launcher = Callable[[ControlPlane, ScalingGroup, ScalingActivity], Launched]


class _Tracker(Protocol):
    def track(self, group: ScalingGroup) -> None: ...


class Scaler:
    """One thread that looks after all groups.

    Args:
        launcher: launches the instance of an activity.
        tracker: changes what groups want by their metrics.
    """

    def __init__(
        self,
        plane: ControlPlane,
        *,
        launcher: Launcher = launch,
        tracker: _Tracker | None = None,
    ) -> None:
        self._plane = plane
        self._store = plane.store
        self._groups = Groups(plane)
        self._launch = launcher
        self._tracker = tracker or Tracker(plane)
        self._changed = threading.Condition()
        self._woken = self._closed = False
        # When accelerators ended by themselves, though they may serve again by now.
        self._died: dict[str, float] = {}
        self._next_purge = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look after groups; once or more."""
        with self._changed:
            if self._thread is not None or self._closed:
                return
            self._thread = threading.Thread(target=self._run, name="scaling", daemon=True)
            self._plane.fleet.watch(self._heard)
            self._plane.watch_ends(lambda _: self.wake())
            self._thread.start()

    def wake(self) -> None:
        """Look at all groups now: something has changed."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop; what was begun is ended or taken up by a later one. Once or more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def step(self) -> bool:
        """Look at each group once; whether something is on its way."""
        busy = False
        died = self._deaths()
        for group in self._store.scaling_groups.where():
            try:
                busy = self._look_after(group, died) or busy
            except ElasticInferenceError as error:
                _log.warning("The group %s is not looked after: %s", group.name, error)
            except Exception:  # noqa: BLE001 - the other groups are to be looked after all the same
                _log.exception("The group %s is not looked after", group.name)
        return busy

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                self._woken = False
            busy = self._guarded_step()
            with self._changed:
                if not (self._woken or self._closed):
                    self._changed.wait(_SOON if busy else _SELDOM)

    def _guarded_step(self) -> bool:
        try:
            busy = self.step()
            if time.monotonic() >= self._next_purge:
                self._next_purge = time.monotonic() + _PURGE
                with self._store.transaction(durable=False):
                    self._groups.activities.forget()
        except ElasticInferenceError as error:
            _log.warning("Groups are not looked after: %s", error)
            return False
        return busy

    def _look_after(self, group: ScalingGroup, died: Mapping[str, float]) -> bool:
        if not group.state.get("deleting"):
            self._tracker.track(group)
        if decide(self._groups.situation(group, died)):
            with self._store.transaction():
                # What others have changed meanwhile counts.
                now = self._store.scaling_groups.get(group.account, group.name)
                if now is None:
                    return False
                self._groups.apply(now, decide(self._groups.situation(now, died)))
        return self._go_on(group)

    def _go_on(self, group: ScalingGroup) -> bool:
        """Do what the store says is to be done; whether there is anything."""
        busy = False
        for activity in self._groups.activities.open(group):
            if activity.status == WAITING:
                busy = True
                self._launch_one(group, activity)
        for member in words.members(self._plane, group):
            busy = busy or member.lifecycle in {PENDING, TERMINATING}
            if member.lifecycle == TERMINATING:
                self._end_one(member)
        return busy

    def _launch_one(self, group: ScalingGroup, activity: ScalingActivity) -> None:
        now = self._store.scaling_groups.get(group.account, group.name)
        if now is None or now.state.get("deleting"):
            self._cancel(group, activity)
            return
        try:
            made = self._launch(self._plane, now, activity)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next launch waits
            self._note_failure(now, activity, error)
            return
        with self._store.transaction():
            self._add_member(now, activity, made)

    def _cancel(self, group: ScalingGroup, activity: ScalingActivity) -> None:
        """Launch nothing for a group that is being deleted; what was launched is to be ended."""
        made = launched(self._plane, group, activity)
        with self._store.transaction():
            if made is None:
                self._groups.activities.end(activity, CANCELLED, "The group is being deleted.")
            else:
                self._add_member(group, activity, made)

    def _note_failure(
        self, group: ScalingGroup, activity: ScalingActivity, error: Exception
    ) -> None:
        said = str(error) if isinstance(error, AwsError | ElasticInferenceError) else repr(error)
        # One line of the log, whatever a template names.
        text = "".join(each if each.isprintable() else " " for each in said)
        _log.warning("The group %s could not launch an instance: %s", group.name, text)
        with self._store.transaction():
            self._groups.activities.end(activity, FAILED, f"{text} Launching EC2 instance failed.")
            self._groups.failed(group)

    def _add_member(self, group: ScalingGroup, activity: ScalingActivity, made: Launched) -> None:
        instance = made.instance
        self._store.scaling_members.add(
            ScalingMember(
                instance_id=instance.id,
                account=group.account,
                group_name=group.name,
                lifecycle=PENDING,
                health="Healthy",
                protected=bool(group.settings.get("NewInstancesProtectedFromScaleIn")),
                template=made.template,
                created_at=instance.created_at,
            )
        )
        self._groups.activities.change(
            activity,
            status=STARTING, description=f"Launching a new EC2 instance: {instance.id}",
            details={**activity.details, "instance": instance.id, "subnet": instance.subnet_id},
        )  # fmt: skip

    def _end_one(self, member: ScalingMember) -> None:
        instance = self._store.instances.get(member.instance_id)
        # One that is on its way out is ended by who looks after instances.
        if instance is not None and instance.state not in _ENDING:
            self._plane.terminate(member.instance_id, wait=False)

    def _heard(self, accelerator_id: str, status: Status) -> None:
        if status.health is not Health.IMPAIRED:
            return
        with self._changed:
            if status.reason == ENDED:
                self._died[accelerator_id] = self._plane.clock.time()
        self.wake()

    def _deaths(self) -> dict[str, float]:
        """Those of late; what happened to others is over."""
        since = self._plane.clock.time() - IMPAIRED_FOR
        with self._changed:
            self._died = {each: at for each, at in self._died.items() if at >= since}
            return dict(self._died)


_scalers: dict[int, Scaler] = {}
_lock = threading.Lock()


def scaler_of(plane: ControlPlane) -> Scaler:
    """The one scaler of a control plane; see `close_scaler`."""
    with _lock:
        found = _scalers.get(id(plane))
        if found is None:
            found = _scalers[id(plane)] = Scaler(plane)
        return found


def close_scaler(plane: ControlPlane) -> None:
    """Close the scaler of a control plane, if it has one."""
    with _lock:
        found = _scalers.pop(id(plane), None)
    if found is not None:
        found.close()
