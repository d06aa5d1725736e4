"""The check that a caller sits at this machine, as a dependency of the sign-in routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from broch_api.signin.demo.service import DemoSignIn
from broch_core.web.routing import provided


def _near(request: Request, sign_in: Annotated[DemoSignIn, provided(DemoSignIn)]) -> DemoSignIn:
    sign_in.require_near(request.client.host if request.client else None, request.headers)
    return sign_in


NearSignIn = Annotated[DemoSignIn, Depends(_near)]
"""The demo's sign-in, for callers on this machine; 403 for everybody else."""
