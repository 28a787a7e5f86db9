"""Where a secret ends in any text: all of it is hidden, and the words after it are told."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from hermes_ray.config.option_secrets import without_secrets
from hermes_ray.config.secret_names import looks_secret
from hermes_ray.config.secrets import mask_url
from tests.support.canaries import PASSWORDS, leaks


@dataclass
class Token:
    id: int
    raw: str


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tokens={'bob': 's3cr3t', 'eve': 'pw2'} for order 17", "tokens=*** for order 17"),
        ("{'secrets': {'stripe': 'sk_live_1', 'slack': 'xoxb-2'}}", "{'secrets': ***}"),
        ('{"credentials": {"user": "bob", "pw": "s3cr3t"}, "order": 17}', '{"credentials": ***, "order": 17}'),
        ("cookies={'sid': 'abc', 'csrf': 'def'} refused", "cookies=*** refused"),
        ("password={'value': 'x', 'plain': 's3cr3t'} refused", "password=*** refused"),
        ("token=Token(id=3, raw='s3cr3t') for order 17", "token=*** for order 17"),
        ("credentials=Credentials(user='bob', pw='s3cr3t').", "credentials=***."),
        ("{'tokens': frozenset({'a', 's3cr3t'}), 'n': 1}", "{'tokens': ***, 'n': 1}"),
        ("token=<Token id=3, raw='s3cr3t', of=[1]> for order 17", "token=*** for order 17"),
        ("tokens={'a': 'x}', 'b': \"it's }\", 'c': 'q\\'}'} for order", "tokens=*** for order"),
        ("tokens=['a\\\\', ']', 'b'] for order", "tokens=*** for order"),
        ('{\\"tokens\\": {\\"a\\": \\"b\\\\\\"}\\"}, \\"order\\": 17}', '{\\"tokens\\": ***, \\"order\\": 17}'),
        ("token=[a, [b, (c)] for order 17", "token=***"),
        ("token=(a, 'b) for order 17", "token=***"),
        ("token=ab(c)!d, e=1", "token=***, e=1"),
    ],
)
def test_a_value_with_brackets_ends_with_the_one_that_closes_it(text: str, told: str) -> None:
    assert without_secrets(text, {}) == told


@pytest.mark.parametrize("password", PASSWORDS)
def test_all_of_a_value_with_brackets_is_hidden_whatever_is_in_it(password: str) -> None:
    data = {"a": "x", "b": password, "c": [password, {"d": password}]}
    for value in (repr(data), json.dumps(data), json.dumps(json.dumps(data))[1:-1], repr(Token(3, password))):
        for key in ("tokens=", "password: ", "{'credentials': "):
            assert not leaks(without_secrets(f"refused: {key}{value} x", {}))


@pytest.mark.parametrize("text", ["(my dog) has s3cr3t", "ab(c) s3cr3t", "[x]s3cr3t"])
def test_a_passphrase_with_brackets_goes_on_after_them(text: str) -> None:
    assert without_secrets(f"password={text} host=db", {}) == "password=*** host=db"


@pytest.mark.parametrize("piece", ["[", "tokens=[", "token=(a)b ", "password=A(a) ", "tokens={'", "token=<'>\\"])
def test_brackets_are_looked_through_once(piece: str) -> None:
    for end in ("", "]", "'"):
        assert without_secrets(f"cannot read {piece * 10_000}{end}", {}).startswith("cannot read ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "with url: /a?id=17&token=x (Caused by ConnectTimeoutError('timed out. (connect timeout=3)'))",
            "with url: /a?id=17&token=*** (Caused by ConnectTimeoutError('timed out. (connect timeout=3)'))",
        ),
        (
            "GET https://h/a?token=x answered 404: no such order",
            "GET https://h/a?token=*** answered 404: no such order",
        ),
        ("url='https://h/a?token=x' for order 17", "url='https://h/a?token=***' for order 17"),
        ("404 for url 'https://h/a?token=x'\nFor more information check: URL", None),
        ("'404 no' for https://h/?api_key=ab's3cr3t 'x'", "'404 no' for https://h/?api_key=*** 'x'"),
        ("can't (now) GET https://h/?api_key=ab)s3cr3t x", "can't (now) GET https://h/?api_key=*** x"),
        ("https://h/?api_key=ab`s3cr3t x", "https://h/?api_key=*** x"),
        ("https://h/q='a(b?api_key=ab's3cr3t) x", "https://h/q='a(b?api_key=*** x"),
        ("body grant_type=x&client_secret=ab#s3cr3t refused", "body grant_type=x&client_secret=*** refused"),
        ('URL(\'https://h/a?token=x\') {"url":"/a?token=x","order":17}', None),
        ("b'GET' 'curl https://h/a?token=x' `h/a?token=x`", None),
        ("(see https://h/a?sig=x) [h?sig=x] {h?sig=x} <h?sig=x> `h?sig=x` h?sig=x#top", None),
        ("404 for h?token=\nFor more h?id=3", "404 for h?token=\nFor more h?id=3"),
        ("404 for h?password=x y order 17", "404 for h?password=***"),
        ("404 for h?id=1&passphrase=x y order 17", "404 for h?id=1&passphrase=***"),
    ],
)
def test_a_parameter_of_a_url_ends_with_the_url(text: str, told: str | None) -> None:
    assert without_secrets(text, {}) == (told or text.replace("=x", "=***"))


@pytest.mark.parametrize("piece", ["?token=", "&token=x", "'?token=x)", "h://(?token=x "])
def test_urls_with_many_secrets_are_looked_through_once(piece: str) -> None:
    assert without_secrets(f"cannot read {piece * 20_000}", {}).startswith("cannot read ")


@pytest.mark.parametrize(
    "text",
    [
        *("has_password: false, order 17", "isSecret=True for order 17", "{'has_token': 1}", "is_token: 'yes'; x"),
        *("has-api-key: off.", "is_secret=0"),
    ],
)
def test_whether_there_is_a_secret_is_told(text: str) -> None:
    assert without_secrets(text, {}) == text
    assert not looks_secret(text.partition(":")[0].partition("=")[0])


@pytest.mark.parametrize("key", ["has_api_key", "is_token", "hasSecret", "is-password"])
def test_what_is_no_answer_to_whether_there_is_a_secret_is_hidden(key: str) -> None:
    for value in ("s3cr3t", "no s3cr3t", "0.s3cr3t", ["s3cr3t"]):
        assert looks_secret(key, value)
    for text in ("s3cr3t", "0.s3cr3t", "'no s3cr3t'", "nos3cr3t", "['s3cr3t']"):
        assert without_secrets(f"{key}: {text}", {}) == f"{key}: ***"
    assert not any(looks_secret(key, answer) for answer in (True, False, None, "yes", "OFF", 0, "1"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://h:8080/users/bob@example.com 404", None),
        ("amqp://me:9/x@h", "amqp://me:***@h"),
        ("https://me:9/x:y@h", "https://me:***@h"),
        ("https://me:9/x@y@h", "https://me:***@h"),
        ("https://me:pw/x@h", "https://me:***@h"),
        ("GET https://h/a failed: me:s3cr3t@db", "GET https://h/a failed: ***@db"),
        ("GET 'https://h/a' failed: 'me:s3cr3t@db'", "GET 'https://h/a' failed: '***@db'"),
        ("redis://h:6379: auth failed for me:s3cr3t@db", "redis://h:6379: auth failed for ***@db"),
        ("https://h/a: got 404 for me:s3cr3t@db, https://h/b", "https://h/a: got 404 for ***@db, https://h/b"),
        ("https://h/a failed: me:s3cr3t@db\nb:s3cr3t@db", "https://h/a failed: ***@db\n***@db"),
        ("see https://me/corp:s3cr3t@h for bob@example.com", "see https://me/***@h for bob@example.com"),
        ("see https://me#corp:s3cr3t@h: bob@example.com", "see https://***@h: bob@example.com"),
        ("see https://my user:s3cr3t@h/x: 404", "see https://my ***@h/x: 404"),
    ],
)
def test_a_port_and_a_path_of_the_web_are_no_password(text: str, told: str | None) -> None:
    assert without_secrets(text, {}) == (told or text)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://me/corp:s3cr3t@h", "https://***@h"),
        ("https://me#corp:s3cr3t@h", "https://***@h"),
        ("https://my user:s3cr3t@h/x", "https://***@h/x"),
        ("https://me/corp:s3 cr3t@h", "https://***@h"),
        ("https://me:7/s3cr3t@h", "https://me:***@h"),
        ("https://h/?api_key=ab's3cr3t", "https://h/?api_key=***"),
        ("https://h/?a=1&api_key=ab#s3cr3t&b=2", "https://h/?a=1&api_key=***&b=2"),
    ],
)
def test_an_option_that_is_a_url_has_no_words_behind_it(url: str, told: str) -> None:
    assert mask_url(url) == told
    secret = url.rpartition("@")[0].rpartition(":")[2] or url.partition("api_key=")[2].partition("&")[0]
    assert without_secrets(f"refused: {secret}", {"proxy": url}) == "refused: ***"
