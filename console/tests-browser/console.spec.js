// The console in a real browser. What does not need one is tested in tests/behaviour/console.
import { expect, test } from "@playwright/test";
import {
  buy, check, codeOf, follows, fresh, join, operator, record, refer, signIn, visitor, watch,
} from "./support.js";

const PROGRAM = "multi-level-commission";
const TIERED = "tiered-points";
const SIZES = [360, 768, 1440];

test("every page of the door is accessible in both themes and at all widths", async ({ browser }) => {
  for (const colorScheme of ["light", "dark"]) {
    const page = await visitor(browser, { colorScheme });
    const faults = watch(page);
    for (const path of ["/", "/sign-in", "/register", "/join/NOCODE12", "/forgot"]) {
      await page.goto(path);
      for (const width of SIZES) {
        await page.setViewportSize({ width, height: 800 });
        await check(page, `${path} ${colorScheme} ${width}`);
      }
    }
    faults.none();
    await page.close();
  }
});

test("the link of dev signs the operator in once", async ({ browser }) => {
  const link = process.env.CONSOLE_LINK ?? "";
  const page = await browser.newPage();
  const faults = watch(page);
  await page.goto(link);
  await expect(page.getByRole("heading", { name: "Overview" })).toBeVisible();
  const state = await page.context().storageState();
  expect(state.cookies.find(({ name }) => name === "session")?.httpOnly).toBe(true);
  faults.none();
  const other = await browser.newPage();
  await other.goto(link);
  await expect(other.getByText("was used already")).toBeVisible();
});

test("operators' pages are accessible, and a purchase by hand is refunded by clicking", async ({ browser }) => {
  const people = await browser.newPage();
  const [ada, bob] = [fresh("ada"), fresh("bob")];
  await join(people, ada, PROGRAM);
  const code = await codeOf(people);
  const other = await browser.newPage();
  await join(other, bob, PROGRAM, code);

  const page = await operator(browser);
  const faults = watch(page);
  await record(page, bob, "2000.00", "INR");
  await check(page, "a purchase");
  await page.getByLabel("Amount").fill("500");
  await page.getByRole("button", { name: "See what it takes back" }).click();
  await expect(page.getByText("This refunds 500.00 INR.")).toBeVisible();
  await page.getByRole("button", { name: "Refund now" }).click();
  await expect(page.getByText("The refund is recorded.")).toBeVisible();
  const paths = [
    "/o", `/o/programs/${PROGRAM}/view`, "/o/users", `/o/users?q=${bob}`, "/o/purchases", "/o/payments", "/o/jobs",
    "/o/record", "/profile",
  ];
  for (const path of paths) {
    await page.goto(path);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      for (const width of SIZES) {
        await page.setViewportSize({ width, height: 800 });
        await check(page, `${path} ${colorScheme} ${width}`);
      }
    }
  }
  faults.none();
});

test("a participant's pages are accessible in both themes and at all widths", async ({ browser }) => {
  const page = await visitor(browser);
  const faults = watch(page);
  const ada = fresh("ada");
  await join(page, ada, PROGRAM);
  const other = await browser.newPage();
  const bob = fresh("bob");
  await join(other, bob, PROGRAM, await codeOf(page));
  buy(bob, 200_000, "INR");
  for (const part of ["", "/earnings", "/statement", "/referrals", "/tree", "/leaderboard", "/store", "/rules"]) {
    await page.goto(`/p/${PROGRAM}${part}`);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      for (const width of SIZES) {
        await page.setViewportSize({ width, height: 800 });
        await check(page, `${part} ${colorScheme} ${width}`);
      }
    }
  }
  faults.none();
});

test("what somebody buys is on the screen of who brought them at once", async ({ browser }) => {
  const [ada, bob] = [fresh("ada"), fresh("bob")];
  const page = await browser.newPage();
  const faults = watch(page);
  await join(page, ada, PROGRAM);
  await follows(page);
  const other = await browser.newPage();
  await join(other, bob, PROGRAM, await codeOf(page));
  await expect(page.locator("#feed")).toContainText(`${bob} has joined.`);
  await expect(page.locator("#referred .counter")).toHaveText("1");
  buy(bob, 200_000, "INR");
  await expect(page.locator("#balance .big")).toContainText("100.00");
  await expect(page.locator("#converted .counter")).toHaveText("1");
  await expect(page.locator("#feed li")).toHaveCount(3);
  // The page that is fetched anew shows the same.
  const feed = await page.locator("#feed li").count();
  await page.reload();
  await expect(page.locator("#balance .big")).toContainText("100.00");
  await expect(page.locator("#feed li")).toHaveCount(feed - 1);
  faults.none();
});

