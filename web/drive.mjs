// Opens the page in headless Chromium: node drive.mjs FOLDER JOB
// JOB: JSON {photos: [path], noImage: path, tag: {photo, payload, output}, screenshot}.
// Prints JSON {readings, noImage, tagged, hosts}.
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { chromium } from "playwright-core";

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
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
try {
  const page = await browser.newPage({ viewport: { width: 420, height: 900 } });
  const hosts = new Set();
  page.on("request", (request) => hosts.add(new URL(request.url()).hostname));
  page.on("pageerror", (error) => console.error(`page: ${error.message}`));
  const until = (text) =>
    page.waitForFunction(
      (wanted) => new RegExp(wanted).test(document.getElementById("status").textContent),
      text,
      { timeout: 30_000 },
    );
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await until("^Ready");
  const value = (id) => page.textContent(`#${id}`);
  const result = { readings: [] };
  for (const path of job.photos) {
    await page.setInputFiles("#file", path);
    await until(`^Read ${path.split("/").pop()}`);
    result.readings.push({
      ...(await page.evaluate(() => window.reading)),
      bits: await value("bits"),
      payload: await value("payload"),
      checksum: await value("checksum"),
    });
  }
  await page.setInputFiles("#file", job.tag.photo);
  await until("^Read ");
  await page.fill("#value", job.tag.payload);
  await page.press("#value", "Enter");
  await until("^Tagged");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  await download.saveAs(job.tag.output);
  result.tagged = await value("payload");
  if (job.screenshot) await page.screenshot({ path: job.screenshot, fullPage: true });
  await page.focus("#photo");
  await page.keyboard.press("-");
  await until("^Read the square");
  result.moved = await page.evaluate(() => window.reading.logits);
  await page.setInputFiles("#file", job.noImage);
  await until("no image");
  result.noImage = await value("status");
  result.hosts = [...hosts];
  console.log(JSON.stringify(result));
} finally {
  await browser.close();
  server.close();
}
