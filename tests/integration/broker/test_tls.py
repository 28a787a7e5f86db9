"""TLS with a real broker that wants a certificate of its clients; and why there is no connection, in the same words
for a command and a worker.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from hermes_ray import Message
from hermes_ray.broker import publisher
from hermes_ray.broker.connection import connect
from hermes_ray.broker.link import IoThread, Link
from hermes_ray.broker.outgoing import fresh
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.publisher import Answer
from hermes_ray.broker.wire import DIRECT, PIKA, Wire
from hermes_ray.cli.main import cli
from hermes_ray.config.loading import load
from hermes_ray.errors import HermesError, UserMistake
from tests.support.certificates import Authority, showing
from tests.support.ledger import Ledger, channel_to, declare, publish, sending, until
from tests.support.live import Cluster, Project, wait_until
from tests.support.patience import PATIENCE
from tests.support.rabbitmqctl import ctl
from tests.support.slow_line import slow_line
from tests.support.workers import working

PASSWORD = "se&sam =?"
NODE = socket.gethostname()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("certificates"))
    for name in ("server", "client"):
        made.issue(name)
    made.issue("late", days=-1)
    made.issue("elsewhere", names="DNS:rabbit.example")
    made.issue("weak", new_key=("-newkey", "rsa:1024", "-nodes"))
    made.lock("client", PASSWORD)
    Authority(Path(made["strangers"])).issue("client")
    return made


@pytest.fixture(scope="module")
def tls_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def secure(authority: Authority, tls_port: int) -> Iterator[LocalBroker]:
    """A node with a TLS port besides the other one."""
    settings = (
        f"listeners.ssl.1 = 127.0.0.1:{tls_port}",
        f"ssl_options.cacertfile = {authority['ca.pem']}",
        f"ssl_options.certfile = {authority['server.pem']}",
        f"ssl_options.keyfile = {authority['server.key']}",
        "ssl_options.verify = verify_peer",
        "ssl_options.fail_if_no_peer_cert = true",
    )
    with LocalBroker(settings=settings) as node:
        ctl(node, "add_vhost", "closed")
        yield node


@pytest.fixture
def url(secure: LocalBroker, tls_port: int) -> str:
    """The broker's TLS port, nothing said about TLS."""
    return f"amqps://guest:guest@localhost:{tls_port}/%2F"


@pytest.fixture
def ours(authority: Authority) -> str:
    """What a URL says for the broker to be trusted, and to trust us."""
    paths = {"cacertfile": "ca.pem", "certfile": "client.pem", "keyfile": "client.key"}
    return "&".join(f"{key}={authority[name]}" for key, name in paths.items())


def told_to_a_command(url: str) -> str:
    with pytest.raises(HermesError) as failed:
        connect([url], name="tests/tls")
    return str(failed.value)


def told_to_a_worker(url: str, wire: Wire) -> str:
    """What a worker reports as the reason that it does not consume."""
    reasons: list[str] = []
    io = IoThread("tests", lambda: reasons.append("the I/O thread crashed"))
    link = Link(io.loop, [url], name="tests/tls", on_open=lambda _: None, on_lost=reasons.append, wire=wire)
    io.start()
    io.call(link.open)
    until(lambda: reasons, "it cannot connect")
    closed = threading.Event()
    io.call(lambda: link.close(closed.set))
    assert closed.wait(PATIENCE * 20)
    io.stop()
    return reasons[0]


