// The five programs from the first sign-up to what both sides got, by clicking, with the exact numbers of each.
import { expect, test } from "@playwright/test";
import { call, codeOf, follows, fresh, join, linkOf, operator, record, watch } from "./support.js";

/** A person with a browser of their own, who takes part in a program. */
async function someone(browser, name, program, { link = "", address = undefined } = {}) {
  const context = await browser.newContext({ reducedMotion: "reduce" });
  const page = await context.newPage();
  const faults = watch(page);
  const username = fresh(name);
  await join(page, username, program, link, address);
  return { page, username, faults };
}

/** Waits until the dashboard shows an amount as available. */
async function available(page, amount, unit) {
  await expect(page.locator("#balance .big")).toHaveText(new RegExp(`^${amount.replace(".", "\\.")}\\s*${unit}$`));
}

/** Waits until a counter shows a number. */
async function counter(page, id, number) {
  await expect(page.locator(`#${id} .counter`)).toHaveText(number);
}

/** The row of a reward on the page of a purchase. */
function rewarded(page, text) {
  return page.locator("tbody tr", { hasText: text });
}

test("points by tier: the tenth friend brings the next tier, over all friends", async ({ browser }) => {
  const program = "tiered-points";
  // Addresses that resemble each other are held for a check in this program.
  const ada = await someone(browser, "quincy", program, { address: "quincy@example.com" });
  await follows(ada.page);
  await available(ada.page, "0", "points");
  await expect(ada.page.locator("#tier h2")).toHaveText("Bronze");
  const link = await linkOf(ada.page);
  const bob = await someone(browser, "wolfram", program, { link, address: "wolfram@example.com" });
  await available(ada.page, "10", "points");
  await counter(ada.page, "referred", "1");
  await counter(ada.page, "converted", "1");
  await available(bob.page, "0", "points");
  // The others come through the back end of a shop, which is not limited by its address.
  const code = await codeOf(ada.page);
  for (const name of ["bertha", "cyrus", "dmitri", "eloise", "fynn", "gustav", "hjalmar", "ilka"]) {
    call("AccountService/RegisterUser", {
      username: fresh(name), email: `${name}@example.com`, program_id: program, referral_code: code,
    });
  }
  await available(ada.page, "90", "points");
  await expect(ada.page.locator("#tier h2")).toHaveText("Bronze");
  const tenth = await someone(browser, "zephyr", program, { link, address: "zephyr@example.com" });
  await available(ada.page, "250", "points");
  await expect(ada.page.locator("#tier h2")).toHaveText("Silver");
  await counter(ada.page, "referred", "10");
  await expect(ada.page.locator("#feed li", { hasText: "+160" })).toHaveCount(1);

  const staff = await operator(browser);
  await record(staff, bob.username, "50.00", "USD");
  await expect(staff.getByText("The program rewards referrals, not purchases.").first()).toBeVisible();
  await ada.page.reload();
  await available(ada.page, "250", "points");
  await ada.page.goto(`/p/${program}/leaderboard`);
  await expect(ada.page.locator("tr.own")).toContainText("250");
  for (const { faults } of [ada, bob, tenth]) faults.none();
});

test("a plain count: one for each friend, at once, and no account for an unknown code", async ({ browser }) => {
  const program = "referral-count";
  const ada = await someone(browser, "ada", program);
  await follows(ada.page);
  const link = await linkOf(ada.page);
  const bob = await someone(browser, "bob", program, { link });
  await available(ada.page, "1", "referral");
  await counter(ada.page, "converted", "1");
  const staff = await operator(browser);
  await record(staff, bob.username, "50.00", "USD");
  await expect(staff.getByText("The program rewards referrals, not purchases.").first()).toBeVisible();
  await someone(browser, "cid", program, { link });
  await available(ada.page, "2", "referrals");

  const page = await browser.newPage();
  const eve = fresh("eve");
  await page.goto("/register");
  await page.getByLabel("Username").fill(eve);
  await page.getByLabel("E-mail address").fill(`${eve}@example.com`);
  await page.getByLabel("Password", { exact: true }).fill("Correct-horse-1");
  await page.locator("#referral_code").fill("NOCODE12");
  await page.getByRole("button", { name: "Create an account" }).click();
  await expect(page.locator("#referral_code-fault")).toBeVisible();
  await staff.goto(`/o/users?q=${eve}`);
  await expect(staff.getByText(`Nobody has exactly “${eve}”`)).toBeVisible();
  await ada.page.goto(`/p/${program}/leaderboard`);
  await expect(ada.page.locator("tr.own td").last()).toHaveText("2");
  for (const { faults } of [ada, bob]) faults.none();
});

