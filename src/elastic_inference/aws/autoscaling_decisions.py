"""What an Auto Scaling group needs: its members and how they are in, what to do out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from elastic_inference.control import records
from elastic_inference.control.records import ScalingGroup, ScalingMember

# What a member goes through, in the API's words.
PENDING = "Pending"
IN_SERVICE = "InService"
TERMINATING = "Terminating"
STANDBY = "Standby"
HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"

# Processes of a group that can be suspended and that there are here.
LAUNCH = "Launch"
TERMINATE = "Terminate"
HEALTH_CHECK = "HealthCheck"
REPLACE = "ReplaceUnhealthy"
ALARM = "AlarmNotification"

# An accelerator that does not answer for so long is not expected to recover.
IMPAIRED_FOR = 60.0
_UP = (records.PENDING, records.RUNNING)
# Launches that have no instance yet, of one group at one time.
_MOST_LAUNCHES = 100


@dataclass(frozen=True, slots=True)
class Condition:
    """How the instance of a member is.

    Attributes:
        state: the instance's; "" where there is none any more.
        reason: why it is in that state, if that is known.
        subnet_id: where it is.
        running_since: when it came up; None: it has not.
        impaired_since: when the first of its accelerators that are impaired became so.
        died_at: when one of its accelerators ended by itself; it may serve again since.
    """

    state: str = ""
    reason: str = ""
    subnet_id: str = ""
    running_since: float | None = None
    impaired_since: float | None = None
    died_at: float | None = None


GONE = Condition()


@dataclass(frozen=True, slots=True)
class Launch:
    """Launch one instance more."""

    subnet_id: str
    cause: str


@dataclass(frozen=True, slots=True)
class Enter:
    """A pending member is in service."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Fail:
    """A pending member will not come into service."""

    instance_id: str
    message: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A member is unhealthy, and stays."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class End:
    """End a member: it is unhealthy, too old, or one too many."""

    instance_id: str
    cause: str
    unhealthy: bool = False


@dataclass(frozen=True, slots=True)
class Forget:
    """A member has ended."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Remove:
    """The group that was to be deleted has no members any more."""


Action = Launch | Enter | Fail | Mark | End | Forget | Remove


@dataclass(frozen=True, slots=True)
class Situation:
    """A group as it is now.

    Attributes:
        conditions: of its members' instances, by id.
        launching: the subnets of launches that have no instance yet.
        now: Unix seconds.
    """

    group: ScalingGroup
    members: Sequence[ScalingMember]
    conditions: Mapping[str, Condition]
    launching: Sequence[str]
    now: float

    def condition(self, member: ScalingMember) -> Condition:
        return self.conditions.get(member.instance_id, GONE)

    def suspends(self, process: str) -> bool:
        return process in self.group.state.get("suspended", {})


def decide(situation: Situation) -> list[Action]:
    """What to do now; nothing where the group is as it is wanted."""
    if situation.group.state.get("deleting"):
        return _delete(situation)
    actions: list[Action] = []
    staying: list[ScalingMember] = []
    for member in situation.members:
        found = _follow(member, situation)
        if found is not None:
            actions.append(found)
        if found is None or isinstance(found, Enter | Mark):
            staying.append(member)
    # One that is on its way out is none of the group's any more; standby ones are not counted.
    counted = [each for each in staying if each.lifecycle in {PENDING, IN_SERVICE}]
    actions += _replace_old(situation, counted, actions)
    leaving = {each.instance_id for each in actions if isinstance(each, End)}
    counted = [each for each in counted if each.instance_id not in leaving]
    if any(isinstance(each, Fail) for each in actions):
        # What failed just now is tried again after a while.
        return actions
    return actions + _size(situation, counted, bool(leaving))


def _follow(member: ScalingMember, situation: Situation) -> Action | None:
    """What becomes of a member by itself."""
    condition = situation.condition(member)
    if member.lifecycle == TERMINATING:
        return Forget(member.instance_id) if _is_over(condition) else None
    if member.lifecycle == PENDING:
        return _enter(member, condition)
    if member.lifecycle == STANDBY:
        return Forget(member.instance_id) if _is_over(condition) else None
    cause = _unhealthy(member, condition, situation)
    if not cause:
        return None
    if situation.suspends(REPLACE) or situation.suspends(TERMINATE):
        return Mark(member.instance_id) if member.health == HEALTHY else None
    return End(member.instance_id, cause, unhealthy=True)


def _is_over(condition: Condition) -> bool:
    return condition.state in {"", records.TERMINATED}


def _enter(member: ScalingMember, condition: Condition) -> Action | None:
    if condition.state == records.RUNNING:
        return Enter(member.instance_id)
    if condition.state == records.PENDING:
        return None
    return Fail(member.instance_id, condition.reason or "The instance ended while it started.")


def _unhealthy(member: ScalingMember, condition: Condition, situation: Situation) -> str:
    """Why a member in service is unhealthy; "" where it is not."""
    when = f"At {stamp(situation.now)} an instance was taken out of service in response to"
    if member.health == UNHEALTHY:
        return f"{when} a user health-check."
    if situation.suspends(HEALTH_CHECK):
        return ""
    if condition.state not in _UP:
        return (
            f"{when} an EC2 health check indicating it has been terminated or stopped."
            f"{_because(condition.reason)}"
        )
    grace = float(situation.group.settings.get("HealthCheckGracePeriod", 0))
    since = (condition.running_since or member.created_at) + grace
    trouble = _trouble(condition, since, situation.now)
    return f"{when} an EC2 instance status checks failure: {trouble}." if trouble else ""


def _trouble(condition: Condition, since: float, now: float) -> str:
    """What is wrong with a member's accelerators, looked at from a time on."""
    if now < since:
        return ""
    if condition.died_at is not None and condition.died_at >= since:
        return "its accelerator has ended"
    impaired = condition.impaired_since
    if impaired is not None and now >= impaired + IMPAIRED_FOR:
        return "its accelerator is impaired"
    return ""


