"""Configurations with a secret in every place that one gets into, and how to find it in what must not show it.

Search whatever a command prints, logs, exports or writes with ``leaks``. Each part of each secret carries a mark, so a
part that gets out is found too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

__all__ = ["ACCEPTED", "PASSWORDS", "REFUSED", "REFUSED_URLS", "REFUSED_WORDS", "Canary", "amqp_url", "leaks"]

MARKS = ("zq7", "40414243", "wnE3".lower())  # the last is in the base64 of the second


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A configuration with secrets: the ``text`` of a file, ``words`` after a command, ``environment`` variables."""

    text: str
    words: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def leaks(text: str) -> list[str]:
    """The lines of ``text`` that show a part of a secret, percent-encoded or not."""
    lines = text.splitlines()
    return [line for line in lines if any(mark in seen.lower() for seen in (line, unquote(line)) for mark in MARKS)]


PASSWORDS = (
    "Zq7plain", "Zq7 blank Zq7", "Zq7/Zq7", ":Zq7:Zq7", "Zq7#Zq7", "Zq7%Zq7", "Zq7%2FZq7", "Zq7@Zq7", "Zq7?Zq7=Zq7",
    "Zq7&Zq7", "Zq7ünï→Zq7", "12345/Zq7", "/Zq7", "Zq7://Zq7", "Zq7'Zq7", 'Zq7"Zq7', "Zq7\\Zq7", "${Zq7}", "*Zq7",
    "Zq7,Zq7",
)  # fmt: skip


def amqp_url(password: str, place: str = "rabbit.invalid:5672/%2F") -> str:
    """The URL of a broker at ``place`` for user ``me``, as it is to be written."""
    return f"amqp://me:{quote(password, safe='')}@{place}"


def tls(body: str, url: str = "amqps://rabbit.invalid") -> str:
    """A file whose ``broker.tls`` has the keys of ``body``."""
    return f"broker: {{url: '{url}', tls: {{{body}}}}}\n{TOPIC}\n"


HANDLER = "handler: m:f"
TOPIC = f"topics: {{a: {{{HANDLER}}}}}"


def quoted(text: str) -> str:
    """``text`` in YAML's single quotes."""
    return "'" + text.replace("'", "''").replace("${", "\\${") + "'"


def broker(value: str) -> str:
    """A file whose ``broker.url`` is ``value``, as YAML."""
    return f"broker:\n  url: {value}\n{TOPIC}\n"


def topic(body: str) -> str:
    """A file with a topic that has the lines of ``body`` too."""
    return f"topics:\n  a:\n    {HANDLER}\n" + "".join(f"    {line}\n" for line in body.splitlines())


def options(body: str) -> str:
    """A file with a topic whose options are the lines of ``body``."""
    return topic("options:\n" + "".join(f"  {line}\n" for line in body.splitlines()))


_BACKSLASH = "{'password': 'Zq7\\Zq7'}"
_TLS = "{'certfile': '/c', 'keyfile': '/k', 'password': 'Zq7&Zq7=Zq7@Zq7'}"

