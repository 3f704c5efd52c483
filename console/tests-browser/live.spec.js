// What only happens with more than one browser, or with a server that dies.
import { expect, test } from "@playwright/test";
import {
  call, codeOf, follows, fresh, idOf, insist, join, operator, record, server, visitor, watch,
} from "./support.js";

/** A program without caps, in which each purchase of a friend pays. */
const PROGRAM = "side-by-side";
/** How many purchases are measured, and how many browsers watch, each those of one friend. */
const PURCHASES = 200;
const WATCHERS = 4;
const COMMISSION = "Commission";

test.beforeAll(() => {
  call("ProgramService/PublishProgram", {
    program: {
      program_id: PROGRAM,
      display_name: "Side by side",
      unit: "EUR",
      base_url: "https://example.com/join",
      attach: "ATTACH_POLICY_ANY_TIME",
      earn_on: "EARN_ON_EVERY_PURCHASE",
      purchase_currency_code: "EUR",
      rewards: [{ rule: "share", level: 1, kind: "REWARD_KIND_COMMISSION", rate_bps: 500 }],
      leaderboard: "LEADERBOARD_METRIC_EARNINGS",
    },
  });
});

/** Somebody who watches their dashboard, and a friend who came by their code. */
async function pair(browser) {
  const page = await visitor(browser);
  const faults = watch(page);
  await join(page, fresh("ada"), PROGRAM);
  const friend = fresh("bob");
  const { user } = call("AccountService/RegisterUser", {
    username: friend, email: `${friend}@example.com`, program_id: PROGRAM, referral_code: await codeOf(page),
  });
  await follows(page);
  await expect(page.locator("#referred .counter")).toHaveText("1");
  return { page, friend, userId: idOf(user), faults };
}

/** Sends the form of a purchase from a page of the operator, and says when it was sent and answered. */
async function sendForm(page, buyer) {
  return page.evaluate(async (buyer) => {
    const now = () => performance.timeOrigin + performance.now();
    const shown = await (await fetch("/o/record")).text();
    const form = new DOMParser().parseFromString(shown, "text/html").querySelector("form[action='/o/record']");
    const body = new URLSearchParams([...new FormData(form)]);
    for (const [name, value] of [["buyer", buyer], ["amount", "1.00"], ["currency", "EUR"]]) body.set(name, value);
    const sent = now();
    // The answer leads to the page of the purchase, which nobody needs here.
    const answer = await fetch("/o/record", { method: "POST", body, redirect: "manual" });
    if (answer.type !== "opaqueredirect") throw new Error(`a purchase was refused: ${answer.status}`);
    return { sent, answered: now() };
  }, buyer);
}

test("what is bought in one browser moves the counter of the other, each time", async ({ browser }) => {
  const staff = await operator(browser);
  const pairs = [];
  for (let count = 0; count < WATCHERS; count += 1) pairs.push(await pair(browser));
  // The first one by clicking.
  await record(staff, pairs[0].friend, "1.00", "EUR");
  await expect(pairs[0].page.locator("#balance .big")).toHaveText(/^0\.05\s*EUR$/);
  for (const { page } of pairs) {
    await page.evaluate(() => {
      globalThis.seen = [];
      const balance = document.getElementById("balance");
      const look = () => {
        const cents = Math.round(Number.parseFloat(balance.querySelector(".big").textContent) * 100);
        const last = globalThis.seen.at(-1);
        if (last?.cents !== cents) globalThis.seen.push({ cents, at: performance.timeOrigin + performance.now() });
      };
      new MutationObserver(look).observe(balance, { childList: true, characterData: true, subtree: true });
    });
  }
  const waits = [];
  for (let count = 0; count < PURCHASES; count += 1) {
    const place = count % WATCHERS;
    const { page, friend } = pairs[place];
    // Each purchase pays five cents.
    const cents = 5 * (Math.floor(count / WATCHERS) + (place === 0 ? 2 : 1));
    const { sent, answered } = await sendForm(staff, friend);
    await page.waitForFunction((cents) => globalThis.seen.at(-1)?.cents === cents, cents);
    const { at } = await page.evaluate(() => globalThis.seen.at(-1));
    waits.push({ fromSending: at - sent, fromAnswer: Math.max(0, at - answered) });
  }
  for (const { page, faults } of pairs) {
    const steps = await page.evaluate(() => globalThis.seen.map(({ cents }) => cents));
    expect(steps.every((cents, index) => index === 0 || cents === steps[index - 1] + 5), `${steps}`).toBe(true);
    faults.none();
  }
  const told = (name) => {
    const sorted = waits.map((wait) => wait[name]).sort((one, other) => one - other);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(0);
    return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`;
  };
  console.log(
    `${waits.length} purchases until they show in another browser: ${told("fromSending")} after the form was sent, ` +
      `${told("fromAnswer")} after its answer`,
  );
});

test("a server that is killed and comes back: nothing is lost or doubled on the page", async ({ browser }) => {
  const { page, userId } = await pair(browser);
  await page.evaluate(() => (document.body.dataset.kept = "yes"));
  const purchase = (number) => ({
    purchase_id: `${userId}-${number}`,
    buyer_user_id: userId,
    amount: { currency_code: "EUR", minor_units: "10000" },
  });
  const buys = (number) => insist("PurchaseService/RecordPurchase", purchase(number));
  await buys(0);
  await expect(page.locator("#balance .big")).toHaveText(/^5\.00\s*EUR$/);
  // A shop goes on until each purchase is answered, while the server dies and comes back.
  const shop = Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(buys));
  server("kill");
  try {
    await expect(page.locator(".page-head .live")).toHaveText("Connecting…");
  } finally {
    server("start");
  }
  await shop;
  await expect(page.locator("#balance .big")).toHaveText(/^45\.00\s*EUR$/, { timeout: 60_000 });
  const entries = page.locator("#feed li", { hasText: COMMISSION });
  await expect(entries).toHaveCount(9);
  await follows(page);
  const ids = () => entries.evaluateAll((all) => all.map(({ id }) => id));
  const shown = await ids();
  expect(new Set(shown).size).toBe(9);
  expect(await page.evaluate(() => document.body.dataset.kept)).toBe("yes");
  // The page that is fetched anew says the same.
  await page.reload();
  await expect(page.locator("#balance .big")).toHaveText(/^45\.00\s*EUR$/);
  expect((await ids()).sort()).toEqual(shown.sort());
});
