// What others try: each is refused or harmless, in a browser.
import { expect, test } from "@playwright/test";
import { createServer } from "node:http";
import { codeOf, follows, fresh, join, operator, signIn, visitor, watch } from "./support.js";

const PROGRAM = "referral-count";
const EVIL = `<script>document.title="owned"</script><img src=x onerror="document.title='owned'">`;

/** A site of somebody else, with one page; another origin by its port, and another site by its name. */
async function elsewhere(html) {
  const site = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end(html);
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  const { port } = site.address();
  return {
    sameSite: `http://127.0.0.1:${port}/`,
    otherSite: `http://localhost:${port}/`,
    close: () => new Promise((resolve) => site.close(resolve)),
  };
}

test("a form on another site changes nothing, and no other origin reads a page", async ({ browser }) => {
  const page = await visitor(browser);
  const ada = fresh("ada");
  await join(page, ada, PROGRAM);
  await page.goto("/profile");
  const url = new URL("/profile/names", page.url()).href;
  const token = await page.locator("form[action='/profile/names'] input[name=form_token]").inputValue();
  // Even with a good token: that of the victim, which nobody else knows.
  const site = await elsewhere(`<!doctype html><title>elsewhere</title>
    <form method="post" action="${url}">
      <input name="form_token" value="${token}"><input name="username" value="owned">
      <input name="display_name" value="owned"><button>Win</button>
    </form>`);
  try {
    for (const origin of [site.sameSite, site.otherSite]) {
      const other = await page.context().newPage();
      await other.goto(origin);
      await other.getByRole("button", { name: "Win" }).click();
      // From another site the cookie does not even come along.
      await expect(other.locator("#main")).toBeVisible();
      await expect(other.locator("#main h2")).toHaveText("This was not sent from here");
      await other.goto(origin);
      const outcome = await other.evaluate(async (target) => {
        const outcome = async (path, options) => {
          try {
            const answer = await fetch(path, { credentials: "include", ...options });
            return `${answer.type}: ${await answer.text()}`;
          } catch {
            return "refused";
          }
        };
        const body = new URLSearchParams({ username: "owned", display_name: "owned" });
        const shown = target.replace("/names", "");
        return [
          await outcome(shown, { mode: "cors" }),
          await outcome(shown, { mode: "no-cors" }),
          await outcome(target, { method: "POST", body, mode: "cors" }),
          await outcome(target, { method: "POST", body, mode: "no-cors" }),
        ];
      }, url);
      expect(outcome, origin).toEqual(["refused", "refused", "refused", "refused"]);
      // Nor can a page be put into one of theirs.
      const isFramed = await other.evaluate((target) => {
        const frame = document.createElement("iframe");
        frame.src = target;
        document.body.append(frame);
        return new Promise((resolve) => {
          frame.onload = () => {
            try {
              resolve(frame.contentDocument !== null);
            } catch {
              resolve(true);
            }
          };
        });
      }, url.replace("/names", ""));
      // What was refused is an opaque page of errors, of no origin, in which there is nothing of ours.
      expect(isFramed, origin).toBe(false);
      const framed = other.frames().find((frame) => frame !== other.mainFrame());
      expect(await framed?.content().catch(() => "")).not.toContain(ada);
      await other.close();
    }
  } finally {
    await site.close();
  }
  await page.reload();
  await expect(page.getByLabel("Username", { exact: true }).first()).toHaveValue(ada);
  await expect(page.getByLabel("Shown name")).toHaveValue("");
});

test("a script in a name is text wherever others see the name", async ({ browser }) => {
  const page = await visitor(browser);
  const faults = watch(page);
  const ada = fresh("ada");
  await join(page, ada, PROGRAM);
  await page.goto("/profile");
  await page.getByLabel("Shown name").fill(EVIL);
  await page.locator("form[action='/profile/names']").getByRole("button").click();
  await expect(page.getByText("Saved.")).toBeVisible();
  await page.goto(`/p/${PROGRAM}`);
  await follows(page);
  const code = await codeOf(page);

  // Who is invited, who comes, and who operates.
  const bob = await visitor(browser);
  const bobs = watch(bob);
  await bob.goto(`/join/${code}`);
  await expect(bob.getByRole("heading", { name: EVIL })).toBeVisible();
  await join(bob, fresh("bob"), PROGRAM, code);
  await bob.goto("/profile");
  await bob.getByLabel("Shown name").fill(EVIL);
  await bob.locator("form[action='/profile/names']").getByRole("button").click();
  await expect(bob.getByText("Saved.")).toBeVisible();
  await bob.goto(`/p/${PROGRAM}/leaderboard`);
  await expect(bob.locator("#board tbody tr").first()).toContainText(EVIL);
  // Names come with the stream, too.
  await expect(page.locator("#converted .counter")).toHaveText("1");
  await page.reload();
  await expect(page.locator("#feed li", { hasText: EVIL })).toHaveCount(1);
  const staff = await operator(browser);
  const staffs = watch(staff);
  for (const path of ["/o/users", `/o/users?q=${ada}`, `/o/programs/${PROGRAM}/view`]) {
    await staff.goto(path);
    await expect(staff.getByText(EVIL).first()).toBeVisible();
  }
  for (const [of, found] of [[page, faults], [bob, bobs], [staff, staffs]]) {
    expect(await of.title()).not.toBe("owned");
    found.none();
  }
});

test("a session that was ended does nothing any more", async ({ browser }) => {
  const page = await visitor(browser);
  const ada = fresh("ada");
  await join(page, ada, PROGRAM);
  await page.goto("/profile");
  await page.getByLabel("Shown name").fill("Too late");
  const stolen = (await page.context().cookies()).filter(({ name }) => name === "session");
  const other = await visitor(browser);
  await signIn(other, ada);
  await other.waitForURL("**/p/**");
  await other.goto("/profile");
  await other.locator("form[action='/profile/sessions'] button").first().click();
  await expect(other.locator("form[action='/profile/sessions'] button")).toHaveCount(0);
  // The page is still there, and its form; what it sends is refused.
  await page.locator("form[action='/profile/names']").getByRole("button").click();
  await page.waitForURL("**/sign-in*");
  // Nor does the cookie open anything elsewhere.
  const thief = await visitor(browser);
  await thief.context().addCookies(stolen);
  await thief.goto("/profile");
  await expect(thief).toHaveURL(/\/sign-in/);
  await other.reload();
  await expect(other.getByLabel("Shown name")).toHaveValue("");
});
