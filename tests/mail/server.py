"""A mail server for the checks beside this file: aiosmtpd in a process of its own.

Writes each mail that it takes to a file, and does with each what the first line of the file `acts` says, which it
removes: `refuse CODE`, `dawdle SECONDS` (takes the mail and answers late) or nothing.
"""

import asyncio
import json
import pathlib
import signal
import ssl
import sys
import uuid

from aiosmtpd.smtp import SMTP


class Keep:
    """Keeps mails in a folder."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def act(self) -> list[str]:
        acts = self.folder / "acts"
        lines = acts.read_text().splitlines() if acts.exists() else []
        if lines:
            acts.write_text("\n".join(lines[1:]))
            return lines[0].split()
        return []

    async def handle_RCPT(self, server, session, envelope, address, options):
        act = self.act()
        if act[:1] == ["refuse"]:
            return f"{act[1]} 4.7.1 <{address}> not now"
        envelope.dawdle_s = float(act[1]) if act[:1] == ["dawdle"] else 0
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = {
            "to": envelope.rcpt_tos[0],
            "tls": session.ssl is not None,
            "message": envelope.content.decode(),
        }
        unfinished = self.folder / f"{uuid.uuid4()}.part"
        unfinished.write_text(json.dumps(mail))
        unfinished.rename(unfinished.with_suffix(".json"))
        await asyncio.sleep(envelope.dawdle_s)
        return "250 taken"


async def main(folder: str, port: str, *certificate: str) -> None:
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
    keep = Keep(pathlib.Path(folder))
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(keep, hostname="localhost", tls_context=context, require_starttls=bool(context)),
        "127.0.0.1",
        int(port),
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


asyncio.run(main(*sys.argv[1:]))
