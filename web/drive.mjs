// Opens the page in headless Chromium: node drive.mjs FOLDER JOB
// JOB: JSON {query: after the address, photos: [path], noImage, tags: [{photo, payload, output: null where it
// is to be refused}], screenshot}.
// Prints JSON {ready, readings: by photo, tagged: [readings by tag], noImage, hosts}.
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { basename, extname, join, normalize } from "node:path";
import { chromium } from "playwright-core";

// A page that shares its processor with other work takes several times as long.
const TIMEOUT = 300_000;
const [folder, jobFile] = process.argv.slice(2);
const job = JSON.parse(readFileSync(jobFile, "utf8"));
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".wasm": "application/wasm" };
const server = createServer((request, response) => {
  const path = join(folder, normalize(new URL(request.url, "http://x").pathname));
  const file = existsSync(path) && statSync(path).isDirectory() ? join(path, "index.html") : path;
  if (!existsSync(file)) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" });
  createReadStream(file).pipe(response);
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"], timeout: TIMEOUT });
try {
  const page = await browser.newPage({ viewport: { width: 420, height: 900 } });
  page.setDefaultTimeout(TIMEOUT);
  const hosts = new Set();
  page.on("request", (request) => hosts.add(new URL(request.url()).hostname));
  page.on("pageerror", (error) => console.error(`page: ${error.message}`));
  const status = () => page.textContent("#status");
  /** Waits until the page says something that starts so, or says that it failed. */
  const until = async (start, error = false) => {
    await page.waitForFunction(
      (wanted) => {
        const status = document.getElementById("status");
        return status.textContent.startsWith(wanted) || status.classList.contains("error");
      },
      start,
    );
    const text = await status();
    if (!error && !text.startsWith(start)) throw new Error(`The page says: ${text}`);
    return text;
  };
  const open = async (path) => {
    await page.setInputFiles("#file", path);
    await until(`Read ${basename(path)}`);
    return page.evaluate(() => window.readings);
  };
  await page.goto(`http://127.0.0.1:${server.address().port}/${job.query ?? ""}`);
  const result = { ready: await until("Ready", true), readings: {}, tagged: [] };
  for (const path of job.photos ?? []) {
    const start = performance.now();
    const readings = await open(path);
    const text = await page.innerText("#work");
    result.readings[path] = { readings, text, ms: performance.now() - start };
  }
  // By keyboard alone, once the file is chosen.
  for (const { photo, payload, output } of job.tags ?? []) {
    await open(photo);
    await page.focus("#file");
    await page.keyboard.press("Tab");
    await page.keyboard.type(payload);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    const said = await until("Tagged;", !output);
    if (!output) {
      result.tagged.push({ said });
      continue;
    }
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.focus("#download").then(() => page.keyboard.press("Enter")),
    ]);
    await download.saveAs(output);
    result.tagged.push({ said, readings: await page.evaluate(() => window.readings) });
    await page.fill("#value", "");
  }
  if (job.screenshot) await page.screenshot({ path: job.screenshot, fullPage: true });
  if (job.noImage) {
    // The page may still show an earlier refusal, which is not to be taken for this one.
    await page.reload();
    await until("Ready", true);
    await page.setInputFiles("#file", job.noImage);
    result.noImage = await until("(an error)", true);
  }
  result.hosts = [...hosts];
  console.log(JSON.stringify(result));
} finally {
  await browser.close();
  server.close();
}
