"use strict";
// One question at a time, by keyboard. An answer is sent while the next image is already on the screen; until it is
// saved it stays in the outbox, and if saving fails the page says so and takes no more.

const AHEAD = 3; // images that are decoded before they are needed
const KEPT = 2; // images behind that stay
const RETRY = 1000; // milliseconds
const at = (id) => document.getElementById(id);

let session = null;
let view = "loading"; // loading | notice | question | saving | feedback | end
let shown = -1; // the question on the screen
let typed = "";
let old = false; // `typed` is the saved answer; the first digit replaces it
let scale = 0;
let clock = null; // milliseconds, when the image appeared; null while it loads or the page is hidden
let spent = 0; // milliseconds before that
let outbox = []; // answers that are not saved yet
let sending = false;
let trouble = "";
const pictures = new Map(); // question -> {canvas, ready, failed, wait}

// ---- the server ----

async function post(entry) {
  const reply = await fetch("answer", {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(entry),
  });
  const content = await reply.json();
  return {status: reply.status, content};
}

async function send() {
  if (sending) return;
  sending = true;
  while (outbox.length) {
    const {entry, done} = outbox[0];
    let reply = null;
    try {
      reply = await post(entry);
    } catch {
      trouble = "The program in the terminal does not answer.";
    }
    if (reply && (reply.status === 200 || reply.status === 422)) { // saved, or judged; else the answer is kept
      outbox.shift();
      if (trouble) {
        trouble = "";
        say("");
      }
      const refused = reply.status !== 200;
      if (!refused) session.questions[entry.question] = reply.content;
      done(refused ? reply.content.error : "");
      if (!outbox.length && view !== "saving") refresh();
      continue;
    }
    if (reply) trouble = `${reply.content.error}.`;
    say("");
    await new Promise((resolve) => setTimeout(resolve, RETRY));
  }
  sending = false;
}

function save(value) {
  const entry = {question: shown, value, scale, seconds: Math.round(elapsed() / 10) / 100};
  const question = session.questions[shown];
  question.percent = value === null ? null : percentOf(value, question);
  question.skipped = value === null;
  question.seconds += entry.seconds;
  return new Promise((done) => {
    outbox.push({entry, done});
    send();
  });
}

addEventListener("beforeunload", (event) => {
  if (outbox.length) event.preventDefault();
});

// ---- questions ----

const answered = (question) => question.percent !== null || question.skipped;
const same = (a, b) => a && b && a.class === b.class && a.training === b.training;
const ofPass = (question) => session.questions.filter((other) => same(other, question));

function percentOf(value, question) {
  const percent = Number(value) * (session.unit === "boxes" ? question.per_box[scale] : 1);
  return Math.round(percent * 100) / 100;
}

function next(from) {
  const after = session.questions.findIndex((question, number) => number > from && !answered(question));
  return after >= 0 ? after : session.questions.findIndex((question) => !answered(question));
}

function back(from) {
  for (let number = from - 1; number >= 0; number--) {
    const question = session.questions[number];
    if (answered(question) && !question.training) return number; // a true size that was shown cannot be unseen
  }
  return -1;
}

function meanError(pass) {
  const errors = pass.filter((q) => q.truth !== null && q.percent !== null)
    .map((q) => Math.abs(q.percent - q.truth) / q.truth);
  return errors.length ? 100 * errors.reduce((a, b) => a + b, 0) / errors.length : null;
}

const percent = (value) => `${Number(value.toFixed(2))} %`;

// ---- images ----

function picture(number) {
  if (!pictures.has(number)) {
    const canvas = document.createElement("canvas");
    const entry = {canvas, ready: false, failed: false};
    entry.wait = draw(number, canvas).then(() => { entry.ready = true; }, () => { entry.failed = true; });
    pictures.set(number, entry);
  }
  return pictures.get(number);
}

// At the size of the screen and off the main thread: a browser may forget a decoded <img>, and would decode it again
// when it is shown.
async function draw(number, canvas) {
  const reply = await fetch(`image/${number}`);
  if (!reply.ok) throw new Error(reply.statusText);
  const {width, height} = session.questions[number];
  const part = Math.min(1, at("stage").clientWidth * devicePixelRatio / Math.max(width, height));
  const bitmap = await createImageBitmap(await reply.blob(), {
    resizeWidth: Math.max(1, Math.round(width * part)), resizeHeight: Math.max(1, Math.round(height * part)),
    resizeQuality: "high",
  });
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
}

addEventListener("resize", () => pictures.clear());

function preload(number) {
  const wanted = new Set([number]);
  for (let behind = number; wanted.size <= KEPT && (behind = back(behind)) >= 0;) wanted.add(behind);
  for (let count = 0, ahead = number; count < AHEAD; count++) {
    ahead = session.questions.findIndex((question, index) => index > ahead && !answered(question));
    if (ahead < 0) break;
    wanted.add(ahead);
    picture(ahead);
  }
  for (const kept of pictures.keys()) if (!wanted.has(kept)) pictures.delete(kept);
}

function elapsed() {
  return spent + (clock === null ? 0 : performance.now() - clock);
}

