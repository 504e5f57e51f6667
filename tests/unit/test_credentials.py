"""What the keys of a Secret mean, and that a mistake is told by its key and never by what the key holds."""

import base64
import ssl
import subprocess

import h11
import nkeys  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natsscaler.core.errors import CredentialsError
from natsscaler.core.reasons import Reason
from natsscaler.nats.credentials import (
    NATS_KEYS,
    MonitoringCredentials,
    NatsCredentials,
    monitoring_credentials,
    nats_credentials,
)
from tests.support.certificates import KEY, Certificates
from tests.support.nats_jwt import Key, OperatorMode

ORIGIN = "Secret default/nats"
MARK = "hunter2"
USER = Key(nkeys.PREFIX_BYTE_USER).seed
ACCOUNT = Key(nkeys.PREFIX_BYTE_ACCOUNT).seed


def nats(**data: bytes | str) -> NatsCredentials:
    return nats_credentials(ORIGIN, encoded(data))


def monitoring(data: dict[str, bytes | str]) -> MonitoringCredentials:
    return monitoring_credentials(ORIGIN, encoded(data))


def encoded(data: dict[str, bytes | str]) -> dict[str, bytes]:
    return {
        key.replace("_", "."): value.encode() if isinstance(value, str) else value
        for key, value in data.items()
    }


def test_line_breaks_that_files_end_with_are_no_part_of_a_value() -> None:
    found = nats(username="app\n", password=f"{MARK}\r\n")
    assert (found.user, found.password, found.origin) == ("app", MARK, ORIGIN)


def test_keys_of_other_purposes_are_ignored() -> None:
    assert nats(token=MARK, other=b"\xff", **{"header.X": "y"}) == nats(token=MARK)
    assert monitoring({"token": MARK, "creds": "x"}) == monitoring({"token": MARK})


def test_a_credentials_file_has_a_jwt_and_a_seed() -> None:
    found = nats(creds=OperatorMode().creds())
    assert found.jwt.count(".") == 2
    assert found.seed.startswith("SU")
    assert base64.b64decode(found.sign("nonce"))


@pytest.mark.parametrize(
    ("data", "header"),
    [
        pytest.param({"token": MARK}, ("Authorization", f"Bearer {MARK}"), id="bearer"),
        pytest.param(
            {"username": "app", "password": "päss"}, ("Authorization", "Basic YXBwOnDDpHNz"), id="basic"
        ),
        pytest.param({"header.X-Scope": "a b"}, ("X-Scope", "a b"), id="header"),
        pytest.param({"header.Authorization": "Key k"}, ("Authorization", "Key k"), id="own-scheme"),
    ],
)
def test_the_headers_of_a_request(data: dict[str, bytes | str], header: tuple[str, str]) -> None:
    assert monitoring(data).headers == (header,)


NATS_MISTAKES = [
    pytest.param({}, "none of the keys username, password", id="empty"),
    pytest.param({"user": MARK}, "none of the keys", id="unknown-key"),
    pytest.param({"username": MARK}, "Key username of Secret default/nats needs the key password", id="half"),
    pytest.param(
        {"password": MARK}, "Key password of Secret default/nats needs the key username", id="other-half"
    ),
    pytest.param({"username": "", "password": MARK}, "needs the key username", id="empty-value"),
    pytest.param({"token": MARK, "username": "a", "password": MARK}, "username and token", id="two"),
    pytest.param({"nkey": USER, "creds": MARK}, "nkey and creds: keep one", id="two-keys"),
    pytest.param({"token": b"\xff" + MARK.encode()}, "Key token of Secret default/nats must be", id="bytes"),
    pytest.param({"nkey": MARK}, "Key nkey of Secret default/nats must", id="no-seed"),
    pytest.param({"nkey": ACCOUNT}, "Key nkey of Secret default/nats must", id="account-seed"),
    pytest.param({"nkey": USER[:-20]}, "Key nkey of Secret default/nats must", id="short-seed"),
    pytest.param({"creds": MARK}, "Key creds of Secret default/nats must be", id="no-creds"),
    pytest.param(
        {"creds": OperatorMode().creds().replace("USER NKEY", "NKEY")},
        "must be a credentials file",
        id="no-nkey",
    ),
    pytest.param(
        {"creds": OperatorMode().creds().replace("\nSU", "\nSA")},
        "Key creds of Secret",
        id="creds-of-account",
    ),
    pytest.param({"ca.crt": MARK}, "Key ca.crt of Secret default/nats must", id="no-pem"),
    pytest.param({"ca.crt": "ü"}, "Key ca.crt of Secret default/nats must hold certificates", id="no-ascii"),
]
MONITORING_MISTAKES = [
    pytest.param({"nkey": USER}, "none of the keys username, password, token", id="nats-only"),
    pytest.param({"password": MARK}, "needs the key username", id="half"),
    pytest.param({"username": "a:b", "password": MARK}, "must not contain a colon", id="colon"),
    pytest.param(
        {"token": f"{MARK}\nX: y"}, "Key token of Secret default/nats must be one line", id="injection"
    ),
    pytest.param({"token": f" {MARK}"}, "Key token of Secret default/nats must be one line", id="blank"),
    pytest.param({"header.X": f"{MARK}\r\nY: z"}, "Key header.X of Secret", id="header-injection"),
    pytest.param({"header.Host": MARK}, "Key header.Host of Secret default/nats is no header", id="host"),
    pytest.param({"header.": MARK}, "Key header. of Secret default/nats is no header", id="no-name"),
    pytest.param({"header.authorization": MARK, "token": MARK}, "token and header.authorization", id="twice"),
]


