// A day in a shop with a referral program: two sign-ups, a referral, purchases, and rewards that arrive live.
//
// Needs a running `tributary dev`. Ends with an error if anything is not as expected.

import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { readFileSync } from "node:fs";

import { Code, ConnectError } from "@connectrpc/connect";

import type { WatchEarningsResponse } from "../generated/tributary/v1/reward_service_pb.js";
import { Relay } from "./relay.js";
import { ErrorDetails, Rewards } from "./rewards.js";
import { codeFrom, cookieFor } from "./visit.js";

const PROGRAM = "multi-level-commission";
const SERVER = process.env.TRIBUTARY_SERVER ?? "http://127.0.0.1:50051";
/** The key of the environment, else that of `tributary dev` in the root of the repository. */
const KEY = process.env.TRIBUTARY_ADMIN_KEY ?? readFileSync("../../.tributary/admin.key", "utf8").trim();

const run = `ts-${Date.now()}`;
const [ada, bob] = [`ada-${run}`, `bob-${run}`];
const orders = [`order-${run}-1`, `order-${run}-2`, `order-${run}-3`] as const;
const shop = new Rewards(SERVER, KEY);

console.log("1. Ada signs up and gets a link. Bob follows it, and signs up with the code in his cookie.");
const code = (await shop.signUp(ada, `${ada}@example.com`, PROGRAM)).participants[0]?.code;
const cookie = cookieFor(`https://shop.example/?ref=${code}`);
console.log(`   Set-Cookie: ${cookie}`);
const bobs = await shop.signUp(bob, `${bob}@example.com`, PROGRAM, codeFrom(cookie ?? ""));
strictEqual(bobs.participants[0]?.referrerUserId, ada, "Ada referred Bob");
const cleos = await shop.signUp(`cleo-${run}`, `cleo-${run}@example.com`, PROGRAM, "MISTYPED");
strictEqual(cleos.participants[0]?.referrerUserId, "", "an unknown code turns nobody away");

console.log("2. Somebody watches what Ada earns; Bob buys for 1001.30 rupees, and 5 % of it arrive.");
const relay = await Relay.start(SERVER);
const watcher = new Rewards(relay.url, KEY).watchEarnings(PROGRAM, ada);
const first = await watcher.next();
strictEqual(first.value?.reward, undefined, "the first message is a heartbeat");
await shop.recordOrder(orders[0], bob, "INR", 100_130n);
const seen = [await nextReward(watcher)];
console.log(`   ${seen[0]?.reward?.amount?.minorUnits} paise for ${seen[0]?.reward?.purchaseId}`);

console.log("3. The connection is cut, and Bob buys meanwhile. The stream resumes from its last token.");
relay.cut();
await shop.recordOrder(orders[1], bob, "INR", 100_130n);
seen.push(await nextReward(watcher));
strictEqual(relay.connections, 2, "the stream came back on a second connection");

console.log("4. The watcher stops, Bob buys again, and a new watcher goes on from the stored token.");
const stored = seen[1]?.resumeToken;
await watcher.return(undefined);
relay.stop();
await shop.recordOrder(orders[2], bob, "INR", 100_130n);
const another = new Rewards(SERVER, KEY).watchEarnings(PROGRAM, ada, stored);
seen.push(await nextReward(another));
await another.return(undefined);
deepStrictEqual(seen.map((message) => message.reward?.purchaseId), orders, "no gap and no repetition");
deepStrictEqual(seen.map((message) => message.total?.minorUnits), [5_007n, 10_014n, 15_021n], "exact totals");

console.log("5. The last order is sent again, as after a lost answer. It still counts once.");
const again = await shop.recordOrder(orders[2], bob, "INR", 100_130n);
const earned = await shop.earnings(PROGRAM, ada, again.consistencyToken);
strictEqual(earned.total?.minorUnits, 15_021n, "three orders earn three commissions");

console.log("6. A broken request is refused with every fault at once.");
const refused = await shop.recordOrder(`order-${run}-4`, "", "rupees", 0n).catch((error: unknown) => error);
ok(refused instanceof ConnectError, "the request is refused");
const details = new ErrorDetails(refused);
console.log(`   ${Code[details.code]}, reason ${details.reason}`);
for (const { field, description, reason } of details.violations) {
  console.log(`   ${field}: ${description} (${reason})`);
}
strictEqual(details.reason, "INVALID_FIELD");
deepStrictEqual(
  details.violations.map((violation) => violation.reason).sort(),
  ["AMOUNT_NOT_POSITIVE", "FIELD_REQUIRED", "INVALID_CURRENCY"],
);
console.log("All as expected.");

/** The next message that is not a heartbeat. */
async function nextReward(messages: AsyncGenerator<WatchEarningsResponse>): Promise<WatchEarningsResponse> {
  for (;;) {
    const { value, done } = await messages.next();
    ok(!done, "a stream of earnings has no end");
    if (value.reward) {
      return value;
    }
  }
}