test("a bonus for both sides: the first purchase that is large enough", async ({ browser }) => {
  const program = "first-purchase-bonus";
  const ada = await someone(browser, "ada", program);
  await follows(ada.page);
  const link = await linkOf(ada.page);
  await expect(ada.page.locator("#referred")).toContainText("10");
  const bob = await someone(browser, "bob", program, { link });
  const cid = await someone(browser, "cid", program, { link });
  await follows(cid.page);
  await counter(ada.page, "pending", "2");
  const staff = await operator(browser);
  await record(staff, bob.username, "9.99", "USD");
  await expect(staff.getByText("The amount is below the minimum.").first()).toBeVisible();
  await bob.page.reload();
  await available(bob.page, "9.99", "USD");
  await available(ada.page, "0.00", "USD");
  await record(staff, bob.username, "10.00", "USD");
  await available(ada.page, "10.00", "USD");
  await counter(ada.page, "converted", "1");
  await bob.page.reload();
  await available(bob.page, "29.99", "USD");
  // 1000 paid and a bonus of 1000 are a balance of 2000, and a second purchase brings no other bonus.
  await record(staff, cid.username, "10.00", "USD");
  await available(cid.page, "20.00", "USD");
  await record(staff, cid.username, "10.00", "USD");
  await expect(staff.getByText("It is not the first purchase.").first()).toBeVisible();
  await available(cid.page, "30.00", "USD");
  await available(ada.page, "20.00", "USD");
  await counter(ada.page, "converted", "2");
  for (const { faults } of [ada, bob, cid]) faults.none();
});

test("commissions for the upline: two levels, a minimum and a cap", async ({ browser }) => {
  const program = "multi-level-commission";
  const ada = await someone(browser, "ada", program);
  await follows(ada.page);
  const bob = await someone(browser, "bob", program, { link: await linkOf(ada.page) });
  await follows(bob.page);
  const cid = await someone(browser, "cid", program, { link: await linkOf(bob.page) });
  const staff = await operator(browser);
  await record(staff, cid.username, "999.99", "INR");
  await expect(staff.getByText("The amount is below the minimum.").first()).toBeVisible();
  await record(staff, cid.username, "1001.30", "INR");
  await expect(rewarded(staff, "level 1")).toContainText("+50.07");
  await expect(rewarded(staff, "level 2")).toContainText("+10.01");
  await available(bob.page, "50.07", "INR");
  await available(ada.page, "10.01", "INR");
  await counter(bob.page, "converted", "1");
  await expect(bob.page.locator("#limits")).toContainText("949.93 INR left");
  // What reaches the cap is paid in part; the other level goes on.
  await record(staff, cid.username, "20000.00", "INR");
  await expect(rewarded(staff, "level 1")).toContainText("+949.93");
  await available(bob.page, "1,000.00", "INR");
  await available(ada.page, "210.01", "INR");
  await expect(bob.page.locator("#limits")).toContainText("0.00 INR left");
  await record(staff, cid.username, "1000.00", "INR");
  await expect(rewarded(staff, "The cap of the level is reached.")).toHaveCount(1);
  await available(ada.page, "220.01", "INR");
  await available(bob.page, "1,000.00", "INR");
  await ada.page.goto(`/p/${program}/tree`);
  await expect(ada.page.locator("#main")).toContainText(bob.username);
  await expect(ada.page.locator("#main")).toContainText("220.01");
  for (const { faults } of [ada, bob, cid]) faults.none();
});

test("credits for both sides: the first purchase of anything, and the operator's view of it", async ({ browser }) => {
  const program = "first-purchase-credits";
  const staff = await operator(browser);
  const ada = await someone(browser, "ada", program);
  await follows(ada.page);
  const code = await codeOf(ada.page);
  expect(code).toMatch(/^[A-Z0-9]{6}$/);
  const bob = await someone(browser, "bob", program, { link: await linkOf(ada.page) });
  await follows(bob.page);
  const cid = await someone(browser, "cid", program, { link: await linkOf(ada.page) });
  await counter(ada.page, "pending", "2");
  await record(staff, bob.username, "0.01", "EUR");
  await available(ada.page, "2", "credits");
  await available(bob.page, "2", "credits");
  await counter(ada.page, "converted", "1");
  await record(staff, bob.username, "90.00", "USD");
  await expect(staff.getByText("It is not the first purchase.").first()).toBeVisible();
  await ada.page.reload();
  await available(ada.page, "2", "credits");

  await staff.goto("/o");
  await staff.locator(`#program-${program}`).getByRole("link").click();
  await counter(staff, "registered", "3");
  await counter(staff, "referred", "2");
  await counter(staff, "organic", "1");
  await expect(staff.locator("#granted .counter")).toHaveText(/^4\s*credits$/);
  await expect(staff.locator("#rate")).toHaveText("50%");
  await expect(staff.locator("#top li").first()).toContainText(ada.username);
  const row = staff.locator("#participants tbody tr", { has: staff.locator("th", { hasText: bob.username }) });
  await expect(row).toContainText(ada.username);
  await expect(row.locator("td").nth(2)).toHaveText(/^2\s*credits$/);
  await expect(row.locator("td code")).toHaveText(await codeOf(bob.page));
  await expect(staff.locator("#recent tbody tr").first()).toContainText(cid.username);
  await expect(staff.locator("#recent tbody tr").first()).toContainText("Pending");
  for (const { faults } of [ada, bob, cid]) faults.none();
});
