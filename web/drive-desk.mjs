// Opens the desk's page in headless Chromium: node drive-desk.mjs JOB
// JOB: JSON {url, key, width, height, dark, photos: [path], drop: path, searches: [text], more, screenshot}.
// Prints JSON {start, photos: by path, dropped, searches: by text, more, wide, unnamed, hosts, faults}.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { chromium } from "playwright-core";

const TIMEOUT = 120_000;
const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"], timeout: TIMEOUT });
try {
  const page = await browser.newPage({
    viewport: { width: job.width ?? 360, height: job.height ?? 800 },
    colorScheme: job.dark ? "dark" : "light",
  });
  page.setDefaultTimeout(TIMEOUT);
  const hosts = new Set();
  const faults = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith("http")) hosts.add(url.hostname);
  });
  page.on("pageerror", (error) => faults.push(error.message));
  // A breach of the Content-Security-Policy comes here, too; a refused call is expected.
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("status of 4")) faults.push(message.text());
  });
  const text = (id) => page.textContent(`#${id}`);
  const settled = (id, ...starts) =>
    page.waitForFunction(
      ([id, starts]) => {
        const element = document.getElementById(id);
        return element.classList.contains("error") || starts.some((start) => element.textContent.includes(start));
      },
      [id, starts],
    );
  await page.goto(job.url);
  const result = { photos: {}, searches: {}, start: await text("found") };
  // By keyboard alone: the key is the first thing that Tab reaches.
  await page.keyboard.press("Tab");
  await page.keyboard.type(job.key);
  await page.keyboard.press("Tab");
  const focused = () => page.evaluate(() => document.activeElement.id);
  result.order = [await focused()];
  await settled("found", "shown", "No photo");
  const shown = async () => ({
    status: await text("status"),
    focus: await focused(),
    text: (await page.isVisible("#result")) ? await page.innerText("#result") : "",
    frames: await page.$$eval("#readings polygon", (frames) => frames.map((frame) => frame.getAttribute("points"))),
    pictures: await page.$$eval("#readings img", (images) =>
      images.filter((image) => image.checkVisibility()).map((image) => [image.alt, image.complete && image.naturalWidth]),
    ),
  });
  for (const path of job.photos ?? []) {
    await page.setInputFiles("#file", path);
    await settled("status", `Traced ${basename(path)}`);
    await page.waitForFunction(() => [...document.querySelectorAll("#readings img[src]")].every((image) => image.complete));
    result.photos[path] = await shown();
  }
  if (job.drop) {
    const data = readFileSync(job.drop).toString("base64");
    await page.evaluate(
      ([data, name]) => {
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], name));
        const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
        document.body.dispatchEvent(new DragEvent("dragover", options));
        document.body.dispatchEvent(new DragEvent("drop", options));
      },
      [data, basename(job.drop)],
    );
    await settled("status", `Traced ${basename(job.drop)}`);
    result.dropped = await shown();
  }
  const records = () => page.$$eval("#records li", (items) => items.map((item) => item.innerText));
  for (const query of job.searches ?? []) {
    await page.focus("#query");
    await page.fill("#query", query);
    const answered = page.waitForResponse((response) => response.url().includes("/v1/records"));
    await page.keyboard.press("Enter");
    await (await answered).finished();
    await settled("found", "shown", "No photo");
    result.searches[query] = { found: await text("found"), records: await records() };
  }
  if (job.more) {
    const before = (await records()).length;
    await page.focus("#more");
    await page.keyboard.press("Enter");
    await page.waitForFunction((count) => document.querySelectorAll("#records li").length > count, before);
    result.more = { records: await records(), more: await page.isVisible("#more") };
  }
  result.wide = await page.evaluate(() => document.documentElement.scrollWidth);
  result.unnamed = await page.$$eval("input, button, img", (elements) =>
    elements
      .filter((e) => !(e.labels?.length || e.textContent.trim() || e.hasAttribute("alt")))
      .map((e) => e.outerHTML),
  );
  result.live = await page.$$eval("[role=status]", (elements) => elements.map((e) => e.id));
  if (job.screenshot) await page.screenshot({ path: job.screenshot, fullPage: job.height === undefined });
  result.hosts = [...hosts];
  result.faults = faults;
  console.log(JSON.stringify(result));
} finally {
  await browser.close();
}
