"""The baseline of `bench_api`: bare FastAPI routes with the same queries and answers, without session, rule and audit.

Run as `python bare_api.py PORT DATABASE`; the database is a copy of Broch's own, opened in the same way.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI, HTTPException
from sqlmodel import Session, select

from broch_api.datasets.exports import permissions_of_project
from broch_api.datasets.grants import grants_of_project
from broch_api.projects.members import members_of
from broch_api.projects.schemas import ProjectCreate, ProjectDetail, ProjectView
from broch_core.store.engine import make_engine
from broch_core.tables.projects import Project

app = FastAPI()
engine = make_engine(f"sqlite:///{sys.argv[2]}")
writer = engine.execution_options(broch_writes=True)  # BEGIN IMMEDIATE


@app.get("/projects/{project_id}")
def read_project(project_id: str) -> ProjectDetail:
    """Read a project as `GET /api/v1/projects/{project_id}` answers it."""
    now = datetime.now(UTC)
    with Session(engine, expire_on_commit=False, autoflush=False) as session:
        project = session.exec(select(Project).where(Project.id == project_id)).first()
        if project is None:
            raise HTTPException(404)
        return ProjectDetail(
            **ProjectView.of(project).model_dump(),
            members=members_of(session, project.id, now),
            grants=grants_of_project(session, project, now),
            export_permissions=permissions_of_project(session, project.id),
        )


@app.post("/projects", status_code=201)
def create_project(body: ProjectCreate) -> ProjectView:
    """Create a project as `POST /api/v1/projects` does."""
    with Session(writer, expire_on_commit=False) as session:
        if session.exec(select(Project.id).where(Project.slug == body.slug)).first() is not None:
            raise HTTPException(409)
        project = Project(**body.model_dump())
        session.add(project)
        session.commit()
    return ProjectView.of(project)


if __name__ == "__main__":
    # As `broch serve web` has it.
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
    )
