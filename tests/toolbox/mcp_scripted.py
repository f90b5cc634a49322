"""An MCP server that does one thing wrong, over standard input and output. `python mcp_scripted.py <fault>`; revision 2025-11-25, after its
pages on the lifecycle, transports and tools. Written by hand, so that it may do what a package would not let it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

FAULT = sys.argv[1]


def say(value):
    print(value if isinstance(value, str) else json.dumps(value), flush=True)


def answer(number, result):
    say({"jsonrpc": "2.0", "id": number, "result": result})


def text(words):
    return {"content": [{"type": "text", "text": words}]}


def call(number):
    if FAULT == "dies":
        print("the disk is full", file=sys.stderr, flush=True)
        os._exit(3)
    elif FAULT == "never":
        pass
    elif FAULT == "nonsense":
        answer(number, 17)
    elif FAULT == "strange content":
        answer(number, {"content": [{"type": "smell", "smell": "smoke"}]})
    elif FAULT == "refuses":
        say({"jsonrpc": "2.0", "id": number, "error": {"code": -32602, "message": "unknown tool"}})
    elif FAULT == "flood":
        for i in range(30_000):
            say(
                {
                    "jsonrpc": "2.0",
                    "method": "notifications/progress",
                    "params": {"progressToken": number, "progress": i},
                }
            )
        answer(number, text("after the flood"))
    elif FAULT == "garbage":
        with contextlib.suppress(OSError):
            while True:
                say("no JSON at all")
    elif FAULT == "endless line":
        with contextlib.suppress(OSError):
            while True:
                sys.stdout.write("x" * 65536)
    elif FAULT == "too much":  # the number of the request comes last, as some servers write it
        sys.stdout.write('{"jsonrpc":"2.0","result":{"content":[{"type":"text","text":"')
        for _ in range(1600):
            sys.stdout.write("x" * 65536)
        say('"}]},"id":' + str(number) + "}")
    elif FAULT == "asks back":
        say(
            {
                "jsonrpc": "2.0",
                "id": "mine",
                "method": "sampling/createMessage",
                "params": {"messages": [], "maxTokens": 1},
            }
        )
        reply = json.loads(sys.stdin.readline())
        answer(number, text("error" if "error" in reply else "granted"))
    else:
        answer(number, text("fine"))


def main():
    if FAULT == "dies at once":
        sys.exit("no configuration found")
    if FAULT == "silent":
        time.sleep(600)
    if FAULT == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "600"])
        with open(os.environ["NOTES"], "w") as notes:
            notes.write(f"{child.pid}")
    say("Welcome to the server of scripts!")  # a banner, which it must not print
    for line in sys.stdin:
        asked = json.loads(line)
        number, method = asked.get("id"), asked.get("method")
        if method == "initialize":
            answer(
                number,
                {
                    "protocolVersion": asked["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "scripted", "version": "1"},
                },
            )
        elif method == "tools/list" and FAULT == "pages for ever":
            answer(number, {"tools": [tool(f"tool{number}")], "nextCursor": "more"})
        elif method == "tools/list":
            broken = {"name": "broken", "inputSchema": {"type": "object", "properties": {"a": {"type": "whatever"}}}}
            answer(number, {"tools": [tool("go"), broken]})
        elif method == "tools/call":
            call(number)
        elif number is not None:
            say({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "unknown method"}})
    while FAULT == "stubborn":
        time.sleep(1)


def tool(name):
    return {"name": name, "description": "Goes.", "inputSchema": {"type": "object"}}


main()
