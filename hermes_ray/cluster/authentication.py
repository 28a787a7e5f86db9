"""Ray's token authentication: send the user's token, and raise one sentence when a cluster refuses it."""

from __future__ import annotations

import os
from pathlib import Path

from ray.exceptions import AuthenticationError

from hermes_ray.cluster.ray_private import send_token, try_token
from hermes_ray.errors import UserMistake

__all__ = ["present_token"]

DEFAULT_TOKEN = "~/.ray/auth_token"
REMEDY = (
    f"set RAY_AUTH_MODE=token and copy {DEFAULT_TOKEN} from the cluster's head, or name a copy in RAY_AUTH_TOKEN_PATH"
)


def present_token(address: str) -> None:
    """Send the user's cluster token from now on; raises ``UserMistake`` if the cluster at ``address`` wants another.

    Call it before connecting, with an address that accepts connections. A cluster without authentication ignores it.
    """
    try:
        send_token()
    except AuthenticationError as error:
        raise UserMistake(f"there is no token in {_source()}: {REMEDY}") from error
    if address.startswith("ray://"):
        return
    try:
        try_token(address)
    except AuthenticationError as error:
        raise UserMistake(f"the Ray cluster at {address} asks for its token, and {_fault()}: {REMEDY}") from error


def _source() -> str:
    """Where Ray takes the token from: the first that is set."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return f"RAY_AUTH_TOKEN_PATH={path}"
    return DEFAULT_TOKEN


def _fault() -> str:
    mode = os.environ.get("RAY_AUTH_MODE", "token")
    if mode.lower() != "token":
        return f"RAY_AUTH_MODE={mode} sends none"
    source = _source()
    if source == DEFAULT_TOKEN and not Path(source).expanduser().exists():
        return "there is none here"
    return f"that in {source} is another"
