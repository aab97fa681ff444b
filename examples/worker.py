#!/usr/bin/env python3
"""A session plugin in Python: serves class `text` for every client of the broker.

    python3 examples/worker.py [--url tcp://127.0.0.1:9012] [--user worker] [--password …]

Python 3.11 or later, and nothing but its standard library. It reconnects by itself, works on several requests at
once, and acks those that take longer than a second. Its user needs `register:text/**`: see docs/session-plugins.md.
"""

import argparse
import asyncio
import json
import os
import random
import signal
from urllib.parse import urlsplit

LINE_LIMIT = 2**20 + 1  # the broker's `limits.message_bytes`, and the line's end
ACK_AFTER = 1.0  # the broker waits 5 s for a first ack …
ACK_EVERY = 60.0  # … and 180 s after each
CALLS_WAIT = 5.0  # for the answers to what this worker asks of the broker itself


class Refused(Exception):
    """The broker's error answer to something that this worker cannot do without."""


class Failure(Exception):
    """An error answer to the caller. Codes from 200000 up are free for plugins."""

    def __init__(self, code, text):
        super().__init__(text)
        self.data = {"code": code, "error": text}


# --- the commands -----------------------------------------------------------------------------------------------


async def upper(data, _caller):
    return {"text": data["text"].upper()}


async def count(data, caller):
    words = data["text"].split()
    if not words:
        raise Failure(200001, "There are no words")
    return {"words": len(words), "for": caller["user"]}


async def slow(data, _caller):
    await asyncio.sleep(data["seconds"])
    return {"slept": data["seconds"]}


TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "maxLength": 100000}}}
SECONDS = {"type": "object", "properties": {"seconds": {"type": "number", "minimum": 0, "maximum": 600, "default": 2}}}

# The broker checks the data against the schema, and fills defaults in, before it sends a request here.
COMMANDS = {
    "upper": (upper, "Writes a text in capitals.", TEXT),
    "count": (count, "Counts the words of a text.", TEXT),
    "slow": (slow, "Takes its time.", SECONDS),
}


# --- the connection ---------------------------------------------------------------------------------------------


class Worker:
    """One connection to the broker."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.answers = {}  # by tid, for what this worker asks
        self.tasks = set()
        self.last_tid = 0

    def send(self, message):
        self.writer.write(json.dumps(message).encode() + b"\n")

    async def ask(self, subclass, cmd, data):
        self.last_tid += 1
        answer = self.answers[self.last_tid] = asyncio.get_running_loop().create_future()
        self.send({"class": "core", "subclass": subclass, "cmd": cmd, "data": data, "tid": self.last_tid})
        return await asyncio.wait_for(answer, CALLS_WAIT)

    async def serve(self, login):
        reading = asyncio.create_task(self.read())
        try:
            session = (await self.ask("user", "login", login))["session_id"]
            for cmd, (_, description, schema) in COMMANDS.items():
                registration = {"class": "text", "subclass": "core", "cmd": cmd, "description": description}
                # None of these commands changes anything, so another worker may do one again.
                await self.ask("registry", "register", registration | {"data_schema": schema, "retry": True})
            print(f"serving text as {session}", flush=True)
            await reading
        finally:
            reading.cancel()
            for task in self.tasks:
                task.cancel()
            self.writer.close()

    async def read(self):
        while line := await self.reader.readline():
            message = json.loads(line)
            if "cmd" in message:
                task = asyncio.create_task(self.answer(message))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
            elif "result" in message:
                self.settle(message)

    def settle(self, message):
        answer = self.answers.pop(message.get("tid"), None)
        if answer is None or answer.done():
            return
        if message["result"] == "ok":
            answer.set_result(message.get("data", {}))
        else:
            answer.set_exception(Refused(message["data"]["error"]))

    async def answer(self, request):
        """Every request of the broker is answered once: events and pings, too."""
        work = asyncio.create_task(self.work(request))
        wait = ACK_AFTER
        while not (await asyncio.wait({work}, timeout=wait))[0]:
            self.send({"ack": request["tid"]})
            wait = ACK_EVERY
        if "tid" in request:
            self.send(work.result() | {"tid": request["tid"]})

    async def work(self, request):
        if request["class"] == "core":  # events and pings
            return {"result": "ok"}
        handler, *_ = COMMANDS.get(request["cmd"], (None,))
        try:
            if request["class"] != "text" or handler is None:
                raise Failure(100006, "Not implemented")
            return {"result": "ok", "data": await handler(request.get("data", {}), request.get("from"))}
        except Failure as failure:
            return {"result": "error", "data": failure.data}
        except Exception as error:  # a mistake of ours: the caller gets no details
            print(f"{request['cmd']} failed: {error!r}", flush=True)
            return {"result": "error", "data": {"code": 100002, "error": "Internal error"}}


async def run(url, login):
    """Serves as long as it can, and connects again whenever it cannot."""
    pause = 0.1
    while True:
        try:
            reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=LINE_LIMIT)
            began = asyncio.get_running_loop().time()
            await Worker(reader, writer).serve(login)
            reason = "the broker closed the connection"
            if asyncio.get_running_loop().time() - began > 10:
                pause = 0.1
        except (OSError, Refused, ValueError, TimeoutError) as error:
            reason = error
        print(f"not connected: {reason}; again in {pause:.1f} s", flush=True)
        # Not all workers at the same moment.
        await asyncio.sleep(pause * random.uniform(0.8, 1.2))
        pause = min(pause * 2, 10)


def main():
    parser = argparse.ArgumentParser(description="Serves class `text`.")
    parser.add_argument("--url", default="tcp://127.0.0.1:9012")
    parser.add_argument("--user", default="worker")
    parser.add_argument("--password", default=os.environ.get("JACKFIELD_PASSWORD"), help="or JACKFIELD_PASSWORD")
    args = parser.parse_args()
    url = urlsplit(args.url)
    if url.scheme != "tcp" or not url.port:
        parser.error("expected --url tcp://HOST:PORT")
    login = {"user": args.user, "events": "push"} | ({"password": args.password} if args.password else {})
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(run(url, login))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
