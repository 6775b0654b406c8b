// The desk's page: sends a suspect to /v1/trace and shows the answer; searches /v1/records.
const $ = (id) => document.getElementById(id);
const status = $("status");
let last = { number: 0, photo: "" }; // The latest suspect, and its blob's address.
let older = null; // Where the list of records goes on.

$("key").value = sessionStorage.getItem("key") ?? "";
$("key").addEventListener("change", () => {
  sessionStorage.setItem("key", $("key").value.trim());
  listRecords();
});
$("access").addEventListener("submit", (event) => event.preventDefault());

/** Calls the desk; an error is its one sentence. */
async function call(path, options = {}) {
  const key = $("key").value.trim();
  const headers = { Accept: "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The desk does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The desk answered with status ${response.status}.`);
  return answer;
}

function say(element, text, error = false) {
  element.textContent = text;
  element.classList.toggle("error", error);
}

/** Fills a list of terms; values that are empty are left out. */
function fill(list, rows) {
  list.replaceChildren();
  for (const [term, value] of rows) {
    if (value === null || value === undefined || value === "") continue;
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = term;
    dd.textContent = value;
    list.append(dt, dd);
  }
}

function rows(record) {
  const time = (text) => text && new Date(text).toLocaleString();
  return [
    ["Payload", record.payload],
    ["Owner", record.owner],
    ["Tagged", time(record.created)],
    ["Revoked", time(record.revoked)],
    ["State", record.state === "written" ? "" : record.state],
    ["File", record.file],
    ["Size", record.width ? `${record.width} x ${record.height} pixels` : ""],
    ["Note", record.note],
  ];
}

function showPicture(figure, address) {
  figure.hidden = !address;
  if (address) figure.querySelector("img").src = address;
}

function showReading(reading, answer) {
  const article = $("reading").content.cloneNode(true).firstElementChild;
  const part = (name) => article.querySelector(name);
  part("h4").textContent = reading.found ? `Payload ${reading.payload}` : "A face without a tag";
  if (reading.mirrored && reading.found) part("h4").textContent += ", read from a mirrored copy";
  part(".change").textContent = reading.in_words;
  showPicture(part(".suspect"), last.photo);
  part("svg").setAttribute("viewBox", `0 0 ${answer.width} ${answer.height}`);
  part("polygon").setAttribute("points", reading.corners.join(" "));
  showPicture(part(".source"), reading.record?.thumbnail);
  showPicture(part(".heat"), reading.heat_map?.picture);
  part(".heatwords").textContent = reading.heat_map?.in_words ?? "";
  const manifest = [["Manifest", reading.manifest?.in_words], ["Its id", reading.manifest?.id]];
  fill(part(".record"), reading.record ? [...rows(reading.record), ...manifest] : []);
  for (const text of reading.sure_in_words) {
    const item = document.createElement("li");
    item.textContent = text;
    part(".sure").append(item);
  }
  return article;
}

function showAnswer(answer, name) {
  $("verdict").textContent = answer.in_words;
  $("verdict").classList.toggle("found", answer.readings.some((reading) => reading.found));
  $("notes").replaceChildren(
    ...answer.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })),
  );
  const readings = [...answer.readings].sort((one, other) => other.found - one.found);
  $("readings").replaceChildren(...readings.map((reading) => showReading(reading, answer)));
  const about = answer.tagger;
  $("about").textContent =
    `Read with ${about.preset}, tag format ${about.format_version}, faketagger-tf ${about.release}; ` +
    `${answer.payloads.toLocaleString()} payloads on record.`;
  $("result").hidden = false;
  say(status, `Traced ${name}.`);
  $("verdict").focus();
}

async function trace(file) {
  const number = ++last.number;
  URL.revokeObjectURL(last.photo);
  last.photo = URL.createObjectURL(file);
  $("result").hidden = true;
  say(status, `Tracing ${file.name} …`);
  const body = new FormData();
  body.append("photo", file);
  try {
    const answer = await call("/v1/trace", { method: "POST", body });
    if (number === last.number) showAnswer(answer, file.name);
  } catch (error) {
    if (number === last.number) say(status, error.message, true);
  }
}

async function listRecords(more = false) {
  const query = new URLSearchParams({ search: $("query").value.trim() });
  if (more && older) query.set("before", older);
  try {
    const answer = await call(`/v1/records?${query}`);
    const items = answer.records.map((record) => {
      const item = $("record").content.cloneNode(true).firstElementChild;
      if (record.thumbnail) item.querySelector("img").src = record.thumbnail;
      item.querySelector(".payload").textContent = record.payload;
      fill(item.querySelector("dl"), rows(record).slice(1));
      return item;
    });
    if (!more) $("records").replaceChildren();
    $("records").append(...items);
    older = answer.next;
    $("more").hidden = !older;
    const count = $("records").children.length;
    say($("found"), count ? `${count} shown, the newest first.` : "No photo was found.");
  } catch (error) {
    $("records").replaceChildren();
    $("more").hidden = true;
    say($("found"), error.message, true);
  }
}

$("file").addEventListener("change", () => $("file").files.length && trace($("file").files[0]));
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) trace(event.dataTransfer.files[0]);
  });
}
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  listRecords();
});
$("more").addEventListener("click", () => listRecords(true));

if ($("key").value) listRecords();
else say($("found"), "Enter a key with the scope admin to see them.");
