"""TLS and a token on the port, from files that rotate."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import trustme
from support.serving import WAIT, Running, flood, received, serving
from test_server_strangers import QUICK

from agent.secured import BadFile, Certificate, Token

TOKEN = "s3cr3t-of-the-scraper"


class Volume:
    """Files as a projected volume shows them: links to links to the directory of the day, which is swapped at once."""

    def __init__(self, place: Path) -> None:
        self._place, self._number = place, 0

    def holds(self, **files: bytes) -> None:
        """From now on these (``tls_crt`` is tls.crt)."""
        self._number += 1
        day = self._place / f"..{self._number}"
        day.mkdir()
        for name, content in files.items():
            (day / name.replace("_", ".")).write_bytes(content)
        fresh = self._place / "..fresh"
        fresh.symlink_to(day.name)
        os.replace(fresh, self._place / "..data")
        for name in files:
            link = self._place / name.replace("_", ".")
            if not link.is_symlink():
                link.symlink_to(Path("..data") / link.name)

    def file(self, name: str) -> Path:
        """Where the agent finds it."""
        return self._place / name


class Pki:
    """A CA, and pairs that it issued, in such a volume."""

    def __init__(self, place: Path) -> None:
        self.volume, self.ca = Volume(place), trustme.CA()
        self.client = ssl.create_default_context()
        self.ca.configure_trust(self.client)
        self.rotate()

    def pair(self) -> tuple[bytes, bytes]:
        """A certificate for loopback, and its key."""
        issued = self.ca.issue_cert("127.0.0.1")
        return b"".join(blob.bytes() for blob in issued.cert_chain_pems), issued.private_key_pem.bytes()

    def rotate(self) -> None:
        """A new pair."""
        certificate, key = self.pair()
        self.volume.holds(tls_crt=certificate, tls_key=key)

    def certificate(self) -> Certificate:
        """As the agent reads it."""
        return Certificate(self.volume.file("tls.crt"), self.volume.file("tls.key"))

    def serial(self, running: Running) -> str:
        """Of the certificate that a new connection meets; without a name asked for, as kubelet does."""
        with running.open() as plain, self.client.wrap_socket(plain, server_hostname="127.0.0.1") as met:
            found = met.getpeercert()
            assert found
            return str(found["serialNumber"])


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """A CA and a first pair."""
    return Pki(tmp_path)


@pytest.fixture
def secured(pki: Pki) -> Iterator[Running]:
    """A server that speaks TLS."""
    with serving(pki.client, certificate=pki.certificate()) as found:
        yield found


def test_the_whole_port_speaks_tls(secured: Running) -> None:
    """Metrics and probes alike, to who trusts the CA and to kubelet, which trusts anything."""
    assert secured.ask("/metrics").status == 200
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    assert secured._replace(tls=unverified).ask("/readyz").status == 503


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(("version", "admitted"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_old_tls_is_refused(secured: Running, version: str, admitted: bool) -> None:
    """1.2 at least."""
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    with contextlib.nullcontext() if admitted else pytest.raises(ssl.SSLError):
        assert secured._replace(tls=client).ask("/healthz").status == 200


def test_plain_http_is_told_what_the_port_speaks(secured: Running, caplog: pytest.LogCaptureFixture) -> None:
    """Who has forgotten the scheme reads why; nobody gets a page; the next one is served."""
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE"):
        answer = secured.raw(f"{method} /metrics HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert answer.endswith(b"\r\n\r\nthis port speaks HTTPS\n")
    assert secured._replace(tls=None).ask("/metrics").status == 400
    assert secured.ask("/metrics").status == 200
    assert caplog.records == []


def test_what_is_neither_tls_nor_http_is_closed(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    """Without an answer in HTTP, and without a line in our log; the next one is served."""
    with serving(pki.client, certificate=pki.certificate(), bounds=QUICK) as running:
        for data in (b"\x16\x03\x01\x00\x05junk!", b"\x00" * 100_000, b"\r\n\r\n"):
            assert b"HTTP" not in running.raw(data)
        running.open().close()
        assert running.ask("/metrics").status == 200
    assert caplog.records == []


def test_a_handshake_that_never_ends_is_closed(pki: Pki) -> None:
    """Silence and a trickle alike; nobody else waits meanwhile."""
    with serving(pki.client, certificate=pki.certificate(), bounds=QUICK) as running:
        with running.open() as silent, running.open() as half:
            half.sendall(b"\x16\x03\x01")
            assert running.ask("/readyz").status == 503
            assert received(silent) == received(half) == b""
        assert running.ask("/readyz").status == 503


def test_a_thousand_handshakes_do_not_take_the_port(secured: Running) -> None:
    """A connection counts from its first moment, not from its first request."""
    flood(secured)


def test_a_renewed_certificate_is_served_without_a_restart(pki: Pki, secured: Running) -> None:
    """The next connection meets it; one that is open goes on."""
    kept = secured.connection()
    kept.request("GET", "/readyz")
    kept.getresponse().read()
    before = pki.serial(secured)
    pki.rotate()
    assert pki.serial(secured) != before
    kept.request("GET", "/readyz")
    assert kept.getresponse().status == 503


def test_a_bad_new_certificate_keeps_the_old_one_and_is_told_once(
    pki: Pki, secured: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    """A foreign key, junk, an empty file and none at all, however often they are met; and then a good one."""
    good, (certificate, key), (_, foreign) = pki.serial(secured), pki.pair(), pki.pair()
    pki.volume.holds(tls_crt=certificate, tls_key=foreign)
    assert {pki.serial(secured) for _ in range(3)} == {good}
    assert "".join(capsys.readouterr()).count("the key is not that of the certificate") == 1  # wherever logs go now
    for junk, why in ((b"", "no PEM"), (b"x" * 300_000, "larger than"), (b"junk", "no PEM")):
        pki.volume.holds(tls_crt=junk, tls_key=key)
        assert {pki.serial(secured) for _ in range(3)} == {good}
        assert capsys.readouterr().out.count(why) == 1
    pki.volume.holds()
    assert pki.serial(secured) == good
    assert capsys.readouterr().out.count("No such file or directory") == 1
    pki.volume.holds(tls_crt=certificate, tls_key=key)
    assert pki.serial(secured) != good
    assert "read anew" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["foreign", "junk", "locked", "absent", "directory"])
def test_a_bad_certificate_at_the_start_is_an_error(pki: Pki, tmp_path: Path, what: str) -> None:
    """It names the files, and quotes nothing of them; a key with a passphrase asks nobody."""
    certificate, _ = pki.pair()
    locked = (
        b"-----BEGIN ENCRYPTED PRIVATE "
        + b"KEY-----\nMIIFHDBOBgkqhkiG9w0BBQ0wQTApBgkq\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    contents = {"foreign": pki.pair()[1], "junk": b"s3cr3t", "locked": locked, "absent": b"", "directory": b""}
    pki.volume.holds(tls_crt=certificate, tls_key=contents[what])
    path = {"absent": tmp_path / "none", "directory": tmp_path}.get(what, pki.volume.file("tls.key"))
    with pytest.raises(BadFile) as raised:
        Certificate(pki.volume.file("tls.crt"), path)
    assert str(path) in str(raised.value)
    assert "s3cr3t" not in str(raised.value)


@pytest.fixture
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    """A token, with the line end that editors leave."""
    made = Volume(tmp_path_factory.mktemp("token"))
    made.holds(token=f"{TOKEN}\n".encode())
    return made


@pytest.fixture
def guarded(volume: Volume) -> Iterator[Running]:
    """A server whose metrics are for who brings the token. What it says comes as structlog has it by default."""
    structlog.reset_defaults()
    with serving(token=Token(volume.file("token"))) as found:
        yield found


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (None, 401), ("", 401), ("Bearer", 401), ("Bearer ", 401), (f"Bearer {TOKEN}x", 401), (TOKEN, 401),
        (f"Basic {TOKEN}", 401), (f"Bearer {TOKEN[:-1]}", 401), (f"Bearer {TOKEN.upper()}", 401),
        ("Bearer \xff\xfe", 401), (f"Bearer {TOKEN}", 200), (f"bearer  {TOKEN} ", 200),
    ],
)  # fmt: skip
def test_metrics_are_for_who_brings_the_token(guarded: Running, given: str | None, code: int) -> None:
    """Everybody else is told what is missing, and nothing of what is there; the scheme's case does not matter."""
    answer = guarded.ask("/metrics", **({} if given is None else {"Authorization": given}))
    said = answer.read()
    assert answer.status == code
    if code == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert said == b"this page is for who brings the token: Authorization: Bearer TOKEN\n"