@pytest.mark.parametrize(("data", "told"), NATS_MISTAKES)
def test_mistakes_in_credentials_for_nats(data: dict[str, bytes | str], told: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        nats_credentials(ORIGIN, encoded(data))
    tells(caught.value, told)


@pytest.mark.parametrize(("data", "told"), MONITORING_MISTAKES)
def test_mistakes_in_credentials_for_monitoring(data: dict[str, bytes | str], told: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        monitoring(data)
    tells(caught.value, told)


def tells(error: CredentialsError, told: str) -> None:
    assert error.reason is Reason.SECRET_UNUSABLE
    assert told in error.message
    assert ORIGIN in error.message
    assert MARK not in error.message


def test_certificates(certificates: Certificates) -> None:
    ca, certificate, key = map(certificates.read, ("ca.crt", "client.crt", "client.key"))
    found = nats(ca_crt=ca, tls_crt=certificate, tls_key=key)
    context = found.tls.context()
    assert context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1, "its own authority and no other"
    assert found == nats(ca_crt=ca, tls_crt=certificate, tls_key=key)
    assert found != nats(tls_crt=certificate, tls_key=key)
    assert nats(token=MARK, ca_crt="").tls.context() is None, (
        "issuers without an authority leave ca.crt empty"
    )


def test_mistakes_in_certificates(certificates: Certificates) -> None:
    certificate, key = certificates.read("client.crt"), certificates.read("client.key")
    protected = subprocess.run(
        ["openssl", "req", "-x509", *KEY[:-1], "-passout", f"pass:{MARK}", "-subj", "/CN=x", "-keyout", "-"],
        check=True,
        capture_output=True,
    ).stdout
    for data, told in (
        ({"tls_crt": certificate}, "Key tls.crt of Secret default/nats needs the key tls.key"),
        ({"tls_key": key}, "Key tls.key of Secret default/nats needs the key tls.crt"),
        ({"tls_crt": MARK, "tls_key": key}, "Key tls.crt of Secret default/nats must hold certificates"),
        ({"tls_crt": certificate, "tls_key": MARK}, "Key tls.key of Secret default/nats must be the private"),
        ({"tls_crt": certificate, "tls_key": certificates.read("server.key")}, "Key tls.key of Secret"),
        ({"tls_crt": certificate, "tls_key": protected}, "without a passphrase"),
    ):
        with pytest.raises(CredentialsError) as caught:
            nats(**data)
        tells(caught.value, told)


def test_what_is_secret_is_in_no_repr(certificates: Certificates) -> None:
    tls = {"tls_crt": certificates.read("client.crt"), "tls_key": certificates.read("client.key")}
    for found in (
        nats(username="app", password=MARK, **tls),
        nats(token=MARK),
        nats(nkey=USER),
        nats(creds=OperatorMode().creds()),
        monitoring({"username": "app", "password": MARK}),
        monitoring({"header.X": MARK}),
    ):
        shown = repr(found)
        assert ORIGIN in shown
        assert MARK not in shown
        assert "BEGIN" not in shown
        assert "SU" not in shown
        assert "Authorization" not in shown


def test_what_a_server_sends_back_is_hidden() -> None:
    assert nats(username="app", password=MARK).hide(f"'{MARK.upper()}' is wrong") == "'…' is wrong"


@pytest.mark.parametrize(
    ("host", "permitted"),
    [
        ("nats.example.com", True),
        ("NATS.example.com", True),
        ("a.nats.svc", True),
        ("10.1.2.3", True),
        ("10.2.2.3", False),
        ("10.1.2.3.example.org", False),
        ("example.com", False),
        ("", False),
    ],
)
def test_who_may_receive_the_operators_own_credentials(host: str, permitted: bool) -> None:
    mine = MonitoringCredentials(hosts=("nats.Example.com", "*.nats.svc", "10.1.0.0/16"))
    assert mine.permit(f"http://{host}:8222") == permitted
    assert mine.permit("http://other:8222", host) == permitted
    assert not MonitoringCredentials(hosts=()).permit(f"http://{host}:8222")
    assert MonitoringCredentials().permit(f"http://{host}:8222")


@pytest.mark.parametrize(
    ("url", "permitted"),
    [
        ("https://nats.shop.svc:8222/mon", True),
        ("https://NATS.shop.svc.:8222/mon/", True),
        ("https://nats.shop.svc:8222/mon/a", True),
        ("https://nats.shop.svc:8222/monitor", False),
        ("https://nats.shop.svc:8222/", False),
        ("https://nats.shop.svc:8222/mon/../other", False),
        ("https://nats.shop.svc:8222/mon/%2e%2e/other", False),
        ("https://nats.shop.svc:8222/mon/..%2fother", False),
        ("https://nats.shop.svc:8222/mon/..;/other", False),
        ("https://nats.shop.svc:9999/mon", False),
        ("https://nats.shop.svc/mon", False),
        ("http://nats.shop.svc:8222/mon", False),
        ("https://nats.other.svc:8222/mon", False),
        ("https://front.example.com", True),
        ("https://front.example.com:443/any", True),
        ("https://front.example.com:8443", False),
        ("https://10.1.2.3", False),
        ("http://[::1]:8222", True),
    ],
)
def test_an_entry_that_names_scheme_port_and_path_permits_no_other(url: str, permitted: bool) -> None:
    entries = ("https://nats.shop.svc:8222/mon", "https://*.example.com", "http://[::1]:8222/")
    assert MonitoringCredentials(hosts=entries).permit(url) == permitted


def test_a_node_is_asked_with_the_scheme_and_port_of_the_url() -> None:
    mine = MonitoringCredentials(hosts=("http://*.nats.svc:8222",))
    assert mine.permit("http://a.nats.svc:8222", "b.nats.svc")
    assert not mine.permit("http://a.nats.svc:8222", "b.other.svc")
    assert not mine.permit("http://a.nats.svc:9999", "b.nats.svc")


values = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=80).map(str.encode),
    st.text(alphabet="SUABCDEFGHIJKLMNOPQRTVWXYZ234567", min_size=50, max_size=64).map(str.encode),
    st.sampled_from([USER, ACCOUNT, OperatorMode().creds().encode(), b"-----BEGIN CERTIFICATE-----\nAA==\n"]),
)
keys = st.sampled_from([*NATS_KEYS, "header.X", "header.Host", "header.", "other"])


@given(data=st.dictionaries(keys, values, max_size=5))
@settings(deadline=None)
def test_whatever_is_in_a_secret_it_is_taken_or_its_key_is_told(data: dict[str, bytes]) -> None:
    for read in (nats_credentials, monitoring_credentials):
        found, told = None, ORIGIN
        try:
            found = read(ORIGIN, data)
        except CredentialsError as error:
            told = error.message
        assert ORIGIN in told
        assert told.isprintable()
        for name, value in getattr(found, "headers", ()):
            assert h11.Request(method="GET", target="/", headers=[("Host", "nats"), (name, value)])