ACCEPTED = [
    *(Canary(text=broker(quoted(amqp_url(password)))) for password in PASSWORDS),
    *(Canary(text=options(f"password: {quoted(password)}\nhost: db")) for password in PASSWORDS),
    *(
        Canary(text=options(f"dsn: {quoted(f'postgresql://app:{password}@db:5432/x')}"))
        for password in PASSWORDS
        if "${" not in password
    ),
    *(
        Canary(text=options(f"dsn: {quoted(f'host=db password={word} user=me')}"))
        for word in ("Zq7", "'Zq7 Zq7'", "Zq7&Zq7")
    ),
    *(
        Canary(text=broker("${oc.env:CANARY_URL}"), environment={"CANARY_URL": amqp_url(password)})
        for password in PASSWORDS
    ),
    Canary(text=broker("amqp://me:Zq7a:Zq7b@rabbit.invalid")),
    Canary(text=broker("amqp://me:Zq7ü@rabbit.invalid")),
    Canary(text=broker("AMQP://me:Zq7@rabbit.invalid")),
    Canary(text=broker("amqp://me%40corp:Zq7@rabbit.invalid")),
    Canary(text=broker("amqp://me@corp:Zq7@rabbit.invalid")),
    Canary(text=broker("amqp://:Zq7@rabbit.invalid")),
    Canary(text=broker("[amqp://rabbit.invalid, 'amqps://me:Zq7@rabbit.invalid', 'amqp://you:Zq7@[::1]/v']")),
    Canary(text=broker(f"amqps://me:Zq7@rabbit.invalid?heartbeat=5&ssl_options={quote(_TLS)}&channel_max=5")),
    Canary(text=broker(f"amqps://rabbit.invalid?ssl_options={quote(_BACKSLASH)}")),
    Canary(text=broker(f"amqps://rabbit.invalid?client_properties={quote(repr({'token': 'Zq7'}))}")),
    Canary(
        text=broker("amqp://me:${oc.env:CANARY}@rabbit.invalid/v"),
        environment={"CANARY": "Zq7:Zq7%2FZq7"},
    ),
    Canary(text=TOPIC, environment={"HERMES_BROKER_URL": "amqp://me:Zq7@rabbit.invalid"}),
    *(Canary(text=tls(f"cert: /c, password: {quoted(password)}")) for password in PASSWORDS),
    Canary(text=tls("cert: /c, key: /k, password: '${oc.env:CANARY}'"), environment={"CANARY": "Zq7&Zq7=Zq7"}),
    Canary(text=broker("amqps://me:Zq7@rabbit.invalid?certfile=/c&password=Zq7%26Zq7&keyfile=/k")),
    Canary(text=options("password: 40414243")),
    Canary(text=options("tokens: {}\napi:\n  token: [Zq7, {x: Zq7}]\nuser: me")),
    Canary(text=options("apiKey: Zq7\nauthorization: Bearer Zq7")),
    Canary(text=options("auth: [me, Zq7]\ncookie: Zq7\nsigningKey: Zq7\nPGPASSWORD: Zq7\nclient_secret: Zq7")),
    Canary(text=options("ssl_options: {certfile: /c, keyfile: /k, password: Zq7}\npassphrase: Zq7")),
    Canary(text=options("key: |\n  -----BEGIN RSA PRIVATE KEY-----\n  Zq7Zq7\n  -----END RSA PRIVATE KEY-----")),
    Canary(text=options("password: !!binary WnE3WnE3")),
    Canary(text=options("headers: ['Authorization: Bearer Zq7abc', 'X-Api-Key: Zq7', 'X-Up: amqp://me:Zq7@h/']")),
    Canary(text=options("header: 'Basic Zq7abcd=='\nother: 'x-auth-token: Zq7'")),
    Canary(text=options("headers: {Authorization: 'Basic Zq7abcd==', x-token: Zq7}")),
    Canary(text=options("conn: 'Server=h;Pwd=Zq7 Zq7;Database=x'\nsas: 'https://h/c?sv=1&sig=Zq7%2F&se=2'")),
    Canary(text=options("""json: '{"user":"me","password":"Zq7\\"Zq7","port":1}'""")),
    Canary(text=options("""repr: "{'password': 'Zq7'}, {''password'': ''Zq7''}" """)),
    Canary(text=options("""json: '"{\\"password\\":\\"Zq7\\"}"'""")),
    Canary(text=options("urls: 'redis://:Zq7@h, redis://:Zq7@h2,me:Zq7@h3'\nno_at: 'redis://:Zq7'")),
    Canary(text=options("urls: {'amqp://me:Zq7@h': 1, x: {'me:Zq7@h': 2}}\njdbc: 'jdbc:postgresql://me:Zq7@h/x'")),
    Canary(text=options("urls: ['amqp://me/corp:Zq7@h', 'amqp:me:Zq7@h', '//me:Zq7@h', 'HTTP://me:Zq7@h']")),
    Canary(text=options("urls: ['amqp://me:Zq7 Zq7@h', 'https://me:1?Zq7@h', 'https://me:1#Zq7@h']")),
    Canary(text=options("text: 'see http://h:80/x and amqp://me:Zq7@h, or amqp://h'")),
    Canary(
        text=options(
            "urls: ['amqp://u:1 amqp://Zq7@h/', 'amqp://u:9,x://Zq7@h', 'amqp://Zq7:@h', 'amqp://u/v:9 x://Zq7@h']"
        )
    ),
    Canary(
        text=options("urls: ['amqp://u:9;x://Zq7:Zq7@h', 'amqp://u:Zq7@1,x://Zq7@h', 'https://Zq7:@api/x', 'Zq7:@h']")
    ),
    Canary(text=broker("[amqp://rabbit.invalid, 'amqp://Zq7:@rabbit.invalid']")),
    Canary(
        text=options("a: '${oc.env:CANARY}'\nb: 'x-${oc.env:CANARY}-y'\nc: [1, '${..a}']"),
        environment={"CANARY": "Zq7"},
    ),
    Canary(text=options("a: '${oc.env:CANARY,Zq7}'\nb: '${oc.env:CANARY,\"Zq7\"}'\nc: '${oc.decode:\"[Zq7]\"}'")),
]
"""Files that load: their secrets travel on, and nobody sees them."""

