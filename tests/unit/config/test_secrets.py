"""What people see of a configuration: everything but its secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hermes_ray.config.loading import load, masked_yaml
from hermes_ray.config.masked_tree import masked_tree
from hermes_ray.config.option_secrets import without_secrets
from hermes_ray.config.secret_names import looks_secret
from hermes_ray.config.secrets import mask_url, plain, without_words
from tests.support.canaries import PASSWORDS, leaks


def test_masked_yaml_hides_secrets_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "hunter2")
    options = {
        "plain": "value",
        "rows": 7,
        "from_env": "${oc.env:KEY}",
        "default": "${oc.env:NOT_SET_ANYWHERE,hunter2}",
        "chained": "${topics.a.options.from_env}",
        "part": "x-${oc.env:KEY}",
        "password": "hunter2",
        "tokens": ["hunter2"],
        "max_tokens": 4096,
        "nested": {"api_key": ["hunter2", 12345], "urls": ["http://me:hunter2@h/p"]},
        "dsn": "host=h password=hunter2 user=me",
        "literal": "$HOME",
    }
    broker = {"url": ["amqp://me:hunter2@h1", "amqp://h2"]}
    tree = {"broker": broker, "topics": {"a": {"handler": "m:f", "options": options}}}
    file = tmp_path / "hermes.yaml"
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    text = masked_yaml(file, ["deployment.name=blue"])
    assert "hunter2" not in text
    assert "12345" not in text
    shown = yaml.safe_load(text)
    assert shown["broker"]["url"] == ["amqp://me:***@h1", "amqp://h2"]
    assert shown["deployment"]["name"] == "blue"
    assert shown["topics"]["a"]["workers"] == {"min": 0, "max": 10, "roll_surge": 0.25}
    assert shown["topics"]["a"]["options"] == {
        "plain": "value",
        "rows": 7,
        "from_env": "***",
        "default": "***",
        "chained": "***",
        "part": "***",
        "password": "***",
        "tokens": ["***"],
        "max_tokens": 4096,
        "nested": {"api_key": ["***", "***"], "urls": ["http://me:***@h/p"]},
        "dsn": "host=h password=*** user=me",
        "literal": "$HOME",
    }


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("amqp://me:pw@h:5672/v", "amqp://me:***@h:5672/v"),
        ("amqp://:pw@h", "amqp://:***@h"),
        ("amqps://me@h/?keyfile=/k&%70assword=pw&heartbeat=5", "amqps://me@h/?keyfile=/k&%70assword=***&heartbeat=5"),
        ("http://api/?api%5Fkey=pw", "http://api/?api%5Fkey=***"),
        ("amqp://me:p/w@h", "amqp://me:***@h"),
        ("amqp://me:p@w@h", "amqp://me:***@h"),
        ("amqp://me@corp:pw@h", "amqp://me@corp:***@h"),
        ("me:pw@h", "***@h"),
        ("amqp://h:5672/v", "amqp://h:5672/v"),
        ("amqp://me@h", "amqp://me@h"),
        ("amqp://t0k:@h", "amqp://***@h"),
        ("amqp://me:1 amqp://pw@h/", "amqp://me:***@h/"),
        ("amqp://me:9,x://pw@h", "amqp://me:***@h"),
        ("amqp://me/corp:9;x://pw@h", "amqp://***@h"),
        ("amqp://h1:5672, amqp://h2:5672", "amqp://h1:5672, amqp://h2:5672"),
        ("tried amqp://a:b@h1 and amqp://c:d@h2", "tried amqp://a:***@h1 and amqp://c:***@h2"),
        ("postgresql://h/db?user=me&password=pw", "postgresql://h/db?user=me&password=***"),
        ("https://x-access-token:pw@git/a failed: 128", "https://x-access-token:***@git/a failed: 128"),
        ("['mysql', '--password=pw', '-v'] ended with 1", "['mysql', '--password=***', '-v'] ended with 1"),
        ("password=pw\n", "password=***\n"),
        ("token == expected", "token == expected"),
        ("https://api/a: got 404 for bob@example.com", "https://api/a: got 404 for bob@example.com"),
        ("redis://h:6379: READONLY; user bob@example.com", "redis://h:6379: READONLY; user bob@example.com"),
        ("token==s3cr3t", "token=***"),
    ],
)
def test_mask_url_hides_the_password_only(url: str, masked: str) -> None:
    assert mask_url(url) == masked


def test_options_are_secret_by_their_last_word() -> None:
    assert all(map(looks_secret, ["password", "dbPassword", "PGPASSWORD", "authToken", "api-key", "client_secret"]))
    assert not any(map(looks_secret, ["max_tokens", "key", "keyspace", "bypass", "password_file", "secret_name"]))


@pytest.mark.parametrize(
    "key", ["api_keys", "apiKeys", "tokens", "passwords", "secrets", "jwts", "cookies", "signing-keys", "TOKENS"]
)
def test_an_option_that_names_many_is_secret_where_it_has_a_text(key: str) -> None:
    for value in (["s3cr3t-tok"], {"eu": "s3cr3t-tok"}, "s3cr3t-tok", [{"eu": ["s3cr3t-tok"]}, 1]):
        assert without_secrets("refused: s3cr3t-tok", {key: value}) == "refused: ***"
        assert looks_secret(key, value)
    for told in (f"{key}=s3cr3t-tok", f"{{'{key}': ['s3cr3t-tok']}}", f'{{"{key}":["s3cr3t-tok"]}}'):
        assert "s3cr3t" not in without_secrets(told, {})


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"args": ["-v", "--password", "s3cr3t", "--host", "h"]}, {"args": ["-v", "--password", "***", "--host", "h"]}),
        ({"pairs": [["token", "s3cr3t"], ["user", "bob"]]}, {"pairs": [["token", "***"], ["user", "bob"]]}),
        (
            {"env": [{"name": "DB_PASSWORD", "value": "s3cr3t"}, {"name": "HOST", "value": "h"}]},
            {"env": [{"name": "DB_PASSWORD", "value": "***"}, {"name": "HOST", "value": "h"}]},
        ),
        ({"columns": ["id", "token", "user"]}, {"columns": ["id", "token", "user"]}),
        (
            {"args": ["pg_dump", "--no-password", "--host", "db"]},
            {"args": ["pg_dump", "--no-password", "--host", "db"]},
        ),
        ({"fields": ["password", "email"]}, {"fields": ["password", "email"]}),
        (
            {"x": {"name": "main", "key": "API_KEY", "value": "s3cr3t"}},
            {"x": {"key": "API_KEY", "name": "main", "value": "***"}},
        ),
        (
            {"x": {"key": "API_KEY", "name": None, "value": "s3cr3t"}},
            {"x": {"key": "API_KEY", "name": None, "value": "***"}},
        ),
        ({"x": {"Name": "API_KEY", "Value": "s3cr3t"}}, {"x": {"Name": "API_KEY", "Value": "***"}}),
        ({"empty": []}, {"empty": []}),
    ],
)
def test_an_option_whose_name_is_beside_it_is_secret(options: dict[str, object], shown: dict[str, object]) -> None:
    assert masked_tree({"options": options}, {"options": options}) == {"options": shown}
    assert "s3cr3t" not in without_secrets("refused: s3cr3t", options) or "***" not in str(shown)
    assert without_secrets("there is no email", options) == "there is no email"


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_tokens", 4096), ("max_tokens", "4096"), ("tokens", [1, 2]), ("api_keys", None), ("api_keys", [])]
    + [(key, ["id"]) for key in ("keys", "primary_keys", "sort_keys", "tokens_file", "token_ids")],
)
def test_a_count_and_the_keys_of_a_table_are_shown(key: str, value: object) -> None:
    assert not looks_secret(key, value)


@pytest.mark.parametrize(
    "text", ["{'max_tokens': 4096, 'n': 1}", "max_tokens=4096 n=1", "9 tokens: four are left", "sort_keys=id"]
)
def test_a_count_of_tokens_is_told(text: str) -> None:
    assert without_secrets(text, {}) == text


def test_secrets_among_options_are_hidden_in_what_a_driver_says_about_them() -> None:
    options = {
        "dsn": "postgresql://app:s3cret@db/x",
        "api": {"token": "abc123"},
        "path": "/data/orders.db",
        "retries": 3,
    }
    text = "cannot parse 'postgres//app:s3cret@db/x' with abc123: see /data/orders.db after 3 tries"
    assert without_secrets(text, options) == (
        "cannot parse 'postgres//app:***@db/x' with ***: see /data/orders.db after 3 tries"
    )


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("word", ["amqp://me:{}@h/v", "trace=amqp://me:{}@h", "body=@amqp://me:{}@h"])
def test_a_word_of_a_command_is_quoted_without_the_password_of_a_url_in_it(word: str, password: str) -> None:
    word = word.format(password)
    value = word.removeprefix("trace=").removeprefix("body=@")
    for quoted in (word, repr(word), value, repr(value)):
        assert not leaks(without_words(f"there is no topic {quoted}: it has orders", [word]))
    assert without_words("there is no topic me:pw@h", ["me:pw@h"]) == "there is no topic ***@h"


@pytest.mark.parametrize("word", ["body=@nofile", "config=a@b", "x", "http://h:80/x", "-1"])
def test_a_word_without_a_password_is_quoted_as_it_is(word: str) -> None:
    assert without_words(f"{word} is not there, nor is USER:PASSWORD@HOST", [word]) == (
        f"{word} is not there, nor is USER:PASSWORD@HOST"
    )


def test_a_quote_that_is_never_closed_is_looked_through_once() -> None:
    """It took twice as long for each backslash: 4.8 s for 24, while the interpreter stood still."""
    for opened in ("password='", 'https://a {"private_key": "-----BEGIN'):
        for piece in ("\\n", "\\nMII", "a'b\\"):
            without_secrets(f"GET https://api/x failed: {opened}{piece * 2_000}", {})


def test_a_password_is_hidden_in_a_text_without_a_url_too_and_an_address_is_not() -> None:
    text = "ops@example.com: bad dsn: host=db password=canary user=me"
    assert without_secrets(text, {}) == "ops@example.com: bad dsn: host=db password=*** user=me"


def test_what_came_from_the_environment_is_hidden_in_what_is_told_and_handed_over_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STRIPE", "sk_canary_1234")
    monkeypatch.setenv("REGION", "eu")
    words = ["topics.a.handler=m:f", "topics.a.options={key: '${oc.env:STRIPE}', at: ['${oc.env:REGION}'], n: 3}"]
    options = load(None, words).topics["a"].options
    assert without_secrets("Invalid API key provided: sk_canary_1234 in eu", options) == (
        "Invalid API key provided: *** in eu"
    )
    assert plain(options) == {"key": "sk_canary_1234", "at": ["eu"], "n": 3}
    assert [type(value) for value in (plain(options)["key"], plain(options)["at"][0])] == [str, str]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("401 for header Authorization: ApiKey VnVhQ2ZHY0JD5udw==", "401 for header Authorization: ***"),
        ("db_password: canary abc=def", "db_password: *** abc=def"),
        ("https://b/k?X-Amz-Date=1&X-Amz-Signature=fe5f", "https://b/k?X-Amz-Date=1&X-Amz-Signature=***"),
        ("cannot load -----BEGIN RSA PRIVATE KEY-----\nMIIcanary", "cannot load ***"),
        ("canary==\n-----END PGP PRIVATE KEY BLOCK-----: expected a path", "***"),
        ("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\\ncanary", "***"),
        ("no PRIVATE KEY in /etc/tls/a.pem", "no PRIVATE KEY in /etc/tls/a.pem"),
        ("mysqldump --password=canary --host=db", "mysqldump --password=*** --host=db"),
    ],
)
def test_what_a_text_tells_of_a_secret_is_hidden(told: str, shown: str) -> None:
    assert without_secrets(told, {}) == shown


@pytest.mark.parametrize(
    "text",
    [
        "(1045, \"Access denied for user 'root'@'localhost' (using password: YES)\")",
        "Login(user='me', password=None, token=None)",
        "{'password': None, 'token': null}",
        "basic validation failed for order",
        "basic authentication: no user",
        "Digest sha256:abcdef0123 not found",
    ],
)
def test_what_tells_of_no_secret_is_told(text: str) -> None:
    assert without_secrets(text, {}) == text


@pytest.mark.parametrize(
    "text",
    [
        *("password: YESnt", "password=None,Zq7", "password: NO way", "password='None, of all'", "password=NO, no way"),
        *("Basic bWU6cHc=", "basic YTpi", "Basic canary/canary", "Digest 0a4f113b", "bearer canary"),
    ],
)
def test_what_only_begins_like_no_secret_is_hidden(text: str) -> None:
    told = without_secrets(f"refused: {text}", {})
    assert told.endswith(("=***", ": ***", " ***"))
    assert not any(part in told for part in text.replace(":", " ").replace("=", " ").split()[1:])


@pytest.mark.parametrize(
    "text", ["A" * 60_000, "a-" * 30_000, " " * 60_000, "," * 60_000, "a_b-" * 15_000, "\\n" * 30_000]
)
def test_long_runs_are_looked_through_once(text: str) -> None:
    """9,000 letters took 2.4 s, in which all slots of a worker stood still."""
    for begun in ("cannot decode ", "password=x ", "https://h/?token=x", "password='"):
        without_secrets(f"{begun}{text}", {"password": "canary"})


@pytest.mark.parametrize(
    "piece", ["a://b:1 ", "a://b:1 a://", "a://b:1@\n", "a://b:1 \n", 'password=\\"x ', "password=\\'x \\\\"]
)
@pytest.mark.parametrize("end", ["", "@h", '"x', "'x"])
def test_each_of_many_urls_and_quotes_is_looked_through_once(piece: str, end: str) -> None:
    """3,000 short URLs took 0.6 s, in which the event loop stood still; as many as these took minutes."""
    assert without_secrets(f"cannot read {piece * 30_000}{end}", {}).startswith("cannot read ")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("a://b:1 c://d:2 e://me:p@w@h", "a://b:***@h"),
        ("a://b:x c://d e://f@g h://i:j@k", "a://b:***@g h://i:***@k"),
        ("a://b:1 c://d:2", "a://b:1 c://d:2"),
        ('password=\\"x token=\\"y "z', "password=*** token=***"),
        ("password='x token='y' z", "password=*** token=*** z"),
        ("a://b:p\nw@h", "a://b:***@h"),
        ("a://b:1\n@h c://d\n:p@w\n@h", "a://b:***@h c://***@h"),
        ("a://b:1 c://p\nw@h", "a://b:***@h"),
        ("a://b:p@h\nc:p@h\nd@h", "a://b:***@h\n***@h\nd@h"),
        ("a://b\nc:p@h, d@h", "a://b\n***@h, d@h"),
    ],
)
def test_where_one_of_several_passwords_ends(text: str, masked: str) -> None:
    assert without_secrets(text, {}) == masked


@pytest.mark.parametrize("url", ["https://h/2/missing", "https://h:80/x", "https://h:80", "GET https://h/x: 422"])
def test_an_address_in_a_later_line_than_a_url_is_told_and_so_is_what_is_between(url: str) -> None:
    text = f"wrong: see {url}\nqty\n  no number, {{'email': 'bob@example.com'}}: see {url}\nprice\n  al@example.com"
    assert without_secrets(text, {}) == text


def test_the_password_within_what_came_from_the_environment_is_hidden_alone_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DSN", "postgres://app:canary1@db/app")
    monkeypatch.setenv("CREDS", "{login: service, phrase: canary2x, many: [canary3x]}")
    monkeypatch.setenv("LINE", "canary4\n")
    options = "{dsn: '${oc.env:DSN}', creds: '${oc.decode:${oc.env:CREDS}}', line: '${oc.env:LINE}'}"
    got = load(None, ["topics.a.handler=m:f", f"topics.a.options={options}"]).topics["a"].options
    told = without_secrets("('app', 'canary1') app:canary1@db canary2x canary3x canary4", got)
    assert "canary" not in told
    assert plain(got)["creds"] == {"login": "service", "phrase": "canary2x", "many": ["canary3x"]}


def test_a_password_between_semicolons_and_one_in_a_path_are_hidden() -> None:
    options = {"dsn": "Server=x;Uid=u;Pwd=canary;Connection Timeout=30;", "password": "Zm9v/YmFy+ba=z"}
    assert without_secrets("login failed for u with canary", options) == "login failed for u with ***"
    assert without_secrets("at app:Zm9v/YmFy%2Bba%3Dz", options) == "at app:***"


def test_a_letter_is_no_secret() -> None:
    assert without_secrets("KeyError: e in row 12", {"pad_token": "e", "secret_version": 2}) == "KeyError: e in row 12"