document.addEventListener("visibilitychange", () => {
  if (view !== "question") return;
  if (document.hidden) {
    spent = elapsed();
    clock = null;
  } else if (picture(shown).ready) {
    clock = performance.now();
  }
});

// ---- the screen ----

function say(text, kind = "") {
  at("message").textContent = trouble ? `Not saved yet: ${trouble} Trying again; keep this page open.` : text;
  at("message").className = trouble ? "bad" : kind;
}

function show(number) {
  const question = session.questions[number];
  shown = number;
  view = "question";
  old = answered(question);
  typed = old ? inUnit(question) : "";
  clock = null;
  spent = 0;
  say(old ? `Answered${question.skipped ? ": cannot tell" : ""}. Type another size, or press Enter to keep it.` : "");
  const entry = picture(number);
  const appear = () => {
    if (shown !== number || view !== "question") return;
    at("frame").replaceChildren(entry.canvas, grid(question));
    at("frame").hidden = false;
    if (entry.failed) say("This image cannot be shown; press s to skip it.", "bad");
    requestAnimationFrame(() => { if (shown === number && !document.hidden) clock = performance.now(); });
  };
  const longer = Math.max(question.width, question.height);
  at("frame").style.width = `${100 * question.width / longer}%`;
  at("frame").style.height = `${100 * question.height / longer}%`;
  at("notice").hidden = true;
  if (entry.ready) {
    appear();
  } else {
    at("frame").hidden = true;
    entry.wait.then(appear);
  }
  refresh();
  preload(number);
}

function grid(question) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.id = "grid";
  if (session.aid !== "grid") return svg;
  let [rows, columns] = session.grids[scale];
  if (question.height > question.width) [rows, columns] = [columns, rows];
  svg.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
  svg.setAttribute("preserveAspectRatio", "none");
  let lines = "";
  for (let row = 1; row < rows; row++) lines += `M0 ${row}H${columns}`;
  for (let column = 1; column < columns; column++) lines += `M${column} 0V${rows}`;
  for (const name of ["dark", "light"]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", name);
    path.setAttribute("d", lines);
    svg.append(path);
  }
  return svg;
}

function refresh() {
  const question = session.questions[Math.max(0, shown)];
  const pass = ofPass(question);
  const done = pass.filter(answered);
  const timed = pass.filter((q) => q.percent !== null);
  const seconds = timed.reduce((sum, q) => sum + q.seconds, 0) / timed.length;
  const all = session.questions.filter(answered).length;
  at("class").textContent = question.class;
  at("phase").textContent = question.training ? "training, with feedback" : "";
  at("numbers").textContent = `${Math.min(pass.length, pass.indexOf(question) + 1)} of ${pass.length}`
    + ` · ${done.length} answered` + (timed.length ? ` · ${seconds.toFixed(1)} s each` : "")
    + (pass.length < session.questions.length ? ` · ${all} of ${session.questions.length} in all` : "");
  at("progress").max = pass.length;
  at("progress").value = done.length;
  const asking = view === "question" || view === "saving" || view === "feedback";
  for (const id of ["question", "field", "image"]) at(id).hidden = !asking;
  at("reference").hidden = !asking || session.aid === "none";
  if (!asking) return;
  at("question").replaceChildren("How much of the image is ", bold(question.class), "?");
  at("typed").textContent = typed;
  at("field").className = old ? "old" : "";
  const boxes = session.aid === "grid" ? "cells" : "boxes";
  at("unit").textContent = session.unit === "percent" ? "%"
    : boxes + (Number(typed) ? ` = ${percent(percentOf(typed, question))}` : "");
  at("image").textContent = question.image;
  if (session.aid === "box") {
    at("box").style.setProperty("--part", session.boxes[scale]);
    at("caption").textContent = `This box is ${percent(question.per_box[scale])} of this image.`;
  } else if (session.aid === "grid") {
    at("box").hidden = true;
    at("caption").textContent = `A cell is ${percent(question.per_box[scale])} of the image.`;
  }
}

function bold(text) {
  const element = document.createElement("b");
  element.textContent = text;
  return element;
}

function notice(title, ...lines) {
  const heading = document.createElement("h2");
  heading.textContent = title;
  at("notice").replaceChildren(heading, ...lines.map((line) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = line;
    return paragraph;
  }));
  at("notice").hidden = false;
  at("frame").hidden = true;
  say("");
  refresh();
}

function announce(number) {
  const question = session.questions[number];
  const pass = ofPass(question);
  const left = pass.filter((other) => !answered(other)).length;
  const lines = [
    `Say how much of each image is ${question.class}: all of it together, `
      + (session.unit === "boxes" ? "in boxes" : "in percent of the whole image") + ". Decimals are allowed.",
    "Leave out what is hidden behind other things.",
  ];
  if (question.training) lines.push("After each answer you see the true size.");
  const trained = session.questions.filter((other) => other.class === question.class && other.training);
  const error = question.training ? null : meanError(trained);
  if (error !== null) {
    lines.unshift(`Training is over: your answers were ${error.toFixed(1)} % off on average. No feedback from here on.`);
  }
  lines.push("Press Enter to begin.");
  shown = number;
  view = "notice";
  preload(number);
  picture(number);
  notice(`${question.class}: ${left} image${left === 1 ? "" : "s"}${question.training ? " for training" : ""}`, ...lines);
}

