"""Who somebody is, and what they may do."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from elastic_inference.control import names, policy, records
from elastic_inference.control.clock import Clock
from elastic_inference.control.policy import Decision, Policy, Request
from elastic_inference.control.records import AccessKey, Instance, Role, User
from elastic_inference.control.session_quota import SessionQuota
from elastic_inference.control.store import Store
from elastic_inference.errors import AccessDeniedError, NotFoundError
from elastic_inference.protocol import sigv4
from elastic_inference.protocol.sigv4 import Fault, SignatureError

Context = Mapping[str, str | Sequence[str]]
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_LASTING = (records.OWNER, records.USER)
_ENDED = (records.SHUTTING_DOWN, records.TERMINATED)
# The service that takes roles for instances.
INSTANCES = "ec2.amazonaws.com"
# What the original's policies allow.
CONNECT = "elastic-inference:Connect"
_DAY = 86400.0
# A host's own key is for learning what it is, for validating that and for giving it up.
_OF_HOSTS = frozenset(
    {
        "elastic-inference:GetInstanceDocument",
        "elastic-inference:ValidateInstance",
        "elastic-inference:TerminateInstance",
    }
)

# The control API's own of what IAM does.
_OF_IDENTITIES = frozenset(
    f"elastic-inference:{each}"
    for each in (
        *("CreateUser", "DeleteUser", "ListUsers", "CreateRole", "DeleteRole", "ListRoles"),
        *("PutPolicy", "GetPolicy", "DeletePolicy", "ListPolicies", "AttachPolicy", "DetachPolicy"),
        *("CreateAccessKey", "UpdateAccessKey", "DeleteAccessKey", "ListAccessKeys"),
        *("PutIdentityMapping", "DeleteIdentityMapping", "ListIdentityMappings"),
    )
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a call.

    Attributes:
        arn: as policies name it.
        key: the access key that the call was signed with.
    """

    arn: str
    key: AccessKey

    @property
    def account(self) -> str:
        return self.key.account

    @property
    def instance_id(self) -> str | None:
        """The instance whose credentials these are; None for people and programs elsewhere."""
        return self.key.instance_id


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether a role may be taken.

    Attributes:
        by_name: it names the one who asks, not only the whole account: then that one needs no
            policy that allows it.
    """

    decision: Decision
    by_name: bool


class Access:
    """Checks signatures and policies, and makes credentials.

    Args:
        lifetime: seconds that an instance's credentials are valid.
    """

    def __init__(self, store: Store, clock: Clock, region: str, lifetime: float) -> None:
        self._store = store
        self._clock = clock
        self._region = region
        self._lifetime = lifetime
        self._sessions = SessionQuota()

    # -- who ------------------------------------------------------------------------------------

    def authenticate(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        service: str = sigv4.SERVICE,
        regions: Collection[str] | None = None,
    ) -> Principal:
        """Who signed a request, see `sigv4.verify`.

        Raises:
            AuthenticationError: nobody who is known, or the signature is not valid.
        """
        found: list[AccessKey] = []

        def secret_of(key_id: str) -> str | None:
            key = self._store.keys.get(key_id)
            if key is None:
                return None
            found.append(key)
            return key.secret

        sigv4.verify(
            method, target, headers, body, secret_of,
            service=service, regions=regions, now=self._clock.time(),
        )  # fmt: skip
        key = found[0]
        sent = [value for name, value in headers if name.lower() == "x-amz-security-token"]
        self._check_session(key, sent)
        self._check_active(key)
        return principal_of(key)

    def _check_session(self, key: AccessKey, sent: Sequence[str]) -> None:
        expected = key.session_token
        given = sent[0] if len(sent) == 1 else ""
        if not hmac.compare_digest((expected or "").encode(), given.encode("utf-8", "replace")):
            raise SignatureError.of(
                Fault.TOKEN,
                "Unable to authenticate: the session token does not belong to the access key.",
                "Send the credentials' session token (X-Amz-Security-Token) with them.",
            )

    def _check_active(self, key: AccessKey) -> None:
        if key.status != records.ACTIVE:
            raise SignatureError.of(
                Fault.INACTIVE,
                f"Unable to authenticate: the access key {key.id} is disabled.",
                "Enable it (ei access key enable), or use another.",
            )
        if key.expires_at is not None and key.expires_at <= self._clock.time():
            raise SignatureError.of(
                Fault.EXPIRED,
                f"Unable to authenticate: the credentials {key.id} have expired.",
                "Get new ones; an instance's metadata service always has some.",
            )

    # -- what -----------------------------------------------------------------------------------

    def decide(
        self,
        principal: Principal,
        action: str,
        resource: str,
        context: Context,
        policies: Sequence[Policy] | None = None,
    ) -> Decision | None:
        """What the policies of a principal say; None where it needs none.

        Args:
            policies: the principal's, where they are known; else they are read.
        """
        key = principal.key
        if _is_barred(key, action):
            return Decision(allowed=False, explicit_deny=False, statement="")
        if key.kind == records.OWNER:
            return None
        if key.kind == records.REGISTERED:
            return Decision(allowed=action in _OF_HOSTS, explicit_deny=False, statement="")
        own = self.policies(key) if policies is None else policies
        request = Request(
            principal_arn=principal.arn,
            action=action,
            resource=resource,
            context=self._context(principal) | self._looked_up(key, own) | dict(context),
        )
        return policy.evaluate(own, request)

    def authorise(
        self,
        principal: Principal,
        action: str,
        resource: str = "*",
        context: Context | None = None,
        policies: Sequence[Policy] | None = None,
    ) -> None:
        """Refuse what a principal may not do.

        Raises:
            AccessDeniedError: naming the action, and what denies it.
        """
        if _is_barred(principal.key, action):
            raise AccessDeniedError(
                f"Access denied: credentials of GetSessionToken may not do {action}.",
                next_step="Use the lasting keys that they came of, or assume a role.",
            )
        decision = self.decide(principal, action, resource, context or {}, policies)
        if decision is None or decision.allowed:
            return
        what = "Unable to authenticate with accelerator" if action == CONNECT else "Access denied"
        why = f"{decision.statement} denies it" if decision.explicit_deny else "no policy allows it"
        raise AccessDeniedError(
            f"{what}: {principal.arn} may not do {action} on {resource}, since {why}.",
            next_step=f"Allow it with a policy for {_of(principal)} that has the Action {action}"
            " (ei access policy put, ei access attach).",
        )

    def authorise_pass(self, principal: Principal, role: str, context: Context) -> None:
        """Refuse who may not give a role to instances (iam:PassRole).

        Raises:
            AccessDeniedError: no policy lets the principal pass it.
        """
        self.authorise(
            principal,
            "iam:PassRole",
            names.role_arn(principal.account, role),
            {**context, "iam:PassedToService": INSTANCES},
        )

    def policies(self, key: AccessKey) -> list[Policy]:
        """Those that the user or role of a key has; none where it is of neither."""
        if key.kind not in {records.ROLE, records.USER}:
            return []
        found = self._store.documents_of(key.account, key.kind, key.name)
        return [_parsed(name, text) for name, text in found]

    def trust(self, principal: Principal, role: Role, context: Context) -> Trust:
        """What a role's trust policy says of a principal that wants to take it."""
        trusting = _trusting(role)
        request = Request(
            principal_arn=principal.arn,
            action="sts:AssumeRole",
            resource="*",
            context=self._context(principal) | self._recorded(principal.key) | dict(context),
        )
        decision = policy.evaluate([trusting], request)
        direct = replace(
            trusting,
            statements=tuple(
                each
                for each in trusting.statements
                if each.principals is not None and each.principals.name(principal.arn)
            ),
        )
        return Trust(decision, by_name=policy.evaluate([direct], request).allowed)

    @staticmethod
    def trusts_instances(role: Role) -> bool:
        """Whether instances may have a role."""
        asked = Request(principal_arn=INSTANCES, action="sts:AssumeRole", resource="*")
        return policy.evaluate([_trusting(role)], asked).allowed

    def _looked_up(self, key: AccessKey, policies: Sequence[Policy]) -> dict[str, str]:
        """What has to be looked up, and is where a policy asks for it."""
        return self._recorded(key) if any(_asks_for_records(each.text) for each in policies) else {}

    def _recorded(self, key: AccessKey) -> dict[str, str]:
        """The id and the tags of a user or role."""
        found: User | Role | None = None
        if key.kind == records.ROLE:
            found = self._store.roles.get(key.account, key.name)
        elif key.kind == records.USER:
            found = self._store.users.get(key.account, key.name)
        if found is None:
            return {"aws:userid": key.account} if key.kind == records.OWNER else {}
        own_id = found.id if key.kind == records.USER else f"{found.id}:{key.session}"
        tags = {f"aws:PrincipalTag/{name}": value for name, value in found.tags.items()}
        return {**tags, "aws:userid": own_id}

    def _context(self, principal: Principal) -> dict[str, str | Sequence[str]]:
        key, now = principal.key, self._clock.time()
        context: dict[str, str | Sequence[str]] = {
            "aws:PrincipalArn": principal.arn,
            "aws:PrincipalAccount": key.account,
            "aws:PrincipalType": "User" if key.kind == records.USER else "AssumedRole",
            "aws:CurrentTime": _iso(now),
            "aws:EpochTime": str(int(now)),
            "aws:SecureTransport": "true",
            "aws:RequestedRegion": self._region,
        }
        if key.kind == records.USER:
            context["aws:username"] = key.name
        if key.session_token is not None:
            context["aws:TokenIssueTime"] = _iso(key.created_at)
            context["aws:MultiFactorAuthPresent"] = "false"
        if key.instance_id:
            context["ec2:SourceInstanceARN"] = names.instance_arn(
                self._region, key.account, key.instance_id
            )
        return context

    # -- credentials ------------------------------------------------------------------------------

    def add_owner(self, account: str) -> AccessKey:
        """The account's own key, which may do everything."""
        return self._add(kind=records.OWNER, account=account, prefix="EIAK")

    def add_user_key(self, account: str, user: str) -> AccessKey:
        """A lasting key of a user."""
        return self._add(kind=records.USER, account=account, name=user, prefix="EIAK")

    def add_host_key(self, instance: Instance) -> AccessKey:
        """A registered host's own key, by which it learns what it is."""
        return self._add(
            kind=records.REGISTERED,
            account=instance.account,
            instance_id=instance.id,
            prefix="EIHK",
        )

    def session_of(self, instance: Instance) -> AccessKey | None:
        """An instance's credentials, which are renewed well before they expire.

        None where its role is gone, trusts no instances or there is none, or where the instance
        has ended.
        """
        role = instance.role_name and self._store.roles.get(instance.account, instance.role_name)
        if not role or not self.trusts_instances(role):
            return None
        columns, now = self._store.keys.columns, self._clock.time()
        latest = self._store.keys.first(
            columns.instance_id == instance.id,
            columns.kind == records.ROLE,
            columns.name == instance.role_name,
            columns.expires_at > now + self._lifetime / 2,
            order=(columns.expires_at.desc(),),
        )
        if latest is not None:
            return latest
        with self._store.transaction():
            # With its end its credentials were removed, and no others may come after that.
            found = self._store.instances.get(instance.id)
            if found is None or found.state in _ENDED:
                return None
            return self.add_session(
                instance.account, instance.role_name, instance.id, self._lifetime, instance.id
            )

    def add_session(
        self,
        account: str,
        role: str,
        name: str,
        lifetime: float,
        instance_id: str | None = None,
        *,
        taker: Principal | None = None,
    ) -> AccessKey:
        """Credentials of a role for a time.

        Args:
            taker: who takes the role, of whom it is counted.

        Raises:
            LimitExceededError: the taker has too many credentials for a time already.
            NotFoundError: there is no such role.
        """
        if self._store.roles.get(account, role) is None:
            raise NotFoundError(
                f"There is no role {role[:64]!r}.", next_step="ei access role list shows them."
            )
        if taker is not None:
            self._sessions.count(taker.key, self._clock.time(), lifetime)
        return self._add(
            kind=records.ROLE,
            account=account,
            name=role,
            session=name,
            session_token=secrets.token_urlsafe(48),
            instance_id=instance_id,
            expires_at=self._clock.time() + lifetime,
            prefix="EISK",
        )

    def add_token(self, key: AccessKey, lifetime: float) -> AccessKey:
        """Credentials for a time of whom a lasting key is of.

        Raises:
            AccessDeniedError: the key is no lasting one of the owner or a user.
            LimitExceededError: whose it is has too many of them already.
        """
        if key.session_token is not None or key.kind not in _LASTING:
            raise AccessDeniedError(
                "Cannot call GetSessionToken with session credentials.",
                next_step="Use the keys of a user, or assume a role.",
            )
        self._sessions.count(key, self._clock.time(), lifetime)
        return self._add(
            kind=key.kind,
            account=key.account,
            name=key.name,
            session_token=secrets.token_urlsafe(48),
            expires_at=self._clock.time() + lifetime,
            prefix="EISK",
        )

    def forget_expired(self) -> None:
        """Drop credentials and join tokens that were valid once."""
        now = self._clock.time()
        with self._store.transaction(durable=False):
            self._store.keys.remove(self._store.keys.columns.expires_at < now)
            self._store.join_tokens.remove(self._store.join_tokens.columns.expires_at < now - _DAY)

    def _add(self, *, prefix: str, **fields: object) -> AccessKey:
        key = AccessKey(
            id=prefix + "".join(secrets.choice(_ALPHABET) for _ in range(16)),
            secret=secrets.token_urlsafe(30),
            created_at=self._clock.time(),
            **fields,  # type: ignore[arg-type]  # the fields of each of the callers above
        )
        self._store.keys.add(key)
        return key


