"""What pika's errors say of why there is no connection."""

from __future__ import annotations

import socket
import ssl

import pika
import pytest
from pika.adapters.select_connection import SelectConnection
from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorSocketConnectError,
    AMQPConnectorStackTimeout,
    AMQPConnectorTransportSetupError,
)
from pika.exceptions import (
    AuthenticationError,
    ConnectionClosedByBroker,
    IncompatibleProtocolError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from hermes_ray.broker.reason import Failure, address, failure_of, reason_of, sentence


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_a_refused_socket_is_told_in_the_words_of_the_system() -> None:
    url, errors = f"amqp://127.0.0.1:{closed_port()}/", list[BaseException]()

    def failed(connection: SelectConnection, error: BaseException) -> None:
        errors.append(error)
        connection.ioloop.stop()

    connection = SelectConnection(pika.URLParameters(url), on_open_error_callback=failed)
    connection.ioloop.start()
    connection.ioloop.close()
    assert [reason_of(error) for error in errors] == ["Connection refused"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no", 3), "no 3"),
        (KeyError(), "KeyError"),
        (OSError(104, "Connection reset by peer"), "Connection reset by peer"),
    ],
)
def test_any_other_error_in_its_own_words(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


PLAIN, TLS = "amqp://me:s3cret@h/v", "amqps://me:s3cret@h:5671/v?cacertfile=/ca.pem"
OURS = f"{TLS}&certfile=/c.pem"


def handshake(reason: str) -> Exception:
    """What pika makes of a handshake that fails."""
    return AMQPConnectionWorkflowFailed([AMQPConnectorTransportSetupError(tls_error(reason))])


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:1)")
    error.reason = reason
    return error