function proceed(from) {
  const number = next(from);
  if (number < 0) {
    finish();
  } else if (!same(session.questions[number], session.questions[from])) {
    announce(number);
  } else {
    show(number);
  }
}

function finish() {
  view = "end";
  const answers = session.questions.filter((q) => q.percent !== null && !q.training).length;
  const skipped = session.questions.filter((q) => q.skipped).length;
  shown = session.questions.length - 1;
  const lines = [`${answers} answers in ${session.out}` + (skipped ? `, ${skipped} skipped.` : ".")];
  const error = meanError(ofPass(session.questions[shown]));
  if (error !== null) lines.push(`Your answers were ${error.toFixed(1)} % off on average.`);
  notice("All done", ...lines, "← goes back to correct. Ctrl-C in the terminal ends the program.");
}

// ---- keys ----

async function enter() {
  const question = session.questions[shown];
  if (view === "notice") return show(shown);
  if (view === "feedback") return proceed(shown);
  if (old) return proceed(shown);
  if (!(typed && Number.isFinite(Number(typed)))) return say("Type a number first, or press s to skip.", "bad");
  const value = percentOf(typed, question);
  if (value > 100) return say(`${percent(value)} is more than the image.`, "bad");
  if (value === 0 && (session.tagged || Number(typed))) {
    return say(session.tagged ? `The tags say that there is ${question.class}; press s if you see none.` : "Too small.", "bad");
  }
  return take(typed);
}

async function take(value) {
  if (trouble) return;
  const number = shown;
  const saved = save(value);
  if (!session.questions[number].training || value === null) {
    proceed(number);
    const refused = await saved;
    if (refused) await reopen(number, refused);
    return;
  }
  view = "saving";
  const refused = await saved;
  if (refused) return reopen(number, refused);
  feedback(number);
}

async function reopen(number, reason) {
  session = await (await fetch("session")).json();
  show(number);
  say(`Not saved: ${reason}.`, "bad");
}

function feedback(number) {
  const question = session.questions[number];
  view = "feedback";
  clock = null;
  const mask = new Image();
  mask.id = "truth";
  mask.alt = "the true mask";
  mask.src = `truth/${number}`;
  at("frame").append(mask);
  const error = 100 * Math.abs(question.percent - question.truth) / question.truth;
  refresh();
  say(`True size ${percent(question.truth)}, your answer ${percent(question.percent)}: ${error.toFixed(0)} % off. `
    + `Mean so far ${meanError(ofPass(question)).toFixed(1)} %. Press Enter.`, "good");
}

function inUnit(question) {
  if (question.percent === null) return "";
  const boxes = session.unit === "boxes" ? question.percent / question.per_box[scale] : question.percent;
  return String(Number(boxes.toFixed(2)));
}

function type(key) {
  if (old) typed = "";
  old = false;
  if (key === "." && typed.includes(".")) return;
  const whole = typed + key;
  if (whole.length <= 7 && !/\.\d{3}/.test(whole)) typed = whole;
  say("");
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !session || !session.questions.length) return;
  const key = event.key === "," ? "." : event.key;
  const asking = view === "question";
  if (key === "Enter") {
    event.preventDefault();
    if (!event.repeat && !trouble) enter();
  } else if (key === "ArrowLeft" && ["question", "notice", "feedback", "end"].includes(view) && !trouble) {
    const number = back(view === "end" ? session.questions.length : shown);
    if (number >= 0) show(number);
  } else if (key === "ArrowRight" && asking && old && !trouble) {
    proceed(shown);
  } else if (asking && /^[0-9.]$/.test(key)) {
    event.preventDefault();
    type(key);
    refresh();
  } else if (asking && key === "Backspace") {
    event.preventDefault();
    typed = old ? "" : typed.slice(0, -1);
    old = false;
    refresh();
  } else if (asking && (key === "ArrowUp" || key === "ArrowDown") && session.aid !== "none") {
    event.preventDefault();
    scale = key === "ArrowUp" ? 1 : 0;
    if (old) typed = inUnit(session.questions[shown]);
    at("grid")?.replaceWith(grid(session.questions[shown]));
    refresh();
  } else if (asking && key === "s" && !event.repeat) {
    take(null);
  }
}

addEventListener("keydown", press);

async function start() {
  try {
    const reply = await fetch("session");
    if (!reply.ok) throw new Error((await reply.json()).error);
    session = await reply.json();
  } catch (error) {
    say(`The questions could not be loaded: ${error.message}`, "bad");
    return;
  }
  at("scales").hidden = session.aid === "none";
  at("switches").textContent = session.aid === "grid" ? "coarse, fine grid" : "large, small box";
  const number = next(-1);
  if (number < 0) finish();
  else announce(number);
}

start();
