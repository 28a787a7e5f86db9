"""The queues of a topic as the page lists them, for those who make them themselves."""

from __future__ import annotations

from hermes_ray.broker.topology import Arguments, queue_arguments, wait_arguments
from tests.support.readme import doc

ONLY_QUORUM = {"x-delivery-limit", "x-dead-letter-strategy", "x-overflow"}


def test_the_arguments_on_the_page_are_those_that_would_be_declared() -> None:
    page = doc("handlers").read_text(encoding="utf-8")
    rows = page.split("| argument | `Q`, `Q.dead` | `Q.wait.MS` |\n")[1].split("\n\n")[0].splitlines()[1:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    main = {name: value for name, value, _ in cells if value}
    waiting = {name: value for name, _, value in cells}

    def written(arguments: Arguments) -> dict[str, str]:
        special: dict[str | int, str] = {1414: "`MS`", "": "empty text"}
        return {f"`{name}`": special.get(value, f"`{value}`") for name, value in arguments.items()}

    assert main == written(queue_arguments("quorum"))
    assert waiting == written(wait_arguments("Q", "quorum", 1414))
    quorum, classic = wait_arguments("Q", "quorum", 1), wait_arguments("Q", "classic", 1)
    assert classic == {name: value for name, value in quorum.items() if name not in ONLY_QUORUM} | {
        "x-queue-type": "classic"
    }
    assert queue_arguments("classic") == {"x-queue-type": "classic"}
