// Drives examples/browser.html for real: its markup and its script run in jsdom, over a true WebSocket.
//
// Once:   npm ci                      (in this folder; Node 18 or later)
// Usage:  node page.mjs WS-URL [--user U] [--password P] [--subscribe CLASS/SUBCLASS/TYPE/OBJ_ID]…
//                       [--users] [--send PATH --body JSON] [--reconnect] [--expect TEXT] [--timeout SECONDS]
//
// The page is opened with `?url=…&user=…&subscribe=…&auto=1`; with --password the form is filled in and sent instead.
// Once the page is logged in and subscribed, it does in this order what is asked for: --users presses "List", --send
// fires an event through the form, --reconnect waits until the connection was lost and is logged in and subscribed
// again. Then it waits for an event whose body, as the page shows it, contains TEXT (it may have come before).
//
// Prints one line for each thing seen on the page; a body is on one line, JSON without spaces:
//   state connecting | connected | waiting | refused | closed, then the page's own words
//   notice TEXT
//   ready                              logged in, every subscription active
//   event CLASS/SUBCLASS/TYPE/OBJ_ID BODY
//   user NAME SESSION…
// Exit status: 0 all was seen; 1 it was not (refused, out of time, a script error); 2 wrong usage.

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { JSDOM, VirtualConsole } from "jsdom";

const PAGE = new URL("../../examples/browser.html", import.meta.url);
const DEFAULT_TIMEOUT_S = "20";

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        user: { type: "string", default: "browser" },
        password: { type: "string" },
        subscribe: { type: "string", multiple: true, default: [] },
        users: { type: "boolean", default: false },
        send: { type: "string" },
        body: { type: "string", default: "{}" },
        reconnect: { type: "boolean", default: false },
        expect: { type: "string" },
        timeout: { type: "string", default: DEFAULT_TIMEOUT_S },
      },
    });
    if (positionals.length !== 1) throw new Error("exactly one WebSocket URL is needed");
    if (!(Number(values.timeout) > 0)) throw new Error("--timeout takes a number of seconds");
    return { url: positionals[0], ...values };
  } catch (error) {
    console.error(`page.mjs: ${error.message}; its first lines say how to use it`);
    process.exit(2);
  }
}

function fail(reason) {
  console.error(`page.mjs: ${reason}`);
  process.exit(1);
}

function addressOf({ url, user, password, subscribe }) {
  const address = new URL(PAGE);
  const parameters = [["url", url], ["user", user], ...subscribe.map((path) => ["subscribe", path])];
  if (password === undefined) parameters.push(["auto", "1"]);
  address.search = new URLSearchParams(parameters);
  return address.href;
}

async function openPage(options) {
  const virtualConsole = new VirtualConsole();
  virtualConsole.on("jsdomError", (error) => fail(`the page's script failed: ${error.detail ?? error.message}`));
  return JSDOM.fromFile(fileURLToPath(PAGE), {
    url: addressOf(options),
    runScripts: "dangerously",
    pretendToBeVisual: true,
    virtualConsole,
    beforeParse: (window) => watch(window, options),
  });
}

/** Prints what changes on the page, from its first moment on. */
function watch(window, { expect }) {
  const { document } = window;
  const seen = { state: "", notice: "", events: new WeakSet() };
  const look = () => {
    if (!document.getElementById("events")) return;
    const status = document.getElementById("status");
    const state = `${status.dataset.state} ${status.textContent}`;
    if (state !== seen.state) console.log(`state ${seen.state = state}`);
    const notice = document.getElementById("notice").textContent;
    if (notice !== seen.notice && (seen.notice = notice)) console.log(`notice ${notice}`);
    for (const item of [...document.querySelectorAll("#events > .event")].reverse()) {
      if (seen.events.has(item)) continue;
      seen.events.add(item);
      showEvent(item, expect);
    }
  };
  new window.MutationObserver(look).observe(document, {
    subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ["data-state"],
  });
}

const expected = { seen: false };

function showEvent(item, expect) {
  const markup = item.querySelector(":not(div, span, time, pre)");
  if (markup) fail(`received text became markup: ${markup.outerHTML}`);
  const text = item.querySelector("pre").textContent;
  console.log(`event ${item.querySelector(".path").textContent} ${onOneLine(text)}`);
  if (expect !== undefined && (text.includes(expect) || onOneLine(text).includes(expect))) expected.seen = true;
}

/** The page indents bodies and shortens very long ones, which then are no JSON. */
function onOneLine(text) {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return text.replace(/\s+/g, " ");
  }
}

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

async function main() {
  const options = readArguments();
  setTimeout(() => fail(`not seen within ${options.timeout} s`), Number(options.timeout) * 1000);
  const { document } = (await openPage(options)).window;
  const byId = (id) => document.getElementById(id);
  const fill = (id, value) => { byId(id).value = value; };
  const state = () => byId("status").dataset.state;

  if (options.password !== undefined) {
    fill("password", options.password);
    byId("connect").click();
  }
  const ready = () => {
    if (state() === "refused") fail(`refused: ${byId("notice").textContent}`);
    const rows = [...document.querySelectorAll("#subscriptions > li")];
    return state() === "connected" && rows.length === options.subscribe.length
      && rows.every((row) => row.dataset.state === "active");
  };
  await until(ready);
  console.log("ready");

  if (options.users) {
    byId("users-button").click();
    await until(() => byId("users").children.length > 0);
    for (const { firstChild, children } of byId("users").children) {
      console.log(["user", firstChild.textContent, ...[...children].map((session) => session.textContent)].join(" "));
    }
  }
  if (options.send !== undefined) {
    const [cls, subclass = "", type = "", ...objId] = options.send.split("/");
    fill("send-class", cls);
    fill("send-subclass", subclass);
    fill("send-type", type);
    fill("send-obj-id", objId.join("/"));
    fill("send-body", options.body);
    byId("send-button").click();
  }
  if (options.reconnect) {
    await until(() => state() !== "connected");
    await until(ready);
    console.log("ready");
  }
  if (options.expect !== undefined) await until(() => expected.seen);
  process.exit(0);
}

await main();