REFUSED_URLS = (
    "amqp:me:Zq7@h", "//me:Zq7@h", "me:Zq7@h", "AMQPX://me:Zq7@h", "http://me:Zq7@h", "amqp://me:Zq7 Zq7@h/",
    "amqp://me:Zq7/Zq7@h:x/", "amqp://me:1/Zq7@h/a/b", "amqp://me:12345/Zq7/@h", "amqp://me:1?Zq7@h/", "amqp://me:1#Zq7@h/",
    "amqp://me:1?Zq7=Zq7@Zq7", "amqp://me:,Zq7@h /", "amqp://me:Zq7#Zq7@h:5/x", "amqp://me:Zq7@Zq7@a..b/",
    "amqp://me/corp:Zq7@h/x/y", "amqp:///me:Zq7@h", "amqp:/me:Zq7@h", "amqp//me:Zq7@h", "amqp://Zq7:Zq7", "amqp://me:Zq7",
    "amqp://me:Zq7@h?ssl_options={'password':'Zq7@Zq7'}&x=1", "amqp://me:Zq7@h?haertbeat=Zq7",
    "amqp://me:Zq7@h?heartbeat=Zq7", "amqp://me:Zq7@h?Zq7", "amqp://h?password=Zq7@Zq7", "amqp://me:Zq7@h:99999",
    "amqp://me:Zq7ü/Zq7@h:x", "amqp://me:Zq7%2FZq7@h:x", "amqp://me:Zq7@h1,amqp://me:Zq7@h2/", "amqp://h1 me:Zq7@h2",
    " amqp://me:Zq7@h", "Zq7", "amqp:Zq7", "me:Zq7", "amqp://me@corp:Zq7@h:0", "amqp://me:Zq7://Zq7@h:0",
    f"amqp://me:{'Zq7' * 50}@h:x", f"amqp://{'me' * 50}:Zq7@h:x", "amqp://me:[Zq7@h", "amqp://me:Zq7]@h", "amqp://[Zq7]:Zq7@h/",
    "amqp%3A//me:Zq7@h", "amqp://me:Zq7\\@h:x", "amqp://me:Zq7\"Zq7'@h:x", "postgresql://me:Zq7@h/x", "amqp://me:Zq7@",
    "amqp://me:Zq7@/v", "amqp://me:Zq7@:5672/v", "amqp://me:Zq7@h/a/b?Zq7",
    "amqp://me:1 amqp://Zq7@h/", "amqp://me:9,x://Zq7@h", "amqp://me:9;x://Zq7:Zq7@h", "amqp://me:9 x://Zq7@h/a/b",
    "amqp://Zq7:@h:x", "amqp://me/corp:9 amqp://Zq7@h", "amqp://me:Zq7@1,x://Zq7@h", "amqp://Zq7:@h/a/b",
    "amqp://me:1 x://Zq7@Zq7@h", "Zq7:@h", "amqp://me:12/Zq7@h", "amqp://me:1?locale=Zq7@h", "amqp://Zq7@h", "amqps://Zq7@h",
    "amqp://me:Zq7@h?certfile=/c&password=Zq7", "amqps://me:Zq7@h?password=Zq7", "amqps://me:Zq7@h?keyfile=Zq7",
    "amqps://h?ssl_options={}&certfile=/c&password=Zq7", "amqps://h?certfile=/c&verify=Zq7&password=Zq7",
    "amqps://me:Zq7@h?ssl_options=%7B'password':'Zq7", "amqps://me:Zq7@h?ssl_options=Zq7", "amqp://h?client_properties=[Zq7",
)  # fmt: skip