def test_a_worker_and_a_publisher_work_through_tls_set_in_the_configuration(
    url: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERMES_BROKER_URL", url)
    monkeypatch.setenv("KEY_PASSWORD", PASSWORD)
    files = {"ca": "ca.pem", "cert": "client.pem", "key": "client.locked.key"}
    words = [f"broker.tls.{key}={authority[name]}" for key, name in files.items()]
    words += ["broker.tls.password=${oc.env:KEY_PASSWORD}", "topics.q.handler=m:f"]
    (whole,) = load(None, words).broker.urls
    ledger = Ledger(tmp_path / "ledger")

    def handle(message: Message) -> None:
        ledger.note(message)
        message.publish("other", b"x" * 100_000)

    with working(whole, handle, queue_type="classic", routes={"t": "q", "other": "q2"}) as worker:
        with channel_to(whole) as channel:
            channel.queue_declare("q2", durable=True)
        ids = publish(whole, 500, body=b"x" * 10_000)
        done = CliRunner().invoke(cli, ["publish", "topic=q", "count=20", "body=x", *words])
        assert (done.exit_code, json.loads(done.stdout)["confirmed"]) == (0, 20), done.output
        until(lambda: worker["acked"] == 520, "every message is handled and acked")
        assert ledger.handled().keys() >= set(ids)
        assert worker["lost_reason"] is None


def test_a_large_body_on_a_slow_line_is_waited_for_while_it_goes_out_through_tls(
    secure: LocalBroker, url: str, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_SILENCE_S", 0.5)
    for queue in ("large", "small"):
        declare(secure.url(), queue, {})
    with slow_line(f"{url}?{ours}", bytes_per_s=3e6) as (slow, connections), sending(slow) as sender:
        sender.send([fresh("large", b"x" * 12_000_000), fresh("small", b"next")])
        until(lambda: len(sender.ids(Answer.CONFIRMED)) == 2, "both are confirmed", 60)
        assert len(connections) == 1


def test_a_deployment_scales_and_works_through_tls_and_none_starts_without_its_files(
    url: str, authority: Authority, cluster: Cluster, tmp_path: Path
) -> None:
    project = Project(tmp_path, url, "through-tls", cluster.environment)
    tls = {"ca": authority["ca.pem"], "cert": authority["client.pem"], "key": authority["client.key"]}
    topics = {"work": {"handler": "Sync", "queue": "deployed"}}
    project.configure(topics, broker={"tls": tls | {"key": "/nowhere/client.key"}})
    done = project.hermes("serve", "config=my.yaml", check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert f"on node {NODE} /nowhere/client.key cannot be read (No such file or directory): put it" in done.stderr

    project.configure(topics, broker={"tls": tls})
    with project.serving():
        ids = project.publish("deployed", count=200, config="my.yaml")
        wait_until(lambda: set(project.handled("work")) == ids, 60, "every message is handled")


def test_the_names_of_rabbitmqs_own_urls_work_and_so_do_pikas(url: str, ours: str, authority: Authority) -> None:
    literal = repr({key: authority[f"{name}.pem"] for key, name in (("cafile", "ca"), ("certfile", "client"))})
    own_key = repr({"keyfile": authority["client.key"]})
    for query in (
        ours,
        f"verify=verify_peer&{ours}&heartbeat=7",
        f"{ours}&server_name_indication=localhost",
        f"{ours}&server_name_indication=disable",
        ours.replace(f"cacertfile={authority['ca.pem']}", "verify=verify_none"),
        f"ssl_options={quote(literal[:-1] + ', ' + own_key[1:])}",
    ):
        connection = connect([f"{url}?{query}"], name="tests/tls")
        assert connection.is_open
        connection.close()


def test_files_are_read_for_each_connection_so_that_renewed_ones_count(
    url: str, ours: str, authority: Authority, tmp_path: Path
) -> None:
    shutil.copy(authority["strangers/ca.pem"], tmp_path / "ca.pem")
    here = f"{url}?{ours.replace(authority['ca.pem'], str(tmp_path / 'ca.pem'))}"
    assert "is not trusted" in told_to_a_command(here)
    shutil.copy(authority["ca.pem"], tmp_path / "ca.pem")
    connect([here], name="tests/tls").close()


def test_a_worker_whose_file_comes_late_consumes_once_it_is_there(
    url: str, ours: str, authority: Authority, tmp_path: Path
) -> None:
    reasons: list[str] = []
    opened, closed = threading.Event(), threading.Event()
    io = IoThread("tests", lambda: reasons.append("the I/O thread crashed"))
    here = f"{url}?{ours.replace(authority['ca.pem'], str(tmp_path / 'ca.pem'))}"
    link = Link(io.loop, [here], name="tests/tls", on_open=lambda _: opened.set(), on_lost=reasons.append)
    io.start()
    io.call(link.open)
    until(lambda: len(reasons) >= 2, "it tries again")
    shutil.copy(authority["ca.pem"], tmp_path / "ca.pem")
    assert opened.wait(PATIENCE * 60)
    told = set(reasons)
    io.call(lambda: link.close(closed.set))
    assert closed.wait(PATIENCE * 20)
    io.stop()
    missing = f"{tmp_path}/ca.pem cannot be read (No such file or directory)"
    assert told == {f"on node {NODE} {missing}: put it there, or correct broker.tls.ca"}


WHY_NOT: dict[str, tuple[Callable[[str, Authority], str], str]] = {
    "a CA that nobody named": (lambda url, _: url, "has a certificate that is not trusted ("),
    "another CA": (
        lambda url, ca: f"{url}?cacertfile={ca['strangers/ca.pem']}",
        "): name its CA's file in broker.tls.ca",
    ),
    "no client certificate": (
        lambda url, ca: f"{url}?cacertfile={ca['ca.pem']}",
        "ended the connection during TLS: it may want our certificate, broker.tls.cert and key",
    ),
    "a stranger's client certificate": (
        lambda url, ca: (
            f"{url}?cacertfile={ca['ca.pem']}&certfile={ca['strangers/client.pem']}"
            f"&keyfile={ca['strangers/client.key']}"
        ),
        "ended the connection during TLS: it may not take our certificate",
    ),
    "a name that the certificate lacks": (
        lambda url, ca: f"{url}?cacertfile={ca['ca.pem']}&server_name_indication=rabbit.example",
        "has a certificate that is not for rabbit.example: write a name it is for in broker.url",
    ),
    "the plain protocol to the TLS port": (
        lambda url, _: url.replace("amqps", "amqp"),
        "(it does not speak AMQP there, a TLS port needs amqps://): start it or correct broker.url",
    ),
    "a host that is not there": (
        lambda _url, _: "amqps://guest:s3cret@nowhere.invalid/",
        "no broker answered at amqps://guest:***@nowhere.invalid/ (host name not found: ",
    ),
    "a port where nobody listens": (
        lambda _url, _: "amqps://guest:s3cret@127.0.0.1:1/",
        "no broker answered at amqps://guest:***@127.0.0.1:1/ (Connection refused): start it or correct broker.url",
    ),
}


@pytest.mark.parametrize("wire", [DIRECT, PIKA], ids=["direct", "pika"])
@pytest.mark.parametrize("case", WHY_NOT)
def test_why_there_is_no_connection_is_told_alike_to_a_command_and_a_worker(
    case: str, wire: Wire, url: str, authority: Authority
) -> None:
    make, words = WHY_NOT[case]
    tried = make(url, authority)
    told = told_to_a_command(tried)
    assert words in told
    # What the broker said of our certificate may be lost: it ends the connection while we go on to speak.
    assert re.sub(r"certificate \(.*?\),", "certificate,", told) == re.sub(
        r"certificate \(.*?\),", "certificate,", told_to_a_worker(tried, wire)
    )
    assert len(told) <= 200
    assert "guest:guest" not in told
    assert "s3cret" not in told


@pytest.mark.parametrize(
    ("login", "vhost", "words"),
    [
        ("guest:s3cret", "%2F", "refused the login: correct user and password in broker.url, special characters as"),
        ("guest:guest", "nowhere", "has no such virtual host: create it or correct broker.url"),
        ("guest:guest", "closed", "refused this user the virtual host: grant it permissions or correct broker.url"),
    ],
)
def test_what_the_broker_refuses_is_told_alike_with_tls_and_without(
    login: str, vhost: str, words: str, secure: LocalBroker, url: str, ours: str
) -> None:
    for start, query in ((secure.url(), ""), (url, f"?{ours}")):
        tried = f"{start.removesuffix('%2F').replace('guest:guest', login)}{vhost}{query}"
        told = told_to_a_command(tried)
        assert words in told
        assert told == told_to_a_worker(tried, DIRECT)
        assert "s3cret" not in told


def test_a_port_without_tls_is_told_as_such(secure: LocalBroker) -> None:
    tried = secure.url().replace("amqp:", "amqps:")
    told = told_to_a_command(tried)
    assert "does not speak TLS on this port: name its TLS port, by default 5671, or write amqp://" in told
    assert told == told_to_a_worker(tried, DIRECT)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("late", "has a certificate that has expired: renew it"),
        ("elsewhere", "has a certificate that is not for 127.0.0.1: write a name it is for in broker.url"),
    ],
)
def test_a_certificate_that_does_not_hold_is_told_as_such(name: str, words: str, authority: Authority) -> None:
    with showing(authority, name) as port:
        tried = f"amqps://127.0.0.1:{port}/?cacertfile={authority['ca.pem']}"
        told = told_to_a_command(tried)
        assert told == f"the broker at amqps://127.0.0.1:{port}/ {words}"
        assert told == told_to_a_worker(tried, DIRECT)


def test_a_node_whose_certificate_has_expired_does_not_keep_one_from_the_others(
    url: str, ours: str, authority: Authority
) -> None:
    with showing(authority, "late") as port:
        connect([f"amqps://127.0.0.1:{port}/?{ours}", f"{url}?{ours}"], name="tests/tls").close()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("cacertfile=/nowhere/ca.pem", "/nowhere/ca.pem cannot be read (No such file or directory): put it there, or"),
        ("cacertfile=~nobody-of-that-name/ca.pem", "cannot be read (No such file or directory): put it there, or"),
        ("cacertfile=/tmp", "/tmp cannot be read (Is a directory): put it there, or correct broker.tls.ca"),
        ("cacertfile={client.key}", "client.key holds no PEM certificate: correct broker.tls.ca"),
        (
            "certfile={client.pem}",
            "client.pem: no PEM certificate with its private key: correct broker.tls.cert and key",
        ),
        (
            "certfile={client.pem}&keyfile={ca.pem}",
            "ca.pem: no PEM certificate with its private key: correct broker.tls",
        ),
        ("certfile={client.pem}&keyfile=/nowhere/k", "/nowhere/k cannot be read (No such file or directory): put it"),
        ("certfile={client.pem}&keyfile={server.key}", "server.key is not that of "),
        (
            "certfile={weak.pem}&keyfile={weak.key}",
            "weak.pem is a certificate that we do not take (ee key too small): renew it, or correct broker.tls.cert",
        ),
        ("certfile={client.pem}&keyfile={client.locked.key}", "needs its password: correct broker.tls.password"),
        (
            "certfile={client.pem}&keyfile={client.locked.key}&password=s3cret",
            "client.locked.key does not open with the password there is: correct broker.tls.password",
        ),
        ("certfile={client.pem}&keyfile={client.locked.key}&password=" + "s3cret" * 300, "does not open with the"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_the_node_and_what_to_do(
    query: str, words: str, authority: Authority
) -> None:
    for name in ("ca.pem", "client.pem", "client.key", "client.locked.key", "server.key", "weak.pem", "weak.key"):
        query = query.replace(f"{{{name}}}", authority[name])
    with pytest.raises(UserMistake) as refused:
        connect([f"amqps://me:hush@127.0.0.1:1/?{query}"], name="tests/tls")
    assert str(refused.value).startswith(f"on node {NODE} ")
    assert words in str(refused.value)
    assert not {"hush", "s3cret"} & set(str(refused.value).replace(":", " ").split())
    assert "s3cret" not in str(refused.value)


def test_a_worker_is_told_of_a_file_too(authority: Authority) -> None:
    told = told_to_a_worker("amqps://me:hush@127.0.0.1:1/?cacertfile=/nowhere/ca.pem", DIRECT)
    assert told == told_to_a_command("amqps://me:hush@127.0.0.1:1/?cacertfile=/nowhere/ca.pem")
