"""A day in a shop with a referral program: two sign-ups, a referral, purchases, and rewards that arrive live.

Needs a running `tributary dev`. Ends with an error if anything is not as expected.
"""

import os
import pathlib
import time

import grpc

from relay import Relay
from rewards import ErrorDetails, Rewards
from visit import code_from, cookie_for

PROGRAM = "multi-level-commission"


def admin_key() -> str:
    """The key of the environment, else that of `tributary dev` in the root of the repository."""
    if key := os.environ.get("TRIBUTARY_ADMIN_KEY"):
        return key
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    return (root / ".tributary" / "admin.key").read_text().strip()


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise SystemExit(f"not as expected: {what}")


def main() -> None:
    server = os.environ.get("TRIBUTARY_SERVER", "http://127.0.0.1:50051").removeprefix("http://")
    run = f"py-{time.time_ns() // 1_000_000}"
    ada, bob = f"ada-{run}", f"bob-{run}"
    orders = [f"order-{run}-{number}" for number in (1, 2, 3)]
    shop = Rewards(server, admin_key())

    print("1. Ada signs up and gets a link. Bob follows it, and signs up with the code in his cookie.")
    code = shop.sign_up(ada, f"{ada}@example.com", PROGRAM).participants[0].code
    cookie = cookie_for(f"https://shop.example/?ref={code}")
    print(f"   Set-Cookie: {cookie}")
    bobs = shop.sign_up(bob, f"{bob}@example.com", PROGRAM, code_from(cookie or ""))
    expect(bobs.participants[0].referrer_user_id == ada, "Ada referred Bob")
    cleos = shop.sign_up(f"cleo-{run}", f"cleo-{run}@example.com", PROGRAM, "MISTYPED")
    expect(cleos.participants[0].referrer_user_id == "", "an unknown code turns nobody away")

    print("2. Somebody watches what Ada earns; Bob buys for 1001.30 rupees, and 5 % of it arrive.")
    relay = Relay(server)
    watcher = Rewards(relay.address, admin_key())
    stream = watcher.watch_earnings(PROGRAM, ada)
    first = next(stream)
    expect(not first.HasField("reward"), "the first message is a heartbeat")
    shop.record_order(orders[0], bob, "INR", 100_130)
    seen = [next_reward(stream)]
    print(f"   {seen[0].reward.amount.minor_units} paise for {seen[0].reward.purchase_id}")

    print("3. The connection is cut, and Bob buys meanwhile. The stream resumes from its last token.")
    relay.cut()
    shop.record_order(orders[1], bob, "INR", 100_130)
    seen.append(next_reward(stream))
    expect(relay.connections == 2, "the stream came back on a second connection")

    print("4. The watcher stops, Bob buys again, and a new watcher goes on from the stored token.")
    stored = seen[-1].resume_token
    stream.close()
    shop.record_order(orders[2], bob, "INR", 100_130)
    seen.append(next_reward(Rewards(server, admin_key()).watch_earnings(PROGRAM, ada, stored)))
    expect([each.reward.purchase_id for each in seen] == orders, "no gap and no repetition")
    expect([each.total.minor_units for each in seen] == [5_007, 10_014, 15_021], "exact totals")

    print("5. The last order is sent again, as after a lost answer. It still counts once.")
    again = shop.record_order(orders[2], bob, "INR", 100_130)
    earned = shop.earnings(PROGRAM, ada, again.consistency_token).total.minor_units
    expect(earned == 15_021, "three orders earn three commissions")

    print("6. A broken request is refused with every fault at once.")
    try:
        shop.record_order(f"order-{run}-4", "", "rupees", 0)
        raise SystemExit("not as expected: the request was accepted")
    except grpc.RpcError as error:
        details = ErrorDetails(error)
    print(f"   {details.code.name}, reason {details.reason}")
    for violation in details.violations:
        print(f"   {violation.field}: {violation.description} ({violation.reason})")
    expect(details.reason == "INVALID_FIELD", "the reason")
    reasons = {violation.reason for violation in details.violations}
    expect(reasons == {"FIELD_REQUIRED", "INVALID_CURRENCY", "AMOUNT_NOT_POSITIVE"}, "three faults")
    print("All as expected.")


def next_reward(stream):
    """The next message that is not a heartbeat."""
    return next(message for message in stream if message.HasField("reward"))


if __name__ == "__main__":
    main()
