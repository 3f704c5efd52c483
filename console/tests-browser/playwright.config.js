// Runs the tests in the Chromium of the system, against the server that `run` has started.
import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: ".",
  // The longest one looks at every page of operators in two themes and at three widths.
  timeout: 600_000,
  // Checks wait for what a page will show, on a machine that may be busy.
  expect: { timeout: 20_000 },
  // The tests share one server, whose programs all of them use.
  workers: 1,
  reporter: "line",
  use: {
    baseURL: process.env.CONSOLE_URL,
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-gpu"],
    },
  },
});
