#!/usr/bin/env node
// A session plugin for Node: serves class `math` for every client of the broker.
//
//     node examples/worker.mjs [--url tcp://127.0.0.1:9012] [--user worker] [--password …]
//
// Node 20 or later, and no packages. It reconnects by itself, works on several requests at once, and acks those that
// take longer than a second. Its user needs `register:math/**`: see docs/session-plugins.md.

import net from "node:net";
import readline from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const ACK_AFTER = 1_000; // the broker waits 5 s for a first ack …
const ACK_EVERY = 60_000; // … and 180 s after each
const CALLS_WAIT = 5_000; // for the answers to what this worker asks of the broker itself

/** An error answer to the caller. Codes from 200000 up are free for plugins. */
class Failure extends Error {
  constructor(code, text) {
    super(text);
    this.data = { code, error: text };
  }
}

// --- the commands

const NUMBERS = {
  type: "object",
  required: ["numbers"],
  properties: { numbers: { type: "array", items: { type: "number" }, maxItems: 10_000 } },
};

const DELAY = {
  type: "object",
  properties: { seconds: { type: "number", minimum: 0, maximum: 600, default: 2 } },
};

// The broker checks the data against the schema, and fills defaults in, before it sends a request here.
const COMMANDS = {
  sum: {
    description: "Adds numbers up.",
    data_schema: NUMBERS,
    run: async ({ numbers }, caller) => ({ sum: numbers.reduce((a, b) => a + b, 0), for: caller.user }),
  },
  mean: {
    description: "The mean of some numbers.",
    data_schema: NUMBERS,
    run: async ({ numbers }) => {
      if (numbers.length === 0) throw new Failure(200_001, "There are no numbers");
      return { mean: numbers.reduce((a, b) => a + b, 0) / numbers.length };
    },
  },
  slow: {
    description: "Takes its time.",
    data_schema: DELAY,
    run: async ({ seconds }) => {
      await sleep(seconds * 1_000);
      return { slept: seconds };
    },
  },
};

async function work(request) {
  if (request.class === "core") return { result: "ok" }; // events and pings
  const command = Object.hasOwn(COMMANDS, request.cmd) ? COMMANDS[request.cmd] : undefined;
  try {
    if (request.class !== "math" || !command) throw new Failure(100_006, "Not implemented");
    return { result: "ok", data: await command.run(request.data ?? {}, request.from) };
  } catch (error) {
    if (error instanceof Failure) return { result: "error", data: error.data };
    // A mistake of ours: the caller gets no details.
    console.log(`${request.cmd} failed: ${error}`);
    return { result: "error", data: { code: 100_002, error: "Internal error" } };
  }
}

// --- the connection

/** Every request of the broker is answered once: events and pings, too. */
async function answer(request, send) {
  if (request.tid === undefined) return;
  const ack = () => {
    send({ ack: request.tid });
    timer = setTimeout(ack, ACK_EVERY);
  };
  let timer = setTimeout(ack, ACK_AFTER);
  const answered = await work(request);
  clearTimeout(timer);
  send({ ...answered, tid: request.tid });
}

/** Serves until the connection ends, or is refused. */
async function serve(url, login) {
  const socket = net.connect({ host: url.hostname, port: Number(url.port), noDelay: true });
  const waiting = new Map();
  let lastTid = 0;
  const send = (message) => {
    if (!socket.destroyed) socket.write(`${JSON.stringify(message)}\n`);
  };
  const ask = (subclass, cmd, data) =>
    new Promise((resolve, reject) => {
      const tid = ++lastTid;
      const timer = setTimeout(() => reject(new Error(`no answer to ${cmd}`)), CALLS_WAIT);
      waiting.set(tid, { resolve, reject, timer });
      send({ class: "core", subclass, cmd, data, tid });
    });
  const settle = (message) => {
    const { resolve, reject, timer } = waiting.get(message.tid) ?? {};
    waiting.delete(message.tid);
    clearTimeout(timer);
    if (message.result === "ok") resolve?.(message.data ?? {});
    else reject?.(new Error(message.data?.error));
  };
  const ended = new Promise((resolve, reject) => {
    socket.on("close", resolve);
    socket.on("error", reject);
  });
  // Handled here, for it may end while nobody waits for it yet.
  ended.catch(() => {});
  readline.createInterface({ input: socket }).on("line", (line) => {
    const message = JSON.parse(line);
    if (message.cmd !== undefined) answer(message, send);
    else if (message.result !== undefined) settle(message);
  });
  const start = async () => {
    const { session_id } = await ask("user", "login", login);
    for (const [cmd, { description, data_schema }] of Object.entries(COMMANDS)) {
      // None of these commands changes anything, so another worker may do one again.
      const registration = { class: "math", subclass: "core", cmd, description, data_schema, retry: true };
      await ask("registry", "register", registration);
    }
    console.log(`serving math as ${session_id}`);
    return ended;
  };
  try {
    await Promise.race([start(), ended]);
  } finally {
    for (const { timer } of waiting.values()) clearTimeout(timer);
    socket.destroy();
  }
}

/** Serves as long as it can, and connects again whenever it cannot. */
async function run(url, login) {
  let pause = 100;
  for (;;) {
    const began = Date.now();
    let reason = "the broker closed the connection";
    await serve(url, login).catch((error) => (reason = error.message || error.code));
    if (Date.now() - began > 10_000) pause = 100;
    console.log(`not connected: ${reason}; again in ${pause / 1000} s`);
    await sleep(pause * (0.8 + 0.4 * Math.random())); // not all workers at the same moment
    pause = Math.min(pause * 2, 10_000);
  }
}

const { values } = parseArgs({
  options: {
    url: { type: "string", default: "tcp://127.0.0.1:9012" },
    user: { type: "string", default: "worker" },
    password: { type: "string", default: process.env.JACKFIELD_PASSWORD },
  },
});
const url = new URL(values.url);
if (url.protocol !== "tcp:" || !url.port) {
  console.error("expected --url tcp://HOST:PORT");
  process.exit(2);
}
const login = { user: values.user, events: "push", ...(values.password && { password: values.password }) };
await run(url, login);