def _because(reason: str) -> str:
    return f" {reason}" if reason else ""


def _replace_old(
    situation: Situation, counted: Sequence[ScalingMember], actions: Sequence[Action]
) -> list[Action]:
    """One after the other, so that the group never loses several at one time for that."""
    lifetime = situation.group.settings.get("MaxInstanceLifetime", 0)
    busy = any(each.lifecycle != IN_SERVICE for each in situation.members)
    if not lifetime or busy or actions or situation.suspends(TERMINATE):
        return []
    old = [each for each in counted if situation.now >= each.created_at + lifetime]
    return [
        End(
            each.instance_id,
            f"At {stamp(situation.now)} an instance was taken out of service in response to"
            " a maximum instance lifetime being reached.",
        )
        for each in sorted(old, key=lambda each: each.created_at)[:1]
    ]


def _size(situation: Situation, counted: Sequence[ScalingMember], replacing: bool) -> list[Action]:
    group, now = situation.group, situation.now
    have = len(counted) + len(situation.launching)
    if have < group.desired:
        if situation.suspends(LAUNCH) or now < group.state.get("retry_at", 0.0):
            return []
        why = (
            "an unhealthy instance needing to be replaced"
            if replacing or any(each.lifecycle == TERMINATING for each in situation.members)
            else "a difference between desired and actual capacity, increasing the capacity"
            f" from {have} to {group.desired}"
        )
        cause = f"{_prefix(group)}At {stamp(now)} an instance was launched in response to {why}."
        # More are decided on when these have instances, so that no number is too large.
        room = max(0, _MOST_LAUNCHES - len(situation.launching))
        places = _spread(situation, counted, min(group.desired - have, room))
        return [Launch(place, cause) for place in places]
    if have > group.desired and not situation.suspends(TERMINATE):
        cause = (
            f"{_prefix(group)}At {stamp(now)} an instance was taken out of service in response to"
            " a difference between desired and actual capacity, shrinking the capacity"
            f" from {have} to {group.desired}."
        )
        return [
            End(each.instance_id, f"{cause}  Instance {each.instance_id} was selected.")
            for each in _victims(situation, counted)[: have - group.desired]
        ]
    return []


def _prefix(group: ScalingGroup) -> str:
    said = group.state.get("cause", "")
    return f"{said}  " if said else ""


def _spread(situation: Situation, counted: Sequence[ScalingMember], number: int) -> list[str]:
    """Subnets for so many launches: each time the one with the fewest."""
    subnets = subnets_of(situation.group)
    have = dict.fromkeys(subnets, 0)
    for place in (
        *situation.launching,
        *(situation.condition(member).subnet_id for member in counted),
    ):
        if place in have:
            have[place] += 1
    chosen = []
    for _ in range(number):
        place = min(subnets, key=lambda each: have[each]) if subnets else ""
        chosen.append(place)
        if place:
            have[place] += 1
    return chosen


def subnets_of(group: ScalingGroup) -> list[str]:
    """The subnets that a group names; none where its template says where."""
    return subnets_in(group.settings.get("VPCZoneIdentifier", ""))


def subnets_in(given: str) -> list[str]:
    """The subnets that a VPCZoneIdentifier names."""
    return [each.strip() for each in given.split(",") if each.strip()]


def _victims(situation: Situation, counted: Sequence[ScalingMember]) -> list[ScalingMember]:
    """Who may be ended, first who is ended first."""
    group = situation.group
    current = group.settings.get("LaunchTemplate", {}).get("LaunchTemplateId", "")
    found = sorted(
        (each for each in counted if not each.protected),
        key=lambda each: (each.created_at, each.instance_id),
    )
    # The last policy decides between those that the ones before it leave.
    for policy in reversed(group.settings.get("TerminationPolicies") or ["Default"]):
        if policy == "NewestInstance":
            found.sort(key=lambda each: -each.created_at)
        elif policy == "OldestInstance":
            found.sort(key=lambda each: each.created_at)
        else:
            found.sort(key=lambda each: _age_of_template(each, current))
    return found


def _age_of_template(member: ScalingMember, current: str) -> tuple[bool, int]:
    of = member.template
    return of.get("LaunchTemplateId") == current, int(of.get("Version") or 0)


def _delete(situation: Situation) -> list[Action]:
    actions: list[Action] = []
    left = False
    for member in situation.members:
        if _is_over(situation.condition(member)):
            actions.append(Forget(member.instance_id))
            continue
        left = True
        if member.lifecycle != TERMINATING:
            when = stamp(situation.now)
            cause = f"At {when} a user request deleted the group {situation.group.name}."
            actions.append(End(member.instance_id, cause))
    if not left and not situation.launching:
        actions.append(Remove())
    return actions


def stamp(seconds: float) -> str:
    """A time as the causes of activities say it."""
    import datetime as dt  # noqa: PLC0415 - most passes have nothing to say

    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
