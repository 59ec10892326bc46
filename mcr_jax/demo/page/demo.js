// The page's own script: takes a clip, sends it, asks how far it is, shows the answer.
"use strict";
const $ = (id) => document.getElementById(id);
const form = $("form"), player = $("player"), live = $("live");
const most = Number(form.dataset.largest), longest = Number(form.dataset.seconds);
const MEGA = 1024 * 1024;
let clip = null, sending = null, number = 0, recorder = null;

function say(message) {
  $("message").textContent = message;
  $("message").hidden = !message;
  if (message) $("message").scrollIntoView({block: "nearest"});
}

function show(state) {  // idle, busy or recording
  form.dataset.state = state;
  $("progress").hidden = state !== "busy";
  $("send").disabled = state !== "idle";
  $("record").disabled = state === "busy";
  $("record").textContent = state === "recording" ? "Stop" : "Record with the camera";
}

function take(file, name) {
  say("");
  if (file.size > most) {
    say(`The clip has ${Math.ceil(file.size / MEGA)} MB; the most is ${most / MEGA} MB.`);
    return;
  }
  clip = new File([file], name);
  $("chosen").textContent = `${name}, ${(file.size / MEGA).toFixed(1)} MB`;
  if (player.src) URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(file);
  player.hidden = false;
}

async function record() {
  if (recorder) return recorder.stop();
  say("");
  let camera;
  try {
    camera = await navigator.mediaDevices.getUserMedia({video: true, audio: true});
  } catch (error) {
    return say(`No camera with a microphone can be used here (${error.name}).`);
  }
  const parts = [];
  recorder = new MediaRecorder(camera);
  live.srcObject = camera;
  live.hidden = false;
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => {
    for (const track of camera.getTracks()) track.stop();
    live.hidden = true;
    live.srcObject = null;
    const kind = recorder.mimeType.includes("mp4") ? "mp4" : "webm";
    recorder = null;
    show("idle");
    take(new Blob(parts, {type: `video/${kind}`}), `recording.${kind}`);
  };
  recorder.start();
  show("recording");
  player.hidden = true;
  $("chosen").textContent = `Recording, up to ${longest} seconds`;
  const own = recorder;
  setTimeout(() => own.state === "recording" && own.stop(), longest * 1000 - 500);
}

async function body() {
  const file = $("subtitles")?.files[0];
  const typed = $("words")?.value.trim() ?? "";
  const silent = $("silent")?.checked;
  const head = {
    name: clip.name,
    words: typed || silent ? typed : null,
    subtitles: file ? await file.text() : null,
    suffix: file ? file.name.slice(Math.max(0, file.name.lastIndexOf("."))) : "",
  };
  const json = new TextEncoder().encode(JSON.stringify(head));
  const size = new DataView(new ArrayBuffer(4));
  size.setUint32(0, json.length);
  return new Blob([size.buffer, json, clip]);
}

async function send(event) {
  event.preventDefault();
  if (!clip) return say("Choose or record a clip first.");
  say("");
  show("busy");
  tell({stage: "Sending the clip", share: null});
  $("result").textContent = "";
  $("progress").scrollIntoView({block: "nearest"});
  sending = new AbortController();
  try {
    const headers = {"content-type": "application/octet-stream"};
    const signal = sending.signal;
    const answer = await fetch("job", {method: "POST", body: await body(), headers, signal});
    const said = await answer.json();
    sending = null;
    if (!answer.ok) throw new Error(said.message);
    number = said.number;
    await follow();
  } catch (error) {
    end(error);
  }
}

function tell(job) {
  $("stage").textContent = job.stage;
  if (job.share === null) $("bar").removeAttribute("value");
  else $("bar").value = job.share;
}

async function follow() {
  for (;;) {
    const job = await (await fetch("job")).json();
    if (!job || job.number !== number) throw new Error("Another clip has taken its place.");
    tell(job);
    if (job.state === "failed") throw new Error(job.message);
    if (job.state === "cancelled") throw new DOMException("", "AbortError");
    if (job.state === "done") break;
    await new Promise((resume) => setTimeout(resume, 400));
  }
  show("idle");
  const answer = await (await fetch("result")).text();
  const parsed = new DOMParser().parseFromString(answer, "text/html");
  $("result").replaceChildren(...parsed.body.childNodes);
  dispatchEvent(new Event("draw"));
  $("answer").focus();
}

function end(error) {
  sending = null;
  show("idle");
  if (error.name === "AbortError") return say("Cancelled.");
  const gone = error instanceof TypeError;
  say(gone ? "No answer: the program has ended, or did not take the clip." : error.message);
}

async function cancel() {
  if (sending) return sending.abort();
  await fetch(`job/${number}`, {method: "DELETE"}).catch(end);
}

function mark() {
  const now = player.currentTime + 0.01;  // players stop a little before a time
  dispatchEvent(new CustomEvent("now", {detail: now}));
  let last = null;
  for (const word of document.querySelectorAll("#said [data-start]")) {
    word.classList.remove("now");
    if (Number(word.dataset.start) <= now) last = word;
  }
  last?.classList.add("now");
}

// One word is reached by Tab, the others by arrows from there.
function walk(event) {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  const words = [...document.querySelectorAll("#said button")];
  const next = words[words.indexOf(document.activeElement) + step];
  if (!step || !next || !words.includes(document.activeElement)) return;
  event.preventDefault();
  document.activeElement.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

form.addEventListener("submit", send);
$("clip").addEventListener("change", () => {
  for (const file of $("clip").files) take(file, file.name);
});
$("record").addEventListener("click", record);
$("cancel").addEventListener("click", cancel);
player.addEventListener("timeupdate", mark);
player.addEventListener("error", () => { player.hidden = true; });
$("result").addEventListener("keydown", walk);
$("result").addEventListener("click", (event) => {
  const start = event.target.closest("[data-start]")?.dataset.start;
  if (start && player.src) player.currentTime = Number(start);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    form.classList.toggle("over", kind === "dragover");
    const file = kind === "drop" && event.dataTransfer.files[0];
    if (file && form.dataset.state === "idle") take(file, file.name);
  });
}
$("record").hidden = !navigator.mediaDevices || !window.MediaRecorder;

// What another tab has begun, or this one before it was loaded again, is shown here.
fetch("job").then((answer) => answer.json()).then((job) => {
  if (!job || !["working", "done"].includes(job.state)) return;
  number = job.number;
  show("busy");
  follow().catch(end);
}).catch(end);
