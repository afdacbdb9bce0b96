"""postgres, a server whose data directory is a VOLUME of the image: the slim image makes a database of its own,
and answers queries that the recorded run did not make."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from builds import Build
from containers import entries, eventually, inspect, running, stop

DATA = "/data/db"
# Each gives one line; the exercise makes no query at all.
QUERIES = (
    "SELECT 6 * 7",
    "SELECT to_tsvector('english', 'the quick foxes were jumping')",
    "SELECT timestamptz '2024-07-01 12:00+00' AT TIME ZONE 'Asia/Tokyo'",
    "SELECT 'a' < 'B' COLLATE \"C.UTF-8\"",
    "SELECT convert('é'::bytea, 'UTF8', 'LATIN1')",
    "SELECT xmlparse(DOCUMENT '<a/>')",
    "SELECT md5('x'), encode(sha256('x'), 'hex')",
    "DO LANGUAGE plpgsql $$ BEGIN RAISE NOTICE 'no'; END $$",
)
MARGIN = 5.0  # seconds that the slim container may take longer to stop


@dataclass(frozen=True)
class Server:
    """The answers to QUERIES, the database's system identifier, the exit code and the time to stop."""

    answers: tuple[str, ...]
    system: str
    exit_code: int
    stop_seconds: float


def ask(container: str, fat: str, question: str) -> str | None:
    """The answer to one query, by the fat image's psql in the server's network; None while it starts."""
    client = ("docker", "run", "--rm", "--network", f"container:{container}", "--entrypoint", "psql", fat)
    words = ("-h", "127.0.0.1", "-U", "postgres", "-qAt", "-c", question)
    done = subprocess.run([*client, *words], capture_output=True, text=True, check=False, timeout=60)
    return (
        done.stdout + done.stderr if "refused" not in done.stderr and "starting up" not in done.stderr else None
    )


def served(image: str, fat: str, *options: str) -> Server:
    with running(image, *options) as container:
        eventually(lambda: ask(container, fat, "SELECT 1"), f"an answer of {image}")
        answers = tuple(str(ask(container, fat, question)) for question in QUERIES)
        system = ask(container, fat, "SELECT system_identifier FROM pg_control_system()")
        return Server(answers, str(system), *stop(container))


@pytest.fixture(scope="module")
def postgres(built: Callable[[str], Build]) -> Iterator[Build]:
    yield built("postgres")


def test_queries_of_no_recording_are_answered_as_by_the_fat_image(postgres: Build) -> None:
    profile = ("--security-opt", f"seccomp={postgres.artifacts / 'seccomp.json'}")
    assert [doubt["code"] for doubt in postgres.report["doubts"]] == ["undriven-port"]
    fat, slim = served(postgres.fat, postgres.fat), served(postgres.slim, postgres.fat)
    assert slim.answers == fat.answers
    assert "42" in fat.answers[0]
    assert slim.exit_code == fat.exit_code
    assert slim.stop_seconds <= fat.stop_seconds + MARGIN
    # The image has no database: each container makes its own.
    again = served(postgres.slim, postgres.fat, *profile)
    assert len({fat.system, slim.system, again.system}) == 3


def test_the_data_directory_is_there_and_empty(postgres: Build) -> None:
    fat, slim = entries(postgres.fat), entries(postgres.slim)
    assert [path for path in slim if path.startswith(f"{DATA}/")] == []
    assert (slim[DATA].mode, slim[DATA].uid, slim[DATA].gid) == (fat[DATA].mode, fat[DATA].uid, fat[DATA].gid)
    assert slim["/run/postgresql"].mode == fat["/run/postgresql"].mode
    assert inspect(postgres.slim, ".Config.Volumes") == {DATA: {}}