def untrusted(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {message}")
    error.verify_code, error.verify_message = code, message
    return error


def alert(reason: str) -> Exception:
    """What pika makes of an alert that comes once we are done with the handshake: text."""
    return IncompatibleProtocolError(f"StreamLostError: ('Stream connection lost: SSLError(1, '[SSL: {reason}] x')')")


def denied(words: str) -> Exception:
    """What pika makes of a broker that does not open the virtual host."""
    return ProbableAccessDeniedError(repr(ConnectionClosedByBroker(530, f"NOT_ALLOWED - {words}")))


@pytest.mark.parametrize(
    ("url", "error", "text", "is_final"),
    [
        (PLAIN, socket.gaierror(-3, "Temporary failure"), "host name not found: Temporary failure", False),
        (
            PLAIN,
            AMQPConnectorStackTimeout("Timeout during AMQP handshake'127.0.0.1'/(<Address"),
            "no answer in time",
            False,
        ),
        (PLAIN, IncompatibleProtocolError("StreamLostError"), "it does not speak AMQP there", False),
        (PLAIN, AuthenticationError("PLAIN"), "does not offer the login mechanism PLAIN, the one hermes_ray has", True),
        (PLAIN, ProbableAuthenticationError("(403) 'ACCESS_REFUSED - Login was refused'"), "refused the login", True),
        (PLAIN, ProbableAccessDeniedError("(530) 'NOT_ALLOWED - vhost v not found'"), "has no such virtual host", True),
        (
            PLAIN,
            ProbableAccessDeniedError("(530) 'NOT_ALLOWED - access to vhost 'v' refused for user 'me'"),
            "refused this user the virtual host",
            True,
        ),
        (
            PLAIN,
            ProbableAccessDeniedError(
                "(530) 'NOT_ALLOWED - access to vhost 'v' refused: connection limit (1) is reached"
            ),
            "connection limit (1) is reached",
            False,
        ),
        (
            PLAIN,
            denied("connection refused for user 'me': user connection limit (0) is reached"),
            "n limit (0) is",
            False,
        ),
        (
            PLAIN,
            denied("access to vhost 'rate-limiter' refused for user 'me'"),
            "refused this user the virtual h",
            True,
        ),
        (PLAIN, denied("access to vhost 'ACCESS_REFUSED' refused for user 'not found'"), "refused this user the", True),
        (
            PLAIN,
            denied("access to vhost 'connection limit (5) is reached' refused for user 'me'"),
            "refused this",
            True,
        ),
        (PLAIN, denied("vhost ACCESS_REFUSED [SSL: NO] not found"), "has no such virtual host", True),
        (PLAIN, denied(f"vhost {'v' * 235}..."), "has no such virtual host", True),
        (
            PLAIN,
            denied("its own reason"),
            "refused the connection (NOT_ALLOWED - its own reason): correct broker",
            True,
        ),
        (
            PLAIN,
            ProbableAuthenticationError("StreamLostError: ('Stream connection lost: ConnectionResetError(104)',)"),
            "it ended the connection during the login",
            False,
        ),
        (TLS, ConnectionResetError(104, "Connection reset by peer"), "it ended the TLS handshake", False),
        (TLS, ssl.SSLEOFError(8, "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF"), "it ended the TLS handshake", False),
        (TLS, handshake("WRONG_VERSION_NUMBER"), "does not speak TLS on this port", True),
        (TLS, handshake("RECORD_LAYER_FAILURE"), "does not speak TLS on this port", True),
        (TLS, handshake("TLSV1_ALERT_PROTOCOL_VERSION"), "and we cannot agree on TLS (protocol version)", True),
        (
            TLS,
            handshake("SSLV3_ALERT_HANDSHAKE_FAILURE"),
            "ended the connection during TLS: it may want our cert",
            True,
        ),
        (
            TLS,
            alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            "ended the connection during TLS: it may want our cert",
            True,
        ),
        (TLS, IncompatibleProtocolError("reset"), "ended the connection during TLS: it may want our certificate", True),
        (OURS, IncompatibleProtocolError("reset"), "ended the connection during TLS: it may not take our cert", True),
        (OURS, alert("TLSV1_ALERT_UNKNOWN_CA"), "it may not take our certificate (unknown ca), broker.tls.cert", True),
        (TLS, untrusted(10, "certificate has expired"), "has a certificate that has expired: renew it", True),
        (TLS, untrusted(9, "not yet"), "has a certificate that is not valid yet", True),
        (TLS, untrusted(62, "Hostname mismatch"), "has a certificate that is not for h: write a name", True),
        (f"{TLS}&server_name_indication=r", untrusted(62, "Hostname mismatch"), "certificate that is not for r:", True),
        (
            TLS,
            untrusted(20, "unable to get local issuer"),
            "is not trusted (unable to get local issuer): name its",
            True,
        ),
        (TLS, untrusted(7, "certificate signature failure"), "(certificate signature failure): name its CA's", True),
        (TLS, untrusted(26, "unsuitable purpose"), "that we do not take (unsuitable purpose): renew it", True),
        (TLS, untrusted(66, "EE certificate key too weak"), "take (EE certificate key too weak): renew it", True),
        (PLAIN, OSError(113, "No route to host"), "No route to host", False),
    ],
)
def test_why_there_is_no_connection_in_words_that_say_what_to_do(
    url: str, error: Exception, text: str, is_final: bool
) -> None:
    failure = failure_of(url, error)
    assert text in failure.text
    assert failure.is_final == is_final
    assert failure.address == url.partition("?")[0].replace("s3cret", "***")


def test_of_the_addresses_of_a_host_the_one_where_somebody_listens_counts() -> None:
    refused = AMQPConnectorSocketConnectError(ConnectionRefusedError(111, "Connection refused"))
    told = AMQPConnectorTransportSetupError(untrusted(18, "self-signed certificate"))
    for errors in ([refused, told], [told, refused]):
        assert "self-signed" in failure_of(TLS, AMQPConnectionWorkflowFailed(errors)).text
    assert failure_of(TLS, AMQPConnectionWorkflowFailed([refused, refused])).text == "Connection refused"


def test_what_time_does_not_heal_is_told_before_what_it_may() -> None:
    away, final = Failure(address="a", text="gone"), Failure(address="b", text="refused the login", is_final=True)
    assert sentence([away, final]) == "the broker at b refused the login"
    assert sentence([away, away], 2.5) == (
        "no broker answered within 2.5 s at a (gone), a (gone): start it or correct broker.url"
    )


def test_a_broker_is_named_without_password_and_parameters() -> None:
    assert address("amqps://me:p?w@h/v?certfile=/c&password=x") == "amqps://me:***@h/v"


def test_a_broker_that_takes_no_more_connections_has_answered() -> None:
    away = Failure(address="a", text="Connection refused")
    full = Failure(address="b", text="connection limit (5) is reached")
    assert (
        sentence([away, full])
        == "the broker at b took no more connections, its connection limit (5) is reached: raise it"
    )
