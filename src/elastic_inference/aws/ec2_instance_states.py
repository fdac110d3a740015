"""Starting, stopping, rebooting and terminating instances, and how they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.ec2_instance_documents import STATE_CODES, state
from elastic_inference.aws.ec2_owned import arns, changed, owned, state_errors
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.filters import Reader, select
from elastic_inference.aws.pages import page
from elastic_inference.control import records
from elastic_inference.control.instance_documents import REFRESH
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Instance

# A registered host that was not heard of for so many of its refreshes is not well.
_MISSED = 6
_STARTED = (records.STOPPED, records.PENDING, records.RUNNING)
_STOPPED = (records.RUNNING, records.STOPPING, records.STOPPED)


class InstanceStates:
    """Changes and tells the states of instances."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        named = arns(plane)
        self.operations: Operations = {
            "StartInstances": operation(self._start, "InstanceIds", resources=named),
            "StopInstances": operation(self._stop, "InstanceIds Force", resources=named),
            "RebootInstances": operation(self._reboot, "InstanceIds", resources=named),
            "TerminateInstances": operation(self._terminate, "InstanceIds Force", resources=named),
            "DescribeInstanceStatus": operation(
                self._status, "InstanceIds Filters IncludeAllInstances MaxResults NextToken"
            ),
        }

    def _start(self, call: Call) -> Document:
        found = self._named(call)
        _check_states(found, _STARTED, "started")
        return {"StartingInstances": _change(found, self._plane.start_instance)}

    def _stop(self, call: Call) -> Document:
        found = self._named(call)
        _check_protection(found, "DisableApiStop", "stopped")
        _check_states(found, _STOPPED, "stopped")
        return {"StoppingInstances": _change(found, self._plane.stop_instance)}

    def _terminate(self, call: Call) -> Document:
        found = self._named(call)
        _check_protection(found, "DisableApiTermination", "terminated")
        return {"TerminatingInstances": _change(found, self._plane.terminate)}

    def _reboot(self, call: Call) -> Document:
        found = self._named(call)
        _check_states(found, (records.RUNNING,), "rebooted")
        for each in found:
            with state_errors():
                self._plane.reboot_instance(each.id)
        return {}

    def _named(self, call: Call) -> Sequence[Instance]:
        return owned(self._plane, call.account, call.input["InstanceIds"])

    def _status(self, call: Call) -> Document:
        columns = self._plane.store.instances.columns
        if call.input.get("InstanceIds"):
            found = owned(self._plane, call.account, call.input["InstanceIds"])
        else:
            found = self._plane.store.instances.where(columns.account == call.account)
        if not call.input.get("IncludeAllInstances"):
            found = [each for each in found if each.state == records.RUNNING]
        readers: Mapping[str, Reader[Instance]] = {
            "availability-zone": lambda _: self._plane.network.zone,
            "instance-state-code": lambda each: str(STATE_CODES[each.state]),
            "instance-state-name": lambda each: each.state,
            "instance-status.reachability": lambda each: self._health(each)[1],
            "instance-status.status": lambda each: self._health(each)[0],
            "system-status.reachability": lambda each: self._health(each)[1],
            "system-status.status": lambda each: self._health(each)[0],
        }
        found = select(found, call, readers)
        shown, more = page(found, call, lambda each: (each.created_at, each.id))
        return {"InstanceStatuses": [self._one(each) for each in shown], "NextToken": more}

    def _one(self, instance: Instance) -> Document:
        status, reachability = self._health(instance)
        details = [{"Name": "reachability", "Status": reachability}] if reachability else []
        summary = {"Status": status, "Details": details}
        return {
            "AvailabilityZone": self._plane.network.zone,
            "Events": [],
            "InstanceId": instance.id,
            "InstanceState": state(instance.state),
            "InstanceStatus": summary,
            "SystemStatus": summary,
        }

    def _health(self, instance: Instance) -> tuple[str, str | None]:
        """The status of an instance and of its reachability."""
        if instance.state == records.PENDING:
            return "initializing", "initializing"
        if instance.state != records.RUNNING:
            return "not-applicable", None
        seen = instance.seen_at
        if seen is not None and self._plane.clock.time() - seen > _MISSED * REFRESH:
            return "impaired", "failed"
        return "ok", "passed"


def _change(
    instances: Sequence[Instance], change: Callable[..., tuple[str, Instance]]
) -> Sequence[Document]:
    """Begin a change of each instance; it goes on in the background."""
    found = []
    for each in instances:
        with state_errors():
            found.append(changed(*change(each.id, wait=False)))
    return found


def _check_states(instances: Sequence[Instance], states: Sequence[str], what: str) -> None:
    """Refuse all of them where one is in another state, before the others are changed."""
    for each in instances:
        if each.state not in states:
            raise AwsError(
                "IncorrectInstanceState",
                f"The instance '{each.id}' is {each.state}, from which it cannot be {what}.",
            )


def _check_protection(instances: Sequence[Instance], attribute: str, what: str) -> None:
    for each in instances:
        if each.ec2.get(attribute):
            name = attribute[0].lower() + attribute[1:]
            raise AwsError(
                "OperationNotPermitted",
                f"The instance '{each.id}' may not be {what}. Modify its '{name}' instance"
                " attribute and try again.",
            )
