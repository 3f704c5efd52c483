// What the tests share: people who click, and what no page may do.
import AxeBuilder from "@axe-core/playwright";
import { expect } from "@playwright/test";
import { execFile, execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { promisify } from "node:util";

const PASSWORD = "Correct-horse-1";
const RUN = Date.now().toString(36);
let count = 0;

/** A username that nobody has. */
export function fresh(name) {
  count += 1;
  return `${name}${RUN}${count}`;
}

function callOf(rpc, message) {
  return ["call", "--server", process.env.CONSOLE_URL, rpc, JSON.stringify(message)];
}

/** Makes a call of the API with the admin key. */
export function call(rpc, message) {
  const said = execFileSync(process.env.TRIBUTARY, callOf(rpc, message), { encoding: "utf8" });
  return said.trim() ? JSON.parse(said) : {};
}

/** Makes a call of the API again and again, as a shop does, until the server answers. It must be safe to repeat. */
export async function insist(rpc, message, attempts = 600) {
  for (;;) {
    try {
      await promisify(execFile)(process.env.TRIBUTARY, callOf(rpc, message));
      return;
    } catch (error) {
      attempts -= 1;
      if (attempts === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** Kills the server as a crash would, or starts it again. */
export function server(what) {
  execFileSync("./server", [what], { stdio: ["ignore", "inherit", "inherit"] });
}

/** Fails the test if a page says something at the console, breaks its policy or throws. */
export function watch(page) {
  const faults = [];
  page.on("console", (message) => {
    const isFault = message.type() === "error" || message.text().includes("Content Security Policy");
    // A page that is refused on purpose is one for the console, too.
    if (isFault && !message.text().includes("the server responded with a status of 4")) {
      faults.push(message.text());
    }
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  return { none: () => expect(faults).toEqual([]) };
}

/** A browser of its own, in which nothing moves: a colour that is on its way to another one has no contrast to check. */
export async function visitor(browser, options = {}) {
  const context = await browser.newContext({ reducedMotion: "reduce", ...options });
  return context.newPage();
}

/** Checks a page with axe, and that nothing hangs over its edge. */
export async function check(page, name) {
  const axe = new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]);
  // Pages have no frames, whose results would have to be put together in a page of its own: it takes half as long.
  const found = await axe.setLegacyMode().analyze();
  const violations = found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`);
  expect(violations, name).toEqual([]);
  const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(width, `${name} is wider than the window`).toBeLessThanOrEqual(0);
}

/** Where the session of the operator is kept during a run. */
const OPERATOR = "test-results/operator.json";

/** The browser of an operator. */
export async function operator(browser) {
  if (existsSync(OPERATOR)) return visitor(browser, { storageState: OPERATOR });
  const username = fresh("staff");
  const { user } = call("AccountService/RegisterUser", {
    username, email: `${username}@example.com`, password: PASSWORD,
  });
  call("AccountService/SetUserRole", { user_id: idOf(user), role: "USER_ROLE_OPERATOR" });
  const page = await visitor(browser);
  await signIn(page, username);
  await page.waitForURL("**/o");
  await page.context().storageState({ path: OPERATOR });
  return page;
}

/** The id of a user in an answer of the API. */
export function idOf(user) {
  return user.userId ?? user.user_id;
}

/** Signs in by the form. */
export async function signIn(page, username) {
  await page.goto("/sign-in");
  await page.getByLabel("E-mail address or username").fill(username);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** Signs up, and takes part in a program by its own page. The code may be the whole link. */
export async function join(page, username, program, code = "", address = `${username}@example.com`) {
  const path = code.includes("/") ? code : `/join/${code}`;
  await page.goto(code ? path : "/register");
  await page.getByLabel("Username").fill(username);
  await page.getByLabel("E-mail address").fill(address);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Create an account" }).click();
  if (!code) {
    await page.waitForURL("**/programs*");
    await page.locator(`form[action="/programs/${program}"]`).getByRole("button").click();
  }
  await page.waitForURL(`**/p/${program}*`);
}

/** The code on the dashboard. */
export async function codeOf(page) {
  return (await page.locator(".share strong.code").textContent()).trim();
}

/** Lets people come by a code, by the API. Their addresses are not similar, or the referrals would be held for a check. */
export function refer(code, people) {
  for (let number = 0; number < people; number++) {
    const email = `${randomUUID()}@example.com`;
    call("AccountService/RegisterUser", { username: fresh("friend"), email, referral_code: code });
  }
}

/** The link that the page copies for whoever shares it. */
export async function linkOf(page) {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  // All browsers of a machine have one clipboard.
  await page.evaluate(() => navigator.clipboard.writeText(""));
  await page.locator(".share-link").getByRole("button").click();
  const copied = () => page.evaluate(() => navigator.clipboard.readText());
  await expect.poll(copied).toMatch(/[?]ref=/);
  return copied();
}

/** Records a purchase by hand, on the pages of the operator, which show what came of it. */
export async function record(page, buyer, amount, currency) {
  await page.goto("/o/record");
  await page.getByLabel("Buyer").fill(buyer);
  await page.getByLabel("Amount").fill(amount);
  await page.getByLabel("Currency").fill(currency);
  await page.getByRole("button", { name: "Record" }).click();
  await expect(page.getByText("The purchase is recorded.")).toBeVisible();
}

/** Waits until a page follows what happens. */
export async function follows(page) {
  await expect(page.locator(".page-head .live")).toHaveText("Live");
}

/** Lets somebody buy, by the API, as a shop would. */
export function buy(username, minorUnits, currency) {
  const { user } = call("AccountService/FindUser", { username });
  call("PurchaseService/RecordPurchase", {
    purchase_id: fresh("purchase"),
    buyer_user_id: idOf(user),
    amount: { currency_code: currency, minor_units: String(minorUnits) },
  });
}