REFUSED = [
    *(Canary(text=broker(quoted(url))) for url in REFUSED_URLS),
    *(Canary(text=broker(f"[amqp://h, {quoted(url)}]")) for url in REFUSED_URLS),
    *(Canary(text=broker("${oc.env:CANARY}"), environment={"CANARY": url}) for url in REFUSED_URLS),
    *(Canary(text=f"broker: {quoted(url)}\n{TOPIC}") for url in REFUSED_URLS),
    *(Canary(text=f"topics: {quoted(url)}") for url in REFUSED_URLS[:20]),
    *(Canary(text=topic(f"workers: {{max: {quoted(url)}}}")) for url in REFUSED_URLS[:5]),
    *(Canary(text=topic(f"queue_type: {quoted(url)}")) for url in REFUSED_URLS[:5]),
    *(Canary(text=f"{quoted(url)}: 1\n{TOPIC}") for url in REFUSED_URLS[:5]),
    *(Canary(text=f"topics: {{{quoted(url)}: {{handler: m:f}}}}") for url in REFUSED_URLS[:5]),
    *(Canary(text=f"broker: {{{quoted(url)}: 1}}\n{TOPIC}") for url in REFUSED_URLS[:5]),
    Canary(text=broker("{'amqp://me:Zq7@h': 1}")),
    Canary(text=broker("amqp://me:${oc.env:CANARY}@h:x"), environment={"CANARY": "Zq7/Zq7@Zq7"}),
    Canary(text=broker("amqp://me:${oc.env:CANARY}@h"), environment={"CANARY": "Zq7 Zq7"}),
    Canary(text=TOPIC, environment={"HERMES_BROKER_URL": "amqp://me:Zq7#Zq7@h"}),
    Canary(text=f"broker: {{password: Zq7}}\n{TOPIC}"),
    Canary(text=f"broker: {{password: 040414243}}\n{TOPIC}"),
    Canary(text=f"broker: {{url:amqp://me:Zq7@h}}\n{TOPIC}"),
    Canary(text=f"broker: 'amqp://me:${{Zq7}}@h'\n{TOPIC}"),
    Canary(text="topics: 'amqp://me:${Zq7}@h'"),
    Canary(text=f"password: Zq7\n{TOPIC}"),
    *(
        Canary(text=tls(f"cert: /c, {key}: {value}"))
        for key in ("Password", "PASSWORD", "passwd", "pass_word", "keyPassword", "pasword", "passphrase")
        for value in ("Zq7", "40414243", "[Zq7]")
    ),
    *(Canary(text=tls(f"cert: /c, password: {value}")) for value in ("40414243", "040414243", "[Zq7]", "{x: Zq7}")),
    Canary(text=tls("key: /k, password: Zq7")),
    Canary(text=tls("password: Zq7")),
    Canary(text=tls("cert: /c, password: Zq7", "amqp://me:Zq7@rabbit.invalid")),
    Canary(text=tls("cert: /c, password: Zq7", "amqps://me:Zq7@rabbit.invalid?ssl_options={}")),
    Canary(text=tls("key: 'PRIVATE KEY Zq7'")),
    Canary(text=f"deployment: {{name: '+${{broker.tls.password}}'}}\n{tls('cert: /c, password: Zq7')}"),
    Canary(text=f"broker: {{url: amqps://h, tls: Zq7}}\n{TOPIC}"),
    Canary(text=f"deployment: {{name: '${{oc.env:DB_PASSWORD}}'}}\n{TOPIC}", environment={"DB_PASSWORD": "Zq7/Zq7"}),
    Canary(text=f"deployment: {{name: '${{broker.url}}'}}\nbroker: {{url: 'amqp://me:Zq7@h'}}\n{TOPIC}"),
    Canary(text=topic("weight: '${topics.a.options.x.password}'\noptions: {x: {password: Zq7}}")),
    Canary(text=topic("workers: {max: '1${oc.env:API_TOKEN}'}"), environment={"API_TOKEN": "Zq7"}),
    Canary(
        text="topics: {a: {handler: m:f, queue: '${.options.pw}', options: {pw: Zq7}}, "
        "b: {handler: m:f, queue: '${topics.a.options.pw}'}}"
    ),
    Canary(text=topic("options: Zq7")),
    Canary(text=topic("options: [Zq7]")),
    Canary(text=topic("options: {password:Zq7}")),
    Canary(text=topic("options: {password=Zq7}")),
    Canary(text=topic("options: {'amqp://me:Zq7@h': 1}")),
    Canary(text=options("pin: 040414243")),
    Canary(text=options("pins: [{x: 0x40414243}]")),
    Canary(text=options("password: 'pa${Zq7}wd'")),
    Canary(text=options("password: 'pa${Zq7'")),
    Canary(text=options("password: 'pa${Zq7:x}'")),
    Canary(text=options("password: 'pa${oc.env:A,Zq7'")),
    Canary(text=options("password: '${topics.a.options.x.y}'\nx: {z: Zq7}")),
    Canary(text=options("password: *Zq7")),
    Canary(text=options("password: !Zq7 x")),
    Canary(text=options("password: !!int Zq7")),
    Canary(text=options("password: !!float Zq7")),
    Canary(text=options("password: @Zq7")),
    Canary(text=options("password: %Zq7")),
    Canary(text=options("password: `Zq7`")),
    Canary(text=options('password: "Zq7')),
    Canary(text=options("password: 'Zq7' Zq7")),
    Canary(text=options("{password: Zq7")),
    Canary(text=options("password: Zq7: Zq7")),
    Canary(text=options("password: Zq7\n\tx: Zq7")),
    Canary(text=options('password: "\\Zq7"')),
    Canary(text=options("password: Zq7\npassword: Zq7")),
    Canary(text=options("'amqp://me:Zq7@h': 1\n'amqp://me:Zq7@h': 1")),
    Canary(text=options("<<: Zq7")),
    Canary(text=options("x: {? [Zq7] : 1}")),
    Canary(text=options("x: {null: Zq7}")),
    Canary(text=options('password: "Zq7\x01"')),
    Canary(text="Zq7"),
    Canary(text="[amqp://me:Zq7@h]"),
    Canary(text="--- Zq7\n--- Zq7"),
    Canary(text="%Zq7\n---\nx: 1"),
]
"""Files that are refused: the sentence about them is seen, their secrets are not."""

