"""A secret that is an item or a word of its own, or stands before a host without a URL, is hidden too."""

from __future__ import annotations

import json
import shlex
import subprocess

import pytest

from hermes_ray.config.option_secrets import without_secrets
from tests.support.canaries import PASSWORDS, leaks


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[('x-api-key', 's3cr3t'), ('accept', 'json')]", "[('x-api-key', ***), ('accept', 'json')]"),
        ("[(b'authorization', b'Token s3cr3t'), (b'a', b'b')]", "[(b'authorization', ***), (b'a', b'b')]"),
        ('[["x-api-key", "s3cr3t"], ["accept", "json"]]', '[["x-api-key", ***], ["accept", "json"]]'),
        ("('credentials', {'user': 'bob', 'pw': 's3cr3t'}, 3)", "('credentials', ***, 3)"),
        ("('token', 4711, 'x')", "('token', ***, 'x')"),
        ("('token', 's3cr3t', 'x')", "('token', ***, 'x')"),
        ("('token', 's3, cr3t", "('token', ***"),
        (
            "Command '['tool', '--password', 's3cr3t', '-v']' returned 1",
            "Command '['tool', '--password', ***, '-v']' returned 1",
        ),
        ("ran '--token', 's3cr3t' now", "ran '--token', *** now"),
        ("Command 'tool --password s3cr3t' returned 1", "Command 'tool --password ***' returned 1"),
        ("tool --password s3cr3t --host db", "tool --password *** --host db"),
        ("tool --api-key 's3 cr3t' --host db", "tool --api-key *** --host db"),
        ("sh -c 'mysql --password s3cr3t' failed", "sh -c 'mysql --password ***' failed"),
        ('sh -c "mysql --password s3cr3t" failed', 'sh -c "mysql --password ***" failed'),
        ("'bash -c \"psql --password s3cr3t\"' returned 1", "'bash -c \"psql --password ***\"' returned 1"),
        ("-m 'x --token s3cr3t", "-m 'x --token ***"),
        ("tool -v -password s3cr3t now", "tool -v -password *** now"),
        ("consul -insecure -token s3cr3t now", "consul -insecure -token *** now"),
        ("tool -token -password s3cr3t now", "tool -token *** *** now"),
        ("tool --password \\\n s3cr3t now", "tool --password \\\n *** now"),
        (f"tool --password{' ' * 30}s3cr3t now", f"tool --password{' ' * 30}*** now"),
        (
            json.dumps(["token", "s3cr3t"], indent=10),
            json.dumps(["token", "s3cr3t"], indent=10).replace('"s3cr3t"', "***"),
        ),
        (
            json.dumps(["--token", "s3cr3t"], indent=10),
            json.dumps(["--token", "***"], indent=10).replace('"***"', "***"),
        ),
    ],
)
def test_the_item_or_word_after_the_name_of_a_secret_is_hidden(text: str, told: str) -> None:
    assert without_secrets(text, {}) == told


@pytest.mark.parametrize("password", PASSWORDS)
def test_all_of_an_item_or_word_is_hidden_whatever_is_in_it(password: str) -> None:
    words = ["tool", "--password", password, "-v"]
    raised = str(subprocess.CalledProcessError(1, words)), str(subprocess.CalledProcessError(1, shlex.join(words)))
    for text in (*raised, shlex.join(words), repr([("token", password)]), repr(("token", password.encode()))):
        assert not leaks(without_secrets(text, {}))


@pytest.mark.parametrize(
    "text",
    [
        "['token', 'user', 'id'] are missing",
        "expected one of ('token', 'user', 'id')",
        "('password', None)",
        "['tool', '--password', '--host', 'db']",
        "tool --password --host db",
        "tool --max-tokens 4096 --token-file /a",
        "['--max-tokens', '4096']",
        "pg_dump --no-password mydb",
        "docker login --password-stdin registry",
        "['pg_dump', '--no-password', '-h', 'db'] returned 1",
    ],
)
def test_names_flags_and_counts_are_told(text: str) -> None:
    assert without_secrets(text, {}) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cannot reach bob:s3cr3t@db:5432/orders", "cannot reach ***@db:5432/orders"),
        ("scp bob:s3cr3t@host:/x", "scp ***@host:/x"),
        ("bob:s3@cr3t@db, ops@example.com", "***@db, ops@example.com"),
        ("wrote to: ops@example.com", None),
        ("ops@example.com", None),
        ("see mailto:ops@example.com", None),
        ("pull app:1.2@sha256:0a4f", None),
    ],
)
def test_a_password_before_a_host_is_hidden_and_an_address_is_not(text: str, told: str | None) -> None:
    assert without_secrets(text, {}) == (told or text)


@pytest.mark.parametrize(
    "piece",
    [
        *("('token', '", "['token', [", "'--token', ", "--token '", "a:", "a:b@", '--token "\\', "--a ", "-token -"),
        *(
            "--token \\\n",
            '--token ""',
            "'--token ''",
            "[\n",
            '["a",',
            '"--token",  ',
            "[" + " " * 99,
            "('a', 'b', 'c',",
        ),
    ],
)
def test_items_words_and_hosts_are_looked_through_once(piece: str) -> None:
    for end in ("", "]", "@h"):
        assert without_secrets(f"cannot read {piece * 10_000}{end}", {}).startswith("cannot read")