def principal_of(key: AccessKey) -> Principal:
    """The principal that an access key stands for."""
    if key.kind == records.USER:
        arn = names.user_arn(key.account, key.name)
    elif key.kind == records.ROLE:
        arn = names.session_arn(key.account, key.name, key.session or "")
    elif key.kind == records.REGISTERED:
        arn = names.session_arn(key.account, "registered-host", key.instance_id or "")
    else:
        arn = names.owner_arn(key.account)
    return Principal(arn, key)


@lru_cache(maxsize=1024)
def _parsed(name: str, text: str, *, trust: bool = False) -> Policy:
    return policy.parse(text, name=name, trust=trust)


def _is_barred(key: AccessKey, action: str) -> bool:
    """Whether credentials of GetSessionToken are refused an action whatever policies say."""
    if key.session_token is None or key.kind not in _LASTING:
        return False
    return (
        action.startswith("iam:")
        or action in _OF_IDENTITIES
        or (action.startswith("sts:") and action not in {"sts:AssumeRole", "sts:GetCallerIdentity"})
    )


@lru_cache(maxsize=1024)
def _asks_for_records(text: str) -> bool:
    lowered = text.lower()
    return "aws:principaltag/" in lowered or "aws:userid" in lowered


def _trusting(role: Role) -> Policy:
    return _parsed(f"{role.name}'s trust policy", role.trust_policy, trust=True)


def _of(principal: Principal) -> str:
    key = principal.key
    return f"the role {key.name}" if key.kind == records.ROLE else f"the user {key.name}"


def _iso(now: float) -> str:
    import datetime as dt  # noqa: PLC0415 - of no use to who is not asked for policies

    return dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
