// What the tests share: people who click, and what no page may do.
import AxeBuilder from "@axe-core/playwright";
import { expect } from "@playwright/test";
import { execFileSync } from "node:child_process";

export const PASSWORD = "Correct-horse-1";
const RUN = Date.now().toString(36);
let count = 0;

/** A username that nobody has. */
export function fresh(name) {
  count += 1;
  return `${name}${RUN}${count}`;
}

/** Makes a call of the API with the admin key. */
export function call(rpc, message) {
  const { TRIBUTARY, CONSOLE_URL } = process.env;
  const arguments_ = ["call", "--server", CONSOLE_URL, rpc, JSON.stringify(message)];
  const said = execFileSync(TRIBUTARY, arguments_, { encoding: "utf8" });
  return said.trim() ? JSON.parse(said) : {};
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
  const found = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]).analyze();
  const violations = found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`);
  expect(violations, name).toEqual([]);
  const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(width, `${name} is wider than the window`).toBeLessThanOrEqual(0);
}

/** Signs up, and takes part in a program by its own page. */
export async function join(page, username, program, code = "") {
  await page.goto(code ? `/join/${code}` : "/register");
  await page.getByLabel("Username").fill(username);
  await page.getByLabel("E-mail address").fill(`${username}@example.com`);
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

/** Lets people come by a code, by the API. */
export function refer(code, people) {
  for (let number = 0; number < people; number++) {
    const username = fresh("friend");
    call("AccountService/RegisterUser", { username, email: `${username}@example.com`, referral_code: code });
  }
}

/** Lets somebody buy, by the API, as a shop would. */
export function buy(username, minorUnits, currency) {
  const { user } = call("AccountService/FindUser", { username });
  call("PurchaseService/RecordPurchase", {
    purchase_id: fresh("purchase"),
    buyer_user_id: user.userId ?? user.user_id,
    amount: { currency_code: currency, minor_units: String(minorUnits) },
  });
}
