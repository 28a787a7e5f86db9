"""Wrong files and words, each with what its one sentence must say."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_ray.config.loading import parse_command
from hermes_ray.errors import UserMistake

TOPIC = "topics: {a: {handler: m:f}}"


def topic(body: str) -> str:
    """A file with one sound topic ``a`` that also holds ``body``."""
    return f"topics: {{a: {{handler: m:f, {body}}}}}"


IN_FILE = [
    # keys that do not exist
    (f"cluster: {{name: a}}\n{TOPIC}", "there is no key 'cluster.name' any more: it is 'deployment.name' now"),
    (f"cluster: a\n{TOPIC}", "there is no key 'cluster.name' any more: it is 'deployment.name' now"),
    (f"cluster.name: a\n{TOPIC}", "there is no key 'cluster.name' any more: it is 'deployment.name' now"),
    (topic("worker.concurrency: 3"), "a dot in a file does not nest: write worker: {concurrency: ...}"),
    (topic("num_gpus: 1"), "'topics.a.num_gpus': write 'topics.a.worker.resources' with GPU: 1"),
    (topic("worker: {num_gpus: 1}"), "'topics.a.worker.num_gpus': write 'topics.a.worker.resources' with GPU: 1"),
    ("toppics: {a: {handler: m:f}}", "there is no key 'toppics': did you mean 'topics'?"),
    (topic("wokers: {max: 4}"), "there is no key 'topics.a.wokers': did you mean 'topics.a.workers'?"),
    (topic("workers: {maxx: 4}"), "there is no key 'topics.a.workers.maxx': did you mean 'topics.a.workers.max'?"),
    (topic("prefetch: 4"), "there is no key 'topics.a.prefetch': did you mean 'topics.a.worker.prefetch'?"),
    (topic("scaling: {threshold: {up_ratios: 4}}"), "did you mean 'topics.a.scaling.threshold.up_ratio'?"),
    ("topics: {a.b: {handler: m:f, wieght: 2}}", "'topics[a.b].wieght': did you mean 'topics[a.b].weight'?"),
    (topic("worker: {max: 3}"), "no key 'topics.a.worker.max': did you mean 'topics.a.workers.max'?"),
    (topic("workers: {concurrency: 4}"), "'topics.a.workers.concurrency': did you mean 'topics.a.worker.concurrency'?"),
    ("topics: {a.b: {handler: m:f, retry: {weight: 2}}}", "'topics[a.b].retry.weight': did you mean 'topics[a.b].w"),
    (topic("scaling: {threshold: {policy: fixed}}"), "did you mean 'topics.a.scaling.policy'?"),
    (f"broker: {{port: 5672}}\n{TOPIC}", "there is no key 'broker.port': valid here are url"),
    ("zzz: 1", "there is no key 'zzz': valid here are deployment, broker, drain_timeout_s, state_dir, forget"),
    (f"{TOPIC}\n7: 1", "there is no key '7': valid here are deployment"),
    # containers
    ("topics: 3", "topics is 3: it must be a mapping of topic names to topics"),
    ("topics: null", "topics is null: it must be a mapping of topic names to topics"),
    ("topics: [a]", "topics is a list: it must be a mapping of topic names to topics"),
    ("topics: {}", "there are no topics: give config=FILE, or write topics.NAME.handler=package.module:name"),
    ("topics: {a: null}", "topics.a is null: it must be a mapping, with at least handler: package.module:name"),
    ("topics: {a: m:f}", "topics.a is 'm:f': it must be a mapping, with at least handler"),
    (topic("retry: null"), "topics.a.retry is null: it must be a mapping (keys: max_attempts, base_delay_s"),
    (topic("workers: [0, 4]"), "topics.a.workers is a list: it must be a mapping (keys: min, max"),
    (topic("workers: 4"), "topics.a.workers is 4: it must be a mapping (keys: min, max"),
    (topic("weight: {x: 1}"), "topics.a.weight is a mapping: it must be a number above 0"),
    (topic("options: 3"), "topics.a.options is a number: it must be a mapping"),
    (topic("options: hunter2"), "topics.a.options is text: it must be a mapping"),
    (topic("options: {a b: 1}"), "topics.a.options holds the name 'a b': it must be a keyword argument's"),
    # handler, names, queues
    ("topics: {a: {}}", "topics.a.handler is missing: it must be package.module:name"),
    ("topics: {a: {handler: '???'}}", "topics.a.handler is missing: it must be package.module:name"),
    ("topics: {a: {handler: m.f}}", "topics.a.handler is 'm.f': it must be package.module:name"),
    ("topics: {a: {handler: 'm:f()'}}", "topics.a.handler is 'm:f()': it must be package.module:name"),
    ("topics: {a: {handler: 7}}", "topics.a.handler is 7: it must be text: put it in quotes"),
    ("topics: {a b: {handler: m:f}}", "topics holds the name 'a b': it must be text of letters, digits"),
    (
        "topics: {7: {handler: m:f}}",
        "topics holds the name 7: it must be text of letters, digits, '_', '.' and '-': put it in quotes",
    ),
    ("topics: {no: {handler: m:f}}", "topics holds the name false: it must be text of letters, digits"),
    (topic("queue: on"), "topics.a.queue is true: it must be text: put it in quotes"),
    (topic("topology: no"), "topics.a.topology is false: it must be declare or existing or passive"),
    ("topics: {a: {handler: m:f}, b: {handler: m:f, queue: a}}", "topics.b.queue is 'a', which topics.a uses too"),
    ("topics: {a: {handler: m:f}, a.dead: {handler: m:f}}", "topics[a.dead].queue is 'a.dead', where topics.a keeps"),
    ("topics: {a: {handler: m:f}, b: {handler: m:f, queue: a.wait.1000}}", "topics.b.queue is 'a.wait.1000', where"),
    (topic("queue: amq.a"), "topics.a.queue is 'amq.a': it must be a name of 1 to 241 bytes"),
    (topic("queue: ''"), "topics.a.queue is '': it must be a name of 1 to 241 bytes"),
    (topic(f"queue: {'é' * 121}"), "it must be a name of 1 to 241 bytes"),
    (topic('queue: "a\\nb"'), "topics.a.queue is 'a\\nb': it must be a name of 1 to 241 bytes without control"),
    (topic("queue_type: stream"), "topics.a.queue_type is 'stream': it must be quorum or classic"),
    (topic("topology: none"), "topics.a.topology is 'none': it must be declare or existing or passive"),
    # arguments and bindings of a queue
    (topic("queue_arguments: 5"), "topics.a.queue_arguments is 5: it must be a mapping"),
    (
        topic("queue_arguments: {7: 5}"),
        "topics.a.queue_arguments holds the name 7: it must be an argument's, printable",
    ),
    (topic("queue_arguments: {x-max-length: many}"), "queue_arguments.x-max-length is 'many': it must be a whole num"),
    (topic("queue_arguments: {x-max-length: 0}"), "x-max-length is 0: it must be a whole number 1 to 922337203685"),
    (
        topic(f"queue_arguments: {{x-dead-letter-exchange: {'e' * 256}}}"),
        "e...': it must be text of at most 255 bytes",
    ),
    (topic("bindings: [{exchange: amq.new}]"), "bindings[0].exchange is 'amq.new': it must be an exchange's name of"),
    (
        topic("bindings: [{exchange: e, arguments: {x-match: junk}}]"),
        "bindings[0].arguments.x-match is 'junk': it must be all or any or all-with-x or any-with-x",
    ),
    (topic("queue_arguments: {x-max-length: -1}"), "x-max-length is -1: it must be a whole number 1 to 922337203685"),
    (topic("queue_arguments: {x-max-length: 1.5}"), "x-max-length is 1.5: it must be a whole number 1 to"),
    (topic("queue_arguments: {x-max-length: true}"), "x-max-length is true: it must be a whole number 1 to"),
    (topic("queue_arguments: {x-max-length: null}"), "x-max-length is null: it must be a whole number 1 to"),
    (
        topic("queue_type: classic, queue_arguments: {x-max-priority: 256}"),
        "x-max-priority is 256: it must be a whole number 1 to 255",
    ),
    (
        topic("queue_arguments: {x-single-active-consumer: 1}"),
        "x-single-active-consumer is 1: it must be true or false",
    ),
    (
        topic("queue_arguments: {x-overflow: drop}"),
        "x-overflow is 'drop': it must be drop-head or reject-publish or re",
    ),
    (
        topic("queue_arguments: {x-mine: [1]}"),
        "x-mine is a list: it must be text, a whole number of 64 bits, or true o",
    ),
    (topic(f"queue_arguments: {{x-mine: {2**63}}}"), "it must be text, a whole number of 64 bits, or true or false"),
    (
        topic("queue_arguments: {x-max-priority: 5}"),
        "x-max-priority is 5: quorum queues have none: leave it out or set",
    ),
    (
        topic("queue_arguments: {x-queue-type: stream}"),
        "x-queue-type is 'stream': the type is set by queue_type: leave",
    ),
    (
        topic("queue_arguments: {x-delivery-limit: 20}"),
        "x-delivery-limit is 20: hermes_ray sets it, so high that no me",
    ),
    (
        topic("queue_arguments: {x-consumer-timeout: 20}"),
        "x-consumer-timeout is 20: an argument never changes, and thi",
    ),
    (topic("queue_arguments: {x-expires: 20}"), "x-expires is 20: the broker would delete the queue with its messages"),
    (
        topic("queue_arguments: {x-max-age: 1D}"),
        "x-max-age is '1D': only streams have it, which cannot be consumed her",
    ),
    (
        topic("queue_type: classic, queue_arguments: {x-overflow: reject-publish}"),
        "a retry that comes back to a full classic queue would be lost: write drop-head or set queue_type=quorum",
    ),
    (
        topic("queue_arguments: {x-dead-letter-routing-key: b}"),
        "it needs x-dead-letter-exchange beside it: set that too",
    ),
    (
        topic("queue_arguments: {x-dead-letter-exchange: '', x-dead-letter-routing-key: a}"),
        "x-dead-letter-exchange is '': what the queue rejects would come straight back: set x-dead-letter-routing-key",
    ),
    (
        topic("queue_arguments: {x-dead-letter-exchange: b, x-dead-letter-strategy: at-least-once}"),
        "the broker heeds it only with x-dead-letter-exchange and x-overflow=reject-publish: set both",
    ),
    (
        topic("topology: existing, queue_arguments: {x-max-length: 5}"),
        "topics.a.queue_arguments is for topology=declare, and topics.a.topology is existing, which takes the queue as",
    ),
    (
        topic("topology: passive, bindings: [{exchange: b}]"),
        "topics.a.bindings is for topology=declare, and topics.a.to",
    ),
    (
        topic("bindings: {exchange: b}"),
        "topics.a.bindings is a mapping: it must be a list of mappings (keys: exchange, r",
    ),
    (topic("bindings: [games]"), "topics.a.bindings[0] is 'games': it must be a mapping (keys: exchange, routing_key"),
    (topic("bindings: [{routing_key: b}]"), "topics.a.bindings[0].exchange is missing: it must be an exchange's name"),
    (
        topic("bindings: [{exchange: ''}]"),
        "topics.a.bindings[0].exchange is '': it must be an exchange's name of 1 to 2",
    ),
    (
        topic("bindings: [{exchange: b, routing_key: 7}]"),
        "bindings[0].routing_key is 7: it must be text: put it in quo",
    ),
    (topic(f"bindings: [{{exchange: b, routing_key: {'k' * 256}}}]"), "it must be text of at most 255 bytes"),
    (topic("bindings: [{exchange: b, key: c}]"), "there is no key 'topics.a.bindings[0].key'"),
    (
        topic("bindings: [{exchange: b, exchange_type: x}]"),
        "exchange_type is 'x': it must be topic or direct or fanout",
    ),
    (
        topic("bindings: [{exchange: b, arguments: {x: 1.5}}]"),
        "bindings[0].arguments.x is 1.5: it must be text, a whol",
    ),
    (
        topic("bindings: [{exchange: b, exchange_type: topic}, {exchange: b, exchange_type: fanout}]"),
        "topics.a.bindings[1].exchange_type is 'fanout', and topics.a.bindings[0].exchange_type is 'topic' for the sam",
    ),
    (topic("scaling: {policy: fixd}"), "topics.a.scaling.policy is 'fixd': it must be adaptive or threshold or fixed"),
    (f"deployment: {{name: a/b}}\n{TOPIC}", "deployment.name is 'a/b': it must be 1 to 200 letters, digits, '_', '.'"),
    (f"deployment: {{name: {'a' * 201}}}\n{TOPIC}", "...': it must be 1 to 200 letters, digits, '_', '.' and '-'"),
    (f"deployment: {{name: 2024}}\n{TOPIC}", "deployment.name is 2024: it must be text: put it in quotes"),
    (f"state_dir: ''\n{TOPIC}", "state_dir is '': it must be the absolute path of a directory, or one from ~"),
    # numbers
    (topic("workers: {max: many}"), "topics.a.workers.max is 'many': it must be a whole number 0 to 100000 (workers)"),
    (topic("workers: {max: -1}"), "topics.a.workers.max is -1: it must be a whole number 0 to 100000 (workers)"),
    (topic("workers: {max: 2.5}"), "topics.a.workers.max is 2.5: it must be a whole number"),
    (topic("workers: {max: true}"), "topics.a.workers.max is true: it must be a whole number"),
    (topic("workers: {max: null}"), "topics.a.workers.max is null: it must be a whole number"),
    (topic(f"workers: {{max: {'9' * 400}}}"), "topics.a.workers.max is a huge number: it must be a whole number"),
    (
        topic("worker: {timeout_s: 1700}"),
        "topics.a.worker.timeout_s is 1700: it must be at most 1620, 0.9 of broker.ack_timeout_s, as the broker takes",
    ),
    (topic("worker: {timeout_s: 0}"), "topics.a.worker.timeout_s is 0: it must be a number 0.01 to 31536000 (s)"),
    (f"broker: {{ack_timeout_s: 4}}\n{TOPIC}", "broker.ack_timeout_s is 4: it must be a number 5 to 31536000 (s)"),
    (
        f"broker: {{ack_timeout_s: 30.15}}\n{topic('worker: {timeout_s: 27.1351}')}",
        "topics.a.worker.timeout_s is 27.1351: it must be at most 27.135, 0.9 of broker.ack_timeout_s, as the broker",
    ),
    (topic("workers: {min: 5, max: 3}"), "topics.a.workers.min is 5: it must not exceed topics.a.workers.max, which"),
    (topic("weight: .nan"), "topics.a.weight is nan: it must be a number above 0"),
    (topic("weight: .inf"), "topics.a.weight is inf: it must be a number above 0"),
    (topic("weight: 0"), "topics.a.weight is 0: it must be a number above 0"),
    (topic("latency_objective_s: 0"), "topics.a.latency_objective_s is 0: it must be a number 0.001 to 604800 (s)"),
    (topic("latency_objective_ratio: 1"), "topics.a.latency_objective_ratio is 1: it must be a number above 0 and be"),
    (topic("worker: {concurrency: 0}"), "topics.a.worker.concurrency is 0: it must be a whole number 1 to 10000"),
    (topic("worker: {prefetch: 70000}"), "topics.a.worker.prefetch is 70000: it must be a whole number 1 to 65535"),
    (topic("worker: {num_cpus: 0.00001}"), "topics.a.worker.num_cpus is 1e-05: it must be a number 0 or 0.0001 to"),
    (topic("worker: {memory: 500XB}"), "topics.a.worker.memory is '500XB': it must be a whole number 1 to 10000000000"),
    (
        topic("worker: {memory: 4G}"),
        "memory is '4G': it must be a whole number 1 to 100000000000000, or a size such as",
    ),
    (
        topic("worker: {memory: -1GB}"),
        "topics.a.worker.memory is '-1GB': it must be a whole number 1 to 100000000000000",
    ),
    (
        topic("worker: {memory: 1000TB}"),
        "topics.a.worker.memory is '1000TB': it must be a whole number 1 to 1000000000",
    ),
    (topic("worker: {memory: 0.3 B}"), "topics.a.worker.memory is '0.3 B': it must be a whole number 1 to 1000000000"),
    (topic("worker: {memory: 1.5}"), "topics.a.worker.memory is 1.5: it must be a whole number 1 to 100000000000000"),
    (topic("worker: {silent_timeout_s: 0}"), "topics.a.worker.silent_timeout_s is 0: it must be a number 1 to 604800"),
    (
        topic("workers: {roll_surge: 0}"),
        "topics.a.workers.roll_surge is 0: it must be a number above 0, up to 1 (ratio)",
    ),
    (topic("workers: {roll_surge: 1.1}"), "topics.a.workers.roll_surge is 1.1: it must be a number above 0, up to 1"),
    (f"forget_after_s: -1\n{TOPIC}", "forget_after_s is -1: it must be a number 0 to 315360000 (s)"),
    # numbers that are not decimal
    (topic("workers: {max: 010}"), "topics.a.workers.max is 010, in YAML octal: write 8 or 10, or put text in quotes"),
    (
        topic("workers: {max: '010'}"),
        "topics.a.workers.max is '010': it must be a whole number 0 to 100000 (workers), in",
    ),
    (
        topic("workers: {max: 0x1F}"),
        "topics.a.workers.max is 0x1F, in YAML hexadecimal: write 31, or put text in quotes",
    ),
    (topic("workers: {max: 0o17}"), "topics.a.workers.max is 0o17, in YAML octal: write 15, or put text in quotes"),
    (topic("workers: {max: 0b11}"), "topics.a.workers.max is 0b11, in YAML binary: write 3, or put text in quotes"),
    (topic("workers: {max: 08}"), "topics.a.workers.max is 08, in YAML no number, for its leading zero: write 8, or"),
    (
        topic("latency_objective_s: 1:30"),
        "latency_objective_s is 1:30, in YAML a number in sixtieths: write 90, or put",
    ),
    (
        topic("latency_objective_s: -1:30.5"),
        "latency_objective_s is -1:30.5, in YAML a number in sixtieths: write -90.5",
    ),
    (topic("queue: 010"), "topics.a.queue is 010, in YAML octal: write 8 or 10, or put text in quotes"),
    (
        topic("options: {pin: 0123456}"),
        "topics.a.options.pin is a number that is not decimal (as 010 is octal in YAML)",
    ),
    (topic("options: {pins: [1, 0x1F]}"), "topics.a.options.pins[1] is a number that is not decimal (as 010 is octal"),
    ("topics: {010: {handler: m:f}}", "topics has the key 010, in YAML octal: write 8 or 10, or put text in quotes"),
    (topic("worker: {resources: {gpu: -1}}"), "topics.a.worker.resources.gpu is -1: it must be a number 0 or 0.0001"),
    (topic("worker: {resources: {CPU: 1}}"), "topics.a.worker.resources holds the name 'CPU': it must be another"),
    (topic("retry: {max_attempts: 0}"), "topics.a.retry.max_attempts is 0: it must be a whole number 1 to 1000"),
    (topic("retry: {base_delay_s: 9, max_delay_s: 3}"), "topics.a.retry.base_delay_s is 9: it must not exceed"),
    (topic("scaling: {threshold: {min_step: 20}}"), "topics.a.scaling.threshold.min_step is 20: it must not exceed"),
    (f"metrics: {{port: 65536}}\n{TOPIC}", "metrics.port is 65536: it must be a whole number 0 to 65535"),
    (f"drain_timeout_s: -1\n{TOPIC}", "drain_timeout_s is -1: it must be a number 0 to 86400 (s)"),
    # the broker
    (
        f"broker: {{url: 'http://h'}}\n{TOPIC}",
        "broker.url is 'http://***': the scheme must be amqp or amqps; write amqp://",
    ),
    (f"broker: {{url: 'amqp:///v'}}\n{TOPIC}", "broker.url is 'amqp://***': the host is missing; write amqp://"),
    (f"broker: {{url: 'amqp://h:x'}}\n{TOPIC}", "broker.url is 'amqp://***': its host or port (1 to 65535) cannot be"),
    (f"broker: {{url: 'amqp://h:0'}}\n{TOPIC}", "broker.url is 'amqp://***': the port must be 1 to 65535"),
    (f"broker: {{url: 'amqp://h/a/b'}}\n{TOPIC}", "broker.url is 'amqp://***': the virtual host must not hold '/'"),
    (f"broker: {{url: 'amqp://me@h/'}}\n{TOPIC}", "broker.url is 'amqp://***@h/': before the '@' stands no password"),
    (f"broker: {{url: 'amqp://h?heartbeat=x'}}\n{TOPIC}", "heartbeat must be a whole number from 0 to 65535"),
    (
        f"broker: {{url: 'amqps://h?ssl_options=%7Bpw'}}\n{TOPIC}",
        "the URL parameter ssl_options must be a mapping such as {'name': 'value'}, percent-encoded; write amqp://",
    ),
    (
        f"broker: {{url: 'amqp://h?haertbeat=5'}}\n{TOPIC}",
        "broker.url is 'amqp://***': it has an unknown URL parameter, perhaps heartbeat is meant; write amqp://",
    ),
    (f"broker: {{url: ''}}\n{TOPIC}", "broker.url is empty: the scheme must be amqp or amqps"),
    (f"broker: {{url: 'amqp:h'}}\n{TOPIC}", "broker.url is 'amqp:***': after the scheme comes ://"),
    (
        f"broker: {{url: 'amqp://me:pw@a..b/'}}\n{TOPIC}",
        "broker.url is 'amqp://***@a..b/': the host is neither an IP ad",
    ),
    (
        f"broker: {{url: 'amqp://a..b/'}}\n{TOPIC}",
        "broker.url is 'amqp://***': the host is neither an IP address nor a",
    ),
    (
        f"broker: {{url: 'amqp://{'a' * 64}/'}}\n{TOPIC}",
        "broker.url is 'amqp://***': the host is neither an IP address",
    ),
    (f"broker: {{url: 'amqp://a!b/'}}\n{TOPIC}", "broker.url is 'amqp://***': the host is neither an IP address nor"),
    (f"metrics: {{host: a..b}}\n{TOPIC}", "metrics.host is 'a..b': it must be a host name or address"),
    (f"broker: {{url: []}}\n{TOPIC}", "broker.url is an empty list: it must be amqp://USER:PASSWORD@HOST:PORT/VHOST"),
    (f"broker: {{url: [amqp://h, 5]}}\n{TOPIC}", "broker.url[1] is 5: it must be an AMQP URL"),
    (
        f"broker: {{url: [amqp://h, 'ftp://h']}}\n{TOPIC}",
        "broker.url[1] is 'ftp://***': the scheme must be amqp or amqps",
    ),
    (f"broker: {{url: null}}\n{TOPIC}", "broker.url is null: it must be amqp://USER:PASSWORD@HOST:PORT/VHOST"),
    # ${...}
    (
        topic("options: {dsn: '${oc.env:NOT_SET_ANYWHERE}'}"),
        "topics.a.options.dsn needs the environment variable NOT_S",
    ),
    (topic("queue: '${topics.b.queue}'"), "topics.a.queue refers to 'topics.b.queue', which does not exist"),
    (topic("queue: '${topics.a.queue}'"), "topics.a.queue holds a ${...} that cannot be resolved"),
    (topic("queue: '${vault:x}'"), "topics.a.queue uses an unknown kind of ${...}: write ${oc.env:NAME}"),
    (topic("queue: '${oc.env:X'"), "topics.a.queue holds a ${...} that cannot be read: check its braces and quotes"),
    # YAML
    ("topics: {null: {handler: m:f}}", "topics has a key that is null: put text in quotes"),
    (topic("workers: {max: {null: 1}}"), "topics.a.workers.max has a key that is null: put text in quotes"),
    (topic("options: {!!binary YQ==: 1}"), "topics.a.options has a key that is binary: put text in quotes"),
    (topic(f"workers: {{max: {'9' * 5_000}}}"), "topics.a.workers.max is a number of too many digits, or no value of"),
    (topic("weight: !!float heavy"), "topics.a.weight is a number of too many digits, or no value of its tag"),
    ("topics:\n  a: {handler: m:f\n  b: 1", "hermes.yaml, line 3 is not valid YAML"),
    ("topics:\n\ta: 1", "hermes.yaml, line 2 is not valid YAML"),
    (f"{TOPIC}\n{TOPIC}", "hermes.yaml, line 2 is not valid YAML: found duplicate key topics"),
    ("x: !!python/object/apply:os.getcwd []", "hermes.yaml, line 1 is not valid YAML"),
    ("", "hermes.yaml is empty: write at least topics: {NAME: {handler: package.module:name}}"),
    ("# nothing\n", "hermes.yaml is empty"),
    ("[a, b]", "hermes.yaml holds no mapping"),
    ("hello", "hermes.yaml holds no mapping"),
    ("topics: &t {a: *t}", "hermes.yaml, line 1 is not valid YAML: YAML recursive aliases are not supported"),
    ("? [a]\n: 1", "hermes.yaml, line 1 is not valid YAML: found unhashable key"),
]

ON_COMMAND_LINE = [
    (["topics"], "'topics' is no key=value word: write it like topics.NAME.workers.max=40"),
    (["detach"], "'detach' is no key=value word: write it like detach=..."),
    (["--detach"], "'--detach' is no key=value word"),
    (["=3"], "'' is no key of a key=value word"),
    (["topics..a=3"], "'topics..a' is no key of a key=value word"),
    (["topics[a.b.weight=3"], "'topics[a.b.weight' is no key of a key=value word"),
    (["topics.a.handler=[m"], "the value of topics.a.handler is not valid YAML: put it in quotes"),
    (["topics.a.handler=${oc.env:X"], "holds a ${...} that cannot be read: check its braces and quotes"),
    (["detatch=true"], "there is no key 'detatch': did you mean 'detach'?"),
    (["workers.max=4"], "there is no key 'workers': did you mean 'topics.NAME.workers'?"),
    (["config=~no_such_user/x"], "config='~no_such_user/x' cannot be read (there is no such user)"),
    (["detach=yes"], "detach is 'yes': it must be true or false"),
    (["roll="], "roll is '': it must be true or false"),
    (["topics.a.wokers.max=4"], "there is no key 'topics.a.wokers': did you mean 'topics.a.workers'?"),
    (["topics.a.workers.max=-4"], "topics.a.workers.max is -4: it must be a whole number 0 to 100000 (workers)"),
    (["topics.a.workers.max="], "topics.a.workers.max is null: it must be a whole number"),
    (["topics[x.y].weight=2"], "topics[x.y].handler is missing: it must be package.module:name"),
    (["broker.url=[]"], "broker.url is an empty list"),
    (["cluster.name=a"], "there is no key 'cluster.name' any more: it is 'deployment.name' now"),
    (
        ["topics.a.queue=010"],
        "topics.a.queue is 010, in YAML octal: write 8 or 10, or put text in quotes, topics.a.queue='\"...\"'",
    ),
    (
        ["topics.a.handler=m:f", "topics.a.queue=123"],
        "topics.a.queue is 123: it must be text: put it in quotes, topics.a.queue='\"...\"'",
    ),
    (
        ["topics[a.b].handler=m:f", "topics[a.b].queue=on"],
        "topics[a.b].queue is true: it must be text: put it in quotes, topics[a.b].queue='\"...\"'",
    ),
    (["topics.a.weight=!!int x"], "or put text in quotes, topics.a.weight='\"...\"'"),
    (["topics.a.worker={prefetch: 0x1F}"], "topics.a.worker.prefetch is 0x1F, in YAML hexadecimal: write 31"),
    (
        ["topics.a.handler=m:f", "topics.a.worker={concurrency: 8, prefetch: 1}"],
        "topics.a.worker.concurrency is 8: it must not exceed topics.a.worker.prefetch, which is 1",
    ),
    (["deployment=5"], "deployment is 5: it must be a mapping (keys: name)"),
    (["config=nowhere.yaml"], "config='nowhere.yaml' cannot be read (No such file or directory): give the path"),
    (["config="], "config is empty: give the path of a YAML file"),
    (["config=/"], "config='/' cannot be read (Is a directory)"),
]


def sentence(words: list[str]) -> str:
    """What the mistake in ``words`` is told as; checks what holds for each such sentence."""
    with pytest.raises(UserMistake) as caught:
        parse_command(words)
    text = str(caught.value)
    assert caught.value.exit_code == 2
    assert text.isprintable(), "one line, nothing that upsets a terminal"
    assert len(text) < 400
    assert "omegaconf" not in text.lower()
    assert "Error" not in text
    return text


@pytest.mark.parametrize(("text", "expected"), IN_FILE, ids=[expected[:60] for _, expected in IN_FILE])
def test_a_mistake_in_the_file_is_one_sentence_that_names_the_key(text: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    file.write_text(text, encoding="utf-8")
    assert expected in sentence([f"config={file}"])


def test_the_longest_time_that_is_told_is_taken() -> None:
    parse_command(["topics.a.handler=m:f", "broker.ack_timeout_s=30.15", "topics.a.worker.timeout_s=27.135"])


@pytest.mark.parametrize(("words", "expected"), ON_COMMAND_LINE, ids=[" ".join(words) for words, _ in ON_COMMAND_LINE])
def test_a_mistake_on_the_command_line_is_one_sentence_that_names_the_key(words: list[str], expected: str) -> None:
    assert expected in sentence(["topics.a.handler=m:f", *words])


def test_a_file_that_is_not_utf8_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    assert "it is no UTF-8 text" in sentence([f"config={file}"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("topics.a.queue", "${oc.env:BAD}"),
        ("topics.a.queue_arguments.x-mine", "${oc.env:BAD}"),
        ("topics.a.queue_arguments.x-max-length", "${oc.env:BAD}"),
        ("topics.a.queue_arguments.x-dead-letter-exchange", "${oc.env:BAD}"),
        ("topics.a.bindings[0].routing_key", "[{exchange: games, routing_key: '${oc.env:BAD}'}]"),
        ("topics.a.bindings[0].arguments.k", "[{exchange: games, arguments: {k: '${oc.env:BAD}'}}]"),
        ("state_dir", "/x${oc.env:BAD}"),
    ],
)
def test_a_text_of_the_environment_that_cannot_be_sent_is_refused(
    key: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAD", "\udcff")
    said = sentence(["topics.a.handler=m:f", f"{key.partition('[')[0]}={value}"])
    assert said.startswith(f"{key} is '")
    assert said.endswith("\\udcff': it must be UTF-8 text")


def test_no_topics_at_all_says_what_to_write() -> None:
    assert sentence([]).endswith("write topics.NAME.handler=package.module:name for each topic")


def test_quotes_for_the_shell_are_said_of_words_only(tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    file.write_text(topic("queue: 7"), encoding="utf-8")
    assert sentence([f"config={file}", "topics.a.weight=2"]).endswith(
        "topics.a.queue is 7: it must be text: put it in quotes"
    )
