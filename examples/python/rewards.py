"""What a shop needs of Tributary: calls that are safe to repeat, and a stream that survives a lost connection."""

import pathlib
import random
import sys
import time
from collections.abc import Callable, Iterator

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "generated"))

from tributary.v1 import account_service_pb2, account_service_pb2_grpc
from tributary.v1 import purchase_service_pb2, purchase_service_pb2_grpc
from tributary.v1 import reward_service_pb2, reward_service_pb2_grpc
from tributary.v1.money_pb2 import Money

DEADLINE_S = 5
ATTEMPTS = 6
MAX_PAUSE_S = 10

# Reasons for which a program refuses a code. The visitor is welcome all the same.
UNUSABLE_CODE = {"REFERRAL_CODE_NOT_FOUND", "CODE_EXHAUSTED", "REFERRER_LIMIT_REACHED"}

# A server that answers no ping is gone, although the connection may look open.
CHANNEL_OPTIONS = [("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000)]


class ErrorDetails:
    """Why a call failed: a reason to decide by, the facts, every fault of a field, and when to try again."""

    def __init__(self, error: grpc.RpcError):
        self.code: grpc.StatusCode = error.code()
        self.reason = ""
        self.facts: dict[str, str] = {}
        self.violations: list[error_details_pb2.BadRequest.FieldViolation] = []
        self.retry_after_s = 0.0
        status = rpc_status.from_call(error)
        for detail in status.details if status else []:
            info = error_details_pb2.ErrorInfo()
            faults = error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                self.reason, self.facts = info.reason, dict(info.metadata)
            elif detail.Unpack(faults):
                self.violations = list(faults.field_violations)
            elif detail.Unpack(retry):
                self.retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()

    def can_be_retried(self) -> bool:
        """Whether the same call can succeed later: the server says so, or did not answer at all."""
        unanswered = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        return self.retry_after_s > 0 or self.code in unanswered

    def wait(self, attempt: int) -> None:
        """Waits before the next attempt: longer each time, and a random part of it, so that clients spread."""
        pause = random.uniform(0, min(MAX_PAUSE_S, 0.1 * 2**attempt))
        time.sleep(max(self.retry_after_s, pause))


class Rewards:
    """A connection to Tributary. One is enough for a whole process, with all its threads."""

    def __init__(self, server: str, key: str):
        # This speaks plain text, for a server on the same machine. Across a network: grpc.secure_channel.
        channel = grpc.insecure_channel(server, options=CHANNEL_OPTIONS)
        self._metadata = [("authorization", f"Bearer {key}")]
        self._accounts = account_service_pb2_grpc.AccountServiceStub(channel)
        self._purchases = purchase_service_pb2_grpc.PurchaseServiceStub(channel)
        self._rewards = reward_service_pb2_grpc.RewardServiceStub(channel)

    def call(self, method: Callable, request):
        """Makes a call that is safe to repeat, and repeats it while that can help."""
        attempt = 1
        while True:
            try:
                return method(request, timeout=DEADLINE_S, metadata=self._metadata)
            except grpc.RpcError as error:
                details = ErrorDetails(error)
                if attempt == ATTEMPTS or not details.can_be_retried():
                    raise
                details.wait(attempt)
                attempt += 1

    def sign_up(self, user_id: str, email: str, program_id: str, referral_code: str = ""):
        """Registers a user of the shop under the shop's own user id, without the code if it is not usable."""
        request = account_service_pb2.RegisterUserRequest(
            user_id=user_id,
            username=user_id,
            email=email,
            program_id=program_id,
            referral_code=referral_code,
            request_id=f"sign-up-{user_id}",
        )
        try:
            return self.call(self._accounts.RegisterUser, request)
        except grpc.RpcError as error:
            if ErrorDetails(error).reason not in UNUSABLE_CODE:
                raise
            # A refused request leaves its request id unused.
            request.referral_code = ""
            return self.call(self._accounts.RegisterUser, request)

    def record_order(self, order_id: str, buyer_user_id: str, currency_code: str, minor_units: int):
        """Records a paid order. Its id is the purchase id, so it counts once however often it is sent."""
        request = purchase_service_pb2.RecordPurchaseRequest(
            purchase_id=order_id,
            buyer_user_id=buyer_user_id,
            amount=Money(currency_code=currency_code, minor_units=minor_units),
        )
        return self.call(self._purchases.RecordPurchase, request)

    def earnings(self, program_id: str, user_id: str, consistency_token: str = ""):
        """Reads what a user has earned. Given the token of a change, the answer includes that change."""
        request = reward_service_pb2.GetEarningsRequest(
            program_id=program_id, user_id=user_id, consistency_token=consistency_token
        )
        return self.call(self._rewards.GetEarnings, request)

    def watch_earnings(
        self, program_id: str, user_id: str, resume_token: str = ""
    ) -> Iterator[reward_service_pb2.WatchEarningsResponse]:
        """Yields what a user earns, without gap or repetition, across any number of lost connections.

        Store the resume token of a message in the same transaction as what you make of the message. A
        message without a reward is a heartbeat; its token is as good as any other.
        """
        attempt = 1
        while True:
            request = reward_service_pb2.WatchEarningsRequest(
                program_id=program_id, user_id=user_id, resume_token=resume_token
            )
            try:
                for message in self._rewards.WatchEarnings(request, metadata=self._metadata):
                    attempt = 1
                    resume_token = message.resume_token
                    yield message
            except grpc.RpcError as error:
                details = ErrorDetails(error)
                if not details.can_be_retried():
                    raise
                details.wait(attempt)
                attempt += 1
