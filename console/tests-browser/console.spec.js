// The console in a real browser. What does not need one is tested in tests/behaviour/console.
import { expect, test } from "@playwright/test";
import {
  buy, call, check, codeOf, follows, fresh, idOf, join, operator, record, refer, signIn, visitor, watch,
} from "./support.js";

const PROGRAM = "multi-level-commission";
const TIERED = "tiered-points";
const SIZES = [360, 768, 1440];

test("every page of the door is accessible in both themes and at all widths", async ({ browser }) => {
  for (const colorScheme of ["light", "dark"]) {
    const page = await visitor(browser, { colorScheme });
    const faults = watch(page);
    const mailed = ["/confirm-email?token=abc", "/reset-password?token=abc", "/unsubscribe"];
    for (const path of ["/", "/sign-in", "/register", "/join/NOCODE12", "/forgot", "/nothing", ...mailed]) {
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
  await page.getByLabel("Amount in INR", { exact: true }).fill("500");
  await page.getByRole("button", { name: "See what it takes back" }).click();
  await expect(page.getByText("This refunds 500.00 INR.")).toBeVisible();
  // What was typed since is looked at first.
  await page.getByLabel("Amount in INR", { exact: true }).fill("600");
  await page.getByRole("button", { name: "Refund now" }).click();
  await expect(page.getByText("This refunds 600.00 INR.")).toBeVisible();
  await page.getByLabel("Amount in INR", { exact: true }).fill("600");
  await page.getByRole("button", { name: "Refund now" }).click();
  await expect(page.getByText("The refund is recorded.")).toBeVisible();
  const paths = [
    "/o", "/o/programs", `/o/programs/${PROGRAM}`, `/o/programs/${PROGRAM}/view`, `/o/programs/${PROGRAM}/versions`,
    "/o/publish", "/o/users", "/o/users?staff=1", `/o/users?q=${bob}`, "/o/purchases", "/o/payments", "/o/log", "/o/log/1",
    "/o/mails", "/o/keys", "/o/jobs", "/o/record", "/profile",
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

test("a program is edited as form and as JSON, and published after a look at what changes", async ({ browser }) => {
  const page = await visitor(browser, { storageState: "test-results/operator.json" });
  const faults = watch(page);
  await page.goto("/o/publish");
  const id = fresh("program");
  await page.locator("#json").fill(JSON.stringify({ program_id: id, unit: "POINTS", earn_on: "EARN_ON_REFERRAL" }));
  await expect(page.getByLabel("Unit", { exact: true })).toHaveValue("POINTS");
  await page.locator("#program-form").getByRole("button", { name: "Check" }).last().click();
  await expect(page.locator("[id='program.attach-fault']")).toBeVisible();
  await check(page, "faults of a program");
  await page.getByLabel("When a referrer can be named").selectOption("ATTACH_POLICY_ANY_TIME");
  await page.getByLabel("The leaderboard ranks by").selectOption("LEADERBOARD_METRIC_POINTS");
  await page.getByRole("button", { name: "Add a rule" }).click();
  await page.getByLabel("Name of the rule").fill("thanks");
  await page.getByLabel("Level", { exact: true }).fill("1");
  await page.getByLabel("Kind", { exact: true }).selectOption("REWARD_KIND_POINTS");
  await page.getByLabel("Fixed amount").fill("5");
  await expect(page.locator("#json")).toHaveValue(/"flat_minor": 5/);
  await page.locator("#program-form").getByRole("button", { name: "See what changes" }).click();
  await expect(page.getByText(`${id} becomes a program.`)).toBeVisible();
  await check(page, "what a program changes");
  await page.getByRole("button", { name: "Publish version 1" }).click();
  await expect(page.getByText("Published. It is in force now.")).toBeVisible();
  faults.none();
});

test("no amount is cut on a phone, however long names and amounts are", async ({ browser }) => {
  const long = fresh("wilhelmina.featherstonehaugh");
  const people = await browser.newPage();
  await join(people, long, PROGRAM);
  const friend = fresh("bartholomew.montgomery.smythe");
  await join(await browser.newPage(), friend, PROGRAM, await codeOf(people));
  buy(friend, 123_456_789, "INR");
  const { user } = call("AccountService/FindUser", { username: long });
  const id = idOf(user);
  const staff = await visitor(browser, { storageState: "test-results/operator.json" });
  const pages = ["", "/earnings", "/statement", "/referrals", "/leaderboard", "/rules"];
  const looked = [
    ...pages.map((page) => [people, `/p/${PROGRAM}${page}`]),
    ...[`/o/users/${id}`, `/o/users/${id}/balance/${PROGRAM}`, `/o/programs/${PROGRAM}/view`, "/o/payouts"]
      .map((path) => [staff, path]),
  ];
  const cut = [];
  for (const [page, path] of looked) {
    await page.setViewportSize({ width: 360, height: 800 });
    await page.goto(path);
    const found = await page.evaluate(() => {
      const amounts = [...document.querySelectorAll(".amount")].filter((amount) => amount.checkVisibility());
      const out = amounts.filter((amount) => {
        const frame = amount.closest(".table-frame, .card, .counter-card, .hero");
        if (!frame) return false;
        return amount.getBoundingClientRect().right > frame.getBoundingClientRect().right + 1;
      });
      return out.map((amount) => amount.textContent);
    });
    if (found.length > 0) cut.push(`${path}: ${found.join(", ")}`);
  }
  expect(cut).toEqual([]);
});

test("faults of a program stay, however soon it was sent after the last key", async ({ browser }) => {
  const page = await visitor(browser, { storageState: "test-results/operator.json" });
  const faults = watch(page);
  // The answer to an edit takes longer than the check that was asked for after it.
  const edits = [];
  await page.route("**/o/publish", async (route) => {
    if (route.request().postData()?.includes("do=edit")) {
      edits.push(route.request());
      await new Promise((resolve) => setTimeout(resolve, 1_500));
    }
    await route.continue().catch(() => {});
  });
  await page.goto("/o/publish");
  const check = page.locator("#program-form").getByRole("button", { name: "Check" }).last();
  const fault = page.locator("[id='program.attach-fault']");
  const unit = page.getByLabel("Unit", { exact: true });
  // An edit that has not been sent yet is not sent any more.
  await unit.fill("POINTS");
  await check.click();
  await expect(fault).toBeVisible();
  await page.waitForTimeout(2_500);
  await expect(fault).toBeVisible();
  // The answer to an edit that was sent comes too late.
  const before = edits.length;
  await unit.fill("CREDITS");
  await expect.poll(() => edits.length).toBe(before + 1);
  await check.click();
  await expect(fault).toBeVisible();
  await page.waitForTimeout(2_500);
  await expect(fault).toBeVisible();
  await expect(unit).toHaveValue("CREDITS");
  faults.none();
});

test("what has the focus is never behind the bar of a long form", async ({ browser }) => {
  const page = await visitor(browser, { storageState: "test-results/operator.json" });
  await page.setViewportSize({ width: 1440, height: 700 });
  await page.goto(`/o/programs/${PROGRAM}`);
  const hidden = [];
  let seen = 0;
  await page.locator("#program-form input:not([type=hidden])").first().focus();
  for (let step = 0; step < 60; step += 1) {
    const name = await page.evaluate(() => {
      const active = document.activeElement;
      const bar = active?.closest("form")?.querySelector(".at-foot");
      if (!active || !bar || bar.contains(active)) return undefined;
      const [field, foot] = [active, bar].map((of) => of.getBoundingClientRect());
      return { name: active.getAttribute("name") ?? "", isHidden: field.bottom > foot.top && field.top < foot.bottom };
    });
    if (name) seen += 1;
    if (name?.isHidden) hidden.push(name.name);
    await page.keyboard.press("Tab");
  }
  expect(seen).toBeGreaterThan(20);
  expect(hidden).toEqual([]);
});

test("the log follows what is recorded", async ({ browser }) => {
  const page = await visitor(browser, { storageState: "test-results/operator.json" });
  const faults = watch(page);
  await page.goto("/o/log");
  await expect(page.locator(".page-head .live")).toHaveText("Live");
  const ada = fresh("ada");
  await join(await browser.newPage(), ada, PROGRAM);
  await expect(page.locator("#log tr").first()).toContainText("ParticipantEnrolled");
  await page.locator("#log tr").first().getByRole("link").first().click();
  await expect(page.getByRole("heading", { name: /^Event / })).toBeVisible();
  faults.none();
});

test("pages about money are accessible, and a large adjustment waits for somebody else", async ({ browser }) => {
  test.slow();
  const people = await browser.newPage();
  const ada = fresh("ada");
  await join(people, ada, PROGRAM);
  const { user } = call("AccountService/FindUser", { username: ada });
  const page = await operator(browser);
  const faults = watch(page);
  const balance = `/o/users/${user.userId}/balance/${PROGRAM}`;
  await page.goto(balance);
  await page.getByLabel("Amount").fill("-12.50");
  await page.getByLabel("Reason").fill("goodwill");
  await page.getByRole("button", { name: "Adjust" }).click();
  await expect(page.getByText("The balance is adjusted.")).toBeVisible();
  await page.getByLabel("Amount").fill("2000");
  await page.getByLabel("Reason").fill("goodwill");
  await page.getByRole("button", { name: "Adjust" }).click();
  await expect(page.getByText("You have asked for this")).toBeVisible();
  for (const path of [balance, "/o/payouts", "/o/approvals", "/o/items", "/o/items/redemptions"]) {
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

test("flags are decided about with the keyboard, and new ones appear by themselves", async ({ browser }) => {
  const [john, ...others] = ["john", "one", "two", "three"].map(fresh);
  /** Signs up with an address that is like john's. */
  const signUp = (username, number, code) =>
    call("AccountService/RegisterUser", {
      user_id: username,
      username,
      email: `${john}.smith${number}@mail.example`,
      program_id: "tiered-points",
      referral_code: code,
    });
  const code = signUp(john, "", "").participants[0].code;
  signUp(others[0], "1", code);
  signUp(others[1], "2", code);
  const page = await operator(browser);
  const faults = watch(page);
  await page.goto(`/o/fraud?user=${john}`);
  await expect(page.locator(".page-head .live")).toHaveText("Live");
  const cards = page.locator("article.flag");
  await expect(cards).toHaveCount(2);
  await check(page, "the queue");
  await page.keyboard.press("?");
  await expect(page.locator("#keys")).toBeVisible();
  await check(page, "the list of keys");
  await page.keyboard.press("?");
  await expect(page.locator("#keys")).toBeHidden();
  // Nothing is decided about as long as no flag is framed.
  await page.keyboard.press("r");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await expect(cards.nth(1)).toBeFocused();
  await page.keyboard.press("k");
  await expect(cards.nth(0)).toBeFocused();
  await expect(cards.nth(0)).toContainText(others[1]);
  await page.keyboard.press("r");
  await expect(page.getByText("Released: the referral counts.")).toBeVisible();
  await expect(cards).toHaveCount(1);
  await expect(cards.nth(0)).toBeFocused();
  signUp(others[2], "3", code);
  await expect(cards).toHaveCount(2);
  await expect(cards.nth(0)).toContainText(others[2]);
  await page.keyboard.press("k");
  await page.keyboard.press("n");
  await page.keyboard.type("just like the others");
  await page.keyboard.press("Escape");
  await page.keyboard.press("d");
  await expect(page.getByText("Rejected, and the person is deactivated.")).toBeVisible();
  await expect(cards).toHaveCount(1);
  await page.keyboard.press("x");
  await expect(page.getByText("Nothing to decide")).toBeVisible();
  await page.goto(`/o/fraud?user=${others[2]}&state=resolved`);
  await cards.getByRole("link").first().click();
  await expect(page.getByText("just like the others")).toBeVisible();
  for (const width of SIZES) {
    await page.setViewportSize({ width, height: 800 });
    await check(page, `a flag ${width}`);
  }
  // Keys can be switched off.
  await page.goto(`/o/fraud?user=${john}&state=all`);
  await page.keyboard.press("?");
  await page.getByRole("button", { name: "Keys are on" }).click();
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await expect(cards.first()).not.toBeFocused();
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

test("a stream that is refused comes back when the server has said", async ({ browser }) => {
  const page = await visitor(browser);
  const faults = watch(page);
  await join(page, fresh("ada"), PROGRAM);
  await follows(page);
  const asked = [];
  await page.route("**/live/**", (route) => {
    asked.push({ method: route.request().method(), at: Date.now() });
    return asked.length > 2 ? route.continue() : route.fulfill({ status: 429, headers: { "retry-after": "3" } });
  });
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await expect(page.locator(".page-head .live")).toHaveText("Connecting…");
  await follows(page);
  // What the browser tells nobody of the answer to a stream, the second question finds out.
  expect(asked.map(({ method }) => method)).toEqual(["GET", "HEAD", "GET"]);
  expect(asked[2].at - asked[1].at).toBeGreaterThanOrEqual(3_000);
  faults.none();
});

test("the way out stays in sight however many links there are", async ({ browser }) => {
  const page = await operator(browser);
  for (const height of [720, 480]) {
    await page.setViewportSize({ width: 1440, height });
    await page.goto("/o");
    await expect(page.getByRole("button", { name: "Sign out" })).toBeInViewport({ ratio: 1 });
    await page.locator(".sidebar .links a").last().focus();
    await expect(page.locator(".sidebar .links a").last()).toBeInViewport({ ratio: 1 });
  }
});

test("an answer in another layout, or none of ours, does not lose what was typed", async ({ browser }) => {
  const page = await visitor(browser);
  await join(page, fresh("ada"), PROGRAM);
  await page.goto("/profile");
  const sent = [];
  const door = `<!doctype html><html lang="en"><title>Not known</title><body class="door" data-words="{}">
    <main id="main" tabindex="-1"><h1>Not known</h1><form id="again" method="post" action="/profile/names">
    <input type="hidden" name="display_name" value="Ada L"><button>Try again</button></form></main></body></html>`;
  await page.route("**/profile/names", (route) => {
    sent.push(route.request().postData());
    const body = sent.length === 1 ? "no page of ours" : door;
    return route.fulfill({ status: 503, contentType: "text/html", body });
  });
  await page.getByLabel("Shown name").fill("Ada L");
  const save = page.locator("form[action='/profile/names']").getByRole("button");
  await save.click();
  await expect(page.locator(".toast.bad")).toContainText("No answer came");
  await expect(page.getByLabel("Shown name")).toHaveValue("Ada L");
  await save.click();
  await expect(page.getByRole("heading", { name: "Not known" })).toBeVisible();
  await page.getByRole("button", { name: "Try again" }).click();
  await expect.poll(() => sent.length).toBe(3);
  expect(sent[2]).toContain("display_name=Ada+L");
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

test("a statement is printed on its own: whole, light, without what is for a screen", async ({ browser }) => {
  const page = await visitor(browser);
  const faults = watch(page);
  const [ada, bob] = [fresh("ada"), fresh("bob")];
  await join(page, ada, PROGRAM);
  const other = await browser.newPage();
  await join(other, bob, PROGRAM, await codeOf(page));
  // As many as the cap lets through, which need more than one sheet.
  for (let count = 0; count < 20; count += 1) buy(bob, 100_000, "INR");
  await page.goto(`/p/${PROGRAM}/statement`);
  await page.getByRole("button", { name: "Dark" }).click();
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  const entries = page.locator("table tbody tr", { hasText: "Commission" });
  await expect(entries).toHaveCount(20);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  expect(await ground()).not.toBe("rgb(255, 255, 255)");
  // The width of the window that a printer is sent from makes no difference to what is on the paper.
  for (const width of [360, 794]) {
    await page.setViewportSize({ width, height: 1123 });
    await page.emulateMedia({ media: "print", colorScheme: "dark" });
    const onScreen = "button, a.button, input, nav, .sidebar, .topbar, .skip, .toasts, .live";
    expect(await page.locator(onScreen).filter({ visible: true }).count(), `${width}`).toBe(0);
    await expect(page.getByRole("heading", { name: /^Statement/ })).toBeVisible();
    // Every column of every row, each fact once.
    for (const row of [entries.first(), entries.last()]) {
      for (const cell of await row.locator("td").all()) await expect(cell).toBeVisible();
      expect(await row.locator("small.phone").count()).toBeGreaterThan(0);
      for (const small of await row.locator("small.phone").all()) await expect(small).toBeHidden();
    }
    const clipped = await page.locator(".table-frame").evaluateAll((frames) =>
      frames.filter((frame) => getComputedStyle(frame).overflow !== "visible").length);
    expect(clipped).toBe(0);
    // Dark letters on white paper.
    expect(await ground()).toBe("rgb(255, 255, 255)");
    const letters = await entries.first().evaluate((row) => getComputedStyle(row).color);
    const [red, green, blue] = letters.match(/\d+/g).map(Number);
    expect(Math.max(red, green, blue), letters).toBeLessThan(100);
    await page.emulateMedia({ media: "screen" });
  }
  // More than a page of paper has room for.
  const paper = (await page.pdf({ preferCSSPageSize: true })).toString("latin1");
  expect(paper.match(/\/Type\s*\/Page\b/g)?.length).toBeGreaterThan(1);
  faults.none();
});

test("a notice is shown once, also on a page that fetches itself again", async ({ browser }) => {
  const program_id = fresh("paying");
  const rewards = [{ rule: "share", level: 1, kind: "REWARD_KIND_COMMISSION", rate_bps: 500 }];
  call("ProgramService/PublishProgram", {
    program: {
      program_id, rewards, display_name: program_id, unit: "EUR", pays_out: true, base_url: "https://example.com/join",
      attach: "ATTACH_POLICY_ANY_TIME", earn_on: "EARN_ON_EVERY_PURCHASE", purchase_currency_code: "EUR",
      leaderboard: "LEADERBOARD_METRIC_EARNINGS",
    },
  });
  const page = await operator(browser);
  const faults = watch(page);
  // How often each notice has come, whether or not it is still there.
  await page.addInitScript(() => {
    globalThis.notices = [];
    new MutationObserver((changes) => {
      for (const { target, addedNodes } of changes) {
        if (target instanceof Element && target.id === "toasts") {
          for (const added of addedNodes) if (added instanceof HTMLElement) globalThis.notices.push(added.innerText);
        }
      }
    }).observe(document, { childList: true, subtree: true });
  });
  await page.goto("/o/payouts");
  await page.locator("#program_id").selectOption(program_id);
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await expect(page.getByText("The payout is created")).toBeVisible();
  // Nobody has anything to be paid, so the payout ends, upon which its page fetches itself.
  await expect(page.locator("#payout-sums .badge")).toHaveText("Nobody paid");
  await follows(page);
  expect(new URL(page.url()).searchParams.has("done")).toBe(false);
  const notices = await page.evaluate(() => globalThis.notices);
  expect(notices.filter((said) => said.includes("The payout is created"))).toHaveLength(1);
  await page.reload();
  await follows(page);
  await expect(page.locator(".toast")).toHaveCount(0);
  // Nor does a notice come twice that the browser itself has led to.
  await page.goto("/o/users?done=saved");
  await expect(page).toHaveURL(/\/o\/users$/);
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
  await page.waitForURL((url) => url.pathname === "/sign-in" && url.searchParams.get("ended") === "1");
  await expect(page.getByText("Your session has ended.")).toBeVisible();
  // Who signs in again goes on where they were.
  const next = new URL(page.url()).searchParams.get("next");
  expect(next).toBe(`/p/${PROGRAM}`);
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
  await expect(dialog).toBeHidden();
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
  // Who moves the pointer is reading: the dialog stays.
  await one.mouse.move(5, 5);
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