test("a page goes on after its connection was cut, and shows what came meanwhile once", async ({ browser }) => {
  const [ada, bob] = [fresh("ada"), fresh("bob")];
  const page = await browser.newPage();
  await join(page, ada, PROGRAM);
  const code = await codeOf(page);
  await follows(page);
  await page.context().setOffline(true);
  // An open stream is not cut by that: opening it again is what fails.
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await expect(page.locator(".page-head .live")).toHaveText("Connecting…");
  const other = await browser.newPage();
  await join(other, bob, PROGRAM, code);
  buy(bob, 200_000, "INR");
  await page.context().setOffline(false);
  await expect(page.locator("#balance .big")).toContainText("100.00", { timeout: 40_000 });
  await expect(page.locator("#feed li", { hasText: "Commission" })).toHaveCount(1);
});

test("forms are sent without a reload, with their faults at the fields, and names stay text", async ({ browser }) => {
  const page = await browser.newPage();
  const faults = watch(page);
  const ada = fresh("ada");
  await join(page, ada, PROGRAM);
  await page.goto("/profile");
  await page.evaluate(() => (document.body.dataset.kept = "yes"));
  await page.getByLabel("Shown name").fill("<img src=x onerror=alert(1)>");
  await page.locator("form[action='/profile/names']").getByRole("button").click();
  await expect(page.getByText("Saved.")).toBeVisible();
  await expect(page.locator(".person strong")).toHaveText("<img src=x onerror=alert(1)>");
  expect(await page.evaluate(() => document.body.dataset.kept)).toBe("yes");
  await page.getByLabel("Username", { exact: true }).first().fill("a b");
  await page.locator("form[action='/profile/names']").getByRole("button").click();
  await expect(page.locator("#username-fault")).toBeVisible();
  await page.getByRole("button", { name: "Dark" }).click();
  expect(await page.evaluate(() => document.documentElement.dataset.theme)).toBe("dark");
  await page.reload();
  expect(await page.evaluate(() => document.documentElement.dataset.theme)).toBe("dark");
  faults.none();
});

test("a session that is ended elsewhere takes its open pages along", async ({ browser }) => {
  const page = await browser.newPage();
  const ada = fresh("ada");
  await join(page, ada, PROGRAM);
  await follows(page);
  const other = await (await browser.newContext()).newPage();
  await signIn(other, ada);
  await other.waitForURL("**/p/**");
  await other.goto("/profile");
  await other.locator("form[action='/profile/sessions'] button").first().click();
  await page.waitForURL("**/sign-in?ended=1");
  await expect(page.getByText("Your session has ended.")).toBeVisible();
});

test("a tier that is reached is celebrated once, and also if it was reached while away", async ({ browser }) => {
  const ada = fresh("ada");
  const page = await browser.newPage();
  const faults = watch(page);
  await join(page, ada, TIERED);
  await follows(page);
  const code = await codeOf(page);
  refer(code, 10);
  const dialog = page.getByRole("dialog", { name: "You have reached Silver" });
  await expect(dialog).toBeVisible();
  expect(await page.locator(".confetti i").count()).toBeGreaterThan(10);
  // It leaves by itself.
  await expect(dialog).toBeHidden({ timeout: 12_000 });
  await page.reload();
  await follows(page);
  await expect(page.locator("dialog")).toHaveCount(0);

  // Without the page being open, and for somebody who wants nothing to move. What one tab has shown, the other has not.
  await page.goto("/profile");
  refer(code, 40);
  const state = await page.context().storageState();
  const calm = await browser.newContext({ storageState: state, reducedMotion: "reduce" });
  const [one, other] = [await calm.newPage(), await calm.newPage()];
  await one.goto(`/p/${TIERED}`);
  const gold = one.getByRole("dialog", { name: "You have reached Gold" });
  await expect(gold).toBeVisible();
  await expect(one.locator(".confetti")).toHaveCount(0);
  await check(one, "a celebration");
  await other.goto(`/p/${TIERED}`);
  await expect(other.getByRole("dialog")).toBeVisible();
  const seen = one.waitForResponse((response) => response.url().endsWith("/celebrated"));
  await gold.getByRole("button", { name: "Go on" }).click();
  await seen;
  await expect(other.locator("dialog")).toHaveCount(0);
  await one.reload();
  await expect(one.locator(".page-head .live")).toHaveText("Live");
  await expect(one.locator("dialog")).toHaveCount(0);
  faults.none();
  await calm.close();
});

test("pages work without a script", async ({ browser }) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await join(page, fresh("ada"), PROGRAM);
  await expect(page.getByText("Your code is")).toBeVisible();
  await page.goto("/profile");
  await page.getByLabel("Shown name").fill("Ada");
  await page.locator("form[action='/profile/names'] button").click();
  await expect(page.getByText("Saved.")).toBeVisible();
  await page.setViewportSize({ width: 360, height: 800 });
  await page.getByRole("button", { name: "Menu" }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL("**/sign-in?out=1");
});
