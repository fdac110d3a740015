"""Rights to connect: given by Connect, referred to by tokens, withdrawn when they hold no more."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from elastic_inference.control import names, policy, records
from elastic_inference.control.access import CONNECT, Access, Context, Principal, principal_of
from elastic_inference.control.clock import Clock
from elastic_inference.control.network import MAX_ENDPOINT_POLICY, Network
from elastic_inference.control.orders import Orders
from elastic_inference.control.policy import Policy
from elastic_inference.control.records import Accelerator, AccessKey, Instance, Nonce, Right
from elastic_inference.control.store import Store
from elastic_inference.errors import (
    AccessDeniedError,
    AuthenticationError,
    ConflictError,
    ElasticInferenceError,
    InvalidRequestError,
    NotFoundError,
)
from elastic_inference.fleet.base import Fleet
from elastic_inference.protocol import sigv4, tokens
from elastic_inference.settings import PoolSettings

_log = logging.getLogger(__name__)
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass(frozen=True, slots=True)
class Granted:
    """What Connect gives: a token for an accelerator's data plane until `expires` (Unix time)."""

    accelerator: Accelerator
    token: str
    expires: float


class Connections:
    """Gives and withdraws rights."""

    def __init__(
        self,
        store: Store,
        access: Access,
        network: Network,
        orders: Orders,
        fleet: Fleet,
        settings: PoolSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._access = access
        self._network = network
        self._orders = orders
        self._fleet = fleet
        self._settings = settings
        self._clock = clock

    def connect(
        self,
        principal: Principal,
        accelerator: Accelerator,
        *,
        nonce: str,
        context: Context | None = None,
        lifetime: float | None = None,
    ) -> Granted:
        """A token for an accelerator, bound to this right to connect.

        Args:
            nonce: the request's own, which is used once.
            context: what else policies may ask about the request.
            lifetime: seconds that the token is valid; None for the usual time.

        Raises:
            InvalidRequestError: the lifetime is longer than a token's may be.
            AuthenticationError: the nonce is missing, or was used.
            AccessDeniedError: a policy, the network's rules, or another instance's accelerator.
        """
        longest = self._settings.max_token_lifetime
        if lifetime is not None and not 0 < lifetime <= longest:
            raise InvalidRequestError(
                f"A token may be valid for up to {longest:.0f} s, not {lifetime:.0f} s.",
                next_step="Ask for less, or raise EI_MAX_TOKEN_LIFETIME where ei up runs.",
            )
        expires = self._clock.time() + (lifetime or self._settings.token_lifetime)
        # What takes rights away is a transaction too: it comes before this, or finds the right.
        with self._store.transaction(durable=False):
            self._check(principal, accelerator, context or {}, _Single(self._store, self._access))
            self._use(nonce)
            right = self._right(principal, accelerator, expires, context or {})
        claims = tokens.Claims(
            accelerator.id,
            principal.instance_id or principal.key.kind,
            accelerator.account,
            expires,
            right,
        )
        return Granted(accelerator, tokens.mint(accelerator.token_key, claims), expires)

    def own_token(self, accelerator: Accelerator) -> str:
        """A token for the control plane's own questions."""
        expires = self._clock.time() + self._settings.token_lifetime
        claims = tokens.Claims(accelerator.id, "control", accelerator.account, expires, "")
        return tokens.mint(accelerator.token_key, claims)

    @contextlib.contextmanager
    def rechecked(self) -> Iterator[None]:
        """A transaction that may take rights away: what does not hold after it is withdrawn."""
        try:
            with self._store.transaction():
                yield
                with self._network.anew():
                    withdrawn = self._withdraw()
        finally:
            # What others read of it meanwhile is what it was before, or was not kept.
            self._network.changed()
        self.tell(withdrawn)

    def withdraw_all(self, accelerator_ids: Sequence[str]) -> None:
        """In a transaction: nobody may connect to these any more, which are about to end."""
        columns = self._store.rights.columns
        self._store.rights.change(columns.accelerator_id.in_(accelerator_ids), revoked=True)

    def tell(self, accelerator_ids: set[str]) -> None:
        """Let accelerators know which rights were withdrawn."""
        for each in accelerator_ids:
            accelerator = self._store.accelerators.get(each)
            if accelerator is None:
                continue
            try:
                self._fleet.revoke(self._orders.order(accelerator))
            except ElasticInferenceError as error:
                # It learns of it when it is started or adopted.
                _log.warning("%s cannot be told what was withdrawn: %s", each, error)

    def forget_expired(self) -> None:
        """Drop what no token and no signature can refer to any more."""
        now = self._clock.time()
        with self._store.transaction(durable=False):
            self._store.rights.remove(self._store.rights.columns.expires_at < now)
            self._store.nonces.remove(self._store.nonces.columns.expires_at < now)

    def _check(
        self, principal: Principal, accelerator: Accelerator, context: Context, known: _Known
    ) -> None:
        arn = names.accelerator_arn(self._settings.region, accelerator.account, accelerator.id)
        about = {
            "elastic-inference:AcceleratorType": accelerator.type,
            **{f"aws:ResourceTag/{key}": value for key, value in accelerator.tags.items()},
            **context,
        }
        if principal.account != accelerator.account:
            raise NotFoundError(f"There is no accelerator {accelerator.id!r}.")
        try:
            policies = known.policies(principal.key)
            self._access.authorise(principal, CONNECT, arn, about, policies)
            if principal.instance_id not in {None, accelerator.instance_id}:
                raise AccessDeniedError(
                    "Unable to authenticate with accelerator: it belongs to another instance.",
                    next_step="Use the credentials of the instance that it is attached to.",
                )
            if principal.instance_id is not None:
                instance = self._check_instance(principal.instance_id, known)
                self.check_endpoint(principal, instance, arn, about)
        except AccessDeniedError as error:
            raise error.with_context(accelerator_id=accelerator.id) from None

    def check_endpoint(
        self, principal: Principal, instance: Instance, arn: str, context: Context
    ) -> None:
        """Refuse what no policy of an endpoint that an instance reaches lets through.

        Raises:
            AccessDeniedError: naming the endpoints.
        """
        texts = self._network.policies(instance)
        if texts is None:
            return
        for endpoint_id, text in texts.items():
            policies = [_parsed_of_endpoint(endpoint_id, text)]
            decision = self._access.decide(principal, CONNECT, arn, context, policies)
            if decision is None or decision.allowed:
                return
        names_of = ", ".join(texts)
        raise AccessDeniedError(
            f"Unable to authenticate with accelerator: the policy of the endpoint {names_of} does"
            f" not let {principal.arn} do {CONNECT} on {arn}.",
            next_step="Allow it there (aws ec2 modify-vpc-endpoint --vpc-endpoint-id"
            f" {next(iter(texts), 'ID')} --reset-policy lifts all that it forbids).",
        )

    def _check_instance(self, instance_id: str, known: _Known) -> Instance:
        instance = known.instance(instance_id)
        if instance is None or instance.state != records.RUNNING:
            state = "gone" if instance is None else instance.state
            raise AccessDeniedError(
                f"Unable to authenticate with accelerator: the instance {instance_id} is {state}.",
                next_step="Start it again (ei start).",
            )
        obstacles = [each for each in self._network.obstacles(instance) if each.blocking]
        if obstacles:
            raise AccessDeniedError(
                "Unable to authenticate with accelerator: "
                + "; ".join(each.message.rstrip(".") for each in obstacles)
                + ".",
                next_step=" ".join(each.fix for each in obstacles),
            )
        return instance

    def _use(self, nonce: str) -> None:
        if not _NONCE.fullmatch(nonce):
            raise AuthenticationError(
                "Unable to authenticate with accelerator: Connect needs a nonce of its own.",
                next_step="Send the signed header X-Amz-Ei-Nonce with 16 to 64 random letters"
                " and digits.",
            )
        try:
            # As long as a signature may be old or ahead of this clock.
            expires = self._clock.time() + 2 * sigv4.MAX_SKEW
            self._store.nonces.add(Nonce(id=nonce, expires_at=expires))
        except ConflictError:
            raise AuthenticationError(
                "Unable to authenticate with accelerator: this signed request was used before.",
                next_step="Sign a new one, with a new X-Amz-Ei-Nonce.",
            ) from None

    def _right(
        self, principal: Principal, accelerator: Accelerator, expires: float, context: Context
    ) -> str:
        columns = self._store.rights.columns
        known = self._store.rights.first(
            columns.accelerator_id == accelerator.id,
            columns.access_key_id == principal.key.id,
            ~columns.revoked,
        )
        if known is None:
            known = Right(
                id=secrets.token_hex(8),
                accelerator_id=accelerator.id,
                access_key_id=principal.key.id,
                principal=principal.arn,
                context=context,
                expires_at=expires,
                revoked=False,
            )
            self._store.rights.add(known)
        elif expires > known.expires_at:
            self._store.rights.change(columns.id == known.id, expires_at=expires)
        return known.id

    def _withdraw(self) -> set[str]:
        """Mark the rights that do not hold any more; the accelerators that they were for."""
        columns = self._store.rights.columns
        live = self._store.rights.where(~columns.revoked, columns.expires_at > self._clock.time())
        known = _All(self._store, self._access) if live else None
        gone = [each for each in live if known is not None and not self._still_holds(each, known)]
        for right in gone:
            self._store.rights.change(columns.id == right.id, revoked=True)
        return {each.accelerator_id for each in gone}

    def _still_holds(self, right: Right, known: _All) -> bool:
        key = known.keys.get(right.access_key_id)
        accelerator = known.accelerators.get(right.accelerator_id)
        if accelerator is None:
            # With it every token for it has ended.
            return True
        if key is None or key.status != records.ACTIVE:
            return False
        try:
            self._check(principal_of(key), accelerator, right.context, known)
        except (AccessDeniedError, NotFoundError):
            return False
        return True


@lru_cache(maxsize=256)
def _parsed_of_endpoint(endpoint_id: str, text: str) -> Policy:
    return policy.parse(text, name=endpoint_id, of_thing=True, limit=MAX_ENDPOINT_POLICY)


class _Known(Protocol):
    """What a decision rests on."""

    def instance(self, instance_id: str) -> Instance | None: ...

    def policies(self, key: AccessKey) -> Sequence[Policy]: ...


class _Single:
    """Read as it is asked for: for one decision."""

    def __init__(self, store: Store, access: Access) -> None:
        self.instance = store.instances.get
        self.policies = access.policies


class _All:
    """Read once, for very many decisions in one transaction."""

    def __init__(self, store: Store, access: Access) -> None:
        self.keys = {each.id: each for each in store.keys.where()}
        self.accelerators = {each.id: each for each in store.accelerators.where()}
        running = store.instances.columns.state == records.RUNNING
        self.instance = {each.id: each for each in store.instances.where(running)}.get
        self._access = access
        self._policies: dict[tuple[str, str, str], Sequence[Policy]] = {}

    def policies(self, key: AccessKey) -> Sequence[Policy]:
        whose = (key.account, key.kind, key.name)
        if whose not in self._policies:
            self._policies[whose] = self._access.policies(key)
        return self._policies[whose]
