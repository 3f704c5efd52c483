"""Checks that `tributary dev` sends the right mails to a real mail server, whatever either of them goes through."""

import contextlib
import email
import email.policy
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
TRIBUTARY = sys.argv[1]
PATIENCE_S = 120
KEY = "test_admin_key_0123456789"


class MailServer:
    """aiosmtpd, on a port that stays the same when it is started again."""

    def __init__(self, folder: pathlib.Path, certificate: list[str]):
        folder.mkdir()
        self.folder, self.certificate, self.port, self.process = folder, certificate, 0, None
        self.start()

    def start(self) -> None:
        command = [sys.executable, HERE / "server.py", self.folder, str(self.port), *self.certificate]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def act(self, *acts: str) -> None:
        (self.folder / "acts").write_text("\n".join(acts))

    def mails(self, address: str) -> list[email.message.EmailMessage]:
        found = [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.json"), key=os.path.getmtime)]
        assert all(mail["tls"] for mail in found) or not self.certificate, "a mail came in the clear"
        messages = [mail["message"] for mail in found if mail["to"] == address]
        return [email.message_from_string(message, policy=email.policy.default) for message in messages]

    def wait(self, address: str, count: int) -> list[email.message.EmailMessage]:
        until(lambda: len(self.mails(address)) >= count, f"{count} mails to {address}")
        assert len(self.mails(address)) == count, self.mails(address)
        return self.mails(address)


class Tributary:
    """`tributary dev` on its own data, which a later one continues."""

    def __init__(self, data: pathlib.Path, mail_server: MailServer, tls: str):
        self.log = (data.parent / f"{data.name}.log").open("a")
        url = f"smtp://localhost:{mail_server.port}{tls}"
        command = [
            TRIBUTARY, "dev", "--listen", "127.0.0.1:0", "--data-dir", data,
            "--mail-from", "Rewards <rewards@example.com>", "--public-url", "https://rewards.example.com",
            "--mail-first-pause-s", "1", "--mail-longest-pause-s", "2", "--mail-timeout-s", "3",
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, text=True,
            env=os.environ | {"SMTP_URL": url, "TRIBUTARY_ADMIN_KEY": KEY},
        )
        for line in self.process.stdout:
            if line.startswith("tributary is ready on "):
                self.address = line.split()[-1]
                return
        raise SystemExit("tributary dev did not get ready; see its log")

    def call(self, rpc: str, **request) -> dict:
        command = [TRIBUTARY, "call", "--server", self.address, rpc, json.dumps(request)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TRIBUTARY_ADMIN_KEY": KEY})
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def register(self, user_id: str, program_id: str, code: str = "") -> str:
        answer = self.call(
            "AccountService/RegisterUser", user_id=user_id, username=user_id, email=f"{user_id}@example.com",
            program_id=program_id, referral_code=code,
        )
        return answer["participants"][0]["code"]

    def buy(self, purchase_id: str, buyer: str, minor_units: int) -> None:
        amount = {"currency_code": "USD", "minor_units": minor_units}
        self.call("PurchaseService/RecordPurchase", purchase_id=purchase_id, buyer_user_id=buyer, amount=amount)

    def mail_of(self, user_id: str) -> dict:
        mails = self.call("OperatorService/ListMails", user_id=user_id)["mails"]
        assert len(mails) == 1, mails
        return mails[0]

    def until_mail_is(self, user_id: str, state: str) -> dict:
        until(lambda: self.mail_of(user_id)["state"] == f"MAIL_STATE_{state}", f"the mail to {user_id} to be {state}")
        return self.mail_of(user_id)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait() == 0


def until(holds, what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.1)


def step(text: str) -> None:
    print(f"--- {text}", flush=True)


def subjects(mails: list) -> list[str]:
    return sorted(str(mail["Subject"]) for mail in mails)


def check_occasions(tributary: Tributary, mails: MailServer) -> None:
    step("welcome, referral, conversion, release, reversal, tier")
    ada = tributary.register("ada", "first-purchase-bonus")
    tributary.register("bo", "first-purchase-bonus", ada)
    tributary.buy("p1", "bo", 1_000)
    tributary.call("PurchaseService/OpenDispute", purchase_id="p1", dispute_id="d1")
    mails.wait("ada@example.com", 3)
    tributary.call("PurchaseService/CloseDispute", purchase_id="p1", dispute_id="d1", outcome="DISPUTE_STATE_WON")
    mails.wait("ada@example.com", 4)
    tributary.call("PurchaseService/RefundPurchase", purchase_id="p1", refund_id="r1")
    of_ada = mails.wait("ada@example.com", 5)
    # Mails are sent side by side, so their order says nothing.
    by_subject = sorted(of_ada, key=lambda mail: str(mail["Subject"]))
    release, reversal, welcome, conversion, referral = by_subject
    text = welcome.get_body(("plain",)).get_content()
    assert "Hello ada," in text and ada in text, text
    assert "bo has joined" in referral.get_body(("plain",)).get_content()
    assert "10.00 USD" in conversion.get_body(("html",)).get_content()
    assert "a dispute about a purchase has ended" in release.get_body(("html",)).get_content()
    assert "10.00 USD for the purchase p1" in reversal.get_body(("plain",)).get_content()
    assert len({mail["Message-ID"] for mail in of_ada}) == 5
    assert len(mails.wait("bo@example.com", 4)) == 4
    cy = tributary.register("cy", "tiered-points")
    for number in range(10):
        tributary.register(f"t{number}", "tiered-points", cy)
    of_cy = subjects(mails.wait("cy@example.com", 12))
    assert sum("reached Silver" in subject for subject in of_cy) == 1, of_cy


def check_faults(tributary: Tributary, mails: MailServer) -> None:
    step("4xx, then OK")
    mails.act("refuse 451")
    tributary.register("f1", "referral-count")
    mails.wait("f1@example.com", 1)
    assert tributary.until_mail_is("f1", "SENT")["attempts"] == 2

    step("5xx is parked, and sent by RetryMail")
    mails.act("refuse 550")
    tributary.register("f2", "referral-count")
    parked = tributary.until_mail_is("f2", "PARKED")
    assert parked["attempts"] == 1 and "example.com" not in parked["lastError"], parked
    tributary.call("OperatorService/RetryMail", mail_id=parked["mailId"])
    mails.wait("f2@example.com", 1)

    step("a dead mail server delays mails, and nothing else")
    mails.stop()
    began = time.monotonic()
    for number in range(6):
        tributary.register(f"d{number}", "referral-count")
    assert time.monotonic() - began < 10, "the calls waited for the mail server"
    until(lambda: tributary.mail_of("d0")["attempts"] >= 2, "two attempts")
    mails.start()
    for number in range(6):
        mails.wait(f"d{number}@example.com", 1)

    step("a slow mail server delays mails, and nothing else")
    mails.act(*["dawdle 8"] * 4)
    began = time.monotonic()
    for number in range(6):
        tributary.register(f"s{number}", "referral-count")
    assert time.monotonic() - began < 10, "the calls waited for the mail server"
    for number in range(6):
        tributary.until_mail_is(f"s{number}", "SENT")
        ids = {mail["Message-ID"] for mail in mails.mails(f"s{number}@example.com")}
        assert len(ids) == 1, ids


def check_kills(data: pathlib.Path, tributary: Tributary, mails: MailServer, tls: str) -> Tributary:
    step("killed between event and mail")
    mails.stop()
    users = [f"k{number}" for number in range(5)]
    for user in users:
        tributary.register(user, "referral-count")
    tributary.kill()
    mails.start()
    tributary = Tributary(data, mails, tls)
    for user in users:
        mails.wait(f"{user}@example.com", 1)

    step("killed while sending: repeated once at most, with the same Message-ID")
    mails.act("dawdle 2")
    tributary.register("x", "referral-count")
    until(lambda: mails.mails("x@example.com"), "the mail")
    tributary.kill()
    tributary = Tributary(data, mails, tls)
    tributary.until_mail_is("x", "SENT")
    of_x = mails.mails("x@example.com")
    assert 1 <= len(of_x) <= 2 and len({mail["Message-ID"] for mail in of_x}) == 1, of_x

    step("a restart and a rebuild send nothing old")
    before = len(list(mails.folder.glob("*.json")))
    tributary.stop()
    tributary = Tributary(data, mails, tls)
    subprocess.run([TRIBUTARY, "projections", "rebuild", "all", "--data-dir", data], check=True, capture_output=True)
    tributary.register("last", "referral-count")
    mails.wait("last@example.com", 1)
    assert len(list(mails.folder.glob("*.json"))) == before + 1
    return tributary


def self_made_certificate(folder: pathlib.Path) -> list[str]:
    config, certificate, key = folder / "openssl.cnf", folder / "certificate.pem", folder / "key.pem"
    config.write_text(
        "[req]\ndistinguished_name = name\nx509_extensions = more\nprompt = no\n"
        "[name]\nCN = localhost\n[more]\nsubjectAltName = DNS:localhost\n"
    )
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-config", config]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return [str(certificate), str(key)]


def main() -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        # Started by root, Postgres runs as another user, who must be able to enter.
        folder.chmod(0o755)

        certificate = self_made_certificate(folder)
        os.environ["SSL_CERT_FILE"] = certificate[0]
        mails = MailServer(folder / "tls", certificate)
        stack.callback(mails.stop)
        data, tls = folder / "data", "?tls=required"
        tributary = Tributary(data, mails, tls)
        try:
            step("STARTTLS with a self-made certificate")
            check_occasions(tributary, mails)
            check_faults(tributary, mails)
            tributary = check_kills(data, tributary, mails, tls)
        finally:
            tributary.stop()

        step("a mail server without STARTTLS gets nothing where TLS is required")
        plain = MailServer(folder / "plain", [])
        stack.callback(plain.stop)
        tributary = Tributary(data, plain, tls)
        try:
            tributary.register("secret", "referral-count")
            until(lambda: tributary.mail_of("secret")["attempts"] >= 2, "two attempts")
            assert plain.mails("secret@example.com") == []
        finally:
            tributary.stop()
        tributary = Tributary(data, plain, "")
        try:
            plain.wait("secret@example.com", 1)
        finally:
            tributary.stop()
    print("all mails were sent as they should be")


main()