REFUSED_WORDS = (
    *(f"broker.url={url}" for url in REFUSED_URLS),
    *(url for url in REFUSED_URLS if "@" in url),
    *(f"broker.url={amqp_url(password)}" for password in PASSWORDS if "${" not in password),
    *(f"broker.url=[{quoted(amqp_url(password))}]" for password in PASSWORDS if "${" not in password),
    *(f"config={url}" for url in REFUSED_URLS if "@" in url),
    *(f"detach={url}" for url in REFUSED_URLS if "@" in url),
    *(f"workers.max={url}" for url in REFUSED_URLS[:8]),
    *(f"topics.a.workers.max={url}" for url in REFUSED_URLS[:8]),
    "broker.url=amqp://me:Zq7@h",
    "broker.url:amqp://me:Zq7=Zq7@h",
    "broker.url amqp://me:Zq7=Zq7@h",
    "amqp://me:Zq7=Zq7@h",
    "me:Zq7=Zq7@h",
    "broker.url.amqp://me:Zq7@h=[x",
    "broker.url.amqp://me:Zq7@h=!x",
    "broker.url.amqp://me:Zq7@h=010",
    "topics[amqp://me:Zq7@h].weight=2",
    "topics[amqp://me:Zq7@h]=[",
    "broker.url=[amqp://me:Zq7@h",
    "broker.url='amqp://me:Zq7@h",
    'broker.url="amqp://me:Zq7@h',
    "broker=amqp://me:${Zq7}@h",
    "topics=amqp://me:${Zq7}@h",
    "broker.url=*Zq7",
    "broker.password=Zq7",
    "broker.password=040414243",
    *(f"broker.tls.{key}=Zq7" for key in ("password", "Password", "passwd", "keyPassword", "passphrase")),
    "broker.tls.password=040414243",
    "broker.tls={cert: /c, password: Zq7}",
    "broker.tls={cert: /c, password:Zq7}",
    "broker.tls.password=${oc.env:NOPE,Zq7}",
    "broker.url=amqps://rabbit.invalid?certfile=/c&password=Zq7",
    "topics.a.options.password=*Zq7",
    "topics.a.options.password=!Zq7",
    "topics.a.options.password=@Zq7",
    "topics.a.options.password=Zq7",
    "topics.a.options.pin=040414243",
    "topics.a.options={password:Zq7}",
    "topics.a.options={password: Zq7}",
    "topics.a.options={headers: {Authorization: Bearer Zq7abc}}",
    "topics.a.options.header='Authorization: Bearer Zq7abc'",
    "topics.a.options.db=postgresql://me:Zq7 Zq7@h/x",
    "topics.a.options.db=me:Zq7@h",
    "broker.url:amqp://me:1?Zq7=Zq7@h",
    "broker.url:me:Zq7=Zq7@h",
    "topics.a.options.db=postgresql://me/x:Zq7@h/x",
    "topics.a.options.db='host=h password=Zq7'",
    'topics.a.options.json=\'{"password": "Zq7"}\'',
    "topics.a.options.x={amqp://me:Zq7@h: 1}",
    "topics.a.options.password=${oc.env:NOPE,Zq7}",
    "topics.a.options.password=pa${Zq7}x",
    "topics.a.handler=amqp://me:Zq7@h",
)
"""Words after a command that are refused, beside ``topics.a.handler=m:f``."""