def test_probes_need_no_token(guarded: Running) -> None:
    """kubelet has none to bring."""
    assert guarded.ask("/healthz").status == 200
    assert guarded.ask("/readyz").status == 503
    assert guarded.ask("/metrics", "POST").status == 405


def test_a_renewed_token_is_in_force_without_a_restart(guarded: Running, volume: Volume) -> None:
    """And the old one no more."""
    volume.holds(token=b"another")
    assert guarded.ask("/metrics", Authorization=f"Bearer {TOKEN}").status == 401
    assert guarded.ask("/metrics", Authorization="Bearer another").status == 200


@pytest.mark.parametrize("bad", [b"", b"\n", b"two words", "schlüssel".encode(), b"\x00", b"x" * 300_000, None])
def test_a_bad_new_token_keeps_the_old_one_and_is_told_once(
    guarded: Running, volume: Volume, bad: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty token would let everybody in."""
    volume.holds(**({} if bad is None else {"token": bad}))
    for _ in range(3):
        assert guarded.ask("/metrics", Authorization=f"Bearer {TOKEN}").status == 200
        assert guarded.ask("/metrics", Authorization="Bearer ").status == 401
    assert capsys.readouterr().out.count("what was read before stays in use") == 1


@pytest.mark.parametrize("bad", [b"", b"two words"])
def test_a_bad_token_at_the_start_is_an_error(volume: Volume, bad: bytes) -> None:
    """It names the file."""
    volume.holds(token=bad)
    with pytest.raises(BadFile, match=str(volume.file("token"))):
        Token(volume.file("token"))


def test_a_token_over_tls(pki: Pki, volume: Volume) -> None:
    """Both together, as they should be."""
    volume.holds(token=TOKEN.encode())
    with serving(pki.client, certificate=pki.certificate(), token=Token(volume.file("token"))) as running:
        assert running.ask("/metrics").status == 401
        assert running.ask("/metrics", Authorization=f"Bearer {TOKEN}").status == 200
        with socket.create_connection(("127.0.0.1", running.port), timeout=WAIT) as plain:
            plain.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
            assert received(plain).startswith(b"HTTP/1.1 400")
